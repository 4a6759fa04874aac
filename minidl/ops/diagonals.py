"""Diagonals and triangles of matrices."""

from __future__ import annotations

from operator import index
from typing import Any

from ..autograd import Context, Function
from ..device import Array, array_module
from ..errors import ShapeError
from ..tensor import Tensor
from .axes import axes_of
from .shape import own, writable_as

__all__ = ["diag", "diagonal", "trace", "tril", "triu"]


class Diagonal(Function):
    """A diagonal of the last two axes; elsewhere the gradient is 0."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x: Array, offset: int) -> Array:
        ctx.shape, ctx.offset = x.shape, offset
        return writable_as(x, x.diagonal(offset, -2, -1))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        *rest, rows, columns = ctx.shape
        dx = array_module(grad).zeros((*rest, rows * columns), grad.dtype)
        dx[..., _on_diagonal((rows, columns), ctx.offset)] = grad
        return dx.reshape(ctx.shape), None


class Triangle(Function):
    """The lower or upper triangle of the last two axes, 0 elsewhere."""

    @staticmethod
    def forward(ctx: Context, x: Array, diagonal: int, lower: bool) -> Array:
        ctx.diagonal, ctx.lower = diagonal, lower
        xp = array_module(x)
        return (xp.tril if lower else xp.triu)(x, diagonal)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        xp = array_module(grad)
        return (xp.tril if ctx.lower else xp.triu)(grad, ctx.diagonal), None, None


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the lower triangle of the last two axes, 0 above `diagonal`."""
    _check_axes("tril", input, 2)
    return Triangle.apply(input, index(diagonal), True)


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the upper triangle of the last two axes, 0 below `diagonal`."""
    _check_axes("triu", input, 2)
    return Triangle.apply(input, index(diagonal), False)


def _check_axes(name: str, input: Tensor, least: int, most: int = 64) -> None:
    """Raise an error unless the tensor has at least and at most so many axes."""
    if not least <= input.ndim <= most:
        limits = f"{least} to {most}" if most < 64 else f"at least {least}"
        raise ShapeError(f"{name}: expected {limits} axes, got shape {tuple(input.shape)}")


def _on_diagonal(shape: tuple[int, ...], offset: int) -> slice:
    """Return the slice of a diagonal among the elements of a matrix, row by row."""
    rows, columns = shape
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = max(offset, 0) - min(offset, 0) * columns
    return slice(start, start + count * (columns + 1), columns + 1) if count else slice(0, 0)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return the elements whose positions along `dim1` and `dim2` are equal, as the last axis."""
    axes_of("diagonal", (dim1, dim2), input.ndim)  # two different ones
    return Diagonal.apply(input.movedim((dim1, dim2), (-2, -1)), offset)  # (..., length)


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the matrix with a vector on its diagonal, or the diagonal of a matrix."""
    _check_axes("diag", input, 1, 2)
    if input.ndim == 2:
        return own(input.flatten()[_on_diagonal(input.array.shape, diagonal)])
    size = input.numel() + (diagonal if diagonal > 0 else -diagonal)
    result = input.new_zeros(size * size)
    result[_on_diagonal((size, size), diagonal)] = input
    return result.reshape(size, size)


def trace(input: Tensor) -> Tensor:
    """Return the sum of a matrix's diagonal."""
    _check_axes("trace", input, 2, 2)
    return diagonal(input).sum()
