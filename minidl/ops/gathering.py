"""Elements gathered from, and scattered to, positions along an axis.

Gathering and scattering are each other's gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..conversion import fitting
from ..device import Array, array_module, check_one_device, on_its_device
from ..errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from ..tensor import Tensor, int64
from .axes import length_of, one_axis
from .comparison import masked_fill, where
from .index import Assign, Steps, add_at, check_positions, getitem, kept, read, steps_of, write
from .operands import unbroadcast

__all__ = [
    "gather", "index_add", "index_fill", "index_put", "scatter", "scatter_add", "take",
    "take_along_dim",
]  # fmt: skip


class AddAt(Function):
    """``x`` with `value` added at positions that may occur several times."""

    @staticmethod
    def forward(ctx: Context, x: Array, value: Array, steps: Steps) -> Array:
        ctx.steps, ctx.value_shape = kept(ctx, steps), value.shape
        y = x.copy(order="K")
        add_at(y, steps, value)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        dvalue = None
        if ctx.needs_input_grad[1]:
            dvalue = unbroadcast(read(grad, ctx.steps), ctx.value_shape)
        return grad, dvalue, None


class Gather(Function):
    """``y[i][j] = x[index[i][j]][j]`` (along axis 0): gradients are added where read."""

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int, index: Array) -> Array:
        ctx.shape, where = x.shape, (..., _along(index, axis))
        ctx.steps = kept(ctx, where)
        return read(x, where)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        dx = array_module(grad).zeros(ctx.shape, grad.dtype)
        add_at(dx, ctx.steps, grad)
        return dx, None, None


def checked_positions(name: str, index: Tensor, x: Array, axis: int) -> Array:
    """Return the array of `index`, whose positions along an axis of `x` exist."""
    check_one_device(name, input=x, index=index.array)
    if index.dtype.kind not in "iu":
        raise IndexOutOfRange(f"{name}: index must be of integers, got {index.dtype}")
    if not isinstance(x, np.ndarray):
        check_positions(index.array, x, axis)
    if name != "index_fill" and index.array.size and bool((index.array < 0).any()):
        raise IndexOutOfRange(f"{name}: positions must not be negative")
    return index.array


def _check_row(name: str, index: Tensor) -> None:
    if index.ndim > 1:
        raise IndexOutOfRange(f"{name}: index of shape {tuple(index.shape)}, expected (n,)")


def _along(index: Array, axis: int) -> tuple[Array, ...]:
    """Return the full index of elements at `index` along `axis`, in their own places elsewhere."""
    xp = array_module(index)
    grids = [
        xp.arange(length).reshape((1,) * d + (-1,) + (1,) * (index.ndim - d - 1))
        for d, length in enumerate(index.shape)
    ]
    grids[axis] = index
    return tuple(grids)


@on_its_device
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """Return the elements whose position along `dim` is `index`.

    Parameters
    ----------
    input : Tensor
    dim : int
    index : Tensor of int64
        As many axes as `input`.
    sparse_grad : bool
        Accepted for compatibility with PyTorch; gradients are dense.

    Raises
    ------
    ShapeError
        `index` has another number of axes.
    """
    axis = one_axis("gather", dim, input.ndim)
    if max(index.ndim, 1) != max(input.ndim, 1):
        raise ShapeError(f"gather: index has {index.ndim} axes, input has {input.ndim}")
    if not input.ndim or not index.ndim:
        return gather(_with_axis(input), axis, _with_axis(index)).reshape(index.shape)
    return Gather.apply(input, axis, checked_positions("gather", index, input.array, axis))


def _with_axis(tensor: Any) -> Any:
    """Return a tensor without axes with one."""
    return tensor.reshape(1) if isinstance(tensor, Tensor) and tensor.ndim == 0 else tensor


def take(input: Tensor, index: Tensor) -> Tensor:
    """Return the elements at the positions `index`, of integers, in the flattened tensor."""
    if index.dtype.kind not in "iu":
        raise DTypeError(f"take: index must be of integers, got {index.dtype}")
    return getitem(input.reshape(-1), index.reshape(-1).to(dtype=int64)).reshape(index.shape)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Return :func:`gather` with the other axes broadcast; without `dim`, of both flattened."""
    if dim is None:
        return take_along_dim(input.reshape(-1), indices.reshape(-1), 0)
    axis, length = length_of("take_along_dim", input, dim)
    indices = where(indices < 0, indices + length, indices)
    if input.ndim != indices.ndim:
        raise ShapeError(f"take_along_dim: indices {indices.shape} of input {input.shape}")
    shapes = [x.array.shape for x in (input, indices)]
    others = np.broadcast_shapes(*((*shape[:axis], *shape[axis + 1 :]) for shape in shapes))
    lengths = [[*others[:axis], shape[axis], *others[axis:]] for shape in shapes]
    return gather(input.expand(lengths[0]), axis, indices.expand(lengths[1]))


