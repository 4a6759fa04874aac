"""Comparisons, logic, and the choice between two tensors by a condition."""

from __future__ import annotations

from typing import Any

from ..autograd import Context, Function
from ..device import Array, array_module, on_its_device
from ..errors import DTypeError, ShapeError
from ..tensor import Tensor, as_tensor, bool_
from .operands import (
    arrays_of,
    binary,
    meet,
    operands,
    shape_of,
    unary,
    unbroadcast,
    without_gradient,
)

__all__ = [
    "bitwise_and", "bitwise_or", "bitwise_xor", "eq", "ge", "gt", "isfinite", "isinf", "isnan",
    "le", "logical_and", "logical_not", "logical_or", "logical_xor", "lt", "masked_fill", "ne",
    "where",
]  # fmt: skip


def _compare(name: str, a: Any, b: Any) -> Tensor:
    return Tensor(binary(name, name, *arrays_of(name, a, b)))


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
    return without_gradient("bitwise_and", "bitwise_and", input, other)


def bitwise_or(input: Tensor, other: Any) -> Tensor:
    """Return ``input | other`` of integers or booleans."""
    return without_gradient("bitwise_or", "bitwise_or", input, other)


def bitwise_xor(input: Tensor, other: Any) -> Tensor:
    """Return ``input ^ other`` of integers or booleans."""
    return without_gradient("bitwise_xor", "bitwise_xor", input, other)


def _plain(name: str, input: Tensor) -> Tensor:
    return Tensor(unary(name, input.array))


def isnan(input: Tensor) -> Tensor:
    """Return where the elements are not numbers."""
    return _plain("isnan", input)


def isinf(input: Tensor) -> Tensor:
    """Return where the elements are infinite."""
    return _plain("isinf", input)


def isfinite(input: Tensor) -> Tensor:
    """Return where the elements are finite numbers."""
    return _plain("isfinite", input)


# --- Choosing -------------------------------------------------------------------------------------


class Where(Function):
    """``a`` where the condition holds, else ``b``; each gets the gradient of its own elements."""

    @staticmethod
    def forward(ctx: Context, condition: Array, a: Any, b: Any) -> Array:
        ctx.a_shape, ctx.b_shape = shape_of(a), shape_of(b)
        ctx.save_for_backward(condition)
        a, b = meet(a, b)
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
    return Where.apply(condition, *operands("where", input, other))


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """Return `input` with `value` where `mask` holds."""
    return where(mask, value, input)
