"""``x[index]``: reading and writing elements by position.

The gradient of reading is writing at the same positions; where an element was read several times,
its gradients are added.

Positions on a GPU are checked as on the CPU, for which the host has to wait: CuPy would take them
modulo the length.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import EllipsisType, NoneType
from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..autograd.tape_array import TapeArray
from ..autograd.views import check_no_overlap, past
from ..conversion import fitting
from ..device import Array, Shape, array_module, check_one_device, device_of, on_its_device
from ..errors import DTypeError, IndexOutOfRange, ShapeError
from ..kernels.cuda import copy_to
from ..kernels.cuda.put import put
from ..tensor import Tensor, as_tensor, bool_, float16, float64, uint8
from .axes import one_axis
from .comparison import warn_of_uint8
from .inplace import changed, copy_, is_recorded, store
from .operands import unbroadcast

__all__ = ["assign", "getitem", "index_select", "masked_select"]


#: An index in two steps: integers, slices, None and Ellipsis first (a view of the memory), then
#: arrays of positions or truth values, if there are any. So ``x[0, :, [1, 2]]`` has the shape of
#: ``x[0][:, [1, 2]]``, as in PyTorch; NumPy would move the axis of the list to the front.
Steps = tuple[Any, Any]

_OF_AXES = (list, tuple, slice, Tensor, EllipsisType, NoneType)


def steps_of(index: Any, x: Array) -> Steps:
    """Return `index` of an array in two steps."""
    ndim = x.ndim
    if isinstance(index, list) and any(isinstance(part, _OF_AXES) for part in index):
        index = tuple(index)  # as in PyTorch: x[[[0, 1], [1, 0]]] is x[[0, 1], [1, 0]]
    parts = [_as_array(part, x) for part in (index if isinstance(index, tuple) else (index,))]
    if not isinstance(x, np.ndarray):
        parts = _on_gpu(parts, x)
    if all(not hasattr(part, "dtype") for part in parts):
        # with an Ellipsis, NumPy returns a view even of a single element
        whole = () if any(part is Ellipsis for part in parts) else (Ellipsis,)
        return (*parts, *whole), None
    used = sum(_axes_used(part) for part in parts)
    first: list[Any] = []
    second: list[Any] = []
    for axis, part in _with_axes(parts, x):
        if part is Ellipsis:
            first += [slice(None)] * (ndim - used)
            second += [slice(None)] * (ndim - used)
        elif hasattr(part, "dtype"):
            _check_empty_mask(part, x, axis)
            first += [slice(None)] * _axes_used(part)
            second.append(part)
        else:
            first.append(part)
            if part is None or isinstance(part, slice):
                second.append(slice(None))
    return (*first, ...), tuple(second)


def _check_empty_mask(part: Any, x: Array, axis: int) -> None:
    """Raise an error for a mask without elements that does not fit: NumPy lets it pass."""
    if not part.size and part.dtype == bool_ and part.shape != x.shape[axis : axis + part.ndim]:
        raise IndexOutOfRange(
            f"index: a mask of shape {part.shape} does not fit axis {axis} of a tensor of shape "
            f"{tuple(x.shape)}"
        )


def _as_array(part: Any, x: Array) -> Any:
    """Replace a Tensor, list or boolean in an index by an array."""
    if isinstance(part, Tensor):
        check_one_device("index", tensor=x, index=part.array)
        part = part.array
        if part.dtype == uint8:
            warn_of_uint8("index: a mask")
            part = part != 0
        elif part.ndim == 0 and part.dtype.kind in "iu":
            return int(part)  # a view, as for a Python number
    elif isinstance(part, (list, tuple)):
        part = np.asarray(part) if part else np.empty(0, np.int64)
    elif isinstance(part, (bool, range)):
        part = np.asarray(part)
    if isinstance(part, np.integer):
        return int(part)
    if not (part is None or isinstance(part, (int, slice, EllipsisType)) or hasattr(part, "dtype")):
        kind = DTypeError if isinstance(part, (str, bytes)) else IndexOutOfRange
        raise kind(f"index: expected integers or slices, got {part!r}")
    if getattr(part, "dtype", np.dtype(bool)).kind not in "iub":
        raise IndexOutOfRange(f"index: expected integers or booleans, got {part.dtype}")
    return part


def _on_gpu(parts: list[Any], x: Array) -> list[Any]:
    """Bring the arrays of an index to the GPU of `x`, checking what CuPy does not check."""
    for i, (axis, part) in enumerate(_with_axes(parts, x)):
        if hasattr(part, "dtype"):
            if part.dtype.kind != "b" and axis < x.ndim:
                check_positions(part, x, axis)
            parts[i] = copy_to(part, device_of(x))
    return parts


def check_positions(positions: Array, x: Array, axis: int) -> None:
    """Raise an error unless all positions are inside an axis: waits for those on a GPU."""
    length = x.shape[axis]
    if positions.size and not bool(((positions >= -length) & (positions < length)).all()):
        raise IndexOutOfRange(
            f"index: a position is out of bounds for axis {axis} with size {length}, in a tensor "
            f"of shape {tuple(x.shape)}"
        )


def _with_axes(parts: list[Any], x: Array) -> Iterator[tuple[int, Any]]:
    """Yield the first axis of `x` that each part of an index is about, and the part."""
    between = x.ndim - sum(_axes_used(part) for part in parts)  # what an Ellipsis stands for
    axis = 0
    for part in parts:
        yield axis, part
        axis += between if part is Ellipsis else _axes_used(part)


def _axes_used(part: Any) -> int:
    """Return the number of the tensor's axes that a part of an index uses."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if getattr(part, "dtype", None) == np.bool_ else 1


def read(x: Array, steps: Steps) -> Array:
    """Return the elements of an index: a view of the memory, or a copy if it has arrays."""
    first, second = steps
    try:
        view = x[first]
        return view if second is None else view[second]
    except IndexError as error:
        raise IndexOutOfRange(f"index: {error}, in a tensor of shape {tuple(x.shape)}") from error


def write(x: Array, steps: Steps, value: Any) -> None:
    """Write to the elements of an index; of several values for one element the last stays."""
    first, second = steps
    try:
        if second is None:
            x[first] = value
        elif isinstance(x, (np.ndarray, TapeArray)) or getattr(value, "ndim", 0) == 0:
            x[first][second] = value
        else:
            put(x[first], second, value, add=False)
    except IndexError as error:
        raise IndexOutOfRange(f"index: {error}, in a tensor of shape {tuple(x.shape)}") from error
    except (ValueError, TypeError) as error:
        raise _misfit(getattr(value, "shape", ()), read(x, steps).shape) from error


def _misfit(value: Shape, place: Shape) -> ShapeError:
    return ShapeError(f"x[index] = value: shape {tuple(value)} does not fit shape {tuple(place)}")


def add_at(x: Array, steps: Steps, value: Array) -> None:
    """Add to the elements of an index, which may name one several times."""
    first, second = steps
    try:
        if second is None:
            x[first] += value
        elif x.dtype == float16 and isinstance(x, np.ndarray):  # the kernel below does so, too
            wide = x[first].astype(float64)
            np.add.at(wide, second, value)
            x[first] = wide
        elif isinstance(x, (np.ndarray, TapeArray)):
            np.add.at(x[first], second, value)
        else:
            put(x[first], second, value, add=True)
    except IndexError as error:
        raise IndexOutOfRange(f"index: {error}, in a tensor of shape {tuple(x.shape)}") from error


def kept(ctx: Context, steps: Steps) -> Steps:
    """Return steps for the backward: users may change the arrays that they gave as an index."""
    first, second = steps
    if second is None or True not in ctx.needs_input_grad:
        return steps
    return first, tuple(part.copy() if hasattr(part, "dtype") else part for part in second)


