"""Average-pooling: each window becomes its mean.

Forward. With the windows of :mod:`minidl.nn.im2col`,

    y[p, q] = Σ over the window of x / d[p, q]

where the divisor d is the number of pixels in the window. Padding holds zeros, and counts in d if
`count_include_pad` is true. The overhang that `ceil_mode` adds beyond the padding never counts.

Backward. A pixel goes into the mean of each window that contains it, with the weight 1/d:

    ∂L/∂x[i, j] = Σ over windows (p, q) that contain (i, j) of ∂L/∂y[p, q] / d[p, q]

Shapes: x (N, C, H, W) → y (N, C, OH, OW).

Source: sizes and arguments as in PyTorch's documentation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..autograd import Context, Function
from ..device import Array, array_module
from ..errors import ArgumentError
from ..kernels.windows import Geometry, Pair
from ..ops.precision import in_float64, rounded_like
from ..tensor import Tensor
from .arguments import IntOrPair, check_floats, pool_geometry, with_batch
from .im2col import col2im, im2col
from .module import Module

__all__ = ["AvgPool2d", "avg_pool2d"]

# --- The plain code -------------------------------------------------------------------------------


def divisors(xp: Any, geometry: Geometry, size: Pair, count_padding: bool, divisor: float) -> Array:
    """Return how many pixels each window counts, (OH, OW): a pool of ones tells."""
    if divisor:
        return xp.full(geometry.out, divisor)
    (h, w), (top, left) = size, geometry.before
    if count_padding:  # then padding is part of the image
        h, w, geometry = h + 2 * top, w + 2 * left, geometry._replace(before=(0, 0))
    ones = xp.ones((1, 1, h, w), np.int64)
    return im2col(ones, geometry).sum(axis=(0, 1, 2, 3))


@in_float64
def forward(x: Array, geometry: Geometry, count_padding: bool, divisor: float) -> Array:
    """Return y; every window is divided by `divisor` unless that is 0."""
    windows = im2col(x, geometry)  # (N, C, KH, KW, OH, OW)
    d = divisors(array_module(x), geometry, x.shape[2:], count_padding, divisor)
    return windows.sum(axis=(2, 3)) / d.astype(x.dtype)  # (N, C, OH, OW)


@in_float64
def backward(
    grad: Array, geometry: Geometry, size: Pair, count_padding: bool, divisor: float
) -> Array:
    """Return ∂L/∂x: all entries of a window get the same share, and shares are added per pixel."""
    xp, (n, c, oh, ow) = array_module(grad), grad.shape
    d = divisors(xp, geometry, size, count_padding, divisor)
    share = (grad / d.astype(grad.dtype))[:, :, None, None]  # (N, C, 1, 1, OH, OW)
    windows = xp.broadcast_to(share, (n, c, *geometry.kernel, oh, ow))
    return col2im(windows, geometry, size)  # (N, C, H, W)


# --- The operation --------------------------------------------------------------------------------


class AvgPool2dFunction(Function):
    """Linear in x: nothing is saved but where the windows lie."""

    @staticmethod
    def forward(
        ctx: Context, x: Array, geometry: Geometry, count_padding: bool, divisor: float
    ) -> Array:
        ctx.settings = geometry, x.shape[2:], count_padding, divisor
        ctx.kernel = kernels.of("avg_pool", x)
        run = ctx.kernel.forward if ctx.kernel else forward
        return rounded_like(run(x, geometry, count_padding, divisor), x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        run = ctx.kernel.backward if ctx.kernel else backward
        return run(grad, *ctx.settings), None, None, None


def avg_pool2d(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of each window.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W), floating point
    kernel_size : int or pair
    stride : int or pair, optional
        Default: `kernel_size`.
    padding : int or pair
        Zeros on both sides, at most half of the window. Default 0.
    ceil_mode : bool
        Round the number of windows up. Default False.
    count_include_pad : bool
        Count the padding in the mean. Default True.
    divisor_override : int, optional
        Divide every sum by this instead.

    Returns
    -------
    Tensor, shape (N, C, OH, OW)
        Without N if `input` has none.

    Raises
    ------
    ShapeError
        No window fits, or `input` does not have three or four axes.
    ArgumentError
        An argument is not an integer or two, is too small, or `padding` too large.
    DTypeError
        `input` is not floating point.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([[[1.0, 5.0, 2.0], [0.0, 2.0, 4.0]]])
    >>> minidl.nn.functional.avg_pool2d(x, kernel_size=2, stride=1)
    tensor([[[2.0000, 3.2500]]])
    """
    check_floats("avg_pool2d", input)
    images, added = with_batch("avg_pool2d", input)
    geometry = pool_geometry("avg_pool2d", images, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override == 0:
        raise ArgumentError("avg_pool2d: divisor_override must not be 0")
    divisor = float(divisor_override or 0)
    result = AvgPool2dFunction.apply(images, geometry, bool(count_include_pad), divisor)
    return result.squeeze(0) if added else result


class AvgPool2d(Module):
    """Average-pooling as a layer: see :func:`avg_pool2d`.

    Parameters
    ----------
    kernel_size : int or pair
    stride : int or pair, optional
        Default: `kernel_size`.
    padding : int or pair
        Default 0.
    ceil_mode : bool
        Default False.
    count_include_pad : bool
        Default True.
    divisor_override : int, optional
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Return the pooled `input`."""
        windows = self.kernel_size, self.stride, self.padding, self.ceil_mode
        return avg_pool2d(input, *windows, self.count_include_pad, self.divisor_override)

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + (", ceil_mode=True" if self.ceil_mode else "")
