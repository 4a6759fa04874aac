"""Group normalization: channels of an image in groups, each with mean 0 and variance 1.

Forward. The C channels are cut into G groups of neighbors. Over the n = C/G·H·W numbers of one
group in one image,

    μ = Σ x / n        σ² = Σ (x − μ)² / n
    x̂ = (x − μ) / √(σ² + ε)
    y = γ_c·x̂ + β_c

with a scale γ and a shift β for each channel c. Nothing depends on the rest of the batch, so
training and test are the same: G = 1 normalizes whole images, G = C each channel by itself.

Backward. With the incoming gradient g = ∂L/∂y, the parameters collect over images and positions:

    ∂L/∂β_c = Σ g        ∂L/∂γ_c = Σ g·x̂

x enters its x̂ directly, and all x̂ of its group through μ and σ². With a = ∂L/∂x̂ = γ_c·g,
∂μ/∂x = 1/n and ∂σ²/∂x = 2(x − μ)/n, the three parts are

    ∂L/∂x = (a − Σ a / n − x̂ · Σ a·x̂ / n) / √(σ² + ε)

Shapes: x (N, C, ...), γ and β (C,).

Source: Wu and He (2018), arXiv 1803.08494.
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

__all__ = ["GroupNorm", "group_norm"]

# --- The plain code -------------------------------------------------------------------------------


def grouped(x: Array, groups: int) -> Array:
    """Return the numbers of each group in a row."""
    return x.reshape(len(x), groups, math.prod(x.shape[1:]) // groups)  # (N, G, n)


def channelwise(vector: Array, x: Array) -> Array:
    """Return one number per channel in a shape that fits x (N, C, ...)."""
    return vector.reshape(-1, *(1,) * (x.ndim - 2))  # (C, 1, ...)


@in_float64
def forward(
    x: Array, groups: int, weight: Array | None, bias: Array | None, eps: float
) -> tuple[Array, Array, Array]:
    """Return y, and x̂ and 1/√(σ² + ε) for the backward."""
    rows = grouped(x, groups)  # (N, G, n)
    mean, var = rows.mean(axis=2, keepdims=True), rows.var(axis=2, keepdims=True)  # (N, G, 1)
    inverse = 1 / array_module(x).sqrt(var + eps)
    normalized = ((rows - mean) * inverse).reshape(x.shape)  # (N, C, ...)
    # y is apart from x̂: what follows may overwrite it
    y = normalized.copy() if weight is None else normalized * channelwise(weight, x)
    return y if bias is None else y + channelwise(bias, x), normalized, inverse


@in_float64
def backward(
    grad: Array, normalized: Array, inverse: Array, weight: Array | None, want: Sequence[bool]
) -> tuple[Array | None, Array | None, Array | None]:
    """Return ∂L/∂x, ∂L/∂γ and ∂L/∂β (None if not needed)."""
    dx, others = None, (0, *range(2, grad.ndim))
    dweight = (grad * normalized).sum(axis=others) if want[1] else None  # (C,)
    dbias = grad.sum(axis=others) if want[2] else None  # (C,)
    if want[0]:
        a = grad if weight is None else grad * channelwise(weight, grad)  # (N, C, ...)
        a, rows = (grouped(array, inverse.shape[1]) for array in (a, normalized))  # (N, G, n)
        through_mean = a.mean(axis=2, keepdims=True)  # (N, G, 1)
        through_var = rows * (a * rows).mean(axis=2, keepdims=True)
        dx = ((a - through_mean - through_var) * inverse).reshape(grad.shape)  # (N, C, ...)
    return dx, dweight, dbias


# --- The operation --------------------------------------------------------------------------------


class Normalized(Function):
    """x̂ and r = 1/√(σ² + ε), which the layer saves: ∂r/∂x = -r²·x̂/n."""

    @staticmethod
    def backward(ctx: Context, grad: Array, grad_inverse: Array) -> Any:
        normalized, inverse = ctx.saved_tensors
        dx = backward(grad, normalized, inverse, None, (True, False, False))[0]
        rows = grouped(normalized, inverse.shape[1])  # (N, G, n)
        through = grad_inverse * inverse**2 / rows.shape[2] * rows
        return dx - through.reshape(grad.shape), None, None, None, None


class GroupNormFunction(Function):
    """Saves x̂ in place of x, 1/√(σ² + ε) and γ."""

    autocast = "float32"
    intermediates = Normalized
    read_for = None, None, 0  # γ for the gradient of x

    @staticmethod
    def forward(
        ctx: Context, x: Array, groups: int, weight: Array | None, bias: Array | None, eps: float
    ) -> Array:
        y, normalized, inverse = forward(x, groups, weight, bias, eps)
        ctx.save_for_backward(normalized, inverse, weight)
        return rounded_like(y, x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        need_x, _, *need_others, _ = ctx.needs_input_grad
        normalized, inverse, weight = ctx.saved_tensors
        dx, *others = backward(grad, normalized, inverse, weight, (need_x, *need_others))
        return dx, None, *others, None


def group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize groups of channels in each image to mean 0 and variance 1, then scale and shift.

    Parameters
    ----------
    input : Tensor, shape (N, C, ...), floating point
    num_groups : int
        A divisor of C.
    weight, bias : Tensor, shape (C,), optional
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
        `input` has fewer than two axes, C is not divisible by `num_groups`, or `weight` or `bias`
        is not of shape (C,).
    ArgumentError
        `num_groups` is not a positive integer, or there is no number, or one alone, to
        normalize.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([[1.0, 3.0, 10.0, 30.0]])
    >>> minidl.nn.functional.group_norm(x, num_groups=2, eps=0.0)
    tensor([[-1.,  1., -1.,  1.]])
    """
    if not input.is_floating_point():
        raise DTypeError(f"group_norm: expected floats, got {input.dtype}; use .float() first")
    if input.ndim < 2:
        raise ShapeError(f"group_norm: expected input of shape (N, C, ...), got {input.shape}")
    channels = input.array.shape[1]
    check_groups("group_norm", num_groups, channels)
    numbers = math.prod(input.array.shape[1:]) // num_groups
    if numbers == 0 or numbers * len(input.array) == 1:
        raise ArgumentError(f"group_norm: {numbers} numbers have no variance (input {input.shape})")
    for name, vector in (("weight", weight), ("bias", bias)):
        if vector is not None and vector.array.shape != (channels,):
            raise ShapeError(f"group_norm: {name} {vector.shape}, expected ({channels},)")
        if vector is not None and vector.dtype != input.dtype and not is_cast(input):
            raise DTypeError(f"group_norm: input is {input.dtype}, {name} is {vector.dtype}")
    return GroupNormFunction.apply(input, num_groups, weight, bias, eps)


