"""Negative log-likelihood: cross-entropy of log-probabilities, which are given as they are.

Forward. With log-probabilities x (N, C, ...), a class index t and class weights w, each sample has
the loss

    l = −w_t·x_t

A sample whose index is `ignore_index` has the loss 0. The mean divides by Σ w_t over the others.

Backward. Only x_t enters the loss, so with the incoming gradient g of each sample's loss

    ∂L/∂x_c = −g·w_t·[c = t]

``nll_loss(log_softmax(x, 1), t)`` is ``cross_entropy(x, t)`` in two steps.
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..device import Array, array_module, check_one_device
from ..ops.precision import in_float64, rounded_like
from ..tensor import Tensor
from .module import Module
from .reduction import (
    check_class_indices,
    check_class_weight,
    check_scores,
    checked_reduction,
    class_rows,
    gradient_of_losses,
    reduce_losses,
)  # fmt: skip

__all__ = ["NLLLoss", "nll_loss"]

# --- The plain code -------------------------------------------------------------------------------


@in_float64
def weights(x: Array, target: Array, weight: Array | None, ignore_index: int) -> Array:
    """Return q (N, C, ...): w_t at the class of each sample that counts, 0 elsewhere."""
    classes, axes = x.shape[1], [1] * (x.ndim - 2)
    of_class = target[:, None] == array_module(x).arange(classes).reshape(classes, *axes)
    q = (of_class & (target != ignore_index)[:, None]).astype(x.dtype)  # (N, C, ...)
    return q if weight is None else q * weight.reshape(classes, *axes)


@in_float64
def forward(x: Array, q: Array) -> Array:
    """Return the losses (N, ...). A class that does not count may have x = -inf."""
    return -(q * array_module(x).where(q == 0, x.dtype.type(0), x)).sum(axis=1)


@in_float64
def backward(grad: Array, q: Array) -> Array:
    """Return ∂L/∂x for g (N, 1, ...)."""
    return -grad * q


# --- The operation --------------------------------------------------------------------------------


class NLLFunction(Function):
    """-w_t·x_t. The plain code saves q."""

    autocast = "float32"

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        target: Array,
        weight: Array | None,
        ignore_index: int,
        reduction: str,
    ) -> Array:
        ctx.shape, ctx.settings = x.shape, (ignore_index, reduction)
        ctx.kernel, ctx.divisor = kernels.of("nll_loss", x), None
        if ctx.kernel:
            loss, saved = ctx.kernel.forward(x, target, weight, *ctx.settings)
            ctx.save_for_backward(*saved)
            return loss
        if x.ndim == 1:
            x, target = x[None], target[None]  # (1, C) and (1,)
        q = weights(x, target, weight, ignore_index)
        losses, ctx.divisor = forward(x, q), q.sum()
        ctx.save_for_backward(q)
        losses = losses if len(ctx.shape) > 1 else losses[0]
        return rounded_like(reduce_losses(losses, ctx.divisor, reduction), x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        if ctx.kernel:
            dx = ctx.kernel.backward(grad, ctx.shape, ctx.saved_tensors, *ctx.settings)
            return dx, None, None, None, None
        (q, *rest), (_, reduction), divisor = ctx.saved_tensors, ctx.settings, ctx.divisor
        if divisor is None:  # a kernel has saved the classes and how much each counts
            q, divisor = class_rows(q, rest[0], ctx.shape, grad.dtype)
        g = gradient_of_losses(grad, divisor, reduction)
        if reduction == "none":
            g = g.reshape(q.shape[0], 1, *q.shape[2:])  # (N, 1, ...)
        return backward(g, q).reshape(ctx.shape), None, None, None, None


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the negative log-likelihood of class indices under log-probabilities.

    Parameters
    ----------
    input : Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Log-probabilities.
    target : Tensor of integers, shape (), (N,) or (N, d1, ...)
        Class indices.
    weight, size_average, ignore_index, reduce, reduction
        As for :func:`cross_entropy`.

    Returns
    -------
    Tensor, shape () or, for "none", that of `target`

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        An argument does not fit; the message says which and what was expected.

    Examples
    --------
    >>> import minidl
    >>> logs = minidl.log_softmax(minidl.zeros(2, 10), 1)
    >>> minidl.nn.functional.nll_loss(logs, minidl.tensor([3, 7]))  # ln 10
    tensor(2.3026)
    """
    reduction = checked_reduction("nll_loss", reduction, size_average, reduce)
    x, t = input.array, target.array
    check_scores("nll_loss", x)
    check_class_indices("nll_loss", x, t, ignore_index)
    class_weight = check_class_weight("nll_loss", x, weight)
    check_one_device("nll_loss", input=x, target=t)
    return NLLFunction.apply(input, t, class_weight, ignore_index, reduction)


class NLLLoss(Module):
    """Negative log-likelihood of class indices: see :func:`nll_loss`.

    Parameters
    ----------
    weight : Tensor, shape (C,), optional
    size_average, reduce
        Deprecated; see `reduction`.
    ignore_index : int
        Default -100.
    reduction : {"mean", "sum", "none"}
        Default "mean".
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        reduction = checked_reduction("NLLLoss", reduction, size_average, reduce)
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of log-probabilities `input` and class indices `target`."""
        return nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )
