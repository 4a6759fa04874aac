"""Reading and writing elements by position: indexing, gathering, sorting.

The gradient of reading is writing at the same positions, and where one element was read several
times its gradients are added.

On a GPU threads write in any order. So that the result does not depend on it, writes are sorted by
position first, stably, and one thread does all that go to the same element, in their order: the
sums have NumPy's bits, and of several values written to one element the last stays. Positions are
checked as on the CPU, for which the host has to wait: CuPy would take them modulo the length.
"""

from __future__ import annotations

import math
from types import EllipsisType
from typing import Any

import numpy as np

from ..autograd import Context, Function, describe, is_grad_enabled
from ..device import Array, array_module, check_one_device, device_of, on_its_device
from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels import cuda
from ..kernels.cuda import copy_to
from ..tensor import Tensor, as_tensor, bool_
from .elementwise import common_dtype, unbroadcast, where
from .inplace import changed, store
from .reduce import ValuesAndIndices
from .shape import _axis

__all__ = [
    "argsort", "assign", "bincount", "diag", "diagonal", "gather", "getitem", "index_add",
    "index_fill", "index_select", "isin", "masked_select", "nonzero", "one_hot", "scatter",
    "scatter_add", "sort", "take_along_dim", "topk", "trace", "unique",
]  # fmt: skip


class _IndexOutOfRange(ArgumentError, IndexError):
    """What iteration and PyTorch's users expect of a bad index: also an IndexError."""


#: An index in two steps: integers, slices, None and Ellipsis first (a view of the memory), then
#: arrays of positions or truth values, if there are any. So ``x[0, :, [1, 2]]`` has the shape of
#: ``x[0][:, [1, 2]]``, as in PyTorch; NumPy would move the axis of the list to the front.
Steps = tuple[Any, Any]


def _steps(index: Any, x: Array) -> Steps:
    """Return `index` of an array in two steps."""
    ndim = x.ndim
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
    for part in parts:
        if part is Ellipsis:
            first += [slice(None)] * (ndim - used)
            second += [slice(None)] * (ndim - used)
        elif hasattr(part, "dtype"):
            first += [slice(None)] * _axes_used(part)
            second.append(part)
        else:
            first.append(part)
            if part is None or isinstance(part, slice):
                second.append(slice(None))
    return (*first, ...), tuple(second)


def _as_array(part: Any, x: Array) -> Any:
    """Replace a Tensor, list or boolean in an index by an array."""
    if isinstance(part, Tensor):
        check_one_device("index", tensor=x, index=part.array)
        part = part.array
    elif isinstance(part, list):
        part = np.asarray(part) if part else np.empty(0, np.int64)
    elif isinstance(part, (bool, range)):
        part = np.asarray(part)
    if isinstance(part, np.integer):
        return int(part)
    if not (part is None or isinstance(part, (int, slice, EllipsisType)) or hasattr(part, "dtype")):
        raise _IndexOutOfRange(f"index: expected integers or slices, got {part!r}")
    if getattr(part, "dtype", np.dtype(bool)).kind not in "iub":
        raise _IndexOutOfRange(f"index: expected integers or booleans, got {part.dtype}")
    return part


def _on_gpu(parts: list[Any], x: Array) -> list[Any]:
    """Bring the arrays of an index to the GPU of `x`, checking what CuPy does not check."""
    axis = 0
    for i, part in enumerate(parts):
        if part is Ellipsis:
            axis += x.ndim - sum(_axes_used(other) for other in parts)
        elif hasattr(part, "dtype"):
            if part.dtype.kind != "b" and axis < x.ndim:
                _check_positions(part, x, axis)
            parts[i] = copy_to(part, device_of(x))
        axis += _axes_used(part)
    return parts


def _check_positions(positions: Array, x: Array, axis: int) -> None:
    """Raise an error unless all positions are inside an axis: waits for those on a GPU."""
    length = x.shape[axis]
    if positions.size and not bool(((positions >= -length) & (positions < length)).all()):
        raise _IndexOutOfRange(
            f"index: a position is out of bounds for axis {axis} with size {length}, in a tensor "
            f"of shape {tuple(x.shape)}"
        )


