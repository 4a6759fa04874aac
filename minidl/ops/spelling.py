"""PyTorch's other spellings of arguments: ``axis=``, ``keepdims=``, ``size=``, ``out=``.

Functions here have one spelling of each argument, and return new memory. PyTorch also takes NumPy's
names of axes, sizes by keyword, and ``out=``; :func:`spelled` adds them. They expect Tensors and
don't check it, because that takes time: :func:`explain` checks it once something has failed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, TypeVar

from ..autograd import no_grad
from ..device import active
from ..errors import ArgumentError, AutogradError, DTypeError, MinidlError
from ..tensor import Tensor, uint8
from .inplace import store
from .operands import _RANK

_OTHERS = {"axis": "dim", "axis0": "dim0", "axis1": "dim1", "keepdims": "keepdim", "size": "shape"}
_SIZES = ("size", "shape", "dims", "repeats", "sizes")
_VARARGS, _OPTIONS = 0x04, 0x08  # in the flags of a function's code: it has *sizes, **options

#: Functions whose out= must have the result's dtype. Others convert it, but not floats to integers.
_OF_ONE_DTYPE = {
    "addmm", "all", "amax", "amin", "any", "argmax", "argmin", "baddbmm", "bmm", "clamp",
    "clamp_max", "clamp_min", "clip", "diag", "dot", "gather", "index_add", "index_select",
    "masked_select", "matmul", "max", "median", "min", "mm", "mv", "nonzero", "norm", "scatter",
    "scatter_add", "sort", "take_along_dim", "topk", "tril", "triu", "where",
}  # fmt: skip

_F = TypeVar("_F", bound=Callable[..., Any])


def explain(name: str, function: Callable[..., Any], args: Any, kwargs: Any, error: Any) -> None:
    """Raise a `DTypeError` if a call failed because an argument should be a Tensor or an integer.

    Parameters
    ----------
    name : str
        What was called, for the message.
    function : callable
        Its annotations say which arguments are Tensors or integers.
    args, kwargs
        The call's arguments.
    error : Exception
        What it raised.
    """
    if isinstance(error, MinidlError):
        return
    called = signature(function)
    try:
        given = called.bind(*args, **kwargs).arguments
    except TypeError:  # arguments are missing, as Python's message says
        return
    for argument, value in given.items():
        expected = str(called.parameters[argument].annotation)
        several = "Sequence" in expected or "Iterable" in expected
        if set(re.findall(r"\w+", expected)) <= {"int", "None", "Sequence"}:
            for part in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(part, float):
                    raise DTypeError(
                        f"{name}: {argument}: expected integers, got {part}"
                    ) from error
        parts = value if several and isinstance(value, (list, tuple)) else [value]
        if len(parts) == 1 and isinstance(parts[0], (list, tuple)) and several:
            parts = parts[0]  # meshgrid(x, y) is meshgrid([x, y])
        for part in parts:
            if (
                "Tensor" not in expected
                or isinstance(part, Tensor)
                or (part is None and "None" in expected)
                or (isinstance(part, (int, float)) and "float" in expected)
            ):
                continue
            raise DTypeError(
                f"{name}: {argument} must be {'Tensors' if several else 'a Tensor'}, got "
                f"{type(part).__name__}; minidl.tensor(x) or minidl.from_numpy(x) makes one"
            ) from error


def explained(function: _F, home: str | None = None) -> _F:
    """Return a function that explains its errors with :func:`explain`; `home` is its module.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.max_pool2d([[1.0]], 1)
    Traceback (most recent call last):
    minidl.errors.DTypeError: max_pool2d: input must be a Tensor, got list; ...
    """

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            explain(function.__name__, function, args, kwargs, error)
            raise

    call.__module__ = home or function.__module__  # where pickle looks for it
    return call  # type: ignore[return-value]


def spelled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of tensors that takes PyTorch's other spellings as well.

    Examples
    --------
    >>> import minidl
    >>> x, y = minidl.tensor([[1.0, 2.0]]), minidl.zeros(2)
    >>> minidl.sum(x, axis=1, keepdims=True)
    tensor([[3.]])
    >>> minidl.add(x[0], 1, out=y) is y
    True
    >>> y
    tensor([2., 3.])
    """
    plain = function
    while hasattr(plain, "__wrapped__"):
        plain = plain.__wrapped__
    code = plain.__code__
    own = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    if code.co_flags & _OPTIONS:
        own = (*own, "keepdim")
    others = [pair for pair in _OTHERS.items() if pair[1] in own and pair[0] not in own]
    sizes = _SIZES if code.co_flags & _VARARGS else ()
    title = function.__name__

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            if not kwargs:
                return function(*args)
            for other, name in others:
                if other in kwargs:
                    if name in kwargs:
                        raise ArgumentError(f"{title}: give {name} or {other}, not both")
                    kwargs[name] = kwargs.pop(other)
            for name in sizes:
                if name in kwargs and name not in own:
                    args = (*args, kwargs.pop(name))
            out = kwargs.pop("out", None)
            if isinstance(out, Tensor) and "dtype" in own:
                dtype = kwargs.setdefault("dtype", out.dtype)
                if dtype is not None and dtype != out.dtype:
                    raise DTypeError(f"{title}: dtype={dtype}, but out is of {out.dtype}")
            result = function(*args, **kwargs)
        except Exception as error:
            explain(title, function, args, kwargs, error)
            raise
        return result if out is None else _written(title, out, result)

    call.has_spellings = bool(others or sizes)  # type: ignore[attr-defined]
    return call


def _written(name: str, out: Any, result: Any) -> Any:
    """Write a result, or several, into the memory of `out`, and return `out`."""
    if isinstance(out, (tuple, list)):
        pairs = zip(out, result, strict=True)
        values = [_written(name, tensor, value) for tensor, value in pairs]
        return type(result)(*values) if hasattr(result, "_fields") else tuple(values)
    if not isinstance(out, Tensor):
        raise ArgumentError(f"{name}: out must be a Tensor, got {type(out).__name__}")
    if name in _OF_ONE_DTYPE:
        of_bytes = out.dtype == uint8 and name in ("all", "any")
        fits = out.dtype == result.dtype or of_bytes
    else:
        fits = _RANK[result.dtype.kind] <= _RANK[out.dtype.kind]
    if not fits:
        raise DTypeError(f"{name}: out is of {out.dtype}, which can't keep a {result.dtype} result")
    if out.requires_grad or result.requires_grad:
        raise AutogradError(f"{name}: out= can't be recorded; use minidl.no_grad(), or no out=")
    if out.shape != result.shape:  # resized, as in PyTorch
        with active(out.device):
            out.array = result.array.astype(out.dtype)
    with no_grad():
        return store(out, result)
