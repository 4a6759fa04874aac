"""Activations: ReLU, tanh, sigmoid, softmax and log-softmax.

========== ===================== ==========================================
function   y                     dx
========== ===================== ==========================================
relu       max(x, 0)             dy where y > 0, else 0 (0 at x = 0)
tanh       tanh x                dy·(1 - y²)
sigmoid    1 / (1 + e^-x)        dy·y·(1 - y)
softmax    e^x_i / Σ_j e^x_j     y_i·(dy_i - Σ_j dy_j·y_j)
logsoftmax x_i - ln Σ_j e^x_j    dy_i - softmax(x)_i·Σ_j dy_j
========== ===================== ==========================================

All gradients need the result only, so that the input can be freed (or overwritten: ``inplace``).
Krizhevsky, Sutskever and Hinton (2012) reach 25 % training error on CIFAR-10 six times sooner with
ReLU than with tanh: its slope is 1 however large x gets, where tanh's tends to 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd import Function, Node, describe, is_grad_enabled
from ..device import Array, array_module
from ..errors import AutogradError, DTypeError
from ..kernels import cpu
from ..kernels.cpu import relu as cpu_relu
from ..kernels.cuda import relu as cuda_relu
from ..kernels.cuda import sigmoid as cuda_sigmoid
from ..kernels.cuda import softmax as cuda_softmax
from ..kernels.cuda import tanh as cuda_tanh
from ..tensor import Tensor
from .module import Module

__all__ = [
    "LogSoftmax",
    "ReLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "log_softmax",
    "relu",
    "sigmoid",
    "softmax",
    "tanh",
]


def has_kernels(x: Array) -> bool:
    """Return whether `x` is on a GPU and of a dtype that the kernels have (float16 is not)."""
    return not isinstance(x, (np.ndarray, np.generic)) and x.dtype.char in "fd"


def _check_inplace(name: str, input: Tensor) -> None:
    if is_grad_enabled() and input.requires_grad and input.is_leaf:
        raise AutogradError(
            f"{name}: inplace=True would overwrite {describe(input)}, a leaf that requires a "
            "gradient"
        )


# --- ReLU -----------------------------------------------------------------------------------------


def relu_gradient(y: Array, grad: Array, overwrite: bool) -> Array:
    """Return the gradient of ``y = max(x, 0)``'s input, in the memory of `grad` if `overwrite`."""
    if isinstance(y, np.ndarray):
        return cpu_relu.backward(y, grad, overwrite=overwrite)
    if has_kernels(y):
        return cuda_relu.backward(y, grad, overwrite=overwrite)
    return grad * (y > 0)


def relu_(y: Array) -> None:
    """Overwrite an array on a GPU by ``max(y, 0)``."""
    if has_kernels(y):
        cuda_relu.forward(y, inplace=True)
    else:  # float16
        array_module(y).maximum(y, y.dtype.type(0), out=y)


class ReLUFunction(Function):
    """``max(x, 0)``."""

    @staticmethod
    def forward(ctx: Node, x: Array, inplace: bool) -> Array:
        if isinstance(x, np.ndarray):
            y = cpu_relu.forward(x, inplace=inplace)
        elif has_kernels(x):
            y = cuda_relu.forward(x, inplace=inplace)
        else:  # integers
            xp = array_module(x)
            y = xp.maximum(x, x.dtype.type(0), out=x if inplace else None)
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (y,) = ctx.saved_tensors
        return relu_gradient(y, grad, ctx.may_overwrite[0]), None


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``max(input, 0)``; NaN stays NaN.

    Parameters
    ----------
    input : Tensor
    inplace : bool
        Overwrite `input`. Default False.
    """
    if inplace:
        _check_inplace("relu", input)
    return ReLUFunction.apply(input, inplace)


# --- tanh and sigmoid -----------------------------------------------------------------------------


class TanhFunction(Function):
    """``tanh x``."""

    @staticmethod
    def forward(ctx: Node, x: Array) -> Array:
        if isinstance(x, np.ndarray):
            y = cpu.apply_ufunc(np.tanh, x)
        elif has_kernels(x):
            y = cuda_tanh.forward(x)
        else:  # float16
            y = array_module(x).tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        if has_kernels(y):
            return cuda_tanh.backward(y, grad)
        return grad * (1 - y * y)


class SigmoidFunction(Function):
    """``1 / (1 + e^-x)``; for negative x as ``e^x / (1 + e^x)``, so that nothing overflows."""

    @staticmethod
    def forward(ctx: Node, x: Array) -> Array:
        xp = array_module(x)
        if has_kernels(x):
            y = cuda_sigmoid.forward(x)
        else:  # the CPU, and float16 on a GPU
            small = xp.exp(-xp.abs(x))  # in (0, 1]
            y = xp.where(x >= 0, 1, small) / (1 + small)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        if has_kernels(y):
            return cuda_sigmoid.backward(y, grad)
        return grad * y * (1 - y)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangents."""
    return TanhFunction.apply(_float("tanh", input))


