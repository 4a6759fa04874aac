"""Rectifiers: what took ReLU's place in later networks, close to 0 for x ≪ 0 and to x for x ≫ 0.

Forward and slope, for each number x of any shape:

    LeakyReLU   y = x  (x > 0)                     dy/dx = 1
                y = a·x  (x ≤ 0)                   dy/dx = a
    ELU         y = x  (x > 0)                     dy/dx = 1
                y = α·(e^x − 1)  (x ≤ 0)           dy/dx = α·e^x
    SiLU        y = x·σ(x)                         dy/dx = σ(x)·(1 + x·(1 − σ(x)))
    Softplus    y = ln(1 + e^{β·x})/β              dy/dx = σ(β·x)

σ is the logistic sigmoid, 1 / (1 + e^−z). GELU has its own page, ``gelu``.

Backward. ∂L/∂x = g·dy/dx with the incoming gradient g. The forward computes the slope as well,
since both need the same powers, and keeps it alone: x may be overwritten (``inplace=True``).

Sources: Maas et al. (2013), Clevert et al. (2016), Elfwing et al. (2017), Dugas et al. (2001).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..autograd import Context, Function
from ..autograd.tape_array import is_on_tape
from ..device import Array, array_module
from ..errors import AutogradError, DTypeError
from ..ops.precision import in_float32, rounded
from ..tensor import Tensor
from .activation import check_inplace, sigmoid_forward
from .module import Module

__all__ = ["ELU", "LeakyReLU", "SiLU", "Softplus", "elu", "leaky_relu", "silu", "softplus"]

# --- The plain code -------------------------------------------------------------------------------


@in_float32
def leaky_relu_forward(x: Array, negative_slope: float) -> tuple[Array, Array]:
    """Return y and dy/dx."""
    slope = array_module(x).where(x > 0, x.dtype.type(1), x.dtype.type(negative_slope))
    return x * slope, slope


@in_float32
def elu_forward(x: Array, alpha: float) -> tuple[Array, Array]:
    """Return y and dy/dx."""
    xp = array_module(x)
    low = xp.minimum(x, x.dtype.type(0))  # where x > 0 nothing is raised to a power
    y = xp.where(x > 0, x, alpha * xp.expm1(low))
    return y, xp.where(x > 0, x.dtype.type(1), alpha * xp.exp(low))


@in_float32
def silu_forward(x: Array) -> tuple[Array, Array]:
    """Return y and dy/dx."""
    s = sigmoid_forward(x)
    return x * s, s * (1 + x * (1 - s))


@in_float32
def softplus_forward(x: Array, beta: float, threshold: float) -> tuple[Array, Array]:
    """Return y and dy/dx; y = x where β·x is above the threshold."""
    xp, z = array_module(x), beta * x
    # ln(1 + e^z) = max(z, 0) + ln(1 + e^−|z|) does not overflow.
    y = (xp.maximum(z, z.dtype.type(0)) + xp.log1p(xp.exp(-xp.abs(z)))) / beta
    linear = z > threshold
    return xp.where(linear, x, y), xp.where(linear, x.dtype.type(1), sigmoid_forward(z))


def backward(grad: Array, slope: Array) -> Array:
    """Return g·dy/dx."""
    return grad * slope


# --- The operation --------------------------------------------------------------------------------

#: d²y/dx², from dy/dx and the settings, of those that need no x for it.
CURVATURES: dict[Any, Callable[..., Array]] = {
    leaky_relu_forward: lambda slope, negative_slope: 0 * slope,
    elu_forward: lambda slope, alpha: slope * (slope != 1),  # 1 is that of positive x
    softplus_forward: lambda slope, beta, threshold: beta * slope * (1 - slope),
}


class Slope(Function):
    """dy/dx, which RectifierFunction saves."""

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (slope,) = ctx.saved_tensors
        return grad * CURVATURES[ctx.rectifier](slope, *ctx.settings), None, None, None


class RectifierFunction(Function):
    """One of the plain forwards above with its settings, in the memory of x if `inplace`.

    Saves the slope and, for gradients of gradients that can't do without it, x.
    """

    intermediates = Slope

    @staticmethod
    def autocast(args: Any) -> str | None:
        """Softplus, an exponential, is float32."""
        return "float32" if args[1] is softplus_forward else None

    @staticmethod
    def forward(ctx: Context, x: Array, rectifier: Any, settings: Any, inplace: bool) -> Array:
        y, slope = rectifier(x, *settings)
        ctx.rectifier, ctx.settings = rectifier, settings
        ctx.save_for_backward(slope, None if inplace or rectifier in CURVATURES else x)
        if not inplace:
            return rounded(y, x.dtype)
        x[...] = y
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        slope, x = ctx.saved_tensors
        if is_on_tape(x):
            slope = ctx.rectifier(x, *ctx.settings)[1]
        elif is_on_tape(slope) and ctx.rectifier not in CURVATURES:
            raise AutogradError(
                "silu: gradients of gradients need the input, which inplace=True has overwritten"
            )
        return backward(grad, slope), None, None, None


def _apply(name: str, input: Tensor, rectifier: Any, settings: Any, inplace: bool = False) -> Any:
    if not input.is_floating_point():
        raise DTypeError(f"{name}: expected floats, got {input.dtype}; use .float() first")
    if inplace:
        check_inplace(input)
    return RectifierFunction.apply(input, rectifier, settings, inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return `input` where it is positive, and ``negative_slope * input`` elsewhere.

    Parameters
    ----------
    input : Tensor, floating point
    negative_slope : float
        Default 0.01.
    inplace : bool
        Overwrite `input`. Default False.

    Raises
    ------
    DTypeError
        `input` is not floating point.
    AutogradError
        `inplace`, and `input` is a leaf that requires a gradient.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.leaky_relu(minidl.tensor([-1.0, 2.0]), 0.1)
    tensor([-0.1000,  2.0000])
    """
    return _apply("leaky_relu", input, leaky_relu_forward, (negative_slope,), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return `input` where it is positive, and ``alpha * (exp(input) - 1)`` elsewhere.

    Parameters
    ----------
    input, inplace
        As for :func:`leaky_relu`, with the same errors.
    alpha : float
        Minus the limit for large negative numbers. Default 1.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.elu(minidl.tensor([-1.0, 2.0]))
    tensor([-0.6321,  2.0000])
    """
    return _apply("elu", input, elu_forward, (alpha,), inplace)


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """Return ``input * sigmoid(input)``, also called swish.

    Parameters
    ----------
    input, inplace
        As for :func:`leaky_relu`, with the same errors.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.silu(minidl.tensor([-1.0, 2.0]))
    tensor([-0.2689,  1.7616])
    """
    return _apply("silu", input, silu_forward, (), inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return ``log(1 + exp(beta * input)) / beta``, a smooth ReLU.

    Parameters
    ----------
    input
        As for :func:`leaky_relu`, with the same error.
    beta, threshold : float
        The larger beta, the closer to ReLU; where ``beta * input`` is above the threshold, the
        result is `input` itself. Default 1 and 20.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.softplus(minidl.tensor([-1.0, 2.0]))
    tensor([0.3133, 2.1269])
    """
    return _apply("softplus", input, softplus_forward, (beta, threshold))


class LeakyReLU(Module):
    """ReLU with a small slope for negative numbers: see :func:`leaky_relu`.

    Parameters
    ----------
    negative_slope, inplace
        As for :func:`leaky_relu`.
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope, self.inplace = negative_slope, inplace

    def forward(self, input: Tensor) -> Tensor:
        return leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}" + (", inplace=True" if self.inplace else "")


class ELU(Module):
    """The exponential linear unit: see :func:`elu`.

    Parameters
    ----------
    alpha, inplace
        As for :func:`elu`.
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input: Tensor) -> Tensor:
        return elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class SiLU(Module):
    """The sigmoid linear unit: see :func:`silu`.

    Parameters
    ----------
    inplace : bool
        Overwrite the input. Default False.
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return silu(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Softplus(Module):
    """A smooth ReLU: see :func:`softplus`.

    Parameters
    ----------
    beta, threshold
        As for :func:`softplus`.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta, self.threshold = beta, threshold

    def forward(self, input: Tensor) -> Tensor:
        return softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"
