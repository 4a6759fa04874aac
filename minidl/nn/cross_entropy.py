"""Cross-entropy: the loss of predicted probabilities, given as scores, against the right classes.

Forward. Logits x (N, C, ...) hold a score for each of C classes; axes after C (pixels, say) are
further samples. With log-probabilities ℓ = x − ln Σ_j e^{x_j} along the classes and a weight q_c,
how much class c counts, each sample has the loss

    l = −Σ_c q_c·ℓ_c

All targets come down to class probabilities p, and with class weights w and label smoothing ε to

    q_c = w_c·((1 − ε)·p_c + ε/C)

A class index t stands for p_c = [c = t]. A sample whose index is `ignore_index` has q = 0. The mean
divides by the number of samples, or for class indices by Σ w_t over the samples that count.

Backward. ∂ℓ_j/∂x_c = [j = c] − s_c with the probabilities s = e^ℓ. Summed over j against −q_j, and
with the incoming gradient g of each sample's loss:

    ∂L/∂x_c = g·(s_c·Σ_j q_j − q_c)             ∂L/∂p_c = −g·w_c·(1 − ε)·ℓ_c

Without weights and smoothing, the first is the familiar (s − onehot)/N. Logits of 0 have the loss
ln C.

Source: PyTorch's documentation of CrossEntropyLoss.
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..device import Array, Shape, array_module
from ..errors import ArgumentError
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
from .softmax import log_softmax_backward, log_softmax_forward

__all__ = ["CrossEntropyLoss", "cross_entropy"]

# --- The plain code -------------------------------------------------------------------------------


def class_weights(x: Array, weight: Array | None) -> Array:
    """Return w in the shape (C, 1, ...), which broadcasts against x."""
    shape = (x.shape[1], *[1] * (x.ndim - 2))
    return array_module(x).ones(shape, x.dtype) if weight is None else weight.reshape(shape)


@in_float64
def weights(
    x: Array, target: Array, weight: Array | None, ignore_index: int, smoothing: float
) -> tuple[Array, Any]:
    """Return q (N, C, ...) and the divisor of the mean."""
    w, classes = class_weights(x, weight), x.shape[1]
    if target.dtype.kind == "f":  # class probabilities
        p, counted, divisor = target.astype(x.dtype), 1, x.size // max(classes, 1)
    else:
        counted = (target != ignore_index)[:, None]  # (N, 1, ...)
        of_class = target[:, None] == array_module(x).arange(classes).reshape(w.shape)
        p = (of_class & counted).astype(x.dtype)  # (N, C, ...)
        divisor = (w * p).sum()
    return w * ((1 - smoothing) * p + smoothing / classes) * counted, divisor


@in_float64
def forward(x: Array, q: Array) -> tuple[Array, Array]:
    """Return the losses (N, ...), and ℓ for the backward."""
    xp = array_module(x)
    shifted = x - x.max(axis=1, keepdims=True)  # no power overflows
    logs = shifted - xp.log(xp.exp(shifted).sum(axis=1, keepdims=True))
    # A class that does not count may have probability 0, whose logarithm is -inf.
    return -(q * xp.where(q == 0, x.dtype.type(0), logs)).sum(axis=1), logs


@in_float64
def backward(grad: Array, logs: Array, q: Array) -> Array:
    """Return ∂L/∂x for g (N, 1, ...)."""
    return grad * (array_module(logs).exp(logs) * q.sum(axis=1, keepdims=True) - q)


@in_float64
def target_backward(grad: Array, logs: Array, weight: Array | None, smoothing: float) -> Array:
    """Return ∂L/∂p: class probabilities may come from a network too."""
    return -grad * class_weights(logs, weight) * (1 - smoothing) * logs


# --- The operation --------------------------------------------------------------------------------


class Logs(Function):
    """ℓ and q, which the plain code saves; the CPU's kernel saves ℓ by rows, (N·d1·..., C)."""

    @staticmethod
    def backward(ctx: Context, grad: Array, *grads: Array) -> Any:
        logs, *others = ctx.saved_tensors
        dx = as_image(log_softmax_backward(grad, logs, 1), ctx.shape).reshape(ctx.shape)
        dtarget = None
        if ctx.needs_input_grad[1]:
            w = class_weights(logs, others[1] if len(others) > 1 else None)
            dtarget = (grads[0] * w * (1 - ctx.settings[2])).reshape(ctx.shape)
        return dx, dtarget, None, None, None, None


def plain_saved(ctx: Any) -> tuple[Array, Array, Array | None, Any]:
    """Return ℓ, q, the class weights and the divisor, from what a kernel has saved too."""
    saved = ctx.saved_tensors
    if ctx.divisor is not None:
        return (*saved, ctx.divisor)
    if len(saved) == 3:  # the CPU's kernel: ℓ by rows, classes, how much each row counts
        logs, classes, counts = saved
        q, divisor = class_rows(classes, counts, ctx.shape, logs.dtype)
        return as_image(logs, ctx.shape), q, None, divisor
    x, target, weight = saved[:3]  # the GPU's
    if x.ndim == 1:
        x, target = x[None], target[None]
    ignore_index, _, smoothing = ctx.settings
    q, divisor = weights(x, target, weight, ignore_index, smoothing)
    return log_softmax_forward(x, 1), q, weight, divisor


