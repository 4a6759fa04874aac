"""The methods and operators of Tensor, attached from above: ``x.sum()``, ``x + y``, ``x.add_(1)``.

``tensor.py`` knows nothing of operations, and an operation is a function of tensors. Here the
second becomes a method of the first: ``x.sum(0)`` *is* ``ops.sum(x, 0)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import autograd
from ..conversion import as_dtype
from ..device import Device, active, channels_last
from ..errors import ArgumentError, DTypeError
from ..missing import MissingAttribute
from ..tensor import (
    Tensor,
    as_tensor,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from ..tensor import tensor as make_tensor
from . import (
    arithmetic,
    comparison,
    counting,
    creation,
    diagonals,
    dtypes,
    elementwise,
    gathering,
    index,
    inplace,
    older,
    products,
    reduce,
    shape,
    sorting,
)  # fmt: skip
from .spelling import explained, spelled

_FILES = (
    arithmetic, comparison, counting, creation, diagonals, dtypes, elementwise, gathering, index,
    products, reduce, shape, sorting,
)  # fmt: skip

#: All functions of the operations, by name, with all of PyTorch's spellings.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: spelled(getattr(file, name)) for file in _FILES for name in file.__all__
}
for _function in FUNCTIONS.values():
    _function.__module__ = "minidl.ops"  # where pickle looks for it

#: Further names, which the table of `minidl`'s own names leaves out.
OTHER_NAMES = {
    other: FUNCTIONS[name]
    for other, name in {
        "absolute": "abs", "divide": "div", "fix": "trunc", "greater": "gt", "greater_equal": "ge",
        "index_put": "index_put", "less": "lt", "less_equal": "le", "moveaxis": "movedim",
        "multiply": "mul", "negative": "neg", "not_equal": "ne", "ravel": "ravel",
        "subtract": "sub", "swapdims": "swapaxes", "true_divide": "div",
    }.items()
}  # fmt: skip
FUNCTIONS |= OTHER_NAMES

#: Functions that are no methods: they make a tensor, or do not start with one. (``where``,
#: ``clone`` and ``contiguous`` differ as methods; see below.)
_NO_METHODS = {
    "arange", "assign", "can_cast", "cast", "cat", "clone", "concat", "concatenate", "contiguous",
    "einsum", "empty", "empty_like", "eye", "full", "full_like", "getitem", "hstack",
    "is_floating_point", "is_tensor", "linspace", "meshgrid", "move", "normal", "numel", "one_hot",
    "ones", "ones_like", "promote_types", "rand", "rand_like", "randint", "randn", "randn_like",
    "randperm", "result_type", "stack", "std_mean", "var_mean", "vstack", "where", "zeros",
    "zeros_like",
}  # fmt: skip

#: Methods that also exist in place, with a trailing underscore.
_IN_PLACE = (
    "abs", "add", "addcdiv", "addcmul", "addmm", "bitwise_and", "bitwise_or", "bitwise_xor", "ceil",
    "clamp", "clamp_max", "clamp_min", "clip", "cos", "cumprod", "cumsum", "div", "eq", "exp",
    "expm1", "floor", "floor_divide", "fmod", "ge", "gt", "index_add", "index_fill", "index_put",
    "le", "lerp", "log", "log10", "log1p", "log2", "logical_and", "logical_not", "logical_or",
    "logical_xor", "lt", "masked_fill", "mul", "nan_to_num", "ne", "neg", "pow", "reciprocal",
    "remainder", "round", "rsqrt", "scatter", "scatter_add", "sign", "sin", "sqrt", "square", "sub",
    "tril", "triu", "trunc",
)  # fmt: skip


def attach(*methods: Callable[..., Any], **named: Any) -> None:
    """Make functions methods of Tensor, under their own names or under those of the keywords."""
    for name, method in {**{method.__name__: method for method in methods}, **named}.items():
        setattr(Tensor, name, method)


def _as_method(function: Any) -> Callable[..., Any]:
    """Return the function as it is where nothing but out= could be spelled otherwise.

    Where arguments after the first should be Tensors or integers, errors keep their explanations.
    """
    plain: Callable[..., Any] = function.__wrapped__
    kinds = [str(kind) for name, kind in plain.__annotations__.items() if name != "return"]
    several = sum("Tensor" in kind or kind.startswith("int") for kind in kinds) > 1
    return function if function.has_spellings or several else plain


attach(**{name: _as_method(f) for name, f in FUNCTIONS.items() if name not in _NO_METHODS})
attach(**{f"{name}_": inplace.in_place(_as_method(FUNCTIONS[name])) for name in _IN_PLACE})
for _name in ("squeeze", "swapaxes", "t", "transpose", "unsqueeze"):
    attach(**{f"{_name}_": older.reshaped(getattr(shape, _name))})
attach(
    inplace.bernoulli_, inplace.copy_, inplace.fill_, inplace.normal_, inplace.random_,
    inplace.uniform_, inplace.zero_,
)  # fmt: skip


# --- Operators ------------------------------------------------------------------------------------


def _matmul(self: Any, other: Any) -> Tensor:
    return products.matmul(as_tensor(self), as_tensor(other))


def _reflected(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return ``other + self`` for ``self + other``."""
    return lambda self, other: function(other, self)