class View(Function):
    """``x[index]`` with integers and slices: shares the memory; no element is read twice."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x: Array, steps: Steps) -> Array:
        ctx.shape, ctx.steps = x.shape, steps
        return read(x, steps)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        dx = array_module(grad).zeros(ctx.shape, grad.dtype)
        write(dx, ctx.steps, grad)
        return dx, None


class Take(Function):
    """``x[index]`` with arrays of positions or of truth values: a copy; gradients are added."""

    @staticmethod
    def forward(ctx: Context, x: Array, steps: Steps) -> Array:
        ctx.shape, ctx.steps = x.shape, kept(ctx, steps)
        return read(x, steps)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        dx = array_module(grad).zeros(ctx.shape, grad.dtype)
        masks_only = all(getattr(part, "dtype", bool_) == bool_ for part in ctx.steps[1])
        (write if masks_only else add_at)(dx, ctx.steps, grad)  # masks name nothing twice
        return dx, None


class Assign(Function):
    """``x`` with ``x[index] = value``: the overwritten elements lose their gradient to `value`."""

    @staticmethod
    def forward(ctx: Context, x: Array, value: Any, steps: Steps) -> Array:
        ctx.steps, ctx.value_shape = kept(ctx, steps), getattr(value, "shape", ())
        y = x.copy(order="K")
        write(y, steps, value)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_x, need_value, _ = ctx.needs_input_grad
        dx = dvalue = None
        if need_x:
            dx = grad.copy(order="K")
            write(dx, ctx.steps, 0)
        if need_value:
            dvalue = unbroadcast(read(grad, ctx.steps), ctx.value_shape)
        return dx, dvalue, None


@on_its_device
def getitem(input: Tensor, index: Any) -> Tensor:
    """Return ``input[index]``, with PyTorch's rules of basic and advanced indexing.

    Raises
    ------
    ArgumentError
        (also an IndexError) A position is out of range.
    """
    steps = steps_of(index, input.array)
    return (View if steps[1] is None else Take).apply(input, steps)


@on_its_device
def assign(input: Tensor, index: Any, value: Any) -> None:
    """Set ``input[index] = value`` in place and on the tape."""
    steps = steps_of(index, input.array)
    fits = isinstance(value, (bool, int, float)) and input.dtype != float16  # which becomes inf
    if not fits and not isinstance(value, Tensor):
        value = as_tensor(value, dtype=input.dtype, device=input.device)
    if isinstance(value, Tensor):
        check_one_device("x[index] = value", x=input.array, value=value.array)
        if value._view is not None and _is_same(value.array, input.array, steps):
            return  # x[i] += 1  is  v = x[i]; v += 1, which changes x;  x[i] = v
        while value.ndim and value.array.shape[0] == 1:  # these don't count
            value = value[0]
    else:
        value = fitting("x[index] = value", value, input.dtype).item()
    if is_recorded(input, value) or 0 in input.array.strides:
        if steps[1] is None:
            _copy_into(View.apply(input, steps), value)
            return
        if isinstance(value, Tensor) and value.dtype != input.dtype:
            value = value.to(dtype=input.dtype)
        store(input, Assign.apply(past(input), value, steps))
        return
    if isinstance(value, Tensor):
        value = value.array
    check_no_overlap(input)
    write(input.array, steps, value)
    changed(input)


def _is_same(value: Array, x: Array, steps: Steps) -> bool:
    """Return whether `value` is ``x[index]`` itself, the same elements in memory."""
    if steps[1] is not None or value.base is None or type(value) is not type(x):
        return False
    there = read(x, steps)
    alike = there.shape == value.shape and there.strides == value.strides
    return alike and _address(there) == _address(value)


def _address(array: Array) -> int:
    return array.ctypes.data if isinstance(array, np.ndarray) else array.data.ptr


def _copy_into(view: Tensor, value: Any) -> None:
    """Set the elements of a view to `value`."""
    if not isinstance(value, Tensor):
        value = as_tensor(value, dtype=view.dtype, device=view.device)
    try:
        fits = np.broadcast_shapes(view.array.shape, value.array.shape) == view.array.shape
    except ValueError:
        fits = False
    if not fits:
        raise _misfit(value.shape, view.shape)
    copy_(view, value)


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the slices of `input` at the positions `index` (1-D) along `dim`."""
    axis = one_axis("index_select", dim, input.ndim)
    if index.ndim > 1:
        raise IndexOutOfRange(f"index_select: index of shape {tuple(index.shape)}, expected (n,)")
    if isinstance(index.array, np.ndarray) and index.array.min(initial=0) < 0:
        raise IndexOutOfRange("index_select: positions must not be negative")
    if input.ndim == 0:
        return getitem(input.reshape(1), index.reshape(-1)).reshape(())
    return getitem(input, (slice(None),) * axis + (index.reshape(-1),))


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where `mask` (of bool) holds, as one axis."""
    if mask.dtype != np.bool_:
        raise DTypeError(f"masked_select: mask must be of bool, got {mask.dtype}")
    try:
        shape = np.broadcast_shapes(input.array.shape, mask.array.shape)
    except ValueError as error:
        raise ShapeError(
            f"masked_select: a mask of shape {tuple(mask.shape)} does not fit {tuple(input.shape)}"
        ) from error
    return getitem(input.expand(shape), mask.expand(shape))
