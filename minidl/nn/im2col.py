"""Windows of an image, and im2col / col2im: ``unfold`` and ``fold`` under the names users know.

Convolution, pooling and unshared convolution all slide a window over an image. For one axis, with
input length H, padding p before and p' after, kernel K, stride s and dilation d, a window covers
``d·(K − 1) + 1`` positions, and there are

    OH = floor((H + p + p' − d·(K − 1) − 1) / s) + 1

of them; window ``oh`` reads the padded positions ``oh·s + kh·d``. A ``Geometry`` holds these
numbers for both axes.

**im2col** writes every window into a row (or column) of a matrix, so that a convolution becomes a
matrix product. **col2im** is its transpose: every entry is *added* back to the pixel that it was
read from. As linear maps ``⟨unfold(x), y⟩ = ⟨x, fold(y)⟩``, so each is the other's gradient.

Shapes: x (N, C, H, W) ↔ columns (N, C·KH·KW, L), with L = OH·OW.

Source: Chellapilla, Puri and Simard, "High performance convolutional neural networks for document
processing" (2006).
"""

from __future__ import annotations

import math
from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..autograd.tape_array import is_on_tape, recorded_by
from ..device import Array, array_module
from ..errors import ShapeError
from ..kernels.windows import Geometry, Pair, plan
from ..ops.precision import rounded, widened
from ..tensor import Tensor
from .arguments import IntOrPair, pair, with_batch
from .module import Module

__all__ = ["Fold", "Unfold", "fold", "unfold"]

# --- The plain code -------------------------------------------------------------------------------


def im2col(x: Array, geometry: Geometry) -> Array:
    """Return the windows of images (N, C, H, W) as columns (N, C, KH, KW, OH, OW)."""
    if is_on_tape(x):  # its gradient is col2im
        return to_columns(x, geometry).reshape(*x.shape[:2], *geometry.kernel, *geometry.out)
    xp, (kernel_h, kernel_w) = array_module(x), geometry.kernel
    padded = xp.zeros((*x.shape[:2], *geometry.span), x.dtype)  # all pixels that windows reach
    rows, cols, own_rows, own_cols = geometry.inside(x.shape[2:])
    padded[:, :, rows, cols] = x[:, :, own_rows, own_cols]
    columns = xp.empty((*x.shape[:2], *geometry.kernel, *geometry.out), x.dtype)
    for kh in range(kernel_h):
        for kw in range(kernel_w):
            rows, cols = geometry.positions(kh, kw)  # what entry (kh, kw) of each window reads
            columns[:, :, kh, kw] = padded[:, :, rows, cols]
    return columns


def col2im(columns: Array, geometry: Geometry, size: Pair) -> Array:
    """Add every entry of (N, C, KH, KW, OH, OW) to its pixel of images (N, C, H, W) of `size`."""
    if is_on_tape(columns):  # its gradient is im2col
        n, c, kh, kw, oh, ow = columns.shape
        return to_images(columns.reshape(n, c * kh * kw, oh * ow), geometry, size)
    xp, (kernel_h, kernel_w) = array_module(columns), geometry.kernel
    (columns,) = widened(columns)
    padded = xp.zeros((*columns.shape[:2], *geometry.span), columns.dtype)
    for kh in range(kernel_h):
        for kw in range(kernel_w):
            rows, cols = geometry.positions(kh, kw)
            padded[:, :, rows, cols] += columns[:, :, kh, kw]
    rows, cols, own_rows, own_cols = geometry.inside(size)
    image = xp.zeros((*columns.shape[:2], *size), columns.dtype)
    image[:, :, own_rows, own_cols] = padded[:, :, rows, cols]
    return image


# --- The operations -------------------------------------------------------------------------------


class UnfoldFunction(Function):
    """im2col; its gradient is col2im."""

    @staticmethod
    def forward(ctx: Context, x: Array, geometry: Geometry) -> Array:
        ctx.geometry, ctx.size = geometry, x.shape[2:]
        return to_columns(x, geometry)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return to_images(grad, ctx.geometry, ctx.size), None


class FoldFunction(Function):
    """col2im; its gradient is im2col."""

    @staticmethod
    def forward(ctx: Context, columns: Array, geometry: Geometry, size: Pair) -> Array:
        ctx.geometry = geometry
        return to_images(columns, geometry, size)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return to_columns(grad, ctx.geometry), None, None


@recorded_by(lambda: UnfoldFunction)
def to_columns(x: Array, geometry: Geometry) -> Array:
    """Return the windows as (N, C·KH·KW, OH·OW), from the kernel if there is one."""
    kernel = kernels.of("im2col", x)
    columns = kernel.im2col(x, geometry) if kernel else im2col(x, geometry)
    n, c, kh, kw, oh, ow = columns.shape
    return columns.reshape(n, c * kh * kw, oh * ow)


