"""Sorting, and all that is sorting first: the largest k, the median, distinct elements.

The gradient goes back to where each element came from (:func:`~minidl.ops.gathering.gather`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..device import Array, array_module, check_one_device, on_its_device
from ..errors import ArgumentError
from ..kernels.cuda import sort as cuda_sort
from ..tensor import Tensor, as_tensor
from .axes import length_of, one_axis
from .gathering import gather
from .operands import common_dtype
from .reduce import ValuesAndIndices, axis_with_elements

__all__ = ["argsort", "isin", "median", "sort", "topk", "unique"]


@on_its_device
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """Return the positions that sort `input` along `dim`; equal elements keep their order."""
    array = input.array
    dim = one_axis("argsort", dim, input.ndim)
    if input.ndim == 0:
        return Tensor(array_module(array).zeros((), np.int64))
    kernel = _argsort_numpy if isinstance(array, np.ndarray) else cuda_sort.argsort
    return Tensor(kernel(array, dim, descending))


def _argsort_numpy(array: Array, axis: int, descending: bool = False) -> Array:
    """Return the positions that sort `array` along `axis`, stably; NaN is the largest number."""
    if not descending:
        return np.argsort(array, axis=axis, kind="stable")
    # reversed twice, so that equal elements keep their order in a descending sort as well
    back = np.argsort(np.flip(array, axis), axis=axis, kind="stable")
    return np.ascontiguousarray(np.flip(array.shape[axis] - 1 - back, axis))


def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True
) -> ValuesAndIndices:
    """Return the elements sorted along `dim`, and their former positions."""
    order = argsort(input, dim, descending)
    return ValuesAndIndices(gather(input, dim, order), order)


def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesAndIndices:
    """Return the `k` largest (or smallest) elements along `dim` in order, and their positions.

    Of equal elements the one at the lower position comes first.

    Raises
    ------
    ArgumentError
        `k` is larger than the axis.
    """
    axis = one_axis("topk", dim, input.ndim)
    length = input.array.shape[axis] if input.ndim else 1
    if not 0 <= k <= length:
        raise ArgumentError(f"topk: k={k} is out of range for an axis of length {length}")
    order = argsort(input, dim, largest)
    best = order[(slice(None),) * axis + (slice(0, k),)] if input.ndim else order
    return ValuesAndIndices(gather(input, dim, best), best)


def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """Return the median (the lower one of two); with `dim`, along it, and its positions.

    NaN if there is one. Without `dim`, elements equal to the median share the gradient.
    """
    if dim is None:
        return MedianOfAll.apply(input)
    axis = axis_with_elements("median", dim, input)
    if input.ndim == 0:
        return median(input.reshape(1), 0)
    where = Tensor(_middle(input.array, argsort(input, axis).array, axis))
    values = gather(input, axis, where)
    if keepdim:
        return ValuesAndIndices(values, where)
    return ValuesAndIndices(values.squeeze(axis), where.squeeze(axis))


def _middle(x: Array, order: Array, axis: int) -> Array:
    """Return the position of the median along an axis, or of the first NaN."""
    xp, middle = array_module(x), (x.shape[axis] - 1) // 2
    where = order[(slice(None),) * axis + (slice(middle, middle + 1),)]
    if x.dtype.kind != "f":
        return where
    nan = xp.isnan(x)
    first = xp.expand_dims(nan.argmax(axis=axis), axis)
    return xp.where(nan.any(axis=axis, keepdims=True), first, where)


class MedianOfAll(Function):
    """The median of all elements: equal ones share the gradient."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        if x.size:
            flat = x.reshape(-1)
            y = flat[_middle(flat, argsort(Tensor(flat)).array, 0)].reshape(())
        else:
            y = array_module(x).full((), math.nan, x.dtype)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        x, y = ctx.saved_tensors
        hit = (x == y) | ((x != x) & (y != y))
        return grad * (hit / hit.sum()).astype(grad.dtype)


@on_its_device
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """Return the distinct elements in ascending order.

    Parameters
    ----------
    input : Tensor
    sorted : bool
        Accepted for compatibility with PyTorch; the result is always sorted.
    return_inverse : bool
        Also return the position of each element in the result. Default False.
    return_counts : bool
        Also return the number of occurrences. Default False.
    dim : int, optional
        Compare slices along this axis. Default: single elements.
    """
    array = input.array
    if dim is not None:
        dim, _ = length_of("unique", input, dim)
    options: Any = return_inverse, return_counts, dim
    if isinstance(array, np.ndarray):
        found: Any = np.unique(array, False, *options)
    else:
        found = cuda_sort.unique(array, *options)
    return tuple(map(Tensor, found)) if isinstance(found, tuple) else Tensor(found)


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Return where the elements occur in `test_elements` (or, to `invert`, where they don't).

    One of both may be a number. `assume_unique` is accepted for compatibility with PyTorch.
    """
    if isinstance(elements, Tensor) and isinstance(test_elements, Tensor):
        check_one_device("isin", elements=elements.array, test_elements=test_elements.array)
    home = (elements if isinstance(elements, Tensor) else as_tensor(test_elements)).device
    found = _is_in(as_tensor(elements, device=home), as_tensor(test_elements, device=home))
    return ~found if invert else found


@on_its_device
def _is_in(elements: Tensor, test_elements: Tensor) -> Tensor:
    array, tested = elements.array, test_elements.array
    if isinstance(tested, np.ndarray):
        return Tensor(np.asarray(np.isin(array, tested)))
    both = common_dtype(array.dtype, tested.dtype)
    return Tensor(cuda_sort.is_in(array.astype(both), tested.astype(both)))
