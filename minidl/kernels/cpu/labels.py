"""Class indices on the CPU: which number of each row of scores counts, and how much."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...device import Array, Shape


class Labels(NamedTuple):
    """The class of each row, and how much each row counts."""

    classes: Array  #: 0 if ignored
    weights: Array | None  #: 0 if ignored; None if every row counts once

    def places(self) -> tuple[Array, Array]:
        """Return the rows and columns of the classes in (rows, C)."""
        return np.arange(len(self.classes)), self.classes

    def weighted(self, values: Any) -> Any:
        """Return one value for each row, or one for all, times how much each row counts."""
        return values if self.weights is None else values * self.weights

    def total(self) -> Any:
        """Return how much all rows count: the divisor of their mean."""
        return len(self.classes) if self.weights is None else self.weights.sum()


def labels_of(target: Array, dtype: np.dtype, weight: Array | None, ignore_index: int) -> Labels:
    """Return the labels of a flat target. They are a copy: the caller's array may change."""
    counted = target != ignore_index
    if weight is None and counted.all():  # as nearly always
        return Labels(target.astype(np.intp), None)
    classes = np.where(counted, target, 0)
    return Labels(classes, counted.astype(dtype) if weight is None else weight[classes] * counted)


def losses_of(labels: Labels, log_probabilities: Array) -> Array:
    """Return ``-w_t·ℓ_t`` of every row."""
    losses = labels.weighted(-log_probabilities[labels.places()])
    if labels.weights is None:
        return losses
    # 0·(-inf) is no loss: the class of a row that does not count may have probability 0.
    return np.where(labels.weights == 0, losses.dtype.type(0), losses)


def rows_of(x: Array) -> Array:
    """Return (N, C, d1, ...) as (N·d1·..., C), or (C,) as (1, C)."""
    if x.ndim <= 2:
        return x if x.ndim == 2 else x[None]
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def image_of(rows: Array, shape: Shape) -> Array:
    """Undo :func:`rows_of` for an array of this shape."""
    if len(shape) <= 2:
        return rows if len(shape) == 2 else rows[0]
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def reduce(losses: Array, divisor: Any, reduction: str, shape: Shape) -> Array:
    """Return the losses of the rows of an input of this shape, their sum or their mean."""
    if reduction == "none":
        return losses.reshape((shape[0], *shape[2:]) if len(shape) > 1 else ())
    total = losses.sum()
    return total / divisor if reduction == "mean" else total  # no rows: 0/0 is NaN


def gradient_of_losses(grad: Array, divisor: Any, reduction: str) -> Array:
    """Return the gradient of each row's loss, or the one number that it is for all."""
    flat = grad.reshape(-1)
    if reduction != "mean":
        return flat
    return flat / divisor if divisor != 0 else 0 * flat  # nothing counts, nothing changes
