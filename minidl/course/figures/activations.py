"""Figures of the page on activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GRAY, GREEN, RED, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["passing", "slopes", "training"]

_LOOKS = ((BLUE, "-"), (RED, "--"), (GREEN, "-."))


@drawing
def slopes(x: np.ndarray, found: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Draw functions above their slopes.

    Parameters
    ----------
    x : array of shape (K,)
    found : dict of str to pair of arrays of shape (K,)
        By name: the values and the slopes.
    """
    drawn, axes = figure(7, 3.7, len(found), 2, sharex=True, sharey="row")
    for column, (name, (y, slope)) in enumerate(found.items()):
        above, below = axes[:, column]
        above.plot(x, y, color=BLUE, linewidth=2)
        below.plot(x, slope, color=RED, linewidth=2)
        below.fill_between(x, 0, slope, color=RED, alpha=0.2, linewidth=0)
        above.set_title(name, fontsize=9.5, color=DARK)
        above.set_ylim(-1.3, 2.3)
        below.set(ylim=(-0.08, 1.15), xlabel="input x")
        for each in above, below:
            each.axhline(0, color=GRAY, linewidth=0.7)
            each.axvline(0, color=GRAY, linewidth=0.7)
    axes[0, 0].set_ylabel("output y")
    axes[1, 0].set_ylabel("slope dy/dx")
    return drawn


@drawing
def passing(sizes: np.ndarray, shares: dict[str, np.ndarray]) -> Figure:
    """Draw what share of the gradient's variance passes, against the inputs' standard deviation.

    Parameters
    ----------
    sizes : array of shape (K,)
    shares : dict of str to array of shape (K,)
        By name.
    """
    drawn, axes = figure(7, 2.7)
    for (name, share), (color, style) in zip(shares.items(), _LOOKS, strict=True):
        axes.plot(sizes, share, style, color=color, linewidth=2)
        axes.text(sizes[0] * 1.05, share[0] + 0.03, name, color=color)
    axes.set(xscale="log", ylim=(0, 1.12), xlabel="standard deviation of the inputs",
             ylabel="share that passes")  # fmt: skip
    axes.set_xticks([0.1, 0.3, 1, 3, 10], ["1/10", "3/10", "1", "3", "10"])
    axes.minorticks_off()
    return drawn


@drawing
def training(
    errors: dict[str, np.ndarray], dead: dict[str, tuple[np.ndarray, np.ndarray]]
) -> Figure:
    """Draw training errors over the steps, and beside them the share of dead units.

    Parameters
    ----------
    errors : dict of str to array of shape (T,)
        By activation.
    dead : dict of str to pair of arrays of shape (K,)
        By learning rate: the steps and the shares.
    """
    drawn, (left, right) = figure(7, 3.0, columns=2)
    for (name, values), (color, style) in zip(errors.items(), _LOOKS, strict=True):
        left.plot(100 * values, style, color=color, linewidth=1.8, label=name)
    left.axhline(25, color=GRAY, linewidth=0.8)
    left.text(0, 26, "25 %", fontsize=8, color=DARK)
    left.set(xlabel="step", ylabel="training error in %", ylim=(0, 75), title="three activations")
    for (name, (steps, shares)), (color, style) in zip(dead.items(), _LOOKS, strict=True):
        right.plot(steps, 100 * shares, style, color=color, linewidth=1.8, label=name)
    right.set(xlabel="step", ylabel="dead units in %", ylim=(0, 100), title="ReLU, three rates")
    for axes in left, right:
        axes.title.set_fontsize(9.5)
        axes.legend(frameon=False, fontsize=8.5)
    return drawn
