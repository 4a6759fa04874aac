"""Figures of the page on precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GRAY, GREEN, RED, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["against_size", "by_layer", "stuck"]


@drawing
def stuck(running: np.ndarray, numbers: np.ndarray, gaps: np.ndarray) -> Figure:
    """Draw a sum of ones that stops growing, and the gaps between a dtype's numbers.

    Parameters
    ----------
    running : array of shape (N,)
        The sum after each addition.
    numbers, gaps : array of shape (M,)
        Some numbers, and how far away the next larger number of the dtype is.
    """
    drawn, (left, right) = figure(7, 3.0, columns=2)
    steps = np.arange(1, len(running) + 1)
    left.plot(steps, steps, color=GRAY, linewidth=1.2, linestyle="--")
    left.plot(steps, running, color=RED, linewidth=2)
    last = float(running.max())
    left.text(steps[-1], last - 90, "added up in float16", color=RED, ha="right", va="top")
    left.text(0.93 * last, 1.06 * last, "truth", color=DARK, ha="right")
    left.set(xlabel="ones added", ylabel="sum", xlim=(0, None), ylim=(0, None))
    ticks = [0, 1024, 2048, 3072, 4096]
    left.set_xticks(ticks)
    left.set_yticks(ticks)
    right.step(numbers, gaps, where="post", color=BLUE, linewidth=2)
    right.axhline(1, color=GRAY, linewidth=0.8)
    right.axvline(last, color=GRAY, linewidth=0.8)
    right.set_xscale("log", base=2)
    right.set_yscale("log", base=2)
    right.set(xlabel="float16 number", ylabel="distance to the next one")
    right.set_xticks([2.0**n for n in (3, 5, 7, 9, 11, 13)], [8, 32, 128, 512, 2048, 8192])
    right.set_yticks([2.0**n for n in range(-6, 5, 2)], ["1/64", "1/16", "1/4", 1, 4, 16])
    right.text(9, 1.15, "above: adding 1 has no effect", fontsize=8, color=DARK)
    right.minorticks_off()
    return drawn


@drawing
def against_size(
    sizes: np.ndarray, errors: dict[str, np.ndarray], label: str, note: str = ""
) -> Figure:
    """Draw relative errors of several methods, both axes logarithmic.

    Parameters
    ----------
    sizes : array of shape (M,)
    errors : dict of str to array of shape (M,)
        By method; each name stands at the end of its line.
    label : str
        Of the horizontal axis.
    note : str, default ""
        What an error of 1 means.
    """
    drawn, axes = figure(7, 3.1)
    ends = {name: values[np.isfinite(values)][-1] for name, values in errors.items()}
    for (name, values), color in zip(errors.items(), (RED, BLUE, GREEN), strict=False):
        axes.plot(sizes, values, "o-", color=color, linewidth=1.8, markersize=3.5)
        last, end = sizes[np.isfinite(values)][-1], ends[name]
        crowded = any(1 < end / other < 3 for other in ends.values())  # by a lower line
        place = "bottom" if crowded or end >= 1 else "center"
        axes.text(last * 1.6, end, name, color=color, va=place, fontsize=9)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set(xlabel=label, ylabel="relative error")
    axes.set_xlim(sizes[0] / 1.5, sizes[-1] * (sizes[-1] / sizes[0]) ** 0.42)
    axes.set_xticks([n for n in axes.get_xticks() if sizes[0] <= n <= sizes[-1] * 1.01])
    if note:
        axes.axhline(1, color=GRAY, linewidth=0.8)
        axes.text(sizes[0], 1.6, note, fontsize=8, color=DARK)
        axes.set_ylim(None, 100)
    axes.minorticks_off()
    return drawn


@drawing
def by_layer(errors: dict[str, dict[str, float]]) -> Figure:
    """Draw the errors of two ways to compute each layer as bars.

    Parameters
    ----------
    errors : dict of str to dict of str to float
        By layer, then by method.
    """
    drawn, axes = figure(7, 2.9)
    methods = list(next(iter(errors.values())))
    middle = np.arange(len(errors))
    for place, (method, color) in enumerate(zip(methods, (BLUE, RED), strict=True)):
        values = [1e6 * layer[method] for layer in errors.values()]
        axes.bar(middle + 0.36 * (place - 0.5), values, 0.34, color=color, label=method)
    spacing = 1e6 * float(np.finfo(np.float32).eps)
    axes.axhline(spacing, color=DARK, linewidth=1, linestyle="--")
    axes.text(len(errors) - 0.35, spacing * 1.3, "float32's eps", fontsize=8, color=DARK)
    axes.set(ylabel="error, millionths of the output", xlim=(-0.5, len(errors) + 0.35))
    axes.set_xticks(middle, list(errors))
    axes.legend(frameon=False, loc="upper right", fontsize=9)
    return drawn
