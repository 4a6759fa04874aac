"""Shared by minimal filtering along two axes and along one: transforms, and work in lanes.

The math is in ``winograd``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from ...device import Array
from .. import cpu
from ..epilogue import Epilogue
from ..windows import Band, Geometry, Pair
from . import epilogue as epilogues
from .images import copy_pixels

#: For a kernel's size: the outputs of a tile along an axis, and its points without infinity.
TILES = {
    3: (4, ("0", "3/2", "-3/2", "2/3", "-2/3")),
    5: (4, ("0", "1", "-1", "1/2", "-1/2", "2", "-2")),
}

#: With fewer channels than this on either side, the transforms cost more than they save.
LEAST_CHANNELS = 24

#: Least number of lanes.
_LEAST_LANES = 4


class Transforms(NamedTuple):
    """The three matrices of one axis."""

    output: Array  # Aᵀ (m, t)
    kernel: Array  # G (t, r)
    data: Array  # Bᵀ (t, t)


@functools.cache
def transforms(size: int, dtype: np.dtype) -> Transforms:
    """Return Aᵀ, G and Bᵀ for kernels of `size`."""
    m, names = TILES[size]
    points = [Fraction(name) for name in names]
    infinity = [Fraction(0)] * (size - 1) + [Fraction(1)]
    output = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    kernel, data = [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = math.prod(p - q for q in others)
        kernel.append([p**i / scale for i in range(size)])
        data.append([*_coefficients(others), Fraction(0)])
    kernel.append(infinity)
    data.append(_coefficients(points))
    return Transforms(
        *(np.array(rows, np.float64).astype(dtype) for rows in (output, kernel, data))
    )


def _coefficients(roots: list[Fraction]) -> list[Fraction]:
    """Return the coefficients of Π (x - root), the constant first."""
    product = [Fraction(1)]
    for root in roots:
        by_x, by_root = [Fraction(0), *product], [*product, Fraction(0)]
        product = [a - root * b for a, b in zip(by_x, by_root, strict=True)]
    return product


def lanes_of(n: int, per_image: int, at_most: int, most: int = cpu.LANES) -> list[slice]:
    """Cut n images into the fewest lanes of `at_most` numbers, but as many as threads may need.

    There are at most `most` lanes.

    Between two calls of NumPy the threads hand the interpreter over to each other, which takes as
    long as a small layer's product. The number of lanes is even, as most numbers of threads are.
    """
    lanes = max(-(-n * per_image // at_most), _LEAST_LANES)
    return cpu.split(n, min(lanes + lanes % 2, most))


def runs_of(lane: slice, at_most: int) -> list[slice]:
    """Cut a lane's images into runs of equal length, one image or `at_most`."""
    n = lane.stop - lane.start
    runs = cpu.split(n, -(-n // max(at_most, 1)))
    return [slice(lane.start + run.start, lane.start + run.stop) for run in runs]


def pad(padded: Array, images: Array, before: Pair) -> None:
    """Write images (n, H, W, C) and zeros around them into `padded`, (n, height, width, C)."""
    (top, left), (_, *size, _) = before, padded.shape
    height, width = min(images.shape[1], size[0] - top), min(images.shape[2], size[1] - left)
    padded[:, :top] = 0
    padded[:, top + height :] = 0
    padded[:, :, :left] = 0
    padded[:, :, left + width :] = 0
    copy_pixels(images[:, :height, :width], padded[:, top : top + height, left : left + width])


def windows_of(x: Array, axis: int, count: int, size: int, step: int) -> Array:
    """View `axis` of a contiguous x as `count` windows of `size` entries, `step` apart: two axes.

    As ``as_strided`` would, but in 1 µs instead of 4, which both threads would wait for.
    """
    shape = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    strides = (*x.strides[:axis], step * x.strides[axis], *x.strides[axis:])
    return np.ndarray(shape, x.dtype, x, 0, strides)


def apply(slot: str, matrix: Array, windows: Array) -> Array:
    """Return `matrix` times every one of the windows (..., t, X), stored as (rows, ..., X)."""
    *places, _, length = windows.shape
    out = cpu.scratch(slot, (len(matrix), *places, length), windows.dtype)
    cpu.multiply_wide(matrix, windows, out.transpose(*range(1, windows.ndim - 1), 0, -1))
    return out


def with_ones(output: Array) -> Array:
    """Return Aᵀ with a column of ones: one more point adds the bias to every output of a tile."""
    return np.concatenate([output, np.ones((len(output), 1), output.dtype)], axis=1)


def finish(y: Array, inside: Array, epilogue: Epilogue) -> None:
    """Write to y the epilogue of what lies inside of the tiles (or is y itself)."""
    if epilogue:
        epilogues.apply(epilogue, inside, y)
    elif inside is not y:
        y[...] = inside


def in_lanes(
    some_rows: Callable[[Array, Geometry, Array], None],
    x: Array,
    y: Array,
    bands: list[Band],
    per_image: int,
    slab: int,
) -> None:
    """Call ``some_rows(x, band, y)`` for bands of runs of images, (n, H, W, C), on the threads.

    A run has at most `slab` numbers, `per_image` of them an image, or is one image.
    """
    x_images, y_images = x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1)

    def lane(piece: tuple[slice, Band]) -> None:
        images, (rows, first, band) = piece
        for run in runs_of(images, slab // per_image):
            some_rows(x_images[run, first:], band, y_images[run, rows])

    lanes = lanes_of(len(x), per_image, slab, cpu.PIECES)
    cpu.parallel(lane, [(images, band) for images in lanes for band in bands])
