"""``report.html``: every figure of a training run on one page, and each of them alone.

The functions of :data:`FIGURES` each make one figure from a :class:`Source`: a trained network, its
pictures, and its predictions. :func:`write_page` gathers them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError
from ...nn import Module
from ...nn.summary import summary
from ...tensor import Tensor
from ...training.report import PAPER
from ..metrics import evaluate
from ..models.rows import RowNet
from ..neighbors import nearest_neighbors
from ..predictions import Predictions, Recorder, features
from .architecture import architecture_svg
from .canvas import one_per_class, spread
from .curves import plot_curves, save_curves
from .filters import first_filters, save_filters, smoothness
from .inside import plot_activations, plot_saliency
from .page import Page, encode_png
from .panels import plot_confusion, plot_mistakes, plot_neighbors, plot_top5

__all__ = [
    "FIGURES", "WITHOUT_PICTURES", "Drawn", "Source", "save_all", "save_figure", "write_page",
]  # fmt: skip

_TOP5, _QUERIES, _NEIGHBORS, _MISTAKES = 8, 5, 6, 12  # pictures in the figures; the paper's first
_GALLERY = 500  # training pictures among which neighbors are searched


@dataclass
class Source:
    """What the figures are drawn from.

    Parameters
    ----------
    model : RowNet
    pictures : PictureBatches or None
        Its training pictures and the pictures that it is judged on; the figures of
        :data:`WITHOUT_PICTURES` need none.
    names : sequence of str
        Names of the classes.
    folder : str or path
        The run's folder, which holds ``log.jsonl``.
    scores : dict, optional
        For each evaluation ("single crop"), its "top1", "top5" and "loss", as in the run's report.
    given : Predictions, optional
        For the pictures that the network is judged on. Default: made when needed.
    """

    model: RowNet
    pictures: Any
    names: Sequence[str]
    folder: str | os.PathLike[str]
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    given: Predictions | None = None

    def __post_init__(self) -> None:  # the name of a folder may be no UTF-8
        self.names = [name.encode(errors="replace").decode() for name in self.names]

    @cached_property
    def predictions(self) -> Predictions:
        if self.given is not None:
            return self.given
        recorder = Recorder()
        evaluate(self.model, self.pictures.evaluation(), record=recorder)
        return recorder.predictions()

    def shown(self, indices: Sequence[int]) -> list[np.ndarray]:
        """Return pictures that the network is judged on, as people see them."""
        return [picture for picture, _ in self.pictures.shown(self.pictures.val, indices)]


class Drawn(NamedTuple):
    """A figure: its heading, the picture, what it shows in words, and how to read it."""

    heading: str
    picture: Any
    alt: str
    caption: str


def _curves(source: Source) -> Drawn | None:
    log = Path(source.folder) / "log.jsonl"
    if not log.exists():  # weights alone
        return None
    return Drawn(
        "Learning curves",
        plot_curves(log),
        "Loss and accuracy on the training and the validation pictures, by training step",
        "Left: the loss, which training minimizes. Right: the accuracy.",
    )


def _filters(source: Source) -> Drawn:
    conv1 = next(iter(source.model.named_rows().values()))
    said = f"neighboring weights of the strongest correlate by {smoothness(conv1.weight.array):.2f}"
    return Drawn(
        "First layer's kernels",
        first_filters(source.model, zoom=5),
        f"The kernels of the first convolution as small color pictures; {said}",
        "As in the paper's Figure 3: all kernels share one scale from the smallest weight (black) "
        "to the largest (white). A white line separates the towers. "
        f"{said.capitalize()} (noise: 0).",
    )


def _top5(source: Source) -> Drawn:
    found = source.predictions
    chosen = one_per_class(found.labels, _TOP5)
    chances, labels = found.probabilities[chosen], found.labels[chosen]
    said = (
        f"{source.names[label]}: answered {source.names[int(row.argmax())]} with {row.max():.0%}"
        for row, label in zip(chances, labels, strict=True)
    )
    return Drawn(
        "Five most probable classes",
        plot_top5(source.shown(chosen), chances, labels, source.names),
        "; ".join(said),
        "As in the paper's Figure 4, left: the right class stands above each picture; its bar, if "
        "it is among the five, is orange.",
    )


def _neighbors(source: Source) -> Drawn:
    pictures, found = source.pictures, source.predictions
    last = list(source.model.named_rows().values())[-1]
    chosen = one_per_class(found.labels, _QUERIES)
    gallery = spread(len(pictures.train), _GALLERY)
    queries = features(source.model, pictures.some(pictures.val, chosen), last)
    rows, _ = nearest_neighbors(
        queries, features(source.model, pictures.some(pictures.train, gallery), last), _NEIGHBORS
    )
    near = [pictures.shown(pictures.train, [gallery[row] for row in line]) for line in rows]
    names = [[source.names[label] for _, label in line] for line in near]
    own = [source.names[label] for label in found.labels[chosen]]
    same = sum(line.count(name) for line, name in zip(names, own, strict=True))
    shown = [[picture for picture, _ in line] for line in near]
    return Drawn(
        "Nearest neighbors",
        plot_neighbors(source.shown(chosen), shown, own, names),
        f"{same} of {rows.size} neighbors have the class of their picture",
        f"As in the paper's Figure 4, right: pictures that the network was not trained on, and the "
        f"{rows.shape[1]} of {len(gallery):,} training pictures whose activations in the last "
        f"hidden layer are closest by Euclidean distance. Other classes have violet names.",
    )


def _confusion(source: Source) -> Drawn:
    found = source.predictions
    counts = found.confusion()
    wrong = counts - np.diag(np.diag(counts))
    right, answer = divmod(int(wrong.argmax()), len(wrong))
    said = f"{len(found.labels) - wrong.sum():,} of {len(found.labels):,} pictures are right"
    if wrong.any():
        said += (
            f"; most often wrong: {source.names[right]} taken for {source.names[answer]} "
            f"({wrong[right, answer]} of {counts[right].sum()})"
        )
    return Drawn(
        "Confusion matrix",
        plot_confusion(found, source.names),
        said,
        f"Rows are right classes, columns are answers. {said}.",
    )


def _mistakes(source: Source) -> Drawn | None:
    found = source.predictions
    chosen = found.mistakes()[:_MISTAKES]
    if not len(chosen):
        return None
    chances, labels = found.probabilities[chosen], found.labels[chosen]
    said = (
        f"{source.names[label]} taken for {source.names[int(row.argmax())]} with {row.max():.0%}"
        for row, label in zip(chances, labels, strict=True)
    )
    return Drawn(
        "Most confident mistakes",
        plot_mistakes(source.shown(chosen.tolist()), chances, labels, source.names),
        "; ".join(said),
        "The wrongly classified pictures whose wrong answer has the highest probability.",
    )


def _one_picture(source: Source) -> tuple[list[int], Tensor, int]:
    """Return the index of a picture in a list, the network's input, and the label."""
    chosen = one_per_class(source.predictions.labels, 1)
    images, _ = next(iter(source.pictures.some(source.pictures.val, chosen)))
    return chosen, images, int(source.predictions.labels[chosen[0]])


def _activations(source: Source) -> Drawn:
    _, images, label = _one_picture(source)
    name = source.names[label]
    return Drawn(
        "Activations",
        plot_activations(source.model, images),
        f"The strongest maps of each layer for a picture of the class {name}",
        f"One picture ({name}) on its way through the network: the twelve maps of each convolution "
        f"with the largest activations, and the units of the other layers as bars.",
    )


def _saliency(source: Source) -> Drawn:
    chosen, images, label = _one_picture(source)
    picture, name = source.shown(chosen)[0], source.names[label]
    return Drawn(
        "Saliency",
        plot_saliency(source.model, picture, images, label, name),
        f"Which parts of a picture speak for the class {name}",
        "Middle: how much each pixel could change the score of the right class. Right: where the "
        "last convolution finds evidence for it (Grad-CAM); yellow is most.",
    )


def _architecture(source: Source) -> Drawn:
    return Drawn(
        "Architecture",
        architecture_svg(source.model),
        "The network's layers as boxes",
        "As in the paper's Figure 2: maps are boxes, as high as their size and as wide as they are "
        "many; fully connected layers are bars.",
    )


#: The figures by name, in the order of the page. Each may return None if there is nothing to draw.
FIGURES: dict[str, Callable[[Source], Drawn | None]] = {
    "curves": _curves,
    "filters": _filters,
    "top5": _top5,
    "neighbors": _neighbors,
    "confusion": _confusion,
    "mistakes": _mistakes,
    "activations": _activations,
    "saliency": _saliency,
    "architecture": _architecture,
}

#: Those that show the network alone, or its log.
WITHOUT_PICTURES = frozenset(("curves", "filters", "architecture"))


def write_page(source: Source, path: str | os.PathLike[str]) -> Path:
    """Write the page: scores, all figures, what each layer costs.

    Returns
    -------
    Path
        The page's.

    Raises
    ------
    ImportError
        Matplotlib is not installed.
    """
    page = Page(f"AlexNet ({source.model.variant}), {len(source.names):,} classes")
    page.add_table(
        "Results",
        ["", "top-1 error", "top-5 error"],
        _results(source),
        "The paper's errors are those on ImageNet's 1000 classes.",
    )
    for draw in FIGURES.values():
        drawn = draw(source)
        if drawn is not None:
            page.add_figure(*drawn)
    table = summary(source.model)
    rows = [
        (row.name, row.kind, "×".join(map(str, row.output_shape)), _count(row.parameters),
         _count(row.macs), f"{row.macs / table.macs:.1%}" if row.macs else "")
        for row in table.rows
    ]  # fmt: skip
    total = ("total", "", "", f"{table.parameters:,}", f"{table.macs:,}", "")
    page.add_table(
        "Cost of each layer",
        ["layer", "type", "output", "parameters", "multiply-adds", "share"],
        [*rows, total],
        "Multiplications, each with an addition, for one picture.",
    )
    page.save(path)
    return Path(path)


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _results(source: Source) -> list[tuple[str, str, str]]:
    """Return our errors and the paper's in percent."""
    ours = [
        (name, f"{100 - scores['top1']:.2f} %", f"{100 - scores['top5']:.2f} %")
        for name, scores in source.scores.items()
    ]
    theirs = [
        (f"the paper: {what} ({where})", f"{top1:.1f} %", f"{top5:.1f} %")
        for what, where, top1, top5 in PAPER
    ]
    return [*ours, *theirs]


def save_figure(source: Source, name: str, path: str | os.PathLike[str]) -> str:
    """Save one of :data:`FIGURES` as a file, ``.svg`` for the architecture and else ``.png``.

    Returns
    -------
    str
        What the figure shows.

    Raises
    ------
    DataError
        There is nothing to draw.
    """
    drawn = FIGURES[name](source)
    if drawn is None:
        raise DataError(f"{name}: there is nothing to draw")
    is_text = isinstance(drawn.picture, str)
    Path(path).write_bytes(drawn.picture.encode() if is_text else encode_png(drawn.picture))
    return drawn.alt


def save_all(
    model: Module,
    log: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    source: Source | None = None,
    page: bool = True,
) -> list[str]:
    """Save ``filters.png`` and, if Matplotlib is installed, ``curves.png`` in a folder.

    Parameters
    ----------
    model : Module
    log : str or path
    folder : str or path
    source : Source, optional
        Its predictions are saved as ``predictions.safetensors``.
    page : bool, default True
        Also write ``report.html`` from the source, if Matplotlib is installed.

    Returns
    -------
    list of str
        Names of the files written.
    """
    folder, written = Path(folder), ["filters.png"]
    save_filters(model, folder / "filters.png")
    if source is not None:
        found = replace(source.predictions, classes=list(source.names))
        found.save(folder / "predictions.safetensors")
        written.append("predictions.safetensors")
    with suppress(ImportError):
        save_curves(log, folder / "curves.png")
        written.append("curves.png")
        if source is not None and page:
            write_page(source, folder / "report.html")
            written.append("report.html")
    return sorted(written)
