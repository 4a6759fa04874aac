"""Casts between float16 and float32 on the GPU, for mixed precision."""

from __future__ import annotations

import numpy as np

from ...device import Array, cupy
from .launch import Source
from .memory import aligned, is_dense

SOURCE = Source("cast.cu")


def cast(array: Array, dtype: np.dtype) -> Array:
    """Return an array of float32 as float16, or the reverse, in the same memory order."""
    if not is_dense(array):
        return array.astype(dtype)
    result = cupy().empty_like(array, dtype)
    target, source = aligned(result, array)
    name = "narrow" if dtype.itemsize < array.itemsize else "widen"
    SOURCE.launch(name, np.float16, array.size, source, target, np.int64(array.size))
    return result
