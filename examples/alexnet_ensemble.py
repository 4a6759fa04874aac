"""Average the predictions of several runs, as the paper's best entries do.

    python examples/alexnet_ensemble.py runs/alexnet runs/alexnet-2 runs/alexnet-3
    python examples/alexnet_ensemble.py RUN... --search             (weights, too)

A run's predictions.safetensors holds the probabilities of its validation pictures. Searched
weights are fitted to every other picture and judged on the rest.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from minidl.errors import ArgumentError
from minidl.training import run_program
from minidl.training.command_line import Layout
from minidl.training.signals import Interruption
from minidl.vision.predictions import Predictions, ensemble, search_weights


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Layout)
    add = parser.add_argument
    add("runs", nargs="+", metavar="RUN", help="folders of runs, or files of predictions")
    add("--search", action="store_true", help="search the weights, too")
    add("--save", metavar="FILE", help="save the average (of equal weights)")
    return parser.parse_args()


def show(name: str, found: Predictions) -> None:
    """Print the errors of a network or an ensemble."""
    print(f"{found.error(1):7.2f} %  {found.error(5):7.2f} %  {name}")


def every_other(found: Predictions, start: int) -> Predictions:
    """Return half of the pictures."""
    return Predictions(found.probabilities[start::2], found.labels[start::2])


def run(_: Interruption) -> int:
    """Print the errors; return the exit status."""
    options = parse()
    paths = [Path(path) for path in options.runs]
    members = [
        Predictions.load(path / "predictions.safetensors" if path.is_dir() else path)
        for path in paths
    ]
    for path, member in zip(paths, members, strict=True):
        if not member.fits(members[0]):
            raise ArgumentError(f"{path} has predictions of other pictures than {paths[0]}")
    mean = ensemble(members)
    print("    top-1      top-5  error")
    for path, member in zip(paths, members, strict=True):
        show(str(path), member)
    show(f"average of {len(members)}", mean)
    if options.search:
        weights = search_weights([every_other(member, 0) for member in members])
        judged = [every_other(member, 1) for member in members]
        show("average, on every other picture", ensemble(judged))
        written = ", ".join(f"{weight:.3f}" for weight in weights)
        show(f"weights {written}, on every other picture", ensemble(judged, weights))
    if options.save:
        mean.save(options.save)
    return 0


if __name__ == "__main__":
    sys.exit(run_program(run))
