"""im2col and col2im on the GPU."""

from __future__ import annotations

from ...device import Array, cupy
from ..windows import Geometry, Pair
from .launch import Source
from .memory import channel_major, empty_image

SOURCE = Source("im2col.cu")


def im2col(x: Array, geometry: Geometry) -> Array:
    """Return the windows of images (N, C, H, W) as columns (N, C, KH, KW, OH, OW)."""
    n, c, height, width = x.shape
    g = geometry
    columns = cupy().empty((n, c, *g.kernel, *g.out), x.dtype)
    SOURCE.launch(
        "im2col", x.dtype, columns.size, channel_major(x), columns, n, c, height, width,
        *g.kernel, *g.out, *g.stride, *g.dilation, *g.before,
    )  # fmt: skip
    return columns


def col2im(columns: Array, geometry: Geometry, size: Pair) -> Array:
    """Add every entry of (N, C, KH, KW, OH, OW) to its pixel of images (N, C, H, W) of `size`."""
    n, c = columns.shape[:2]
    g = geometry
    image = empty_image(n, c, *size, columns.dtype)
    SOURCE.launch(
        "col2im", columns.dtype, image.size, cupy().ascontiguousarray(columns),
        image.transpose(1, 0, 2, 3), n, c, *size, *g.kernel, *g.out, *g.stride, *g.dilation,
        *g.before,
    )  # fmt: skip
    return image
