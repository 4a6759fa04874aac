"""Operations that reduce axes to one number: sums, means, extremes, variances, norms.

With ``y = Σ x`` over some axes, every ``x`` has slope 1, so the gradient is ``dy`` repeated along
the reduced axes (:func:`_spread`); the others follow by the chain rule.
"""

from __future__ import annotations

import builtins
import math
from collections import namedtuple
from typing import Any

from ..autograd import Context, Function
from ..autograd.precision import is_cast
from ..device import Array, Shape, array_module, on_its_device
from ..errors import DTypeError, NothingToChooseError, ShapeError
from ..tensor import Tensor, bool_, default_dtype, float16, float32, float64, int64, uint8
from .arithmetic import maximum, minimum
from .axes import Axes, Dim, axes_of, one_axis
from .comparison import where
from .precision import added_up, rounded, rounded_like, widened

__all__ = [
    "all", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "cumprod", "cumsum",
    "logsumexp", "max", "mean", "min", "nansum", "norm", "prod", "std", "std_mean", "sum", "var",
    "var_mean",
]  # fmt: skip

ValuesAndIndices = namedtuple("ValuesAndIndices", ["values", "indices"])


def _spread(grad: Array, shape: Shape, axes: Axes, keepdim: bool) -> Array:
    """Repeat `grad` along the reduced `axes`, as a read-only view."""
    if not keepdim:
        kept = tuple(1 if axis in axes else length for axis, length in enumerate(shape))
        grad = grad.reshape(kept)  # reduced axes come back with length 1
    return array_module(grad).broadcast_to(grad, shape)  # the shape before the reduction


def _count(shape: Shape, axes: Axes) -> int:
    return math.prod(shape[axis] for axis in axes)


class Sum(Function):
    """``Σ x``: dx = dy repeated."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array, axes: Axes, keepdim: bool) -> Array:
        ctx.shape, ctx.axes, ctx.keepdim = x.shape, axes, keepdim
        if x.dtype.kind == "f":
            return rounded(added_up(x, axes, keepdim), x.dtype)
        return array_module(x).sum(x, axis=axes, keepdims=keepdim, dtype=int64)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return _spread(grad, ctx.shape, ctx.axes, ctx.keepdim), None, None


class Mean(Function):
    """``Σ x / n``: dx = dy/n repeated."""

    @staticmethod
    def forward(ctx: Context, x: Array, axes: Axes, keepdim: bool) -> Array:
        ctx.shape, ctx.axes, ctx.keepdim = x.shape, axes, keepdim
        return rounded(added_up(x, axes, keepdim) / _count(x.shape, axes), x.dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (wide,) = widened(grad)  # the count may be too large for float16
        scaled = rounded(wide / _count(ctx.shape, ctx.axes), grad.dtype)
        return _spread(scaled, ctx.shape, ctx.axes, ctx.keepdim), None, None


class Var(Function):
    """``v = Σ (x - mean)² / (n - correction)``: dx = dv · 2 (x - mean) / (n - correction)."""

    @staticmethod
    def forward(ctx: Context, x: Array, axes: Axes, correction: float, keepdim: bool) -> Array:
        ctx.axes, ctx.keepdim, ctx.correction = axes, keepdim, correction
        ctx.save_for_backward(x)
        return rounded(_variance(x, axes, correction, keepdim), x.dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x,) = ctx.saved_tensors
        spread = _spread(grad, x.shape, ctx.axes, ctx.keepdim)
        slope = _centered(x, ctx.axes) * 2 / _divisor(x, ctx.axes, ctx.correction)
        return spread * slope, None, None, None


class Std(Function):
    """``s = √v`` of the variance v, which may overflow: ds = dv/(2s), and 0 where s = 0."""

    @staticmethod
    def forward(ctx: Context, x: Array, axes: Axes, correction: float, keepdim: bool) -> Array:
        ctx.axes, ctx.keepdim, ctx.correction = axes, keepdim, correction
        variance = _variance(x, axes, correction, keepdim)
        s = rounded(array_module(x).sqrt(variance), x.dtype)
        ctx.save_for_backward(x, s)
        return s

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (grad,), (x, s) = widened(grad), ctx.saved_tensors
        xp = array_module(grad)
        constant, one, zero = s == 0, s.dtype.type(1), s.dtype.type(0)
        slope = xp.where(constant, zero, grad) / xp.where(constant, one, s)
        spread = _spread(slope, x.shape, ctx.axes, ctx.keepdim)
        relative = _centered(x, ctx.axes) / _divisor(x, ctx.axes, ctx.correction)
        return spread * relative, None, None, None


def _divisor(x: Array, axes: Axes, correction: float) -> float:
    return builtins.max(_count(x.shape, axes) - correction, 0)


def _centered(x: Array, axes: Axes) -> Array:
    """Return x - mean, of float16 in float32."""
    x = x if x.dtype != float16 else x.astype(float32)
    return x - added_up(x, axes, True).astype(x.dtype) / _count(x.shape, axes)


def _variance(x: Array, axes: Axes, correction: float, keepdim: bool) -> Array:
    """Return the variance in float64: squares of float32 may be too large for float32."""
    centered = _centered(x.astype(float64, copy=False), axes)
    xp, divisor = array_module(x), _divisor(x, axes, correction)
    total = xp.sum(centered * centered, axis=axes, keepdims=keepdim)
    return total / xp.float64(divisor)


class Root(Function):
    """``y = √x`` of a sum of squares: dx = dy/(2y), and 0 where y = 0, its minimum."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = array_module(x).sqrt(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        xp, zero, one = array_module(y), y.dtype.type(0), y.dtype.type(1)
        return xp.where(y == 0, zero, grad) / xp.where(y == 0, one, 2 * y)