for _name, _function in {
    "add": arithmetic.add, "sub": arithmetic.sub, "mul": arithmetic.mul,
    "truediv": arithmetic.div, "floordiv": arithmetic.floor_divide,
    "mod": arithmetic.remainder, "pow": arithmetic.pow, "matmul": _matmul,
    "and": comparison.bitwise_and, "or": comparison.bitwise_or, "xor": comparison.bitwise_xor,
}.items():  # fmt: skip
    attach(**{f"__{_name}__": _function, f"__r{_name}__": _reflected(_function)})
    if _name != "matmul":  # x @= y is x = x @ y: its shape may differ
        attach(**{f"__i{_name}__": inplace.in_place(_function)})

attach(__lt__=comparison.lt, __le__=comparison.le, __gt__=comparison.gt, __ge__=comparison.ge)
attach(__neg__=elementwise.neg, __abs__=elementwise.abs, __pos__=lambda self: self)
attach(__getitem__=index.getitem, __setitem__=index.assign)


def _comparable(other: object) -> bool:
    return isinstance(other, (Tensor, int, float, np.generic)) or hasattr(other, "__array__")


def __eq__(self: Tensor, other: object) -> Any:
    return comparison.eq(self, other) if _comparable(other) else NotImplemented


def __ne__(self: Tensor, other: object) -> Any:
    return comparison.ne(self, other) if _comparable(other) else NotImplemented


def __invert__(self: Tensor) -> Tensor:
    if self.dtype == bool_:
        return comparison.logical_not(self)
    if self.is_floating_point():
        raise DTypeError(f"~: expected integers or booleans, got {self.dtype}")
    with active(self.device):
        return Tensor(~self.array)


def __iter__(self: Tensor) -> Iterator[Tensor]:
    if self.array.ndim == 0:
        raise DTypeError("iteration over a tensor without axes")
    return (self[i] for i in range(len(self)))


def __reversed__(self: Tensor) -> Tensor:
    return shape.flip(self, 0) if self.array.ndim else self


def __contains__(self: Tensor, value: Any) -> bool:
    return bool((self == value).any())


attach(__eq__, __ne__, __invert__, __iter__, __reversed__, __contains__)


# --- The walk back --------------------------------------------------------------------------------


