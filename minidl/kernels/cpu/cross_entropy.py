"""Cross-entropy of class indices on the CPU: of each row, one number counts.

The plain code of ``nn/cross_entropy.py`` multiplies all of (N, C) by weights, most of which are 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...device import Array, Shape
from .labels import Labels, gradient_of_losses, image_of, labels_of, losses_of, reduce, rows_of


def covers(target: Array, smoothing: float) -> bool:
    """Return whether this kernel is for such targets: class indices without smoothing."""
    return target.dtype.kind != "f" and not smoothing


def forward(
    x: Array,
    target: Array,
    weight: Array | None,
    ignore_index: int,
    reduction: str,
    smoothing: float,
) -> tuple[Array, tuple[Any, ...]]:
    """Return the loss of logits x (C,), (N, C) or (N, C, ...), and what the backward needs."""
    rows = rows_of(x)
    logs = rows
    if rows.size:
        logs = rows - rows.max(axis=1, keepdims=True)
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
    labels = labels_of(target.reshape(-1), x.dtype, weight, ignore_index)
    losses = losses_of(labels, logs)
    return reduce(losses, labels.total(), reduction, x.shape), (logs, *labels)


def backward(
    grad: Array,
    shape: Shape,
    saved: tuple[Any, ...],
    ignore_index: int,
    reduction: str,
    smoothing: float,
    want_target: bool,
) -> tuple[Array, None]:
    """Return the gradient of the logits; class indices have none."""
    logs, *rest = saved
    labels = Labels(*rest)
    each = gradient_of_losses(grad, labels.total(), reduction)
    dx = np.exp(logs)
    dx[labels.places()] -= 1
    dx *= labels.weighted(each)[:, None]
    return image_of(dx, shape), None
