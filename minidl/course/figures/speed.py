"""Figures of the page on speed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .common import BLUE, DARK, GRAY, GREEN, RED, drawing, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["rates", "tile", "trade"]


def grid(axes: Axes, values: np.ndarray, left: float, top: float, title: str, color: str) -> None:
    """Draw a matrix of numbers as cells of side 1, with a title above it."""
    from matplotlib.patches import Rectangle

    for (i, j), value in np.ndenumerate(values):
        look: Any = {"facecolor": "#ffffff", "edgecolor": color, "linewidth": 0.9}
        axes.add_patch(Rectangle((left + j, top + i), 1, 1, **look))
        text: Any = {"ha": "center", "va": "center", "fontsize": 8.5, "color": DARK}
        axes.text(left + j + 0.5, top + i + 0.5, f"{value:g}", **text)
    axes.text(left, top - 0.25, title, fontsize=8.5, color=color, va="bottom")


@drawing
def tile(
    data: np.ndarray, kernel: np.ndarray, transformed: tuple[np.ndarray, np.ndarray], y: np.ndarray
) -> Figure:
    """Draw how 16 pixels and a kernel of 9 numbers become 4 outputs by 16 products.

    Parameters
    ----------
    data : array of shape (4, 4)
    kernel : array of shape (3, 3)
    transformed : pair of array of shape (4, 4)
        Data and kernel.
    y : array of shape (2, 2)
    """
    drawn, axes = figure(7, 3.7)
    values, weights = transformed
    grid(axes, data, 0, 0, "16 pixels", BLUE)
    grid(axes, values, 6.6, 0, "additions alone", BLUE)
    grid(axes, kernel, 0.5, 6.3, "the kernel", RED)
    grid(axes, weights, 6.6, 5.8, "once for all tiles", RED)
    grid(axes, values * weights, 13.2, 2.9, "16 products", DARK)
    grid(axes, y, 19.8, 3.9, "4 outputs", GREEN)
    arrow: Any = {"arrowstyle": "-|>", "color": GRAY, "lw": 1.6, "shrinkA": 0, "shrinkB": 0}
    for (x0, y0), (x1, y1), label in (
        ((4.3, 2), (6.3, 2), "Bᵀ d B"), ((4.3, 7.8), (6.3, 7.8), "G g Gᵀ"),
        ((10.8, 2), (12.9, 4.2), ""), ((10.8, 7.8), (12.9, 5.6), ""),
        ((17.4, 4.9), (19.5, 4.9), "Aᵀ · A"),
    ):  # fmt: skip
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
        axes.text((x0 + x1) / 2, y0 - 0.25, label, ha="center", va="bottom", fontsize=8, color=DARK)
    axes.text(12, 4.9, "⊙", fontsize=15, color=DARK, ha="center", va="center")
    axes.set(xlim=(-0.1, 22.2), ylim=(10, -1.1), aspect="equal")
    axes.axis("off")
    return drawn


@drawing
def trade(sizes: list[int], products: list[float], errors: list[float]) -> Figure:
    """Draw, by the side of a tile, the products that an output needs and the rounding error.

    Parameters
    ----------
    sizes : list of int
    products, errors : list of float
    """
    drawn, (left, right) = figure(7, 2.8, columns=2)
    left.bar(sizes, products, color=BLUE, width=0.7)
    for m, count in zip(sizes, products, strict=True):
        left.text(m, count + 0.15, f"{count:.3g}", ha="center", fontsize=8.5)
    left.axhline(9, color=GRAY, linestyle="--", linewidth=1)
    left.text(sizes[-1] + 0.4, 8.85, "one by one: 9", fontsize=8.5, ha="right", va="top")
    left.set_ylim(0, 9.5)
    left.set_title("products for each output", fontsize=9.5, loc="left")
    right.plot(sizes, errors, "o-", color=RED)
    right.set(yscale="log")
    right.set_title("rounding error in float32", fontsize=9.5, loc="left")
    for axes in left, right:
        axes.set_xlabel("outputs of a tile, along each side")
        axes.set_xticks(sizes)
    return drawn


@drawing
def rates(speeds: dict[str, float], peak: float) -> Figure:
    """Draw bars of speeds on a logarithmic axis, and a line at the speed of a matrix product.

    Parameters
    ----------
    speeds : dict of str to float
        In GFLOP/s.
    peak : float
    """
    drawn, axes = figure(7, 2.4)
    axes.barh(range(len(speeds)), list(speeds.values()), color=BLUE, height=0.6)
    for place, value in enumerate(speeds.values()):
        axes.text(value * 1.1, place, f"{value:.3g}", va="center", fontsize=8.5)
    axes.axvline(peak, color=RED, linestyle="--", linewidth=1.2)
    axes.text(peak, -0.75, "a matrix product", color=RED, fontsize=8, ha="center")
    axes.set_yticks(range(len(speeds)), list(speeds))
    axes.set(xscale="log", xlabel="GFLOP/s, counted as if no product were saved")
    axes.set_xlim(right=3 * max(speeds.values()))
    axes.invert_yaxis()
    return drawn
