"""Matrix products by direct calls of cuBLAS.

CuPy's ``matmul`` can neither add to its result nor switch TF32 on and off.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...device import cupy
from ...errors import DeviceError
from .launch import arithmetic

_tf32 = False

#: CUDA_R_16F, CUDA_R_32F and CUDA_R_64F.
_KINDS = {"e": 2, "f": 0, "d": 1}


def allow_tf32(allowed: bool) -> None:
    """Choose whether products of float32 matrices may round their factors to TF32.

    TF32 has 10 bits of mantissa instead of 23, and is several times as fast since Ampere. Default:
    off, as on the CPU.
    """
    global _tf32
    _tf32 = bool(allowed)


def is_tf32_allowed() -> bool:
    """Return the choice of :func:`allow_tf32`."""
    return _tf32


def matmul(a: Any, b: Any, out: Any = None, *, accumulate: bool = False) -> Any:
    """Return the product ``a @ b``, with one call of cuBLAS and without copying an operand.

    Products of float16 are added up in float32.

    Parameters
    ----------
    a : array, shape (M, K) or (B, M, K)
    b : array, shape (K, N) or (B, K, N)
        Either may be the transpose of a matrix in memory order. There may be gaps between rows.
    out : array, shape (M, N) or (B, M, N), optional
        There may be gaps between rows. Of float16 factors it may be float32. Default: new memory.
    accumulate : bool
        Add to `out` instead of overwriting it. Default False.
    """
    xp = cupy()
    (*batch, m, k), n = a.shape, b.shape[-1]
    if out is None:
        out = xp.empty((*batch, m, n), a.dtype)
    if 0 in (*batch, m, n):
        return out
    if k == 0:
        if not accumulate:
            out.fill(0)
        return out
    from cupy_backends.cuda.libs import cublas

    # cuBLAS is column-major, so our matrices appear transposed: outᵀ = bᵀ·aᵀ.
    (b_op, b_lead), (a_op, a_lead) = _layout(b), _layout(a)
    out_op, out_lead = _layout(out)
    assert out_op == cublas.CUBLAS_OP_N, "the result's rows must be contiguous"
    kind, out_kind = _KINDS[a.dtype.char], _KINDS[out.dtype.char]
    compute = cublas.CUBLAS_COMPUTE_32F  # of float16, too
    if a.dtype == np.float64:
        compute = cublas.CUBLAS_COMPUTE_64F
    elif a.dtype == np.float32 and _tf32:
        compute = cublas.CUBLAS_COMPUTE_32F_FAST_TF32
    one = np.ones(1, arithmetic(a.dtype))
    beta = np.full(1, accumulate, arithmetic(a.dtype))
    handle = xp.cuda.get_cublas_handle()
    if batch in ([], [1]):
        cublas.gemmEx(
            handle, b_op, a_op, n, m, k, one.ctypes.data, b.data.ptr, kind, b_lead, a.data.ptr,
            kind, a_lead, beta.ctypes.data, out.data.ptr, out_kind, out_lead, compute,
            cublas.CUBLAS_GEMM_DEFAULT,
        )  # fmt: skip
        return out
    b_step, a_step, out_step = (array.strides[0] // array.itemsize for array in (b, a, out))
    cublas.gemmStridedBatchedEx(
        handle, b_op, a_op, n, m, k, one.ctypes.data, b.data.ptr, kind, b_lead, b_step,
        a.data.ptr, kind, a_lead, a_step, beta.ctypes.data, out.data.ptr, out_kind, out_lead,
        out_step, batch[0], compute, cublas.CUBLAS_GEMM_DEFAULT,
    )  # fmt: skip
    return out


def _layout(matrix: Any) -> tuple[int, int]:
    """Return a matrix's operation for cuBLAS (0: as it is, 1: transposed) and its pitch."""
    size = matrix.itemsize
    (rows, columns), (down, right) = matrix.shape[-2:], matrix.strides[-2:]
    by_rows = columns == 1 or right == size
    if by_rows and (rows == 1 or down >= columns * size):
        return 0, max(down // size if rows > 1 else columns, columns)
    by_columns = rows == 1 or down == size
    if by_columns and (columns == 1 or right >= rows * size):
        return 1, max(right // size if columns > 1 else rows, rows)
    raise DeviceError(f"matmul: a matrix of shape {matrix.shape} has strides {matrix.strides}")