def backward(
    self: Tensor,
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradient of this tensor to the ``.grad`` of every leaf it was computed from.

    Parameters
    ----------
    gradient : Tensor, optional
        Gradient of the loss by this tensor. Default: 1, for a tensor of one element.
    retain_graph, create_graph, inputs
        See :func:`minidl.autograd.backward`.

    Raises
    ------
    AutogradError
        See :func:`minidl.autograd.backward`.
    """
    autograd.backward(self, gradient, retain_graph, create_graph, inputs)


attach(backward, autograd.register_hook, autograd.register_post_accumulate_grad_hook)


# --- Another dtype or device ----------------------------------------------------------------------


def to(
    self: Tensor, *args: Any, copy: bool = False, non_blocking: bool = False, **kwargs: Any
) -> Tensor:
    """Return the tensor with another dtype or on another device; itself if nothing changes.

    Parameters
    ----------
    *args
        A device, a dtype, a device and a dtype, or a Tensor to take both from.
    copy : bool
        Copy even if nothing changes. Default False.
    non_blocking : bool
        Accepted for compatibility with PyTorch.
    **kwargs
        ``device=`` and ``dtype=``.

    Raises
    ------
    ArgumentError
        Another keyword is given.
    """
    where, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
    kwargs.pop("memory_format", None)
    if kwargs:
        raise ArgumentError(f"to(): unexpected arguments {sorted(kwargs)}")
    for arg in args:
        if isinstance(arg, Tensor):
            where, dtype = arg.device, arg.dtype
        elif isinstance(arg, Device) or (
            isinstance(arg, str) and arg.split(":")[0] in ("cpu", "gpu", "cuda")
        ):
            where = arg
        elif arg is not None and not isinstance(arg, bool):
            dtype = arg
    result = self
    if dtype is not None:
        result = shape.cast(result, as_dtype("to()", dtype))
    if where is not None:
        result = shape.move(result, Device(where))
    return shape.clone(result) if copy and result is self else result


def cpu(self: Tensor) -> Tensor:
    """Return the tensor on the CPU."""
    return to(self, "cpu")


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """Return the tensor on a GPU."""
    return to(self, f"gpu:{device}" if isinstance(device, int) else device or "gpu")


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """Return the tensor with the dtype of `other`."""
    return to(self, dtype=other.dtype)


def _as(name: str, dtype: np.dtype) -> Callable[[Tensor], Tensor]:
    def method(self: Tensor) -> Tensor:
        return shape.cast(self, dtype)

    method.__name__, method.__doc__ = name, f"Return the tensor as {dtype}."
    return method


attach(
    to, cpu, cuda, older.type, older.new, explained(type_as), _as("half", float16),
    _as("float", float32),
    _as("double", float64), _as("char", int8), _as("short", int16), _as("int", int32),
    _as("long", int64), _as("bool", bool_), _as("byte", uint8), gpu=cuda,
)  # fmt: skip


# --- Methods that differ from the function of their name, and others ------------------------------


def where(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """Return the elements where `condition` holds, and those of `other` elsewhere."""
    return comparison.where(condition, self, other)


def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
    """Return the tensor with its memory in the order of the axes, or with channels last."""
    if memory_format is channels_last and self.ndim == 4:
        rows = self.permute(0, 2, 3, 1)
        return self if rows.is_contiguous() else shape.contiguous(rows).permute(0, 3, 1, 2)
    return self if self.is_contiguous() else shape.contiguous(self)


def _missing(self: Tensor, name: str) -> Any:
    if name.startswith("_"):  # asked for by Python and NumPy
        raise AttributeError(f"'Tensor' object has no attribute {name!r}", name=name, obj=self)
    raise MissingAttribute(name=name, obj=self)


def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Return whether the memory is in the order of the axes, or has channels last."""
    rows = memory_format is channels_last and self.ndim == 4
    array = self.array.transpose(0, 2, 3, 1) if rows else self.array
    return bool(array.flags.c_contiguous)


def pin_memory(self: Tensor) -> Tensor:
    """Return the tensor itself; pinned buffers belong to the loader."""
    return self


def share_memory_(self: Tensor) -> Tensor:
    """Move the numbers into memory that processes share: :mod:`minidl.multiprocessing`."""
    from ..multiprocessing import share

    return share(self)


def _new(make: Callable[..., Tensor], what: str) -> Callable[..., Tensor]:
    def method(
        self: Tensor, *args: Any, dtype: Any = None, device: Any = None, **options: Any
    ) -> Any:
        return make(*args, dtype=dtype or self.dtype, device=device or self.device, **options)

    method.__name__ = method.__qualname__ = f"new_{make.__name__}"
    method.__doc__ = f"Return {what} of this tensor's dtype and device, unless others are given."
    return method


attach(explained(where), contiguous, is_contiguous, shape.clone, pin_memory, share_memory_)
attach(
    _new(creation.zeros, "zeros"), _new(creation.ones, "ones"), _new(creation.full, "a constant"),
    _new(creation.empty, "an uninitialized tensor"), _new(make_tensor, "data as a tensor"),
)  # fmt: skip
attach(
    T=property(
        lambda self: shape.permute(self, tuple(range(self.ndim))[::-1]),
        doc="The tensor with its axes reversed.",
    ),
    mT=property(
        lambda self: shape.transpose(self, -2, -1) if self.ndim else self,
        doc="The tensor with its last two axes exchanged.",
    ),
)
attach(__getattr__=_missing)

#: Kinds of tensors that are never made here.
for _name in ("is_meta", "is_mps", "is_quantized", "is_sparse", "is_xpu"):
    setattr(Tensor, _name, False)
