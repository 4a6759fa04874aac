"""Figures of the page on im2col."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .common import BLUE, DARK, GRAY, GREEN, RED, cells, drawing, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["columns_of", "counts", "placements"]


@drawing
def columns_of(
    x: np.ndarray, columns: np.ndarray, pixel: float, window: int, kernel: int
) -> Figure:
    """Draw an image of pixels with different numbers, and its matrix of windows at stride 1.

    Parameters
    ----------
    x : array of shape (H, W)
    columns : array of shape (kernel * kernel, L)
    pixel : float
        A value of x, to be found wherever it is.
    window : int
        A column, to be outlined together with its window.
    kernel : int
    """
    from matplotlib.patches import Rectangle

    drawn, (left, right) = figure(7, 3.8, columns=2, width_ratios=(x.shape[1], columns.shape[1]))
    for axes, values, title in (
        (left, x, "the image"),
        (right, columns, "im2col: each column is a window"),
    ):
        cells(axes, values, np.where(values == pixel, 1.0, 0.0), largest=1, color=RED, size=8.5)
        axes.set_title(title, fontsize=9.5, color=DARK, pad=16)
        axes.set_anchor("N")
    i, j = divmod(window, x.shape[1] - kernel + 1)
    for axes, corner, width, height in (
        (left, (j, i), kernel, kernel),
        (right, (window, 0), 1, len(columns)),
    ):
        axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=BLUE, linewidth=2.6,
                                 zorder=8, clip_on=False))  # fmt: skip
    there = {"arrowstyle": "-|>", "color": BLUE, "lw": 1.6, "connectionstyle": "arc3,rad=-0.1"}
    left.annotate("", (window + 0.5, -0.1), (j + kernel / 2, i), xycoords=right.transData,
                  textcoords=left.transData, arrowprops=there, annotation_clip=False)  # fmt: skip
    copies = int((columns == pixel).sum())
    below = len(x) + 0.45
    left.text(
        0, below, f"pixel {pixel:g} and its {copies} copies", va="top", color=RED, clip_on=False
    )
    left.text(0, below + 0.55, "a window and its column", va="top", color=BLUE, clip_on=False)
    return drawn


@drawing
def placements(settings: list[dict[str, Any]]) -> Figure:
    """Draw where windows lie along an axis: padding, strides, dilation, what is left over.

    Parameters
    ----------
    settings : list of dict
        Each: title, size, kernel, stride, padding, dilation, and `out`, the number of windows.
    """
    drawn, all_axes = figure(7, 2.8, columns=len(settings))
    for axes, setting in zip(np.atleast_1d(all_axes), settings, strict=True):
        _placement(axes, **setting)
    note = "red: one more window would reach beyond the edge"
    drawn.text(0.5, 0.02, note, ha="center", color=RED, fontsize=9)
    drawn.set_layout_engine("constrained", rect=(0, 0.08, 1, 0.92))
    return drawn


def _placement(
    axes: Axes, title: str, size: int, kernel: int, stride: int, padding: int, dilation: int,
    out: int,
) -> None:  # fmt: skip
    from matplotlib.patches import Rectangle

    for place in range(-padding, size + padding):
        own = 0 <= place < size
        axes.add_patch(Rectangle((place, -1), 1, 1, facecolor="#ffffff" if own else "#e4e2da",
                                 edgecolor=GRAY, linewidth=0.8))  # fmt: skip
        axes.text(place + 0.5, -0.5, "" if own else "0", ha="center", va="center", fontsize=8)
    for window in range(out + 1):
        first = window * stride - padding
        fits = window < out
        color = (BLUE, GREEN)[window % 2] if fits else RED
        last = first + dilation * (kernel - 1)
        y = window * 0.8 + 0.65
        axes.plot(
            [first + 0.5, last + 0.5], [y, y], "-" if fits else ":", color=color, linewidth=1.6
        )
        axes.plot([first + 0.5 + dilation * k for k in range(kernel)], [y] * kernel, "o",
                  color=color, markersize=6, fillstyle="full" if fits else "none")  # fmt: skip
    axes.axvline(-padding, 0.02, 0.98, color=GRAY, linewidth=0.8)
    axes.axvline(size + padding, 0.02, 0.98, color=GRAY, linewidth=0.8)
    right = max(size + padding, out * stride - padding + dilation * (kernel - 1) + 1)
    axes.set(xlim=(-padding - 0.2, right + 0.2), ylim=(out * 0.8 + 1.3, -1.3))
    axes.set_title(f"{title}:\n{out} windows", fontsize=9, color=DARK)
    axes.axis("off")


@drawing
def counts(small: dict[str, np.ndarray], large: tuple[str, np.ndarray]) -> Figure:
    """Draw in how many windows each pixel is: some with numbers, a large one as a picture.

    Parameters
    ----------
    small : dict of str to array of shape (H, W)
        By title.
    large : pair of str and array of shape (H, W)
    """
    from matplotlib.colors import LinearSegmentedColormap

    drawn, axes = figure(7, 2.7, columns=len(small) + 1)
    for each, (title, values) in zip(axes, small.items(), strict=False):
        cells(each, values, values, largest=9, size=8.5)
        each.set_title(title, fontsize=9, color=DARK)
    title, values = large
    ramp = LinearSegmentedColormap.from_list("ramp", ["#ffffff", BLUE])
    axes[-1].imshow(values, cmap=ramp, vmin=0, vmax=1.15 * 9, interpolation="nearest")
    axes[-1].set_title(title, fontsize=9, color=DARK)
    axes[-1].tick_params(labelsize=7)
    return drawn
