"""Arguments that name axes or lengths: ``dim=-1``, ``dim=(0, 2)``, ``f(2, 3)`` or ``f((2, 3))``."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from ..errors import ArgumentError, DTypeError, IndexOutOfRange

Dim = int | Sequence[int] | None
Axes = tuple[int, ...]


def flat(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Return sizes given as ``f(2, 3)`` or ``f((2, 3))`` as one tuple."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    try:
        return tuple([index(size) for size in sizes])
    except TypeError as error:
        raise DTypeError(f"expected lengths of axes, got {sizes!r:.80}") from error


def lengths(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the sizes of a new tensor, as :func:`flat`; none may be negative."""
    shape = flat(sizes)
    if min(shape, default=0) < 0:
        raise ArgumentError(f"size: expected no negative lengths, got {shape}")
    return shape


def one_axis(name: str, dim: int, ndim: int) -> int:
    """Return `dim` as an axis from 0 to ``ndim - 1``."""
    try:
        dim = index(dim)
    except TypeError:
        raise DTypeError(f"{name}: dim must be an integer, got {dim!r}") from None
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexOutOfRange(f"{name}: dim {dim} is out of range for a tensor of {ndim} axes")
    return dim % max(ndim, 1)


def length_of(name: str, input: Any, dim: int) -> tuple[int, int]:
    """Return `dim` as an axis of a tensor that has one, and its length."""
    axis = one_axis(name, dim, input.ndim)
    if not input.ndim:
        raise IndexOutOfRange(f"{name}: expected a tensor with axes, got shape ()")
    return axis, input.array.shape[axis]


def axes_of(name: str, dim: Dim, ndim: int) -> Axes:
    """Return `dim` as a tuple of axes from 0 to ``ndim - 1``; all axes for None or none."""
    dims = tuple(dim) if isinstance(dim, (tuple, list)) else (dim,)
    if dim is None or not dims:
        return tuple(range(ndim))
    axes = tuple(one_axis(name, d, ndim) for d in dims)
    if len(set(axes)) < len(axes):
        raise ArgumentError(f"{name}: dim {dims} names an axis twice")
    return axes if ndim else ()
