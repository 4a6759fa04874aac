"""Squared differences on the GPU, and their sum or mean."""

from __future__ import annotations

import numpy as np

from ...device import Array, cupy
from .launch import Source
from .losses import NULL, add_up
from .memory import aligned

SOURCE = Source("mse_loss.cu")

#: Blocks that the sum of squares is cut into, at most: they decide the order of the sum.
BLOCKS = 1024


def forward(x: Array, target: Array, reduction: str) -> Array:
    """Return (x - t)², its sum or its mean."""
    xp, each = cupy(), reduction == "none"
    blocks = min(-(-x.size // 256), 1 << 20 if each else BLOCKS)
    result = xp.empty_like(x) if each else xp.empty(blocks, x.dtype)
    if each:
        out, x, target = aligned(result, x, target)
    else:
        out, (x, target) = result, aligned(x, target)
    SOURCE.launch(
        "mse_forward", x.dtype, x.size, x, target, out, np.int64(x.size), each, grid=blocks
    )
    if each:
        return result
    return add_up(SOURCE, out, None, float(x.size), reduction == "mean")[0]


def backward(
    grad: Array, x: Array, target: Array, reduction: str, want_target: bool
) -> tuple[Array, Array | None]:
    """Return dx and, if it is wanted, dt = -dx."""
    xp, each = cupy(), reduction == "none"
    dx = xp.empty_like(x)
    dtarget = xp.empty_like(x) if want_target else None
    out, x, target, *more = aligned(dx, x, target, *([grad] if each else []))
    grad = more[0] if each else grad
    second = NULL if dtarget is None else aligned(dtarget)[0]
    divisor = float(max(x.size, 1)) if reduction == "mean" else 1.0
    SOURCE.launch(
        "mse_backward", x.dtype, x.size, x, target, grad, out, second, np.int64(x.size), divisor,
        each,
    )  # fmt: skip
    return dx, dtarget
