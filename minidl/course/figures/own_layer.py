"""Figures of the page on a layer of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GREEN, RED, cells, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["learning", "parameters", "shares"]


@drawing
def learning(curves: dict[str, np.ndarray]) -> Figure:
    """Draw the losses of several networks; the first is right, the others are not.

    Parameters
    ----------
    curves : dict of str to array of shape (T,)
        By name, at most five.
    """
    drawn, axes = figure(7, 3.2)
    looks = ((BLUE, "-", 3.4), ("#f0b429", "--", 1.6), (GREEN, "-", 1.8), ("#7b3294", "-", 1.8),
             (RED, "-", 1.8))  # fmt: skip
    lines = [
        axes.plot(curve, style, color=color, linewidth=width, label=name)[0]
        for (name, curve), (color, style, width) in zip(curves.items(), looks, strict=False)
    ]
    lines.sort(key=lambda line: -float(np.sum(line.get_ydata())))  # as they lie, from the top
    axes.legend(handles=lines, frameon=False, loc="center left", bbox_to_anchor=(0.62, 0.34))
    axes.set(xlabel="step", ylabel="loss on 20 pictures", xlim=(0, None), ylim=(0, None))
    return drawn


@drawing
def parameters(counts: dict[str, int]) -> Figure:
    """Draw how many parameters each layer has.

    Parameters
    ----------
    counts : dict of str to int
    """
    drawn, axes = figure(7, 2.7)
    names = list(counts)
    values = np.array(list(counts.values()))
    axes.barh(names, values / 1e6, color=[BLUE if n.startswith("conv") else RED for n in names])
    for row, value in enumerate(values):
        axes.text(value / 1e6 + 0.4, row, f"{value:,}", va="center", fontsize=8.5, color=DARK)
    axes.invert_yaxis()
    axes.set(xlabel="parameters, in millions", xlim=(0, 1.18 * values.max() / 1e6))
    axes.tick_params(axis="y", length=0)
    return drawn


@drawing
def shares(x: np.ndarray, gradients: dict[str, np.ndarray]) -> Figure:
    """Draw a window, and which share of the gradient each of its pixels gets.

    Parameters
    ----------
    x : array of shape (H, W)
    gradients : dict of str to array of shape (H, W)
        By title.
    """
    drawn, axes = figure(7, 2.0, columns=1 + len(gradients))
    cells(axes[0], x, form="{:.1f}", size=8)
    axes[0].set_title("the window", color=DARK, fontsize=9.5)
    largest = max(float(each.max()) for each in gradients.values())
    for each, (title, gradient) in zip(axes[1:], gradients.items(), strict=True):
        cells(each, gradient, gradient, "{:.2f}", largest=largest, size=8)
        each.set_title(f"gradient, {title}", color=DARK, fontsize=9.5)
    return drawn