class Extreme(Function):
    """The largest or smallest element along one axis, and its first position.

    The gradient goes to that one position.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int, keepdim: bool, largest: bool) -> Any:
        xp = array_module(x)
        where = xp.expand_dims((xp.argmax if largest else xp.argmin)(x, axis=axis), axis)
        values = xp.take_along_axis(x, where, axis)
        ctx.shape, ctx.axis, ctx.keepdim, ctx.where = x.shape, axis, keepdim, where
        if not keepdim:
            values, where = values.squeeze(axis), where.squeeze(axis)
        where = where.copy()  # it is the user's
        ctx.mark_non_differentiable(where)
        return values, where

    @staticmethod
    def backward(ctx: Context, grad: Array, _: Array) -> Any:
        xp = array_module(grad)
        dx = xp.zeros(ctx.shape, grad.dtype)
        grad = grad if ctx.keepdim else xp.expand_dims(grad, ctx.axis)
        xp.put_along_axis(dx, ctx.where, grad, ctx.axis)
        return dx, None, None, None


class ExtremeOverAll(Function):
    """The largest or smallest element over axes: equal extremes share the gradient evenly.

    A NaN is the extreme. Its gradient is NaN, unless `nan_is_equal`, where NaNs share it.
    """

    @staticmethod
    def forward(
        ctx: Context, x: Array, axes: Axes, keepdim: bool, largest: bool, nan_is_equal: bool
    ) -> Array:
        xp = array_module(x)
        y = (xp.max if largest else xp.min)(x, axis=axes, keepdims=True)
        y = y if keepdim else y.squeeze(axes)
        ctx.axes, ctx.keepdim, ctx.nan_is_equal = axes, keepdim, nan_is_equal
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        x, y = ctx.saved_tensors
        hit = x == _spread(y, x.shape, ctx.axes, ctx.keepdim)
        if ctx.nan_is_equal:
            hit = hit | (x != x)
        (share,) = widened(_spread(grad, x.shape, ctx.axes, ctx.keepdim))
        hits = hit.sum(axis=ctx.axes, keepdims=True).astype(share.dtype)
        return share * hit / hits, None, None, None, None


class Prod(Function):
    """``Π x``: dx_i = dy · Π_{j≠i} x_j, from the products before and after i (zeros are exact)."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int, keepdim: bool) -> Array:
        ctx.save_for_backward(x)
        ctx.axis, ctx.keepdim = axis, keepdim
        dtype = int64 if x.dtype.kind != "f" else float32 if x.dtype == float16 else x.dtype
        y = array_module(x).prod(x, axis=axis, keepdims=keepdim, dtype=dtype)
        return rounded_like(y, x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x,) = widened(*ctx.saved_tensors)
        xp = array_module(x)
        first = xp.moveaxis(x, ctx.axis, 0)
        one = xp.ones_like(first[:1])
        before = xp.concatenate([one, xp.cumprod(first, axis=0)[:-1]])
        after = xp.concatenate([one, xp.cumprod(first[::-1], axis=0)[:-1]])[::-1]
        others = xp.moveaxis(before * after, 0, ctx.axis)
        grad = grad if ctx.keepdim else xp.expand_dims(grad, ctx.axis)
        return grad * others, None, None


