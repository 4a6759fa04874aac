"""Reading and writing elements by position: indexing, gathering, sorting.

The gradient of reading is writing at the same positions, and where one element was read several
times its gradients are added.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function, Node
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor import Tensor, as_tensor
from .elementwise import unbroadcast
from .reduce import ValuesAndIndices


def _arrays(index: Any) -> Any:
    """Replace the Tensors of an index by their arrays, and lists by arrays."""
    if isinstance(index, tuple):
        return tuple(_arrays(part) for part in index)
    if isinstance(index, Tensor):
        return index.array
    if isinstance(index, list):
        return np.asarray(index) if index else np.empty(0, np.int64)
    return index


def _is_basic(index: Any) -> bool:
    """Whether NumPy answers the index with a view: integers, slices, None and Ellipsis only."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None
        or part is Ellipsis
        or isinstance(part, (slice, np.integer))
        or (isinstance(part, int) and not isinstance(part, bool))
        for part in parts
    )


def _read(x: Array, index: Any) -> Array:
    try:
        return x[index]
    except IndexError as error:
        raise _IndexOutOfRange(f"index: {error}, in a tensor of shape {tuple(x.shape)}") from error


class _IndexOutOfRange(ArgumentError, IndexError):
    """What iteration and PyTorch's users expect of a bad index: also an IndexError."""


class View(Function):
    """``x[index]`` with integers and slices: shares the memory; no element is read twice."""

    is_view = True

    @staticmethod
    def forward(ctx: Node, x: Array, index: Any) -> Array:
        ctx.shape, ctx.index = x.shape, index
        result = _read(x, index)
        return result if hasattr(result, "strides") and result.ndim else result.reshape(())

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        dx = array_module(grad).zeros(ctx.shape, grad.dtype)
        dx[ctx.index] = grad
        return dx, None


class Take(Function):
    """``x[index]`` with arrays of positions or of truth values: a copy; gradients are added."""

    @staticmethod
    def forward(ctx: Node, x: Array, index: Any) -> Array:
        ctx.shape, ctx.index = x.shape, index
        return _read(x, index)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        xp = array_module(grad)
        dx = xp.zeros(ctx.shape, grad.dtype)
        xp.add.at(dx, ctx.index, grad)
        return dx, None


class Assign(Function):
    """``x`` with ``x[index] = value``: the overwritten elements lose their gradient to `value`."""

    @staticmethod
    def forward(ctx: Node, x: Array, value: Any, index: Any) -> Array:
        ctx.index, ctx.value_shape = index, getattr(value, "shape", ())
        y = x.copy(order="K")
        _write(y, index, value)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        dx = grad.copy(order="K")
        dx[ctx.index] = 0
        need = ctx.needs_input_grad[1]
        dvalue = unbroadcast(grad[ctx.index], ctx.value_shape) if need else None
        return dx, dvalue, None


class Gather(Function):
    """``y[i][j] = x[index[i][j]][j]`` (along axis 0): gradients are added where read."""

    @staticmethod
    def forward(ctx: Node, x: Array, axis: int, index: Array) -> Array:
        ctx.shape, ctx.axis, ctx.where = x.shape, axis, _along(index, axis)
        return x[ctx.where]

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        xp = array_module(grad)
        dx = xp.zeros(ctx.shape, grad.dtype)
        xp.add.at(dx, ctx.where, grad)
        return dx, None, None


def _along(index: Array, axis: int) -> tuple[Array, ...]:
    """The full index of elements whose position along `axis` is `index` and elsewhere their own."""
    xp = array_module(index)
    grids = [
        xp.arange(length).reshape((1,) * d + (-1,) + (1,) * (index.ndim - d - 1))
        for d, length in enumerate(index.shape)
    ]
    grids[axis] = index
    return tuple(grids)


def _write(x: Array, index: Any, value: Any) -> None:
    try:
        x[index] = value
    except IndexError as error:
        raise _IndexOutOfRange(f"index: {error}, in a tensor of shape {tuple(x.shape)}") from error
    except ValueError as error:
        raise ShapeError(
            f"x[index] = value: shape {np.shape(value)} does not fit shape {x[index].shape}"
        ) from error


def getitem(input: Tensor, index: Any) -> Tensor:
    """Return ``input[index]``, with NumPy's rules of basic and advanced indexing.

    Raises
    ------
    ArgumentError
        (also an IndexError) A position is out of range.
    """
    index = _arrays(index)
    return View.apply(input, index) if _is_basic(index) else Take.apply(input, index)


