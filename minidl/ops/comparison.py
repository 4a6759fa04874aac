"""Comparisons, logic, and the choice between two tensors by a condition."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..conversion import fitting
from ..device import Array, array_module, check_one_device, on_its_device
from ..errors import DTypeError, ShapeError
from ..kernels.cuda import copy_to
from ..tensor import Tensor, as_tensor, bool_, float16, uint8
from .operands import (
    arrays_of,
    binary,
    meet_exactly,
    operands,
    shape_of,
    unary,
    unbroadcast,
    without_gradient,
)

__all__ = [
    "allclose", "bitwise_and", "bitwise_or", "bitwise_xor", "eq", "equal", "ge", "gt", "isclose",
    "isfinite", "isinf", "isnan", "le", "logical_and", "logical_not", "logical_or", "logical_xor",
    "lt", "masked_fill", "nan_to_num", "ne", "where",
]  # fmt: skip


def _compare(name: str, a: Any, b: Any) -> Tensor:
    a, b = arrays_of(name, a, b)
    if float16 in (getattr(a, "dtype", None), getattr(b, "dtype", None)):
        with np.errstate(over="ignore"):  # a number is compared as float16
            a, b = (v if hasattr(v, "dtype") else float16.type(v) for v in (a, b))
    return Tensor(binary(name, name, a, b))


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
    return Tensor(unary("logical_not", input.array))


def _bitwise(name: str, input: Any, other: Any) -> Tensor:
    for value in (input, other):
        if isinstance(value, float) or getattr(getattr(value, "dtype", None), "kind", "") == "f":
            raise DTypeError(f"{name}: expected integers or booleans, got floats")
    return without_gradient(name, name, input, other)


def bitwise_and(input: Tensor, other: Any) -> Tensor:
    """Return ``input & other`` of integers or booleans."""
    return _bitwise("bitwise_and", input, other)


def bitwise_or(input: Tensor, other: Any) -> Tensor:
    """Return ``input | other`` of integers or booleans."""
    return _bitwise("bitwise_or", input, other)


def bitwise_xor(input: Tensor, other: Any) -> Tensor:
    """Return ``input ^ other`` of integers or booleans."""
    return _bitwise("bitwise_xor", input, other)


def isnan(input: Tensor) -> Tensor:
    """Return where the elements are not numbers."""
    return Tensor(unary("isnan", input.array))


def isinf(input: Tensor) -> Tensor:
    """Return where the elements are infinite."""
    return Tensor(unary("isinf", input.array))


def isfinite(input: Tensor) -> Tensor:
    """Return where the elements are finite numbers."""
    return Tensor(unary("isfinite", input.array))


# --- Choosing -------------------------------------------------------------------------------------


class Where(Function):
    """``a`` where the condition holds, else ``b``; each gets the gradient of its own elements."""

    @staticmethod
    def forward(ctx: Context, condition: Array, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        ctx.save_for_backward(condition)
        a, b = meet_exactly("where", a, b)
        try:
            return array_module(condition).where(condition, a, b)
        except ValueError as error:
            raise ShapeError(
                f"where: shapes {condition.shape} of the condition, {shape_of(a)} and "
                f"{shape_of(b)} can't be broadcast together"
            ) from error

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (condition,) = ctx.saved_tensors
        _, need_a, need_b = ctx.needs_input_grad
        return (
            None,
            unbroadcast(only_where(condition, grad), ctx.a_shape) if need_a else None,
            unbroadcast(only_where(~condition, grad), ctx.b_shape) if need_b else None,
        )


def only_where(condition: Array, grad: Array) -> Array:
    """`grad` where the condition holds, else 0; a product would make NaN of 0 times infinity."""
    return array_module(grad).where(condition, grad, grad.dtype.type(0))


@on_its_device
def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """Return `input` where `condition` holds and `other` elsewhere.

    Parameters
    ----------
    condition : Tensor of bool
        (Of uint8 with a warning, as in PyTorch.)
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
        return tuple(Tensor(i) for i in condition.array.reshape(condition.shape or 1).nonzero())
    if condition.dtype == uint8:
        warn_of_uint8("where: the condition")
        condition = Tensor(condition.array != 0)
    if condition.dtype != bool_:
        raise DTypeError(f"where: condition must be a bool tensor, got {condition.dtype}")
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        input = as_tensor(input, device=condition.device)
    return Where.apply(condition, *operands("where", input, other))


def warn_of_uint8(what: str) -> None:
    """Warn that a mask is of uint8."""
    warnings.warn(f"{what} is of uint8; masks should be of bool", UserWarning, stacklevel=4)


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Return `input` with `value` where `mask` holds.

    Parameters
    ----------
    input : Tensor
        The result has its dtype.
    mask : Tensor of bool
    value : number, or Tensor without axes

    Raises
    ------
    NumberError
        `value` does not fit into the dtype.
    DTypeError
        `mask` is not of bool.
    ShapeError
        `value` has axes.
    """
    if mask.dtype != bool_:
        raise DTypeError(f"masked_fill: mask must be of bool, got {mask.dtype}")
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError(f"masked_fill: value has shape {tuple(value.shape)}, expected ()")
        fitting("masked_fill", value.item(), input.dtype)
        return where(mask, value.to(input.device).to(dtype=input.dtype), input)
    number = copy_to(fitting("masked_fill", value, input.dtype), input.device)
    return where(mask, Tensor(number), input)


@on_its_device
def nan_to_num(
    input: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Return `input` with numbers for NaN, inf and -inf, which get no gradient.

    Without `posinf` and `neginf`: the largest and smallest finite numbers of the dtype.
    """
    if not input.is_floating_point():
        return input.clone()
    largest = float(np.finfo(input.dtype).max)
    input = where(isnan(input), nan, input)
    input = where(input == np.inf, largest if posinf is None else posinf, input)
    return where(input == -np.inf, -largest if neginf is None else neginf, input)


@on_its_device
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Return whether ``|input - other| <= atol + rtol·|other|`` everywhere."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


@on_its_device
def equal(input: Tensor, other: Tensor) -> bool:
    """Return whether both have the same shape and elements."""
    if not isinstance(other, Tensor):
        raise DTypeError(f"equal: expected a Tensor, got {type(other).__name__}")
    check_one_device("equal", input=input.array, other=other.array)
    return input.shape == other.shape and bool((input.array == other.array).all())


@on_its_device
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Return where ``|input - other| <= atol + rtol·|other|``."""
    check_one_device("isclose", input=input.array, other=other.array)
    xp = array_module(input.array)
    try:
        return Tensor(xp.isclose(input.array, other.array, rtol, atol, equal_nan))
    except ValueError as error:
        raise ShapeError(f"isclose: shapes {input.shape} and {other.shape} don't fit") from error
