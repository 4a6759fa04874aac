"""Transposed convolution: a convolution's input gradient as a layer, which makes images larger.

Forward. Each pixel of the input x (N, C, H, W) is multiplied by a kernel and added to the window of
the output that starts at its stride. With G groups and weights w (C, O/G, KH, KW), input channel c
of group g writes to the output channels of its own group:

    y[n, g·O/G+o, h·s + kh·d − p, v·s + kw·d − p]  +=  x[n,c,h,v] · w[c,o,kh,kw]

A convolution of an image as large as y, with the same arguments, has one window for each pixel of
x. So with W (C/G, O/G·KH·KW) and X (C/G, N·H·W) the sums are, for each group,

    Y = col2im(Wᵀ·X) + b        OH = (H − 1)·s − 2·p + d·(KH − 1) + 1 + output_padding

``output_padding`` adds rows and columns below and to the right: s sizes of y have the same number
of windows, and it says which one is meant.

Backward. col2im and im2col are each other's gradient. With D = im2col(dY), (O/G·KH·KW, N·H·W):

    dX = W·D          dW = X·Dᵀ          db = Σ_{n,oh,ow} dY

Source: Zeiler, Krishnan, Taylor and Fergus, "Deconvolutional networks" (2010).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..autograd import Context, Function
from ..autograd.precision import is_cast
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels.windows import Geometry, Pair
from ..ops import empty
from ..ops.precision import in_float32, rounded_like
from ..tensor import Tensor
from . import init
from .arguments import IntOrPair, check_images, pair
from .im2col import col2im, im2col
from .module import Module, Parameter

__all__ = ["ConvTranspose2d", "conv_transpose2d"]

# --- The plain code -------------------------------------------------------------------------------


def matrices_of(x: Array, weight: Array, groups: int) -> tuple[Array, Array]:
    """Return X (G, C/G, N·H·W) and W (G, C/G, O/G·KH·KW)."""
    channels, positions = x.shape[1], x.size // max(x.shape[1], 1)
    pixels = x.transpose(1, 0, 2, 3).reshape(groups, channels // groups, positions)
    return pixels, weight.reshape(groups, channels // groups, math.prod(weight.shape[1:]))


@in_float32
def forward(
    x: Array, weight: Array, bias: Array | None, geometry: Geometry, groups: int, size: Pair
) -> Array:
    """Return Y = col2im(Wᵀ·X) + b, images of `size`."""
    pixels, matrices = matrices_of(x, weight, groups)
    columns = array_module(x).matmul(matrices.swapaxes(1, 2), pixels)  # (G, O/G·KH·KW, N·H·W)
    columns = columns.reshape(groups * weight.shape[1], *geometry.kernel, len(x), *geometry.out)
    y = col2im(columns.transpose(3, 0, 1, 2, 4, 5), geometry, size)  # (N, O, OH, OW)
    return y if bias is None else y + bias.astype(y.dtype)[:, None, None]


@in_float32
def backward(
    grad: Array, x: Array, weight: Array, geometry: Geometry, groups: int, want: Sequence[bool]
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dW and db (None if not needed)."""
    xp, (n, channels, height, width) = array_module(x), x.shape
    pixels, matrices = matrices_of(x, weight, groups)
    columns = im2col(grad, geometry).transpose(1, 2, 3, 0, 4, 5)  # (O, KH, KW, N, H, W)
    columns = columns.reshape(groups, matrices.shape[2], pixels.shape[2])  # (G, O/G·KH·KW, N·H·W)
    dx = dweight = None
    if want[0]:
        dx = xp.matmul(matrices, columns).reshape(channels, n, height, width)
        dx = dx.transpose(1, 0, 2, 3)  # (N, C, H, W)
    if want[1]:
        dweight = xp.matmul(pixels, columns.swapaxes(1, 2)).reshape(weight.shape)
    return dx, dweight, grad.sum(axis=(0, 2, 3)) if want[2] else None


# --- The operation --------------------------------------------------------------------------------


