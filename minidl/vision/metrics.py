"""Metrics of a classifier's answers: top-k accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from minidl.device import array_module
from minidl.errors import ArgumentError, ShapeError
from minidl.tensor import Tensor

__all__ = ["accuracy"]


def accuracy(output: Tensor, target: Tensor, topk: Sequence[int] = (1,)) -> list[Tensor]:
    """How many answers have the right class among their k best, in percent.

    Parameters
    ----------
    output : Tensor, shape (N, classes)
        Scores of any monotone kind: logits, log-probabilities, probabilities.
    target : Tensor, shape (N,) or (N, classes)
        The right class of each row, 0 to classes - 1; or its scores (of mixed labels), of which the
        highest counts.
    topk : sequence of int, default (1,)
        The values of k, each from 1 to the number of classes.

    Returns
    -------
    list of Tensor
        For each k a float32 tensor without axes, 0 to 100, on the device of ``output``.

    Raises
    ------
    ArgumentError
        When a k is out of range.
    ShapeError
        When the shapes do not fit, or there are no rows.

    Notes
    -----
    A class's rank is the number of classes with a higher score, plus those of the same score that
    have a smaller index. So ties are resolved the same way on every device and in every batch: a
    network that gives all classes one score "answers" 0, 1, 2, ... A row that holds a NaN has no
    order, and counts as wrong for every k; so does a row whose target is not one of the classes
    (such as the -100 that the loss ignores).

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.metrics import accuracy
    >>> scores = minidl.tensor([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]])
    >>> top1, top2 = accuracy(scores, minidl.tensor([1, 1]), topk=(1, 2))
    >>> top1.item(), top2.item()
    (50.0, 100.0)
    """
    scores, labels = output.array, target.array
    if scores.ndim != 2 or scores.shape[0] == 0 or scores.shape[1] == 0:
        raise ShapeError(
            f"accuracy: output must have shape (N, classes), got {tuple(output.shape)}"
        )
    rows, classes = scores.shape
    if labels.shape == (rows, classes):
        labels = labels.argmax(axis=1)
    elif labels.shape != (rows,):
        raise ShapeError(
            f"accuracy: target must have shape ({rows},) or ({rows}, {classes}), "
            f"got {tuple(target.shape)}"
        )
    if any(not 1 <= k <= classes for k in topk):
        raise ArgumentError(
            f"accuracy: topk must lie between 1 and the {classes} classes, got {tuple(topk)}"
        )
    xp = array_module(scores)
    known = (labels >= 0) & (labels < classes)
    column = xp.where(known, labels, 0)[:, None]
    right = xp.take_along_axis(scores, column, axis=1)  # (N, 1)
    before = (scores > right) | ((scores == right) & (xp.arange(classes) < column))
    lost = ~known | xp.isnan(scores).any(axis=1)
    rank = before.sum(axis=1) + classes * lost
    percent = xp.float32(100.0 / rows)
    return [Tensor((rank < k).sum(dtype=xp.float32) * percent) for k in topk]
