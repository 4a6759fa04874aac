"""Operations that reduce axes to one number: sums, means, extremes, variances, norms.

With ``y = Σ x`` over some axes, every ``x`` has slope 1, so the gradient is ``dy`` repeated along
the reduced axes (:func:`_spread`); the others follow by the chain rule.
"""

from __future__ import annotations

import math
from collections import namedtuple
from typing import Any

from ..autograd import Context, Function
from ..device import Array, Shape, array_module, check_one_device, on_its_device
from ..errors import DTypeError, ShapeError
from ..tensor import Tensor, bool_, default_dtype, int64
from .arithmetic import maximum, minimum
from .axes import Dim, axes_of

__all__ = [
    "all", "allclose", "amax", "amin", "any", "argmax", "argmin", "count_nonzero", "cumprod",
    "cumsum", "equal", "isclose", "logsumexp", "max", "mean", "min", "norm", "prod",
    "std", "std_mean", "sum", "var", "var_mean",
]  # fmt: skip

ValuesAndIndices = namedtuple("ValuesAndIndices", ["values", "indices"])


def _spread(grad: Array, shape: Shape, axes: tuple[int, ...], keepdim: bool) -> Array:
    """Repeat `grad` along the reduced `axes`, as a read-only view."""
    if not keepdim:
        kept = tuple(1 if axis in axes else length for axis, length in enumerate(shape))
        grad = grad.reshape(kept)  # reduced axes come back with length 1
    return array_module(grad).broadcast_to(grad, shape)  # the shape before the reduction


def _count(shape: Shape, axes: tuple[int, ...]) -> int:
    return math.prod(shape[axis] for axis in axes)


class Sum(Function):
    """``Σ x``: dx = dy repeated."""

    @staticmethod
    def forward(ctx: Context, x: Array, axes: tuple[int, ...], keepdim: bool, dtype: Any) -> Array:
        ctx.shape, ctx.axes, ctx.keepdim = x.shape, axes, keepdim
        if dtype is None and x.dtype.kind != "f":
            dtype = int64
        return array_module(x).sum(x, axis=axes, keepdims=keepdim, dtype=dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return _spread(grad, ctx.shape, ctx.axes, ctx.keepdim), None, None, None


class Mean(Function):
    """``Σ x / n``: dx = dy/n repeated."""

    @staticmethod
    def forward(ctx: Context, x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
        ctx.shape, ctx.axes, ctx.keepdim = x.shape, axes, keepdim
        return array_module(x).sum(x, axis=axes, keepdims=keepdim) / _count(x.shape, axes)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        scaled = grad / _count(ctx.shape, ctx.axes)
        return _spread(scaled, ctx.shape, ctx.axes, ctx.keepdim), None, None


class Centered(Function):
    """``x - mean``, which :class:`Var` saves: dx = dy - mean(dy)."""

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return grad - grad.mean(axis=ctx.axes, keepdims=True), None, None, None


class Var(Function):
    """``v = Σ (x - mean)² / (n - correction)``: dx = dv · 2 (x - mean) / (n - correction)."""

    intermediates = Centered

    @staticmethod
    def forward(
        ctx: Context, x: Array, axes: tuple[int, ...], correction: float, keepdim: bool
    ) -> Array:
        ctx.axes, ctx.keepdim, ctx.shape = axes, keepdim, x.shape
        count = _count(x.shape, axes)
        ctx.divisor = count - correction if count > correction else 0
        centered = x - x.sum(axis=axes, keepdims=True) / count
        ctx.save_for_backward(centered)
        return (centered * centered).sum(axis=axes, keepdims=keepdim) / ctx.divisor

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (centered,) = ctx.saved_tensors
        spread = _spread(grad, ctx.shape, ctx.axes, ctx.keepdim)
        return spread * centered * 2 / ctx.divisor, None, None, None


class Root(Function):
    """``y = √x`` of a sum of squares: dx = dy/(2y), and 0 where y = 0, its minimum."""

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
    """The largest or smallest element over axes: equal extremes share the gradient evenly."""

    @staticmethod
    def forward(
        ctx: Context, x: Array, axes: tuple[int, ...], keepdim: bool, largest: bool
    ) -> Array:
        xp = array_module(x)
        kept = (xp.max if largest else xp.min)(x, axis=axes, keepdims=True)
        ctx.axes, ctx.keepdim = axes, keepdim
        ctx.save_for_backward(x, kept)
        return kept if keepdim else kept.squeeze(axes)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        x, kept = ctx.saved_tensors
        hit = x == kept
        share = _spread(grad, x.shape, ctx.axes, ctx.keepdim)
        hits = hit.sum(axis=ctx.axes, keepdims=True).astype(grad.dtype)
        return share * hit / hits, None, None, None


class Prod(Function):
    """``Π x``: dx_i = dy · Π_{j≠i} x_j, from the products before and after i (zeros are exact)."""

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int, keepdim: bool) -> Array:
        ctx.save_for_backward(x)
        ctx.axis, ctx.keepdim = axis, keepdim
        return array_module(x).prod(x, axis=axis, keepdims=keepdim)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x,) = ctx.saved_tensors
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

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int) -> Array:
        ctx.axis = axis
        return array_module(x).cumsum(x, axis=axis, dtype=None if x.dtype.kind == "f" else int64)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        xp = array_module(grad)
        return xp.flip(xp.cumsum(xp.flip(grad, ctx.axis), axis=ctx.axis), ctx.axis), None


