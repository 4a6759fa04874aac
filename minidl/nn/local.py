"""Unshared convolution, the ``local`` layer of cuda-convnet: every position has its own kernels.

As a convolution, but the weights depend on the position l = oh·OW + ow:

    y[n,o,l] = b[o,l] + Σ_k w[l,o,k] · X[l,k,n]

where column X[l,:,n] holds the C·KH·KW numbers of window l (im2col). For every position that is a
small matrix product, with

    dw[l] = dy[l]·X[l]ᵀ        dX[l] = w[l]ᵀ·dy[l]        db[:,l] = Σ_n dy[n,:,l]

and dX goes back to the pixels by col2im. The CIFAR-10 nets that reach 13 % and 11 % test error end
in two such layers.

Source: computerhistory/AlexNet-Source-Code, example-layers/layers-conv-local-13pct.cfg.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Function, Node
from ..device import Array, array_module
from ..errors import DTypeError, ShapeError
from ..kernels import cpu, cuda
from ..kernels.windows import Geometry, plan
from ..tensor import Tensor
from . import init
from .activation import has_kernels
from .im2col import IntOrPair, check_images, col2im, im2col, pair
from .module import Module, Parameter

__all__ = ["LocallyConnected2d", "locally_connected2d"]


def _products(a: Array, b: Array) -> Array:
    """Return ``a[l] @ b[l]`` for every position l."""
    if not isinstance(a, np.ndarray):
        return array_module(a).matmul(a, b)
    out = np.empty((len(a), a.shape[1], b.shape[2]), a.dtype)

    def lane(positions: slice) -> None:
        np.matmul(a[positions], b[positions], out=out[positions])

    cpu.parallel(lane, cpu.split(len(a)))
    return out


def _columns(x: Array, geometry: Geometry) -> Array:
    """Return the windows as (L, C·KH·KW, N)."""
    windows = math.prod(geometry.out)
    length = x.shape[1] * math.prod(geometry.kernel)
    columns = im2col(x, geometry).reshape(x.shape[0], length, windows)
    return array_module(x).ascontiguousarray(columns.transpose(2, 1, 0))


_CUDA = cuda.Source(r"""
// Images are (C, N, H, W) in memory; windows are numbered l, and entry k of one is (c, kh, kw).

// The windows as columns (L, K, N), or as rows (L, N, K): one thread a number, neighbours
// neighbours of the result.
extern "C" __global__ void windows(
    const T* x, T* result, long long size, int length, int images, bool as_rows, int height,
    int width, int out_w, int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left)
{
    FOR_EACH(i, size) {
        const long long l = i / images / length;
        const int n = as_rows ? i / length % images : i % images;
        const int k = as_rows ? i % length : i / images % length;
        const int kw = k % kernel_w, kh = k / kernel_w % kernel_h, c = k / kernel_w / kernel_h;
        const int h = (int)(l / out_w) * stride_h - top + kh;
        const int w = (int)(l % out_w) * stride_w - left + kw;
        const bool inside = h >= 0 && h < height && w >= 0 && w < width;
        result[i] = inside ? x[(((long long)c * images + n) * height + h) * width + w] : T(0);
    }
}

// The sum of all entries of rows (L, N, K) that were read from a pixel; one thread a pixel.
extern "C" __global__ void pixels(
    const T* rows, T* dx, long long size, int length, int images, int height, int width, int out_h,
    int out_w, int kernel_h, int kernel_w, int stride_h, int stride_w, int top, int left)
{
    FOR_EACH(i, size) {
        const int w = i % width, h = i / width % height, n = i / width / height % images;
        const int c = i / width / height / images;
        T sum = 0;
        for (int kh = 0; kh < kernel_h; kh++) {
            const int down = h + top - kh, oh = down / stride_h;
            if (down < 0 || oh >= out_h || oh * stride_h != down) continue;
            for (int kw = 0; kw < kernel_w; kw++) {
                const int right = w + left - kw, ow = right / stride_w;
                if (right < 0 || ow >= out_w || ow * stride_w != right) continue;
                const long long l = (long long)oh * out_w + ow;
                sum += rows[(l * images + n) * length + (c * kernel_h + kh) * kernel_w + kw];
            }
        }
        dx[i] = sum;
    }
}

// Products (L, O, N), and biases (O, L) if they are not null, as images (O, N, L).
extern "C" __global__ void to_images(
    const T* products, const T* bias, T* y, long long size, int maps, int images, int positions)
{
    FOR_EACH(i, size) {
        const int l = i % positions, n = i / positions % images, o = i / positions / images;
        const T value = products[((long long)l * maps + o) * images + n];
        y[i] = bias ? value + bias[(long long)o * positions + l] : value;
    }
}

