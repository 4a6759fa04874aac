"""Figures of the page on the linear layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .common import BLUE, DARK, GRAY, RED, cells, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["outer_products", "ranks"]


@drawing
def outer_products(dy: np.ndarray, x: np.ndarray, parts: np.ndarray, total: np.ndarray) -> Figure:
    """Draw each sample's outer product dy·xᵀ beside its factors, and their sum.

    Parameters
    ----------
    dy : array of shape (N, O)
    x : array of shape (N, I)
    parts : array of shape (N, O, I)
    total : array of shape (O, I)
    """
    largest = 2 * float(np.abs(total).max())
    drawn, axes = figure(7, 1.75, columns=len(x) + 1, gridspec_kw={"wspace": 0})
    height, width = total.shape
    for n, ax in enumerate(axes):
        last = n == len(x)
        part = total if last else parts[n]
        cells(ax, part, np.abs(part), largest=largest, color=RED if last else BLUE, size=10)
        title = "sum: gradient of W" if last else f"sample {n + 1}"
        ax.text(
            width / 2, height + 0.75, title, ha="center", fontsize=9.5, color=RED if last else DARK
        )
        ax.set(xlim=(-1.4, width + 1.2), ylim=(height + 0.9, -1.4))
        if not last:
            for i, value in enumerate(x[n]):
                ax.text(i + 0.5, -0.4, f"{value:g}", ha="center", va="center", color=BLUE)
            for o, value in enumerate(dy[n]):
                ax.text(-0.5, o + 0.5, f"{value:g}", ha="center", va="center", color=BLUE)
            ax.text(width / 2, -1.1, "x", ha="center", va="center", color=GRAY, style="italic")
            ax.text(-1.15, height / 2, "dy", ha="center", va="center", color=GRAY, style="italic")
        sign = "" if last else ("=" if n == len(x) - 1 else "+")
        ax.text(width + 0.75, height / 2, sign, ha="center", va="center", fontsize=14, color=DARK)
    return drawn


@drawing
def ranks(found: dict[int, np.ndarray]) -> Figure:
    """Draw the singular values of weight gradients, one curve for each size of the batch.

    Parameters
    ----------
    found : dict of int to array
        By the size of the batch.
    """
    drawn, axes = figure(7, 2.6)
    for (size, values), color in zip(found.items(), (RED, "#2e7d4f", BLUE), strict=True):
        kept = values[values > 1e-12 * values[0]]
        label = f"batch of {size}: {len(kept)} values"
        numbers = np.arange(1, len(kept) + 1)
        axes.semilogy(numbers, kept / kept[0], "o-", markersize=3, color=color, label=label)
    axes.legend(frameon=False)
    axes.set(
        xlabel="number, from the largest on",
        ylabel="singular value",
        xlim=(0, 80),
        ylim=(2e-3, 1.3),
    )
    return drawn
