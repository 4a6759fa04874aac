"""Operations that act on each element by itself, with NumPy's broadcasting.

For ``y = f(a, b)`` elementwise the gradient is ``da = dy · ∂f/∂a``; where an argument was
broadcast, its gradient is summed over the axes along which it was repeated (:func:`unbroadcast`),
because each of its elements was used once for every repetition.

Types follow PyTorch: a Python number never changes a tensor's dtype (but makes a float32 of an
integer tensor if it is a float), a tensor without axes neither, and of two kinds the float wins.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..device import (
    Array,
    Shape,
    active,
    array_module,
    check_one_device,
    device_of,
    on_its_device,
)  # fmt: skip
from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels.cpu import apply_ufunc
from ..tensor import DEFAULT_DTYPE, Tensor, as_tensor, bool_

__all__ = [
    "abs", "add", "addcdiv", "addcmul", "bitwise_and", "bitwise_or", "bitwise_xor", "ceil",
    "clamp", "clamp_max", "clamp_min", "clip", "cos", "div", "eq", "exp", "expm1", "floor",
    "floor_divide", "fmod", "ge", "gt", "isfinite", "isinf", "isnan", "le", "lerp", "log",
    "log1p", "log2", "log10", "logical_and", "logical_not", "logical_or", "logical_xor", "lt",
    "masked_fill", "maximum", "minimum", "mul", "ne", "neg", "pow", "reciprocal", "remainder",
    "round", "rsqrt", "sign", "sin", "sqrt", "square", "sub", "trunc", "where",
]  # fmt: skip

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def unbroadcast(grad: Array, shape: Shape) -> Array:
    """Sum `grad` down to `shape`, from which it was broadcast.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.ops.elementwise import unbroadcast
    >>> unbroadcast(np.ones((4, 3)), (1, 3))
    array([[4., 4., 4.]])
    """
    if grad.shape == shape:
        return grad
    extra = grad.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + axis
        for axis, length in enumerate(shape)
        if length == 1 and grad.shape[extra + axis] != 1
    )
    return grad.sum(axis=axes, keepdims=True).reshape(shape) if axes else grad.reshape(shape)


def common_dtype(a: np.dtype, b: np.dtype) -> np.dtype:
    """Return the dtype in which arrays of two dtypes meet."""
    rank_a, rank_b = _RANK[a.kind], _RANK[b.kind]
    if rank_a == rank_b:
        return np.promote_types(a, b)
    return a if rank_a > rank_b else b


def _with_number(array: Array, number: Any) -> np.dtype:
    """The dtype in which an array and a Python number meet."""
    if isinstance(number, float) and array.dtype.kind != "f":
        return DEFAULT_DTYPE
    if array.dtype == bool_ and not isinstance(number, bool):
        return np.dtype(np.int64)
    return array.dtype


def _operands(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Return the two operands, at least one as a Tensor and numbers as Python's."""
    if not isinstance(a, Tensor):
        a = _number_or_tensor(name, a)
        if not isinstance(b, Tensor) and not isinstance(a, Tensor):
            a = as_tensor(a)
    if not isinstance(b, Tensor):
        b = _number_or_tensor(name, b)
    return a, b


def _number_or_tensor(name: str, value: Any) -> Any:
    if isinstance(value, np.generic):  # first, because np.float64 is a float as well
        return value.item()
    if isinstance(value, (int, float)):  # bool included
        return value
    if isinstance(value, (list, tuple)) or hasattr(value, "dtype"):
        return as_tensor(value)
    raise DTypeError(f"{name}: expected a tensor or a number, got {type(value).__name__}")


def _meet(a: Any, b: Any) -> tuple[Any, Any]:
    """Convert two operands (arrays or numbers, at least one array) to their common dtype."""
    if not hasattr(a, "dtype"):
        return a, b.astype(_with_number(b, a), copy=False)
    if not hasattr(b, "dtype"):
        return a.astype(_with_number(a, b), copy=False), b
    if a.dtype == b.dtype:
        return a, b
    if (a.ndim == 0) != (b.ndim == 0):  # one has no axes: it decides only by a higher kind
        weak, strong = (a.dtype, b.dtype) if a.ndim == 0 else (b.dtype, a.dtype)
        dtype = weak if _RANK[weak.kind] > _RANK[strong.kind] else strong
    else:
        dtype = common_dtype(a.dtype, b.dtype)
    return a.astype(dtype, copy=False), b.astype(dtype, copy=False)


