"""The operands of elementwise operations: numbers and tensors, their dtypes, broadcasting.

Where an argument was broadcast, its gradient is summed over the axes along which it was repeated
(:func:`unbroadcast`), because each of its elements was used once for every repetition.

Dtypes follow PyTorch: a Python number never changes a tensor's dtype (but a float makes an integer
tensor float32), nor does a tensor without axes; of two kinds the float wins.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..conversion import fitting
from ..device import Array, Shape, active, array_module, check_one_device, device_of
from ..errors import DTypeError, NumberError, ShapeError
from ..kernels.cpu import apply_ufunc
from ..tensor import Tensor, as_tensor, bool_, default_dtype, float16, float32
from .precision import added_up, rounded

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def unbroadcast(grad: Array, shape: Shape) -> Array:
    """Sum `grad` down to `shape`, from which it was broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.ops.operands import unbroadcast
    >>> unbroadcast(np.ones((4, 3)), (1, 3))
    array([[4., 4., 4.]])
    """
    if grad.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + axis
        for axis, length in enumerate(shape)
        if length == 1 and grad.shape[extra + axis] != 1
    )
    if not axes:
        return grad.reshape(shape)
    return rounded(added_up(grad, axes, True), grad.dtype).reshape(shape)


def common_dtype(a: np.dtype, b: np.dtype) -> np.dtype:
    """Return the dtype of an operation on arrays of two dtypes."""
    rank_a, rank_b = _RANK[a.kind], _RANK[b.kind]
    if rank_a == rank_b:
        return np.promote_types(a, b)
    return a if rank_a > rank_b else b


def _with_number(array: Array, number: Any) -> np.dtype:
    """Return the dtype of an operation on an array of integers and a Python number."""
    if isinstance(number, float) and array.dtype.kind != "f":
        return default_dtype()
    if array.dtype == bool_ and not isinstance(number, bool):
        return np.dtype(np.int64)
    return array.dtype


def operands(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Return two operands: Tensors (at least one) and Python numbers."""
    if not isinstance(a, Tensor):
        a = _number_or_tensor(name, a)
        if not isinstance(b, Tensor) and not isinstance(a, Tensor):
            a = as_tensor(a)
    if not isinstance(b, Tensor):
        b = _number_or_tensor(name, b)
    return a, b


def _number_or_tensor(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):  # first, because np.float64 is a float as well
        return value.item()
    if isinstance(value, (int, float)):  # bool included
        return value
    if isinstance(value, (list, tuple)) or hasattr(value, "dtype"):
        return as_tensor(value)
    raise DTypeError(f"{name}: expected a tensor or a number, got {type(value).__name__}")


def meet(a: Any, b: Any) -> tuple[Any, Any]:
    """Convert two operands (arrays or numbers, at least one array) to their common dtype."""
    if not hasattr(a, "dtype"):
        return a, b if b.dtype.kind == "f" else b.astype(_with_number(b, a), copy=False)
    if not hasattr(b, "dtype"):
        return a if a.dtype.kind == "f" else a.astype(_with_number(a, b), copy=False), b
    if a.dtype == b.dtype:
        return a, b
    if (a.ndim == 0) != (b.ndim == 0):  # one has no axes: it decides only by a higher kind
        weak, strong = (a.dtype, b.dtype) if a.ndim == 0 else (b.dtype, a.dtype)
        dtype = weak if _RANK[weak.kind] > _RANK[strong.kind] else strong
        if dtype == float16 != weak and isinstance(a, np.ndarray):  # too large for float16?
            return (a.item(), b) if a.ndim == 0 else (a, b.item())
    else:
        dtype = common_dtype(a.dtype, b.dtype)
    return a.astype(dtype, copy=False), b.astype(dtype, copy=False)


def meet_exactly(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Convert two operands as :func:`meet`; a number must fit into an array of integers."""
    a, b = meet(a, b)
    if not hasattr(a, "dtype") and b.dtype.kind in "iu":
        a = fitting(name, a, b.dtype).item()
    if not hasattr(b, "dtype") and a.dtype.kind in "iu":
        b = fitting(name, b, a.dtype).item()
    return a, b


def binary(name: str, ufunc_name: str, a: Any, b: Any) -> Array:
    """Apply NumPy's or CuPy's ufunc to two operands of one dtype, with a helpful shape error."""
    array = a if hasattr(a, "dtype") else b
    if array.dtype.char == "e" and not (hasattr(a, "dtype") and hasattr(b, "dtype")):
        return _of_half_and_number(name, ufunc_name, a, b)
    try:
        if isinstance(array, np.ndarray):
            return apply_ufunc(getattr(np, ufunc_name), a, b)
        with active(device_of(array)):
            return getattr(array_module(array), ufunc_name)(a, b)
    except ValueError as error:
        raise ShapeError(
            f"{name}: shapes {shape_of(a)} and {shape_of(b)} can't be broadcast together"
        ) from error
    except OverflowError:  # a Python integer too large for the array's: only its low bits count
        return binary(name, ufunc_name, *(_low_bits(v, array.dtype) for v in (a, b)))


def _of_half_and_number(name: str, ufunc_name: str, a: Any, b: Any) -> Array:
    """Apply a ufunc to float16 and a Python number, which may be too large for float16."""
    if ufunc_name in ("remainder", "fmod"):  # which jump: PyTorch rounds their numbers
        a, b = (v if hasattr(v, "dtype") else float(np.float16(v)) for v in (a, b))
    a, b = (v.astype(float32) if hasattr(v, "dtype") else v for v in (a, b))
    y = binary(name, ufunc_name, a, b)
    return y.astype(np.float16) if y.dtype == float32 else y


def _low_bits(value: Any, dtype: np.dtype) -> Any:
    """Return the part of a Python integer of at most 64 bits that `dtype` holds."""
    if hasattr(value, "dtype"):
        return value
    if not -(2**63) <= value < 2**64:
        raise NumberError(f"the integer {value} has more than 64 bits")
    limits = np.iinfo(dtype)
    return dtype.type((value - int(limits.min)) % 2**limits.bits + int(limits.min))


def shape_of(operand: Any) -> Shape:
    """Return the shape of an array; a number has none, ``()``."""
    return operand.shape if hasattr(operand, "shape") else ()


def unary(name: str, x: Array) -> Array:
    """Apply NumPy's or CuPy's ufunc of one argument."""
    if isinstance(x, np.ndarray):
        return apply_ufunc(getattr(np, name), x)
    with active(device_of(x)):
        return getattr(array_module(x), name)(x)


def floating(x: Array) -> Array:
    """Return `x`, integers as float32, as in PyTorch."""
    return x if x.dtype.kind == "f" else x.astype(default_dtype())


def without_gradient(name: str, ufunc_name: str, a: Any, b: Any) -> Tensor:
    """Apply a ufunc to two operands outside the tape."""
    a, b = arrays_of(name, a, b)
    with np.errstate(all="ignore"):
        return Tensor(binary(name, ufunc_name, a, b))


def arrays_of(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Return two operands as arrays (or one as a number) of one dtype and on one device."""
    a, b = (v.array if isinstance(v, Tensor) else v for v in operands(name, a, b))
    check_one_device(name, input=a, other=b)
    return meet(a, b)
