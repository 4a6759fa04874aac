"""Binary cross-entropy: each number is the score, or the probability, that something is there.

Forward. With targets t in [0, 1] and the logistic sigmoid σ, for each number of any shape:

    of logits x              l = −[c·t·ln σ(x) + (1 − t)·ln(1 − σ(x))]
                               = (1 − t)·x + f·ln(1 + e^−x)                   f = 1 + (c − 1)·t
    of probabilities p       l = −[t·ln p + (1 − t)·ln(1 − p)]

`pos_weight` c counts what is there more (c > 1) or less. Logarithms of p are cut off at −100, so
that a wrong p = 0 has a finite loss. A `weight` multiplies l.

Backward. With σ' = σ·(1 − σ) and the incoming gradient g of each loss:

    of logits                ∂L/∂x = g·[(1 − t) − f·σ(−x)]
                             ∂L/∂t = g·[(c − 1)·ln(1 + e^−x) − x]
    of probabilities         ∂L/∂p = g·(p − t) / (p·(1 − p))
                             ∂L/∂t = g·[ln(1 − p) − ln p]

Logits are better: for large |x|, p rounds to 0 or 1.

Source: PyTorch's documentation of BCEWithLogitsLoss and BCELoss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..device import Array, array_module, check_one_device
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops.precision import in_float64, rounded_like
from ..tensor import Tensor
from .activation import sigmoid_forward
from .module import Module
from .reduction import alike, checked_reduction, gradient_of_losses, reduce_losses

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "binary_cross_entropy", "binary_cross_entropy_with_logits",
]  # fmt: skip

# --- The plain code -------------------------------------------------------------------------------


@in_float64
def logits_forward(x: Array, t: Array, c: Any) -> Array:
    """Return l."""
    xp = array_module(x)
    softplus = xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(-x, x.dtype.type(0))  # ln(1 + e^−x)
    return (1 - t) * x + (1 + (c - 1) * t) * softplus


@in_float64
def logits_backward(x: Array, t: Array, c: Any) -> tuple[Array, Array]:
    """Return dl/dx and dl/dt."""
    xp = array_module(x)
    softplus = xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(-x, x.dtype.type(0))  # ln(1 + e^−x)
    return (1 - t) - (1 + (c - 1) * t) * sigmoid_forward(-x), (c - 1) * softplus - x


def log(p: Array) -> Array:
    """Return ln p, at least −100."""
    xp, one, least = array_module(p), p.dtype.type(1), p.dtype.type(-100)
    return xp.maximum(xp.where(p == 0, least, xp.log(xp.where(p == 0, one, p))), least)


@in_float64
def probabilities_forward(p: Array, t: Array) -> Array:
    """Return l."""
    return -(t * log(p) + (1 - t) * log(1 - p))


@in_float64
def probabilities_backward(p: Array, t: Array) -> tuple[Array, Array]:
    """Return dl/dp and dl/dt; p·(1 − p) is at least 1e-12."""
    least = max(1e-12, np.finfo(p.dtype).tiny)
    return (p - t) / array_module(p).maximum(p * (1 - p), p.dtype.type(least)), log(1 - p) - log(p)


# --- The operation --------------------------------------------------------------------------------


class BinaryCrossEntropyFunction(Function):
    """The losses of logits, or of probabilities if there is no `pos_weight`."""

    @staticmethod
    def autocast(args: Any) -> str:
        """Rounded probabilities may be 0 or 1."""
        return "banned" if args[3] is None else "float32"

    @staticmethod
    def forward(
        ctx: Context, x: Array, target: Array, weight: Any, pos_weight: Any, reduction: str
    ) -> Array:
        ctx.weights, ctx.reduction = (weight, pos_weight), reduction
        ctx.save_for_backward(x, target)
        if pos_weight is None:
            losses = weight * probabilities_forward(x, target)
        else:
            losses = weight * logits_forward(x, target, pos_weight)
        return rounded_like(reduce_losses(losses, losses.size, reduction), x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x, target), (weight, pos_weight) = ctx.saved_tensors, ctx.weights
        if pos_weight is None:
            dx, dtarget = probabilities_backward(x, target)
        else:
            dx, dtarget = logits_backward(x, target, pos_weight)
        g = gradient_of_losses(grad, x.size, ctx.reduction) * weight
        return g * dx, g * dtarget if ctx.needs_input_grad[1] else None, None, None, None


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """Return the binary cross-entropy between logits and targets.

    Parameters
    ----------
    input : Tensor, floating point
        Logits, of any shape.
    target : Tensor, shape of `input`
        In [0, 1].
    weight : Tensor, optional
        A weight for each loss, of a shape that broadcasts to that of `input`.
    size_average, reduce
        Deprecated; see `reduction`.
    reduction : {"mean", "sum", "none"}
        Default "mean", over all numbers.
    pos_weight : Tensor, optional
        How much targets of 1 count, of a shape that broadcasts to that of `input`.

    Returns
    -------
    Tensor, shape () or, for "none", that of `input`

    Raises
    ------
    ShapeError, DTypeError, ArgumentError
        An argument does not fit; the message says which and what was expected.

    Examples
    --------
    >>> import minidl
    >>> loss = minidl.nn.BCEWithLogitsLoss(reduction="none")
    >>> loss(minidl.tensor([0.0, 2.0]), minidl.tensor([1.0, 1.0]))  # ln 2
    tensor([0.6931, 0.1269])
    """
    name = "binary_cross_entropy_with_logits"
    reduction = checked_reduction(name, reduction, size_average, reduce)
    c = _weight(name, "pos_weight", input, pos_weight)
    input, target = _floats(name, input, target)
    return BinaryCrossEntropyFunction.apply(
        input, target, _weight(name, "weight", input, weight), c, reduction
    )


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Return the binary cross-entropy between probabilities and targets.

    Parameters
    ----------
    input : Tensor, floating point
        Probabilities, of any shape.
    target, weight, size_average, reduce, reduction
        As for :func:`binary_cross_entropy_with_logits`, with the same errors.

    Raises
    ------
    ArgumentError
        A number is not in [0, 1]. A GPU's numbers are not looked at.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.binary_cross_entropy(minidl.tensor([0.5]), minidl.tensor([1.0]))
    tensor(0.6931)
    """
    name = "binary_cross_entropy"
    reduction = checked_reduction(name, reduction, size_average, reduce)
    input, target = _floats(name, input, target)
    for what, tensor in (("input", input), ("target", target)):
        p = tensor.array
        if isinstance(p, np.ndarray) and not ((p >= 0) & (p <= 1)).all():
            raise ArgumentError(f"{name}: {what} holds {p.min()} to {p.max()}: expected 0 to 1")
    return BinaryCrossEntropyFunction.apply(
        input, target, _weight(name, "weight", input, weight), None, reduction
    )


