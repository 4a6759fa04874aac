"""Operations that rearrange elements without computing on them, and moves of dtype and device.

The gradient of a rearrangement is the inverse rearrangement; where an element was repeated, the
gradients of its copies are added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from itertools import accumulate, pairwise
from operator import index
from typing import Any, Literal

import numpy as np

from ..autograd import Context, Function, describe
from ..autograd.tape_array import recorded_by
from ..autograd.views import region, shares_memory
from ..device import Array, Device, Shape, array_module, device_of
from ..errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from ..kernels.cuda import copy_to
from ..tensor import Tensor, bool_
from .axes import axes_of, flat, length_of, lengths, one_axis
from .operands import common_dtype, unbroadcast

__all__ = [
    "broadcast_to", "cast", "cat", "chunk", "clone", "concat", "concatenate", "contiguous",
    "expand", "expand_as", "flatten", "flip", "hstack", "meshgrid", "move", "movedim", "narrow",
    "permute", "ravel", "repeat", "repeat_interleave", "reshape", "reshape_as", "roll", "select",
    "split", "squeeze", "stack", "swapaxes", "t", "tile", "transpose", "unbind", "unflatten",
    "unsqueeze", "view", "view_as", "vstack",
]  # fmt: skip


class Reshape(Function):
    """The same elements, in the same order, in another shape."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x: Array, shape: Shape) -> Array:
        ctx.shape = x.shape
        try:
            return x.reshape(shape)
        except ValueError as error:
            raise ShapeError(
                f"reshape: {x.size} elements of shape {tuple(x.shape)} do not fit shape {shape}"
            ) from error

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return grad.reshape(ctx.shape), None


class Permute(Function):
    """Axes in another order; the gradient's axes go back."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x: Array, order: tuple[int, ...]) -> Array:
        ctx.inverse = tuple(order.index(axis) for axis in range(len(order)))
        return x.transpose(order)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return grad.transpose(ctx.inverse), None


class Expand(Function):
    """Axes of length 1 repeated without copying; the gradient is summed over the repetitions."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x: Array, shape: Shape) -> Array:
        ctx.shape = x.shape
        try:
            return writable_as(x, array_module(x).broadcast_to(x, shape))
        except ValueError as error:
            raise ShapeError(f"expand: shape {tuple(x.shape)} can't become {shape}") from error

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return unbroadcast(grad, ctx.shape), None


def writable_as(x: Array, y: Array) -> Array:
    """Return the view `y` of `x`, which NumPy made read-only: a part of it may be written to."""
    if isinstance(y, np.ndarray) and x.flags.writeable:
        y.flags.writeable = True
    return y


class Copy(Function):
    """A copy of the memory, in the same layout or in the order of the axes."""

    @staticmethod
    def forward(ctx: Context, x: Array, order: Literal["C", "K"]) -> Array:
        return x.copy(order=order)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return grad, None