def assign(input: Tensor, index: Any, value: Any) -> None:
    """Set ``input[index] = value`` in place and on the tape."""
    from ..autograd import is_grad_enabled

    index = _arrays(index)
    tracked = input.requires_grad or (isinstance(value, Tensor) and value.requires_grad)
    if is_grad_enabled() and tracked:
        if isinstance(value, Tensor) and value.dtype != input.dtype:
            value = value.to(dtype=input.dtype)
        input._in_place(Assign.apply(input, value, index))
        return
    if isinstance(value, Tensor):
        value = value.array
    _write(input.array, index, value)
    input._changed()


def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the elements whose position along `dim` is `index`.

    Parameters
    ----------
    input : Tensor
    dim : int
    index : Tensor of int64
        As many axes as `input`.

    Raises
    ------
    ShapeError
        `index` has another number of axes.
    """
    if index.ndim != input.ndim:
        raise ShapeError(f"gather: index has {index.ndim} axes, input has {input.ndim}")
    return Gather.apply(input, dim % input.ndim, index.array)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the slices of `input` at the positions `index` (1-D) along `dim`."""
    return getitem(input, (slice(None),) * (dim % input.ndim) + (index,))


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where `mask` (of bool) holds, as one axis."""
    if mask.dtype != np.bool_:
        raise DTypeError(f"masked_select: mask must be of bool, got {mask.dtype}")
    return getitem(input.broadcast_to(mask.shape) if mask.ndim > input.ndim else input, mask)


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return the positions of the non-zero elements, one in a row (or an array for each axis)."""
    found = input.array.nonzero()
    if as_tuple:
        return tuple(Tensor(axis) for axis in found)
    return Tensor(array_module(input.array).stack(found, axis=1))


def argsort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True
) -> Tensor:
    """Return the positions that sort `input` along `dim`; equal elements keep their order."""
    array = input.array
    xp = array_module(array)
    if not descending:
        return Tensor(xp.argsort(array, axis=dim, kind="stable"))
    # reversed twice, so that equal elements keep their order in a descending sort as well
    back = xp.argsort(xp.flip(array, dim), axis=dim, kind="stable")
    return Tensor(xp.ascontiguousarray(xp.flip(array.shape[dim] - 1 - back, dim)))


def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True
) -> ValuesAndIndices:
    """Return the elements sorted along `dim`, and their former positions."""
    order = argsort(input, dim, descending)
    return ValuesAndIndices(gather(input, dim, order), order)


def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesAndIndices:
    """Return the `k` largest (or smallest) elements along `dim` in order, and their positions.

    Of equal elements the one at the lower position comes first.

    Raises
    ------
    ArgumentError
        `k` is larger than the axis.
    """
    length = input.array.shape[dim] if input.ndim else 1
    if not 0 <= k <= length:
        raise ArgumentError(f"topk: k={k} is out of range for an axis of length {length}")
    order = argsort(input, dim, largest)
    best = order[(slice(None),) * (dim % input.ndim) + (slice(0, k),)]
    return ValuesAndIndices(gather(input, dim, best), best)


def scatter(input: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """Return `input` with `src` written at the positions `index` along `dim`."""
    result = input.clone()
    where = _along(index.array, dim % input.ndim)
    assign(result, where, src)
    return result


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """Return int64 rows with a 1 at the position that each element names.

    Parameters
    ----------
    input : Tensor of int64, any shape
        Class indices.
    num_classes : int
        Default -1: one more than the largest index.

    Raises
    ------
    ArgumentError
        An index is negative or not below `num_classes`.
    """
    array = input.array
    top = int(array.max()) + 1 if array.size else 0
    count = top if num_classes == -1 else num_classes
    if array.size and (top > count or int(array.min()) < 0):
        raise ArgumentError(f"one_hot: indices must be in [0, {count}), got up to {top - 1}")
    xp = array_module(array)
    return Tensor((array[..., None] == xp.arange(count)).astype(np.int64))


def bincount(input: Tensor, minlength: int = 0) -> Tensor:
    """Return how often each of 0, 1, 2, ... occurs in a 1-D tensor of integers."""
    return Tensor(array_module(input.array).bincount(input.array, minlength=minlength))


def unique(input: Tensor, return_counts: bool = False) -> Any:
    """Return the distinct elements in ascending order (and how often each occurs)."""
    found = array_module(input.array).unique(as_tensor(input).array, return_counts=return_counts)
    return tuple(Tensor(part) for part in found) if return_counts else Tensor(found)
