"""Arithmetic on two tensors, element by element, with broadcasting.

For ``y = f(a, b)`` the gradient is ``da = dy · ∂f/∂a``, summed over the axes along which a was
repeated (:func:`~minidl.ops.operands.unbroadcast`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..device import Array, Shape, array_module
from ..errors import ArgumentError, DTypeError, NumberError
from ..tensor import Tensor, bool_, default_dtype, float16, float32
from .comparison import where
from .operands import (
    arrays_of,
    binary,
    meet,
    meet_exactly,
    operands,
    shape_of,
    unary,
    unbroadcast,
    without_gradient,
)  # fmt: skip
from .precision import wide_in_between, widened

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
        if bool_ in (getattr(a, "dtype", type(a)), getattr(b, "dtype", type(b))):
            raise DTypeError("sub: booleans can't be subtracted; use logical_xor or ~")
        a, b = meet(a, b)
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
            _share(grad, b, ctx.a_shape) if need_a else None,
            _share(grad, a, ctx.b_shape) if need_b else None,
        )


def _share(grad: Array, factor: Any, shape: Shape) -> Array:
    """Return the gradient of an operand: ``grad * factor``, added up to its shape.

    Of float16, products that are added up stay wide, and a Python number may be too large for it.
    """
    if grad.dtype == float16 and (grad.shape != shape or not hasattr(factor, "dtype")):
        grad = grad.astype(float32)
    return unbroadcast(grad * factor, shape)


class Div(Function):
    """``y = a / b``: da = dy/b, db = -dy·a/b²."""

    @staticmethod
    def autocast(args: Any) -> str | None:
        """Reciprocals are float32."""
        return None if isinstance(args[0], Tensor) else "float32"

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        ctx.save_for_backward(a if ctx.needs_input_grad[1] else None, b)
        c, d = meet(a, b)
        if (c.dtype if hasattr(c, "dtype") else d.dtype).kind != "f":
            # the quotient of integers is a float32, not NumPy's float64
            c, d = (v.astype(default_dtype()) if hasattr(v, "dtype") else v for v in (a, b))
        return binary("div", "divide", c, d)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_a, need_b = ctx.needs_input_grad
        a, b = ctx.saved_tensors
        grad, a, b = widened(grad, a, b)  # a/b² may be too large for float16
        return (
            unbroadcast(grad / b, ctx.a_shape) if need_a else None,
            unbroadcast(-grad * (a / b / b), ctx.b_shape) if need_b else None,
        )


#: Powers with a ufunc of their own, which is much faster than the general one.
_QUICK_POWERS = {2: "square", 0.5: "sqrt", -1: "reciprocal"}


class Pow(Function):
    """``y = a^b``: da = dy·b·a^(b-1), db = dy·y·ln a (0 where a = 0 and b ≥ 0)."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        a, b = meet(a, b)
        dtype = a.dtype if hasattr(a, "dtype") else b.dtype
        if dtype.kind in "iu" and not hasattr(b, "dtype") and b < 0:
            raise NumberError("pow: integers can't be raised to negative powers; use float()")
        if dtype == bool_ or (dtype.kind == "i" and hasattr(b, "dtype")):
            return _integer_power(a, b, dtype)
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
        if grad.dtype == float16:  # a power may be too large or small for it
            grad, a, b = widened(grad, a, b)
            y = a**b if need_b else None
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
                log: Any = xp.log(a)
            else:  # a Python number
                log = -math.inf if a == 0 else math.log(a) if a > 0 else math.nan
            constant = (a == 0) & (b >= 0)
            db = unbroadcast(xp.where(constant, zero, grad * y * log), ctx.b_shape)
        return da, db


def _integer_power(a: Any, b: Any, dtype: np.dtype) -> Array:
    """Return ``a**b`` of integers; a negative power of another number than 1 and -1 is 0."""
    if dtype == bool_:
        return binary("pow", "less_equal", b, a)
    xp = array_module(b)
    y = binary("pow", "power", a, xp.where(b < 0, b & 1, b))  # (-1)**-3 is (-1)**1
    units = abs(a) == 1 if hasattr(a, "dtype") else dtype.type(abs(a) == 1)
    return xp.where(b < 0, y * units, y)


