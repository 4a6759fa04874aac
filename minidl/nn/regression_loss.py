"""Losses of regression: how far numbers are from their targets.

Forward and slope, for each difference d = x − t of any shape:

    MSE         l = d²                            dl/dd = 2·d
    L1          l = |d|                           dl/dd = sign d, which is 0 at 0
    smooth L1   l = d²/(2β)        (|d| < β)      dl/dd = d/β
                l = |d| − β/2      (|d| ≥ β)      dl/dd = sign d

Smooth L1 is a parabola close to 0 and L1 beyond, and L1 everywhere for β = 0.

Backward. ∂L/∂x = g·dl/dd with the incoming gradient g of each loss, and ∂L/∂t = −∂L/∂x.

Sources: Girshick (2015) for smooth L1.
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..device import Array, array_module
from ..errors import ArgumentError
from ..ops.precision import in_float64, rounded_like
from ..tensor import Tensor
from .module import Module
from .reduction import alike, checked_reduction, gradient_of_losses, reduce_losses

__all__ = ["L1Loss", "MSELoss", "SmoothL1Loss", "l1_loss", "mse_loss", "smooth_l1_loss"]

# --- The plain code -------------------------------------------------------------------------------


@in_float64
def mse_forward(x: Array, target: Array) -> Array:
    """Return l."""
    difference = x - target
    return difference * difference


@in_float64
def mse_backward(grad: Array, x: Array, target: Array) -> Array:
    """Return ∂L/∂x."""
    return 2 * (x - target) * grad


@in_float64
def smooth_l1_forward(x: Array, target: Array, beta: float) -> tuple[Array, Array]:
    """Return l and dl/dd."""
    xp, difference = array_module(x), x - target
    slope = xp.clip(difference / beta, -1, 1) if beta else xp.sign(difference)
    return slope * (difference - beta / 2 * slope), slope


@in_float64
def smooth_l1_backward(grad: Array, slope: Array) -> Array:
    """Return ∂L/∂x."""
    return grad * slope


# --- The operation --------------------------------------------------------------------------------


class MSEFunction(Function):
    """(x − t)²; saves x and t."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array, target: Array, reduction: str) -> Array:
        ctx.reduction = reduction
        ctx.kernel = kernels.of("mse_loss", x)
        ctx.save_for_backward(x, target)
        if ctx.kernel:
            return ctx.kernel.forward(x, target, reduction)
        losses = mse_forward(x, target)
        return rounded_like(reduce_losses(losses, losses.size, reduction), x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x, target), want = ctx.saved_tensors, ctx.needs_input_grad[1]
        if ctx.kernel:
            return *ctx.kernel.backward(grad, x, target, ctx.reduction, want), None
        g = gradient_of_losses(grad, x.size, ctx.reduction)
        dx = mse_backward(g, x, target)
        return dx, -dx if want else None, None


class Slope(Function):
    """dl/dd, which SmoothL1Function saves: 1/β inside of ±1, constant outside."""

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (slope,) = ctx.saved_tensors
        steep = abs(slope) < 1 if ctx.beta else slope != slope
        dx = grad * (steep / (ctx.beta or 1)).astype(grad.dtype)
        return dx, -dx, None, None


