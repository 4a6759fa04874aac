"""Response normalization within a map on the CPU, an image at a time."""

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
    window_sum = _within_map(size)

    def image(number: int) -> None:
        own, result = (array[number].transpose(1, 2, 0) for array in (x, y))
        norm_blocks.normalize(own, result, window_sum, alpha / size**2, beta, k)

    cpu.parallel(image, range(len(x)))
    return y


def backward(grad: Array, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Return dx."""
    n, c, h, w = x.shape
    dx = cpu.empty_image(n, c, h, w, x.dtype)
    window_sum = _within_map(size)

    def image(number: int) -> None:
        own, dy, result = (array[number].transpose(1, 2, 0) for array in (x, grad, dx))
        norm_blocks.normalize_backward(own, dy, result, window_sum, alpha / size**2, beta, k)

    cpu.parallel(image, range(len(x)))
    return dx


def _within_map(size: int) -> WindowSum:
    """Return the sum over `size` x `size` neighbors of (H, W, C): first across, then down."""

    def window_sum(
        terms: np.ufunc, a: Array, b: Array, factor: float, out: Array, mirrored: bool
    ) -> None:
        before = (size - 1) // 2 if mirrored else size // 2
        h, w, c = a.shape
        wide = cpu.scratch("wide", (h, w + size - 1, c), a.dtype)
        wide.fill(0)
        terms(a, b, out=wide[:, before : before + w])
        high = cpu.scratch("high", (h + size - 1, w, c), a.dtype)
        high.fill(0)
        across = high[before : before + h]
        for shift in range(size):
            across += wide[:, shift : shift + w]
        out.fill(0)
        for shift in range(size):
            out += high[shift : shift + h]
        out *= a.dtype.type(factor)

    return window_sum