class Cast(Function):
    """Another dtype; the gradient is cast back (by the tape)."""

    @staticmethod
    def forward(ctx: Context, x: Array, dtype: np.dtype) -> Array:
        with np.errstate(invalid="ignore", over="ignore"):
            return x.astype(dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return grad, None


class Move(Function):
    """Another device; the gradient moves back."""

    @staticmethod
    def forward(ctx: Context, x: Array, where: Device) -> Array:
        ctx.origin = device_of(x)
        return copy_to(x, where)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return moved(grad, ctx.origin), None


@recorded_by(lambda: Move)
def moved(x: Array, where: Device) -> Array:
    """Return an array on a device."""
    return copy_to(x, where)


class Concatenate(Function):
    """Arrays joined along an axis; the gradient is cut at the same places."""

    @staticmethod
    def forward(ctx: Context, axis: int, *arrays: Array) -> Array:
        shapes = [array.shape for array in arrays]
        if len({(len(shape), *shape[:axis], *shape[axis + 1 :]) for shape in shapes}) > 1:
            raise ShapeError(f"cat: shapes {shapes} must agree except along dim {axis}")
        ctx.axis = axis
        ctx.lengths = [shape[axis] for shape in shapes]
        dtype = reduce(lambda dtype, array: common_dtype(dtype, array.dtype), arrays, bool_)
        alike = [array.astype(dtype, copy=False) for array in arrays]
        return array_module(arrays[0]).concatenate(alike, axis)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        ends = np.cumsum(ctx.lengths)[:-1].tolist()
        return (None, *array_module(grad).split(grad, ends, ctx.axis))


class Flip(Function):
    """Axes in reverse; the gradient reversed again."""

    @staticmethod
    def forward(ctx: Context, x: Array, axes: tuple[int, ...]) -> Array:
        ctx.axes = axes
        return array_module(x).flip(x, axes).copy()

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return array_module(grad).flip(grad, ctx.axes), None


class Roll(Function):
    """Elements shifted around an axis; the gradient shifted back."""

    @staticmethod
    def forward(ctx: Context, x: Array, shifts: Any, axes: Any) -> Array:
        ctx.shifts, ctx.axes = shifts, axes
        return array_module(x).roll(x, shifts, axes)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        back = tuple(-s for s in ctx.shifts) if isinstance(ctx.shifts, tuple) else -ctx.shifts
        return array_module(grad).roll(grad, back, ctx.axes), None, None


def reshape(input: Tensor, *shape: Any) -> Tensor:
    """Return the tensor with another shape; one length may be -1.

    The memory is shared where its layout allows, otherwise copied.

    Raises
    ------
    ShapeError
        The number of elements differs.
    """
    return Reshape.apply(input, flat(shape))


def view(input: Tensor, *shape: Any) -> Tensor:
    """Return the tensor with another shape, sharing the memory.

    An activation that is channels-last in memory is copied: its layout is the library's choice.

    Raises
    ------
    ShapeError
        The number of elements differs, or the axes are in another order in memory (after a
        transpose, for instance): use :func:`reshape`, which copies then.
    """
    result = reshape(input, *shape)
    if not shares_memory(result.array, input.array) and input.array.size:
        _check_viewable(input, result.array.shape)
    return result


def _check_viewable(input: Tensor, shape: Shape) -> None:
    """Raise an error if a view would be impossible even with the base's axes in order in memory."""
    if input._view is None:
        return
    ordered = np.empty(input._view.base.array.shape, np.int8)
    array = region(ordered, input._view.steps)
    if not shares_memory(array.reshape(shape), array):
        raise ShapeError(
            f"view: shape {tuple(shape)} needs a copy, because the axes of "
            f"{describe(input)} are in another order in memory; use reshape()"
        )


def view_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the tensor with the shape of `other`."""
    return view(input, other.shape)


def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the tensor with the shape of `other`, sharing the memory where possible."""
    return reshape(input, other.shape)


def ravel(input: Tensor) -> Tensor:
    """Return the elements as one axis, next to each other in memory."""
    flat = reshape(input, -1)
    return flat if flat.array.flags.c_contiguous else contiguous(flat)


def permute(input: Tensor, dims: Any, *more: int) -> Tensor:
    """Return the tensor with its axes in another order: ``permute(x, 1, 0)`` or ``(x, (1, 0))``."""
    order = tuple(one_axis("permute", d, input.ndim) for d in flat((dims, *more)))
    if sorted(order) != list(range(input.ndim)):
        raise ArgumentError(f"permute: {order} is not an order of {input.ndim} axes")
    return Permute.apply(input, order)


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Return the tensor with two axes exchanged."""
    order = list(range(input.ndim))
    a, b = one_axis("transpose", dim0, input.ndim), one_axis("transpose", dim1, input.ndim)
    if order:
        order[a], order[b] = order[b], order[a]
    return Permute.apply(input, tuple(order))


swapaxes = transpose


def t(input: Tensor) -> Tensor:
    """Return the transpose of a tensor of at most 2 axes."""
    if input.ndim > 2:
        raise ShapeError(f"t: expected at most 2 axes, got shape {tuple(input.shape)}")
    return transpose(input, 0, -1)


def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Return the tensor with axis `source` (or several) moved to position `destination`."""
    pairs = (source, destination)
    olds, news = ((d,) if isinstance(d, int) else tuple(d) for d in pairs)
    olds, news = (axes_of("movedim", dims, input.ndim) for dims in (olds, news))
    if len(olds) != len(news):
        raise ArgumentError(f"movedim: {len(olds)} axes can't move to {len(news)} places")
    order = [axis for axis in range(input.ndim) if axis not in olds]
    for new, old in sorted(zip(news, olds, strict=True)):
        order.insert(new, old)
    return Permute.apply(input, tuple(order))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return the tensor with the axes from `start_dim` to `end_dim` made one."""
    a, b = one_axis("flatten", start_dim, input.ndim), one_axis("flatten", end_dim, input.ndim)
    if a > b:
        raise ArgumentError(f"flatten: start_dim={start_dim} comes after end_dim={end_dim}")
    shape = tuple(input.array.shape)
    if shape and a == b:
        return input
    return Reshape.apply(input, (*shape[:a], math.prod(shape[a : b + 1]), *shape[b + 1 :]))


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Return the tensor with axis `dim` split into axes of lengths `sizes`."""
    axis = one_axis("unflatten", dim, input.ndim)
    shape = tuple(input.array.shape)
    return Reshape.apply(input, (*shape[:axis], *sizes, *shape[axis + 1 :]))


def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Return the tensor without its axes of length 1 (or without those of `dim` that have it)."""
    shape = tuple(input.array.shape)
    if dim is None:
        axes = set(range(len(shape)))
    else:
        dims = dim if isinstance(dim, (tuple, list)) else (dim,)
        axes = {one_axis("squeeze", d, input.ndim) for d in dims}
    kept = tuple(n for axis, n in enumerate(shape) if axis not in axes or n != 1)
    return Reshape.apply(input, kept)


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Return the tensor with a new axis of length 1 at position `dim`."""
    axis = one_axis("unsqueeze", dim, input.ndim + 1)
    shape = tuple(input.array.shape)
    return Reshape.apply(input, (*shape[:axis], 1, *shape[axis:]))


def expand(input: Tensor, *sizes: Any) -> Tensor:
    """Return the tensor with axes of length 1 repeated; -1 keeps a length. Nothing is copied."""
    shape = flat(sizes)
    extra = len(shape) - input.ndim
    full = tuple(
        input.array.shape[i - extra] if n == -1 and i >= extra else n for i, n in enumerate(shape)
    )
    return Expand.apply(input, full)


def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """Return the tensor expanded to the shape of `other`."""
    return expand(input, other.shape)


def broadcast_to(input: Tensor, *size: Any) -> Tensor:
    """Return the tensor expanded to `size`, a shape or its lengths."""
    return expand(input, *size)


def repeat(input: Tensor, *sizes: Any) -> Tensor:
    """Return the tensor repeated ``sizes[i]`` times along axis i."""
    times = lengths(sizes)
    shape = (1,) * (len(times) - input.ndim) + tuple(input.array.shape)
    if len(shape) != len(times):
        raise ArgumentError(f"repeat: {times} has fewer numbers than the tensor has axes")
    paired = [n for length in shape for n in (1, length)]
    spread = [n for count, length in zip(times, shape, strict=True) for n in (count, length)]
    final = tuple(count * length for count, length in zip(times, shape, strict=True))
    return own(reshape(expand(reshape(input, tuple(paired)), tuple(spread)), final))


def tile(input: Tensor, dims: int | Sequence[int], *more: int) -> Tensor:
    """Return the tensor repeated ``dims[i]`` times along axis i; missing numbers are 1."""
    times = flat((dims, *more))
    return repeat(input, (1,) * (input.ndim - len(times)) + times)


def repeat_interleave(input: Tensor, repeats: int | Tensor, dim: int | None = None) -> Tensor:
    """Return the tensor with each element along `dim` repeated `repeats` times in its place."""
    if dim is None:
        input, dim = input.reshape(-1), 0
    axis = one_axis("repeat_interleave", dim, input.ndim)
    if isinstance(repeats, Tensor):
        length, times = input.array.shape[axis], repeats.cpu().array
        if times.shape not in ((), (1,), (length,)) or times.dtype.kind not in "iu":
            raise ShapeError(f"repeat_interleave: expected {length} integers, got {repeats}")
        positions = np.arange(length).repeat(times)
        return input[(slice(None),) * axis + (Tensor(positions).to(input.device),)]
    if repeats < 0:
        raise ArgumentError(f"repeat_interleave: repeats must be at least 0, got {repeats}")
    shape = tuple(input.array.shape)
    spread = expand(unsqueeze(input, axis + 1), *shape[: axis + 1], repeats, *shape[axis + 1 :])
    return own(flatten(spread, axis, axis + 1))


def own(result: Tensor) -> Tensor:
    """Return a result of views, or its copy if it still shares the memory of their input."""
    return result if result._view is None else clone(result)


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """Return a copy, recorded on the tape; `memory_format` as for ``contiguous``."""
    if memory_format is None:
        return Copy.apply(input, "K")
    return Copy.apply(input, "C").contiguous(memory_format)


def contiguous(input: Tensor) -> Tensor:
    """Return a copy with its memory in the order of the axes."""
    return Copy.apply(input, "C")


def cast(input: Tensor, dtype: Any) -> Tensor:
    """Return the tensor with dtype `dtype`; itself if it has it already."""
    return input if input.dtype == dtype else Cast.apply(input, dtype)


def move(input: Tensor, where: Device) -> Tensor:
    """Return the tensor on device `where`; itself if it is there already."""
    return input if input.device == where else Move.apply(input, where)


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors along an existing axis.

    Parameters
    ----------
    tensors : sequence of Tensor
        Of equal shapes except along `dim`.
    dim : int
        Default 0.

    Raises
    ------
    ArgumentError
        `tensors` is empty.
    ShapeError
        Their shapes do not agree.
    """
    _check_sequence("cat", tensors)
    # as in PyTorch, tensor([]) joins with anything: loops that collect results start with it
    if any(not tensor.ndim for tensor in tensors):
        raise ShapeError("cat: a tensor of no axes can't be joined; stack gives it an axis")
    whole = next((t for t in tensors if t.array.shape != (0,)), tensors[0])
    axis = one_axis("cat", dim, whole.ndim)
    nothing = tuple(0 if i == axis else n for i, n in enumerate(whole.array.shape))
    parts = [t.reshape(nothing) if t.array.shape == (0,) != nothing else t for t in tensors]
    return Concatenate.apply(axis, *parts)


concat = concatenate = cat


def _check_sequence(name: str, tensors: Any) -> None:
    """Raise an error unless `tensors` is a list or tuple of at least one Tensor."""
    if not isinstance(tensors, (list, tuple)):
        raise DTypeError(f"{name}: expected a list of Tensors, got {type(tensors).__name__}")
    if not tensors:
        raise ArgumentError(f"{name}: expected at least one tensor")
    for tensor in tensors:
        if not isinstance(tensor, Tensor):
            raise DTypeError(f"{name}: expected Tensors, got {type(tensor).__name__}")


def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str = "ij") -> tuple[Tensor, ...]:
    """Return, for every point of the grid that vectors span, each of its coordinates.

    Parameters
    ----------
    *tensors : Tensor
        Vectors, or one list of them.
    indexing : "ij" or "xy"
        Whether the first vector runs along the first or the second axis. Default "ij".

    Raises
    ------
    ArgumentError
        `indexing` is neither.
    """
    if indexing not in ("ij", "xy"):
        raise ArgumentError(f"meshgrid: indexing must be 'ij' or 'xy', got {indexing!r}")
    is_list = len(tensors) == 1 and isinstance(tensors[0], (list, tuple))
    vectors: Any = tensors[0] if is_list else tensors
    if not vectors:
        raise ArgumentError("meshgrid: expected at least one vector")
    if any(vector.ndim > 1 for vector in vectors):
        raise ShapeError("meshgrid: expected vectors")
    if len({vector.dtype for vector in vectors}) > 1:
        raise DTypeError(f"meshgrid: expected one dtype, got {[v.dtype for v in vectors]}")
    shape = [vector.numel() for vector in vectors]
    grids = []
    for axis, vector in enumerate(vectors):
        lengths = [-1 if d == axis else 1 for d in range(len(vectors))]
        grids.append(expand(reshape(vector, lengths), shape))
    if indexing == "xy" and len(grids) > 1:
        grids = [transpose(grid, 0, 1) for grid in grids]
    return tuple(grids)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors along their second axis, vectors along their only one."""
    _check_sequence("hstack", tensors)
    tensors = [tensor if tensor.ndim else tensor.reshape(1) for tensor in tensors]
    return cat(tensors, 0 if tensors[0].ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """Join tensors along their first axis, vectors as rows."""
    _check_sequence("vstack", tensors)
    return cat([t if t.ndim > 1 else t.reshape(1, -1) for t in tensors])


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis at position `dim`."""
    _check_sequence("stack", tensors)
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        raise ShapeError(f"stack: expected tensors of one shape, got {sorted(shapes)}")
    return cat([unsqueeze(tensor, dim) for tensor in tensors], dim)


def split(input: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Cut the tensor along `dim` into pieces of `split_size` (the last may be shorter).

    Parameters
    ----------
    input : Tensor
    split_size : int or sequence of int
        The length of every piece, or the length of each.
    dim : int
        Default 0.
    """
    axis, length = length_of("split", input, dim)
    if not isinstance(split_size, Sequence):
        split_size = index(split_size)
        if split_size < (1 if length else 0):
            raise ArgumentError(f"split: split_size must be greater than 0, got {split_size}")
        split_size = max(split_size, 1)
        sizes = [min(split_size, length - a) for a in range(0, length, split_size)] or [0]
    else:
        sizes = list(split_size)
        if sum(sizes) != length:
            raise ArgumentError(f"split: pieces of {sizes} do not add up to {length}")
    ends = pairwise(accumulate(sizes, initial=0))
    return tuple(input[(slice(None),) * axis + (slice(start, end),)] for start, end in ends)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """Cut the tensor along `dim` into at most `chunks` equal pieces (the last may be shorter)."""
    _, length = length_of("chunk", input, dim)
    chunks = index(chunks)
    if chunks < 1:
        raise ArgumentError(f"chunk: chunks must be greater than 0, got {chunks}")
    if not length:
        return split(input, [0] * chunks, dim)
    return split(input, max(-(-length // chunks), 1), dim)


def narrow(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """Return the `length` slices along `dim` from `start` on, sharing the memory."""
    axis, whole = length_of("narrow", input, dim)
    start = index(start)
    start += whole if start < 0 else 0
    if not 0 <= start <= start + length <= whole:
        raise IndexOutOfRange(
            f"narrow: [{start}, {start + length}) is not inside an axis of {whole}"
        )
    return input[(slice(None),) * axis + (slice(start, start + length),)]


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Return slice number `index` along `dim`, sharing the memory."""
    return input[(slice(None),) * one_axis("select", dim, input.ndim) + (index,)]


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """Return the slices along `dim` as a tuple."""
    axis, length = length_of("unbind", input, dim)
    return tuple(input[(slice(None),) * axis + (i,)] for i in range(length))


def flip(input: Tensor, dims: Any, *more: int) -> Tensor:
    """Return the tensor with the axes `dims` reversed: ``flip(x, 0, 1)`` or ``flip(x, (0, 1))``."""
    dims = flat((dims, *more))
    axes = axes_of("flip", dims, input.ndim) if dims else ()
    return Flip.apply(input, axes) if input.ndim else input.clone()


def roll(
    input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None
) -> Tensor:
    """Return the tensor with its elements shifted around the axes `dims`.

    Raises
    ------
    ArgumentError
        There are other numbers of `shifts` and `dims`, or an axis does not exist.
    """
    if dims is not None:
        shifts, dims = (tuple(v) if isinstance(v, (tuple, list)) else (v,) for v in (shifts, dims))
        if len(shifts) != len(dims):
            raise ArgumentError(f"roll: {len(shifts)} shifts don't fit {len(dims)} dims")
        dims = tuple(length_of("roll", input, dim)[0] for dim in dims)
    whole = tuple(map(index, shifts)) if isinstance(shifts, Sequence) else index(shifts)
    return Roll.apply(input, whole, dims)