class Cumprod(Function):
    """``y_i = y_{i-1}·x_i``: with g_i = dy_i + g_{i+1}·x_{i+1} from the end, dx_i = g_i·y_{i-1}."""

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int) -> Array:
        y = array_module(x).cumprod(x, axis=axis, dtype=None if x.dtype.kind == "f" else int64)
        ctx.save_for_backward(x, y)
        ctx.axis = axis
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        xp = array_module(grad)
        x, y, grad = (xp.moveaxis(array, ctx.axis, 0) for array in (*ctx.saved_tensors, grad))
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
    def forward(ctx: Context, x: Array, axes: tuple[int, ...], keepdim: bool) -> Array:
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
    return Sum.apply(input, axes_of("sum", dim, input.ndim), keepdim, dtype)


def mean(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Return the mean over `dim` (default: all axes).

    Raises
    ------
    DTypeError
        The tensor is not of floats.
    """
    if dtype is not None:
        input = input.to(dtype=dtype)
    if not input.is_floating_point():
        raise DTypeError(f"mean: expected floats, got {input.dtype}; use .float() first")
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
    if isinstance(dim, bool):  # var(False), PyTorch's old form
        return var(input, None, dim, keepdim)
    by = (1 if unbiased else 0) if correction is None else correction
    return Var.apply(input, axes_of("var", dim, input.ndim), by, keepdim)


def std(
    input: Tensor,
    dim: Dim = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """Return the square root of :func:`var`."""
    return Root.apply(var(input, dim, unbiased, keepdim, correction=correction))


def var_mean(input: Tensor, dim: Dim = None, **options: Any) -> tuple[Tensor, Tensor]:
    """Return :func:`var` (with its `options`) and :func:`mean`."""
    axes = None if isinstance(dim, bool) else dim
    return var(input, dim, **options), mean(input, axes, options.get("keepdim", False))


def std_mean(input: Tensor, dim: Dim = None, **options: Any) -> tuple[Tensor, Tensor]:
    """Return :func:`std` (with its `options`) and :func:`mean`."""
    axes = None if isinstance(dim, bool) else dim
    return std(input, dim, **options), mean(input, axes, options.get("keepdim", False))


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
    return ExtremeOverAll.apply(input, axes, keepdim, largest)


def axis_with_elements(name: str, dim: int, input: Tensor) -> int:
    """Return `dim` as an axis that is not empty, so that it has a largest element."""
    (axis,) = axes_of(name, dim, input.ndim) or (0,)
    if input.ndim and input.array.shape[axis] == 0:
        raise _without_elements(name, input)
    return axis


def _without_elements(name: str, input: Tensor) -> ShapeError:
    return ShapeError(f"{name}: no elements to choose from in shape {tuple(input.shape)}")


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
        return Tensor(find(array).reshape((1,) * array.ndim if keepdim else ()))
    axis = axis_with_elements(name, dim, input)
    found = find(array, axis=axis)
    return Tensor(array_module(array).expand_dims(found, axis) if keepdim else found)


def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """Return the product along `dim`, or of all elements."""
    if dtype is not None:
        input = input.to(dtype=dtype)
    if dim is None or input.ndim == 0:
        return Prod.apply(input.reshape(-1), 0, False)
    return Prod.apply(input, *axes_of("prod", dim, input.ndim), keepdim)


def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the running sums along `dim`."""
    if dtype is not None:
        input = input.to(dtype=dtype)
    if input.ndim == 0:
        return input.clone()
    return Cumsum.apply(input, *axes_of("cumsum", dim, input.ndim))


def cumprod(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Return the running products along `dim`."""
    if dtype is not None:
        input = input.to(dtype=dtype)
    if input.ndim == 0:
        return input.clone()
    return Cumprod.apply(input, *axes_of("cumprod", dim, input.ndim))


def logsumexp(input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    """Return ``log(sum(exp(input)))`` over `dim` without overflow."""
    return LogSumExp.apply(input, axes_of("logsumexp", dim, input.ndim), keepdim)


def norm(input: Tensor, p: Any = 2, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return the p-norm over `dim` (default: of all elements).

    Parameters
    ----------
    input : Tensor
    p : float or "fro"
        Default 2; ``math.inf`` is the largest magnitude, 0 the number of non-zero elements.
    dim, keepdim
        As for :func:`sum`.
    """
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
    """Return whether every element (along `dim`) is non-zero."""
    axes = axes_of("all", dim, input.ndim)
    return Tensor(array_module(input.array).all(input.array, axis=axes, keepdims=keepdim))


@on_its_device
def any(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Return whether some element (along `dim`) is non-zero."""
    axes = axes_of("any", dim, input.ndim)
    return Tensor(array_module(input.array).any(input.array, axis=axes, keepdims=keepdim))


def count_nonzero(input: Tensor, dim: Dim = None) -> Tensor:
    """Return the number of non-zero elements."""
    return (input != 0).sum(dim) if input.dtype != bool_ else input.sum(dim)


@on_its_device
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Return whether ``|input - other| <= atol + rtol·|other|`` everywhere."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


@on_its_device
def equal(input: Tensor, other: Tensor) -> bool:
    """Return whether both have the same shape and elements."""
    check_one_device("equal", input=input.array, other=other.array)
    return input.shape == other.shape and bool((input.array == other.array).all())


@on_its_device
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Return where ``|input - other| <= atol + rtol·|other|``."""
    check_one_device("isclose", input=input.array, other=other.array)
    xp = array_module(input.array)
    return Tensor(xp.isclose(input.array, other.array, rtol, atol, equal_nan))
