"""Figures of the page on pictures, randomness and the GPU's view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .common import BLUE, DARK, GRAY, GREEN, RED, cells, drawing, figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["colors", "coverage", "scatter_and_gather"]


@drawing
def coverage(counts: dict[str, np.ndarray]) -> Figure:
    """Draw how often the upper left corner of a crop lay at each place.

    Parameters
    ----------
    counts : dict of str to array of shape (H, W)
        By title.
    """
    drawn, axes = figure(7, 2.9, columns=len(counts))
    largest = max(float(each.max()) for each in counts.values())
    for each, (title, values) in zip(axes, counts.items(), strict=True):
        cells(each, values, values, "{:.0f}", largest=1.4 * largest, size=9)
        each.set_title(title, color=DARK, fontsize=9.5)
        for i, j in zip(*np.nonzero(values == 0), strict=True):
            each.add_patch(_frame(j, i, RED))
    return drawn


def _frame(left: float, top: float, color: str) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((left + 0.06, top + 0.06), 0.88, 0.88, fill=False, edgecolor=color, lw=1.6)


@drawing
def colors(rows: dict[str, np.ndarray]) -> Figure:
    """Draw rows of colors as swatches.

    Parameters
    ----------
    rows : dict of str to array of shape (M, 3)
        By name; red, green and blue from 0 to 1.
    """
    from matplotlib.patches import Rectangle

    drawn, axes = figure(7, 0.4 * len(rows) + 0.55)
    count = len(next(iter(rows.values())))
    for i, swatches in enumerate(rows.values()):
        for j, color in enumerate(swatches):
            axes.add_patch(
                Rectangle((j, i + 0.05), count - j, 0.9, color=tuple(color), linewidth=0)
            )
    axes.set(xlim=(0, count), ylim=(len(rows), 0))
    axes.set_xticks([0.5, count / 2, count - 0.5], ["−", "no shift", "+"])
    axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return drawn


@drawing
def scatter_and_gather(size: int, kernel: int, stride: int, marked: int) -> Figure:
    """Draw windows above an axis of pixels, once with arrows down and once with arrows up.

    Parameters
    ----------
    size : int
        Number of pixels.
    kernel, stride : int
    marked : int
        A pixel in several windows.
    """
    from matplotlib.patches import Rectangle

    drawn, axes = figure(7, 2.5, columns=2)
    windows = (size - kernel) // stride + 1
    middles = [stride * window + kernel / 2 for window in range(windows)]
    titles = "scatter: a thread for each window", "gather: a thread for each pixel"
    for each, title in zip(axes, titles, strict=True):
        for pixel in range(size):
            fill = "#f6d5c4" if pixel == marked else "#ffffff"
            each.add_patch(Rectangle((pixel, 0), 1, 1, facecolor=fill, edgecolor=GRAY))
            each.text(pixel + 0.5, 0.45, f"dx {pixel}", ha="center", va="center", fontsize=7.5)
        for window, middle in enumerate(middles):
            look: Any = {"facecolor": "#dbe8f2", "edgecolor": BLUE}
            each.add_patch(Rectangle((middle - 0.7, 3), 1.4, 0.9, **look))
            each.text(middle, 3.4, f"dy {window}", ha="center", va="center", fontsize=8)
            for pixel in range(stride * window, stride * window + kernel):
                ends = (pixel + 0.5 + 0.22 * np.sign(middle - pixel - 0.5), 1.0), (middle, 3.0)
                down = each is axes[0]
                color = RED if pixel == marked and down else GREEN if pixel == marked else GRAY
                arrow = {"arrowstyle": "-|>", "color": color, "shrinkA": 0, "shrinkB": 1,
                         "lw": 2 if pixel == marked else 0.9}  # fmt: skip
                each.annotate("", *(ends if down else ends[::-1]), arrowprops=arrow)
        each.set(xlim=(-0.1, size + 0.1), ylim=(-0.9, 4.1))
        each.axis("off")
        each.set_title(title, fontsize=9.5, color=DARK)
    words = "two threads write here", "one thread reads both, and writes once"
    for each, text, color in zip(axes, words, (RED, GREEN), strict=True):
        each.text(marked + 0.5, -0.2, text, ha="center", va="top", fontsize=8.5, color=color)
    return drawn
