"""Average-pool on the GPU: a thread for each window, and for each pixel in the backward."""

from __future__ import annotations

from ...device import Array, cupy
from ..windows import Geometry, Pair
from .launch import Source
from .memory import channel_major
from .planes import on_planes

SOURCE = Source("avg_pool.cu")


def forward(x: Array, geometry: Geometry, count_padding: bool, divisor: float) -> Array:
    """Return y; a window is divided by its size if `divisor` is 0."""
    n, c, *size = x.shape
    y = cupy().empty((c, n, *geometry.out), x.dtype)
    SOURCE.launch(
        "average_forward", y.dtype, y.size, channel_major(x), y, c * n, count_padding, divisor,
        *on_planes(geometry, (size[0], size[1])),
    )  # fmt: skip
    return y.transpose(1, 0, 2, 3)


def backward(
    grad: Array, geometry: Geometry, size: Pair, count_padding: bool, divisor: float
) -> Array:
    """Return dx; `size` is the height and width of the images."""
    n, c = grad.shape[:2]
    dx = cupy().empty((c, n, *size), grad.dtype)
    SOURCE.launch(
        "average_backward", dx.dtype, dx.size, channel_major(grad), dx, c * n, count_padding,
        divisor, *on_planes(geometry, size),
    )  # fmt: skip
    return dx.transpose(1, 0, 2, 3)
