"""Sums in a wider dtype: float16 and long columns of float32 are added up in float64.

float16 ends at 65,504 and has 11 bits. Added up in float16, 100,000 ones are infinity; along an
axis that is not the last in memory, where NumPy adds number after number, 4,096 ones are 2,048.
Such sums are wide until they are finished, and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ..device import Array, array_module
from ..tensor import Tensor, float16, float32, float64

#: From this length on, columns of float32 are added up in float64. NumPy adds rows in pairs, but
#: columns number after number: the error grows with the length.
LONG = 2048


def added_up(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """Return the sum of floats, in float64 if it was added up so; round it with :func:`rounded`."""
    wide = None
    if x.dtype == float16 or (x.dtype == float32 and _has_long_columns(x, axes)):
        wide = float64
    return array_module(x).sum(x, axis=axes, keepdims=keepdims, dtype=wide)


def _has_long_columns(x: Array, axes: tuple[int, ...]) -> bool:
    """Return whether NumPy adds up many numbers one after the other."""
    if not isinstance(x, np.ndarray) or x.size < LONG or not axes:
        return False
    rows = min(range(x.ndim), key=lambda axis: abs(x.strides[axis]))
    return any(axis != rows and x.shape[axis] >= LONG for axis in axes)


def rounded(result: Array, dtype: np.dtype) -> Array:
    """Return a wide result in its final dtype."""
    return result if result.dtype == dtype else result.astype(dtype)


def rounded_like(result: Array, x: Array) -> Array:
    """Return the result of float16 `x` in float16, and any other as it is."""
    return rounded(result, x.dtype) if x.dtype == float16 else result


def widened(*arrays: Array | None, unless: Any = None) -> Any:
    """Return the arrays with float16 made float32, and the others as they are.

    With a kernel for `unless`, which knows float16, they all stay as they are.

    For a layer that calls its plain code with it: :data:`in_float32` does the same, but stands as a
    frame of its own between the layer and NumPy, in every traceback and debugger.
    """
    return arrays if unless else [_wider(array, float32) for array in arrays]


def _wider(arg: Any, dtype: np.dtype) -> Any:
    return arg.astype(dtype) if getattr(arg, "dtype", None) == float16 else arg


def wide_in_between(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Decorate an operation of several steps: of float16 alone it computes in float32."""

    @wraps(function)
    def wide(*args: Any, **kwargs: Any) -> Tensor:
        tensors = [arg for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor)]
        if any(tensor.dtype != float16 for tensor in tensors):
            return function(*args, **kwargs)
        args = tuple(arg.to(float32) if isinstance(arg, Tensor) else arg for arg in args)
        kwargs = {k: v.to(float32) if isinstance(v, Tensor) else v for k, v in kwargs.items()}
        return function(*args, **kwargs).to(float16)

    return wide


def _wide(dtype: np.dtype) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(plain: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(plain)
        def wide(*args: Any, **kwargs: Any) -> Any:
            return plain(*[_wider(arg, dtype) for arg in args], **kwargs)

        return wide

    return decorate


#: Decorators: array code that is given float16 computes in float32 (what is mostly products, or of
#: single numbers) or in float64 (what adds up many numbers). Its results stay wide: so a backward
#: gets what it needs. The Function rounds what it returns, the walk the gradients.
in_float32 = _wide(float32)
in_float64 = _wide(float64)
