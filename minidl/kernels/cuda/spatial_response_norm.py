"""Response normalization within a map on the GPU."""

from __future__ import annotations

from ...device import Array, cupy
from .launch import Source
from .memory import channel_major

SOURCE = Source("spatial_response_norm.cu")


def forward(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Return y for x (N, C, H, W)."""
    maps, (n, c, height, width) = channel_major(x), x.shape
    y = cupy().empty(maps.shape, maps.dtype)
    SOURCE.launch(
        "spatial_response_norm_forward", y.dtype, y.size, maps, y, n * c, height, width, size,
        alpha / size**2, float(beta), float(k),
    )  # fmt: skip
    return y.transpose(1, 0, 2, 3)


def backward(grad: Array, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Return dx; a block of threads takes a map at a time."""
    maps, dy, (n, c, height, width) = channel_major(x), channel_major(grad), x.shape
    dx, crosses = cupy().empty(maps.shape, maps.dtype), cupy().empty(maps.shape, maps.dtype)
    SOURCE.launch(
        "spatial_response_norm_backward", dx.dtype, dx.size, maps, dy, dx, crosses, n * c, height,
        width, size, alpha / size**2, float(beta), float(k),
        block=min(-(-height * width // 32) * 32, 256), grid=n * c,
    )  # fmt: skip
    return dx.transpose(1, 0, 2, 3)
