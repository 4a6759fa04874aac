"""Matrix products of arrays of any number of axes."""

from __future__ import annotations

import numpy as np

from ...device import Array
from .blocks import matmul
from .lanes import single_threaded_blas


def product(a: Array, b: Array) -> Array:
    """Return ``a @ b`` of arrays of at least two axes; two matrices are multiplied in lanes."""
    if a.ndim == b.ndim == 2:
        return matmul(a, b)
    with single_threaded_blas:
        return np.matmul(a, b)