class Cumsum(Function):
    """``y_i = Σ_{j≤i} x_j``: dx_j = Σ_{i≥j} dy_i."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int) -> Array:
        ctx.axis = axis
        return _running("cumsum", x, axis)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        xp = array_module(grad)
        return xp.flip(_running("cumsum", xp.flip(grad, ctx.axis), ctx.axis), ctx.axis), None


def _running(name: str, x: Array, axis: int) -> Array:
    """Return running sums or products: of integers in int64, of float16 by way of float64."""
    dtype = int64 if x.dtype.kind != "f" else float64 if x.dtype == float16 else x.dtype
    y = getattr(array_module(x), name)(x, axis=axis, dtype=dtype)
    return rounded_like(y, x)


class Cumprod(Function):
    """``y_i = y_{i-1}·x_i``: with g_i = dy_i + g_{i+1}·x_{i+1} from the end, dx_i = g_i·y_{i-1}."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int) -> Array:
        y = _running("cumprod", x, axis)
        ctx.save_for_backward(x, y)
        ctx.axis = axis
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        xp = array_module(grad)
        arrays = widened(*ctx.saved_tensors, grad)
        x, y, grad = (xp.moveaxis(array, ctx.axis, 0) for array in arrays)
        if ctx.saved_tensors[1].dtype == float16:
            y = xp.cumprod(x, axis=0)  # rounded, it may be 0
        dx = xp.empty_like(grad)
        later = xp.zeros_like(grad[:1]).sum(axis=0)  # g_{i+1}·x_{i+1}
        for i in range(len(x) - 1, -1, -1):
            later = later + grad[i]
            dx[i] = later * y[i - 1] if i else later
            later = later * x[i]
        return xp.moveaxis(dx, 0, ctx.axis), None


class LogSumExp(Function):
    """``y = ln Σ exp x``: dx = dy · exp(x - y).

    With the maximum m, ``y = m + ln Σ exp(x - m)``, in which nothing overflows.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, axes: Axes, keepdim: bool) -> Array:
        xp = array_module(x)
        x = x if x.dtype.kind == "f" else x.astype(default_dtype())
        top = x.dtype.type(0)
        if _count(x.shape, axes):
            top = x.max(axis=axes, keepdims=True)
            top = xp.where(xp.isfinite(top), top, x.dtype.type(0))
        y = xp.log(xp.exp(x - top).sum(axis=axes, keepdims=True)) + top
        ctx.axes, ctx.keepdim = axes, keepdim
        y = y if keepdim else y.squeeze(axes)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        x, y = ctx.saved_tensors
        spread, top = (_spread(a, x.shape, ctx.axes, ctx.keepdim) for a in (grad, y))
        return spread * array_module(x).exp(x - top), None, None


def sum(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the sum over `dim` (default: all axes); integers and booleans are summed in int64."""
    if dtype is not None:
        return sum(input.to(dtype=dtype), dim, keepdim).to(dtype=dtype)
    return Sum.apply(input, axes_of("sum", dim, input.ndim), keepdim)


