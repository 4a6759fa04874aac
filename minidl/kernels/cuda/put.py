"""Writing and adding to elements that may be named several times, always with the same result.

GPU threads write in any order. Writes are therefore sorted by position first, stably, and one
thread does all that go to one element, in their order: sums have NumPy's bits, and of several
values written to one element the last stays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...device import Array, cupy
from .launch import Source
from .sort import argsort

_PUT = Source("put.cu")


def put(view: Array, where: Any, value: Array, add: bool) -> None:
    """Write ``view[where] = value``, or add, in the order of the values."""
    xp = cupy()
    numbers = xp.arange(view.size).reshape(view.shape)[where]
    if numbers.size == 0:
        return
    if value.ndim > numbers.ndim:  # as NumPy does, drop axes of length 1 in front
        value = value.reshape(value.shape[value.ndim - numbers.ndim :])
    values = xp.broadcast_to(value, numbers.shape).reshape(-1)
    numbers = numbers.reshape(-1)
    order = argsort(numbers, 0)
    # the kernel knows three types; float16 adds up in float32
    kinds = {"f": view.dtype if view.dtype.itemsize >= 4 else np.dtype(np.float32)}
    dtype = kinds.get(view.dtype.kind, np.dtype(np.int64))
    target = xp.ascontiguousarray(view, dtype)
    _PUT.launch(
        "put" if dtype.kind == "f" else "put_integers",
        dtype if dtype.kind == "f" else np.float32,  # what T is does not matter to integers
        numbers.size, target, xp.ascontiguousarray(values, dtype), numbers[order], order,
        np.int64(numbers.size), add,
    )  # fmt: skip
    if target is not view:
        view[...] = target
