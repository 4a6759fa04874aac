"""Layer normalization: the last axes of each example get mean 0 and variance 1.

Forward. Over the n numbers of the last axes, those of `normalized_shape`,

    μ = Σ x / n        σ² = Σ (x − μ)² / n
    x̂ = (x − μ) / √(σ² + ε)
    y = γ·x̂ + β

with a scale γ and a shift β for each of the n places. Nothing depends on the rest of the batch, so
training and test are the same.

Backward. With the incoming gradient g = ∂L/∂y, the parameters collect over the axes in front:

    ∂L/∂β = Σ g        ∂L/∂γ = Σ g·x̂

x enters its x̂ directly, and all n of them through μ and σ². With a = ∂L/∂x̂ = γ·g, ∂μ/∂x = 1/n and
∂σ²/∂x = 2(x − μ)/n, the three parts are

    ∂L/∂x = (a − Σ a / n − x̂ · Σ a·x̂ / n) / √(σ² + ε)

Shapes: x (..., D1, D2, ...), γ and β (D1, D2, ...), which is `normalized_shape`.

Source: Ba, Kiros and Hinton (2016), arXiv 1607.06450.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..autograd import Context, Function
from ..autograd.precision import is_cast
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops import ones, zeros
from ..ops.precision import in_float64, rounded_like
from ..tensor import Tensor
from .module import Module, Parameter

__all__ = ["LayerNorm", "layer_norm"]

# --- The plain code -------------------------------------------------------------------------------


@in_float64
def forward(
    x: Array, count: int, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """Return y, and x̂ and 1/√(σ² + ε) for the backward; the last `count` axes are normalized."""
    axes = tuple(range(-count, 0))
    mean, var = x.mean(axis=axes, keepdims=True), x.var(axis=axes, keepdims=True)  # (..., 1)
    inverse = 1 / array_module(x).sqrt(var + eps)
    normalized = (x - mean) * inverse
    # y is apart from x̂: what follows may overwrite it
    y = normalized.copy() if weight is None else normalized * weight
    return y if bias is None else y + bias, normalized, inverse


@in_float64
def backward(
    grad: Array,
    count: int,
    normalized: Array,
    inverse: Array,
    weight: Array | None,
    want: Sequence[bool],
) -> tuple[Array | None, Array | None, Array | None]:
    """Return ∂L/∂x, ∂L/∂γ and ∂L/∂β (None if not needed)."""
    dx, axes, front = None, tuple(range(-count, 0)), tuple(range(grad.ndim - count))
    dweight = (grad * normalized).sum(axis=front) if want[1] else None  # normalized_shape
    dbias = grad.sum(axis=front) if want[2] else None
    if want[0]:
        a = grad if weight is None else grad * weight
        through_mean = a.mean(axis=axes, keepdims=True)  # (..., 1)
        through_var = normalized * (a * normalized).mean(axis=axes, keepdims=True)
        dx = (a - through_mean - through_var) * inverse
    return dx, dweight, dbias


# --- The operation --------------------------------------------------------------------------------


class Normalized(Function):
    """x̂ and r = 1/√(σ² + ε), which the layer saves: ∂r/∂x = -r²·x̂/n."""

    @staticmethod
    def backward(ctx: Context, grad: Array, grad_inverse: Array) -> Any:
        normalized, inverse = ctx.saved_tensors
        dx = backward(grad, ctx.count, normalized, inverse, None, (True, False, False))[0]
        n = math.prod(normalized.shape[-ctx.count :])
        return dx - grad_inverse * inverse**2 / n * normalized, None, None, None, None


class LayerNormFunction(Function):
    """Saves x̂ in place of x, 1/√(σ² + ε) and γ."""

    autocast = "float32"
    intermediates = Normalized
    read_for = None, None, 0  # γ for the gradient of x

    @staticmethod
    def forward(
        ctx: Context, x: Array, count: int, weight: Array | None, bias: Array | None, eps: float
    ) -> Array:
        y, normalized, inverse = forward(x, count, weight, bias, eps)
        ctx.count = count
        ctx.save_for_backward(normalized, inverse, weight)
        return rounded_like(y, x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_x, _, *need_others, _ = ctx.needs_input_grad
        normalized, inverse, weight = ctx.saved_tensors
        want = need_x, *need_others
        dx, *others = backward(grad, ctx.count, normalized, inverse, weight, want)
        return dx, None, *others, None


def layer_norm(
    input: Tensor,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize the last axes to mean 0 and variance 1, then scale and shift.

    Parameters
    ----------
    input : Tensor, shape (..., *normalized_shape), floating point
    normalized_shape : int or sequence of int
        The lengths of the axes that are normalized together.
    weight, bias : Tensor, shape normalized_shape, optional
    eps : float
        Added to the variance. Default 1e-5.

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    DTypeError
        `input` is not floating point, or `weight` or `bias` of another dtype.
    ShapeError
        The last axes of `input` are not `normalized_shape`, or `weight` or `bias` is not of that
        shape.
    ArgumentError
        `normalized_shape` is not one or more positive integers.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([[1.0, 3.0], [30.0, 10.0]])
    >>> minidl.nn.functional.layer_norm(x, 2, eps=0.0)
    tensor([[-1.,  1.],
            [ 1., -1.]])
    """
    shape = as_shape("layer_norm", normalized_shape)
    if not input.is_floating_point():
        raise DTypeError(f"layer_norm: expected floats, got {input.dtype}; use .float() first")
    if input.array.shape[-len(shape) :] != shape:
        raise ShapeError(f"layer_norm: input {input.shape}, expected last axes of {shape}")
    for name, array in (("weight", weight), ("bias", bias)):
        if array is not None and array.array.shape != shape:
            raise ShapeError(f"layer_norm: {name} {array.shape}, expected {shape}")
        if array is not None and array.dtype != input.dtype and not is_cast(input):
            raise DTypeError(f"layer_norm: input is {input.dtype}, {name} is {array.dtype}")
    return LayerNormFunction.apply(input, len(shape), weight, bias, eps)


def as_shape(name: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """Return `normalized_shape` as a tuple, or raise an error."""
    lengths = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not lengths or not all(isinstance(n, int) and n > 0 for n in lengths):
        raise ArgumentError(
            f"{name}: normalized_shape must be positive integers, got {normalized_shape!r}"
        )
    return lengths


class LayerNorm(Module):
    """Layer normalization as a layer: see :func:`layer_norm`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The lengths of the last axes, which are normalized together.
    eps : float
        Default 1e-5.
    elementwise_affine : bool
        Learn a scale and a shift for each place. Default True.
    bias : bool
        With `elementwise_affine`, learn the shift. Default True.
    device, dtype : optional
        Default float32 on the CPU.

    Attributes
    ----------
    weight, bias : Parameter, shape normalized_shape
        1 and 0 at start; None if not learned.

    Raises
    ------
    ArgumentError
        `normalized_shape` is not one or more positive integers.

    Examples
    --------
    >>> import minidl
    >>> layer = minidl.nn.LayerNorm((3, 4))
    >>> layer(minidl.randn(2, 3, 4)).shape
    Size([2, 3, 4])
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.normalized_shape = as_shape("LayerNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        where = {"device": device, "dtype": dtype}
        learned = elementwise_affine
        self.weight = Parameter(ones(self.normalized_shape, **where)) if learned else None
        self.bias = Parameter(zeros(self.normalized_shape, **where)) if learned and bias else None

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized `input`."""
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        text = f"{self.normalized_shape}, eps={self.eps}"
        has_bias = self.bias is not None
        return f"{text}, elementwise_affine={self.elementwise_affine}, bias={has_bias}"