def _axes_used(part: Any) -> int:
    """Of how many of the tensor's axes a part of an index speaks."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if getattr(part, "dtype", None) == np.bool_ else 1


def _read(x: Array, steps: Steps) -> Array:
    first, second = steps
    try:
        view = x[first]
        return view if second is None else view[second]
    except IndexError as error:
        raise _IndexOutOfRange(f"index: {error}, in a tensor of shape {tuple(x.shape)}") from error


def _write(x: Array, steps: Steps, value: Any) -> None:
    first, second = steps
    try:
        view = x[first]
        if second is None:
            view[...] = value
        elif isinstance(x, np.ndarray) or getattr(value, "ndim", 0) == 0:
            view[second] = value
        else:
            _put_cuda(view, second, value, add=False)
    except IndexError as error:
        raise _IndexOutOfRange(f"index: {error}, in a tensor of shape {tuple(x.shape)}") from error
    except ValueError as error:
        raise ShapeError(
            f"x[index] = value: shape {getattr(value, 'shape', ())} does not fit shape "
            f"{_read(x, steps).shape}"
        ) from error


def _add_at(x: Array, steps: Steps, value: Array) -> None:
    """Add to elements that may be named several times."""
    first, second = steps
    if second is None:
        x[first] += value
    elif isinstance(x, np.ndarray):
        np.add.at(x[first], second, value)
    else:
        _put_cuda(x[first], second, value, add=True)


_PUT = cuda.Source(r"""
// Put values into elements of x. `place` holds the elements' numbers, sorted, and `order` which
// value belongs to each. A run of one number is one element's.
// One thread a value; that of the first in a run does the whole run, in its order.
// (A macro, because the source is compiled for one T, and integers are wanted beside it.)
#define PUT(name, Number)                                                                      \
    extern "C" __global__ void name(                                                           \
        Number* x, const Number* values, const long long* place, const long long* order,       \
        long long n, bool add)                                                                 \
    {                                                                                          \
        FOR_EACH(i, n) {                                                                       \
            const long long here = place[i];                                                   \
            if (i > 0 && place[i - 1] == here) continue;                                       \
            Number result = x[here];                                                           \
            for (long long j = i; j < n && place[j] == here; j++)                              \
                result = add ? result + values[order[j]] : values[order[j]];                   \
            x[here] = result;                                                                  \
        }                                                                                      \
    }
