"""The fully connected layer.

With the input x of (N, in), weights W of (out, in) and a bias b of (out,):

    y  = x·Wᵀ + b                        (N, out)
    dx = dy·W        dW = dyᵀ·x        db = Σ_n dy_n

Three products of the same size. AlexNet's fc6 is 4096 x 9216: the weights, 151 MB of them, are the
largest thing that is read, so the work is cut along the weights: every lane reads its own rows of W
once for the whole batch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import cpu
from ..autograd import Function, Node
from ..device import Array, array_module
from ..errors import DTypeError, ShapeError
from ..tensor import Tensor
from . import init
from .module import Module, Parameter


def _forward_numpy(x: Array, weight: Array, bias: Array | None) -> Array:
    y = cpu.empty((x.shape[0], weight.shape[0]), x.dtype)

    def lane(rows: slice) -> None:
        np.matmul(x, weight[rows].T, out=y[:, rows])
        if bias is not None:
            y[:, rows] += bias[rows]

    cpu.parallel(lane, _pieces(weight.shape[0], x.shape[0] * weight.size))
    return y


def _input_gradient_numpy(grad: Array, weight: Array) -> Array:
    dx = cpu.empty((grad.shape[0], weight.shape[1]), grad.dtype)

    def lane(columns: slice) -> None:
        np.matmul(grad, weight[:, columns], out=dx[:, columns])

    cpu.parallel(lane, _pieces(weight.shape[1], grad.shape[0] * weight.size))
    return dx


def _weight_gradient_numpy(grad: Array, x: Array) -> Array:
    dweight = cpu.empty((grad.shape[1], x.shape[1]), grad.dtype)

    def lane(rows: slice) -> None:
        np.matmul(grad[:, rows].T, x, out=dweight[rows])

    cpu.parallel(lane, _pieces(grad.shape[1], x.shape[0] * dweight.size))
    return dweight


def _pieces(length: int, multiplications: int) -> list[slice]:
    return cpu.split(length, 1 if multiplications < cpu.SMALL_PRODUCT else cpu.LANES)


def _rows(x: Array) -> Array:
    """Return (..., K) as (rows, K)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


class LinearFunction(Function):
    """``x·Wᵀ + b`` for an input with any number of axes in front of the last."""

    @staticmethod
    def forward(ctx: Node, x: Array, weight: Array, bias: Array | None) -> Array:
        ctx.save_for_backward(x, weight)
        rows = _rows(x)
        if isinstance(x, np.ndarray):
            y = _forward_numpy(rows, weight, bias)
        else:
            y = array_module(x).matmul(rows, weight.T)
            if bias is not None:
                y += bias
        return y.reshape(*x.shape[:-1], weight.shape[0])

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        rows, dy = _rows(x), _rows(grad)
        dx = dweight = None
        if isinstance(x, np.ndarray):
            if need_x:
                dx = _input_gradient_numpy(dy, weight).reshape(x.shape)
            if need_weight:
                dweight = _weight_gradient_numpy(dy, rows)
        else:
            xp = array_module(x)
            if need_x:
                dx = xp.matmul(dy, weight).reshape(x.shape)
            if need_weight:
                dweight = xp.matmul(dy.T, rows)
        return dx, dweight, dy.sum(axis=0) if need_bias else None


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``input @ weight.T + bias``.

    Parameters
    ----------
    input : Tensor, shape (..., in_features)
    weight : Tensor, shape (out_features, in_features)
    bias : Tensor, shape (out_features,), optional

    Returns
    -------
    Tensor, shape (..., out_features)

    Raises
    ------
    ShapeError
        The last axis of `input` is not ``in_features``.
    DTypeError
        `input` and `weight` have different dtypes.
    """
    if weight.ndim != 2:
        raise ShapeError(
            f"linear: expected weight of shape (out_features, in_features), got "
            f"{tuple(weight.shape)}"
        )
    if bias is not None and tuple(bias.shape) != (weight.array.shape[0],):
        raise ShapeError(
            f"linear: bias of shape {tuple(bias.shape)}, expected ({weight.array.shape[0]},)"
        )
    if input.ndim == 0 or input.array.shape[-1] != weight.array.shape[-1]:
        raise ShapeError(
            f"linear: input of shape {tuple(input.shape)} does not fit weight of shape "
            f"{tuple(weight.shape)}: expected a last axis of {weight.array.shape[-1]}"
        )
    if input.dtype != weight.dtype:
        raise DTypeError(f"linear: input is {input.dtype}, weight is {weight.dtype}")
    return LinearFunction.apply(input, weight, bias)


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
        from .. import ops

        self.weight = Parameter(ops.empty(out_features, in_features, device=device, dtype=dtype))
        self.bias = Parameter(ops.empty(out_features, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # ±1/√in_features
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input @ weight.T + bias``."""
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
