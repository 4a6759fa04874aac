"""Local response normalization: each activation is divided by its neighbors' energy.

Forward. With the input x (N, C, ...), channel i of a position is normalized by n channels around:

    s_i = k + α/n · Σ_{j ∈ window(i)} x_j²
    y_i = x_i · s_i^(−β)                   window(i) = {i − n//2, …, i + (n − 1)//2} ∩ {0, …, C − 1}

Backward. x_m enters y_m directly, and every y_i whose window contains m through s_i:

    ∂y_i/∂x_m = [i = m] · s_i^(−β)  −  (2αβ/n) · x_i · s_i^(−β−1) · x_m · [m ∈ window(i)]

Summed over i against the incoming gradient g = ∂L/∂y:

    ∂L/∂x_m = g_m · s_m^(−β)  −  (2αβ/n) · x_m · Σ_{i: m ∈ window(i)} g_i · x_i · s_i^(−β−1)

The last sum runs over the *mirrored* window {m − (n − 1)//2, …, m + n//2}: channels that look at m,
not those that m looks at. For odd n they are the same, so tests with n = 5 alone miss a mistake.

With `groups` no window crosses from one group of channels to the next. The 2012 program ran the
norm on each of its two GPUs separately, which is groups=2.

Source: Krizhevsky, Sutskever and Hinton (2012), section 3.3. Their printed formula has α where this
one has α/n; their program, Caffe, PyTorch and ONNX divide.
"""

from __future__ import annotations

import math
from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops.precision import in_float64, rounded_like
from ..tensor import Tensor
from .module import Module

__all__ = ["LocalResponseNorm", "local_response_norm"]

# --- The plain code -------------------------------------------------------------------------------


def window_sum(x: Array, size: int, *, mirrored: bool = False) -> Array:
    """Sum `size` neighboring channels around each one; channels outside the group count as 0."""
    n, groups, channels, positions = x.shape
    before, after = size // 2, (size - 1) // 2
    if mirrored:
        before, after = after, before
    padded = array_module(x).zeros((n, groups, before + channels + after, positions), x.dtype)
    padded[:, :, before : before + channels] = x
    total = padded[:, :, :channels].copy()  # (N, G, C/G, P)
    for shift in range(1, size):
        total += padded[:, :, shift : shift + channels]
    return total


@in_float64
def forward(
    x: Array, size: int, alpha: float, beta: float, k: float, groups: int
) -> tuple[Array, Array]:
    """Return y, and s."""
    n, c, *space = x.shape
    maps = x.reshape(n, groups, c // groups, math.prod(space))  # (N, G, C/G, P)
    s = k + alpha / size * window_sum(maps * maps, size)
    return (maps * s**-beta).reshape(x.shape), s


@in_float64
def backward(
    grad: Array, x: Array, size: int, alpha: float, beta: float, k: float, groups: int
) -> Array:
    """Return ∂L/∂x: the direct term, less the effect of each channel on its neighbors."""
    s = forward(x, size, alpha, beta, k, groups)[1]
    maps, g = x.reshape(s.shape), grad.reshape(s.shape)  # (N, G, C/G, P)
    cross = window_sum(g * maps * s ** (-beta - 1), size, mirrored=True)
    return (g * s**-beta - 2 * alpha * beta / size * maps * cross).reshape(x.shape)


# --- The operation --------------------------------------------------------------------------------


class LocalResponseNormFunction(Function):
    """Saves x alone: the backward computes s again."""

    @staticmethod
    def forward(
        ctx: Context, x: Array, size: int, alpha: float, beta: float, k: float, groups: int
    ) -> Array:
        ctx.settings = size, alpha, beta, k, groups
        ctx.kernel = kernels.of("response_norm", x)
        ctx.save_for_backward(x)
        if ctx.kernel:
            return ctx.kernel.forward(x, *ctx.settings)
        return rounded_like(forward(x, *ctx.settings)[0], x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x,) = ctx.saved_tensors
        if ctx.kernel:
            dx = ctx.kernel.backward(grad, x, *ctx.settings, overwrite=ctx.may_overwrite[0])
        else:
            dx = backward(grad, x, *ctx.settings)
        return dx, None, None, None, None, None


def local_response_norm(
    input: Tensor,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    groups: int = 1,
) -> Tensor:
    """Normalize each activation by the energy of `size` neighboring channels.

    Parameters
    ----------
    input : Tensor, shape (N, C, ...), floating point
    size : int
        Number of channels in the window.
    alpha : float
        Divided by `size`, as in PyTorch, Caffe and the original program. Default 1e-4. The formula
        printed in the paper does not divide: there 1e-4 means ``alpha=5e-4`` here.
    beta, k : float
        Defaults 0.75 and 1. The paper's net has k = 2.
    groups : int
        Number of groups of channels; no window crosses from one to the next. Default 1.

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    ShapeError
        `input` has fewer than two axes, or its channels are not divisible by `groups`.
    ArgumentError
        `size` is not a positive integer.
    DTypeError
        `input` is not floating point.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.full((1, 3, 1, 1), 10.0)
    >>> minidl.nn.functional.local_response_norm(x, 3, alpha=3.0, beta=1.0, k=0.0).flatten()
    tensor([0.0500, 0.0333, 0.0500])
    """
    check("local_response_norm", input, size, groups)
    return LocalResponseNormFunction.apply(input, size, alpha, beta, k, groups)


def check(name: str, input: Tensor, size: int, groups: int) -> None:
    """Raise an error that names the argument that does not fit."""
    if not isinstance(size, int) or size < 1:
        raise ArgumentError(f"{name}: size must be a positive integer, got {size!r}")
    if not input.is_floating_point():
        raise DTypeError(f"{name}: expected floats, got {input.dtype}; use .float() first")
    if input.ndim < 2:
        raise ShapeError(f"{name}: expected input of shape (N, C, ...), got {tuple(input.shape)}")
    if groups < 1 or input.array.shape[1] % groups:
        raise ShapeError(
            f"{name}: {input.array.shape[1]} channels are not divisible by groups={groups}"
        )


class LocalResponseNorm(Module):
    """Local response normalization as a layer: see :func:`local_response_norm`.

    Parameters
    ----------
    size : int
    alpha, beta, k : float
        Defaults 1e-4, 0.75 and 1; `alpha` is divided by `size`.
    groups : int
        Number of groups of channels; no window crosses from one to the next. Default 1.

    Raises
    ------
    ArgumentError
        `size` is not a positive integer.
    """

    def __init__(
        self,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        groups: int = 1,
    ) -> None:
        super().__init__()
        if not isinstance(size, int) or size < 1:
            raise ArgumentError(f"LocalResponseNorm: size must be a positive integer, got {size!r}")
        self.size, self.alpha, self.beta, self.k, self.groups = size, alpha, beta, k, groups

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized `input`."""
        return local_response_norm(
            input, self.size, self.alpha, self.beta, self.k, groups=self.groups
        )

    def extra_repr(self) -> str:
        text = f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
        return text + (f", groups={self.groups}" if self.groups != 1 else "")
