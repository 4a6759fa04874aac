"""Functions of one number, applied to each element: dx = dy · f'(x)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..autograd.precision import is_cast
from ..conversion import fitting
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor, as_tensor, bool_, default_dtype, float16, float32, int64
from .comparison import gt, isnan, logical_or, lt, only_where, where
from .operands import floating, unary
from .precision import rounded, widened

__all__ = [
    "abs", "ceil", "clamp", "clamp_max", "clamp_min", "clip", "cos", "cosh", "exp", "expm1",
    "floor", "log", "log1p", "log2", "log10", "neg", "reciprocal", "round", "rsqrt", "sign", "sin",
    "sinh", "sqrt", "square", "trunc",
]  # fmt: skip


class Neg(Function):
    """``-x``: dx = -dy."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        if x.dtype == bool_:
            raise DTypeError("neg: bool tensors have no negative; use logical_not or ~")
        return unary("negative", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return -grad


class Abs(Function):
    """``|x|``: dx = dy·sign(x), 0 at 0."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.save_for_backward(x)
        return unary("abs", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (x,) = ctx.saved_tensors
        return grad * _sign(x)


def _sign(x: Array) -> Array:
    """Return -1, 0 or 1; of NaN 0, as PyTorch."""
    if x.dtype.kind != "f":
        return x if x.dtype == bool_ else array_module(x).sign(x)
    xp, zero = array_module(x), x.dtype.type(0)
    return xp.where(xp.isnan(x), zero, xp.sign(x))


class Exp(Function):
    """``y = exp(x)``: dx = dy·y."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        x = floating(x)
        y = unary("exp", *widened(x))
        ctx.save_for_backward(y)  # before it is rounded to float16, where it may be 0
        return rounded(y, x.dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        return grad * y


Exp.intermediates = Exp


class Log(Function):
    """The logarithm of base B (e, 2 or 10): dx = dy/(x·ln B)."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array, base: float) -> Array:
        x = floating(x)
        ctx.save_for_backward(x)
        ctx.slope = 1.0 if base == math.e else 1 / math.log(base)
        return unary("log" if base == math.e else f"log{base}", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (grad,), (x,) = widened(grad), ctx.saved_tensors
        return grad * ctx.slope / x, None


class Expm1(Function):
    """``y = exp(x) - 1``: dx = dy·(y + 1)."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        x = floating(x)
        y = unary("expm1", *widened(x))
        ctx.save_for_backward(y)  # before it is rounded to float16, where y + 1 may be 0
        return rounded(y, x.dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        return grad * (y + 1)


Expm1.intermediates = Expm1


class Log1p(Function):
    """``ln(1 + x)``: dx = dy/(1 + x)."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        x = floating(x)
        ctx.save_for_backward(x)
        return unary("log1p", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        x, grad = widened(*ctx.saved_tensors, grad)
        return grad / (1 + x)


class Sqrt(Function):
    """``y = √x``: dx = dy/(2y)."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = unary("sqrt", floating(x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (grad,), (y,) = widened(grad), ctx.saved_tensors
        return grad / (2 * y)


class Sin(Function):
    """``sin x``: dx = dy·cos x."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        x = floating(x)
        ctx.save_for_backward(x)
        return unary("sin", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (x,) = widened(*ctx.saved_tensors)
        return grad * array_module(x).cos(x)


class Sinh(Function):
    """``sinh x``: dx = dy·cosh x (cosh: dx = dy·sinh x)."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array, name: str, slope: str) -> Array:
        x = floating(x)
        ctx.slope = slope
        ctx.save_for_backward(x)
        return unary(name, x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x,) = widened(*ctx.saved_tensors)  # the slope may be too large for float16
        return grad * getattr(array_module(x), ctx.slope)(x), None, None


class Cos(Function):
    """``cos x``: dx = -dy·sin x."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        x = floating(x)
        ctx.save_for_backward(x)
        return unary("cos", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (x,) = widened(*ctx.saved_tensors)
        return -grad * array_module(x).sin(x)


class Clamp(Function):
    """``min(max(x, low), high)``: dx = dy where low ≤ x ≤ high, else 0."""

    @staticmethod
    def forward(ctx: Context, x: Array, low: Any, high: Any) -> Array:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        if x.dtype.kind != "f" and (isinstance(low, float) or isinstance(high, float)):
            x = x.astype(default_dtype())
        elif x.dtype == bool_ and not (isinstance(low, bool) or isinstance(high, bool)):
            x = x.astype(int64)
        low, high = (v if v is None else fitting("clamp", v, x.dtype).item() for v in (low, high))
        return array_module(x).clip(x, low, high)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x,) = ctx.saved_tensors
        inside: Any = True
        if ctx.low is not None:
            inside = inside & (x >= ctx.low)
        if ctx.high is not None:
            inside = inside & (x <= ctx.high)
        return only_where(inside, grad), None, None


class Step(Function):
    """A function that is constant between its jumps (sign, floor, ...): dx = 0."""

    @staticmethod
    def forward(ctx: Context, x: Array, name: str) -> Array:
        return _sign(x) if name == "sign" else unary(name, x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return array_module(grad).zeros_like(grad), None


def neg(input: Tensor) -> Tensor:
    """Return ``-input``."""
    return Neg.apply(input)


def abs(input: Tensor) -> Tensor:
    """Return the absolute values."""
    return Abs.apply(input)


def exp(input: Tensor) -> Tensor:
    """Return the exponentials."""
    return Exp.apply(input)


def log(input: Tensor) -> Tensor:
    """Return the natural logarithms."""
    return Log.apply(input, math.e)


def log2(input: Tensor) -> Tensor:
    """Return the logarithms of base 2."""
    return Log.apply(input, 2)


def log10(input: Tensor) -> Tensor:
    """Return the logarithms of base 10."""
    return Log.apply(input, 10)


def expm1(input: Tensor) -> Tensor:
    """Return ``exp(input) - 1``, exact for small values."""
    return Expm1.apply(input)


def log1p(input: Tensor) -> Tensor:
    """Return ``log(1 + input)``, exact for small values."""
    return Log1p.apply(input)


def sqrt(input: Tensor) -> Tensor:
    """Return the square roots."""
    return Sqrt.apply(input)


def rsqrt(input: Tensor) -> Tensor:
    """Return ``1 / sqrt(input)``."""
    if input.dtype == float16:
        y = 1.0 / sqrt(input.to(float32))
        return y if is_cast(input) else y.to(float16)
    return 1.0 / sqrt(input)


def square(input: Tensor) -> Tensor:
    """Return the squares."""
    return input * input if input.dtype != bool_ else input * 1


def reciprocal(input: Tensor) -> Tensor:
    """Return ``1 / input``."""
    return 1.0 / input


def sin(input: Tensor) -> Tensor:
    """Return the sines (of radians)."""
    return Sin.apply(input)


def sinh(input: Tensor) -> Tensor:
    """Return the hyperbolic sines."""
    return Sinh.apply(input, "sinh", "cosh")


def cosh(input: Tensor) -> Tensor:
    """Return the hyperbolic cosines."""
    return Sinh.apply(input, "cosh", "sinh")


def cos(input: Tensor) -> Tensor:
    """Return the cosines (of radians)."""
    return Cos.apply(input)


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """Limit every element to [min, max].

    Parameters
    ----------
    input : Tensor
    min, max : number or Tensor, optional
        At least one of them.

    Raises
    ------
    ArgumentError
        Neither bound is given.
    """
    if min is None and max is None:
        raise ArgumentError("clamp: give min, max or both")
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        raised = input if min is None else _bounded(input, as_tensor(min), lt)
        return raised if max is None else _bounded(raised, as_tensor(max), gt)
    low, high = (v.item() if isinstance(v, np.generic) else v for v in (min, max))
    return Clamp.apply(input, low, high)


clip = clamp


def _bounded(x: Tensor, bound: Tensor, is_beyond: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return `x`, or the bound where x is beyond it (or the bound NaN): the gradient follows."""
    return where(logical_or(is_beyond(x, bound), isnan(bound)), bound, x)


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Raise every element to at least `min`."""
    return clamp(input, min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Lower every element to at most `max`."""
    return clamp(input, None, max)


def sign(input: Tensor) -> Tensor:
    """Return -1, 0 or 1; its gradient is 0."""
    return Step.apply(input, "sign")


def floor(input: Tensor) -> Tensor:
    """Return the largest integers not above the elements; its gradient is 0."""
    return Step.apply(input, "floor")


def ceil(input: Tensor) -> Tensor:
    """Return the smallest integers not below the elements; its gradient is 0."""
    return Step.apply(input, "ceil")


def trunc(input: Tensor) -> Tensor:
    """Return the elements without their fractions; its gradient is 0."""
    return Step.apply(input, "trunc")


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """Return the elements rounded, halves to even; its gradient is 0."""
    if decimals == 0:
        return Step.apply(input, "rint") if input.is_floating_point() else input.clone()
    return round(input * 10**decimals) / 10**decimals
