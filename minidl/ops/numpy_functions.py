"""NumPy's functions on Tensors: ``np.exp(x)``, and the code of a backward that is recorded.

:data:`~minidl.autograd.tape_array.FUNCTIONS` maps NumPy's names to the functions here, which take
NumPy's arguments and return what minidl's operation of that meaning does. Two kinds of arguments
find the table: Tensors, whose ``__array_ufunc__`` and ``__array_function__`` are attached here, and
TapeArrays, of which a Tensor is the inside.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from ..autograd.tape_array import CONSTANT, FUNCTIONS
from ..errors import ArgumentError, AutogradError
from ..tensor import Tensor, as_tensor
from . import (
    arithmetic,
    comparison,
    diagonals,
    elementwise,
    gathering,
    index,
    products,
    reduce,
    shape,
)  # fmt: skip
from .axes import one_axis
from .methods import attach


def _number(value: Any) -> Any:
    """Return an operand: NumPy's scalars as Python's numbers, which never change a dtype."""
    return value.item() if isinstance(value, np.generic) else value


def _binary(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda a, b: operation(_number(a), _number(b))


def _axes(x: Tensor, axis: Any) -> Any:
    return axis if axis is None or isinstance(axis, int) else tuple(axis)


# --- Reductions -----------------------------------------------------------------------------------


def _reduction(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a reduction over any axes with NumPy's arguments."""

    def reduction(a: Tensor, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
        if axis == ():
            return a
        options = {} if dtype is None else {"dtype": np.dtype(dtype)}
        return operation(a, _axes(a, axis), keepdims, **options)

    return reduction


def _spread(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return a variance or deviation with NumPy's arguments."""

    def spread(
        a: Tensor, axis: Any = None, dtype: Any = None, ddof: float = 0, keepdims: bool = False
    ) -> Tensor:
        a = a if dtype is None else a.to(dtype=np.dtype(dtype))
        return operation(a, _axes(a, axis), keepdim=keepdims, correction=ddof)

    return spread


def _extreme(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda a, axis=None, keepdims=False: operation(a, _axes(a, axis), keepdims)


def _running(operation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def running(a: Tensor, axis: int | None = None, dtype: Any = None) -> Tensor:
        dtype = None if dtype is None else np.dtype(dtype)
        flat = a.reshape(-1) if axis is None else a
        return operation(flat, axis or 0, dtype=dtype)

    return running


def _prod(a: Tensor, axis: int | None = None, dtype: Any = None, keepdims: bool = False) -> Tensor:
    a = a if dtype is None else a.to(dtype=np.dtype(dtype))
    if axis is None:
        product = reduce.prod(a)
        return product.reshape((1,) * a.ndim) if keepdims else product
    return reduce.prod(a, axis, keepdims)


# --- Shapes ---------------------------------------------------------------------------------------


def _transpose(a: Tensor, axes: Any = None) -> Tensor:
    return shape.permute(a, tuple(range(a.ndim))[::-1] if axes is None else tuple(axes))


def _expand_dims(a: Tensor, axis: Any) -> Tensor:
    axes = (axis,) if isinstance(axis, int) else tuple(axis)
    for d in sorted(one_axis("expand_dims", d, a.ndim + len(axes)) for d in axes):
        a = shape.unsqueeze(a, d)
    return a


def _concatenate(arrays: Any, axis: int | None = 0) -> Tensor:
    tensors = [as_tensor(array) for array in arrays]
    return shape.cat([t.reshape(-1) for t in tensors] if axis is None else tensors, axis or 0)


def _split(a: Tensor, indices_or_sections: Any, axis: int = 0) -> list[Tensor]:
    axis = one_axis("split", axis, a.ndim)
    length, cuts = a.array.shape[axis], indices_or_sections
    if isinstance(cuts, int):
        if length % cuts:
            raise ArgumentError(f"split: {length} is not divisible by {cuts}")
        cuts = range(length // cuts, length, length // cuts) if length else [0] * (cuts - 1)
    ends = [0, *(int(cut) for cut in cuts), length]
    whole = (slice(None),) * axis
    return [a[(*whole, slice(i, j))] for i, j in pairwise(ends)]


# --- Positions ------------------------------------------------------------------------------------


def _steps(key: Any) -> index.Steps:
    """Return NumPy's index in the two steps of :mod:`minidl.ops.index`."""
    parts = key if isinstance(key, tuple) else (key,)
    parts = tuple(part.array if isinstance(part, Tensor) else part for part in parts)
    if any(isinstance(part, (list, bool)) or getattr(part, "ndim", 0) for part in parts):
        return (Ellipsis,), parts
    if any(hasattr(part, "dtype") and part.dtype.kind == "b" for part in parts):
        return (Ellipsis,), parts
    parts = tuple(int(part) if hasattr(part, "dtype") else part for part in parts)
    return parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis), None


def _getitem(x: Tensor, key: Any) -> Tensor:
    steps = _steps(key)
    return (index.View if steps[1] is None else index.Take).apply(x, steps)


def _setitem(x: Tensor, key: Any, value: Any) -> Tensor:
    value = _number(value)
    if hasattr(value, "dtype"):
        value = as_tensor(value).to(dtype=x.dtype)
    return index.Assign.apply(x, value, _steps(key))


def _take(a: Tensor, indices: Any, axis: int | None = None) -> Tensor:
    if axis is None:
        a, axis = a.reshape(-1), 0
    whole = (slice(None),) * one_axis("take", axis, a.ndim)
    return _getitem(a, (*whole, indices.array if isinstance(indices, Tensor) else indices))


def _put_along_axis(arr: Tensor, indices: Any, values: Any, axis: int) -> Tensor:
    positions, values = as_tensor(indices), _number(values)
    if isinstance(values, Tensor):
        values = values.expand(positions.shape).to(arr.dtype)
    return gathering.scatter(arr, axis, positions, values)


def _where(condition: Any, x: Any, y: Any) -> Tensor:
    chosen = as_tensor(condition)
    return comparison.where(chosen if chosen.dtype == bool else chosen != 0, _number(x), _number(y))


def _dot(a: Any, b: Any) -> Tensor:
    if getattr(a, "ndim", 0) == 0 or getattr(b, "ndim", 0) == 0:
        return arithmetic.mul(_number(a), _number(b))
    a, b = as_tensor(a), as_tensor(b)
    return a @ b if b.ndim <= 2 else _tensordot(a, b.movedim(-2, 0), 1)


def _tensordot(a: Any, b: Any, axes: Any = 2) -> Tensor:
    a, b = as_tensor(a), as_tensor(b)
    if isinstance(axes, int):
        axes = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    of_a, of_b = ([axes_] if isinstance(axes_, int) else list(axes_) for axes_ in axes)
    of_a, of_b = [d % a.ndim for d in of_a], [d % b.ndim for d in of_b]
    letters = "abcdefghijklmnopqrstuvwxyz"
    first = letters[: a.ndim]
    second = list(letters[a.ndim : a.ndim + b.ndim])
    for d, e in zip(of_a, of_b, strict=True):
        second[e] = first[d]
    kept = [c for d, c in enumerate(first) if d not in of_a]
    kept += [c for e, c in enumerate(second) if e not in of_b]
    return products.einsum(f"{first},{''.join(second)}->{''.join(kept)}", a, b)


FUNCTIONS |= {
    # of one number
    **{
        name: getattr(elementwise, name)
        for name in ("cos", "cosh", "exp", "expm1", "log", "log10", "log1p", "log2", "reciprocal",
                     "sin", "sinh", "sqrt", "square")
    },
    "abs": elementwise.abs, "absolute": elementwise.abs, "fabs": elementwise.abs,
    "negative": elementwise.neg, "positive": lambda x: x, "tanh": lambda x: x.tanh(),
    "clip": lambda a, a_min=None, a_max=None: elementwise.clamp(a, _number(a_min), _number(a_max)),
    # of two
    **{
        numpys: _binary(ours)
        for numpys, ours in {
            "add": arithmetic.add, "divide": arithmetic.div, "fmod": arithmetic.fmod,
            "maximum": arithmetic.maximum, "minimum": arithmetic.minimum,
            "mod": arithmetic.remainder, "multiply": arithmetic.mul, "power": arithmetic.pow,
            "remainder": arithmetic.remainder, "subtract": arithmetic.sub,
            "true_divide": arithmetic.div, "float_power": arithmetic.pow,
        }.items()
    },
    "where": _where, "matmul": lambda a, b: as_tensor(a) @ b, "dot": _dot, "tensordot": _tensordot,
    "outer": lambda a, b: products.outer(as_tensor(a).reshape(-1), as_tensor(b).reshape(-1)),
    "einsum": lambda subscripts, *operands: products.einsum(subscripts, *map(as_tensor, operands)),
    # of axes
    "sum": _reduction(reduce.sum), "mean": _reduction(reduce.mean), "prod": _prod,
    "var": _spread(reduce.var), "std": _spread(reduce.std),
    "max": _extreme(reduce.amax), "amax": _extreme(reduce.amax),
    "min": _extreme(reduce.amin), "amin": _extreme(reduce.amin),
    "cumsum": _running(reduce.cumsum), "cumprod": _running(reduce.cumprod),
    # of shapes
    "reshape": lambda a, shape: a.reshape(shape), "ravel": lambda a: a.reshape(-1),
    "transpose": _transpose, "moveaxis": shape.movedim, "broadcast_to": shape.broadcast_to,
    "swapaxes": lambda a, axis1, axis2: shape.transpose(a, axis1, axis2),
    "squeeze": lambda a, axis=None: shape.squeeze(a, axis), "expand_dims": _expand_dims,
    "concatenate": _concatenate, "split": _split,
    "stack": lambda arrays, axis=0: shape.stack([*map(as_tensor, arrays)], axis),
    "flip": lambda m, axis=None: shape.flip(m, tuple(range(m.ndim)) if axis is None else axis),
    "roll": lambda a, shift, axis=None: shape.roll(a, shift, axis),
    "repeat": lambda a, repeats, axis=None: shape.repeat_interleave(a, repeats, axis),
    "tile": lambda a, reps: shape.tile(a, (reps,) if isinstance(reps, int) else tuple(reps)),
    "tril": diagonals.tril, "triu": diagonals.triu, "diagonal": diagonals.diagonal,
    "trace": diagonals.trace, "copy": shape.clone, "astype": shape.cast,
    # of positions
    "getitem": _getitem, "setitem": _setitem,
    "add.at": lambda x, key, value: gathering.AddAt.apply(x, as_tensor(value), _steps(key)),
    "subtract.at": lambda x, key, value: gathering.AddAt.apply(x, -as_tensor(value), _steps(key)),
    "take": _take, "put_along_axis": _put_along_axis,
    "take_along_axis":
        lambda arr, indices, axis: gathering.take_along_dim(arr, as_tensor(indices), axis),
    "copyto": lambda dst, src: _setitem(dst, Ellipsis, src),
}  # fmt: skip


# --- On Tensors -----------------------------------------------------------------------------------

#: Ufuncs that have no gradient and return Tensors all the same: ``array > tensor``.
_WITHOUT_GRADIENT: dict[str, Callable[..., Tensor]] = {
    "greater": comparison.gt, "greater_equal": comparison.ge, "less": comparison.lt,
    "less_equal": comparison.le, "equal": comparison.eq, "not_equal": comparison.ne,
    "logical_and": comparison.logical_and, "logical_or": comparison.logical_or,
    "logical_xor": comparison.logical_xor, "logical_not": comparison.logical_not,
    "bitwise_and": comparison.bitwise_and, "bitwise_or": comparison.bitwise_or,
    "bitwise_xor": comparison.bitwise_xor, "isnan": comparison.isnan, "isinf": comparison.isinf,
    "isfinite": comparison.isfinite, "floor_divide": arithmetic.floor_divide,
    "sign": elementwise.sign, "floor": elementwise.floor, "ceil": elementwise.ceil,
    "trunc": elementwise.trunc, "rint": elementwise.round,
}  # fmt: skip

#: Functions that write into their first argument.
_WRITING = {"copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"}

_NOT_NUMPYS = {"getitem", "setitem", *_WRITING}


def _arrays(value: Any, detach: bool = False) -> Any:
    """Replace Tensors in arguments by NumPy arrays."""
    if isinstance(value, Tensor):
        return (value.detach() if detach else value).numpy()
    if type(value) in (list, tuple):
        return type(value)([_arrays(item, detach) for item in value])
    return value


def _any(value: Any, holds: Callable[[Tensor], bool]) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_any(item, holds) for item in value)
    return isinstance(value, Tensor) and holds(value)


def __array_ufunc__(self: Tensor, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
    """Compute ``np.exp(tensor)`` and ``array * tensor`` as Tensors."""
    name = ufunc.__name__
    operation = FUNCTIONS.get(name) or _WITHOUT_GRADIENT.get(name)
    if method == "__call__" and operation is not None and not options:
        if name in _WITHOUT_GRADIENT:
            inputs = tuple(as_tensor(x) if isinstance(x, np.ndarray) else x for x in inputs)
        return operation(*inputs)
    targets = options.get("out") or (inputs[:1] if method == "at" else ())
    if _any(targets, lambda tensor: True):
        raise ArgumentError(
            f"np.{name}: a tensor can't be the target; use its methods that end in _, such as add_"
        )
    if _any(inputs, lambda tensor: tensor.requires_grad):
        raise AutogradError(
            f"np.{name}: this call has no gradient, but a tensor requires one; use detach(), or "
            "functions of minidl"
        )
    result = getattr(ufunc, method)(*_arrays(inputs), **options)
    return result if options or method != "__call__" else as_tensor(result)


def __array_function__(self: Tensor, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """Compute functions of NumPy: of floats those in the table as Tensors, others as arrays."""
    name = function.__name__ if function.__module__ == "numpy" else ""
    if name in _WRITING and isinstance(args[0], Tensor):
        raise ArgumentError(f"np.{name}: a tensor can't be the target; assign to x[index]")
    everything = (*args, *kwargs.values())
    is_known = name in FUNCTIONS and name not in _NOT_NUMPYS
    if is_known and _any(everything, lambda tensor: tensor.is_floating_point()):
        options = {key: value for key, value in kwargs.items() if value is not None}
        try:
            return FUNCTIONS[name](*args, **options)
        except TypeError:  # an argument that only NumPy has
            if _any(everything, lambda tensor: tensor.requires_grad):
                raise
    detach = name in CONSTANT
    own = {key: _arrays(value, detach) for key, value in kwargs.items()}
    return function(*_arrays(args, detach), **own)


attach(__array_ufunc__, __array_function__)
