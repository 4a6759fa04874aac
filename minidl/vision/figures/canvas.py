"""What the figures share: a Matplotlib figure without a window, and pictures on axes.

Matplotlib is imported at the first figure; its absence is an ImportError that says how to install
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colors that remain apart for color-blind readers: right answers, others, mistakes.
RIGHT, OTHER, WRONG = "#d95f02", "#7fa7d6", "#7b3294"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure, in inches, that belongs to no window."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need Matplotlib: pip install 'minidl[viz]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


class Sheet:
    """A figure whose parts are placed by hand, in inches from the upper left corner.

    Much faster than one set of axes for each of dozens of pictures.

    Parameters
    ----------
    width, height : float
        In inches.
    """

    def __init__(self, width: float, height: float) -> None:
        self.figure = new_figure(width, height)
        self.figure.set_layout_engine("none")
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.axis("off")

    def picture(self, x: float, y: float, size: float, picture: np.ndarray) -> None:
        """Show a picture (H, W, 3), or a map (H, W) on a scale of its own, in a square."""
        place = (x, x + size, y + size, y)
        self.axes.imshow(picture, extent=place, aspect="auto", interpolation="nearest")

    def text(self, x: float, y: float, text: str, color: str = "black", **look: Any) -> None:
        """Write text, in which $ is no mathematics; by default its middle is at (x, y)."""
        self.axes.text(
            x, y, text, parse_math=False,
            **{"ha": "center", "va": "center", "fontsize": 9, "color": color, **look},
        )  # fmt: skip

    def bar(self, x: float, y: float, width: float, height: float, color: str) -> None:
        """Draw a bar that begins at x, with its middle at y."""
        self.axes.barh(y, width, height, left=x, color=color)

    def line(self, x: Sequence[float], y: Sequence[float], color: str = "#8a94a0") -> None:
        """Draw a line through points."""
        self.axes.plot(x, y, color=color, linewidth=0.8)

    def done(self) -> Figure:
        """Return the figure; Matplotlib has moved the limits to fit the last picture."""
        width, height = self.figure.get_size_inches()
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        return self.figure


def shorten(name: str, length: int = 22) -> str:
    """Cut a long name of a class."""
    return name if len(name) <= length else name[: length - 1] + "…"


def spread(count: int, wanted: int) -> list[int]:
    """Return `wanted` indices below `count`, evenly spread; all of them if there are fewer."""
    if count <= wanted:
        return list(range(count))
    return [int((2 * k + 1) * count / (2 * wanted)) for k in range(wanted)]


def one_per_class(labels: Sequence[int] | np.ndarray, wanted: int) -> list[int]:
    """Return indices of `wanted` pictures, of as many classes as possible.

    The first picture of each class comes before the second of any; of more classes than wanted,
    evenly spread ones are taken.
    """
    labels = np.asarray(labels)
    order = np.argsort(labels, kind="stable")
    place = np.empty(len(labels), np.int64)  # of a picture within its class
    starts = np.searchsorted(labels[order], labels[order])
    place[order] = np.arange(len(labels)) - starts
    ranked = np.lexsort((labels, place))
    first = ranked[: max(wanted, int((place == 0).sum()))]
    return [int(first[k]) for k in spread(len(first), wanted)]