def _compute(name: str, ufunc_name: str, a: Any, b: Any) -> Array:
    """Apply NumPy's or CuPy's ufunc to two operands of one dtype, with a helpful shape error."""
    array = a if hasattr(a, "dtype") else b
    try:
        if isinstance(array, np.ndarray):
            return apply_ufunc(getattr(np, ufunc_name), a, b)
        with active(device_of(array)):
            return getattr(array_module(array), ufunc_name)(a, b)
    except ValueError as error:
        raise ShapeError(
            f"{name}: shapes {_shape(a)} and {_shape(b)} can't be broadcast together"
        ) from error


def _shape(operand: Any) -> Shape:
    return operand.shape if hasattr(operand, "shape") else ()


# --- Arithmetic -----------------------------------------------------------------------------------


class Add(Function):
    """``a + b``: da = dy, db = dy."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = _shape(a), _shape(b)
        a, b = _meet(a, b)
        return _compute("add", "add", a, b)

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
        ctx.a_shape, ctx.b_shape = _shape(a), _shape(b)
        a, b = _meet(a, b)
        if getattr(a, "dtype", getattr(b, "dtype", None)) == bool_:
            raise DTypeError("sub: bool tensors can't be subtracted; use logical_xor or ~")
        return _compute("sub", "subtract", a, b)

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
        ctx.a_shape, ctx.b_shape = _shape(a), _shape(b)
        ctx.save_for_backward(a if need_b else None, b if need_a else None)
        a, b = _meet(a, b)
        return _compute("mul", "multiply", a, b)

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
        ctx.a_shape, ctx.b_shape = _shape(a), _shape(b)
        ctx.save_for_backward(a if ctx.needs_input_grad[1] else None, b)
        a, b = _meet(a, b)
        dtype = a.dtype if hasattr(a, "dtype") else b.dtype
        if dtype.kind != "f":  # the quotient of integers is a float32, not NumPy's float64
            a = a.astype(DEFAULT_DTYPE) if hasattr(a, "dtype") else a
            b = b.astype(DEFAULT_DTYPE) if hasattr(b, "dtype") else b
        return _compute("div", "divide", a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_a, need_b = ctx.needs_input_grad
        a, b = ctx.saved_tensors
        return (
            unbroadcast(grad / b, ctx.a_shape) if need_a else None,
            unbroadcast(-grad * a / (b * b), ctx.b_shape) if need_b else None,
        )


#: Powers that have a ufunc of their own, much faster than the general one.
_QUICK_POWERS = {2: "square", 0.5: "sqrt", -1: "reciprocal"}


class Pow(Function):
    """``y = a^b``: da = dy·b·a^(b-1), db = dy·y·ln a (0 where a = 0)."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = _shape(a), _shape(b)
        a, b = _meet(a, b)
        dtype = a.dtype if hasattr(a, "dtype") else b.dtype
        if dtype.kind == "i" and (b < 0 if isinstance(b, int) else bool((b < 0).any())):
            raise ArgumentError("pow: integers can't be raised to negative powers; use float()")
        if isinstance(b, (int, float)) and b in _QUICK_POWERS and a.dtype.kind == "f":
            y = _unary(_QUICK_POWERS[b], a)
        else:
            y = _compute("pow", "power", a, b)
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
            else:  # a number; the logarithm of a negative one is not one
                log = 0.0 if a == 0 else math.log(a) if a > 0 else math.nan
            db = unbroadcast(grad * y * log, ctx.b_shape)
        return da, db


