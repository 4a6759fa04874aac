"""What pooling does: four statements of a well-known quiz, each checked, and max against average.

    python examples/pooling.py                 (writes pooling.png)

The statements are checked on the activations of a drawn picture's edges; one of them is false.
"""

from __future__ import annotations

import argparse
import os
import sys

import numpy as np

import minidl
from minidl.nn.functional import avg_pool2d, max_pool2d, unfold
from minidl.training import Interruption, make_folder, run_program
from minidl.vision.figures.canvas import Sheet
from minidl.vision.models import alexnet


def edges(shift: int = 0) -> minidl.Tensor:
    """Return two maps (1, 2, 24, 24): the vertical and the horizontal edges of a square."""
    picture = np.zeros((25, 25), np.float32)
    picture[6:16, 6 + shift : 16 + shift] = 1.0
    maps = np.abs(np.stack([np.diff(picture[:-1], axis=1), np.diff(picture[:, :-1], axis=0)]))
    return minidl.tensor(maps[None])


def fewer_parameters() -> tuple[bool, str]:
    """A: Pooling samples down; the layers that follow have fewer parameters."""
    networks = alexnet("cifar", 10), alexnet("cifar", 10, without="pool5")
    pooled, more = (sum(p.numel() for p in network.parameters()) for network in networks)
    return pooled < more, f"AlexNet for 32×32: {pooled:,}; without its last pooling: {more:,}"


def largest_of_each_window() -> tuple[bool, str]:
    """B: Max-pooling keeps the largest value of each window."""
    maps = edges()
    pooled = max_pool2d(maps, 3, 2)
    windows = unfold(maps, 3, stride=2).reshape(2, 9, -1)  # (channels, places, windows)
    largest = windows.amax(1).reshape(pooled.shape)
    return bool((pooled == largest).all()), f"{pooled.numel()} windows of 3×3"


def invariance_is_lost() -> tuple[bool, str]:
    """C: Pooling takes away the invariance to shifts."""
    moved = [
        pool(edges(2)) - pool(edges(1))
        for pool in (lambda maps: maps, lambda maps: max_pool2d(maps, 6, 6))
    ]
    before, after = (int((difference != 0).sum()) for difference in moved)
    return after > 0, f"a shift by one pixel changes {before} activations, and {after} pooled ones"


def depth_stays() -> tuple[bool, str]:
    """D: Each map is pooled by itself, so the depth stays."""
    maps = edges()
    alone = minidl.cat([max_pool2d(maps[:, k : k + 1], 3, 2) for k in range(2)], 1)
    pooled = max_pool2d(maps, 3, 2)
    return bool((pooled == alone).all()), f"{tuple(maps.shape)} becomes {tuple(pooled.shape)}"


STATEMENTS = (fewer_parameters, largest_of_each_window, invariance_is_lost, depth_stays)


def draw(path: str) -> None:
    """Draw a map, the same map pooled by maximum and by average, and both for a shifted one."""
    sheet = Sheet(9.3, 6.4)
    for row, shift in enumerate((1, 2)):
        maps = edges(shift)[:, :1]
        for column, (name, shown) in enumerate(
            (
                (f"edges, shifted by {shift}", maps),
                ("largest of 6×6", max_pool2d(maps, 6, 6)),
                ("average of 6×6", avg_pool2d(maps, 6, 6)),
            )
        ):
            x, y = 3.1 * column + 0.1, 3.2 * row + 0.3
            sheet.text(x + 1.4, y - 0.12, name, fontsize=10)
            sheet.picture(x, y, 2.8, shown[0, 0].cpu().numpy())
    sheet.done().savefig(path, dpi=100)


def run(_: Interruption) -> int:
    """Check the statements, print the verdicts, draw; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", default="pooling.png", metavar="FILE", help="the picture")
    parser.add_argument("--device", default="cpu", help="cpu, gpu or gpu:N (default: cpu)")
    options = parser.parse_args()
    minidl.set_default_device(options.device)
    make_folder(os.path.dirname(os.path.abspath(options.output)))
    for statement in STATEMENTS:
        holds, shown = statement()
        print(f"{'true ' if holds else 'FALSE'}  {statement.__doc__}\n       {shown}")
    draw(options.output)
    print(f"max against average on the same maps: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(run))