def _scattered(name: str, input: Tensor, dim: int, index: Tensor, src: Any) -> tuple[Steps, Any]:
    """Return the positions that `index` names along `dim`, and the part of `src` for them."""
    if isinstance(src, Tensor) and src.dtype != input.dtype:
        raise DTypeError(f"{name}: src is {src.dtype}, input is {input.dtype}")
    axis = one_axis(name, dim, input.ndim)
    index = _with_axis(index) if input.ndim == 1 else index
    if index.ndim != input.ndim:
        raise ShapeError(f"{name}: index has {index.ndim} axes, input has {input.ndim}")
    if isinstance(src, Tensor) and src.ndim:
        src = src[tuple(slice(0, length) for length in index.array.shape)]
    return (..., _along(checked_positions(name, index, input.array, axis), axis)), src


@on_its_device
def scatter(
    input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None
) -> Tensor:
    """Return `input` with `src` written at the positions `index` along `dim`.

    Parameters
    ----------
    input : Tensor
    dim : int
    index : Tensor of int64
        As many axes as `input`; each position at most once.
    src : Tensor or number
        Or a number as `value`.

    Examples
    --------
    >>> import minidl
    >>> minidl.zeros(2, 3).scatter(1, minidl.tensor([[2], [0]]), 1)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    src = value if src is None else src
    if src is None:
        raise ArgumentError("scatter: give src or value")
    if not input.ndim:
        return scatter(_with_axis(input), dim, _with_axis(index), _with_axis(src)).reshape(())
    if not isinstance(src, Tensor):
        fitting("scatter", src, input.dtype)
    steps, src = _scattered("scatter", input, dim, index, src)
    return Assign.apply(input, src, steps)


@on_its_device
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Return `input` with `src` added at the positions `index` along `dim`."""
    if not input.ndim:
        return scatter_add(_with_axis(input), dim, _with_axis(index), _with_axis(src)).reshape(())
    steps, src = _scattered("scatter_add", input, dim, index, src)
    return AddAt.apply(input, src, steps)


@on_its_device
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """Return `input` with slices of ``alpha * source`` added to those at `index` along `dim`."""
    axis = one_axis("index_add", dim, input.ndim)
    _check_row("index_add", index)
    expected = list(input.array.shape)
    expected[axis : axis + 1] = [index.numel()]
    if list(source.array.shape) != expected and (input.ndim > 1 or source.numel() != expected[0]):
        raise ShapeError(
            f"index_add: source of shape {tuple(source.shape)}, expected {tuple(expected)}"
        )
    if source.dtype != input.dtype:
        raise DTypeError(f"index_add: source is {source.dtype}, input is {input.dtype}")
    source = source if alpha == 1 else alpha * source
    positions = checked_positions("index_add", index, input.array, axis)
    return AddAt.apply(input, source, (..., (slice(None),) * axis + (positions,)))


@on_its_device
def index_put(input: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """Return `input` with `values` written at positions, or added to the elements there.

    Parameters
    ----------
    input : Tensor
    indices : sequence of Tensor
        ``input[indices]`` are the elements.
    values : Tensor
    accumulate : bool
        Add, where a position may occur several times. Default False.
    """
    if values.dtype != input.dtype:
        raise DTypeError(f"index_put: values are {values.dtype}, input is {input.dtype}")
    if not len(indices):
        raise IndexOutOfRange("index_put: expected at least one tensor of positions, got none")
    steps = steps_of(tuple(indices), input.array)
    return (AddAt if accumulate else Assign).apply(input, values, steps)


@on_its_device
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Return `input` with the slices at the positions `index` (1-D) along `dim` set to `value`."""
    axis = one_axis("index_fill", dim, input.ndim)
    if not input.ndim:
        return index_fill(_with_axis(input), dim, index, value).reshape(())
    _check_row("index_fill", index)
    chosen = array_module(input.array).zeros(input.array.shape, np.bool_)
    positions = checked_positions("index_fill", index, input.array, axis)
    write(chosen, (..., (slice(None),) * axis + (positions,)), True)
    return masked_fill(input, Tensor(chosen), value)
