"""Softmax and its logarithm: scores of classes become probabilities.

Forward. Along one axis, with the largest x subtracted first so that no power overflows:

    softmax       s_i = e^{x_i} / Σ_j e^{x_j}
    log-softmax   ℓ_i = ln s_i = x_i − ln Σ_j e^{x_j}

Backward. Each x_i enters every s_j, because all share the sum: ∂s_j/∂x_i = s_j·([i = j] − s_i), and
∂ℓ_j/∂x_i = [i = j] − s_i. Summed over j against the incoming gradient g:

    softmax       ∂L/∂x_i = s_i·(g_i − Σ_j g_j·s_j)
    log-softmax   ∂L/∂x_i = g_i − e^{ℓ_i}·Σ_j g_j

Both need the result only. ``log(softmax(x))`` would be −∞ where a probability rounds to 0;
log-softmax is exact there.
"""

from __future__ import annotations

import warnings
from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..device import Array, array_module
from ..errors import DTypeError
from ..ops.axes import one_axis
from ..ops.precision import in_float64, rounded_like
from ..tensor import Tensor
from .module import Module

__all__ = ["LogSoftmax", "Softmax", "Softmin", "log_softmax", "softmax", "softmin"]

# --- The plain code -------------------------------------------------------------------------------


@in_float64
def softmax_forward(x: Array, axis: int) -> Array:
    """Return s."""
    powers = array_module(x).exp(x - x.max(axis=axis, keepdims=True))
    powers /= powers.sum(axis=axis, keepdims=True)
    return powers


@in_float64
def softmax_backward(grad: Array, s: Array, axis: int) -> Array:
    """Return s·(g − Σ g·s)."""
    return s * (grad - (grad * s).sum(axis=axis, keepdims=True))


@in_float64
def log_softmax_forward(x: Array, axis: int) -> Array:
    """Return ℓ."""
    xp = array_module(x)
    shifted = x - x.max(axis=axis, keepdims=True)
    shifted -= xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))
    return shifted


@in_float64
def log_softmax_backward(grad: Array, logs: Array, axis: int) -> Array:
    """Return g − e^ℓ·Σ g."""
    return grad - array_module(logs).exp(logs) * grad.sum(axis=axis, keepdims=True)


# --- The operation --------------------------------------------------------------------------------


class SoftmaxFunction(Function):
    """Softmax along an axis."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int) -> Array:
        ctx.axis, ctx.kernel = axis, kernels.of("softmax", x)
        y = ctx.kernel.forward(x, axis) if ctx.kernel else softmax_forward(x, axis)
        ctx.save_for_backward(y)  # of float16 before it is rounded, for differences of it
        return rounded_like(y, x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (y,) = ctx.saved_tensors
        if ctx.kernel:
            return ctx.kernel.backward(y, grad, ctx.axis), None
        return softmax_backward(grad, y, ctx.axis), None


SoftmaxFunction.intermediates = SoftmaxFunction


class LogSoftmaxFunction(Function):
    """The logarithm of the softmax along an axis."""

    autocast = "float32"

    @staticmethod
    def forward(ctx: Context, x: Array, axis: int) -> Array:
        ctx.axis, ctx.kernel = axis, kernels.of("softmax", x)
        if ctx.kernel:
            y = ctx.kernel.forward(x, axis, logarithm=True)
        else:
            y = log_softmax_forward(x, axis)
        ctx.save_for_backward(y)  # as for the softmax
        return rounded_like(y, x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (y,) = ctx.saved_tensors
        if ctx.kernel:
            return ctx.kernel.backward(y, grad, ctx.axis, logarithm=True), None
        return log_softmax_backward(grad, y, ctx.axis), None


LogSoftmaxFunction.intermediates = LogSoftmaxFunction


def softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """Return ``exp(input) / sum(exp(input))`` along `dim`.

    Parameters
    ----------
    input : Tensor, floating point
    dim : int
        The axis along which the results add up to 1. Without it, as in PyTorch, a warning, and
        axis 0 if there are 0, 1 or 3 axes, axis 1 otherwise.
    dtype : dtype, optional
        Convert `input` to it first.

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    DTypeError
        `input` is not floating point.
    IndexError
        `input` has no axis `dim`.

    Examples
    --------
    >>> import minidl
    >>> minidl.softmax(minidl.tensor([0.0, 1.0, 2.0]), 0)
    tensor([0.0900, 0.2447, 0.6652])
    """
    return _softmax("softmax", SoftmaxFunction, input, dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """Return the logarithm of :func:`softmax`, without its loss of precision.

    Parameters
    ----------
    input, dim, dtype
        As for :func:`softmax`.

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    DTypeError, IndexError
        As for :func:`softmax`.

    Examples
    --------
    >>> import minidl
    >>> minidl.log_softmax(minidl.tensor([0.0, 1000.0]), 0)
    tensor([-1000.,     0.])
    """
    return _softmax("log_softmax", LogSoftmaxFunction, input, dim, dtype)


def softmin(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """Return :func:`softmax` of ``-input``: the smallest number gets the most.

    Parameters and errors are those of :func:`softmax`.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.softmin(minidl.tensor([0.0, 1.0, 2.0]), 0)
    tensor([0.6652, 0.2447, 0.0900])
    """
    return _softmax("softmin", SoftmaxFunction, -input, dim, dtype)


def _softmax(
    name: str, function: type[Function], input: Tensor, dim: int | None, dtype: Any
) -> Tensor:
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
        warnings.warn(f"{name}: say dim=; without it, axis {dim} is meant", stacklevel=3)
    if dtype is not None:
        input = input.to(dtype=dtype)
    if not input.is_floating_point():
        raise DTypeError(f"{name}: expected floats, got {input.dtype}; use .float() first")
    dim = one_axis(name, dim, input.ndim)
    if input.numel() == 0:
        return input.exp()  # empty, and differentiable twice
    return function.apply(input, dim)


class _Along(Module):
    """The base: an axis."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_Along):
    """Softmax along an axis: see :func:`softmax`.

    Parameters
    ----------
    dim : int
        As for the function.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.Softmax(dim=1)(minidl.zeros(1, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax of `input` along `dim`."""
        return softmax(input, self.dim)


class LogSoftmax(_Along):
    """The logarithm of the softmax along an axis: see :func:`log_softmax`.

    Parameters
    ----------
    dim : int
        As for the function.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the log-softmax of `input` along `dim`."""
        return log_softmax(input, self.dim)


class Softmin(_Along):
    """Softmax of the negative input: see :func:`softmin`.

    Parameters
    ----------
    dim : int
        As for the function.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmin of `input` along `dim`."""
        return softmin(input, self.dim)
