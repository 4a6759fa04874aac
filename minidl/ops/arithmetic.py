"""Arithmetic on two tensors, element by element, with broadcasting.

For ``y = f(a, b)`` the gradient is ``da = dy · ∂f/∂a``, summed over the axes along which a was
repeated (:func:`~minidl.ops.operands.unbroadcast`).
"""

from __future__ import annotations

import math
from typing import Any

from ..autograd import Context, Function
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError
from ..tensor import Tensor, bool_, default_dtype
from .operands import binary, meet, operands, shape_of, unary, unbroadcast, without_gradient

__all__ = [
    "add", "addcdiv", "addcmul", "div", "floor_divide", "fmod", "lerp", "maximum", "minimum",
    "mul", "pow", "remainder", "sub",
]  # fmt: skip


class Add(Function):
    """``a + b``: da = dy, db = dy."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        a, b = meet(a, b)
        return binary("add", "add", a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_a, need_b = ctx.needs_input_grad
        return (
            unbroadcast(grad, ctx.a_shape) if need_a else None,
            unbroadcast(grad, ctx.b_shape) if need_b else None,
        )


class Sub(Function):
    """``a - b``: da = dy, db = -dy."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        a, b = meet(a, b)
        if getattr(a, "dtype", getattr(b, "dtype", None)) == bool_:
            raise DTypeError("sub: bool tensors can't be subtracted; use logical_xor or ~")
        return binary("sub", "subtract", a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_a, need_b = ctx.needs_input_grad
        return (
            unbroadcast(grad, ctx.a_shape) if need_a else None,
            unbroadcast(-grad, ctx.b_shape) if need_b else None,
        )


class Mul(Function):
    """``a · b``: da = dy·b, db = dy·a."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        need_a, need_b = ctx.needs_input_grad
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        ctx.save_for_backward(a if need_b else None, b if need_a else None)
        a, b = meet(a, b)
        return binary("mul", "multiply", a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_a, need_b = ctx.needs_input_grad
        a, b = ctx.saved_tensors
        return (
            unbroadcast(grad * b, ctx.a_shape) if need_a else None,
            unbroadcast(grad * a, ctx.b_shape) if need_b else None,
        )


class Div(Function):
    """``y = a / b``: da = dy/b, db = -dy·a/b²."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        ctx.save_for_backward(a if ctx.needs_input_grad[1] else None, b)
        a, b = meet(a, b)
        dtype = a.dtype if hasattr(a, "dtype") else b.dtype
        if dtype.kind != "f":  # the quotient of integers is a float32, not NumPy's float64
            a = a.astype(default_dtype()) if hasattr(a, "dtype") else a
            b = b.astype(default_dtype()) if hasattr(b, "dtype") else b
        return binary("div", "divide", a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_a, need_b = ctx.needs_input_grad
        a, b = ctx.saved_tensors
        return (
            unbroadcast(grad / b, ctx.a_shape) if need_a else None,
            unbroadcast(-grad * a / (b * b), ctx.b_shape) if need_b else None,
        )


#: Powers with a ufunc of their own, which is much faster than the general one.
_QUICK_POWERS = {2: "square", 0.5: "sqrt", -1: "reciprocal"}


class Pow(Function):
    """``y = a^b``: da = dy·b·a^(b-1), db = dy·y·ln a (0 where a = 0)."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        a, b = meet(a, b)
        dtype = a.dtype if hasattr(a, "dtype") else b.dtype
        if dtype.kind == "i" and (b < 0 if isinstance(b, int) else bool((b < 0).any())):
            raise ArgumentError("pow: integers can't be raised to negative powers; use float()")
        if isinstance(b, (int, float)) and b in _QUICK_POWERS and a.dtype.kind == "f":
            y = unary(_QUICK_POWERS[b], a)
        else:
            y = binary("pow", "power", a, b)
        ctx.save_for_backward(a, b, y if ctx.needs_input_grad[1] else None)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_a, need_b = ctx.needs_input_grad
        a, b, y = ctx.saved_tensors
        xp = array_module(grad)
        zero = grad.dtype.type(0)
        da = db = None
        if need_a:
            # b = 0 has slope 0 everywhere, also where a^(b-1) is infinite
            if hasattr(b, "dtype"):
                slope = xp.where(b == 0, zero, b * a ** (b - 1))
            else:
                slope = b * a ** (b - 1) if b else xp.zeros_like(a)
            da = unbroadcast(grad * slope, ctx.a_shape)
        if need_b:
            if hasattr(a, "dtype"):
                log: Any = xp.where(a == 0, zero, xp.log(a))
            else:  # a Python number
                log = 0.0 if a == 0 else math.log(a) if a > 0 else math.nan
            db = unbroadcast(grad * y * log, ctx.b_shape)
        return da, db


class Maximum(Function):
    """``max(a, b)``: the gradient goes to the larger, half to each where both are equal."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        a, b = meet(a, b)
        ctx.save_for_backward(a, b)
        return binary("maximum", "maximum", a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        a, b = ctx.saved_tensors
        return _split_by(grad, a > b, a == b, ctx)


class Minimum(Function):
    """``min(a, b)``: the gradient goes to the smaller, half to each where both are equal."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        a, b = meet(a, b)
        ctx.save_for_backward(a, b)
        return binary("minimum", "minimum", a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        a, b = ctx.saved_tensors
        return _split_by(grad, a < b, a == b, ctx)


def _split_by(grad: Array, first: Array, both: Array, ctx: Context) -> Any:
    """Give `grad` to the first operand where `first`, half to each where `both`."""
    need_a, need_b = ctx.needs_input_grad
    to_a = first.astype(grad.dtype) + both * grad.dtype.type(0.5)
    return (
        unbroadcast(grad * to_a, ctx.a_shape) if need_a else None,
        unbroadcast(grad * (1 - to_a), ctx.b_shape) if need_b else None,
    )


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return ``input + alpha * other``."""
    a, b = operands("add", input, other)
    return Add.apply(a, b if alpha == 1 else b * alpha)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return ``input - alpha * other``."""
    a, b = operands("sub", input, other)
    return Sub.apply(a, b if alpha == 1 else b * alpha)


def mul(input: Any, other: Any) -> Tensor:
    """Return ``input * other``."""
    return Mul.apply(*operands("mul", input, other))


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """Return ``input / other``; integers give float32.

    Parameters
    ----------
    input, other : Tensor or number
    rounding_mode : "floor" or "trunc", optional
        Round the quotients down or towards 0; integers then stay integers.

    Raises
    ------
    ArgumentError
        `rounding_mode` is another one.
    """
    if rounding_mode == "floor":
        return floor_divide(input, other)
    quotient = Div.apply(*operands("div", input, other))
    if rounding_mode is None:
        return quotient
    if rounding_mode != "trunc":
        raise ArgumentError(f"div: rounding_mode is 'floor' or 'trunc', not {rounding_mode!r}")
    dtype = meet(*(v.array if isinstance(v, Tensor) else v for v in (input, other)))[0].dtype
    return quotient.trunc().to(dtype=dtype)


def pow(input: Any, exponent: Any) -> Tensor:
    """Return ``input ** exponent``."""
    return Pow.apply(*operands("pow", input, exponent))


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """Return the larger of two tensors, element by element."""
    return Maximum.apply(*operands("maximum", input, other))


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """Return the smaller of two tensors, element by element."""
    return Minimum.apply(*operands("minimum", input, other))


def floor_divide(input: Any, other: Any) -> Tensor:
    """Return the largest integers not above ``input / other``; no gradient."""
    return without_gradient("floor_divide", "floor_divide", input, other)


class Remainder(Function):
    """``a - b·⌊a/b⌋`` (fmod: truncated instead): da = dy, db = -dy·⌊a/b⌋."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any, name: str) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        a, b = meet(a, b)
        y = binary(name, name, a, b)
        ctx.save_for_backward(*((a, b, y) if ctx.needs_input_grad[1] else ()))
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_a, need_b, _ = ctx.needs_input_grad
        db = None
        if need_b:
            a, b, y = ctx.saved_tensors
            db = unbroadcast(grad * ((y - a) / b), ctx.b_shape)
        return unbroadcast(grad, ctx.a_shape) if need_a else None, db, None


def remainder(input: Any, other: Any) -> Tensor:
    """Return ``input`` modulo ``other``, with the sign of `other`."""
    return Remainder.apply(*operands("remainder", input, other), "remainder")


def fmod(input: Any, other: Any) -> Tensor:
    """Return the remainder of ``input / other``, with the sign of `input`."""
    return Remainder.apply(*operands("fmod", input, other), "fmod")


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """Return ``input + weight * (end - input)``."""
    return input + weight * (end - input)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """Return ``input + value * tensor1 * tensor2``."""
    return input + (tensor1 if value == 1 else value * tensor1) * tensor2


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """Return ``input + value * tensor1 / tensor2``."""
    return input + (tensor1 if value == 1 else value * tensor1) / tensor2
