"""Print a table of what two networks have in common and where they differ: LeNet beside AlexNet.

python examples/compare_networks.py                   (lenet5 and paper)
python examples/compare_networks.py paper torchvision
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from minidl.nn.summary import Summary, summary
from minidl.training import Interruption, run_program
from minidl.training.command_line import Layout
from minidl.vision.models.networks import make_network, plans

#: The kinds of layers that a row of the table counts.
KINDS = {
    "convolutions": ("Conv2d", "LocallyConnected2d"),
    "fully connected layers": ("Linear",),
    "activations": ("ReLU", "Tanh"),
    "pooling": ("MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d"),
    "normalization": ("LocalResponseNorm", "SpatialResponseNorm"),
    "dropout": ("Dropout", "PlainDropout"),
}


def facts(table: Summary) -> dict[str, str]:
    """Return a network's column of the table."""
    found = {"input": "×".join(map(str, table.input_size))}
    for name, kinds in KINDS.items():
        counts = Counter(row.kind for row in table.rows if row.kind in kinds)
        found[name] = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "none"
    convolutions = [row for row in table.rows if row.kind in KINDS["convolutions"]]
    found["kernels"] = " ".join(row.geometry.split("/")[0] for row in convolutions)
    found["maps"] = " ".join("×".join(map(str, row.output_shape)) for row in convolutions)
    units = [row.output_shape[-1] for row in table.rows if row.kind == "Linear"]
    found["units"] = " ".join(map(str, units)) or "none"
    found["parameters"] = f"{table.parameters:,}"
    found["multiply-adds"] = f"{table.macs:,}"
    return found


def run(_: Interruption) -> int:
    """Print the table, of networks with their usual number of classes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Layout)
    parser.add_argument("names", nargs="*", metavar="NETWORK", default=["lenet5", "paper"],
        help=f"{', '.join(plans())} (default: lenet5 paper)")  # fmt: skip
    names = parser.parse_args().names
    classes = [plans(name)[name].rows[-1].outputs for name in names]
    tables = [summary(make_network(*both)) for both in zip(names, classes, strict=True)]
    columns = [facts(table) for table in tables]
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for row in columns[0]:
        print(f"| {row} | {' | '.join(column[row] for column in columns)} |")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(run))
