"""Dropout on the GPU: one launch draws the mask and applies it."""

from __future__ import annotations

import numpy as np

from ...device import Array, cupy
from .launch import Source
from .memory import aligned

SOURCE = Source("dropout.cu")


def forward(
    x: Array, key: np.ndarray | None, p: float, scale: float, inplace: bool
) -> tuple[Array, Array]:
    """Return y and the mask, one byte an element, both in the memory order of x.

    All elements are dropped if `key` is None.
    """
    xp = cupy()
    turned = x.ndim == 4 and not x.flags.c_contiguous  # images as the layers leave them
    turned = turned and x.transpose(1, 0, 2, 3).flags.c_contiguous
    source = x.transpose(1, 0, 2, 3) if turned else x
    if not source.flags.c_contiguous:
        source = xp.ascontiguousarray(x)
    images, channels = x.shape[:2] if turned else (1, 1)
    plane = x.size // max(images * channels, 1)
    overwrite = inplace and (turned or source is x)
    y = source if overwrite else xp.empty_like(source)
    mask = xp.empty(source.shape, np.uint8)
    scale = float(x.dtype.type(scale))  # float16: as the plain code
    threshold = 2**32 if key is None else min(round(p * 2**32), 2**32 - 1)
    key0, key1 = (0, 0) if key is None else key
    SOURCE.launch(
        "dropout_forward", x.dtype, -(-x.size // 8), source, y, mask, np.uint64(key0),
        np.uint64(key1), np.uint64(threshold), scale, np.int64(x.size), images, channels,
        np.int64(plane),
    )  # fmt: skip
    if turned:
        y, mask = y.transpose(1, 0, 2, 3), mask.transpose(1, 0, 2, 3)
    if not inplace:
        return y, mask
    if not overwrite:
        x[...] = y
    return x, mask


def backward(grad: Array, mask: Array, scale: float) -> Array:
    """Return dx, in the memory order of the mask."""
    dx = cupy().empty_like(mask, grad.dtype)
    target, m, dy = aligned(dx, mask, grad)
    scale = float(grad.dtype.type(scale))
    SOURCE.launch("dropout_backward", grad.dtype, dx.size, dy, m, target, scale, np.int64(dx.size))
    return dx
