"""Figures of the page on the optimization step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GRAY, RED, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["paths", "speeds", "valley"]


@drawing
def paths(found: dict[str, np.ndarray], drop: int, label: str) -> Figure:
    """Draw curves over the steps, with a line where the rate drops.

    Parameters
    ----------
    found : dict of str to array of shape (T,)
        By name.
    drop : int
        The first step with the lower rate.
    label : str
        Of the vertical axis.
    """
    drawn, axes = figure(7, 2.9)
    for (name, values), color, style in zip(found.items(), (BLUE, RED), ("-", "--"), strict=True):
        axes.plot(np.arange(len(values)), values, style, color=color, label=name, linewidth=1.8)
    axes.axvline(drop, color=GRAY, linewidth=0.8)
    axes.text(drop + 0.2, axes.get_ylim()[1], "rate / 10", va="top", fontsize=8, color=DARK)
    axes.set(xlabel="step", ylabel=label)
    axes.legend(frameon=False)
    return drawn


@drawing
def speeds(momenta: list[float], curves: list[np.ndarray]) -> Figure:
    """Draw how the length of a step grows to 1 / (1 - momentum) under a constant gradient.

    Parameters
    ----------
    momenta : list of float
    curves : list of array of shape (T,)
    """
    drawn, axes = figure(7, 2.6)
    for momentum, curve, color in zip(momenta, curves, (BLUE, "#2e7d4f", RED), strict=True):
        axes.plot(np.arange(1, len(curve) + 1), curve, color=color, linewidth=1.8)
        axes.text(len(curve) + 0.5, curve[-1], f"momentum {momentum:g}", va="center", color=color)
    axes.set(xlabel="step", ylabel="step / (rate · gradient)", xlim=(0, len(curves[0]) * 1.22))
    return drawn


@drawing
def valley(found: dict[str, np.ndarray], drop: int) -> Figure:
    """Draw paths down the valley (w0² + 10 w1²) / 2, over lines of equal loss.

    Parameters
    ----------
    found : dict of str to array of shape (T, 2)
        By name.
    drop : int
        The first step with the lower rate.
    """
    from matplotlib.patches import Ellipse

    drawn, axes = figure(7, 2.9)
    for loss in (0.5, 2, 5, 9, 14):
        width, height = 2 * np.sqrt(2 * loss), 2 * np.sqrt(loss / 5)
        axes.add_patch(Ellipse((0, 0), width, height, fill=False, edgecolor=GRAY, linewidth=0.7))
    for (name, path), color, style in zip(found.items(), (BLUE, RED), ("-", "--"), strict=True):
        axes.plot(*path.T, style, color=color, linewidth=1.8, label=name)
        axes.plot(*path[-1], "o", color=color, markersize=6)
    first = next(iter(found.values()))
    axes.plot(*first[drop], "o", markersize=10, fillstyle="none", color=DARK, linestyle="none",
              label="the rate falls to a tenth")  # fmt: skip
    axes.set(aspect="equal", xlim=(-4.7, 4.7), ylim=(-1.75, 1.75), xlabel="w0", ylabel="w1")
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, 1.2), ncols=3, fontsize=8.5)
    return drawn