@recorded_by(lambda: FoldFunction)
def to_images(columns: Array, geometry: Geometry, size: Pair) -> Array:
    """Return the images that (N, C·KH·KW, OH·OW) add up to, from the kernel if there is one."""
    n, rows, _ = columns.shape
    channels = rows // math.prod(geometry.kernel)
    columns = columns.reshape(n, channels, *geometry.kernel, *geometry.out)
    kernel = kernels.of("im2col", columns)
    return rounded((kernel.col2im if kernel else col2im)(columns, geometry, size), columns.dtype)


def unfold(
    input: Tensor,
    kernel_size: IntOrPair,
    dilation: IntOrPair = 1,
    padding: IntOrPair = 0,
    stride: IntOrPair = 1,
) -> Tensor:
    """Write every window of the images into a column (im2col).

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size : int or pair
    dilation, padding, stride : int or pair
        Defaults 1, 0, 1.

    Returns
    -------
    Tensor, shape (N, C·KH·KW, L), without N if `input` has none
        L windows, from the top left to the bottom right by rows.

    Raises
    ------
    ShapeError
        No window fits, or the input has not three or four axes.
    ArgumentError
        An argument is not an integer or two, or too small.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.arange(9.0).reshape(1, 1, 3, 3)
    >>> minidl.nn.functional.unfold(x, kernel_size=2)
    tensor([[[0., 1., 3., 4.],
             [1., 2., 4., 5.],
             [3., 4., 6., 7.],
             [4., 5., 7., 8.]]])
    """
    images, added = with_batch("unfold", input)
    size = images.array.shape[2:]
    geometry = _windows("unfold", size, kernel_size, dilation, padding, stride)
    columns = UnfoldFunction.apply(images, geometry)
    return columns.squeeze(0) if added else columns


def fold(
    input: Tensor,
    output_size: IntOrPair,
    kernel_size: IntOrPair,
    dilation: IntOrPair = 1,
    padding: IntOrPair = 0,
    stride: IntOrPair = 1,
) -> Tensor:
    """Add every column back to the pixels of its window (col2im).

    Parameters
    ----------
    input : Tensor, shape (N, C·KH·KW, L) or (C·KH·KW, L)
    output_size : int or pair
        Height and width of the images.
    kernel_size, dilation, padding, stride : int or pair
        As for :func:`unfold`.

    Returns
    -------
    Tensor, shape (N, C, H, W), without N if `input` has none

    Raises
    ------
    ShapeError
        The columns do not fit the windows of such images.
    ArgumentError
        An argument is not an integer or two, or too small.

    Examples
    --------
    Every pixel comes back as often as windows covered it:

    >>> import minidl
    >>> columns = minidl.nn.functional.unfold(minidl.ones(1, 1, 3, 3), kernel_size=2)
    >>> minidl.nn.functional.fold(columns, output_size=3, kernel_size=2)
    tensor([[[[1., 2., 1.],
              [2., 4., 2.],
              [1., 2., 1.]]]])
    """
    size = pair("fold: output_size", output_size)
    geometry = _windows("fold", size, kernel_size, dilation, padding, stride)
    entries = geometry.kernel[0] * geometry.kernel[1]
    windows = geometry.out[0] * geometry.out[1]
    shape = tuple(input.array.shape)
    if len(shape) not in (2, 3) or shape[-2] % entries or shape[-1] != windows:
        raise ShapeError(
            f"fold: input of shape {shape} does not fit: expected (N, C·{entries}, {windows})"
        )
    columns = input if len(shape) == 3 else input.unsqueeze(0)
    images = FoldFunction.apply(columns, geometry, size)
    return images if len(shape) == 3 else images.squeeze(0)


def _windows(
    name: str, size: Pair, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> Geometry:
    """Return where the windows lie on images of a size."""
    kernel, step = pair(f"{name}: kernel_size", kernel_size), pair(f"{name}: stride", stride)
    gap, before = pair(f"{name}: dilation", dilation), pair(f"{name}: padding", padding, 0)
    return plan(name, size, kernel, step, gap, before)


class Unfold(Module):
    """im2col as a module: see :func:`unfold`.

    Parameters
    ----------
    kernel_size, dilation, padding, stride : int or pair
        Defaults as for :func:`unfold`.
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        dilation: IntOrPair = 1,
        padding: IntOrPair = 0,
        stride: IntOrPair = 1,
    ) -> None:
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input: Tensor) -> Tensor:
        """Return the columns of `input`."""
        return unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, "
            f"padding={self.padding}, stride={self.stride}"
        )


class Fold(Module):
    """col2im as a module: see :func:`fold`.

    Parameters
    ----------
    output_size, kernel_size, dilation, padding, stride : int or pair
        Defaults as for :func:`fold`.
    """

    def __init__(
        self,
        output_size: IntOrPair,
        kernel_size: IntOrPair,
        dilation: IntOrPair = 1,
        padding: IntOrPair = 0,
        stride: IntOrPair = 1,
    ) -> None:
        super().__init__()
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: Tensor) -> Tensor:
        """Return the images that the columns `input` add up to."""
        return fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