def as_image(rows: Array, shape: Shape) -> Array:
    """Return (N·d1·..., C) as (N, C, d1, ...), and such an array as it is."""
    if rows.ndim > 2 or len(shape) <= 2:
        return rows
    return array_module(rows).moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


class CrossEntropyFunction(Function):
    """The plain code saves ℓ, q and the class weights. Kernels save what they need."""

    autocast = "float32"
    intermediates = Logs

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        target: Array,
        weight: Array | None,
        ignore_index: int,
        reduction: str,
        smoothing: float,
    ) -> Array:
        ctx.shape, ctx.settings = x.shape, (ignore_index, reduction, smoothing)
        ctx.kernel = kernels.of("cross_entropy", x)
        if ctx.kernel and not ctx.kernel.covers(target, smoothing):
            ctx.kernel = None
        ctx.divisor = None
        if ctx.kernel:
            loss, saved = ctx.kernel.forward(x, target, weight, *ctx.settings)
            ctx.save_for_backward(*saved)
            return loss
        if x.ndim == 1:
            x, target = x[None], target[None]  # (1, C) and (1,)
        q, ctx.divisor = weights(x, target, weight, ignore_index, smoothing)
        losses, logs = forward(x, q)
        ctx.save_for_backward(logs, q, weight)
        losses = losses if len(ctx.shape) > 1 else losses[0]
        return rounded_like(reduce_losses(losses, ctx.divisor, reduction), x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (_, reduction, smoothing), want = ctx.settings, ctx.needs_input_grad[1]
        if ctx.kernel:
            arguments = grad, ctx.shape, ctx.saved_tensors, *ctx.settings, want
            return *ctx.kernel.backward(*arguments), None, None, None, None
        logs, q, weight, divisor = plain_saved(ctx)
        g = gradient_of_losses(grad, divisor, reduction)
        if reduction == "none":
            g = g.reshape(logs.shape[0], 1, *logs.shape[2:])  # (N, 1, ...)
        dx = backward(g, logs, q).reshape(ctx.shape)
        dtarget = target_backward(g, logs, weight, smoothing).reshape(ctx.shape) if want else None
        return dx, dtarget, None, None, None, None


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross-entropy between logits and targets.

    Parameters
    ----------
    input : Tensor, shape (C,), (N, C) or (N, C, d1, ...)
        Logits: scores before the softmax.
    target : Tensor
        Class indices of shape (), (N,) or (N, d1, ...), or class probabilities of `input`'s shape.
    weight : Tensor, shape (C,), optional
        The weight of each class.
    size_average, reduce
        Deprecated; see `reduction`.
    ignore_index : int
        Samples of this class do not count. Default -100.
    reduction : {"mean", "sum", "none"}
        Default "mean".
    label_smoothing : float
        In [0, 1]. Default 0.

    Returns
    -------
    Tensor, shape () or, for "none", (), (N,) or (N, d1, ...)

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        An argument does not fit; the message says which and what was expected.

    Examples
    --------
    >>> import minidl
    >>> loss = minidl.nn.functional.cross_entropy(minidl.zeros(2, 10), minidl.tensor([3, 7]))
    >>> round(loss.item(), 4)  # ln 10
    2.3026
    """
    reduction = checked_reduction("cross_entropy", reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(
            f"cross_entropy: label_smoothing must be between 0 and 1, got {label_smoothing}"
        )
    x, t = input.array, target.array
    check_scores("cross_entropy", x)
    if t.shape != x.shape or t.dtype.kind != "f":
        check_class_indices("cross_entropy", x, t, ignore_index)
    elif ignore_index >= 0:
        raise ArgumentError("cross_entropy: ignore_index needs class indices, not probabilities")
    class_weight = check_class_weight("cross_entropy", x, weight)
    return CrossEntropyFunction.apply(
        input, target, class_weight, ignore_index, reduction, label_smoothing
    )


class CrossEntropyLoss(Module):
    """Cross-entropy between logits and targets: see :func:`cross_entropy`.

    Parameters
    ----------
    weight : Tensor, shape (C,), optional
    size_average, reduce
        Deprecated; see `reduction`.
    ignore_index : int
        Default -100.
    reduction : {"mean", "sum", "none"}
        Default "mean".
    label_smoothing : float
        Default 0.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: bool | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        reduction = checked_reduction("CrossEntropyLoss", reduction, size_average, reduce)
        self.register_buffer("weight", weight)
        self.ignore_index, self.reduction = ignore_index, reduction
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits `input` and `target`."""
        return cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip
