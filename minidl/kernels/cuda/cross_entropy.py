"""Softmax and cross-entropy in one on the GPU, for class indices and class probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...device import Array, Shape, cupy
from .launch import Source
from .losses import NULL, Rows, labels_of

SOURCE = Source("cross_entropy.cu")


def covers(target: Array, smoothing: float) -> bool:
    """Return whether this kernel is for such targets: it takes them all."""
    return True


def forward(
    x: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> tuple[Array, tuple[Any, ...]]:
    """Return the loss of logits x (C,), (N, C) or (N, C, ...), and what the backward needs."""
    xp, rows = cupy(), Rows(x.shape, x.dtype)
    memory = xp.empty((5, rows.count), x.dtype)
    SOURCE.launch(
        "cross_entropy_forward", x.dtype, rows.count * rows.lanes, xp.ascontiguousarray(x),
        *_targets(target, weight, x.dtype), memory, *rows.sizes, rows.lanes, np.int64(ignore_index),
        1.0 - smoothing, smoothing / max(rows.classes, 1), block=64,
    )  # fmt: skip
    loss, totals = rows.reduce(SOURCE, memory[0], memory[1], reduction)
    return loss, (x, target, weight, memory, totals)


def backward(
    grad: Array,
    shape: Shape,
    saved: tuple[Any, ...],
    ignore_index: int,
    reduction: str,
    smoothing: float,
    want_target: bool,
) -> tuple[Array, Array | None]:
    """Return the gradients of the logits and, if it is wanted, of class probabilities."""
    x, target, weight, memory, totals = saved
    xp, rows = cupy(), Rows(shape, x.dtype)
    dx = xp.empty(shape, x.dtype)
    dtarget = xp.empty(shape, x.dtype) if want_target else None
    SOURCE.launch(
        "cross_entropy_backward", x.dtype, dx.size, xp.ascontiguousarray(x),
        *_targets(target, weight, x.dtype), memory, xp.ascontiguousarray(grad),
        NULL if totals is None else totals, dx, NULL if dtarget is None else dtarget, *rows.sizes,
        np.int64(ignore_index), 1.0 - smoothing, smoothing / max(rows.classes, 1),
        reduction == "mean", reduction == "none",
    )  # fmt: skip
    return dx, dtarget


def _targets(target: Array, weight: Array | None, dtype: np.dtype) -> tuple[Any, Any, Any]:
    """Return class indices, class probabilities and weights; null what there is not."""
    xp = cupy()
    weights = NULL if weight is None else xp.ascontiguousarray(weight)
    if target.dtype.kind == "f":
        return NULL, xp.ascontiguousarray(target, dtype), weights
    return labels_of(target), NULL, weights
