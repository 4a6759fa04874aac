"""Helpers of losses: how a batch's losses become one number, and checks of arguments.

With reduction "mean", L = Σ_n l_n / D for a divisor D, so ∂L/∂l_n = g/D for the incoming gradient g
of L. With "sum", D is 1. With "none" every loss is returned and has a gradient of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..autograd.precision import dtype_of_loss
from ..device import Array, Shape, array_module, check_one_device
from ..errors import ArgumentError, DTypeError, IndexOutOfRange, ShapeError
from ..ops.dtypes import result_type
from ..ops.precision import in_float64
from ..tensor import Tensor

REDUCTIONS = ("mean", "sum", "none")


@in_float64
def reduce_losses(losses: Array, divisor: Any, reduction: str) -> Array:
    """Return the losses, their sum, or their sum over the divisor."""
    if reduction == "none":
        return losses
    total = losses.sum()
    return total / divisor if reduction == "mean" else total  # no losses: 0/0 is NaN


@in_float64
def gradient_of_losses(grad: Array, divisor: Any, reduction: str) -> Array:
    """Return the gradient of each loss, or the one number that it is for all."""
    if reduction != "mean":
        return grad
    if not hasattr(divisor, "dtype"):
        return grad / divisor
    xp = array_module(divisor)  # where nothing counts, the mean is 0/0, but nothing changes it
    return grad * xp.where(divisor == 0, 0, 1 / divisor).astype(grad.dtype)


def class_rows(classes: Array, weights: Array | None, shape: Shape, dtype: Any) -> tuple[Any, Any]:
    """Return q (N, C, ...), as the plain code of the losses of classes has it, and the divisor.

    Kernels save the class of each sample and how much it counts (None: once), by rows, instead.
    """
    n, count, *others = (1, *shape) if len(shape) == 1 else shape
    xp = array_module(classes)
    samples, axes = (n, 1, *others), (count, *[1] * len(others))
    q = (classes.reshape(samples) == xp.arange(count).reshape(axes)).astype(dtype)
    if weights is None:
        return q, classes.size
    return q * weights.reshape(samples), weights.sum()


def checked_reduction(
    name: str, reduction: str, size_average: bool | None = None, reduce: bool | None = None
) -> str:
    """Return the reduction, which PyTorch's deprecated arguments determine if one is given."""
    if size_average is not None or reduce is not None:
        if reduce is False:
            return "none"
        return "sum" if size_average is False else "mean"
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"{name}: reduction must be one of {REDUCTIONS}, got {reduction!r}")
    return reduction


def alike(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both in one dtype, or raise an error: broadcasting is nearly always a mistake."""
    if not isinstance(input, Tensor) or not isinstance(target, Tensor):
        raise TypeError("expected Tensors")  # the caller's wrapper says which: ops.spelling.explain
    if input.dtype.kind != "f" and target.dtype.kind != "f":
        raise DTypeError(f"{name}: expected floats, got {input.dtype}; use .float() first")
    if input.shape != target.shape:
        raise ShapeError(
            f"{name}: input has shape {tuple(input.shape)}, target {tuple(target.shape)}; "
            "expected the same"
        )
    if input.dtype != target.dtype:
        dtype = result_type(input, target)
        return input.to(dtype=dtype), target.to(dtype=dtype)
    return input, target


def check_scores(name: str, x: Array) -> None:
    """Raise an error unless the input holds one number for each class."""
    if x.ndim == 0:
        raise ShapeError(f"{name}: expected input of shape (C,), (N, C) or (N, C, ...), got ()")
    if x.shape[1 if x.ndim > 1 else 0] == 0:
        raise ShapeError(f"{name}: expected at least one class, got input of shape {x.shape}")
    if x.dtype.kind != "f":
        raise DTypeError(f"{name}: input must be floats, got {x.dtype}")


def check_class_indices(name: str, x: Array, target: Array, ignore_index: int) -> None:
    """Raise an error unless `target` holds class indices for the input `x`.

    A kernel on a GPU gives NaN for classes that don't exist: to look at them would wait for it.
    """
    expected = (x.shape[0], *x.shape[2:]) if x.ndim > 1 else ()
    if target.shape != expected:
        raise ShapeError(
            f"{name}: target of shape {target.shape} does not fit input of shape {x.shape}: "
            f"expected class indices of shape {expected}"
        )
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{name}: class indices must be integers, got {target.dtype}")
    classes = x.shape[1 if x.ndim > 1 else 0]
    if isinstance(target, np.ndarray):
        # Read as unsigned, negative numbers are large: one pass if all is well and none is ignored.
        if target.view(f"u{target.itemsize}").max(initial=0) < classes:
            return
    elif dtype_of_loss(x).char in kernels.DTYPES and not kernels.is_reference():
        return
    valid = target[target != ignore_index]
    if valid.size and (valid.min() < 0 or valid.max() >= classes):
        raise IndexOutOfRange(
            f"{name}: target holds class {int(valid.min() if valid.min() < 0 else valid.max())}, "
            f"but input has {classes} classes: expected 0 to {classes - 1}"
        )


def check_class_weight(name: str, x: Array, weight: Tensor | None) -> Array | None:
    """Return the weights of the classes in the dtype of `x`."""
    if weight is None:
        return None
    check_one_device(name, input=x, weight=weight.array)
    classes = x.shape[1 if x.ndim > 1 else 0]
    if weight.array.shape != (classes,):
        raise ShapeError(
            f"{name}: weight of shape {weight.array.shape}: expected one for each of {classes} "
            "classes"
        )
    return weight.array.astype(dtype_of_loss(x), copy=False)