class Maximum(Function):
    """``max(a, b)``: the gradient goes to the larger, and by halves where both are equal."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = _shape(a), _shape(b)
        a, b = _meet(a, b)
        ctx.save_for_backward(a, b)
        return _compute("maximum", "maximum", a, b)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        a, b = ctx.saved_tensors
        return _split_by(grad, a > b, a == b, ctx)


class Minimum(Function):
    """``min(a, b)``: the gradient goes to the smaller, and by halves where both are equal."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = _shape(a), _shape(b)
        a, b = _meet(a, b)
        ctx.save_for_backward(a, b)
        return _compute("minimum", "minimum", a, b)

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
    a, b = _operands("add", input, other)
    return Add.apply(a, b if alpha == 1 else b * alpha)


def sub(input: Any, other: Any, *, alpha: Any = 1) -> Tensor:
    """Return ``input - alpha * other``."""
    a, b = _operands("sub", input, other)
    return Sub.apply(a, b if alpha == 1 else b * alpha)


def mul(input: Any, other: Any) -> Tensor:
    """Return ``input * other``."""
    return Mul.apply(*_operands("mul", input, other))


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
    quotient = Div.apply(*_operands("div", input, other))
    if rounding_mode is None:
        return quotient
    if rounding_mode != "trunc":
        raise ArgumentError(f"div: rounding_mode is 'floor' or 'trunc', not {rounding_mode!r}")
    dtype = _meet(*(v.array if isinstance(v, Tensor) else v for v in (input, other)))[0].dtype
    return trunc(quotient).to(dtype=dtype)


def pow(input: Any, exponent: Any) -> Tensor:
    """Return ``input ** exponent``."""
    return Pow.apply(*_operands("pow", input, exponent))


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """Return the larger of two tensors, element by element."""
    return Maximum.apply(*_operands("maximum", input, other))


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """Return the smaller of two tensors, element by element."""
    return Minimum.apply(*_operands("minimum", input, other))


def _without_gradient(name: str, ufunc_name: str, a: Any, b: Any) -> Tensor:
    a, b = _arrays(name, a, b)
    with np.errstate(all="ignore"):
        return Tensor(_compute(name, ufunc_name, a, b))


