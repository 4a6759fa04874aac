"""When two answers are the same."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["ChangedInputError", "numeric", "same"]


class ChangedInputError(Exception):
    """The function wrote into an array that it was given."""


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Return whether two answers are equal: in kind, shape and values."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], tolerance) for key in b)
    if isinstance(a, Exception) or isinstance(b, Exception):
        return type(a) is type(b) and (not isinstance(a, ChangedInputError) or a.args == b.args)
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray) or a.shape != b.shape:
        return False
    if not numeric(a) or not numeric(b) or (a.dtype.kind == "b") != (b.dtype.kind == "b"):
        return bool(a.dtype == b.dtype and np.array_equal(a, b))
    if a.dtype.kind == "b":
        return bool(np.array_equal(a, b))
    largest = float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b)))
    with np.errstate(all="ignore"):
        return bool(np.allclose(a, b, rtol=0, atol=tolerance * largest, equal_nan=True))


def numeric(array: np.ndarray) -> bool:
    """Return whether an array holds numbers, or yes and no."""
    return array.dtype.kind in "fiub"