def check_groups(name: str, groups: int, channels: int) -> None:
    """Raise an error unless the number of groups divides the channels."""
    if not isinstance(groups, int) or groups < 1:
        raise ArgumentError(f"{name}: num_groups must be a positive integer, got {groups!r}")
    if channels % groups:
        raise ShapeError(f"{name}: {channels} channels are not divisible by num_groups={groups}")


class GroupNorm(Module):
    """Group normalization as a layer: see :func:`group_norm`.

    Parameters
    ----------
    num_groups, num_channels : int
        G and C.
    eps : float
        Default 1e-5.
    affine : bool
        Learn a scale and a shift for each channel. Default True.
    device, dtype : optional
        Default float32 on the CPU.
    bias : bool
        With `affine`, learn the shift. Default True.

    Attributes
    ----------
    weight, bias : Parameter, shape (num_channels,)
        1 and 0 at start; None if not learned.

    Raises
    ------
    ShapeError
        `num_channels` is not divisible by `num_groups`.

    Examples
    --------
    >>> import minidl
    >>> layer = minidl.nn.GroupNorm(3, 6)
    >>> layer(minidl.randn(2, 6, 4, 4)).shape
    Size([2, 6, 4, 4])
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_groups("GroupNorm", num_groups, num_channels)
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        where = {"device": device, "dtype": dtype}
        self.weight = Parameter(ones(num_channels, **where)) if affine else None
        self.bias = Parameter(zeros(num_channels, **where)) if affine and bias else None

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized `input`."""
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
