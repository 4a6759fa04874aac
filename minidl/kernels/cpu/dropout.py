"""Dropout on the CPU: the mask is drawn in blocks, on the threads."""

from __future__ import annotations

import math

import numpy as np

from ...device import Array, Shape
from .. import cpu

_WORDS_PER_COUNTER = 8  # Philox4x64: 4 words of 64 bits from each value of its counter
_BLOCK = 1 << 17  # elements in a piece of work; a multiple of _WORDS_PER_COUNTER


def forward(
    x: Array, key: np.ndarray | None, p: float, scale: float, inplace: bool
) -> tuple[Array, Array]:
    """Return y, and what the backward multiplies by: the mask times `scale`.

    All elements are dropped if `key` is None.
    """
    mask = np.zeros(x.shape, np.bool_) if key is None else _mask(key, x.shape, p)
    factor = mask * x.dtype.type(scale)
    if inplace:
        x *= factor
        return x, factor
    return x * factor, factor


def backward(grad: Array, mask: Array, scale: float) -> Array:
    """Return dx; the forward has multiplied the mask by `scale`."""
    return grad * mask


def _mask(key: np.ndarray, shape: Shape, p: float) -> Array:
    """Return a bool array that is False with probability `p`, element by element in C order."""
    keep = np.empty(math.prod(shape), np.bool_)
    threshold = np.uint32(min(round(p * 2**32), 2**32 - 1))

    def block(start: int) -> None:
        part = keep[start : start + _BLOCK]
        philox = np.random.Philox(key=key, counter=start // _WORDS_PER_COUNTER)
        words = philox.random_raw(-(-part.size // 2)).astype("<u8", copy=False).view("<u4")
        np.greater_equal(words[: part.size], threshold, out=part)

    cpu.parallel(block, range(0, keep.size, _BLOCK))
    return keep.reshape(shape)
