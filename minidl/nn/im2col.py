"""Windows of an image, and im2col / col2im: ``unfold`` and ``fold`` under the names users know.

Convolution, pooling and unshared convolution all slide a window over an image. For one axis, with
input length H, padding p in front and p' behind, kernel K, stride s and dilation d, a window covers
``d·(K - 1) + 1`` positions, and there are

    OH = floor((H + p + p' - d·(K - 1) - 1) / s) + 1

of them; window ``oh`` reads the padded positions ``oh·s + kh·d``. :class:`Geometry` holds these
numbers for both axes, and nothing else in the library computes them again.

**im2col** writes every window into a row (or column) of a matrix, so that a convolution becomes a
matrix product. **col2im** is its transpose: every entry is *added* back to the pixel that it was
read from. As linear maps ``⟨unfold(x), y⟩ = ⟨x, fold(y)⟩``, so each is the other's gradient.

Shapes: x (N, C, H, W) ↔ columns (N, C·KH·KW, L), with L = OH·OW.

Source: Chellapilla, Puri and Simard, "High performance convolutional neural networks for document
processing" (2006).
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ..autograd import Function, Node
from ..device import Array, array_module
from ..errors import ArgumentError, ShapeError
from ..kernels import cuda
from ..kernels.windows import Geometry, Pair, plan
from ..tensor import Tensor
from .module import Module

__all__ = ["Fold", "Unfold", "fold", "unfold"]

IntOrPair: TypeAlias = int | tuple[int, ...] | list[int]


def pair(name: str, value: Any, least: int = 1) -> Pair:
    """Return `value`, an integer or two, as a pair.

    Raises
    ------
    ArgumentError
        It is neither, or smaller than `least`; the message names the argument.
    """
    values = (value, value) if isinstance(value, (int, np.integer)) else value
    try:
        if len(values) == 1:
            values = (*values, *values)
        first, second = (int(v) for v in values)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name}: expected an integer or two, got {value!r}") from error
    if min(first, second) < least:
        raise ArgumentError(f"{name}: expected at least {least}, got {value!r}")
    return first, second


def check_images(name: str, x: Array) -> None:
    """Raise a `ShapeError` unless `x` has the four axes (N, C, H, W)."""
    if x.ndim != 4:
        raise ShapeError(f"{name}: expected input of shape (N, C, H, W), got {tuple(x.shape)}")


# --- im2col and col2im ----------------------------------------------------------------------------


def pad_images(x: Array, geometry: Geometry, fill: float = 0.0) -> Array:
    """Return the span of the windows, (N, C, span), with `fill` where there is no image."""
    xp = array_module(x)
    rows, columns, own_rows, own_columns = geometry.inside(x.shape[2:])
    padded = xp.full((*x.shape[:2], *geometry.span), fill, x.dtype)
    padded[:, :, rows, columns] = x[:, :, own_rows, own_columns]
    return padded


def copy_pixels(images: Array, out: Array) -> None:
    """Write channels-last images (n, H, W, C), in whatever memory, to others that are so in memory.

    Of planes, such as a user's batch may have, NumPy's loops are longest one by one.
    """
    if images.strides[3] > images.strides[2]:
        for channel in range(images.shape[3]):
            out[..., channel] = images[..., channel]
    else:
        out[...] = images


def im2col(x: Array, geometry: Geometry) -> Array:
    """Return the windows of `x` as columns.

    Parameters
    ----------
    x : array, shape (N, C, H, W)
    geometry : Geometry

    Returns
    -------
    array, shape (N, C, KH, KW, OH, OW)
    """
    if not isinstance(x, np.ndarray) and x.dtype.name in _KERNEL_TYPES:
        return _im2col_cuda(x, geometry)
    # NumPy's arrays, and a GPU's of integers and float16
    padded = pad_images(x, geometry)
    kernel_h, kernel_w = geometry.kernel
    columns = array_module(x).empty((*x.shape[:2], *geometry.kernel, *geometry.out), x.dtype)
    for kh in range(kernel_h):
        for kw in range(kernel_w):
            rows, cols = geometry.positions(kh, kw)
            columns[:, :, kh, kw] = padded[:, :, rows, cols]
    return columns


def col2im(columns: Array, geometry: Geometry, size: Pair) -> Array:
    """Add every entry of `columns` to the pixel that :func:`im2col` reads it from.

    Parameters
    ----------
    columns : array, shape (N, C, KH, KW, OH, OW)
    geometry : Geometry
    size : pair of int
        Height and width of the image.

    Returns
    -------
    array, shape (N, C, H, W)
    """
    if not isinstance(columns, np.ndarray) and columns.dtype.name in _KERNEL_TYPES:
        return _col2im_cuda(columns, geometry, size)
    xp = array_module(columns)
    kernel_h, kernel_w = geometry.kernel
    padded = xp.zeros((*columns.shape[:2], *geometry.span), columns.dtype)
    for kh in range(kernel_h):
        for kw in range(kernel_w):
            rows, cols = geometry.positions(kh, kw)
            padded[:, :, rows, cols] += columns[:, :, kh, kw]
    rows, cols, own_rows, own_cols = geometry.inside(size)
    image = xp.zeros((*columns.shape[:2], *size), columns.dtype)
    image[:, :, own_rows, own_cols] = padded[:, :, rows, cols]
    return image


_KERNEL_TYPES = ("float32", "float64")

_CUDA = cuda.Source(r"""
// The numbers of one window's entry, out of images whose memory is (C, N, H, W).
// One thread a number of the columns (N, C, KH, KW, OH, OW): neighbours read neighbouring windows.
extern "C" __global__ void im2col(
    const T* x, T* columns, int images, int channels, int height, int width, int kernel_h,
    int kernel_w, int out_h, int out_w, int stride_h, int stride_w, int dilation_h,
    int dilation_w, int top, int left)
{
    const int windows = out_h * out_w, entries = kernel_h * kernel_w;
    FOR_EACH(i, (long long)images * channels * entries * windows) {
        const int window = i % windows, entry = i / windows % entries;
        const int plane = i / windows / entries, image = plane / channels;
        const int h = window / out_w * stride_h - top + entry / kernel_w * dilation_h;
        const int w = window % out_w * stride_w - left + entry % kernel_w * dilation_w;
        const bool inside = h >= 0 && h < height && w >= 0 && w < width;
        const long long from = (long long)(plane % channels) * images + image;
        columns[i] = inside ? x[(from * height + h) * width + w] : T(0);
    }
}

