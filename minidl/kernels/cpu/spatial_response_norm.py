"""Response normalization within a map on the CPU, a few images at a time."""

from __future__ import annotations

import numpy as np

from ...device import Array
from .. import cpu
from . import norm_blocks
from .norm_blocks import WindowSum


def forward(x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Return y for x (N, C, H, W)."""
    n, c, h, w = x.shape
    y = cpu.empty_image(n, c, h, w, x.dtype)
    x_images, y_images = (array.transpose(0, 2, 3, 1) for array in (x, y))
    window_sum = _within_map(size)

    def some_images(images: slice) -> None:
        own, result = x_images[images], y_images[images]
        norm_blocks.normalize(own, result, window_sum, alpha / size**2, beta, k)

    cpu.parallel(some_images, _pieces(x))
    return y


def backward(grad: Array, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Return dx."""
    n, c, h, w = x.shape
    dx = cpu.empty_image(n, c, h, w, x.dtype)
    x_images, dy_images, dx_images = (array.transpose(0, 2, 3, 1) for array in (x, grad, dx))
    window_sum = _within_map(size)

    def some_images(images: slice) -> None:
        own, dy, result = x_images[images], dy_images[images], dx_images[images]
        norm_blocks.normalize_backward(own, dy, result, window_sum, alpha / size**2, beta, k)

    cpu.parallel(some_images, _pieces(x))
    return dx


def _pieces(x: Array) -> list[slice]:
    """Cut images into pieces of a block, or of one image."""
    at_a_time = max(1, cpu.BLOCK * len(x) // max(x.size, 1))
    return cpu.split(len(x), -(-len(x) // at_a_time))


def _within_map(size: int) -> WindowSum:
    """Return the sum over `size` x `size` neighbors of (n, H, W, C): first across, then down."""

    def window_sum(
        terms: np.ufunc, a: Array, b: Array, factor: float, out: Array, mirrored: bool
    ) -> None:
        before = (size - 1) // 2 if mirrored else size // 2
        n, h, w, c = a.shape
        wide = cpu.scratch("wide", (n, h + size - 1, w + size - 1, c), a.dtype)
        wide[:, :before], wide[:, before + h :] = 0, 0
        wide[:, :, :before], wide[:, :, before + w :] = 0, 0
        terms(a, b, out=wide[:, before : before + h, before : before + w])
        high = cpu.scratch("high", (n, h + size - 1, w, c), a.dtype)
        _add([wide[:, :, shift : shift + w] for shift in range(size)], high)
        _add([high[:, shift : shift + h] for shift in range(size)], out)
        np.multiply(out, a.dtype.type(factor), out=out)

    return window_sum


def _add(terms: list[Array], out: Array) -> None:
    """Write the sum of the terms."""
    if len(terms) == 1:
        np.copyto(out, terms[0])
        return
    np.add(terms[0], terms[1], out=out)
    for term in terms[2:]:
        np.add(out, term, out=out)
