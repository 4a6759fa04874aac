"""Figures of the page on pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GREEN, RED, cells, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["routes"]


@drawing
def routes(
    x: np.ndarray, places: np.ndarray, dx: np.ndarray, kernel: int = 3, stride: int = 2
) -> Figure:
    """Draw each window's arrow to the pixel that wins it, and what the pixels collect.

    Parameters
    ----------
    x : array of shape (H, W)
    places : array of int, shape (OH, OW)
        Each window's winner, as row · W + column.
    dx : array of shape (H, W)
        The gradient for an incoming gradient of ones: how many windows each pixel won.
    kernel, stride : int
    """
    from matplotlib.patches import Rectangle

    drawn, (left, right) = figure(7, 3.5, columns=2)
    cells(left, x, dx, "{:.1f}", largest=4, size=8, halo=True)
    colors = BLUE, RED, GREEN, "#7b3294"  # windows of one color are apart
    for (i, j), place in np.ndenumerate(places):
        row, column = divmod(int(place), x.shape[1])
        color, inset = colors[2 * (i % 2) + j % 2], 0.06 + 0.05 * (2 * (i % 2) + j % 2)
        corner, side = (stride * j + inset, stride * i + inset), kernel - 2 * inset
        left.add_patch(Rectangle(corner, side, side, fill=False, edgecolor=color, linewidth=1.1))
        middle, winner = (corner[0] + side / 2, corner[1] + side / 2), (column + 0.5, row + 0.5)
        if middle != winner:
            arrow = {"arrowstyle": "-|>", "color": color, "lw": 1.8, "shrinkA": 0, "shrinkB": 5}
            left.annotate("", winner, middle, arrowprops=arrow)
    left.set_title("each window and its largest number", color=DARK, fontsize=9.5)
    cells(right, np.where(dx > 0, dx, np.nan), dx, "{:.0f}", largest=4, size=11)
    right.set_title("gradients that each pixel collects", color=DARK, fontsize=9.5)
    return drawn
