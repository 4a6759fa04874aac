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
from .elementwise import unbroadcast, where
from .reduce import ValuesAndIndices
from .shape import _axis


class _IndexOutOfRange(ArgumentError, IndexError):
    """What iteration and PyTorch's users expect of a bad index: also an IndexError."""


#: An index in two steps: integers, slices, None and Ellipsis first (a view of the memory), then
#: arrays of positions or truth values, if there are any. So ``x[0, :, [1, 2]]`` has the shape of
#: ``x[0][:, [1, 2]]``, as in PyTorch; NumPy would move the axis of the list to the front.
Steps = tuple[Any, Any]


def _steps(index: Any, ndim: int) -> Steps:
    """Return `index` of an array of `ndim` axes in two steps."""
    parts = [_as_array(part) for part in (index if isinstance(index, tuple) else (index,))]
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


def _as_array(part: Any) -> Any:
    """Replace a Tensor, list or boolean in an index by an array."""
    if isinstance(part, Tensor):
        part = part.array
    elif isinstance(part, list):
        part = np.asarray(part) if part else np.empty(0, np.int64)
    elif isinstance(part, (bool, range)):
        part = np.asarray(part)
    if isinstance(part, np.integer):
        return int(part)
    if getattr(part, "dtype", np.dtype(bool)).kind not in "iub":
        raise _IndexOutOfRange(f"index: expected integers or booleans, got {part.dtype}")
    return part


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
        view[... if second is None else second] = value
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
    else:
        array_module(x).add.at(x[first], second, value)


class View(Function):
    """``x[index]`` with integers and slices: shares the memory; no element is read twice."""

    is_view = True

    @staticmethod
    def forward(ctx: Node, x: Array, steps: Steps) -> Array:
        ctx.shape, ctx.steps = x.shape, steps
        return _read(x, steps)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        dx = array_module(grad).zeros(ctx.shape, grad.dtype)
        _write(dx, ctx.steps, grad)
        return dx, None


class Take(Function):
    """``x[index]`` with arrays of positions or of truth values: a copy; gradients are added."""

    @staticmethod
    def forward(ctx: Node, x: Array, steps: Steps) -> Array:
        ctx.shape, ctx.steps = x.shape, steps
        return _read(x, steps)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        dx = array_module(grad).zeros(ctx.shape, grad.dtype)
        _add_at(dx, ctx.steps, grad)
        return dx, None


class Assign(Function):
    """``x`` with ``x[index] = value``: the overwritten elements lose their gradient to `value`."""

    @staticmethod
    def forward(ctx: Node, x: Array, value: Any, steps: Steps) -> Array:
        ctx.steps, ctx.value_shape = steps, getattr(value, "shape", ())
        y = x.copy(order="K")
        _write(y, steps, value)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
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
    def forward(ctx: Node, x: Array, value: Array, steps: Steps) -> Array:
        ctx.steps = steps
        y = x.copy(order="K")
        _add_at(y, steps, value)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        return grad, _read(grad, ctx.steps) if ctx.needs_input_grad[1] else None, None


class Gather(Function):
    """``y[i][j] = x[index[i][j]][j]`` (along axis 0): gradients are added where read."""

    @staticmethod
    def forward(ctx: Node, x: Array, axis: int, index: Array) -> Array:
        ctx.shape, ctx.where = x.shape, _along(index, axis)
        return _read(x, (..., ctx.where))

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


def getitem(input: Tensor, index: Any) -> Tensor:
    """Return ``input[index]``, with PyTorch's rules of basic and advanced indexing.

    Raises
    ------
    ArgumentError
        (also an IndexError) A position is out of range.
    """
    steps = _steps(index, input.ndim)
    return (View if steps[1] is None else Take).apply(input, steps)


