"""Activations of AlexNet's time: ReLU, tanh and the logistic sigmoid.

Forward and backward, for each number x of any shape, with the incoming gradient g = ∂L/∂y:

    ReLU      y = max(x, 0)          ∂L/∂x = g where y > 0, else 0 (also at x = 0)
    tanh      y = tanh x             ∂L/∂x = g·(1 − y²)
    sigmoid   y = 1 / (1 + e^−x)     ∂L/∂x = g·y·(1 − y)

All three gradients follow from the result y. The input is not kept, so it may be overwritten
(``inplace=True``).

Krizhevsky, Sutskever and Hinton (2012) reach 25 % training error on CIFAR-10 six times sooner with
ReLU than with tanh: its slope is 1 however large x gets, while that of tanh tends to 0.
``rectifiers`` holds what took ReLU's place later, ``softmax`` the softmax.
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..autograd.tape_array import recorded_by
from ..autograd.views import check_changeable, check_no_overlap
from ..device import Array, array_module
from ..ops.inplace import is_recorded
from ..ops.precision import in_float32, rounded, widened
from ..tensor import Tensor
from .module import Module

__all__ = ["ReLU", "Sigmoid", "Tanh", "relu", "sigmoid", "tanh"]

# --- The plain code -------------------------------------------------------------------------------


def relu_forward(x: Array) -> Array:
    """Return max(x, 0); NaN stays NaN."""
    return array_module(x).maximum(x, x.dtype.type(0))


def relu_backward(grad: Array, y: Array) -> Array:
    """Return the gradient where y > 0. A product with 0 would turn infinity into NaN."""
    return array_module(y).where(y > 0, grad, grad.dtype.type(0))


def tanh_forward(x: Array) -> Array:
    """Return tanh x."""
    return array_module(x).tanh(x)


@in_float32
def tanh_backward(grad: Array, y: Array) -> Array:
    """Return g·(1 − y²)."""
    return grad * (1 - y * y)


@recorded_by(lambda: SigmoidFunction)
def sigmoid_forward(x: Array) -> Array:
    """Return 1 / (1 + e^−x), for negative x as e^x / (1 + e^x): neither overflows."""
    xp = array_module(x)
    small = xp.exp(-xp.abs(x))  # in (0, 1]
    return xp.where(x >= 0, 1, small) / (1 + small)


@in_float32
def sigmoid_backward(grad: Array, y: Array) -> Array:
    """Return g·y·(1 − y)."""
    return grad * y * (1 - y)


# --- The operation --------------------------------------------------------------------------------


class ReLUFunction(Function):
    """max(x, 0), in the memory of x if `inplace`."""

    @staticmethod
    def forward(ctx: Context, x: Array, inplace: bool) -> Array:
        ctx.kernel = kernels.of("relu", x)
        if ctx.kernel:
            y = ctx.kernel.forward(x, inplace=inplace)
        else:
            y = relu_forward(x)
            if inplace:
                x[...] = y
                y = x
        if inplace:
            ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (y,) = ctx.saved_tensors
        if ctx.kernel:
            return ctx.kernel.backward(y, grad, overwrite=ctx.may_overwrite[0]), None
        return relu_backward(grad, y), None


class TanhFunction(Function):
    """tanh x."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.kernel = kernels.of("tanh", x)
        y = ctx.kernel.forward(x) if ctx.kernel else tanh_forward(*widened(x))
        ctx.save_for_backward(y)  # before it is rounded to float16, where 1 − y² may be 0
        return rounded(y, x.dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        return ctx.kernel.backward(y, grad) if ctx.kernel else tanh_backward(grad, y)


TanhFunction.intermediates = TanhFunction


class SigmoidFunction(Function):
    """1 / (1 + e^−x)."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> Array:
        ctx.kernel = kernels.of("sigmoid", x)
        y = ctx.kernel.forward(x) if ctx.kernel else sigmoid_forward(*widened(x))
        ctx.save_for_backward(y)  # before it is rounded to float16, as for tanh
        return rounded(y, x.dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        (y,) = ctx.saved_tensors
        return ctx.kernel.backward(y, grad) if ctx.kernel else sigmoid_backward(grad, y)


SigmoidFunction.intermediates = SigmoidFunction


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``max(input, 0)``; NaN stays NaN.

    Parameters
    ----------
    input : Tensor
        Of any shape and dtype.
    inplace : bool
        Overwrite `input`. Default False.

    Returns
    -------
    Tensor, shape and dtype of `input`

    Raises
    ------
    AutogradError
        `inplace`, and `input` is a leaf that requires a gradient.

    Examples
    --------
    >>> import minidl
    >>> minidl.relu(minidl.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    if inplace:
        check_inplace(input)
    return ReLUFunction.apply(input, inplace)


def tanh(input: Tensor) -> Tensor:
    """Return the hyperbolic tangents; integers become float32 first.

    Examples
    --------
    >>> import minidl
    >>> minidl.tanh(minidl.tensor([0.0, 1.0]))
    tensor([0.0000, 0.7616])
    """
    return TanhFunction.apply(_float(input))


def sigmoid(input: Tensor) -> Tensor:
    """Return ``1 / (1 + exp(-input))``; integers become float32 first.

    Examples
    --------
    >>> import minidl
    >>> minidl.sigmoid(minidl.tensor([0.0, 2.0]))
    tensor([0.5000, 0.8808])
    """
    return SigmoidFunction.apply(_float(input))


def _float(input: Tensor) -> Tensor:
    return input if input.is_floating_point() else input.float()


def check_inplace(input: Tensor) -> None:
    """Raise an error if `input` can't be overwritten: see :func:`minidl.ops.inplace.store`."""
    if is_recorded(input):
        check_changeable(input)
    check_no_overlap(input)


class ReLU(Module):
    """The rectified linear unit, ``max(x, 0)``: see :func:`relu`.

    Parameters
    ----------
    inplace : bool
        Overwrite the input. Default False.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.ReLU()(minidl.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        """Return ``max(input, 0)``."""
        return relu(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Tanh(Module):
    """The hyperbolic tangent: see :func:`tanh`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``tanh(input)``."""
        return tanh(input)


class Sigmoid(Module):
    """The logistic sigmoid, ``1 / (1 + exp(-x))``: see :func:`sigmoid`."""

    def forward(self, input: Tensor) -> Tensor:
        """Return ``sigmoid(input)``."""
        return sigmoid(input)
