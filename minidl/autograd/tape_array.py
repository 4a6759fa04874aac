"""Arrays on the tape: what a backward sees while it is recorded itself (``create_graph=True``).

A backward is code for arrays, but a gradient with a gradient of its own must be computed by
recorded operations. A :class:`TapeArray` fits both: it looks like an array of NumPy or CuPy,
contains a Tensor, and is computed with by the operations of :mod:`minidl.ops`. Thus the code of a
backward, minidl's or a user's, gives gradients of any order.

All computation passes through :func:`call`: operators and methods (``grad * y``,
``grad.sum(axis=0)``), NumPy's own functions (``np.exp(x)``), and the functions of the module that
``array_module(x)`` returns (:class:`TapeModule`), where ``xp.zeros`` makes a TapeArray, too.
Without a gradient to record, NumPy's or CuPy's own functions compute.

A change in place gives a TapeArray another value; operations that used the earlier one keep it.
``x[1:]`` is a view, as in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from ..device import array_module
from ..errors import AutogradError
from ..tensor import Tensor

Callback = TypeVar("Callback", bound=Callable[..., Any])

#: NumPy's functions for Tensors, by name; ``ops/numpy_functions.py`` fills it.
FUNCTIONS: dict[str, Callable[..., Any]] = {}

#: Functions whose results have no gradient, or that don't read values.
CONSTANT = frozenset(
    "all allclose any argmax argmin argsort array_equal ceil count_nonzero empty_like equal floor "
    "floor_divide full_like greater greater_equal isclose isfinite isinf isnan less less_equal "
    "logical_and logical_not logical_or logical_xor may_share_memory ndim nonzero not_equal "
    "ones_like result_type rint shape shares_memory sign signbit size trunc zeros_like".split()
)

#: Functions whose results share their argument's memory.
_VIEWS = frozenset(
    "broadcast_to diagonal expand_dims flip getitem moveaxis ravel reshape split squeeze swapaxes "
    "transpose".split()
)


class TapeArray:
    """A Tensor that looks like an array."""

    __slots__ = ("_seen", "_source", "_tensor", "_version")
    __array_priority__ = 1000  # CuPy's arrays then leave operators to this class
    __hash__ = object.__hash__

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor
        self._version = 0  # the number of changes in place
        self._source: Any = None  # of a view: the array, the function's name, its other arguments
        self._seen = 0  # the source's version that this view reflects

    @property
    def tensor(self) -> Tensor:
        """The value, a Tensor with its place on the tape."""
        if self._source is not None:
            base, name, args, kwargs, position = self._source
            whole = base.tensor  # brings the base up to date, if it is a view itself
            if base._version != self._seen:
                found = _evaluate(name, (whole, *args), kwargs, None)
                self._tensor = _as_tensor(found if position is None else found[position])
                self._version, self._seen = self._version + 1, base._version
        return self._tensor

    def change(self, tensor: Tensor) -> None:
        """Take another value, and pass it on to the array that this one is a view of."""
        if self._source is not None:
            base, name, args, _, _ = self._source
            if name != "getitem":
                raise AutogradError(
                    f"gradients of gradients: an array is changed in place through {name}(); "
                    "change the array itself, or compute a new one"
                )
            base.change(FUNCTIONS["setitem"](base.tensor, args[0], tensor))
            self._seen = base._version
        self._tensor = tensor
        self._version += 1

    # --- An array's attributes and methods ----------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return tuple(self._tensor.array.shape)

    @property
    def T(self) -> Any:
        """The array with its axes reversed."""
        return call("transpose", (self,))

    def __getattr__(self, name: str) -> Any:
        if name in ("data", "dtype", "flags", "itemsize", "nbytes", "ndim", "size", "strides"):
            return getattr(self._tensor.array, name)
        raise AttributeError(f"an array on the tape has no attribute {name!r}")

    def reshape(self, *shape: Any, **options: Any) -> Any:
        return call("reshape", (self, shape[0] if len(shape) == 1 else shape), options)

    def transpose(self, *axes: Any) -> Any:
        return call("transpose", (self, axes[0] if len(axes) == 1 else axes or None))

    def flatten(self) -> Any:
        return call("ravel", (self.copy(),))

    def copy(self, order: Any = "C") -> TapeArray:
        tensor = self.tensor
        return TapeArray(tensor if tensor.requires_grad else Tensor(tensor.array.copy(order)))

    def astype(self, dtype: Any, copy: bool = True, **options: Any) -> TapeArray:
        tensor = self.tensor
        if tensor.requires_grad and np.dtype(dtype).kind == "f":
            return TapeArray(FUNCTIONS["astype"](tensor, np.dtype(dtype)))
        return TapeArray(Tensor(tensor.array.astype(dtype, copy=copy)))

    def fill(self, value: Any) -> None:
        self[...] = value

    def item(self) -> Any:
        return _numbers_of(self).item()

    def tolist(self) -> Any:
        return _numbers_of(self).tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(_numbers_of(self), dtype, copy=copy)

    def __array_namespace__(self, **_: Any) -> Any:
        return TapeModule(array_module(self._tensor.array))

    def __len__(self) -> int:
        return len(self._tensor.array)

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.tensor.array)

    def __float__(self) -> float:
        return float(_numbers_of(self))

    def __int__(self) -> int:
        return int(_numbers_of(self))

    def __index__(self) -> int:
        return _numbers_of(self).__index__()

    def __repr__(self) -> str:
        return f"TapeArray({self.tensor!r})"

    def __getitem__(self, index: Any) -> Any:
        return call("getitem", (self, index))

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(value, TapeArray) and value._source is not None:
            base, name, args, *_ = value._source
            if base is self and name == "getitem" and args[0] is index:
                return  # self[index] += ... ends here, and has changed self already
        own, index, value = self.tensor, _tensors(index), _tensors(value)
        if _needs_gradient((own, value)):
            self.change(FUNCTIONS["setitem"](own, index, value))
        else:
            own.array[_arrays(index)] = _arrays(value)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        out = options.pop("out", None)
        if method == "at" and isinstance(inputs[0], TapeArray):
            target, args = inputs[0], _tensors(inputs)
            if _needs_gradient(args):
                target.change(_evaluate(f"{ufunc.__name__}.at", args, {}, None))
            else:
                xp = array_module(target.tensor.array)
                getattr(xp, ufunc.__name__).at(*_arrays(args))
            return None
        names = {"add": "sum", "multiply": "prod", "maximum": "amax", "minimum": "amin"}
        if method == "reduce" and ufunc.__name__ in names:
            options.setdefault("axis", 0)
            return _into(out, call(names[ufunc.__name__], inputs, options))
        if method != "__call__":
            raise AutogradError(f"gradients of gradients: {ufunc.__name__}.{method} in a backward")
        return _into(out, call(ufunc.__name__, inputs, options))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        out = kwargs.pop("out", None)
        inside = getattr(function, "__module__", "") == "numpy"
        name = function.__name__ if inside else f"{function.__module__}.{function.__name__}"
        return _into(out, call(name, args, kwargs, function))


def _tensors(value: Any) -> Any:
    """Replace the TapeArrays in arguments by Tensors."""
    if isinstance(value, TapeArray):
        return value.tensor
    if type(value) in (list, tuple):
        return type(value)([_tensors(item) for item in value])
    return value


def _arrays(value: Any) -> Any:
    """Replace the Tensors in arguments by arrays."""
    if isinstance(value, Tensor):
        return value.array
    if type(value) in (list, tuple):
        return type(value)([_arrays(item) for item in value])
    return value


def _needs_gradient(value: Any) -> bool:
    """Return whether a Tensor that requires a gradient is among the arguments."""
    if isinstance(value, Tensor):
        return value._requires_grad
    return isinstance(value, (list, tuple)) and any(_needs_gradient(item) for item in value)


def _on_gpu(value: Any) -> bool:
    return hasattr(type(value), "__cuda_array_interface__")


def _as_tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(value)


def wrapped(value: Any) -> Any:
    """Replace the Tensors and arrays in a result by TapeArrays."""
    if type(value) in (list, tuple):
        return type(value)([wrapped(item) for item in value])
    if isinstance(value, (Tensor, np.ndarray, np.generic)) or _on_gpu(value):
        return TapeArray(_as_tensor(value))
    return value


def call(name: str, args: Any, kwargs: Any = None, function: Any = None) -> Any:
    """Compute a function of NumPy for TapeArrays, recorded if one requires a gradient.

    Parameters
    ----------
    name : str
        NumPy's name of the function; "getitem" stands for ``x[index]``.
    args : tuple
    kwargs : dict, optional
        As NumPy takes them.
    function : callable, optional
        NumPy's function, where its module does not have it under that name.

    Raises
    ------
    AutogradError
        The function can't be recorded.
    """
    if name in _CHANGES:
        return _change(name, *args, **(kwargs or {}))
    inner = _tensors(args)
    options = {key: _tensors(value) for key, value in (kwargs or {}).items()}
    result = wrapped(_evaluate(name, inner, options, function))
    if name in _VIEWS and isinstance(args[0], TapeArray):
        parts = result if isinstance(result, (list, tuple)) else [result]
        for position, part in enumerate(parts):
            if _share_memory(part, args[0]):
                which = None if parts is not result else position
                rest = args[1:] if name == "getitem" else inner[1:]
                part._source, part._seen = (args[0], name, rest, options, which), args[0]._version
    return result


def _evaluate(name: str, args: Any, kwargs: dict[str, Any], function: Any) -> Any:
    """Compute a function of NumPy for Tensors, by an operation if one requires a gradient."""
    if name not in CONSTANT and _needs_gradient((args, *kwargs.values())):
        operation = FUNCTIONS.get(name)
        if operation is None:
            raise AutogradError(
                f"gradients of gradients: a backward calls numpy.{name}, which is not recorded; "
                f"use {', '.join(sorted(name for name in FUNCTIONS if name.isidentifier()))}"
            )
        try:
            return operation(*args, **kwargs)
        except TypeError as error:
            raise AutogradError(f"gradients of gradients: numpy.{name}: {error}") from error
    arrays, options = _arrays(args), {key: _arrays(value) for key, value in kwargs.items()}
    if name == "getitem":
        return arrays[0][arrays[1]]
    if function is None:
        first = next(array for array in arrays if isinstance(array, np.ndarray) or _on_gpu(array))
        function = getattr(array_module(first), name)
    return function(*arrays, **options)


#: Functions that change their first argument.
_CHANGES = {"copyto", "put_along_axis"}


def _change(name: str, target: Any, *args: Any, **kwargs: Any) -> None:
    if not isinstance(target, TapeArray):
        raise _no_numbers()
    inner = target.tensor, *_tensors(args)
    if _needs_gradient(inner):
        target.change(FUNCTIONS[name](*inner, **kwargs))
    else:
        getattr(array_module(inner[0].array), name)(*_arrays(inner), **kwargs)


def _share_memory(one: TapeArray, other: TapeArray) -> bool:
    a, b = one._tensor.array, other._tensor.array
    return bool(array_module(a).may_share_memory(a, b))


def _store(target: TapeArray, result: TapeArray) -> None:
    """Write a result into an array, in the array's shape and dtype."""
    own, new = target.tensor, result.tensor
    if not _needs_gradient((own, new)):
        own.array[...] = new.array
    elif own.array.shape != new.array.shape:
        target[...] = result
    else:
        target.change(new if new.dtype == own.dtype else FUNCTIONS["astype"](new, own.dtype))


