"""The fully connected layer on the GPU: one cuBLAS product each, and the bias' own kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...device import Array, cupy
from ..epilogue import EPILOGUES, Epilogue
from . import epilogue as epilogues
from .blas import matmul
from .launch import Source, arithmetic

SOURCE = Source("linear.cu")


def forward(x: Array, weight: Array, bias: Array | None, *, epilogue: Epilogue = None) -> Array:
    """Return x·Wᵀ + b for rows x (N, I), or its epilogue."""
    y = matmul(_matrix(x), _matrix(weight).T)
    if bias is not None or epilogue:
        added = y if bias is None else cupy().ascontiguousarray(bias, y.dtype)
        SOURCE.launch(
            "add_bias", y.dtype, y.size, added, y, np.int64(y.size), y.shape[1], bias is not None,
            EPILOGUES[epilogue],
        )  # fmt: skip
    return y


def backward(
    grad: Array,
    x: Array,
    weight: Array,
    want: Sequence[bool],
    *,
    epilogue: Epilogue = None,
    y: Array | None = None,
    overwrite: bool = False,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dW and db (None if not needed), of float16 the latter two in float32.

    With an epilogue, whose result was `y`, `grad` is the gradient after it; `overwrite` allows
    its memory to be used.
    """
    dbias = None
    if epilogue:
        assert y is not None
        if want[2]:
            grad, dbias = _rectified_and_bias_gradient(y, grad, overwrite)
        else:
            grad = epilogues.gradient(epilogue, y, grad, overwrite)
    elif want[2]:
        dbias = _bias_gradient(grad)
    dx = matmul(_matrix(grad), _matrix(weight)) if want[0] else None
    if not want[1]:
        return dx, None, dbias
    dweight = cupy().empty(weight.shape, arithmetic(x.dtype))
    return dx, matmul(_matrix(grad).T, _matrix(x), dweight), dbias


def _bias_gradient(grad: Array) -> Array:
    xp = cupy()
    rows, columns = grad.shape
    sums = xp.empty(columns, arithmetic(grad.dtype))
    SOURCE.launch(
        "sum_rows", grad.dtype, columns, xp.ascontiguousarray(grad), sums, rows, columns,
        grid=-(-columns // 32),
    )  # fmt: skip
    return sums


def _rectified_and_bias_gradient(y: Array, grad: Array, overwrite: bool) -> tuple[Array, Array]:
    """Return the gradient in front of ReLU, in the memory of `grad` if `overwrite`, and db."""
    xp = cupy()
    rows, columns = y.shape
    source = xp.ascontiguousarray(grad)
    dy = source if overwrite or source is not grad else xp.empty_like(y)
    sums = xp.empty(columns, arithmetic(y.dtype))
    SOURCE.launch(
        "sum_rectified_rows", y.dtype, columns, xp.ascontiguousarray(y), source, dy, sums, rows,
        columns, grid=-(-columns // 32),
    )  # fmt: skip
    return dy, sums


def _matrix(x: Array) -> Array:
    """Return a matrix that cuBLAS can read: itself if its rows or columns are runs of memory."""
    flags = x.flags
    return x if flags.c_contiguous or flags.f_contiguous else cupy().ascontiguousarray(x)
