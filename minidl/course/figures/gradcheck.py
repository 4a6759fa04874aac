"""Figures of the page on gradient checks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GRAY, GREEN, RED, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["errors", "secants"]


@drawing
def errors(steps: np.ndarray, found: dict[str, np.ndarray], roundoff: dict[str, float]) -> Figure:
    """Draw the error of differences over the step, and the two errors that it consists of.

    Parameters
    ----------
    steps : array of shape (T,)
    found : dict of str to array of shape (T,)
        The errors by name.
    roundoff : dict of str to float
        Names of `found` with their unit roundoff u: a line u / step is drawn for each.
    """
    drawn, axes = figure(7, 3.6)
    lines = zip(found.items(), (BLUE, GREEN, RED), ("o-", "^-", "s-"), strict=True)
    for (name, values), color, style in lines:
        axes.loglog(steps, values, style, color=color, markersize=3.5, linewidth=1.6, label=name)
    axes.loglog(steps, steps**2, ":", color=DARK, linewidth=1)
    axes.text(1.2e-4, 1.2e-9, "step²", color=DARK, rotation=41, fontsize=8.5)
    places = ((1e-13, 1e-7), (1.5e-2, 8e-8))  # below the lines u / step, in free space
    for (name, unit), place in zip(roundoff.items(), places, strict=True):
        color = axes.lines[list(found).index(name)].get_color()
        axes.loglog(steps, unit / steps, ":", color=color, linewidth=1)
        axes.text(*place, "rounding: u / step", color=color, rotation=-24, fontsize=8.5)
        best = int(np.argmin(found[name]))
        axes.plot(steps[best], found[name][best], "o", color=color, markersize=10, fillstyle="none")
    axes.set(xlabel="step", ylabel="error of the slope", ylim=(1e-12, 1e2), xlim=(steps.min(), 1))
    axes.grid(color=GRAY, alpha=0.2)
    axes.legend(frameon=False, loc="upper center", ncols=3, bbox_to_anchor=(0.5, 1.16))
    return drawn


@drawing
def secants(
    f: np.ndarray, x: np.ndarray, points: list[tuple[float, float, float, float]], names: list[str]
) -> Figure:
    """Draw a function, and at some points the line through both sides beside the tangent.

    Parameters
    ----------
    f, x : arrays of shape (T,)
        The curve.
    points : list of (x, step, slope of the backward, slope of the difference)
    names : list of str
        One for each point.
    """
    drawn, axes = figure(7, 2.7, columns=len(points), sharey=True)
    for ax, (here, step, slope, measured), name in zip(axes, points, names, strict=True):
        ax.plot(x, f, color=DARK, linewidth=1.2)
        sides = np.array([here - step, here + step])
        heights = np.interp(sides, x, f)
        middle = np.interp(here, x, f)
        ax.plot(sides, heights, "o--", color=RED, linewidth=1.8, markersize=5)
        reach = np.array([-0.33, 0.33]) * step
        ax.plot(here + reach, middle + slope * reach, color=BLUE, linewidth=4, alpha=0.6)
        ax.plot(here, middle, "o", color=BLUE, markersize=6)
        ax.text(-0.97, 0.93, f"backward: {slope:g}", color=BLUE)
        ax.text(-0.97, 0.78, f"difference: {measured:.3g}", color=RED)
        ax.set_title(name, fontsize=9.5, color=DARK)
        ax.set(xlim=(-1, 1), ylim=(-0.08, 1.05), xticks=[-1, 0, 1], yticks=[0, 1])
    return drawn