PUT(put, T)
PUT(put_integers, long long)
""")


def _put_cuda(view: Array, where: Any, value: Array, add: bool) -> None:
    """Write ``view[where] = value``, or add, in the order of the values."""
    xp = cuda.cupy()
    numbers = xp.arange(view.size).reshape(view.shape)[where]
    if numbers.size == 0:
        return
    if value.ndim > numbers.ndim:  # as NumPy does, drop axes of length 1 in front
        value = value.reshape(value.shape[value.ndim - numbers.ndim :])
    values = xp.broadcast_to(value, numbers.shape).reshape(-1)
    numbers = numbers.reshape(-1)
    order = argsort_cuda(numbers, 0)
    # the kernel knows three types; float16 adds up in float32
    kinds = {"f": view.dtype if view.dtype.itemsize >= 4 else np.dtype(np.float32)}
    dtype = kinds.get(view.dtype.kind, np.dtype(np.int64))
    target = xp.ascontiguousarray(view, dtype)
    _PUT.launch(
        "put" if dtype.kind == "f" else "put_integers",
        dtype if dtype.kind == "f" else np.float32,  # what T is does not matter to integers
        numbers.size, target, xp.ascontiguousarray(values, dtype), numbers[order], order,
        np.int64(numbers.size), add,
    )  # fmt: skip
    if target is not view:
        view[...] = target


class View(Function):
    """``x[index]`` with integers and slices: shares the memory; no element is read twice."""

    is_view = True

    @staticmethod
    def forward(ctx: Context, x: Array, steps: Steps) -> Array:
        ctx.shape, ctx.steps = x.shape, steps
        return _read(x, steps)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        dx = array_module(grad).zeros(ctx.shape, grad.dtype)
        _write(dx, ctx.steps, grad)
        return dx, None


class Take(Function):
    """``x[index]`` with arrays of positions or of truth values: a copy; gradients are added."""

    @staticmethod
    def forward(ctx: Context, x: Array, steps: Steps) -> Array:
        ctx.shape, ctx.steps = x.shape, steps
        return _read(x, steps)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        dx = array_module(grad).zeros(ctx.shape, grad.dtype)
        masks_only = all(getattr(part, "dtype", bool_) == bool_ for part in ctx.steps[1])
        (_write if masks_only else _add_at)(dx, ctx.steps, grad)  # masks name nothing twice
        return dx, None


class Assign(Function):
    """``x`` with ``x[index] = value``: the overwritten elements lose their gradient to `value`."""

    @staticmethod
    def forward(ctx: Context, x: Array, value: Any, steps: Steps) -> Array:
        ctx.steps, ctx.value_shape = steps, getattr(value, "shape", ())
        y = x.copy(order="K")
        _write(y, steps, value)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_x, need_value, _ = ctx.needs_input_grad
        dx = dvalue = None
        if need_x:
            dx = grad.copy(order="K")
            _write(dx, ctx.steps, 0)
        if need_value:
            dvalue = unbroadcast(_read(grad, ctx.steps), ctx.value_shape)
        return dx, dvalue, None


class AddAt(Function):
    """``x`` with `value` added at positions that may occur several times."""

    @staticmethod
    def forward(ctx: Context, x: Array, value: Array, steps: Steps) -> Array:
        ctx.steps = steps
        y = x.copy(order="K")
        _add_at(y, steps, value)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return grad, _read(grad, ctx.steps) if ctx.needs_input_grad[1] else None, None


class Gather(Function):
    """``y[i][j] = x[index[i][j]][j]`` (along axis 0): gradients are added where read."""

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int, index: Array) -> Array:
        ctx.shape, ctx.where = x.shape, _along(index, axis)
        return _read(x, (..., ctx.where))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        xp = array_module(grad)
        dx = xp.zeros(ctx.shape, grad.dtype)
        _add_at(dx, (..., ctx.where), grad)
        return dx, None, None


def _positions(name: str, index: Tensor, x: Array, axis: int) -> Array:
    """Return `index` as an array that is fit to name positions of `x` along an axis."""
    check_one_device(name, input=x, index=index.array)
    if not isinstance(x, np.ndarray):
        _check_positions(index.array, x, axis)
    return index.array


def _along(index: Array, axis: int) -> tuple[Array, ...]:
    """The full index of elements whose position along `axis` is `index` and elsewhere their own."""
    xp = array_module(index)
    grids = [
        xp.arange(length).reshape((1,) * d + (-1,) + (1,) * (index.ndim - d - 1))
        for d, length in enumerate(index.shape)
    ]
    grids[axis] = index
    return tuple(grids)


@on_its_device
def getitem(input: Tensor, index: Any) -> Tensor:
    """Return ``input[index]``, with PyTorch's rules of basic and advanced indexing.

    Raises
    ------
    ArgumentError
        (also an IndexError) A position is out of range.
    """
    steps = _steps(index, input.array)
    return (View if steps[1] is None else Take).apply(input, steps)


@on_its_device
def assign(input: Tensor, index: Any, value: Any) -> None:
    """Set ``input[index] = value`` in place and on the tape."""
    steps = _steps(index, input.array)
    if isinstance(value, Tensor):
        check_one_device("x[index] = value", x=input.array, value=value.array)
    elif not isinstance(input.array, np.ndarray) and not np.isscalar(value):
        value = as_tensor(value).to(input.device)
    tracked = input.requires_grad or (isinstance(value, Tensor) and value.requires_grad)
    if is_grad_enabled() and tracked:
        if isinstance(value, Tensor) and value.dtype != input.dtype:
            value = value.to(dtype=input.dtype)
        store(input, Assign.apply(input, value, steps))
        return
    if isinstance(value, Tensor):
        value = value.array
    _write(input.array, steps, value)
    changed(input)


@on_its_device
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
    axis = _axis("gather", dim, input.ndim)
    if index.ndim != input.ndim:
        raise ShapeError(f"gather: index has {index.ndim} axes, input has {input.ndim}")
    if input.ndim == 0:
        return input.clone()
    return Gather.apply(input, axis, _positions("gather", index, input.array, axis))


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Return the slices of `input` at the positions `index` (1-D) along `dim`."""
    return getitem(input, (slice(None),) * _axis("index_select", dim, input.ndim) + (index,))


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """Return :func:`gather`, after broadcasting the other axes of both (without `dim`: flat)."""
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    axis = _axis("take_along_dim", dim, input.ndim)
    shape = list(
        np.broadcast_shapes(
            *(tuple(n for d, n in enumerate(x.array.shape) if d != axis) for x in (input, indices))
        )
    )
    lengths = [[*shape[:axis], x.array.shape[axis], *shape[axis:]] for x in (input, indices)]
    return gather(input.expand(lengths[0]), axis, indices.expand(lengths[1]))


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """Return the elements where `mask` (of bool) holds, as one axis."""
    if mask.dtype != np.bool_:
        raise DTypeError(f"masked_select: mask must be of bool, got {mask.dtype}")
    shape = np.broadcast_shapes(input.array.shape, mask.array.shape)
    return getitem(input.expand(shape), mask.expand(shape))