class Maximum(Function):
    """``max(a, b)``: the gradient goes to the larger, half to each where both are equal."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        a, b = meet_exactly("maximum", a, b)
        ctx.save_for_backward(a, b)
        return binary("maximum", "maximum", a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        a, b = ctx.saved_tensors
        return _split_by(grad, a < b, a > b, a == b, ctx)


class Minimum(Function):
    """``min(a, b)``: the gradient goes to the smaller, half to each where both are equal."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        a, b = meet_exactly("minimum", a, b)
        ctx.save_for_backward(a, b)
        return binary("minimum", "minimum", a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        a, b = ctx.saved_tensors
        return _split_by(grad, a > b, a < b, a == b, ctx)


def _split_by(grad: Array, not_a: Array, not_b: Array, equal: Array, ctx: Context) -> Any:
    """Give `grad` to each operand but where it lost, half to each where they are `equal`."""
    need_a, need_b = ctx.needs_input_grad
    half = equal * grad.dtype.type(0.5)  # NaN neither loses nor equals: both get all, as in PyTorch
    return (
        unbroadcast(grad * (1 - not_a - half), ctx.a_shape) if need_a else None,
        unbroadcast(grad * (1 - not_b - half), ctx.b_shape) if need_b else None,
    )


def add(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return ``input + alpha * other``."""
    a, b = operands("add", input, other)
    return Add.apply(a, b) if alpha == 1 else _with_scaled(Add, "add", a, b, alpha)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return ``input - alpha * other``."""
    a, b = operands("sub", input, other)
    return Sub.apply(a, b) if alpha == 1 else _with_scaled(Sub, "sub", a, b, alpha)


@wide_in_between
def _with_scaled(function: Any, name: str, a: Any, b: Any, alpha: Any) -> Tensor:
    """Return the sum or difference of a and ``b * alpha``."""
    dtype = _dtype_of(a, b)
    if isinstance(alpha, float) and dtype.kind != "f":
        raise DTypeError(f"{name}: alpha={alpha} needs floats; the tensors are of integers")
    if isinstance(b, Tensor):
        b = b.to(dtype=dtype)
    return function.apply(a, b * (bool(alpha) if dtype == bool_ else alpha))


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
    if rounding_mode is None:
        return Div.apply(*operands("div", input, other))
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode != "trunc":
        raise ArgumentError(f"div: rounding_mode is 'floor' or 'trunc', not {rounding_mode!r}")
    a, b = operands("div", input, other)
    if _dtype_of(a, b).kind == "f":
        return Div.apply(a, b).trunc()
    floor = floor_divide(a, b)
    return floor + ((floor < 0) & (floor * b != a)).to(dtype=floor.dtype)


def pow(input: Any, exponent: Any) -> Tensor:
    """Return ``input ** exponent``."""
    return Pow.apply(*operands("pow", input, exponent))


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """Return the larger of two tensors, element by element."""
    return Maximum.apply(*operands("maximum", input, other))


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """Return the smaller of two tensors, element by element."""
    return Minimum.apply(*operands("minimum", input, other))


def _dtype_of(a: Any, b: Any) -> np.dtype:
    """Return the dtype in which two operands meet."""
    arrays = meet(*(v.array if isinstance(v, Tensor) else v for v in (a, b)))
    return next(v.dtype for v in arrays if hasattr(v, "dtype"))


def _check_divisor(name: str, a: Any, b: Any) -> None:
    """Raise an error if integers are divided by 0; those on a GPU are not looked at."""
    dtype = a.dtype if hasattr(a, "dtype") else b.dtype
    if dtype.kind == "f":
        return
    if dtype == bool_:
        raise DTypeError(f"{name}: expected numbers, got bool")
    zero = not b.all() if isinstance(b, np.ndarray) else not hasattr(b, "dtype") and b == 0
    if zero and getattr(a, "size", 1):
        raise NumberError(f"{name}: an integer is divided by 0")


def floor_divide(input: Any, other: Any) -> Tensor:
    """Return the largest integers not above ``input / other``; no gradient.

    Raises
    ------
    NumberError
        Integers are divided by 0. Those on a GPU are not looked at.
    """
    _check_divisor("floor_divide", *arrays_of("floor_divide", input, other))
    return without_gradient("floor_divide", "floor_divide", input, other)


class Remainder(Function):
    """``a - b·⌊a/b⌋`` (fmod: truncated instead): da = dy, db = -dy·⌊a/b⌋."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any, name: str) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        a, b = meet(a, b)
        _check_divisor(name, a, b)
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


@wide_in_between
def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """Return ``input + weight * (end - input)``, from the end that is nearer: both are exact."""
    span = end - input
    if isinstance(weight, Tensor):
        return where(abs(weight) < 0.5, input + weight * span, end - span * (1 - weight))
    return input + weight * span if abs(weight) < 0.5 else end - span * (1 - weight)


@wide_in_between
def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """Return ``input + value * tensor1 * tensor2``."""
    return input + (tensor1 if value == 1 else value * tensor1) * tensor2


@wide_in_between
def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """Return ``input + value * tensor1 / tensor2``."""
    return input + (tensor1 if value == 1 else value * tensor1) / tensor2
