"""Python's numbers become arrays, exactly or with an error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .device import CPU
from .errors import DTypeError, NumberError, ShapeError
from .kernels.cuda import copy_to


def as_dtype(name: str, dtype: Any) -> np.dtype:
    """Return a dtype of numbers, or raise a DTypeError: ``np.dtype(None)`` would be float64."""
    if isinstance(dtype, (np.dtype, type, str)):
        try:
            wanted = np.dtype(dtype)
        except TypeError:  # no such dtype
            wanted = np.dtype(object)
        if wanted.kind in "fiub":
            return wanted
    raise DTypeError(f"{name}: expected a dtype such as minidl.float32, got {dtype!r}")


def as_number(name: str, value: Any) -> Any:
    """Return the Python number that `value` is, or that it holds as an array without axes."""
    number = value.item() if hasattr(value, "item") else value
    if not isinstance(number, (int, float)):
        raise DTypeError(f"{name}: expected a number, got {value!r}")
    return number


def converted(data: Any, dtype: Any = None, default: Any = np.float32) -> np.ndarray:
    """Return `data` (numbers, nested lists, tensors in lists) as a new NumPy array.

    Python floats become `default`, Python integers int64, booleans bool, unless `dtype` is given.
    Python numbers get there without a detour through another dtype.

    Raises
    ------
    ShapeError
        Nested lists of unequal lengths.
    DTypeError
        `data` is not made of numbers.
    NumberError
        A Python number does not fit into an integer dtype.
    """
    data = _with_arrays(data)
    try:
        array = np.asarray(data).copy() if hasattr(data, "__array__") else np.array(data)
    except ValueError as error:
        raise ShapeError(f"data: expected rows of equal length ({error})") from error
    own = _own_dtypes(data)
    large = not own and array.dtype in (object, np.uint64)  # integers beyond int64
    if large and set(map(type, np.array(data, object).flat)) <= _PYTHONS:
        array, dtype = array.astype(np.float64), dtype or np.int64
    if array.dtype.kind not in "fiub":
        raise DTypeError(f"data: expected numbers, got {array.dtype} from {type(data).__name__}")
    if dtype is None:
        weak = array.dtype == np.float64 and array.dtype not in own
        dtype = default if weak else array.dtype
    dtype = as_dtype("dtype", dtype)
    if not own and dtype.kind in "iu" and array.dtype.kind in "if" and array.dtype != dtype:
        array = _integers(data, array, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(dtype, copy=False)


#: Python's numbers.
_PYTHONS = {bool, int, float}


def _with_arrays(data: Any) -> Any:
    """Replace the tensors in nested lists by NumPy arrays, which keep their dtypes."""
    if hasattr(data, "node"):  # a Tensor, which is defined above
        return copy_to(data.array, CPU)
    if isinstance(data, (list, tuple)) and not set(map(type, data)) <= _PYTHONS:
        numbers = all(map(_is_number, data))  # PyTorch counts a tensor of one element as one
        return [_with_arrays(item.reshape(()) if numbers and hasattr(item, "node") else item)
                for item in data]  # fmt: skip
    return data


def _is_number(item: Any) -> bool:
    if hasattr(item, "node"):
        return bool(item.numel() == 1)
    return not isinstance(item, (list, tuple)) and np.ndim(item) == 0


def _own_dtypes(data: Any) -> set[np.dtype]:
    """Return the dtypes of the numbers in nested lists: NumPy's have one, Python's have none."""
    if isinstance(data, (list, tuple)):
        if set(map(type, data)) <= _PYTHONS:
            return set()
        return set().union(*map(_own_dtypes, data))
    return {data.dtype} if hasattr(data, "dtype") else set()


def _integers(data: Any, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return Python numbers, which NumPy reads as `array`, as integers that fit into `dtype`.

    As in PyTorch, fractions are cut off, and -1 is the largest unsigned integer.
    """
    if array.dtype.kind == "f":  # float64 rounds large integers: take each number by itself
        array = np.array(data, object)
    limits = np.iinfo(dtype)
    with np.errstate(invalid="ignore"):  # NaN does not fit
        fits = (array >= (limits.min or -limits.max)) & (array <= limits.max)
    if not np.all(fits):
        raise NumberError(f"data: a number does not fit into {dtype}")
    if array.dtype == object:
        array = np.asarray(np.frompyfunc(int, 1, 1)(array)).astype(np.int64)
    return array


def fitting(name: str, value: Any, dtype: np.dtype) -> np.ndarray:
    """Return a number as an array without axes of `dtype`.

    Raises
    ------
    NumberError
        The number does not fit: it is too large, or NaN for integers.
    """
    try:
        array = converted(value, dtype)
        if array.ndim:
            raise DTypeError(f"{name}: expected a number, got {array.size} of them")
        fits = dtype.kind != "f" or not math.isinf(array) or math.isinf(value)
    except NumberError:
        fits = False
    if not fits:
        raise NumberError(f"{name}: {value} does not fit into {dtype}")
    return array
