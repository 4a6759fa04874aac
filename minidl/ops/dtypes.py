"""Questions about dtypes and tensors: limits of numbers, what an operation returns, what fits."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..conversion import as_dtype
from ..errors import DTypeError
from ..tensor import Tensor, as_tensor, default_dtype
from .operands import _RANK, meet, operands

__all__ = [
    "can_cast", "is_complex", "is_floating_point", "is_tensor", "numel", "promote_types",
    "result_type",
]  # fmt: skip


class finfo:
    """Limits of a floating-point dtype.

    Parameters
    ----------
    dtype : dtype, optional
        Default: that of new tensors.

    Attributes
    ----------
    bits : int
    eps, max, min, tiny, smallest_normal, resolution : float
    dtype : str

    Raises
    ------
    DTypeError
        `dtype` is another kind.

    Examples
    --------
    >>> import minidl
    >>> minidl.finfo(minidl.float16).max
    65504.0
    """

    def __init__(self, dtype: Any = None) -> None:
        wanted = default_dtype() if dtype is None else as_dtype("finfo", dtype)
        if wanted.kind != "f":
            raise DTypeError(f"finfo: expected a floating-point dtype, got {wanted}; use iinfo")
        limits = np.finfo(wanted)
        self.bits, self.dtype = int(limits.bits), str(wanted)
        self.eps, self.resolution = float(limits.eps), float(f"1e-{limits.precision}")
        self.max, self.min = float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.tiny)

    def __repr__(self) -> str:
        names = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        numbers = ", ".join(f"{name}={getattr(self, name):g}" for name in names)
        return f"finfo({numbers}, dtype={self.dtype})"


class iinfo:
    """Limits of an integer dtype: ``bits``, ``min``, ``max``, ``dtype``.

    Raises
    ------
    DTypeError
        `dtype` is another kind.

    Examples
    --------
    >>> import minidl
    >>> minidl.iinfo(minidl.uint8)
    iinfo(min=0, max=255, dtype=uint8)
    """

    def __init__(self, dtype: Any) -> None:
        wanted = as_dtype("iinfo", dtype)
        if wanted.kind not in "iu":
            raise DTypeError(f"iinfo: expected an integer dtype, got {wanted}; use finfo")
        limits = np.iinfo(wanted)
        self.bits, self.dtype = int(limits.bits), str(wanted)
        self.min, self.max = int(limits.min), int(limits.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


def is_tensor(obj: Any) -> bool:
    """Return whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Return whether the numbers are floats."""
    return input.is_floating_point()


def is_complex(input: Tensor) -> bool:
    """Return False: there are no complex tensors."""
    return input.dtype.kind == "c"


def numel(input: Tensor) -> int:
    """Return the number of elements."""
    return input.numel()


def result_type(tensor1: Any, tensor2: Any) -> np.dtype:
    """Return the dtype of an operation on two tensors or numbers."""
    if not isinstance(tensor1, Tensor) and not isinstance(tensor2, Tensor):
        tensor1 = as_tensor(tensor1)
    a, b = (_emptied(value) for value in operands("result_type", tensor1, tensor2))
    return next(v.dtype for v in meet(a, b) if hasattr(v, "dtype"))


def _emptied(value: Any) -> Any:
    """Return the array of a tensor without its elements, but with its axes."""
    if not isinstance(value, Tensor):
        return value
    return value.array[(slice(0),) * value.ndim] if value.ndim else value.array


def promote_types(type1: Any, type2: Any) -> np.dtype:
    """Return the dtype of an operation on tensors of two dtypes."""
    return result_type(
        *(Tensor(np.empty((0,), as_dtype("promote_types", dtype))) for dtype in (type1, type2))
    )


def can_cast(from_: Any, to: Any) -> bool:
    """Return whether numbers of dtype `from_` may be stored as `to`: not floats as integers."""
    kinds = [as_dtype("can_cast", dtype).kind for dtype in (from_, to)]
    return _RANK[kinds[0]] <= _RANK[kinds[1]]