class ConvTranspose2dFunction(Function):
    """Transposed convolution; saves the input and the weights."""

    autocast = "half"
    read_for = 1, 0  # x for the gradient of w, w for that of x

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        weight: Array,
        bias: Array | None,
        geometry: Geometry,
        groups: int,
        size: Pair,
    ) -> Array:
        ctx.geometry, ctx.groups = geometry, groups
        ctx.save_for_backward(x, weight)
        return rounded_like(forward(x, weight, bias, geometry, groups, size), x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        x, weight = ctx.saved_tensors
        gradients = backward(grad, x, weight, ctx.geometry, ctx.groups, ctx.needs_input_grad)
        return *gradients, None, None, None


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair = 0,
    output_padding: IntOrPair = 0,
    groups: int = 1,
    dilation: IntOrPair = 1,
) -> Tensor:
    """Apply a transposed convolution to images.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    weight : Tensor, shape (C, O/groups, KH, KW)
    bias : Tensor, shape (O,), optional
    stride, dilation : int or pair
        Default 1.
    padding : int or pair
        Number of rows and columns to leave out on each side of the output. Default 0.
    output_padding : int or pair
        Number of rows and columns to add at the bottom and right. Default 0.
    groups : int
        Number of groups; each writes only its own output channels. Default 1.

    Returns
    -------
    Tensor, shape (N, O, OH, OW) or (O, OH, OW)
        ``OH = (H - 1)·stride - 2·padding + dilation·(KH - 1) + output_padding + 1``.

    Raises
    ------
    ShapeError
        Channels, groups and sizes do not fit together, or the output would be empty.
    DTypeError
        `input` and `weight` have different dtypes.
    ArgumentError
        An argument has no possible value; `output_padding` must be below stride or dilation.

    Examples
    --------
    >>> import minidl
    >>> x, w = minidl.ones(1, 1, 1, 2), minidl.tensor([[[[1.0, 2.0, 3.0]]]])
    >>> minidl.nn.functional.conv_transpose2d(x, w, stride=(1, 2))
    tensor([[[[1., 2., 4., 2., 3.]]]])
    """
    name, images = "conv_transpose2d", input.unsqueeze(0) if input.ndim == 3 else input
    check_images(name, images.array)
    if weight.ndim != 4:
        raise ShapeError(
            f"{name}: expected weight of shape (C, O/groups, KH, KW), got {tuple(weight.shape)}"
        )
    channels = images.array.shape[1]
    if groups < 1 or channels % groups or channels != len(weight.array):
        raise ShapeError(
            f"{name}: input has {channels} channels; weight of shape {tuple(weight.shape)} expects "
            f"{len(weight.array)}, divisible by groups={groups}"
        )
    o = groups * weight.array.shape[1]
    if bias is not None and tuple(bias.shape) != (o,):
        raise ShapeError(f"{name}: expected bias of shape ({o},), got {tuple(bias.shape)}")
    if input.dtype != weight.dtype and not is_cast(input):
        raise DTypeError(f"{name}: input is {input.dtype}, weight is {weight.dtype}")
    steps, gaps = pair(f"{name}: stride", stride), pair(f"{name}: dilation", dilation)
    before = pair(f"{name}: padding", padding, 0)
    extra = pair(f"{name}: output_padding", output_padding, 0)
    if any(e >= max(s, d) for e, s, d in zip(extra, steps, gaps, strict=True)):
        raise ArgumentError(
            f"{name}: output_padding must be smaller than stride or dilation, got {extra} with "
            f"stride {steps} and dilation {gaps}"
        )
    windows = Geometry(weight.array.shape[2:], steps, gaps, before, images.array.shape[2:])
    size = tuple(n - 2 * p + e for n, p, e in zip(windows.span, before, extra, strict=True))
    if min(*size, *windows.kernel) < 1:
        raise ShapeError(f"{name}: padding {before} leaves an output of {size[0]}x{size[1]}")
    y: Tensor = ConvTranspose2dFunction.apply(images, weight, bias, windows, groups, size)
    return y.squeeze(0) if input.ndim == 3 else y


class ConvTranspose2d(Module):
    """A layer of transposed convolution: see :func:`conv_transpose2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or pair
    stride, padding, output_padding, dilation : int or pair
        Defaults 1, 0, 0, 1.
    groups : int
        Default 1.
    bias : bool
        Default True.
    padding_mode : {"zeros"}
    device, dtype : optional

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels/groups, KH, KW)
    bias : Parameter, shape (out_channels,)
        Both drawn uniformly from ±1/√(out_channels/groups·KH·KW), as PyTorch does.

    Raises
    ------
    ArgumentError
        An argument has no possible value, or the channels are not divisible by `groups`.

    Examples
    --------
    >>> import minidl
    >>> up = minidl.nn.ConvTranspose2d(8, 4, kernel_size=3, stride=2, padding=1)
    >>> up(minidl.zeros(1, 8, 7, 7)).shape
    Size([1, 4, 13, 13])
    >>> up(minidl.zeros(1, 8, 7, 7), output_size=(14, 14)).shape
    Size([1, 4, 14, 14])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair = 0,
        output_padding: IntOrPair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: IntOrPair = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name, channels = "ConvTranspose2d", (in_channels, out_channels)
        if groups < 1 or min(channels) < 1 or any(count % groups for count in channels):
            raise ArgumentError(
                f"{name}: in_channels={in_channels} and out_channels={out_channels} must be "
                f"positive and divisible by groups={groups}"
            )
        if padding_mode != "zeros":
            raise ArgumentError(f"{name}: padding_mode must be 'zeros', got {padding_mode!r}")
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(f"{name}: kernel_size", kernel_size)
        self.stride = pair(f"{name}: stride", stride)
        self.dilation = pair(f"{name}: dilation", dilation)
        self.padding = pair(f"{name}: padding", padding, 0)
        self.output_padding = pair(f"{name}: output_padding", output_padding, 0)
        shape = in_channels, out_channels // groups, *self.kernel_size
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        self.bias = Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw weight and bias."""
        bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Return the transposed convolution of `input`, of height and width `output_size`."""
        extra = self.output_padding if output_size is None else self._extra(input, output_size)
        options: Any = self.stride, self.padding, extra, self.groups, self.dilation
        return conv_transpose2d(input, self.weight, self.bias, *options)

    def _extra(self, input: Tensor, output_size: Sequence[int]) -> Pair:
        """Return the output padding that makes the output's height and width `output_size`."""
        size: Any = tuple(input.shape[-2:])
        windows = Geometry(self.kernel_size, self.stride, self.dilation, self.padding, size)
        least = [n - 2 * p for n, p in zip(windows.span, self.padding, strict=True)]
        most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
        fits = [a <= n <= b for a, n, b in zip(least, output_size[-2:], most, strict=False)]
        if fits != [True, True]:
            raise ArgumentError(
                f"ConvTranspose2d: output_size must be from {least} to {most} for an input of "
                f"{size[0]}x{size[1]}, got {tuple(output_size)}"
            )
        return output_size[-2] - least[0], output_size[-1] - least[1]

    def extra_repr(self) -> str:
        own = {**vars(self), "bias": self.bias is not None}
        usual: dict[str, Any] = {"padding": (0, 0), "dilation": (1, 1), "output_padding": (0, 0)}
        usual |= {"groups": 1, "bias": True}
        changed = [f", {name}={own[name]}" for name in usual if own[name] != usual[name]]
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
        return "".join([text, f"stride={self.stride}", *changed])
