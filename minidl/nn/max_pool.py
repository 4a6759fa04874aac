"""Max-pooling: each window keeps its largest number.

Forward. Window (p, q) of a channel covers the rows p·s + k·d and the columns q·s + l·d of the
padded image, with 0 ≤ k, l < K, stride s and dilation d:

    y[p, q] = max over the window of x

Backward. y[p, q] depends on one pixel alone, the first maximum of its window in row order, so
∂L/∂y[p, q] goes there and nowhere else. Where windows overlap (AlexNet: K = 3, s = 2) a pixel can
be the maximum of up to four of them, and it collects the gradients of all:

    ∂L/∂x[i, j] = Σ over windows (p, q) whose first maximum is at (i, j) of ∂L/∂y[p, q]

Padding counts as −∞: it is never the maximum, not even in a window of negative numbers. NaN is
larger than anything.

Shapes: x (N, C, H, W) → y (N, C, OH, OW); where windows lie is explained in
:mod:`minidl.nn.im2col`.

Source: Krizhevsky, Sutskever and Hinton (2012), section 3.4; sizes as in PyTorch's documentation.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..autograd import Context, Function
from ..device import Array, array_module
from ..kernels.windows import Geometry, Pair
from ..tensor import Tensor
from .arguments import IntOrPair, pool_geometry, with_batch
from .im2col import col2im, im2col
from .module import Module

__all__ = ["MaxPool2d", "max_pool2d"]

# --- The plain code -------------------------------------------------------------------------------


def forward(x: Array, geometry: Geometry) -> tuple[Array, Array]:
    """Return y, and the `place` of each first maximum: its number along the window's rows."""
    xp, (n, c, h, w), (oh, ow) = array_module(x), x.shape, geometry.out
    entries = math.prod(geometry.kernel)
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    windows = im2col(x, geometry).reshape(n, c, entries, oh, ow)  # (N, C, KH·KW, OH, OW)
    image = xp.ones((1, 1, h, w), np.bool_)
    inside = im2col(image, geometry).reshape(1, 1, entries, oh, ow)  # False in the padding
    windows = xp.where(inside, windows, x.dtype.type(lowest))
    y = windows.max(axis=2)  # (N, C, OH, OW)
    largest = (windows == y[:, :, None]) | (windows != windows)  # the latter is NaN
    return y, (largest & inside).argmax(axis=2)


def backward(grad: Array, place: Array, geometry: Geometry, size: Pair) -> Array:
    """Return ∂L/∂x: each window's gradient at its place, 0 at other places, added per pixel."""
    xp, (n, c, oh, ow) = array_module(grad), grad.shape
    entries = xp.arange(math.prod(geometry.kernel)).reshape(-1, 1, 1)  # (KH·KW, 1, 1)
    is_largest = place[:, :, None] == entries  # (N, C, KH·KW, OH, OW)
    windows = xp.where(is_largest, grad[:, :, None], grad.dtype.type(0))
    return col2im(windows.reshape(n, c, *geometry.kernel, oh, ow), geometry, size)  # (N, C, H, W)


# --- The operation --------------------------------------------------------------------------------


class MaxPool2dFunction(Function):
    """Saves only the places, and those only if the gradient is needed.

    The kernels' places have one byte for windows of at most 255 entries.
    """

    @staticmethod
    def forward(ctx: Context, x: Array, geometry: Geometry, return_indices: bool) -> Any:
        ctx.geometry, ctx.size = geometry, x.shape[2:]
        ctx.kernel = kernels.of("max_pool", x)
        if ctx.kernel:
            want_places = return_indices or ctx.needs_input_grad[0]
            y, place = ctx.kernel.forward(x, geometry, want_places)
        else:
            y, place = forward(x, geometry)
        ctx.save_for_backward(place)
        if not return_indices:
            return y
        where = indices(place, geometry, x.shape[3])
        ctx.mark_non_differentiable(where)
        return y, where

    @staticmethod
    def backward(ctx: Context, grad: Array, *unused: Any) -> Any:
        (place,) = ctx.saved_tensors
        run = ctx.kernel.backward if ctx.kernel else backward
        return run(grad, place, ctx.geometry, ctx.size), None, None


def indices(place: Array, geometry: Geometry, width: int) -> Array:
    """Return the position of each maximum in its image, as h·W + w, (N, C, OH, OW)."""
    xp = array_module(place)
    kh, kw = xp.divmod(place.astype(np.int64), geometry.kernel[1])
    (top, left), (oh, ow) = geometry.before, geometry.out
    h = xp.arange(oh).reshape(oh, 1) * geometry.stride[0] + kh * geometry.dilation[0] - top
    w = xp.arange(ow) * geometry.stride[1] + kw * geometry.dilation[1] - left
    return h * width + w


def max_pool2d(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest number of each window.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
        Of floats or integers.
    kernel_size : int or pair
    stride : int or pair, optional
        Default: `kernel_size`.
    padding : int or pair
        Minus infinity on both sides, at most half of the window. Default 0.
    dilation : int or pair
        Distance between the pixels of a window. Default 1.
    ceil_mode : bool
        Round the number of windows up. Default False.
    return_indices : bool
        Also return the positions of the maxima in their images, h·W + w. Default False.

    Returns
    -------
    Tensor, shape (N, C, OH, OW), or a pair of them
        Without N if `input` has none.

    Raises
    ------
    ShapeError
        No window fits, or `input` does not have three or four axes.
    ArgumentError
        An argument is not an integer or two, is too small, or `padding` too large.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([[[1.0, 5.0, 2.0], [0.0, 3.0, 4.0]]])
    >>> minidl.nn.functional.max_pool2d(x, kernel_size=2, stride=1)
    tensor([[[5., 5.]]])
    """
    images, added = with_batch("max_pool2d", input)
    geometry = pool_geometry(
        "max_pool2d", images, kernel_size, stride, padding, dilation, ceil_mode
    )
    result = MaxPool2dFunction.apply(images, geometry, return_indices)
    if not added:
        return result
    return tuple(part.squeeze(0) for part in result) if return_indices else result.squeeze(0)


class MaxPool2d(Module):
    """Max-pooling as a layer: see :func:`max_pool2d`.

    Parameters
    ----------
    kernel_size : int or pair
    stride : int or pair, optional
        Default: `kernel_size`.
    padding, dilation : int or pair
        Defaults 0 and 1.
    return_indices, ceil_mode : bool
        Default False.
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        dilation: IntOrPair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Return the pooled `input`."""
        windows = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        return max_pool2d(input, *windows, self.return_indices)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )
