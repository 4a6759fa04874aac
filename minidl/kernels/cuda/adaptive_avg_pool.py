"""Adaptive average-pool on the GPU: a thread for each bin, and for each pixel in the backward."""

from __future__ import annotations

from ...device import Array, cupy
from ..windows import Pair
from .launch import Source
from .memory import channel_major

SOURCE = Source("adaptive_avg_pool.cu")


def forward(x: Array, out: Pair) -> Array:
    """Return the means over `out` bins of x (N, C, H, W)."""
    n, c, h, w = x.shape
    y = cupy().empty((c, n, *out), x.dtype)
    SOURCE.launch("adaptive_forward", y.dtype, y.size, channel_major(x), y, c * n, h, w, *out)
    return y.transpose(1, 0, 2, 3)


def backward(grad: Array, size: Pair) -> Array:
    """Return dx; `size` is the height and width of the images."""
    n, c, *out = grad.shape
    dx = cupy().empty((c, n, *size), grad.dtype)
    SOURCE.launch(
        "adaptive_backward", dx.dtype, dx.size, channel_major(grad), dx, c * n, *size, *out
    )
    return dx.transpose(1, 0, 2, 3)
