"""Who owns a gradient: only an array that nobody else holds may be overwritten or given away.

CPython counts the references to every object. While a gradient travels, one list holds it and
nothing else; a higher count means that a Function kept it, that it was returned for two arguments,
or that it is the user's. The functions here therefore take the list and a position in it: a
variable of the caller's would be one more reference.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from ..device import active, device_of
from ..errors import ShapeError
from ..tensor import Tensor


def _held_once() -> int:
    """Return the count of references to an object that one list and one variable hold."""
    objects = [object()]
    only = objects[0]
    return sys.getrefcount(only)


#: Measured, because versions of Python differ.
_HELD_ONCE = _held_once()


def is_ours_alone(arrays: list[Any], position: int) -> bool:
    """Return whether the list is all that holds an array, so that its memory may be used.

    An array that can't be changed in place, such as a broadcast one, does not count.
    """
    array = arrays[position]
    if sys.getrefcount(array) > _HELD_ONCE or not _can_change(array):
        return False
    base = array.base  # the array whose memory it shows; or another object's, or its own
    return base is None or not hasattr(base, "dtype") or sys.getrefcount(base) <= _HELD_ONCE


_accumulating = threading.Lock()  # several threads may walk back to the same leaf
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_accumulating.acquire,
        after_in_parent=_accumulating.release,
        after_in_child=_accumulating.release,
    )


def accumulate(tensor: Tensor, gradients: list[Any], position: int) -> None:
    """Add a gradient to ``tensor.grad``, in place for leaves; the first may give its own array."""
    owned = is_ours_alone(gradients, position)
    gradient, dtype = gradients[position], tensor.array.dtype
    with _accumulating:
        total = tensor._grad
        if total is None and owned and gradient.dtype == dtype:
            tensor._grad = Tensor(gradient)
            return
        with active(device_of(tensor.array)):
            if total is None:
                tensor._grad = Tensor(gradient.astype(dtype, order="C"))  # a copy
            elif total.array.shape != gradient.shape:
                raise ShapeError(
                    f"a gradient of shape {gradient.shape} can't be added to a .grad of shape "
                    f"{total.array.shape}: set .grad to None after a change of .data"
                )
            elif tensor.node is None and _can_change(total.array):
                total.array += gradient.astype(total.array.dtype, copy=False)
                total.version[0] += 1
            else:
                tensor._grad = Tensor(total.array + gradient.astype(dtype, copy=False))


def _can_change(array: Any) -> bool:
    """Return whether an array may be added to: not if NumPy protects it or it is expanded."""
    return 0 not in array.strides and getattr(array.flags, "writeable", True)