class SmoothL1Function(Function):
    """Smooth L1, or L1 for β = 0. It saves the slope."""

    autocast = "float32"
    intermediates = Slope

    @staticmethod
    def forward(ctx: Context, x: Array, target: Array, beta: float, reduction: str) -> Array:
        ctx.beta, ctx.reduction = beta, reduction
        losses, slope = smooth_l1_forward(x, target, beta)
        ctx.save_for_backward(slope)
        return rounded_like(reduce_losses(losses, losses.size, reduction), x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (slope,) = ctx.saved_tensors
        dx = smooth_l1_backward(gradient_of_losses(grad, slope.size, ctx.reduction), slope)
        return dx, -dx if ctx.needs_input_grad[1] else None, None, None


def _weighted(name: str, losses: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """Return the weighted losses, their sum or their weighted mean."""
    _, weight = alike(name, losses, weight)
    losses = losses * weight
    if reduction == "none":
        return losses
    return losses.sum() / weight.sum() if reduction == "mean" else losses.sum()


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the squared differences, their mean or their sum.

    Parameters
    ----------
    input, target : Tensor of one shape
    size_average, reduce
        Deprecated; see `reduction`.
    reduction : {"mean", "sum", "none"}
        Default "mean".
    weight : Tensor, shape of `input`, optional
        A factor for each loss; their mean is then divided by the mean weight.

    Returns
    -------
    Tensor, shape () or, for "none", that of `input`

    Raises
    ------
    ShapeError
        The shapes differ (PyTorch would broadcast them with a warning: nearly always a mistake).
    ArgumentError
        `reduction` is none of the three.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.mse_loss(minidl.tensor([1.0, 5.0]), minidl.tensor([0.0, 2.0]))
    tensor(5.)
    """
    reduction = checked_reduction("mse_loss", reduction, size_average, reduce)
    input, target = alike("mse_loss", input, target)
    if weight is not None:
        return _weighted("mse_loss", mse_loss(input, target, reduction="none"), weight, reduction)
    return MSEFunction.apply(input, target, reduction)


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """Return the magnitudes of the differences, their mean or their sum.

    Parameters and errors are those of :func:`mse_loss`.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.l1_loss(minidl.tensor([1.0, 5.0]), minidl.tensor([0.0, 2.0]))
    tensor(2.)
    """
    reduction = checked_reduction("l1_loss", reduction, size_average, reduce)
    input, target = alike("l1_loss", input, target)
    if weight is not None:
        return _weighted("l1_loss", l1_loss(input, target, reduction="none"), weight, reduction)
    return SmoothL1Function.apply(input, target, 0.0, reduction)


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Return the smooth L1 losses (squares below `beta`, magnitudes beyond), their mean or sum.

    Parameters
    ----------
    input, target, size_average, reduce, reduction
        As for :func:`mse_loss`, with the same errors.
    beta : float
        The difference from which on the loss grows linearly, at least 0. Default 1.

    Raises
    ------
    ArgumentError
        `beta` is negative.

    Examples
    --------
    >>> import minidl
    >>> smooth_l1_loss = minidl.nn.functional.smooth_l1_loss
    >>> smooth_l1_loss(minidl.tensor([1.0, 5.0]), minidl.tensor([0.0, 2.0]), reduction="none")
    tensor([0.5000, 2.5000])
    """
    reduction = checked_reduction("smooth_l1_loss", reduction, size_average, reduce)
    if beta < 0:
        raise ArgumentError(f"smooth_l1_loss: beta must be at least 0, got {beta}")
    input, target = alike("smooth_l1_loss", input, target)
    return SmoothL1Function.apply(input, target, beta, reduction)


class _Loss(Module):
    """Base of the losses below: a module with a reduction."""

    def __init__(
        self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__()
        self.reduction = checked_reduction(type(self).__name__, reduction, size_average, reduce)


class MSELoss(_Loss):
    """Mean squared error: see :func:`mse_loss`.

    Parameters
    ----------
    size_average, reduce
        Deprecated; see `reduction`.
    reduction : {"mean", "sum", "none"}
        Default "mean".
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `input` and `target`."""
        return mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """Mean absolute error: see :func:`l1_loss`. Parameters as for :class:`MSELoss`."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `input` and `target`."""
        return l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    """Smooth L1 loss: see :func:`smooth_l1_loss`.

    Parameters
    ----------
    size_average, reduce, reduction
        As for :class:`MSELoss`.
    beta : float
        The difference from which on the loss grows linearly. Default 1.
    """

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: bool | None = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Return the loss of `input` and `target`."""
        return smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)
