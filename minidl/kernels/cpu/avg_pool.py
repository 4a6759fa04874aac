"""Average-pool on the CPU: first along the rows of the images, then down their columns."""

from __future__ import annotations

import functools

import numpy as np

from ...device import Array
from .. import cpu
from ..windows import Geometry, Pair
from .pool_windows import Span, collect, lanes


def forward(x: Array, geometry: Geometry, count_padding: bool, divisor: float) -> Array:
    """Return y; a window is divided by its size if `divisor` is 0."""
    n, c, *size = x.shape
    y = cpu.empty_image(n, c, *geometry.out, x.dtype)
    x_images, y_images = x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1)
    scale = _scale(geometry, (size[0], size[1]), count_padding, divisor).astype(x.dtype)

    def lane(images: slice) -> None:
        span = Span(x_images[images], geometry)
        span.read(0)
        shape = (images.stop - images.start, geometry.span[0], geometry.out[1], c)
        across = cpu.scratch("across", shape, x.dtype)
        np.copyto(across, span.across(0))
        for kw in range(1, geometry.kernel[1]):
            np.add(across, span.across(kw), out=across)
        out = y_images[images]
        np.copyto(out, across[:, geometry.positions(0, 0)[0]])
        for kh in range(1, geometry.kernel[0]):
            np.add(out, across[:, geometry.positions(kh, 0)[0]], out=out)
        out *= scale

    cpu.parallel(lane, lanes(n, geometry, c))
    return y


def backward(
    grad: Array, geometry: Geometry, size: Pair, count_padding: bool, divisor: float
) -> Array:
    """Return dx; `size` is the height and width of the images."""
    n, c = grad.shape[:2]
    dx = cpu.empty_image(n, c, *size, grad.dtype)
    dx_images, dy_images = dx.transpose(0, 2, 3, 1), grad.transpose(0, 2, 3, 1)
    scale = _scale(geometry, size, count_padding, divisor).astype(grad.dtype)
    (kh, kw), (sh, sw), _, (top, left), (_, ow) = geometry
    columns = geometry._replace(kernel=(kh, 1), stride=(sh, 1), before=(top, 0))
    rows = geometry._replace(kernel=(1, kw), stride=(1, sw), before=(0, left), out=(size[0], ow))

    def lane(images: slice) -> None:
        share = dy_images[images] * scale
        # the transpose of the forward pass: first the columns, then the rows
        across = cpu.scratch("across", (len(share), size[0], *share.shape[2:]), grad.dtype)
        collect(across, columns, lambda kh, kw, out: share)
        collect(dx_images[images], rows, lambda kh, kw, out: across)

    cpu.parallel(lane, lanes(n, geometry, c))
    return dx


@functools.lru_cache
def _scale(geometry: Geometry, size: Pair, count_padding: bool, divisor: float) -> Array:
    """Return the factor of every window's sum, shape (OH, OW, 1).

    Padding counts if `count_padding`, but never the overhang that ceil_mode adds beyond it.
    """
    if divisor:
        return np.full((*geometry.out, 1), 1 / divisor)
    counts = []
    axes = zip(size, geometry.kernel, geometry.stride, geometry.before, geometry.out, strict=True)
    for n, k, s, p, out in axes:
        starts = np.arange(out) * s - p
        ends = np.minimum(starts + k, n + p)
        if not count_padding:
            starts, ends = np.maximum(starts, 0), np.minimum(ends, n)
        counts.append(ends - starts)
    return 1 / (counts[0][:, None, None] * counts[1][:, None])
