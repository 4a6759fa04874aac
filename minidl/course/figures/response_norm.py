"""Figures of the page on local response normalization."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GRAY, RED, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["jacobians", "suppression"]


@drawing
def jacobians(found: dict[str, np.ndarray]) -> Figure:
    """Draw Jacobians beside each other: positive entries blue, negative ones red.

    Parameters
    ----------
    found : dict of str to array of shape (C, C)
        By title. Row: the output; column: the input.
    """
    from matplotlib.colors import LinearSegmentedColormap

    drawn, axes = figure(7, 3.5, columns=len(found))
    ramp = LinearSegmentedColormap.from_list("signs", [RED, "#ffffff", BLUE])
    for each, (title, matrix) in zip(np.atleast_1d(axes), found.items(), strict=True):
        largest = np.abs(matrix).max()
        each.pcolormesh(matrix / largest, cmap=ramp, vmin=-1, vmax=1, edgecolor=GRAY, linewidth=0.4)
        for (i, j), value in np.ndenumerate(matrix):
            if value:
                white = abs(value) > 0.6 * largest
                text = f"{value:.2f}" if abs(value) >= 0.005 else "·"
                each.text(j + 0.5, i + 0.5, text, ha="center", va="center", fontsize=6.5,
                          color="white" if white else DARK)  # fmt: skip
        each.set_title(title, fontsize=9.5, color=DARK)
        each.set(aspect="equal", xlabel="input channel", ylabel="output channel")
        each.set_ylim(len(matrix), 0)
        each.set_xticks(np.arange(len(matrix)) + 0.5, np.arange(len(matrix)), fontsize=7)
        each.set_yticks(np.arange(len(matrix)) + 0.5, np.arange(len(matrix)), fontsize=7)
        each.tick_params(length=0)
    return drawn


@drawing
def suppression(x: np.ndarray, y: np.ndarray) -> Figure:
    """Draw the activations of one pixel before and after.

    Parameters
    ----------
    x, y : array of shape (C,)
    """
    drawn, axes = figure(7, 2.4, columns=2, sharey=True)
    for each, values, title in zip(axes, (x, y), ("before", "after"), strict=True):
        each.bar(np.arange(len(values)), values, color=BLUE)
        each.set_title(title, fontsize=9.5, color=DARK)
        each.set(xlabel="channel", xticks=np.arange(len(values)))
        for channel, value in enumerate(values):
            each.text(channel, value + 0.05, f"{value:.2f}", ha="center", fontsize=7)
    axes[0].set_ylabel("activation")
    return drawn
