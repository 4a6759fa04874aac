"""Matrix products of arrays of any number of axes, by as few calls of cuBLAS as possible."""

from __future__ import annotations

import math

from ...device import Array, cupy
from .blas import matmul


def product(a: Array, b: Array) -> Array:
    """Return ``a @ b`` of arrays of at least two axes.

    Two matrices are one product, and so is a batch of matrices times one matrix. CuPy's batched
    product does the others; it copies transposed operands, which takes memory.
    """
    if b.ndim > 2 or a.dtype.name not in ("float16", "float32", "float64"):
        return cupy().matmul(a, b)
    rows = a.reshape(math.prod(a.shape[:-1]), a.shape[-1])  # (..·M, K)
    y = matmul(_for_blas(rows), _for_blas(b))  # (..·M, N)
    return y.reshape(*a.shape[:-1], b.shape[1])


def _for_blas(matrix: Array) -> Array:
    """Return `matrix` with contiguous rows or columns, copied only if it has neither."""
    (rows, columns), (down, right), size = matrix.shape, matrix.strides, matrix.itemsize
    by_rows = (right == size or columns == 1) and (down >= columns * size or rows == 1)
    by_columns = (down == size or rows == 1) and (right >= rows * size or columns == 1)
    return matrix if by_rows or by_columns else cupy().ascontiguousarray(matrix)
