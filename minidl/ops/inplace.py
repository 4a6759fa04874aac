"""Changes in place: a tensor takes the value of a result, and its place on the tape.

``x.mul_(2)`` computes ``x * 2`` as usual and then stores it: the numbers go into the memory of x,
and x stands on the tape where the result stood. If x is a view, its base gets a new place as well
(``autograd.function.rebase``). Every change counts up ``x.version``, which x shares with its views:
a backward that needs the old numbers notices it and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ..autograd import Context, Function, is_grad_enabled
from ..autograd.function import rebase
from ..autograd.views import check_changeable, check_no_overlap, past
from ..device import Array, active, array_module
from ..errors import ArgumentError, DTypeError, ShapeError
from ..random import chosen
from ..tensor import Tensor, as_tensor, float64
from .creation import bernoulli, check_range, full, rand, randn
from .operands import _RANK, unbroadcast


def changed(tensor: Tensor) -> Tensor:
    """Note that the memory of `tensor` was changed, and return it."""
    tensor.version[0] += 1
    return tensor


def is_recorded(tensor: Tensor, *values: Any) -> bool:
    """Return whether a change of `tensor` that depends on `values` goes on the tape."""
    if not is_grad_enabled():
        return False
    view = tensor._view
    return (
        tensor.requires_grad
        or (view is not None and view.base._requires_grad)
        or any(isinstance(value, Tensor) and value.requires_grad for value in values)
    )


class Overwrite(Function):
    """`value`, broadcast to the shape of x, whose own value is lost."""

    @staticmethod
    def forward(ctx: Context, x: Array, value: Array) -> Array:
        ctx.shape = value.shape
        try:
            return array_module(x).broadcast_to(value, x.shape)
        except ValueError as error:
            raise ShapeError(
                f"in place: shape {value.shape} does not fit the tensor's shape {x.shape}"
            ) from error

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_x, need_value = ctx.needs_input_grad
        return (
            array_module(grad).zeros_like(grad) if need_x else None,
            unbroadcast(grad, ctx.shape) if need_value else None,
        )


def store(tensor: Tensor, result: Tensor) -> Tensor:
    """Let `tensor` take the value and the place on the tape of `result`, computed from it.

    Raises
    ------
    AutogradError
        While recording: `tensor` is a leaf that requires a gradient, or a view of one. Several
        elements of `tensor` share one place in memory.
    ShapeError, DTypeError
        The result does not fit into the tensor.
    """
    recorded = is_recorded(tensor, result)
    if recorded:
        check_changeable(tensor)
    if result.array.shape != tensor.array.shape:
        raise ShapeError(
            f"in place: the result has shape {tuple(result.shape)}, the tensor "
            f"{tuple(tensor.shape)}"
        )
    if _RANK[result.dtype.kind] > _RANK[tensor.dtype.kind]:
        raise DTypeError(f"in place: a {tensor.dtype} tensor can't keep a {result.dtype} result")
    check_no_overlap(tensor)
    if recorded and result.node is None:
        if result.dtype != tensor.dtype:  # such as the truth values of x.eq_(1)
            result = result.to(dtype=tensor.dtype)
        result = Overwrite.apply(past(tensor), result)
    node = result.node if recorded else None
    with active(tensor.device):
        if node is not None:
            node.context.keep_copy(tensor.array)
        tensor.array[...] = result.array
    changed(tensor)
    if node is not None:
        rebase(tensor, node, result.output_index)
    return tensor


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the form of an operation that stores its result in its first argument."""

    @wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        own = past(self)
        if own is not self:
            args = tuple([own if arg is self else arg for arg in args])
        result = function(own, *args, **kwargs)
        return changed(self) if result is own else store(self, result)

    return method


def zero_(self: Tensor) -> Tensor:
    """Set every element to 0."""
    return fill_(self, 0)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to `value`, a number or a tensor without axes."""
    if isinstance(value, Tensor):
        if value.ndim:
            raise ShapeError(
                f"fill_: expected a number, got a tensor of shape {tuple(value.shape)}"
            )
        return copy_(self, value)
    return copy_(self, full((), value, dtype=self.dtype, device=self.device))


def copy_(self: Tensor, source: Any, non_blocking: Any = False) -> Tensor:
    """Set the elements to those of `source`, broadcast, of any dtype and device."""
    source = as_tensor(source).to(self.device).to(dtype=self.dtype)
    return store(self, Overwrite.apply(past(self), source))


# --- Random numbers: drawn on the CPU, so that a seed gives the same ones on every device ---------


def normal_(self: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: Any = None) -> Tensor:
    """Draw every element from N(mean, std²)."""
    if std < 0:
        raise ArgumentError(f"normal_: std must not be negative, got {std}")
    drawn = randn(self.shape, generator=generator, dtype=_drawn_dtype(self), device="cpu")
    return copy_(self, Tensor(drawn.array * self.dtype.type(std) + mean))


def uniform_(self: Tensor, a: Any = 0.0, b: Any = 1.0, *, generator: Any = None) -> Tensor:
    """Draw every element uniformly from [a, b)."""
    if b < a:
        raise ArgumentError(f"uniform_: expected a <= b, got [{a}, {b})")
    drawn = rand(self.shape, generator=generator, dtype=_drawn_dtype(self), device="cpu")
    return copy_(self, Tensor(drawn.array * self.dtype.type(b - a) + a))


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Draw every element: 1 with probability `p`, a number or a tensor, else 0."""
    if isinstance(p, Tensor):
        return copy_(self, bernoulli(p.expand(self.shape), generator=generator))
    if not 0 <= p <= 1:
        raise ArgumentError(f"bernoulli_: p must be in [0, 1], got {p}")
    drawn = rand(self.shape, generator=generator, dtype=float64, device="cpu")
    return copy_(self, Tensor(drawn.array < p))


def random_(self: Tensor, low: Any = None, high: Any = None, *, generator: Any = None) -> Tensor:
    """Draw every element from the integers of [low, high): ``random_(high)`` starts at 0.

    Without limits: from all that the dtype holds exactly.
    """
    if low is None:
        low = _LARGEST.get(self.dtype.char) or int(np.iinfo(self.dtype).max) + 1
    if high is None:
        low, high = 0, low
    check_range("random_", low, high, self.dtype)
    drawn = chosen(generator).next_stream().integers(low, high, self.array.shape)
    return copy_(self, Tensor(drawn))


_LARGEST = {"?": 2, "e": 2**11, "f": 2**24, "d": 2**53}


def _drawn_dtype(tensor: Tensor) -> Any:
    """Return the dtype to draw numbers for `tensor` in: NumPy draws float32 and float64."""
    return np.float64 if tensor.dtype == float64 else np.float32
