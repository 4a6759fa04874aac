"""GELU, the Gaussian error linear unit: each number times its rank among normal ones.

Forward. With the distribution Φ and the density φ of the normal distribution, for each number x:

    y = x·Φ(x)            Φ(x) = (1 + erf(x/√2))/2            φ(x) = e^(−x²/2)/√(2π)

or, approximate="tanh", with u = √(2/π)·(x + 0.044715·x³), off by 5e-4 at most:

    y = x·(1 + tanh u)/2

Backward. ∂L/∂x = g·dy/dx with the incoming gradient g and, as Φ' = φ and tanh' = 1 − tanh²,

    dy/dx = Φ(x) + x·φ(x)    or    (1 + tanh u)/2 + x·(1 − tanh² u)·u'/2

The forward computes the slope dy/dx as well, and keeps it alone. Shapes are those of x.

Source: Hendrycks and Gimpel (2016).
"""

from __future__ import annotations

import math
from typing import Any

from ..autograd import Context, Function
from ..autograd.tape_array import is_on_tape, recorded_by
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError
from ..ops.precision import rounded, widened
from ..tensor import Tensor
from .module import Module

__all__ = ["GELU", "gelu"]

# --- The plain code -------------------------------------------------------------------------------

#: P(u) = Σ_k ERFC[k]·u^k with erfc z = t·e^(−z² + P(2t − 1)), t = 2/(2 + z), for z ≥ 0: a Chebyshev
#: series of ln(erfc z) + z² − ln t, computed in 40 digits and cut off where terms are below 1e-16.
ERFC = (
    -0.67179408405669227, 0.67264322397765597, 0.047343306841904428, -0.046895610231083023,
    -0.0098726893663899586, 0.0088249385537387634, 0.0017589335577990161, -0.0023458124448021561,
    -1.4624686337800336e-4, 6.7367826970698315e-4, -9.3735031170981705e-5, -1.7429984933155645e-4,
    7.1401014127570306e-5, 3.1733105993770607e-5, -3.0187884551394244e-5, 1.6992332312277022e-7,
    8.5626234201212856e-6, -3.0076454344106693e-6, -1.27231190486887e-6, 1.3267813608518888e-6,
    -1.6849800720653297e-7, -3.1683413676941469e-7, 1.5334345920908177e-7, 3.9722035472737954e-8,
    -3.9171820510271858e-8, -1.5867042924138043e-9, 4.0608821469697202e-9,
)  # fmt: skip


@recorded_by(lambda: NormalFunction)
def normal(x: Array) -> tuple[Array, Array]:
    """Return Φ(x) = 1 − erfc(x/√2)/2 and φ(x): Φ is off by one rounding, 2.3e-16 in float64."""
    xp = array_module(x)
    z = xp.minimum(xp.abs(x), x.dtype.type(40)) / math.sqrt(2)  # from 40 on, tail and density are 0
    power, t = xp.exp(-z * z), 2 / (2 + z)
    p, u = 0 * t, 2 * t - 1
    for coefficient in reversed(ERFC):
        p *= u
        p += coefficient
    tail = t * power * xp.exp(p) / 2  # Φ(−|x|)
    return xp.where(x > 0, 1 - tail, tail), power / math.sqrt(2 * math.pi)


def forward(x: Array) -> tuple[Array, Array]:
    """Return y and dy/dx."""
    distribution, density = normal(x)
    return x * distribution, distribution + x * density


def tanh_forward(x: Array) -> tuple[Array, Array]:
    """Return y and dy/dx by the formula with tanh."""
    xp, c = array_module(x), math.sqrt(2 / math.pi)
    near = xp.clip(x, -20, 20)  # beyond, tanh u is ±1 and its slope 0
    tanh = xp.tanh(c * (near + 0.044715 * near**3))
    steepness = c * (1 + 3 * 0.044715 * near**2)  # u'
    return x * ((1 + tanh) / 2), (1 + tanh + near * (1 - tanh * tanh) * steepness) / 2


def backward(grad: Array, slope: Array) -> Array:
    """Return g·dy/dx."""
    return grad * slope


# --- The operation --------------------------------------------------------------------------------


class NormalFunction(Function):
    """Φ(x) and φ(x), for gradients of gradients: Φ' = φ and φ' = -x·φ."""

    @staticmethod
    def forward(ctx: Context, x: Array) -> tuple[Array, Array]:
        distribution, density = normal(x)
        ctx.save_for_backward(x, density)
        return distribution, density

    @staticmethod
    def backward(ctx: Context, grad: Array, grad_density: Array) -> Array:
        x, density = ctx.saved_tensors
        return (grad - grad_density * x) * density


class GELUFunction(Function):
    """x·Φ(x); float16 is computed in float32, since Φ loses its digits otherwise.

    Saves the slope, and x for gradients of gradients.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, approximate: str) -> Array:
        plain = forward if approximate == "none" else tanh_forward
        y, slope = plain(*widened(x))
        ctx.plain = plain
        ctx.save_for_backward(slope, x)
        return rounded(y, x.dtype)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        slope, x = ctx.saved_tensors
        if is_on_tape(x):
            slope = ctx.plain(*widened(x))[1]
        return backward(grad, slope), None


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """Return each number times the normal distribution there, ``x·Φ(x)``.

    Parameters
    ----------
    input : Tensor, floating point
    approximate : {"none", "tanh"}
        "tanh" takes the formula with tanh for Φ. Default "none".

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    ArgumentError
        `approximate` is neither.
    DTypeError
        `input` is not floating point.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.functional.gelu(minidl.tensor([-1.0, 2.0]))
    tensor([-0.1587,  1.9545])
    """
    if approximate not in ("none", "tanh"):
        raise ArgumentError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    if not input.is_floating_point():
        raise DTypeError(f"gelu: expected floats, got {input.dtype}; use .float() first")
    return GELUFunction.apply(input, approximate)


class GELU(Module):
    """The Gaussian error linear unit: see :func:`gelu`.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        Default "none".
    """

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        """Return ``gelu(input)``."""
        return gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"