@on_its_device
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return the positions of the non-zero elements, one in a row (or an array for each axis)."""
    if as_tuple:
        return tuple(Tensor(axis) for axis in input.array.reshape(input.shape or 1).nonzero())
    return Tensor(array_module(input.array).argwhere(input.array))


@on_its_device
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the positions that sort `input` along `dim`; equal elements keep their order."""
    array = input.array
    dim = _axis("argsort", dim, input.ndim)
    if input.ndim == 0:
        return Tensor(array_module(array).zeros((), np.int64))
    numpy = isinstance(array, np.ndarray)
    return Tensor((argsort_numpy if numpy else argsort_cuda)(array, dim, descending))


def argsort_numpy(array: Array, axis: int, descending: bool = False) -> Array:
    """Return the positions that sort `array` along `axis`, stably; NaN is the largest number."""
    if not descending:
        return np.argsort(array, axis=axis, kind="stable")
    # reversed twice, so that equal elements keep their order in a descending sort as well
    back = np.argsort(np.flip(array, axis), axis=axis, kind="stable")
    return np.ascontiguousarray(np.flip(array.shape[axis] - 1 - back, axis))


_SORT = cuda.Source(r"""
// Merge sorted runs of `width` numbers, two neighbours at a time, in rows of n: keys, and which
// element each belongs to. Of equal keys those of the left run come first.
// One thread an element. Its place in the merged run is its place in its own run plus the number of
// elements of the other run that go before it, found by halving.
extern "C" __global__ void merge_runs(
    const long long* keys, const long long* order, long long* merged_keys, long long* merged_order,
    long long rows, long long n, long long width)
{
    FOR_EACH(i, rows * n) {
        const long long row = i / n * n, here = i - row, pair = here / (2 * width) * (2 * width);
        const long long middle = min(pair + width, n), key = keys[i];
        const bool right = here >= middle;
        const long long start = right ? pair : middle;
        long long low = start, high = right ? middle : min(pair + 2 * width, n);
        while (low < high) {
            const long long half = (low + high) / 2;
            if (keys[row + half] < key || (right && keys[row + half] == key)) low = half + 1;
            else high = half;
        }
        const long long place = row + (right ? here - width : here) + low - start;
        merged_keys[place] = key;
        merged_order[place] = order[i];
    }
}
""")


def argsort_cuda(array: Array, axis: int, descending: bool = False) -> Array:
    """Return the positions that sort `array` along `axis`, stably, in log2(length) passes."""
    xp = cuda.cupy()
    moved = xp.moveaxis(array, axis, -1)
    n = moved.shape[-1]
    keys = _sort_keys(moved).reshape(math.prod(moved.shape[:-1]), n)
    # all bits inverted: the opposite order, in which equal numbers are still equal
    keys = xp.ascontiguousarray(~keys if descending else keys)
    order = xp.ascontiguousarray(xp.broadcast_to(xp.arange(n), keys.shape))
    other_keys, other_order = xp.empty_like(keys), xp.empty_like(order)
    width = 1
    while width < n:
        _SORT.launch(
            "merge_runs", np.float32, keys.size, keys, order, other_keys, other_order,
            np.int64(len(keys)), np.int64(n), np.int64(width),
        )  # fmt: skip
        keys, order, other_keys, other_order = other_keys, other_order, keys, order
        width *= 2
    return xp.ascontiguousarray(xp.moveaxis(order.reshape(moved.shape), -1, axis))


