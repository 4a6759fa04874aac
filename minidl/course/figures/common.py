"""What the course's figures share: colors, an opaque background, SVG that repeats byte for byte.

A page ends a cell with ``show(figure, alt)``. The text `alt` says what the figure shows, for those
who can't see it: at least 40 characters.
"""

from __future__ import annotations

import functools
import html
import io
import re
import textwrap
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ParamSpec

from ...errors import ArgumentError
from ...vision.figures.canvas import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "DARK",
    "GRAY",
    "GREEN",
    "PAPER",
    "RED",
    "Drawing",
    "cells",
    "drawing",
    "figure",
    "show",
]

P = ParamSpec("P")
#: Readable on light and dark pages, and apart for color-blind readers.
PAPER, DARK, GRAY = "#fbfaf6", "#22262b", "#8a94a0"
BLUE, RED, GREEN = "#1b6ca8", "#c2410c", "#2e7d4f"
_STYLE: Any = {
    "figure.facecolor": PAPER, "axes.facecolor": PAPER, "savefig.facecolor": PAPER,
    "font.family": "DejaVu Sans", "font.size": 9.5, "text.color": DARK, "axes.edgecolor": GRAY,
    "axes.labelcolor": DARK, "xtick.color": DARK, "ytick.color": DARK,
    "axes.spines.top": False, "axes.spines.right": False,
    "svg.hashsalt": "minidl", "svg.fonttype": "path",
}  # fmt: skip


class Drawing:
    """An SVG that a notebook shows.

    Parameters
    ----------
    svg, alt : str
    """

    def __init__(self, svg: str, alt: str) -> None:
        self.svg, self.alt = svg, alt

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        name = "image/svg+xml"
        return {name: self.svg, "text/plain": self.alt}, {name: {"alt": self.alt}}


def drawing(draw: Callable[P, Figure]) -> Callable[P, Figure | None]:
    """Make a function that draws return None without Matplotlib; :func:`show` then says so.

    A notebook thus runs to its end wherever minidl alone is installed.
    """

    @functools.wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Figure | None:
        return draw(*args, **kwargs) if find_spec("matplotlib") else None

    return drawn


def figure(
    width: float = 7.0, height: float = 3.2, columns: int = 1, rows: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """Return a figure in the course's style, in inches, and its axes.

    Parameters
    ----------
    width, height : float
        In inches; the page shows 7 inches in full.
    columns, rows : int, default 1
        Of axes.
    **options
        For ``Figure.subplots``.

    Returns
    -------
    figure : matplotlib.figure.Figure
    axes : Axes or array of them
    """
    from matplotlib import rc_context

    with rc_context(_STYLE):
        drawn = new_figure(width, height)
        return drawn, drawn.subplots(rows, columns, **options)


def show(drawn: Figure | None, alt: str) -> Drawing:
    """Return a figure for the end of a cell.

    Parameters
    ----------
    drawn : Figure or None
        None, where Matplotlib is missing, shows what to install and the text `alt`.
    alt : str
        What the figure shows.

    Raises
    ------
    ArgumentError
        `alt` has fewer than 40 characters.
    """
    if len(alt) < 40:
        raise ArgumentError(f"alt: say in at least 40 characters what the figure shows: {alt!r}")
    label = f'<svg role="img" aria-label="{html.escape(alt)}" '
    if drawn is None:
        return Drawing(
            label + _framed(f"Figures need Matplotlib: pip install matplotlib. {alt}"), alt
        )
    from matplotlib import rc_context

    memory = io.StringIO()
    with rc_context(_STYLE):
        drawn.savefig(memory, format="svg", metadata={"Date": None, "Creator": None})
    start = memory.getvalue().index("<svg")
    svg = re.sub(' d="[^"]*"', _shorter, memory.getvalue()[start:])
    svg = re.sub(r"\n +", "\n", svg)
    return Drawing(label + svg[len("<svg ") :], alt)


def _framed(text: str) -> str:
    """Write lines of text on the figures' background: the attributes and content of an SVG."""
    lines = textwrap.wrap(text, 84)
    spans = (f'<tspan x="9" dy="15">{html.escape(line)}</tspan>' for line in lines)
    size = f'viewBox="0 0 504 {15 * len(lines) + 12}" style="background: {PAPER}; color: {DARK}"'
    font = 'font-family="sans-serif" font-size="11" fill="currentColor"'
    return f'xmlns="http://www.w3.org/2000/svg" {size}><text {font}>{"".join(spans)}</text></svg>'


def _shorter(path: re.Match[str]) -> str:
    """Cut coordinates to a hundredth of a point, and the space around the letters."""
    numbers = re.sub(r"(\d+\.\d\d)\d+", r"\1", path[0])
    return re.sub(r"\s*([MLQCz])\s*", r"\1", numbers)


def cells(
    axes: Axes,
    values: Any,
    shades: Any = None,
    form: str = "{:g}",
    largest: float | None = None,
    color: str = BLUE,
    size: float = 9,
    halo: bool = False,
) -> None:
    """Draw a matrix as cells with its numbers.

    Parameters
    ----------
    axes : Axes
    values : array of shape (H, W)
        The numbers; NaN leaves a cell empty.
    shades : array of shape (H, W), optional
        How dark the cells are, up to `largest`. Default: all light.
    form : str, default "{:g}"
    largest : float, optional
        Default: the largest of `shades`.
    color : str
        Of the darkest cell.
    size : float, default 9
        Of the numbers, in points.
    halo : bool, default False
        Whether lines that cross a number stop around it. The file becomes several times as large.
    """  # fmt: skip
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patheffects import withStroke

    values = np.asarray(values, float)
    shades = np.zeros_like(values) if shades is None else np.asarray(shades, float)
    scale = largest or float(np.nanmax(shades, initial=0.0)) or 1.0
    ramp = LinearSegmentedColormap.from_list("ramp", ["#ffffff", color])
    height, width = values.shape
    axes.pcolormesh(shades, cmap=ramp, vmin=0, vmax=1.15 * scale, edgecolor=GRAY, linewidth=0.6)
    for (i, j), value in np.ndenumerate(values):
        dark = shades[i, j] > 0.6 * scale
        if not np.isnan(value):
            look: Any = {"color": "white" if dark else DARK, "fontsize": size}
            if halo:
                paper = ramp(shades[i, j] / (1.15 * scale))
                look["path_effects"] = [withStroke(linewidth=2.5, foreground=paper)]
            axes.text(
                j + 0.5, i + 0.5, form.format(value), ha="center", va="center", zorder=9, **look
            )
    axes.set(xlim=(-0.05, width + 0.05), ylim=(height + 0.05, -0.05), aspect="equal")
    axes.axis("off")