def _floats(name: str, input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both as floats of one dtype."""
    if not input.is_floating_point():
        raise DTypeError(f"{name}: input must be floats, got {input.dtype}")
    return alike(name, input, target)


def _weight(name: str, argument: str, input: Tensor, weight: Tensor | None) -> Any:
    """Return a copy of a weight in the dtype of `input`; 1 if there is none."""
    if weight is None:
        return 1
    check_one_device(name, input=input.array, **{argument: weight.array})
    shape, own = tuple(input.shape), tuple(weight.shape)
    if len(own) > len(shape) or any(
        n not in (1, m) for n, m in zip(reversed(own), reversed(shape), strict=False)
    ):
        raise ShapeError(f"{name}: {argument} of shape {own} does not broadcast to {shape}")
    return weight.array.astype(input.dtype)


class BCEWithLogitsLoss(Module):
    """Binary cross-entropy of logits: see :func:`binary_cross_entropy_with_logits`.

    Parameters
    ----------
    weight, size_average, reduce, reduction, pos_weight
        As for the function. The weights are buffers: saved, and moved along by ``to``.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        pos_weight: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.reduction = checked_reduction("BCEWithLogitsLoss", reduction, size_average, reduce)
        self.register_buffer("weight", weight)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of logits `input` and `target`."""
        return binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class BCELoss(Module):
    """Binary cross-entropy of probabilities: see :func:`binary_cross_entropy`.

    Parameters
    ----------
    weight, size_average, reduce, reduction
        As for the function. The weight is a buffer: saved, and moved along by ``to``.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        self.reduction = checked_reduction("BCELoss", reduction, size_average, reduce)
        self.register_buffer("weight", weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of probabilities `input` and `target`."""
        return binary_cross_entropy(input, target, self.weight, reduction=self.reduction)
