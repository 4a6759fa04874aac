"""Matrix products.

For ``Y = A·B`` with A of (M, K) and B of (K, N): dA = dY·Bᵀ and dB = Aᵀ·dY. Further axes in front
are a batch of such products, with broadcasting; a 1-D operand is a row on the left and a column on
the right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import cpu
from ..autograd import Function, Node
from ..device import Array, array_module
from ..errors import DTypeError, ShapeError
from ..tensor import Tensor
from .elementwise import unbroadcast


def product(a: Array, b: Array) -> Array:
    """Return ``a @ b`` of arrays of at least two axes."""
    if isinstance(a, np.ndarray):
        if a.ndim == b.ndim == 2:
            return cpu.matmul(a, b)
        with cpu.single_threaded_blas:
            return np.matmul(a, b)
    return array_module(a).matmul(a, b)


class Matmul(Function):
    """``A @ B`` of at least two axes each."""

    @staticmethod
    def forward(ctx: Node, a: Array, b: Array) -> Array:
        ctx.save_for_backward(a, b)
        return product(a, b)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        a, b = ctx.saved_tensors
        need_a, need_b = ctx.needs_input_grad
        return (
            unbroadcast(product(grad, b.swapaxes(-1, -2)), a.shape) if need_a else None,
            unbroadcast(product(a.swapaxes(-1, -2), grad), b.shape) if need_b else None,
        )


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Return the matrix product ``input @ other``.

    Parameters
    ----------
    input : Tensor, shape (..., M, K) or (K,)
    other : Tensor, shape (..., K, N) or (K,)

    Returns
    -------
    Tensor, shape (..., M, N), without the axis of a 1-D operand

    Raises
    ------
    ShapeError
        The inner lengths differ, or an operand has no axes.
    DTypeError
        The dtypes differ.

    Examples
    --------
    >>> import minidl
    >>> minidl.ones(2, 3) @ minidl.ones(3)
    tensor([3., 3.])
    """
    if input.ndim == 0 or other.ndim == 0:
        raise ShapeError("matmul: both operands need at least one axis")
    if input.dtype != other.dtype:
        raise DTypeError(f"matmul: expected one dtype, got {input.dtype} and {other.dtype}")
    a = input.unsqueeze(0) if input.ndim == 1 else input
    b = other.unsqueeze(1) if other.ndim == 1 else other
    if a.array.shape[-1] != b.array.shape[-2]:
        raise ShapeError(
            f"matmul: shapes {tuple(input.shape)} and {tuple(other.shape)} do not fit: the last "
            f"axis of the first is {a.array.shape[-1]}, the second expects {b.array.shape[-2]}"
        )
    y = Matmul.apply(a, b)
    if other.ndim == 1:
        y = y.squeeze(-1)
    if input.ndim == 1:
        y = y.squeeze(-2 if other.ndim > 1 else -1)
    return y


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the product of two matrices."""
    if input.ndim != 2 or mat2.ndim != 2:
        raise ShapeError(f"mm: expected two matrices, got {input.ndim} and {mat2.ndim} axes")
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Return the products of two batches of matrices, (B, M, K) and (B, K, N)."""
    if input.ndim != 3 or mat2.ndim != 3:
        raise ShapeError(f"bmm: expected two batches, got {input.ndim} and {mat2.ndim} axes")
    return matmul(input, mat2)


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Return the product of a matrix and a vector."""
    return matmul(input, vec)


def dot(input: Tensor, other: Tensor) -> Tensor:
    """Return the inner product of two vectors."""
    return matmul(input, other)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Return the outer product of two vectors."""
    return input.unsqueeze(1) * vec2.unsqueeze(0)


def addmm(input: Tensor, mat1: Tensor, mat2: Tensor) -> Tensor:
    """Return ``input + mat1 @ mat2``."""
    return input + matmul(mat1, mat2)