// The way back, images (O, N, L) as (L, O, N) or (L, N, O); one thread a number of the result.
extern "C" __global__ void from_images(
    const T* y, T* result, long long size, int maps, int images, int positions, bool maps_last)
{
    FOR_EACH(i, size) {
        const int l = i / maps / images;
        const int o = maps_last ? i % maps : i / images % maps;
        const int n = maps_last ? i / maps % images : i % images;
        result[i] = y[((long long)o * images + n) * positions + l];
    }
}

// Σ_n dy[o,n,l]; one thread a position of a map.
extern "C" __global__ void sum_images(
    const T* dy, T* sums, long long size, int images, int positions)
{
    FOR_EACH(i, size) {
        const T* own = dy + i / positions * images * positions + i % positions;
        T sum = 0;
        for (int n = 0; n < images; n++) sum += own[(long long)n * positions];
        sums[i] = sum;
    }
}
""")


def _windows_cuda(x: Array, geometry: Geometry, as_rows: bool) -> Array:
    """Return the windows as columns (L, K, N), or as rows (L, N, K)."""
    n, channels, height, width = x.shape
    length = channels * math.prod(geometry.kernel)
    sizes = (n, length) if as_rows else (length, n)
    result = cuda.cupy().empty((math.prod(geometry.out), *sizes), x.dtype)
    _CUDA.launch(
        "windows", x.dtype, result.size, cuda.channel_major(x), result, np.int64(result.size),
        length, n, as_rows, height, width, geometry.out[1], *geometry.kernel, *geometry.stride,
        *geometry.before,
    )  # fmt: skip
    return result


def _from_images_cuda(dy: Array, maps_last: bool) -> Array:
    """Return images that are (O, N, OH, OW) in memory as (L, O, N), or as (L, N, O)."""
    o, n, *out = dy.shape
    positions = math.prod(out)
    result = cuda.cupy().empty((positions, *((n, o) if maps_last else (o, n))), dy.dtype)
    _CUDA.launch(
        "from_images", dy.dtype, dy.size, dy, result, np.int64(dy.size), o, n, positions, maps_last
    )
    return result


def _forward_cuda(x: Array, weight: Array, bias: Array | None, geometry: Geometry) -> Array:
    xp = cuda.cupy()
    n, (positions, o) = x.shape[0], weight.shape[:2]
    products = xp.matmul(xp.ascontiguousarray(weight), _windows_cuda(x, geometry, False))
    y = cuda.empty_image(n, o, *geometry.out, x.dtype)
    null_or_bias = np.uint64(0) if bias is None else xp.ascontiguousarray(bias, x.dtype)
    _CUDA.launch(
        "to_images", x.dtype, y.size, products, null_or_bias, cuda.channel_major(y),
        np.int64(y.size), o, n, positions,
    )  # fmt: skip
    return y


def _weight_gradient_cuda(x: Array, dy: Array, geometry: Geometry) -> Array:
    """Return dw[l] = dy[l]·X[l]ᵀ; with rows for X no operand has to be transposed."""
    return cuda.cupy().matmul(_from_images_cuda(dy, False), _windows_cuda(x, geometry, True))


def _input_gradient_cuda(dy: Array, weight: Array, x: Array, geometry: Geometry) -> Array:
    """Return dX as images: dX[l]ᵀ = dy[l]ᵀ·w[l], then every entry goes back to its pixel."""
    xp = cuda.cupy()
    n, channels, height, width = x.shape
    rows = xp.matmul(_from_images_cuda(dy, True), xp.ascontiguousarray(weight))  # (L, N, K)
    dx = cuda.empty_image(n, channels, height, width, x.dtype)
    _CUDA.launch(
        "pixels", x.dtype, dx.size, rows, cuda.channel_major(dx), np.int64(dx.size),
        rows.shape[2], n, height, width, *geometry.out, *geometry.kernel, *geometry.stride,
        *geometry.before,
    )  # fmt: skip
    return dx


def _bias_gradient_cuda(dy: Array) -> Array:
    o, n, *out = dy.shape
    sums = cuda.cupy().empty((o, *out), dy.dtype)
    _CUDA.launch(
        "sum_images", dy.dtype, sums.size, dy, sums, np.int64(sums.size), n, math.prod(out)
    )
    return sums


class LocallyConnected2dFunction(Function):
    """Unshared convolution; saves the input and the weights."""

    @staticmethod
    def forward(
        ctx: Node, x: Array, weight: Array, bias: Array | None, geometry: Geometry
    ) -> Array:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        if has_kernels(x):
            return _forward_cuda(x, weight, bias, geometry)
        y = _products(weight, _columns(x, geometry)).transpose(2, 1, 0)  # (N, O, L)
        y = y.reshape(x.shape[0], weight.shape[1], *geometry.out)
        return y if bias is None else y + bias

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias, _ = ctx.needs_input_grad
        if has_kernels(x):
            dy = cuda.channel_major(grad)
            return (
                _input_gradient_cuda(dy, weight, x, ctx.geometry) if need_x else None,
                _weight_gradient_cuda(x, dy, ctx.geometry) if need_weight else None,
                _bias_gradient_cuda(dy) if need_bias else None,
                None,
            )
        n, o = grad.shape[:2]
        rows = grad.reshape(n, o, len(weight)).transpose(2, 1, 0)
        dy = array_module(x).ascontiguousarray(rows)
        dx = dweight = None
        if need_weight:
            dweight = _products(dy, _columns(x, ctx.geometry).swapaxes(1, 2))
        if need_x:
            columns = _products(weight.swapaxes(1, 2), dy).transpose(2, 1, 0)  # (N, K, L)
            columns = columns.reshape(n, x.shape[1], *ctx.geometry.kernel, *ctx.geometry.out)
            dx = col2im(columns, ctx.geometry, x.shape[2:])
        return dx, dweight, grad.sum(axis=0) if need_bias else None, None


def locally_connected2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    kernel_size: IntOrPair,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
) -> Tensor:
    """Convolve with kernels that differ from position to position.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W)
    weight : Tensor, shape (OH·OW, O, C·KH·KW)
    bias : Tensor, shape (O, OH, OW), or None
    kernel_size, stride, padding : int or pair
        Stride 1 and padding 0 by default.

    Returns
    -------
    Tensor, shape (N, O, OH, OW)

    Raises
    ------
    ShapeError
        Weight or bias do not fit the input's windows.
    DTypeError
        `input` and `weight` have different dtypes.
    ArgumentError
        An argument is not an integer or two, or too small.
    """
    name = "locally_connected2d"
    check_images(name, input.array)
    geometry = plan(
        name,
        input.array.shape[2:],
        pair(f"{name}: kernel_size", kernel_size),
        pair(f"{name}: stride", stride),
        before=pair(f"{name}: padding", padding, 0),
    )
    positions = math.prod(geometry.out)
    length = input.array.shape[1] * math.prod(geometry.kernel)
    if weight.ndim != 3 or (weight.shape[0], weight.shape[2]) != (positions, length):
        raise ShapeError(
            f"{name}: weight of shape {tuple(weight.shape)} does not fit input of shape "
            f"{tuple(input.shape)}: expected ({positions}, O, {length})"
        )
    if bias is not None and tuple(bias.shape) != (weight.shape[1], *geometry.out):
        raise ShapeError(
            f"{name}: bias of shape {tuple(bias.shape)}, expected "
            f"{(weight.shape[1], *geometry.out)}"
        )
    if input.dtype != weight.dtype:
        raise DTypeError(f"{name}: input is {input.dtype}, weight is {weight.dtype}")
    return LocallyConnected2dFunction.apply(input, weight, bias, geometry)


class LocallyConnected2d(Module):
    """A layer of kernels that differ from position to position.

    Parameters
    ----------
    in_channels, out_channels : int
    input_size : int or pair
        Height and width of the images: they decide how many positions there are.
    kernel_size : int or pair
    stride, padding : int or pair
        Defaults 1 and 0.
    bias : bool
        Default True.
    device, dtype : optional
        Default float32 on the CPU.

    Attributes
    ----------
    weight : Parameter, shape (OH·OW, out_channels, in_channels·KH·KW)
        Drawn uniformly from ±1/√(fan in), as in Conv2d.
    bias : Parameter, shape (out_channels, OH, OW)
        Likewise.

    Raises
    ------
    ShapeError
        No window fits into the images.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        input_size: IntOrPair,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair = 0,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        from .. import ops

        name = "LocallyConnected2d"
        self.in_channels, self.out_channels = in_channels, out_channels
        self.input_size = pair(f"{name}: input_size", input_size)
        self.kernel_size = pair(f"{name}: kernel_size", kernel_size)
        self.stride = pair(f"{name}: stride", stride)
        self.padding = pair(f"{name}: padding", padding, 0)
        geometry = plan(name, self.input_size, self.kernel_size, self.stride, before=self.padding)
        length = in_channels * math.prod(self.kernel_size)
        where = {"device": device, "dtype": dtype}
        shape = (math.prod(geometry.out), out_channels, length)
        self.weight = Parameter(ops.empty(shape, **where))
        self.bias = Parameter(ops.empty(out_channels, *geometry.out, **where)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.weight.shape[2])
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return the unshared convolution of `input`."""
        return locally_connected2d(
            input, self.weight, self.bias, self.kernel_size, self.stride, self.padding
        )

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return (
            f"{self.in_channels}, {self.out_channels}, input_size={self.input_size}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        )
