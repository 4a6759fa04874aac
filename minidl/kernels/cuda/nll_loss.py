"""Negative log-likelihood of class indices on the GPU."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...device import Array, Shape, cupy
from .launch import Source
from .losses import NULL, Rows, labels_of

SOURCE = Source("nll_loss.cu")


def forward(
    x: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str
) -> tuple[Array, tuple[Any, ...]]:
    """Return the loss of log-probabilities x, and what the backward needs."""
    xp, rows = cupy(), Rows(x.shape, x.dtype)
    losses, weights = xp.empty((2, rows.count), x.dtype)
    SOURCE.launch(
        "nll_forward", x.dtype, rows.count, xp.ascontiguousarray(x), labels_of(target),
        NULL if weight is None else xp.ascontiguousarray(weight), losses, weights, *rows.sizes,
        np.int64(ignore_index),
    )  # fmt: skip
    loss, totals = rows.reduce(SOURCE, losses, weights, reduction)
    return loss, (target, weights, totals)


def backward(
    grad: Array, shape: Shape, saved: tuple[Any, ...], ignore_index: int, reduction: str
) -> Array:
    """Return the gradient of the log-probabilities."""
    target, weights, totals = saved
    xp, rows = cupy(), Rows(shape, weights.dtype)
    dx = xp.empty(shape, weights.dtype)
    SOURCE.launch(
        "nll_backward", dx.dtype, dx.size, labels_of(target), weights, xp.ascontiguousarray(grad),
        NULL if totals is None else totals, dx, *rows.sizes, np.int64(ignore_index),
        reduction == "mean", reduction == "none",
    )  # fmt: skip
    return dx
