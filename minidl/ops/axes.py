"""Arguments that name axes or lengths: ``dim=-1``, ``dim=(0, 2)``, ``f(2, 3)`` or ``f((2, 3))``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError, IndexOutOfRange

Dim = int | Sequence[int] | None


def flat(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Return sizes given as ``f(2, 3)`` or ``f((2, 3))`` as one tuple."""
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = tuple(sizes[0])
    return tuple(int(size) for size in sizes)


def lengths(sizes: tuple[Any, ...]) -> tuple[int, ...]:
    """Return the sizes of a new tensor, as :func:`flat`; none may be negative."""
    shape = flat(sizes)
    if min(shape, default=0) < 0:
        raise ArgumentError(f"size: expected no negative lengths, got {shape}")
    return shape


def one_axis(name: str, dim: int, ndim: int) -> int:
    """Return `dim` as an axis from 0 to ``ndim - 1``."""
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise IndexOutOfRange(f"{name}: dim {dim} is out of range for a tensor of {ndim} axes")
    return dim % max(ndim, 1)


def axes_of(name: str, dim: Dim, ndim: int) -> tuple[int, ...]:
    """Return `dim` as a tuple of axes from 0 to ``ndim - 1``; all axes for None."""
    if dim is None or (not isinstance(dim, int) and len(dim) == 0):
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    for d in dims:
        if not -(ndim or 1) <= d < (ndim or 1):
            raise IndexOutOfRange(f"{name}: dim {d} is out of range for a tensor of {ndim} axes")
    axes = tuple(d % ndim for d in dims) if ndim else ()
    if len(set(axes)) < len(axes):
        raise ArgumentError(f"{name}: dim {dims} names an axis twice")
    return axes
