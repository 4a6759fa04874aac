"""Figures of the page on initial values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GRAY, GREEN, RED, drawing, figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

__all__ = ["learning", "sizes_by_layer", "two_pictures"]

_COLORS = RED, "#7b3294", GREEN, BLUE


@drawing
def sizes_by_layer(
    forward: dict[str, np.ndarray], backward: dict[str, np.ndarray], factors: Sequence[float]
) -> Figure:
    """Draw the size of the signal after each layer, and that of the gradient on its way back.

    Parameters
    ----------
    forward, backward : dict of str to array of shape (layers + 1,)
        By kind of initial values: from the input on; from the output on.
    factors : sequence of float
        By how much each layer should multiply, for the dotted lines.
    """
    drawn, panels = figure(7, 3.2, columns=2, sharey=True)
    for axes, curves in zip(panels, (forward, backward), strict=True):
        axes.axhline(1, color=GRAY, linewidth=0.8)
        for (name, sizes), factor, color in zip(curves.items(), factors, _COLORS, strict=True):
            layers = np.arange(len(sizes))
            axes.plot(layers, factor**layers, ":", color=color, linewidth=1.2)
            axes.plot(layers, sizes, "o", color=color, markersize=4)
            axes.text(len(sizes) - 0.7, sizes[-1], name, color=color, va="center", fontsize=8.5)
        axes.set(yscale="log", xlim=(-0.3, len(sizes) + 2.2))
        axes.set_xticks(range(0, len(sizes), 2))
    panels[0].set(xlabel="layers from the input on", ylabel="size (log scale)")
    panels[1].set(xlabel="layers from the output back")
    panels[0].set_title("the signal, forward", fontsize=9.5, loc="left")
    panels[1].set_title("the gradient, backward", fontsize=9.5, loc="left")
    return drawn


@drawing
def learning(curves: dict[str, np.ndarray], chance: float) -> Figure:
    """Draw loss curves, and the loss of a guess.

    Parameters
    ----------
    curves : dict of str to array of shape (T,)
    chance : float
    """
    drawn, axes = figure(7, 2.8)
    axes.axhline(chance, color=GRAY, linewidth=0.8)
    for (name, curve), color in zip(curves.items(), (RED, GREEN, BLUE), strict=False):
        axes.plot(np.arange(1, len(curve) + 1), curve, color=color, linewidth=1.8)
        axes.text(len(curve) * 1.015, curve[-1], name, color=color, va="center")
    axes.text(1, 1.05 * chance, "a guess: ln 4", color=DARK, fontsize=8, va="bottom")
    axes.set(
        xlabel="step",
        ylabel="loss (mean of 5 steps)",
        xlim=(0, 1.25 * len(curve)),
        ylim=(0, 1.25 * chance),
    )
    return drawn


@drawing
def two_pictures(layers: Sequence[str], panels: dict[str, dict[str, np.ndarray]]) -> Figure:
    """Draw, layer by layer, how large activations are, and how much two pictures differ in them.

    Parameters
    ----------
    layers : sequence of str
    panels : dict of str to dict of str to array of shape (layers,)
        By title, then by the name of a curve.
    """
    drawn, both = figure(7, 3.2, columns=2, sharey=True)
    for axes, (title, curves) in zip(both, panels.items(), strict=True):
        styles = ("-", BLUE), ("--", RED), (":", RED)
        for (name, values), (style, color) in zip(curves.items(), styles, strict=True):
            axes.plot(range(len(layers)), values, style, color=color, linewidth=1.8, label=name)
        axes.set(yscale="log")
        axes.set_xticks(range(len(layers)), layers, rotation=45)
        axes.set_title(title, fontsize=9.5, loc="left")
    both[0].legend(frameon=False, fontsize=8, loc="lower left")
    return drawn
