"""Images in the order of the CPU's memory: NCHW in shape, channels last in memory."""

from __future__ import annotations

import numpy as np

from ...device import Array
from ..windows import Geometry, Pair


def channels_last(x: Array) -> Array:
    """Return (N, C, H, W) as C-contiguous (N, H, W, C), copying only if memory is otherwise."""
    last = x.transpose(0, 2, 3, 1)
    return last if last.flags.c_contiguous else np.ascontiguousarray(last)


def copy_pixels(images: Array, out: Array) -> None:
    """Write images (n, H, W, C), in any memory order, to `out`, whose channels are last in memory.

    Planes, such as a user's batch may have, are copied one by one: NumPy's loops are longest so.
    """
    if images.strides[3] > images.strides[2]:
        for channel in range(images.shape[3]):
            out[..., channel] = images[..., channel]
    else:
        out[...] = images


def col2im(columns: Array, geometry: Geometry, size: Pair) -> Array:
    """Add every entry of (N, C, KH, KW, OH, OW) to its pixel of images (N, C, H, W)."""
    kernel_h, kernel_w = geometry.kernel
    padded = np.zeros((*columns.shape[:2], *geometry.span), columns.dtype)
    for kh in range(kernel_h):
        for kw in range(kernel_w):
            rows, cols = geometry.positions(kh, kw)
            padded[:, :, rows, cols] += columns[:, :, kh, kw]
    rows, cols, own_rows, own_cols = geometry.inside(size)
    image = np.zeros((*columns.shape[:2], *size), columns.dtype)
    image[:, :, own_rows, own_cols] = padded[:, :, rows, cols]
    return image
