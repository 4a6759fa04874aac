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


def show(axes: Any, picture: np.ndarray, title: str = "", color: str = "black") -> None:
    """Show a picture (H, W, 3) or a map (H, W) on axes, without ticks."""
    axes.imshow(picture, cmap="viridis", interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9, color=color)


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
