"""The fully connected layer: each output is a weighted sum of all inputs.

Forward. With the input x (N, I), weights W (O, I) and a bias b (O,):

    y_no = b_o + Σ_i W_oi · x_ni            y  = x·Wᵀ + b       (N, O)

Backward. x_ni enters y_no of its own row n with the factor W_oi, and W_oi enters y_no of every row
with the factor x_ni. Summed against the incoming gradient dy = ∂L/∂y:

    ∂L/∂x_ni = Σ_o dy_no · W_oi             dx = dy·W           (N, I)
    ∂L/∂W_oi = Σ_n dy_no · x_ni             dW = dyᵀ·x          (O, I)
    ∂L/∂b_o  = Σ_n dy_no                    db = Σ_n dy_n       (O,)

Inputs with more axes, (..., I), are taken as rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..autograd.precision import is_cast
from ..device import Array, array_module
from ..errors import DTypeError, ShapeError
from ..ops import empty
from ..ops.precision import in_float32, rounded_like
from ..tensor import Tensor
from . import init
from .module import Module, Parameter

__all__ = ["Linear", "linear"]

# --- The plain code -------------------------------------------------------------------------------


@in_float32
def forward(x: Array, weight: Array, bias: Array | None) -> Array:
    """Return y = x·Wᵀ + b."""
    y = array_module(x).matmul(x, weight.T)  # (N, O)
    if bias is not None:
        y += bias
    return y


@in_float32
def backward(
    grad: Array, x: Array, weight: Array, want: Sequence[bool]
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dW and db (None if not needed)."""
    xp = array_module(x)
    dx = xp.matmul(grad, weight) if want[0] else None  # (N, I)
    dweight = xp.matmul(grad.T, x) if want[1] else None  # (O, I)
    dbias = grad.sum(axis=0) if want[2] else None  # (O,)
    return dx, dweight, dbias


# --- The operation --------------------------------------------------------------------------------


def rows(x: Array) -> Array:
    """Return (..., K) as (N, K)."""
    return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


class LinearFunction(Function):
    """``x·Wᵀ + b`` for an input (..., I); saves x and W."""

    autocast = "half"
    read_for = 1, 0  # x for the gradient of w, w for that of x

    @staticmethod
    def forward(ctx: Context, x: Array, weight: Array, bias: Array | None) -> Array:
        ctx.kernel = kernels.of("linear", x)
        ctx.save_for_backward(x, weight)
        run = ctx.kernel.forward if ctx.kernel else forward
        y = rounded_like(run(rows(x), weight, bias), x)
        return y if x.ndim == 2 else y.reshape(*x.shape[:-1], len(weight))

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        x, weight = ctx.saved_tensors
        run = ctx.kernel.backward if ctx.kernel else backward
        dx, dweight, dbias = run(rows(grad), rows(x), weight, ctx.needs_input_grad)
        return dx if dx is None or x.ndim == 2 else dx.reshape(x.shape), dweight, dbias


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``input @ weight.T + bias``.

    Parameters
    ----------
    input : Tensor, shape (..., in_features)
    weight : Tensor, shape (out_features, in_features)
        Or (in_features,), with a bias without axes, for results without the last axis.
    bias : Tensor, shape (out_features,), optional

    Returns
    -------
    Tensor, shape (..., out_features)

    Raises
    ------
    ShapeError
        The last axis of `input` is not ``in_features``, or `weight` or `bias` has another shape.
    DTypeError
        `input` and `weight` have different dtypes.

    Examples
    --------
    >>> import minidl
    >>> x, w = minidl.tensor([[1.0, 2.0]]), minidl.tensor([[3.0, 4.0], [5.0, 6.0]])
    >>> minidl.nn.functional.linear(x, w)
    tensor([[11., 17.]])
    """
    if isinstance(weight, Tensor) and weight.array.ndim == 1 and (bias is None or bias.ndim == 0):
        bias = None if bias is None else bias.reshape(1)
        return linear(input, weight.unsqueeze(0), bias).squeeze(-1)
    check(input, weight, bias)
    return LinearFunction.apply(input, weight, bias)


def check(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Raise an error that names the argument that does not fit."""
    x, w = input.array, weight.array
    if w.ndim != 2:
        raise ShapeError(
            f"linear: expected weight of shape (out_features, in_features), got {w.shape}"
        )
    if bias is not None and bias.array.shape != w.shape[:1]:
        raise ShapeError(f"linear: bias of shape {bias.array.shape}, expected ({w.shape[0]},)")
    if x.ndim == 0 or x.shape[-1] != w.shape[1]:
        raise ShapeError(
            f"linear: input of shape {x.shape} does not fit weight of shape {w.shape}: expected a "
            f"last axis of {w.shape[1]}"
        )
    if x.dtype != w.dtype and not is_cast(input):
        raise DTypeError(f"linear: input is {x.dtype}, weight is {w.dtype}")


class Linear(Module):
    """A fully connected layer.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Default True.
    device, dtype : optional
        Default float32 on the CPU.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Drawn uniformly from ±1/√in_features, as PyTorch does.
    bias : Parameter, shape (out_features,)
        Likewise.

    Examples
    --------
    >>> import minidl
    >>> layer = minidl.nn.Linear(9216, 4096)
    >>> layer(minidl.zeros(2, 9216)).shape
    Size([2, 4096])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(empty(out_features, in_features, device=device, dtype=dtype))
        self.bias = Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw weight and bias."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # ±1/√in_features
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias``."""
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