def sigmoid(input: Tensor) -> Tensor:
    """Return ``1 / (1 + exp(-input))``."""
    return SigmoidFunction.apply(_float("sigmoid", input))


def _float(name: str, input: Tensor) -> Tensor:
    return input if input.is_floating_point() else input.float()


# --- Softmax --------------------------------------------------------------------------------------


def log_softmax_array(x: Array, axis: int) -> Array:
    """Return ``x - ln Σ e^x`` along `axis`, with the maximum taken off first against overflow."""
    xp = array_module(x)
    shifted = x - x.max(axis=axis, keepdims=True)
    shifted -= xp.log(xp.exp(shifted).sum(axis=axis, keepdims=True))
    return shifted


class SoftmaxFunction(Function):
    """``e^x_i / Σ_j e^x_j`` along an axis."""

    @staticmethod
    def forward(ctx: Node, x: Array, axis: int) -> Array:
        ctx.axis = axis
        if has_kernels(x):
            y = cuda_softmax.forward(x, axis, logarithm=False)
        else:
            y = array_module(x).exp(x - x.max(axis=axis, keepdims=True))
            y /= y.sum(axis=axis, keepdims=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (y,) = ctx.saved_tensors
        if has_kernels(y):
            return cuda_softmax.backward(y, grad, ctx.axis, logarithm=False), None
        return y * (grad - (grad * y).sum(axis=ctx.axis, keepdims=True)), None


class LogSoftmaxFunction(Function):
    """``x_i - ln Σ_j e^x_j`` along an axis."""

    @staticmethod
    def forward(ctx: Node, x: Array, axis: int) -> Array:
        ctx.axis = axis
        if has_kernels(x):
            y = cuda_softmax.forward(x, axis, logarithm=True)
        else:
            y = log_softmax_array(x, axis)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (y,) = ctx.saved_tensors
        if has_kernels(y):
            return cuda_softmax.backward(y, grad, ctx.axis, logarithm=True), None
        return grad - array_module(y).exp(y) * grad.sum(axis=ctx.axis, keepdims=True), None


def softmax(input: Tensor, dim: int = -1, *, dtype: Any = None) -> Tensor:
    """Return ``exp(input) / sum(exp(input))`` along `dim`.

    Parameters
    ----------
    input : Tensor of floats
    dim : int
        Default -1.
    dtype : dtype, optional
        Cast `input` to it first.

    Raises
    ------
    DTypeError
        `input` is not of floats.
    """
    return _softmax("softmax", SoftmaxFunction, input, dim, dtype)


def log_softmax(input: Tensor, dim: int = -1, *, dtype: Any = None) -> Tensor:
    """Return the logarithm of :func:`softmax`, without its loss of precision."""
    return _softmax("log_softmax", LogSoftmaxFunction, input, dim, dtype)


def _softmax(name: str, function: type[Function], input: Tensor, dim: int, dtype: Any) -> Tensor:
    if dtype is not None:
        input = input.to(dtype=dtype)
    if not input.is_floating_point():
        raise DTypeError(f"{name}: expected floats, got {input.dtype}")
    if input.numel() == 0:
        return input * 1
    return function.apply(input, dim)


# --- Modules --------------------------------------------------------------------------------------


class ReLU(Module):
    """``max(x, 0)``.

    Parameters
    ----------
    inplace : bool
        Overwrite the input. Default False.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return ``max(input, 0)``."""
        return relu(input, self.inplace)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return "inplace=True" if self.inplace else ""


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``tanh(input)``."""
        return tanh(input)


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``sigmoid(input)``."""
        return sigmoid(input)


class Softmax(Module):
    """Softmax along an axis.

    Parameters
    ----------
    dim : int
        Default -1.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the softmax of `input` along `dim`."""
        return softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of the softmax along an axis.

    Parameters
    ----------
    dim : int
        Default -1.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return the log-softmax of `input` along `dim`."""
        return log_softmax(input, self.dim)
