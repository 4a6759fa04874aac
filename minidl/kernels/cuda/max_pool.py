"""Max-pool on the GPU: a thread for each window, and for each pixel in the backward."""

from __future__ import annotations

import math

from ...device import Array, cupy
from ..windows import Geometry, Pair
from .launch import Source
from .memory import channel_major
from .planes import on_planes

SOURCE = Source("max_pool.cu")


def forward(x: Array, geometry: Geometry, want_places: bool) -> tuple[Array, Array]:
    """Return y and, if wanted, the places: (N, C, OH, OW), channels first in memory as y."""
    xp, (n, c, *size) = cupy(), x.shape
    y = xp.empty((c, n, *geometry.out), x.dtype)
    places = xp.empty((c, n * want_places, *geometry.out), geometry.place_dtype)
    SOURCE.launch(
        "max_forward", x.dtype, y.size, channel_major(x), y, places, c * n,
        places.itemsize * want_places, math.inf, *on_planes(geometry, (size[0], size[1])),
    )  # fmt: skip
    return y.transpose(1, 0, 2, 3), places.transpose(1, 0, 2, 3)


def backward(grad: Array, places: Array, geometry: Geometry, size: Pair) -> Array:
    """Return dx; `size` is the height and width of the images."""
    n, c = grad.shape[:2]
    dx = cupy().empty((c, n, *size), grad.dtype)
    SOURCE.launch(
        "max_backward", dx.dtype, dx.size, channel_major(grad), channel_major(places), dx, c * n,
        places.itemsize, *on_planes(geometry, size),
    )  # fmt: skip
    return dx.transpose(1, 0, 2, 3)
