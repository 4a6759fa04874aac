"""Figures of the page on convolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .common import BLUE, DARK, GRAY, GREEN, RED, cells, drawing, figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["correlation", "coverage", "losses", "scatter_and_gather"]

_TITLE: Any = {"fontsize": 9, "color": DARK, "loc": "left", "pad": 4}


def frame(axes: Axes, row: int, column: int, side: int, color: str, inset: float = 0.0) -> None:
    """Draw a square around side x side cells."""
    from matplotlib.patches import Rectangle

    corner, length = (column + inset, row + inset), side - 2 * inset
    axes.add_patch(Rectangle(corner, length, length, fill=False, edgecolor=color, linewidth=2.2,
                             zorder=12, clip_on=False))  # fmt: skip


def write(axes: Axes, row: int, column: int, text: str, color: str = DARK, size: float = 9) -> None:
    """Write into a cell."""
    look: Any = {"ha": "center", "va": "center", "zorder": 13}
    axes.text(column + 0.5, row + 0.5, text, color=color, fontsize=size, **look)


@drawing
def scatter_and_gather(
    weight: np.ndarray, dy: np.ndarray, dx: np.ndarray, pixel: tuple[int, int]
) -> Figure:
    """Draw how two numbers of dy stamp the kernel on dx, and how one pixel looks back at them.

    Parameters
    ----------
    weight : array of shape (K, K)
    dy : array of shape (OH, OW)
        Zero but for two numbers.
    dx : array of shape (OH + K - 1, OW + K - 1)
        The input's gradient at stride 1.
    pixel : pair of int
        Of dx, followed in the right half.
    """
    k, (p, q) = len(weight), pixel
    drawn, axes = figure(7, 3.3, columns=4, width_ratios=[3.2, 3.2, 5.2, 7.2])
    marked = list(zip(*np.nonzero(dy), (BLUE, RED), strict=True))

    cells(axes[0], dy, form="{:g}", size=10)
    cells(axes[1], weight, form="{:g}", size=10)
    cells(axes[2], np.full(dx.shape, np.nan))
    for i, j, color in marked:
        frame(axes[0], i, j, 1, color, 0.06)
        frame(axes[2], i, j, k, color, 0.06 if color == BLUE else -0.02)
    for (row, column), value in np.ndenumerate(dx):
        parts = [
            (dy[i, j] * weight[row - i, column - j], color)
            for i, j, color in marked
            if 0 <= row - i < k and 0 <= column - j < k
        ]
        assert sum(part for part, _ in parts) == value
        if len(parts) == 1:
            write(axes[2], row, column, f"{parts[0][0]:g}", parts[0][1])
        elif parts:
            write(axes[2], row, column - 0.25, f"{parts[0][0]:g}", parts[0][1], 7.5)
            write(axes[2], row, column, "+", DARK, 7)
            write(axes[2], row, column + 0.26, f"{parts[1][0]:g}", parts[1][1], 7.5)
    axes[2].add_patch(_square(p, q, GREEN))

    padded = np.pad(dy, k - 1)
    cells(axes[3], np.full(padded.shape, np.nan))
    colors = {(i + k - 1, j + k - 1): color for i, j, color in marked}
    turned = weight[::-1, ::-1]
    for (row, column), number in np.ndenumerate(padded):
        inside = 0 <= row - k + 1 < len(dy) and 0 <= column - k + 1 < dy.shape[1]
        color, text = colors.get((row, column), DARK if inside else GRAY), f"{number:g}"
        if 0 <= row - p < k and 0 <= column - q < k:
            text += f"·{turned[row - p, column - q]:g}"
        write(axes[3], row, column, text, color, 8.5)
    frame(axes[3], p, q, k, GREEN, 0.0)
    axes[0].set_title("dy", **_TITLE)
    axes[1].set_title("kernel w", **_TITLE)
    axes[2].set_title("scatter: each number of dy\nstamps w on the input", **_TITLE)
    axes[3].set_title(
        "gather: a pixel looks at dy, with zeros\naround, through w turned by 180°", **_TITLE
    )
    terms = " + ".join(f"{dy[i, j]:g}·{weight[p - i, q - j]:g}" for i, j, _ in marked)
    foot: Any = {"ha": "center", "va": "top", "fontsize": 9.5, "color": GREEN}
    for panel, side in (axes[2], len(dx)), (axes[3], len(padded)):
        panel.text(side / 2, side + 0.35, f"{terms} = {dx[pixel]:g}", **foot)
    return drawn


def _square(row: int, column: int, color: str) -> Any:
    """Return a filled cell."""
    from matplotlib.patches import Rectangle

    tint = {GREEN: "#cfe8d6"}.get(color, color)
    return Rectangle((column, row), 1, 1, facecolor=tint, edgecolor=GRAY, linewidth=0.6, zorder=5)


@drawing
def correlation(x: np.ndarray, dy: np.ndarray, dweight: np.ndarray) -> Figure:
    """Draw that each number of the kernel's gradient is dy times a shifted piece of x.

    Parameters
    ----------
    x : array of shape (H, W)
    dy : array of shape (OH, OW)
    dweight : array of shape (K, K)
        At stride 1.
    """
    drawn, axes = figure(7, 2.9, columns=3, width_ratios=[len(x), len(dy), len(dweight)])
    last = len(dweight) - 1
    for panel, values in zip(axes, (x, dy, dweight), strict=True):
        cells(panel, values, form="{:g}", size=10)
        panel.set_ylim(len(x) + 0.05, -0.05)
    for place, color in (0, BLUE), (last, RED):
        frame(axes[0], place, place, len(dy), color, 0.06)
        frame(axes[2], place, place, 1, color, 0.08)
        terms = " + ".join(f"{dy[i, j]:g}·{x[place + i, place + j]:g}" for i, j in np.argwhere(dy))
        text = f"{terms} = {dweight[place, place]:g}"
        axes[2].text(0, len(dweight) + 0.6 + 0.5 * (place > 0), text, color=color, va="center")
    axes[0].set_title("x: the piece under dy moves", **_TITLE)
    axes[1].set_title("times dy, and summed", **_TITLE)
    axes[2].set_title("dw", **_TITLE)
    return drawn


@drawing
def coverage(maps: dict[str, np.ndarray]) -> Figure:
    """Draw how many windows cover each pixel.

    Parameters
    ----------
    maps : dict of str to array of shape (H, W)
        Counts by title.
    """
    drawn, axes = figure(7, 2.9, columns=len(maps))
    for panel, (title, counts) in zip(axes, maps.items(), strict=True):
        cells(panel, counts, counts, "{:.0f}", size=8 if len(counts) < 12 else 5.5)
        panel.set_title(title, **_TITLE)
    return drawn


@drawing
def losses(curves: dict[str, np.ndarray], chance: float) -> Figure:
    """Draw loss curves, and the loss of a guess.

    Parameters
    ----------
    curves : dict of str to array of shape (T,)
    chance : float
    """
    drawn, axes = figure(7, 2.8)
    axes.axhline(chance, color=GRAY, linewidth=0.8, linestyle=":")
    for (name, curve), color, style in zip(curves.items(), (BLUE, RED), ("-", "--"), strict=True):
        axes.plot(
            np.arange(1, len(curve) + 1), curve, style, color=color, linewidth=1.8, label=name
        )
    axes.text(len(curve), chance, "a guess", color=DARK, fontsize=8, va="bottom", ha="right")
    axes.set(xlabel="step", ylabel="loss (mean of 10 steps)", ylim=(0, None))
    axes.legend(frameon=False, loc="lower left")
    return drawn