def assign(input: Tensor, index: Any, value: Any) -> None:
    """Set ``input[index] = value`` in place and on the tape."""
    from ..autograd import is_grad_enabled

    steps = _steps(index, input.ndim)
    tracked = input.requires_grad or (isinstance(value, Tensor) and value.requires_grad)
    if is_grad_enabled() and tracked:
        if isinstance(value, Tensor) and value.dtype != input.dtype:
            value = value.to(dtype=input.dtype)
        input._in_place(Assign.apply(input, value, steps))
        return
    if isinstance(value, Tensor):
        value = value.array
    _write(input.array, steps, value)
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
    axis = _axis("gather", dim, input.ndim)
    if index.ndim != input.ndim:
        raise ShapeError(f"gather: index has {index.ndim} axes, input has {input.ndim}")
    if input.ndim == 0:
        return input.clone()
    return Gather.apply(input, axis, index.array)


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


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return the positions of the non-zero elements, one in a row (or an array for each axis)."""
    if as_tuple:
        return tuple(Tensor(axis) for axis in input.array.reshape(input.shape or 1).nonzero())
    return Tensor(array_module(input.array).argwhere(input.array))


def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the positions that sort `input` along `dim`; equal elements keep their order."""
    array = input.array
    xp = array_module(array)
    dim = _axis("argsort", dim, input.ndim)
    if input.ndim == 0:
        return Tensor(xp.zeros((), np.int64))
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
    return (..., _along(index.array, axis)), src


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


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """Return `input` with `src` added at the positions `index` along `dim`."""
    steps, src = _scattered("scatter_add", input, dim, index, src)
    return AddAt.apply(input, src, steps)


def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """Return `input` with slices of ``alpha * source`` added to those at `index` along `dim`."""
    axis = _axis("index_add", dim, input.ndim)
    source = source if alpha == 1 else alpha * source
    return AddAt.apply(input, source, (..., (slice(None),) * axis + (index.array,)))


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """Return `input` with the slices at the positions `index` (1-D) along `dim` set to `value`."""
    axis = _axis("index_fill", dim, input.ndim)
    chosen = array_module(input.array).zeros(input.array.shape, np.bool_)
    chosen[(slice(None),) * axis + (index.array,)] = True
    return where(Tensor(chosen), value, input)


def _on_diagonal(shape: tuple[int, ...], offset: int) -> tuple[Tensor, Tensor]:
    """Return the row and column numbers of a diagonal of a matrix."""
    rows, columns = shape
    steps = np.arange(max(min(rows + min(offset, 0), columns - max(offset, 0)), 0))
    return Tensor(steps - min(offset, 0)), Tensor(steps + max(offset, 0))


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """Return the elements whose positions along `dim1` and `dim2` are equal, as the last axis."""
    turned = input.movedim((dim1, dim2), (-2, -1))
    return turned[(..., *_on_diagonal(turned.array.shape[-2:], offset))]


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """Return the matrix with a vector on its diagonal, or the diagonal of a matrix."""
    if input.ndim == 2:
        return input[_on_diagonal(input.array.shape, diagonal)]
    size = input.numel() + (diagonal if diagonal > 0 else -diagonal)
    result = input.new_zeros(size, size)
    result[_on_diagonal((size, size), diagonal)] = input
    return result


def trace(input: Tensor) -> Tensor:
    """Return the sum of a matrix's diagonal."""
    return diagonal(input).sum()


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


def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return how often each of 0, 1, 2, ... occurs, or the sums of their weights."""
    xp = array_module(input.array)
    if weights is None:
        return Tensor(xp.bincount(input.array, minlength=minlength))
    sums = xp.bincount(input.array, weights.array, minlength)
    return Tensor(sums.astype(np.float32 if weights.dtype == np.float32 else np.float64))


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
    found = array_module(array).unique(
        array, return_inverse=return_inverse, return_counts=return_counts, axis=dim
    )
    return tuple(map(Tensor, found)) if isinstance(found, tuple) else Tensor(found)


def isin(elements: Tensor, test_elements: Tensor) -> Tensor:
    """Return where the elements occur in `test_elements`."""
    xp = array_module(elements.array)
    return Tensor(xp.isin(elements.array, as_tensor(test_elements).array))