// The sum of all entries that were read from a pixel: a gather, so that the order is fixed.
// One thread a pixel (C, N, H, W): for each entry it looks for the window that has it there.
extern "C" __global__ void col2im(
    const T* columns, T* x, int images, int channels, int height, int width, int kernel_h,
    int kernel_w, int out_h, int out_w, int stride_h, int stride_w, int dilation_h,
    int dilation_w, int top, int left)
{
    const int windows = out_h * out_w;
    FOR_EACH(i, (long long)images * channels * height * width) {
        const int w = i % width, h = i / width % height;
        const int plane = i / width / height, image = plane % images, channel = plane / images;
        const T* entry = columns
            + ((long long)image * channels + channel) * kernel_h * kernel_w * windows;
        T sum = 0;
        for (int kh = 0; kh < kernel_h; kh++) {
            const int down = h + top - kh * dilation_h, oh = down / stride_h;
            for (int kw = 0; kw < kernel_w; kw++, entry += windows) {
                const int right = w + left - kw * dilation_w, ow = right / stride_w;
                if (down >= 0 && right >= 0 && oh < out_h && ow < out_w
                    && oh * stride_h == down && ow * stride_w == right)
                    sum += entry[oh * out_w + ow];
            }
        }
        x[i] = sum;
    }
}
""")


def _im2col_cuda(x: Array, geometry: Geometry) -> Array:
    n, c, height, width = x.shape
    g = geometry
    columns = cuda.cupy().empty((n, c, *g.kernel, *g.out), x.dtype)
    _CUDA.launch(
        "im2col", x.dtype, columns.size, cuda.channel_major(x), columns, n, c, height, width,
        *g.kernel, *g.out, *g.stride, *g.dilation, *g.before,
    )  # fmt: skip
    return columns


def _col2im_cuda(columns: Array, geometry: Geometry, size: Pair) -> Array:
    n, c = columns.shape[:2]
    g = geometry
    image = cuda.empty_image(n, c, *size, columns.dtype)
    _CUDA.launch(
        "col2im", columns.dtype, image.size, cuda.cupy().ascontiguousarray(columns),
        image.transpose(1, 0, 2, 3), n, c, *size, *g.kernel, *g.out, *g.stride, *g.dilation,
        *g.before,
    )  # fmt: skip
    return image


class Unfold_(Function):
    """im2col; its gradient is col2im."""

    @staticmethod
    def forward(ctx: Node, x: Array, geometry: Geometry) -> Array:
        ctx.geometry, ctx.size = geometry, x.shape[2:]
        columns = im2col(x, geometry)
        n, c, kh, kw, oh, ow = columns.shape
        return columns.reshape(n, c * kh * kw, oh * ow)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        g = ctx.geometry
        n, rows, _ = grad.shape
        channels = rows // (g.kernel[0] * g.kernel[1])
        return col2im(grad.reshape(n, channels, *g.kernel, *g.out), g, ctx.size), None


class Fold_(Function):
    """col2im; its gradient is im2col."""

    @staticmethod
    def forward(ctx: Node, columns: Array, geometry: Geometry, size: Pair) -> Array:
        ctx.geometry, ctx.shape = geometry, columns.shape
        n, rows, _ = columns.shape
        channels = rows // (geometry.kernel[0] * geometry.kernel[1])
        return col2im(columns.reshape(n, channels, *geometry.kernel, *geometry.out), geometry, size)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        return im2col(grad, ctx.geometry).reshape(ctx.shape), None, None


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
    input : Tensor, shape (N, C, H, W)
    kernel_size : int or pair
    dilation, padding, stride : int or pair
        Defaults 1, 0, 1.

    Returns
    -------
    Tensor, shape (N, C·KH·KW, L)
        L windows, from the top left to the bottom right by rows.

    Raises
    ------
    ShapeError
        No window fits, or the input has not four axes.
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
    check_images("unfold", input.array)
    geometry = plan(
        "unfold",
        input.array.shape[2:],
        pair("unfold: kernel_size", kernel_size),
        pair("unfold: stride", stride),
        pair("unfold: dilation", dilation),
        pair("unfold: padding", padding, 0),
    )
    return Unfold_.apply(input, geometry)


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
    input : Tensor, shape (N, C·KH·KW, L)
    output_size : int or pair
        Height and width of the images.
    kernel_size, dilation, padding, stride : int or pair
        As for :func:`unfold`.

    Returns
    -------
    Tensor, shape (N, C, H, W)

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
    geometry = plan(
        "fold",
        size,
        pair("fold: kernel_size", kernel_size),
        pair("fold: stride", stride),
        pair("fold: dilation", dilation),
        pair("fold: padding", padding, 0),
    )
    entries = geometry.kernel[0] * geometry.kernel[1]
    windows = geometry.out[0] * geometry.out[1]
    shape = tuple(input.array.shape)
    if len(shape) != 3 or shape[1] % entries or shape[2] != windows:
        raise ShapeError(
            f"fold: input of shape {shape} does not fit: expected (N, C·{entries}, {windows})"
        )
    return Fold_.apply(input, geometry, size)


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
        """Return the arguments, for ``repr``."""
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
        """Return the arguments, for ``repr``."""
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )
