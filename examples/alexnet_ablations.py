"""Train AlexNet without one of its parts at a time, and tabulate what each part brings.

    python examples/alexnet_ablations.py                            (all of them, on Shapes)
    python examples/alexnet_ablations.py --no-lrn --no-overlap --data DIR --device gpu
    python examples/alexnet_ablations.py --small                    (narrow networks: minutes each)
    python examples/alexnet_ablations.py --table                    (only what is finished)

Each network is a run of alexnet_imagenet.py in a folder of its own: a run that was interrupted is
resumed, a finished one is not repeated. The table has the paper's differences beside ours.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import alexnet_imagenet

from minidl import training
from minidl.errors import ArgumentError
from minidl.training.command_line import Layout, add_device_options, at_least
from minidl.training.folders import LOG_NAME


class Ablation(NamedTuple):
    """A change of the recipe, and by how many points the paper's errors rise with it."""

    what: str
    settings: dict[str, Any]
    paper: str = ""


#: The paper's network with all of its parts. (alexnet_figures.py draws the page of a run.)
BASELINE: dict[str, Any] = {"variant": "paper", "color_jitter": True, "report": False}

#: What --small changes.
SMALL: dict[str, Any] = {
    "network": {"width": 0.25, "input_mode": "crop67"}, "init": "scaled", "lr": 0.01, "epochs": 6,
}  # fmt: skip

#: In these settings all runs of a folder agree.
SAME = ("network", "data", "epochs", "variant", "init", "lr", "seed", "limit_batches")

# The settings of the options "no-lrn" and so on, which override the baseline's.
ABLATIONS = {
    "no-lrn": Ablation(
        "no response normalization", {"network": {"without": ["norm1", "norm2"]}}, "+1.4 / +1.2"
    ),
    "no-overlap": Ablation(
        "pooling 2×2, no overlap", {"network": {"overlap": False}}, "+0.4 / +0.3"
    ),
    "no-dropout": Ablation("no dropout", {"dropout": 0.0}, "strong overfitting"),
    "no-jitter": Ablation("no color jitter", {"color_jitter": False}, "more than +1 / –"),
    "no-augment": Ablation("no random crops, no mirroring", {"augment": False}, "overfitting"),
    **{
        f"no-conv{k}": Ablation(
            f"without conv{k}",
            {"network": {"without": [f"conv{k}"], "keep_pooling": True}},
            "about +2 / –" if k in (3, 4) else "",
        )
        for k in (2, 3, 4, 5)
    },
    "no-groups": Ablation("one tower: no groups", {"network": {"groups": 1}}),
    "half-width": Ablation("one tower of half the width", {"variant": "half"}, "+1.7 / +1.2"),
    "tanh": Ablation(
        "tanh instead of ReLU", {"network": {"activation": "tanh"}}, "6 times the epochs"
    ),
    "init-torch": Ablation("PyTorch's initial weights", {"init": "torch"}),
    "init-paper": Ablation("the paper's initial weights", {"init": "paper"}),
}


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Layout)
    add = parser.add_argument_group("ablations (default: all)").add_argument
    for name, ablation in ABLATIONS.items():
        add(f"--{name}", action="append_const", dest="chosen", const=name, help=ablation.what)
    add = parser.add_argument_group("runs").add_argument
    add("--data", metavar="DIR", help="see alexnet_imagenet.py (default: Shapes)")
    add("--epochs", type=at_least(1), metavar="N", help="default: the recipe's")
    add("--variant", help="the network with all of its parts (default: paper)")
    add("--init", help="its initial values (default: the recipe's)")
    add("--small", action="store_true",
        help="a quarter of the kernels and units, 67 pixels, 6 epochs")  # fmt: skip
    add("--limit-batches", type=at_least(1), metavar="N", help="end epochs after N (default: all)")
    add("--workers", type=at_least(0), metavar="N", help="processes that prepare pictures")
    add("--seed", type=int, metavar="N", help="decides everything random (default: 0)")
    add("--output", default="runs/ablations", metavar="DIR", help="default: runs/ablations")
    add("--table", action="store_true", help="train nothing, print the table")
    add_device_options(add, default="auto")
    return parser.parse_args()


def agreed(folder: Path, given: dict[str, Any]) -> dict[str, Any]:
    """Return the given settings, and those of a finished baseline, which others must share."""
    path = folder / "baseline" / "report.json"
    if not path.exists():
        return given
    saved = json.loads(path.read_text())["settings"]
    given = {"network": {}, **given}
    for name in SAME:
        old = saved.get(name, {} if name == "network" else None)
        moved = name == "data" and old is not None and not os.path.exists(old)
        if given.setdefault(name, old) != old and not moved:
            raise ArgumentError(
                f"{path.parent} was trained with {name} = {old}, not {given[name]}: name another "
                "--output"
            )
    return given


def table(folder: Path) -> str:
    """Return the errors of the finished runs, and how much they rise over the baseline's."""
    errors = {}
    for name in ("baseline", *ABLATIONS):
        if (folder / name / "report.json").exists():
            scores = json.loads((folder / name / "report.json").read_text())["results"]
            errors[name] = [scores["single crop"][f"top{k}_error"] for k in (1, 5)]
    lines = ["| | top-1 error | top-5 error | rise | in the paper |", "|---|---:|---:|---:|---|"]
    for name, (top1, top5) in errors.items():
        what, paper = ABLATIONS[name].what if name in ABLATIONS else "all parts", ""
        rise = ""
        if name in ABLATIONS:
            paper = ABLATIONS[name].paper
            first, fifth = errors.get("baseline", (top1, top5))
            rise = f"{top1 - first:+.2f} / {top5 - fifth:+.2f}" if "baseline" in errors else "–"
        lines.append(f"| {what} | {top1:.2f} % | {top5:.2f} % | {rise} | {paper} |")
    return "\n".join(lines)


def run(interruption: training.Interruption) -> int:
    """Train what is not finished; print the table; return the exit status."""
    options = parse()
    folder = Path(options.output)
    alexnet_imagenet.Run.go_on = sys.argv  # which resumes the run that was interrupted
    given = {name: value for name, value in vars(options).items() if value is not None}
    own = {name: given.pop(name, None) for name in ("chosen", "output", "table", "small")}
    if own["small"]:
        given = {**SMALL, **given}
    if given.get("data"):
        given["data"] = os.path.abspath(given["data"])
    for name in [] if options.table else ["baseline", *(own["chosen"] or ABLATIONS)]:
        given, output = agreed(folder, given), folder / name
        if (output / "report.json").exists():
            continue
        settings = given | (ABLATIONS[name].settings if name in ABLATIONS else {})
        settings["network"] = given.get("network", {}) | settings.get("network", {})
        if (output / "last.safetensors").exists():
            settings["resume"] = str(output)
        else:
            (output / LOG_NAME).unlink(missing_ok=True)  # ended before its first checkpoint
            settings = {**BASELINE, **settings, "output": str(output)}
        print(f"\n{name}: {ABLATIONS[name].what if name in ABLATIONS else 'all parts'}")
        status = alexnet_imagenet.run(interruption, settings)
        if status:
            return status
    print(f"\n{table(folder)}")
    return 0


if __name__ == "__main__":
    training.speak_to_nobody()
    sys.exit(training.run_program(run))
