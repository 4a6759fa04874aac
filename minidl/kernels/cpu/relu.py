"""ReLU on the CPU, block by block on the threads."""

from __future__ import annotations

import functools

import numpy as np

from ...device import Array
from .. import cpu


def forward(x: Array, *, inplace: bool = False) -> Array:
    """Return ``max(x, 0)``, in the memory of `x` if `inplace`."""
    y = x if inplace else cpu.empty_like(x)
    cpu.blockwise(rectify, x, y)
    return y


def backward(y: Array, grad: Array, *, overwrite: bool = False) -> Array:
    """Return `grad` where y > 0 and 0 elsewhere, in the memory of `grad` if `overwrite`."""
    if overwrite:
        cpu.blockwise(lambda y, grad: cpu.keep_where(y > 0, grad, grad), y, grad)
        return grad
    dx = cpu.empty_like(y)
    cpu.blockwise(lambda y, grad, dx: cpu.keep_where(y > 0, grad, dx), y, grad, dx)
    return dx


@functools.cache
def _zeros(dtype: str) -> Array:
    return np.zeros(4096, dtype)


def rectify(x: Array, y: Array) -> None:
    """Write ``max(x, 0)`` of one block into `y`, which may be `x`.

    One run of memory is compared with rows of zeros: NumPy takes three times as long with a scalar.
    """
    if not (x.flags.c_contiguous and y.flags.c_contiguous):
        np.maximum(x, x.dtype.type(0), out=y)
        return
    x, y = x.reshape(-1), y.reshape(-1)
    zeros = _zeros(x.dtype.char)  # a dtype takes longer to look up
    if x.size <= zeros.size:
        np.maximum(x, zeros[: x.size], out=y)
        return
    rows, whole = (-1, zeros.size), x.size - x.size % zeros.size
    np.maximum(x[:whole].reshape(rows), zeros, out=y[:whole].reshape(rows))
    np.maximum(x[whole:], zeros[: x.size - whole], out=y[whole:])
