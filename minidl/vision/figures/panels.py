"""Pictures beside what a network says of them: top-5 bars, neighbors, mistakes, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..predictions import Predictions
from .canvas import OTHER, RIGHT, WRONG, new_figure, shorten, show

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
    figure = new_figure(2.6 * columns, 3.9 * rows)
    for part, picture, chances, label in zip(
        figure.subfigures(rows, columns, squeeze=False).flat, pictures, probabilities, labels,
        strict=False,
    ):  # fmt: skip
        above, below = part.subplots(2, 1, height_ratios=[1.5, 1])
        show(above, picture, shorten(names[label]))
        best = np.argsort(-chances, kind="stable")[:5]
        colors = [RIGHT if answer == label else OTHER for answer in best]
        below.barh(range(len(best)), 100 * chances[best], color=colors)
        for place, answer in enumerate(best):
            below.text(2, place, shorten(names[answer], 26), va="center", fontsize=8)
        below.set(xlim=(0, 100), ylim=(4.6, -0.6), yticks=[])
        below.set_xlabel("probability, %", fontsize=8)
        below.tick_params(labelsize=8)
    return figure


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
    count = len(neighbors[0])
    figure = new_figure(1.35 * (count + 1.25), 1.6 * len(queries))
    shares = [1.0, 0.12] + [1.0] * count
    axes = figure.subplots(len(queries), count + 2, squeeze=False, width_ratios=shares)
    for row, query, near, label, others in zip(
        axes, queries, neighbors, query_labels, neighbor_labels, strict=True
    ):
        show(row[0], query, shorten(label, 16))
        row[1].axis("off")
        row[1].axvline(0.5, color="black")
        for place, picture, other in zip(row[2:], near, others, strict=True):
            show(place, picture, shorten(other, 16), "black" if other == label else WRONG)
    return figure


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
    figure = new_figure(1.9 * columns, 2.4 * rows)
    axes = figure.subplots(rows, columns, squeeze=False)
    for place in axes.flat:
        place.axis("off")
    for place, picture, chances, label in zip(
        axes.flat, pictures, probabilities, labels, strict=False
    ):
        answer = int(chances.argmax())
        title = (
            f"{shorten(names[label])}\nanswer: {shorten(names[answer], 15)} ({chances[answer]:.0%})"
        )
        place.axis("on")
        show(place, picture, title)
    return figure


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
        axes.set_xticks(range(classes), short, rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(classes), short)
        axes.tick_params(labelsize=9 if classes <= _COUNTED else 6)
    if classes <= _COUNTED:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=color,
                      fontsize=9)  # fmt: skip
    return figure