def _into(out: Any, result: Any) -> Any:
    """Write a result into the array given as ``out=``, if any, and return it."""
    out = out[0] if isinstance(out, tuple) else out
    if out is None:
        return result
    if not isinstance(out, TapeArray):
        raise _no_numbers()
    _store(out, result)
    return out


def _numbers_of(value: TapeArray) -> Any:
    """Return the array for code that can't be recorded, so that it must not need a gradient."""
    if value.tensor._requires_grad:
        raise _no_numbers()
    return value.tensor.array


def _no_numbers() -> AutogradError:
    return AutogradError(
        "gradients of gradients: a backward takes the numbers out of an array on the tape (it "
        "writes to an array of np.zeros, or calls float() or a compiled function); use "
        "np.zeros_like(grad) and NumPy's functions alone, or declare the backward "
        "once_differentiable"
    )


class TapeModule:
    """NumPy or CuPy, whose functions take and return TapeArrays.

    Parameters
    ----------
    module : module
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if isinstance(found, type) or not callable(found):
            return found
        return lambda *args, **kwargs: call(name, args, kwargs, found)


def recorded_by(function: Callable[[], Any]) -> Callable[[Callback], Callback]:
    """Decorate plain code that is an operation itself: TapeArrays record that operation.

    Parameters
    ----------
    function : callable
        Returns the :class:`~minidl.autograd.Function`, which takes the same arguments.
    """

    def decorate(plain: Callback) -> Callback:
        @wraps(plain)
        def either(*args: Any) -> Any:
            if any(isinstance(arg, TapeArray) for arg in args):
                return wrapped(function().apply(*_tensors(args)))
            return plain(*args)

        return either  # type: ignore[return-value]

    return decorate


def is_on_tape(array: Any) -> bool:
    """Return whether the array is a TapeArray, which kernels can't read."""
    return isinstance(array, TapeArray)


def _define(method: str, name: str) -> None:
    def forward(self: TapeArray, *args: Any, **kwargs: Any) -> Any:
        return call(name, (self, *args), kwargs)

    setattr(TapeArray, method, forward)


def _define_operator(operator: str, name: str) -> None:
    def reflected(self: Any, other: Any) -> Any:
        return call(name, (other, self))

    def in_place(self: Any, other: Any) -> Any:
        _store(self, call(name, (self, other)))
        return self

    _define(f"__{operator}__", name)
    setattr(TapeArray, f"__r{operator}__", reflected)
    setattr(TapeArray, f"__i{operator}__", in_place)


for _name in (
    "all any argmax argmin argsort clip cumprod cumsum diagonal dot max mean min nonzero prod "
    "ravel repeat squeeze std sum swapaxes take trace var"
).split():
    _define(_name, _name)
for _operator, _name in {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide",
    "floordiv": "floor_divide", "mod": "remainder", "pow": "power", "matmul": "matmul",
    "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
}.items():  # fmt: skip
    _define_operator(_operator, _name)
for _operator, _name in {
    "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
    "ne": "not_equal", "neg": "negative", "abs": "absolute", "invert": "invert",
}.items():  # fmt: skip
    _define(f"__{_operator}__", _name)
