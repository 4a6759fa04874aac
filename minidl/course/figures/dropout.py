"""Figures of the page on dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GRAY, RED, cells, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["holes", "means"]


@drawing
def holes(x: np.ndarray, mask: np.ndarray, y: np.ndarray, dx: np.ndarray) -> Figure:
    """Draw input, mask, output and gradient beside each other.

    Parameters
    ----------
    x, mask, y, dx : array of shape (H, W)
    """
    drawn, axes = figure(7, 2.3, columns=4)
    for each, values, title in zip(
        axes, (x, mask, y, dx), ("input", "mask", "output", "gradient"), strict=True
    ):
        shown = np.where(mask > 0, values, np.nan)
        shades = np.where(mask > 0, np.abs(values), 0)
        plain = title == "input"
        cells(each, values if plain else shown, np.abs(x) if plain else shades, "{:.1f}",
              largest=2 * np.abs(x).max(), size=7)  # fmt: skip
        each.set_title(title, fontsize=9.5, color=DARK)
    return drawn


@drawing
def means(draws: np.ndarray, forms: dict[str, np.ndarray], target: float) -> Figure:
    """Draw how the mean over many masks approaches a number.

    Parameters
    ----------
    draws : array of int, shape (K,)
    forms : dict of str to array of shape (K,)
        By name, the mean of the first draws.
    target : float
        The activation without dropout.
    """
    drawn, axes = figure(7, 2.6)
    for (name, values), color in zip(forms.items(), (BLUE, RED), strict=True):
        axes.plot(draws, values, color=color, label=name)
    axes.axhline(target, color=GRAY, linewidth=0.8)
    axes.set(xscale="log", xlabel="masks drawn", ylabel="mean output of a unit")
    axes.legend(frameon=False)
    return drawn
