"""Negative log-likelihood on the CPU: of each row, one number counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...device import Array, Shape
from .labels import Labels, gradient_of_losses, image_of, labels_of, losses_of, reduce, rows_of


def forward(
    x: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str
) -> tuple[Array, tuple[Any, ...]]:
    """Return the loss of log-probabilities x, and what the backward needs."""
    labels = labels_of(target.reshape(-1), x.dtype, weight, ignore_index)
    losses = losses_of(labels, rows_of(x))
    return reduce(losses, labels.total(), reduction, x.shape), tuple(labels)


def backward(
    grad: Array, shape: Shape, saved: tuple[Any, ...], ignore_index: int, reduction: str
) -> Array:
    """Return the gradient of the log-probabilities."""
    labels = Labels(*saved)
    each = gradient_of_losses(grad, labels.total(), reduction)
    dx = np.zeros((len(labels.classes), shape[1 if len(shape) > 1 else 0]), grad.dtype)
    dx[labels.places()] = labels.weighted(-each)
    return image_of(dx, shape)