def _arrays(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Return two operands as arrays (or one as a number) of one dtype and on one device."""
    a, b = (v.array if isinstance(v, Tensor) else v for v in _operands(name, a, b))
    check_one_device(name, input=a, other=b)
    return _meet(a, b)


def floor_divide(input: Any, other: Any) -> Tensor:
    """Return the largest integers not above ``input / other``; no gradient."""
    return _without_gradient("floor_divide", "floor_divide", input, other)


class Remainder(Function):
    """``a - b·⌊a/b⌋`` (fmod: truncated instead): da = dy, db = -dy·⌊a/b⌋."""

    @staticmethod
    def forward(ctx: Context, a: Any, b: Any, name: str) -> Array:
        ctx.a_shape, ctx.b_shape = _shape(a), _shape(b)
        a, b = _meet(a, b)
        y = _compute(name, name, a, b)
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
    return Remainder.apply(*_operands("remainder", input, other), "remainder")


def fmod(input: Any, other: Any) -> Tensor:
    """Return the remainder of ``input / other``, with the sign of `input`."""
    return Remainder.apply(*_operands("fmod", input, other), "fmod")


# --- Functions of one argument --------------------------------------------------------------------


def _floating(x: Array) -> Array:
    """Integers become float32, as in PyTorch."""
    return x if x.dtype.kind == "f" else x.astype(DEFAULT_DTYPE)


def _unary(name: str, x: Array) -> Array:
    if isinstance(x, np.ndarray):
        return apply_ufunc(getattr(np, name), x)
    with active(device_of(x)):
        return getattr(array_module(x), name)(x)


class Neg(Function):
    """``-x``: dx = -dy."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        return _unary("negative", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return -grad


class Abs(Function):
    """``|x|``: dx = dy·sign(x), 0 at 0."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.save_for_backward(x)
        return _unary("abs", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (x,) = ctx.saved_tensors
        return grad * array_module(x).sign(x)


class Exp(Function):
    """``y = exp(x)``: dx = dy·y."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = _unary("exp", _floating(x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        return grad * y


class Log(Function):
    """The logarithm of base B (e, 2 or 10): dx = dy/(x·ln B)."""

    @staticmethod
    def forward(ctx: Context, x: Array, base: float) -> Array:
        x = _floating(x)
        ctx.save_for_backward(x)
        ctx.slope = 1.0 if base == math.e else 1 / math.log(base)
        return _unary("log" if base == math.e else f"log{base}", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x,) = ctx.saved_tensors
        return grad * ctx.slope / x, None


class Expm1(Function):
    """``y = exp(x) - 1``: dx = dy·(y + 1)."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = _unary("expm1", _floating(x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        return grad * (y + 1)


class Log1p(Function):
    """``ln(1 + x)``: dx = dy/(1 + x)."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        x = _floating(x)
        ctx.save_for_backward(x)
        return _unary("log1p", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (x,) = ctx.saved_tensors
        return grad / (1 + x)


class Sqrt(Function):
    """``y = √x``: dx = dy/(2y)."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        y = _unary("sqrt", _floating(x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        return grad / (2 * y)


class Sin(Function):
    """``sin x``: dx = dy·cos x."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        x = _floating(x)
        ctx.save_for_backward(x)
        return _unary("sin", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (x,) = ctx.saved_tensors
        return grad * array_module(x).cos(x)


class Cos(Function):
    """``cos x``: dx = -dy·sin x."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        x = _floating(x)
        ctx.save_for_backward(x)
        return _unary("cos", x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (x,) = ctx.saved_tensors
        return -grad * array_module(x).sin(x)


class Clamp(Function):
    """``min(max(x, low), high)``: dx = dy where low ≤ x ≤ high, else 0."""

    @staticmethod
    def forward(ctx: Context, x: Array, low: Any, high: Any) -> Array:
        ctx.save_for_backward(x)
        ctx.low, ctx.high = low, high
        if x.dtype.kind != "f" and (isinstance(low, float) or isinstance(high, float)):
            x = x.astype(DEFAULT_DTYPE)
        return array_module(x).clip(x, low, high)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x,) = ctx.saved_tensors
        inside: Any = True
        if ctx.low is not None:
            inside = inside & (x >= ctx.low)
        if ctx.high is not None:
            inside = inside & (x <= ctx.high)
        return _only_where(inside, grad), None, None


class Step(Function):
    """A function that is constant between its jumps (sign, floor, ...): dx = 0."""

    @staticmethod
    def forward(ctx: Context, x: Array, name: str) -> Array:
        return _unary(name, x)

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
    return 1.0 / sqrt(input)


def square(input: Tensor) -> Tensor:
    """Return the squares."""
    return input * input


def reciprocal(input: Tensor) -> Tensor:
    """Return ``1 / input``."""
    return 1.0 / input


def sin(input: Tensor) -> Tensor:
    """Return the sines (of radians)."""
    return Sin.apply(input)


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
        raised = input if min is None else maximum(input, min)
        return raised if max is None else minimum(raised, max)
    low, high = (v.item() if isinstance(v, np.generic) else v for v in (min, max))
    return Clamp.apply(input, low, high)


clip = clamp


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """Raise every element to at least `min`."""
    return clamp(input, min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """Lower every element to at most `max`."""
    return clamp(input, None, max)


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """Return ``input + weight * (end - input)``."""
    return input + weight * (end - input)


def addcmul(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """Return ``input + value * tensor1 * tensor2``."""
    return input + (tensor1 if value == 1 else value * tensor1) * tensor2


def addcdiv(input: Tensor, tensor1: Tensor, tensor2: Tensor, *, value: Any = 1) -> Tensor:
    """Return ``input + value * tensor1 / tensor2``."""
    return input + (tensor1 if value == 1 else value * tensor1) / tensor2


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


def _plain(name: str, input: Tensor) -> Tensor:
    return Tensor(_unary(name, input.array))


def isnan(input: Tensor) -> Tensor:
    """Return where the elements are not numbers."""
    return _plain("isnan", input)


def isinf(input: Tensor) -> Tensor:
    """Return where the elements are infinite."""
    return _plain("isinf", input)


def isfinite(input: Tensor) -> Tensor:
    """Return where the elements are finite numbers."""
    return _plain("isfinite", input)


# --- Comparisons and logic ------------------------------------------------------------------------


def _compare(name: str, a: Any, b: Any) -> Tensor:
    return Tensor(_compute(name, name, *_arrays(name, a, b)))


def eq(input: Any, other: Any) -> Tensor:
    """Return where ``input == other``."""
    return _compare("equal", input, other)


def ne(input: Any, other: Any) -> Tensor:
    """Return where ``input != other``."""
    return _compare("not_equal", input, other)


def lt(input: Any, other: Any) -> Tensor:
    """Return where ``input < other``."""
    return _compare("less", input, other)


def le(input: Any, other: Any) -> Tensor:
    """Return where ``input <= other``."""
    return _compare("less_equal", input, other)


def gt(input: Any, other: Any) -> Tensor:
    """Return where ``input > other``."""
    return _compare("greater", input, other)


def ge(input: Any, other: Any) -> Tensor:
    """Return where ``input >= other``."""
    return _compare("greater_equal", input, other)


def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Return where both are non-zero."""
    return _compare("logical_and", input, other)


def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Return where one or both are non-zero."""
    return _compare("logical_or", input, other)


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Return where one and not the other is non-zero."""
    return _compare("logical_xor", input, other)


def logical_not(input: Tensor) -> Tensor:
    """Return where the elements are zero."""
    return _plain("logical_not", input)


def bitwise_and(input: Tensor, other: Any) -> Tensor:
    """Return ``input & other`` of integers or booleans."""
    return _without_gradient("bitwise_and", "bitwise_and", input, other)


def bitwise_or(input: Tensor, other: Any) -> Tensor:
    """Return ``input | other`` of integers or booleans."""
    return _without_gradient("bitwise_or", "bitwise_or", input, other)


def bitwise_xor(input: Tensor, other: Any) -> Tensor:
    """Return ``input ^ other`` of integers or booleans."""
    return _without_gradient("bitwise_xor", "bitwise_xor", input, other)


# --- Choosing -------------------------------------------------------------------------------------


class Where(Function):
    """``a`` where the condition holds, else ``b``; each gets the gradient of its own elements."""

    @staticmethod
    def forward(ctx: Context, condition: Array, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = _shape(a), _shape(b)
        ctx.save_for_backward(condition)
        a, b = _meet(a, b)
        try:
            return array_module(condition).where(condition, a, b)
        except ValueError as error:
            raise ShapeError(
                f"where: shapes {condition.shape} of the condition, {_shape(a)} and {_shape(b)} "
                "can't be broadcast together"
            ) from error

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (condition,) = ctx.saved_tensors
        _, need_a, need_b = ctx.needs_input_grad
        return (
            None,
            unbroadcast(_only_where(condition, grad), ctx.a_shape) if need_a else None,
            unbroadcast(_only_where(~condition, grad), ctx.b_shape) if need_b else None,
        )


def _only_where(condition: Array, grad: Array) -> Array:
    """`grad` where the condition holds, else 0; a product would make NaN of 0 times infinity."""
    return array_module(grad).where(condition, grad, grad.dtype.type(0))


@on_its_device
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """Return `input` where `condition` holds and `other` elsewhere.

    Parameters
    ----------
    condition : Tensor of bool
    input, other : Tensor or number
        Without them, the indices where the condition holds are returned, as by ``nonzero``.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([-1.0, 2.0])
    >>> minidl.where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    if input is None and other is None:
        return tuple(Tensor(index) for index in condition.array.nonzero())
    if condition.dtype != bool_:
        raise DTypeError(f"where: condition must be a bool tensor, got {condition.dtype}")
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        input = as_tensor(input, device=condition.device)
    return Where.apply(condition, *_operands("where", input, other))


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Return `input` with `value` where `mask` holds."""
    return where(mask, value, input)