def nansum(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the sum over `dim` (default: all axes) with 0 for NaN, which gets no gradient."""
    return sum(where(input != input, 0, input), dim, keepdim, dtype=dtype)


def _floats(name: str, input: Tensor, dtype: Any = None) -> Tensor:
    """Return the tensor in `dtype`, if one is given; raise an error if it is not of floats."""
    if dtype is not None:
        input = input.to(dtype=dtype)
    if not input.is_floating_point():
        raise DTypeError(f"{name}: expected floats, got {input.dtype}; use .float() first")
    return input


def mean(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean over `dim` (default: all axes).

    Raises
    ------
    DTypeError
        The tensor is not of floats.
    """
    input = _floats("mean", input, dtype)
    return Mean.apply(input, axes_of("mean", dim, input.ndim), keepdim)


def var(
    input: Tensor,
    dim: Dim = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Return the variance over `dim`, divided by n - 1 (`unbiased`) or n - `correction`."""
    return _spread_of("var", Var.apply, input, dim, unbiased, keepdim, correction)


def _spread_of(
    name: str, apply: Any, input: Tensor, dim: Any, unbiased: bool, keepdim: bool, correction: Any
) -> Tensor:
    if isinstance(dim, bool):  # var(False), PyTorch's old form
        dim, unbiased = None, dim
    _floats(name, input)
    by = (1 if unbiased else 0) if correction is None else correction
    return apply(input, axes_of(name, dim, input.ndim), by, keepdim)


def std(
    input: Tensor,
    dim: Dim = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Return the square root of :func:`var`."""
    return _spread_of("std", Std.apply, input, dim, unbiased, keepdim, correction)


def var_mean(
    input: Tensor, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, **options: Any
) -> tuple[Tensor, Tensor]:
    """Return :func:`var` (with its `options`) and :func:`mean`."""
    axes = None if isinstance(dim, bool) else dim
    return var(input, dim, unbiased, keepdim, **options), mean(input, axes, keepdim)


def std_mean(
    input: Tensor, dim: Dim = None, unbiased: bool = True, keepdim: bool = False, **options: Any
) -> tuple[Tensor, Tensor]:
    """Return :func:`std` (with its `options`) and :func:`mean`."""
    axes = None if isinstance(dim, bool) else dim
    return std(input, dim, unbiased, keepdim, **options), mean(input, axes, keepdim)


def _extreme(name: str, largest: bool, input: Tensor, dim: Any, keepdim: bool) -> Any:
    if dim is None:
        return _over_all(name, largest, input, None, keepdim)
    if isinstance(dim, Tensor):
        return (maximum if largest else minimum)(input, dim)
    axis = axis_with_elements(name, dim, input)
    if input.ndim == 0:
        return ValuesAndIndices(input.clone(), input.new_zeros((), dtype=int64))
    return ValuesAndIndices(*Extreme.apply(input, axis, keepdim, largest))


def _over_all(name: str, largest: bool, input: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    axes = axes_of(name, dim, input.ndim)
    if _count(input.array.shape, axes) == 0:
        raise _without_elements(name, input)
    return ExtremeOverAll.apply(input, axes, keepdim, largest, name in ("max", "min"))


def axis_with_elements(name: str, dim: int, input: Tensor) -> int:
    """Return `dim` as an axis that is not empty, so that it has a largest element."""
    axis = one_axis(name, dim, input.ndim)
    if input.ndim and input.array.shape[axis] == 0:
        raise _without_elements(name, input)
    return axis


def _without_elements(name: str, input: Tensor) -> ShapeError:
    return NothingToChooseError(f"{name}: no elements to choose from in shape {tuple(input.shape)}")


def max(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the largest element; with `dim`, the largest along it and their first positions.

    Parameters
    ----------
    input : Tensor
    dim : int or Tensor, optional
        An axis; or another tensor, for the elementwise maximum.
    keepdim : bool
        Keep the reduced axis with length 1. Default False.

    Returns
    -------
    Tensor, or a pair (values, indices)
    """
    return _extreme("max", True, input, dim, keepdim)


def min(input: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """Return the smallest element; with `dim`, the smallest along it and their first positions."""
    return _extreme("min", False, input, dim, keepdim)


def amax(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return the largest elements over `dim`; equal ones share the gradient."""
    return _over_all("amax", True, input, dim, keepdim)


def amin(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return the smallest elements over `dim`; equal ones share the gradient."""
    return _over_all("amin", False, input, dim, keepdim)


@on_its_device
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the first position of the largest element along `dim`, or in the flattened tensor."""
    return _position("argmax", input, dim, keepdim)


@on_its_device
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Return the first position of the smallest element along `dim`, or in the flattened tensor."""
    return _position("argmin", input, dim, keepdim)


def _position(name: str, input: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    array = input.array
    find = getattr(array_module(array), name)
    if dim is None or array.ndim == 0:
        if array.size == 0:
            raise _without_elements(name, input)
        axes_of(name, dim, array.ndim)
        return Tensor(find(array).reshape((1,) * array.ndim if keepdim else ()))
    axis = axis_with_elements(name, dim, input)
    found = find(array, axis=axis)
    return Tensor(array_module(array).expand_dims(found, axis) if keepdim else found)


def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return the product along `dim`, or of all elements."""
    if dtype is not None:
        return prod(input.to(dtype=dtype), dim, keepdim).to(dtype=dtype)
    if dim is None and keepdim:
        raise DTypeError("prod: keepdim needs a dim")
    if dim is None or input.ndim == 0:
        axes_of("prod", dim, input.ndim)
        return Prod.apply(input.reshape(-1), 0, False)
    return Prod.apply(input, one_axis("prod", dim, input.ndim), keepdim)


def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the running sums along `dim`."""
    if dtype is not None:
        return cumsum(input.to(dtype=dtype), dim).to(dtype=dtype)
    if input.ndim == 0:
        return cumsum(input.clone().reshape(1), dim).reshape(())
    return Cumsum.apply(input, one_axis("cumsum", dim, input.ndim))


def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the running products along `dim`."""
    if dtype is not None:
        return cumprod(input.to(dtype=dtype), dim).to(dtype=dtype)
    if input.ndim == 0:
        return cumprod(input.clone().reshape(1), dim).reshape(())
    return Cumprod.apply(input, one_axis("cumprod", dim, input.ndim))


def logsumexp(input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    """Return ``log(sum(exp(input)))`` over `dim` without overflow."""
    if input.dtype == float16:  # in float32, differences of large numbers are not exact enough
        return logsumexp(input.to(float64), dim, keepdim).to(float16)
    return LogSumExp.apply(input, axes_of("logsumexp", dim, input.ndim), keepdim)


def norm(
    input: Tensor, p: Any = 2, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return the p-norm over `dim` (default: of all elements).

    Parameters
    ----------
    input : Tensor
    p : float or "fro"
        Default 2; ``math.inf`` is the largest magnitude, 0 the number of non-zero elements.
    dim, keepdim
        As for :func:`sum`.
    dtype : dtype, optional
        Convert `input` to it first.

    Raises
    ------
    DTypeError
        The tensor is not of floats.
    """
    input = _floats("norm", input, dtype)
    if input.dtype == float16:  # powers are large or small
        y = norm(input.to(float32), p, dim, keepdim)
        return y if is_cast(input) else y.to(float16)
    if p in ("fro", 2):
        return Root.apply((input * input).sum(dim, keepdim))
    if p in (math.inf, -math.inf):
        return (amax if p > 0 else amin)(input.abs(), dim, keepdim)
    if p == 0:
        return (input != 0).sum(dim, keepdim, dtype=input.dtype)
    total = (input.abs() ** p).sum(dim, keepdim)
    return total if p == 1 else total ** (1 / p)


@on_its_device
def all(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return whether every element (along `dim`) is non-zero; of uint8 in uint8, as PyTorch."""
    axes = axes_of("all", dim, input.ndim)
    found = array_module(input.array).all(input.array, axis=axes, keepdims=keepdim)
    return Tensor(found.astype(input.dtype if input.dtype == uint8 else bool_))


@on_its_device
def any(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return whether some element (along `dim`) is non-zero; of uint8 in uint8, as PyTorch."""
    axes = axes_of("any", dim, input.ndim)
    found = array_module(input.array).any(input.array, axis=axes, keepdims=keepdim)
    return Tensor(found.astype(input.dtype if input.dtype == uint8 else bool_))


def count_nonzero(input: Tensor, dim: Dim = None) -> Tensor:
    """Return the number of non-zero elements."""
    return (input != 0).sum(dim) if input.dtype != bool_ else input.sum(dim)
