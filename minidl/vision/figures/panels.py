"""Pictures beside what a network says of them: top-5 bars, neighbors, mistakes, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..predictions import Predictions
from .canvas import OTHER, RIGHT, WRONG, Sheet, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["plot_confusion", "plot_mistakes", "plot_neighbors", "plot_top5"]

#: Largest number of classes whose names and counts are written into the confusion matrix.
_NAMED, _COUNTED = 40, 20


def plot_top5(
    pictures: Sequence[np.ndarray],
    probabilities: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    names: Sequence[str],
    columns: int = 4,
) -> Figure:
    """Draw pictures with bars for their five most probable classes: the paper's Figure 4, left.

    Parameters
    ----------
    pictures : sequence of N ndarrays of uint8, shape (H, W, 3)
    probabilities : ndarray, shape (N, classes)
    labels : sequence of N ints
        The right classes, which are written above the pictures; their bars are orange.
    names : sequence of str
        Names of the classes.
    columns : int, default 4
        Number of pictures in a row.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = -(-len(pictures) // columns)
    sheet = Sheet(2.6 * columns, 3.9 * rows)
    for number, (picture, chances, label) in enumerate(
        zip(pictures, probabilities, labels, strict=True)
    ):
        x, y = 2.6 * (number % columns) + 0.15, 3.9 * (number // columns) + 0.3
        sheet.text(x + 1.15, y - 0.12, shorten(names[label]), fontsize=10)
        sheet.picture(x, y, 2.3, picture)
        best = np.argsort(-chances, kind="stable")[:5]
        for place, answer in enumerate(best):
            below, share = y + 2.45 + 0.22 * place, float(chances[answer])
            sheet.bar(x, below, 2.3 * share, 0.18, RIGHT if answer == label else OTHER)
            sheet.text(x + 0.05, below, shorten(names[answer]), ha="left", fontsize=8)
            sheet.text(x + 2.27, below, f"{share:.0%}", ha="right", fontsize=8)
        sheet.line([x, x, x + 2.3, x + 2.3, x], [y + k for k in (2.33, 3.45, 3.45, 2.33, 2.33)])
    return sheet.done()


def plot_neighbors(
    queries: Sequence[np.ndarray],
    neighbors: Sequence[Sequence[np.ndarray]],
    query_labels: Sequence[str],
    neighbor_labels: Sequence[Sequence[str]],
) -> Figure:
    """Draw pictures, and right of each its nearest neighbors: the paper's Figure 4, right.

    Parameters
    ----------
    queries : sequence of Q ndarrays of uint8, shape (H, W, 3)
    neighbors : sequence of Q sequences of K such pictures
        From near to far.
    query_labels, neighbor_labels : sequences of str, Q and Q×K
        Names of their classes. A neighbor of another class has a violet name.

    Returns
    -------
    matplotlib.figure.Figure
    """
    sheet = Sheet(1.35 * (len(neighbors[0]) + 1) + 0.3, 1.6 * len(queries))
    for row, (query, near, label, others) in enumerate(
        zip(queries, neighbors, query_labels, neighbor_labels, strict=True)
    ):
        y = 1.6 * row + 0.27
        sheet.text(0.65, y - 0.12, shorten(label, 16))
        sheet.picture(0.05, y, 1.25, query)
        sheet.line([1.47, 1.47], [y, y + 1.25], "black")
        for place, (picture, other) in enumerate(zip(near, others, strict=True)):
            x = 1.35 * (place + 1) + 0.3
            sheet.picture(x, y, 1.25, picture)
            color = "black" if other == label else WRONG
            sheet.text(x + 0.6, y - 0.12, shorten(other, 16), color)
    return sheet.done()


def plot_mistakes(
    pictures: Sequence[np.ndarray],
    probabilities: np.ndarray,
    labels: Sequence[int] | np.ndarray,
    names: Sequence[str],
    columns: int = 6,
) -> Figure:
    """Draw wrongly classified pictures with the right class and the network's answer.

    The parameters are those of :func:`plot_top5`; see ``Predictions.mistakes`` for the indices.
    """
    rows = -(-len(pictures) // columns)
    sheet = Sheet(1.9 * columns, 2.4 * rows)
    for number, (picture, chances, label) in enumerate(
        zip(pictures, probabilities, labels, strict=True)
    ):
        x, y = 1.9 * (number % columns) + 0.1, 2.4 * (number // columns) + 0.45
        answer = int(chances.argmax())
        said = f"answer: {shorten(names[answer], 15)} ({chances[answer]:.0%})"
        sheet.text(x + 0.85, y - 0.22, f"{shorten(names[label])}\n{said}", fontsize=8.5)
        sheet.picture(x, y, 1.7, picture)
    return sheet.done()


def plot_confusion(predictions: Predictions, names: Sequence[str]) -> Figure:
    """Draw the confusion matrix: a row for each right class, a column for each answer.

    Parameters
    ----------
    predictions : Predictions
    names : sequence of str
        Names of the classes. Up to 40 are written; up to 20 classes have counts in their cells.

    Returns
    -------
    matplotlib.figure.Figure
    """
    counts = predictions.confusion()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    classes = len(counts)
    side = 3.0 + 0.3 * min(classes, _COUNTED)
    figure = new_figure(side + 1, side)
    axes = figure.subplots()
    image = axes.imshow(100 * share, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the right class's pictures, %", shrink=0.8)
    axes.set(xlabel="answer", ylabel="right class")
    if classes <= _NAMED:
        short = [shorten(name, 16) for name in names]
        turned: Any = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
        axes.set_xticks(range(classes), short, parse_math=False, **turned)
        axes.set_yticks(range(classes), short, parse_math=False)
        axes.tick_params(labelsize=9 if classes <= _COUNTED else 6)
    if classes <= _COUNTED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=color,
                      fontsize=9)  # fmt: skip
    return figure
