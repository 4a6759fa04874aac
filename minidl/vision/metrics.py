"""Metrics of a classifier: for a batch, averaged over steps, and over a whole data set.

Nothing here waits for a GPU but :meth:`RunningMeans.read` (and what calls it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from .. import kernels, ops
from ..autograd import no_grad
from ..device import Array, array_module, on_its_device
from ..distributed import get_rank, get_world_size
from ..errors import ArgumentError, ShapeError
from ..nn import Module
from ..nn.functional import cross_entropy, log_softmax
from ..nn.module import in_evaluation
from ..tensor import Tensor
from ..training.means import RunningMeans

__all__ = ["RunningMeans", "accuracy", "class_scores", "evaluate"]


def _ranks(scores: Array, labels: Array) -> Array:
    """Return the number of classes ranked before the right one, (N,): of equal scores, the first.

    A row with NaN, or with a label that is no class, gets the number of classes: never a hit.
    """
    xp, classes = array_module(scores), scores.shape[1]
    known = (labels >= 0) & (labels < classes)
    column = xp.where(known, labels, 0)[:, None]
    right = xp.take_along_axis(scores, column, axis=1)  # (N, 1)
    before = (scores > right) | ((scores == right) & (xp.arange(classes) < column))
    lost = ~known | xp.isnan(scores).any(axis=1)
    return xp.asarray(before.sum(axis=1) + classes * lost)


def _percent(ranks: Array, k: int) -> Array:
    """Return the percentage of ranks below k."""
    hits = (ranks < k).sum(dtype=np.float32)
    return array_module(ranks).asarray(hits * np.float32(100.0 / len(ranks)))


@on_its_device
def accuracy(output: Tensor, target: Tensor, topk: Sequence[int] = (1,)) -> list[Tensor]:
    """Return the percentage of rows whose right class is among the k best, for each k.

    Parameters
    ----------
    output : Tensor, shape (N, classes)
        Scores of any monotone kind: logits, log-probabilities, probabilities.
    target : Tensor, shape (N,) or (N, classes)
        The right class of each row, 0 to classes - 1; or scores of the classes (mixed labels), the
        highest of which counts.
    topk : sequence of int, default (1,)
        The values of k, each from 1 to the number of classes.

    Returns
    -------
    list of Tensor
        For each k a float32 tensor without axes, 0 to 100, on the device of ``output``.

    Raises
    ------
    ArgumentError
        A k is out of range.
    ShapeError
        The shapes don't match, or there are no rows.

    Notes
    -----
    A class's rank is the number of classes with a higher score, plus those with the same score and
    a smaller index. So ties are resolved in the same way on every device and in every batch: a
    network that gives all classes the same score "answers" 0, 1, 2, ... A row with a NaN has no
    order and counts as wrong for every k; so does a row whose target is not one of the classes
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
    kernel = kernels.of("accuracy", scores)
    ranks, percent = (kernel.ranks, kernel.percent) if kernel else (_ranks, _percent)
    of_rows = ranks(scores, labels)
    return [Tensor(percent(of_rows, k)) for k in topk]


def class_scores(model: Module, images: Tensor) -> Tensor:
    """Return a classifier's scores for pictures, from one view of each or from several.

    Parameters
    ----------
    model : Module
        From images (N, C, H, W) to logits (N, classes).
    images : Tensor, shape (N, C, H, W) or (N, V, C, H, W)
        With a fifth axis: V views of each picture, such as the ten crops of
        :class:`~minidl.vision.transforms.TenCrop`.

    Returns
    -------
    Tensor, shape (N, classes)
        One view: the logits. Several views: the logarithms of the probabilities averaged over the
        views, as in the paper. Softmax turns either into probabilities.

    Notes
    -----
    Logits are returned unchanged because log-probabilities are rounded more coarsely: two classes
    with different logits could end up equal, and be ranked by their index.

    Examples
    --------
    >>> import minidl
    >>> views = minidl.tensor([[[9.0, 0.0], [0.0, 9.0]]]).reshape(1, 2, 2, 1, 1)
    >>> scores = class_scores(minidl.nn.Flatten(), views)
    >>> [round(score, 4) for score in minidl.exp(scores)[0].tolist()]
    [0.5, 0.5]
    """
    if images.ndim != 5:
        scores: Tensor = model(images)
        return scores
    n, views = images.shape[:2]
    scores = log_softmax(model(images.flatten(0, 1)), 1)
    return ops.logsumexp(scores.reshape(n, views, -1), 1) - float(np.log(views))


@no_grad()
def evaluate(
    model: Module,
    batches: Iterable[Sequence[Any]],
    topk: Sequence[int] = (1, 5),
    record: Callable[[Tensor, Tensor], object] | None = None,
) -> dict[str, float]:
    """Return a classifier's mean loss and top-k accuracies over a set of pictures.

    Parameters
    ----------
    model : Module
        From images (N, C, H, W) to logits (N, classes). It is in evaluation mode meanwhile.
    batches : iterable of (images, labels)
        Such as a DataLoader. Images of shape (N, C, H, W), or (N, V, C, H, W) for several views of
        each picture, whose probabilities are averaged: see :func:`class_scores`. Batches are moved
        to the model's device. If several ranks share the batches, (images, labels, total): sample i
        of `total` is on rank i modulo N, and a rank's samples beyond those do not count. The
        results are those of all ranks together.
    topk : sequence of int, default (1, 5)
        The values of k, clipped to the number of classes.
    record : callable, optional
        Called with the scores and labels of each batch, such as a
        :class:`~minidl.vision.predictions.Recorder`.

    Returns
    -------
    dict of str to float
        ``{"loss": ..., "top1": ..., "top5": ...}``: the mean log-loss (for several views, of their
        averaged probabilities), and accuracies in percent.

    Raises
    ------
    ArgumentError
        There are no batches.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.metrics import evaluate
    >>> batch = minidl.tensor([[9.0, 0.0], [0.0, 9.0]]), minidl.tensor([0, 0])
    >>> evaluate(minidl.nn.Identity(), [batch], topk=(1,))["top1"]
    50.0
    """
    device = next((parameter.device for parameter in model.parameters()), None)
    means, shared = RunningMeans(), False
    with in_evaluation(model):
        for images, labels, *total in batches:
            if device is not None:
                images, labels = images.to(device), labels.to(device)
            scores = class_scores(model, images)
            shared |= bool(total)
            for number in total:
                count = len(range(get_rank(), number, get_world_size()))
                scores, labels = scores[:count], labels[:count]
            if not len(labels):
                continue
            if record is not None:
                record(scores, labels)
            ks = [min(k, scores.shape[1]) for k in topk]
            means.update(
                cross_entropy(scores, labels), *accuracy(scores, labels, ks), weight=len(labels)
            )
    means.read()
    if shared:
        means.join(1 + len(topk))
    if not means.weight:
        raise ArgumentError("evaluate: there are no batches")
    return dict(zip(["loss", *(f"top{k}" for k in topk)], means.values(), strict=True))
