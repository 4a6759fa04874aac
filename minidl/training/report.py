"""The report of a finished run: ``report.md`` for people, ``report.json`` for programs.

Both hold the same numbers, and all of them come from the run: its settings, its epochs, its last
evaluation, its machine. The only numbers that stand in this file are the AlexNet paper's results,
which the report of a run of 1000 classes shows for comparison.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import cuda
from ..errors import DataError
from ..files import write_atomically
from . import machine
from .log import as_json

__all__ = ["PAPER", "write"]

_SOURCE = (
    "A. Krizhevsky, I. Sutskever, G. E. Hinton: ImageNet Classification with Deep Convolutional "
    "Neural Networks, NIPS 2012"
)
#: For each of the paper's measurements: its description, its place, and the errors in percent.
PAPER = (
    ("one network, ten crops, ILSVRC-2012 validation", "table 2", 40.7, 18.2),
    ("five networks, ten crops, ILSVRC-2012 validation", "table 2", 38.1, 16.4),
    ("one network, ten crops, ILSVRC-2010 test", "table 1", 37.5, 17.0),
    ("one network, single crop, ILSVRC-2010 test", "footnote 5", 39.0, 18.3),
)
_PAPER_CLASSES = 1000

# Those lines of the machine's report that a result and its speed depend on.
_MACHINE = ("minidl", "Python", "numpy", "BLAS", "system", "processor", "threads", "cores")
_MACHINE_GPU = ("CuPy", "CUDA runtime", "NVIDIA driver")


def write(
    folder: str | os.PathLike[str],
    *,
    settings: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    final: Mapping[str, Mapping[str, float]],
) -> None:
    """Write ``report.md`` and ``report.json`` into the folder of a run.

    Parameters
    ----------
    folder : str or path
        Must exist. Older reports in it are replaced atomically.
    settings : mapping of str to object
        The run's options. Four of them have a meaning here: "classes", the names of the classes or
        their number (the report gives the number, and for 1000 classes the paper's results);
        "device"; "bad_pictures", the number of pictures that could not be read; and "command", the
        command that started the run, followed by one line for each time that it was resumed
        (default: the program and its arguments).
    history : sequence of mappings
        One for each epoch: "epoch", "train_loss", "train_top1", "val_loss", "top1", "top5", with
        accuracies in percent. The report shows a dash for missing values.
    final : mapping of str to mapping
        The scores of the final evaluations, such as ``{"single crop": {"top1": 57.1, "top5": 80.2,
        "loss": 1.9}}``: accuracies in percent, and the mean log-loss of the (averaged)
        probabilities.

    Raises
    ------
    DataError
        If the files can't be written.

    Notes
    -----
    The best epoch is the first with the highest top-1 accuracy and, if several have it, the
    smallest validation loss. The report gives errors (100 -
    accuracy), as the paper does, beside accuracies. In ``report.json``, numbers that are not finite
    are ``null``.

    Examples
    --------
    >>> import json, pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> epochs = [{"epoch": 1, "train_loss": 0.7, "top1": 62.5, "top5": 100.0}]
    >>> scores = {"single crop": {"top1": 62.5, "top5": 100.0, "loss": 0.65}}
    >>> write(folder, settings={"classes": ["cat", "dog"]}, history=epochs, final=scores)
    >>> json.loads((folder / "report.json").read_text())["results"]["single crop"]["top1_error"]
    37.5
    """
    content = _content(settings, history, final)
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    for name, body in (("report.json", text), ("report.md", _markdown(content))):
        path = Path(folder) / name
        try:
            # A file name that is not valid text holds surrogates, which UTF-8 can't encode.
            write_atomically(path, [body.encode("utf-8", "backslashreplace")])
        except OSError as error:
            raise DataError(f"{path} can't be written: {error.strerror or error}") from error


def _content(
    settings: Mapping[str, Any],
    history: Sequence[Mapping[str, float]],
    final: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Return the report's content in JSON's types."""
    plain = as_json(settings)
    names = plain.pop("classes", None)
    classes = len(names) if isinstance(names, list) else names
    epochs = [as_json(line) for line in history]
    return {
        "classes": classes,
        "results": {name: _with_errors(as_json(scores)) for name, scores in final.items()},
        "paper": [
            _with_errors({"what": what, "where": where, "top1": 100 - top1, "top5": 100 - top5})
            for what, where, top1, top5 in (PAPER if classes == _PAPER_CLASSES else ())
        ],
        "best": max(epochs, key=_score, default=None),
        "last": epochs[-1] if epochs else None,
        "bad_pictures": plain.pop("bad_pictures", None),
        "epochs": epochs,
        "command": plain.pop("command", None) or shlex.join(["python", *sys.argv]),
        "settings": plain,
        "machine": _machine(str(plain.get("device", "cpu"))),
    }


def _with_errors(scores: dict[str, Any]) -> dict[str, Any]:
    errors = {
        f"{name}_error": None if scores.get(name) is None else round(100 - scores[name], 4)
        for name in ("top1", "top5")
    }
    return {**scores, **errors}


def _score(line: Mapping[str, Any]) -> tuple[float, float]:
    top1, loss = line.get("top1"), line.get("val_loss")
    return -math.inf if top1 is None else float(top1), -math.inf if loss is None else -float(loss)


def _machine(device: str) -> dict[str, str]:
    """Return those lines of the machine's report that the run depends on."""
    if device == "auto":
        device = "gpu" if cuda.is_available() else "cpu"
    gpu = device != "cpu"
    wanted = _MACHINE + (_MACHINE_GPU if gpu else ())
    lines = (line.split(": ", 1) for line in machine.report(gpu).splitlines())
    return {"device": device} | {
        name: value.strip()
        for name, value in lines
        if name in wanted or (gpu and name.startswith("gpu:"))
    }


# --- Markdown -------------------------------------------------------------------------------------


def _markdown(content: dict[str, Any]) -> str:
    classes = content["classes"]
    title = "# Training run" + (f": {classes:,} classes" if isinstance(classes, int) else "")
    parts = [title, *_result(content), "## Epochs"]
    parts.append(
        _table(
            ["epoch", "training loss", "training top-1", "validation loss", "top-1", "top-5",
             "top-1 error", "top-5 error"],
            (
                [str(line.get("epoch")), _number(line, "train_loss"), _percent(line, "train_top1"),
                 _number(line, "val_loss"), *_accuracies_and_errors(line)]
                for line in content["epochs"]
            ),
        )
        if content["epochs"]
        else "None was finished."
    )  # fmt: skip
    for heading, pairs in (("Settings", content["settings"]), ("Machine", content["machine"])):
        rows = ([name, _cell(value)] for name, value in pairs.items())
        parts += [f"## {heading}", _table(["", ""], rows, numbers=False)]
    parts += ["## To do it again", f"```\n{content['command']}\n```"]
    return "\n\n".join(parts) + "\n"


def _result(content: dict[str, Any]) -> list[str]:
    """Return the first section: the run's scores, the paper's, the best epoch."""
    rows = [
        [f"**{_cell(name)}**", *_accuracies_and_errors(scores), _number(scores, "loss")]
        for name, scores in content["results"].items()
    ] + [
        [f"paper: {line['what']} ({line['where']})", *_accuracies_and_errors(line, 1), "–"]
        for line in content["paper"]
    ]
    header = ["", "top-1", "top-5", "top-1 error", "top-5 error", "log-loss"]
    parts = ["## Result", _table(header, rows)] if rows else ["## Result"]
    if content["paper"]:
        parts.append(f"The paper: {_SOURCE}. Its figures are for ImageNet.")
    said = [
        f"{what} epoch: {line.get('epoch')}, top-1 error "
        + _percent(_with_errors(line), "top1_error")
        for what, line in (("Best", content["best"]), ("Last", content["last"]))
        if line is not None
    ]
    if content["bad_pictures"] is not None:
        said.append(f"Pictures that could not be read: {content['bad_pictures']}")
    return [*parts, "\n".join(f"- {line}" for line in said)] if said else parts


def _accuracies_and_errors(scores: dict[str, Any], digits: int = 2) -> list[str]:
    keys = ("top1", "top5", "top1_error", "top5_error")
    return [_percent(_with_errors(scores), key, digits) for key in keys]


def _percent(scores: Mapping[str, Any], key: str, digits: int = 2) -> str:
    return "–" if scores.get(key) is None else f"{scores[key]:.{digits}f} %"


def _number(scores: Mapping[str, Any], key: str) -> str:
    return "–" if scores.get(key) is None else f"{scores[key]:.4f}"


def _cell(value: Any) -> str:
    """Return a value as text that does not end its table cell."""
    text = "–" if value is None else str(value)
    return " ".join(text.split()).replace("|", "\\|")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]], numbers: bool = True) -> str:
    """Return a Markdown table. With `numbers`, all columns but the first are aligned right."""
    line = ["---", *["---:" if numbers else "---"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, line, *rows))