def _sort_keys(array: Array) -> Array:
    """Return int64 that are ordered as the numbers: equal where those are, NaN as the largest."""
    xp = array_module(array)
    if array.dtype.kind == "f":
        # IEEE's numbers are sign and magnitude: as an integer, -0.0 is 0. (No arithmetic on the
        # numbers themselves, which may take the smallest ones for 0.)
        size = array.dtype.itemsize
        bits = xp.ascontiguousarray(array).view(f"i{size}").astype(np.int64)
        keys = xp.where(bits < 0, -(bits & np.int64(2 ** (8 * size - 1) - 1)), bits)
        return xp.where(xp.isnan(array), np.int64(2**63 - 1), keys)
    if array.dtype == np.uint64:
        return (array ^ np.uint64(2**63)).view(np.int64)
    return array.astype(np.int64)


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
    axis = _axis("topk", dim, input.ndim)
    length = input.array.shape[axis] if input.ndim else 1
    if not 0 <= k <= length:
        raise ArgumentError(f"topk: k={k} is out of range for an axis of length {length}")
    order = argsort(input, dim, largest)
    best = order[(slice(None),) * axis + (slice(0, k),)] if input.ndim else order
    return ValuesAndIndices(gather(input, dim, best), best)


def _scattered(name: str, input: Tensor, dim: int, index: Tensor, src: Any) -> tuple[Steps, Any]:
    """Return the positions that `index` names along `dim`, and what of `src` goes there."""
    axis = _axis(name, dim, input.ndim)
    if index.ndim != input.ndim:
        raise ShapeError(f"{name}: index has {index.ndim} axes, input has {input.ndim}")
    if isinstance(src, Tensor) and src.ndim:
        src = src[tuple(slice(0, length) for length in index.array.shape)]
    return (..., _along(_positions(name, index, input.array, axis), axis)), src


@on_its_device
def scatter(input: Tensor, dim: int, index: Tensor, src: Any) -> Tensor:
    """Return `input` with `src` written at the positions `index` along `dim`.

    Parameters
    ----------
    input : Tensor
    dim : int
    index : Tensor of int64
        As many axes as `input`; each position at most once.
    src : Tensor or number

    Examples
    --------
    >>> import minidl
    >>> minidl.zeros(2, 3).scatter(1, minidl.tensor([[2], [0]]), 1)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    steps, src = _scattered("scatter", input, dim, index, src)
    return Assign.apply(input, src, steps)


@on_its_device
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Return `input` with `src` added at the positions `index` along `dim`."""
    steps, src = _scattered("scatter_add", input, dim, index, src)
    return AddAt.apply(input, src, steps)


@on_its_device
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """Return `input` with slices of ``alpha * source`` added to those at `index` along `dim`."""
    axis = _axis("index_add", dim, input.ndim)
    source = source if alpha == 1 else alpha * source
    positions = _positions("index_add", index, input.array, axis)
    return AddAt.apply(input, source, (..., (slice(None),) * axis + (positions,)))


@on_its_device
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Return `input` with the slices at the positions `index` (1-D) along `dim` set to `value`."""
    axis = _axis("index_fill", dim, input.ndim)
    chosen = array_module(input.array).zeros(input.array.shape, np.bool_)
    positions = _positions("index_fill", index, input.array, axis)
    chosen[(slice(None),) * axis + (positions,)] = True
    return where(Tensor(chosen), value, input)


def _on_diagonal(shape: tuple[int, ...], offset: int) -> slice:
    """Return where the elements of a diagonal are among all of a matrix, row by row."""
    rows, columns = shape
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = max(offset, 0) - min(offset, 0) * columns
    return slice(start, start + count * (columns + 1), columns + 1) if count else slice(0, 0)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return the elements whose positions along `dim1` and `dim2` are equal, as the last axis."""
    turned = input.movedim((dim1, dim2), (-2, -1))
    return turned.flatten(-2)[..., _on_diagonal(turned.array.shape[-2:], offset)]


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the matrix with a vector on its diagonal, or the diagonal of a matrix."""
    if input.ndim == 2:
        return input.flatten()[_on_diagonal(input.array.shape, diagonal)]
    size = input.numel() + (diagonal if diagonal > 0 else -diagonal)
    result = input.new_zeros(size * size)
    result[_on_diagonal((size, size), diagonal)] = input
    return result.reshape(size, size)


def trace(input: Tensor) -> Tensor:
    """Return the sum of a matrix's diagonal."""
    return diagonal(input).sum()


