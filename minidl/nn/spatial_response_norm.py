"""Spatial response normalization: each activation is divided by the energy around it in its map.

Forward. With the input x (N, C, H, W), the window of a position i is the n x n square around it in
the same channel, from −n//2 to (n − 1)//2 in both directions, cut off at the border of the map:

    s_i = k + α/n² · Σ_{j ∈ window(i)} x_j²
    y_i = x_i · s_i^(−β)

Backward. x_m enters y_m directly, and every y_i whose window contains m through s_i. The sum over
those positions i is a sum over the mirrored window around m:

    ∂L/∂x_m = g_m · s_m^(−β)  −  (2αβ/n²) · x_m · Σ_{i: m ∈ window(i)} g_i · x_i · s_i^(−β−1)

Source: the 2012 program has such a layer (type ``rnorm``) after its second norm; the paper does not
mention it (computerhistory/AlexNet-Source-Code, layers-145.cfg).
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..device import Array, array_module
from ..errors import ArgumentError
from ..ops.precision import in_float64, rounded_like
from ..tensor import Tensor
from .arguments import check_floats, check_images
from .module import Module

__all__ = ["SpatialResponseNorm", "spatial_response_norm"]

# --- The plain code -------------------------------------------------------------------------------


def window_sum(x: Array, size: int, *, mirrored: bool = False) -> Array:
    """Sum the `size` x `size` neighbors around each position; positions outside count as 0."""
    n, c, h, w = x.shape
    before = (size - 1) // 2 if mirrored else size // 2
    padded = array_module(x).zeros((n, c, h + size - 1, w + size - 1), x.dtype)
    padded[:, :, before : before + h, before : before + w] = x
    total = array_module(x).zeros_like(x)  # (N, C, H, W)
    for down in range(size):
        for right in range(size):
            total += padded[:, :, down : down + h, right : right + w]
    return total


@in_float64
def forward(x: Array, size: int, alpha: float, beta: float, k: float) -> tuple[Array, Array]:
    """Return y, and s."""
    s = k + alpha / size**2 * window_sum(x * x, size)  # (N, C, H, W)
    return x * s**-beta, s


@in_float64
def backward(grad: Array, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """Return ∂L/∂x: the direct term, less the effect of each position on its neighbors."""
    s = forward(x, size, alpha, beta, k)[1]
    cross = window_sum(grad * x * s ** (-beta - 1), size, mirrored=True)
    return grad * s**-beta - 2 * alpha * beta / size**2 * x * cross


# --- The operation --------------------------------------------------------------------------------


class SpatialResponseNormFunction(Function):
    """Saves x alone: the backward computes s again."""

    @staticmethod
    def forward(ctx: Context, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
        ctx.settings = size, alpha, beta, k
        ctx.kernel = kernels.of("spatial_response_norm", x)
        ctx.save_for_backward(x)
        if ctx.kernel:
            return ctx.kernel.forward(x, *ctx.settings)
        return rounded_like(forward(x, *ctx.settings)[0], x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        (x,) = ctx.saved_tensors
        run = ctx.kernel.backward if ctx.kernel else backward
        dx = run(grad, x, *ctx.settings)
        return dx, None, None, None, None


def spatial_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Normalize each activation by the energy around it in its own map (cuda-convnet's ``rnorm``).

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W), floating point
    size : int
        Height and width of the window.
    alpha : float
        Divided by ``size²``. Default 1e-4.
    beta, k : float
        Defaults 0.75 and 1.

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    ShapeError
        `input` does not have four axes.
    ArgumentError
        `size` is not a positive integer.
    DTypeError
        `input` is not floating point.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.full((1, 1, 1, 3), 10.0)
    >>> minidl.nn.functional.spatial_response_norm(x, 3, alpha=9.0, beta=1.0, k=0.0).flatten()
    tensor([0.0500, 0.0333, 0.0500])
    """
    _check_size("spatial_response_norm", size)
    check_floats("spatial_response_norm", input)
    check_images("spatial_response_norm", input.array)
    return SpatialResponseNormFunction.apply(input, size, alpha, beta, k)


def _check_size(name: str, size: int) -> None:
    if not isinstance(size, int) or size < 1:
        raise ArgumentError(f"{name}: size must be a positive integer, got {size!r}")


class SpatialResponseNorm(Module):
    """Spatial response normalization as a layer: see :func:`spatial_response_norm`.

    Parameters
    ----------
    size : int
    alpha, beta, k : float
        Defaults 1e-4, 0.75 and 1; `alpha` is divided by ``size²``.

    Raises
    ------
    ArgumentError
        `size` is not a positive integer.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        _check_size("SpatialResponseNorm", size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized `input`."""
        return spatial_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
