"""Where elements are non-zero, how often each occurs, and one-hot rows."""

from __future__ import annotations

from operator import index
from typing import Any

import numpy as np

from ..autograd import describe
from ..device import array_module, check_one_device, on_its_device
from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels.cuda.put import put
from ..tensor import Tensor

__all__ = ["bincount", "nonzero", "one_hot"]


@on_its_device
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Return the positions of the non-zero elements, one in a row (or an array for each axis)."""
    if as_tuple:
        return tuple(Tensor(axis) for axis in input.array.reshape(input.shape or 1).nonzero())
    return Tensor(array_module(input.array).argwhere(input.array))


@on_its_device
def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    """Return int64 rows with a 1 at the position given by each element.

    Parameters
    ----------
    input : Tensor of int64, any shape
        Class indices.
    num_classes : int
        Default -1: one more than the largest index.

    Raises
    ------
    ArgumentError
        An index is negative or not below `num_classes`; there is none, and no `num_classes`.
    DTypeError
        The indices are not integers.
    """
    array = input.array
    if array.dtype.kind not in "iu":
        raise DTypeError(f"one_hot: expected integers, got {array.dtype}")
    if not array.size and num_classes < 1:
        raise ArgumentError("one_hot: num_classes is needed where there are no indices")
    top = int(array.max()) + 1 if array.size else 0  # waits for a GPU, as the result needs it
    count = top if num_classes == -1 else index(num_classes)
    if array.size and (top > count or int(array.min()) < 0):
        raise ArgumentError(f"one_hot: indices must be in [0, {count}), got up to {top - 1}")
    xp = array_module(array)
    return Tensor((array[..., None] == xp.arange(count)).astype(np.int64))


@on_its_device
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """Return the number of times that 0, 1, 2, ... occur, or the sums of their weights."""
    array = input.array
    xp = array_module(array)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise ArgumentError(f"bincount: expected a vector of integers, got {describe(input)}")
    if array.size and int(array.min()) < 0:
        raise ArgumentError(f"bincount: expected no negative numbers, got {int(array.min())}")
    if minlength < 0:
        raise ArgumentError(f"bincount: minlength must not be negative, got {minlength}")
    if weights is None or not array.size:
        return Tensor(xp.bincount(array, minlength=minlength))
    check_one_device("bincount", input=array, weights=weights.array)
    if weights.shape != input.shape:
        raise ShapeError(f"bincount: weights of shape {weights.shape}, input {input.shape}")
    if isinstance(array, np.ndarray):
        sums = np.bincount(array, weights.array, minlength)
    else:
        sums = xp.zeros(max(int(array.max()) + 1, minlength), np.float64)
        put(sums, array, weights.array, add=True)
    return Tensor(sums.astype(np.float32 if weights.dtype == np.float32 else np.float64))