@on_its_device
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
    top = int(array.max()) + 1 if array.size else 0  # waits for a GPU, as the result needs it
    count = top if num_classes == -1 else num_classes
    if array.size and (top > count or int(array.min()) < 0):
        raise ArgumentError(f"one_hot: indices must be in [0, {count}), got up to {top - 1}")
    xp = array_module(array)
    return Tensor((array[..., None] == xp.arange(count)).astype(np.int64))


@on_its_device
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return how often each of 0, 1, 2, ... occurs, or the sums of their weights."""
    array = input.array
    xp = array_module(array)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise ArgumentError(f"bincount: expected a vector of integers, got {describe(input)}")
    if array.size and int(array.min()) < 0:
        raise ArgumentError(f"bincount: expected no negative numbers, got {int(array.min())}")
    if weights is None:
        return Tensor(xp.bincount(array, minlength=minlength))
    check_one_device("bincount", input=array, weights=weights.array)
    if isinstance(array, np.ndarray):
        sums = np.bincount(array, weights.array, minlength)
    else:
        sums = xp.zeros(max(int(array.max()) + 1 if array.size else 0, minlength), np.float64)
        _put_cuda(sums, array, weights.array, add=True)
    return Tensor(sums.astype(np.float32 if weights.dtype == np.float32 else np.float64))


@on_its_device
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the distinct elements in ascending order.

    Parameters
    ----------
    input : Tensor
    sorted : bool
        Accepted for PyTorch's sake.
    return_inverse : bool
        Also return where in the result each element stands. Default False.
    return_counts : bool
        Also return how often each occurs. Default False.
    dim : int, optional
        Compare slices along this axis. Default: single elements.
    """
    array = input.array
    if not isinstance(array, np.ndarray):
        found: Any = _unique_cuda(array, return_inverse, return_counts, dim)
    else:
        numpys_unique: Any = np.unique
        found = numpys_unique(
            array, return_inverse=return_inverse, return_counts=return_counts, axis=dim
        )
    return tuple(map(Tensor, found)) if isinstance(found, tuple) else Tensor(found)


def _unique_cuda(array: Array, inverse: bool, counts: bool, axis: int | None) -> Any:
    """Return what ``np.unique`` does: sort, and keep what differs from the one before."""
    xp = cuda.cupy()
    slices = array.reshape(-1) if axis is None else xp.moveaxis(array, axis, 0)
    keys = _sort_keys(slices).reshape(len(slices), math.prod(slices.shape[1:]))
    order = xp.arange(len(slices))
    for column in range(keys.shape[1] - 1, -1, -1):  # the first column decides, so it comes last
        order = order[argsort_cuda(keys[order, column], 0)]
    keys = keys[order]
    differs = xp.ones(len(slices), np.bool_)
    differs[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    firsts = differs.nonzero()[0]
    kept = slices[order[firsts]]
    found = [kept if axis is None else xp.moveaxis(kept, 0, axis)]
    if inverse:
        where = xp.empty_like(order)
        where[order] = xp.cumsum(differs) - 1
        found.append(where.reshape(array.shape) if axis is None else where)
    if counts:
        ends = xp.concatenate([firsts[1:], xp.full(1, len(slices))])
        found.append(ends - firsts if len(slices) else firsts)
    return tuple(found) if len(found) > 1 else found[0]


@on_its_device
def isin(elements: Tensor, test_elements: Tensor) -> Tensor:
    """Return where the elements occur in `test_elements`."""
    tested = as_tensor(test_elements).array
    check_one_device("isin", elements=elements.array, test_elements=tested)
    if isinstance(tested, np.ndarray):
        return Tensor(np.isin(elements.array, tested))
    xp = cuda.cupy()
    both = common_dtype(elements.dtype, tested.dtype)
    keys = _sort_keys(tested.reshape(-1).astype(both))
    keys = keys[argsort_cuda(keys, 0)]
    wanted = _sort_keys(elements.array.astype(both))
    if not keys.size:
        return Tensor(xp.zeros(wanted.shape, np.bool_))
    at = xp.minimum(xp.searchsorted(keys, wanted), len(keys) - 1)
    found = keys[at] == wanted
    return Tensor(found & ~xp.isnan(elements.array) if both.kind == "f" else found)
