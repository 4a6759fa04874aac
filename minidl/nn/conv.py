"""Two-dimensional convolution (as everywhere in deep learning, cross-correlation).

Forward. With the input x (N, C, H, W), G groups and the weights w (O, C/G, KH, KW), output channel
o of group g reads the input channels of its own group; pixels outside the image count as 0:

    y[n,o,oh,ow] = b[o] + Σ_{c,kh,kw} w[o,c,kh,kw] · x[n, g·C/G+c, oh·s + kh·d − p, ow·s + kw·d − p]

The sum runs over the pixels of one window. With all windows as the columns of a matrix X (im2col),
and with w as a matrix W, it is one matrix product for each group:

    Y = W·X + b         W (O/G, C/G·KH·KW);  X (C/G·KH·KW, N·OH·OW);  Y (O/G, N·OH·OW)

Backward. Y is linear in W, X and b. With the incoming gradient dY:

    dW = dY·Xᵀ          db = Σ_columns dY          dX = Wᵀ·dY

A pixel stands in X once for each window that covers it, so its gradient is the sum of the entries
of dX that were read from it: col2im.

Groups come from AlexNet's two GPUs: conv2, conv4 and conv5 see only the maps of their own GPU.

Source: Krizhevsky, Sutskever and Hinton (2012), section 3.5; for the rounded-up output of
``ceil_mode``, the original program (computerhistory/AlexNet-Source-Code, layer.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..autograd.precision import is_cast
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels.windows import Geometry
from ..ops import empty
from ..ops.precision import rounded_like, widened
from ..tensor import Tensor
from . import init
from .arguments import IntOrPair, check_images, check_padding, conv_geometry, margins, pair
from .im2col import col2im, im2col
from .module import Module, Parameter
from .padding import pad

__all__ = ["Conv2d", "conv2d"]

# --- The plain code -------------------------------------------------------------------------------


def matrix_of_windows(x: Array, geometry: Geometry, groups: int) -> Array:
    """Return X of all groups, (G, C/G·KH·KW, N·OH·OW)."""
    columns = im2col(x, geometry).transpose(1, 2, 3, 0, 4, 5)  # (C, KH, KW, N, OH, OW)
    length = x.shape[1] // groups * math.prod(geometry.kernel)
    return columns.reshape(groups, length, len(x) * math.prod(geometry.out))


def forward(x: Array, weight: Array, bias: Array | None, geometry: Geometry, groups: int) -> Array:
    """Return Y = W·X + b."""
    columns = matrix_of_windows(x, geometry, groups)  # (G, C/G·KH·KW, N·OH·OW)
    matrices = weight.reshape(groups, len(weight) // groups, columns.shape[1])
    y = array_module(x).matmul(matrices, columns)  # (G, O/G, N·OH·OW)
    y = y.reshape(len(weight), len(x), *geometry.out)  # (O, N, OH, OW)
    if bias is not None:
        y += bias.astype(y.dtype)[:, None, None, None]
    return y.transpose(1, 0, 2, 3)  # (N, O, OH, OW)


def backward(
    grad: Array, x: Array, weight: Array, geometry: Geometry, groups: int, want: Sequence[bool]
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dW and db (None if not needed)."""
    xp, (n, channels, *size), (o, depth, kh, kw) = array_module(x), x.shape, weight.shape
    matrices = weight.reshape(groups, o // groups, depth * kh * kw)
    dy = grad.transpose(1, 0, 2, 3)  # (O, N, OH, OW)
    dy = dy.reshape(groups, o // groups, n * math.prod(geometry.out))  # (G, O/G, N·OH·OW)
    dx = dweight = dbias = None
    if want[0]:
        columns = xp.matmul(matrices.swapaxes(1, 2), dy)  # (G, C/G·KH·KW, N·OH·OW)
        columns = columns.reshape(channels, kh, kw, n, *geometry.out)
        dx = col2im(columns.transpose(3, 0, 1, 2, 4, 5), geometry, (size[0], size[1]))
    if want[1]:
        columns = matrix_of_windows(x, geometry, groups)
        dweight = xp.matmul(dy, columns.swapaxes(1, 2)).reshape(weight.shape)  # (O, C/G, KH, KW)
    if want[2]:
        dbias = dy.sum(axis=2).reshape(o)
    return dx, dweight, dbias


# --- The operation --------------------------------------------------------------------------------


class Conv2dFunction(Function):
    """Convolution; saves the input and the weights."""

    autocast = "half"
    read_for = 1, 0  # x for the gradient of w, w for that of x

    @staticmethod
    def forward(
        ctx: Context, x: Array, weight: Array, bias: Array | None, geometry: Geometry, groups: int
    ) -> Array:
        ctx.kernel, ctx.geometry, ctx.groups = kernels.of("conv", x), geometry, groups
        ctx.save_for_backward(x, weight)
        run: Any = ctx.kernel.forward if ctx.kernel else forward
        return rounded_like(run(*widened(x, weight, bias, unless=ctx.kernel), geometry, groups), x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        x, weight = ctx.saved_tensors
        run: Any = ctx.kernel.backward if ctx.kernel else backward
        more = ctx.geometry, ctx.groups, ctx.needs_input_grad
        return *run(*widened(grad, x, weight, unless=ctx.kernel), *more), None, None


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair | str = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """Convolve images with a bank of kernels.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    weight : Tensor, shape (O, C/groups, KH, KW)
    bias : Tensor, shape (O,), optional
    stride, dilation : int or pair
        Default 1.
    padding : int, pair, "same" or "valid"
        Zeros on both sides. Default 0.
    groups : int
        Number of groups; each sees only its own input channels. Default 1.
    ceil_mode : bool
        Round the output's size up: the last window hangs over the right and bottom edge by zeros,
        as in the 2012 program's 224 → 55. Default False.

    Returns
    -------
    Tensor, shape (N, O, OH, OW) or (O, OH, OW)

    Raises
    ------
    ShapeError
        Channels, groups and sizes do not fit together; the message says which and how.
    DTypeError, ArgumentError
        `input` and `weight` have different dtypes; an argument has no possible value.

    Examples
    --------
    >>> import minidl
    >>> x, w = minidl.zeros(1, 3, 224, 224), minidl.zeros(96, 3, 11, 11)
    >>> minidl.nn.functional.conv2d(x, w, stride=4, ceil_mode=True).shape
    Size([1, 96, 55, 55])
    """
    images = input.unsqueeze(0) if input.ndim == 3 else input
    windows = stride, padding, dilation, ceil_mode
    y: Tensor = Conv2dFunction.apply(*operands(images, weight, bias, groups, *windows))
    return y.squeeze(0) if input.ndim == 3 else y


def operands(
    input: Tensor, weight: Tensor, bias: Tensor | None, groups: int, *windows: Any
) -> tuple[Tensor, Tensor, Tensor | None, Geometry, int]:
    """Return what the Function takes; raise an error that names the argument that does not fit.

    `windows` are stride, padding, dilation and ceil_mode.
    """
    check_images("conv2d", input.array)
    if weight.ndim != 4:
        raise ShapeError(
            f"conv2d: expected weight of shape (O, C/groups, KH, KW), got {tuple(weight.shape)}"
        )
    channels, (o, depth) = input.array.shape[1], weight.array.shape[:2]
    if groups < 1 or o % groups or channels != depth * groups:
        raise ShapeError(
            f"conv2d: input has {channels} channels; weight of shape {tuple(weight.shape)} with "
            f"groups={groups} expects {depth * groups}, and output channels divisible by groups"
        )
    if bias is not None and tuple(bias.shape) != (o,):
        raise ShapeError(f"conv2d: expected bias of shape ({o},), got {tuple(bias.shape)}")
    if input.dtype != weight.dtype and not is_cast(input):
        raise DTypeError(f"conv2d: input is {input.dtype}, weight is {weight.dtype}")
    geometry = conv_geometry("conv2d", input.array.shape[2:], weight.array.shape[2:], *windows)
    return input, weight, bias, geometry, groups


class Conv2d(Module):
    """A layer of convolution kernels.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or pair
    stride, dilation : int or pair
        Default 1.
    padding : int, pair, "same" or "valid"
        Default 0.
    groups : int
        Default 1.
    bias : bool
        Default True.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What the padding holds. Default "zeros".
    device, dtype : optional
        Default float32 on the CPU.
    ceil_mode : bool
        The 2012 program's output size: see :func:`conv2d`. Default False.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels/groups, KH, KW)
    bias : Parameter, shape (out_channels,)
        Both drawn uniformly from ±1/√(fan in), as PyTorch does.

    Raises
    ------
    ArgumentError
        An argument has no possible value, or the channels aren't divisible by `groups`.

    Examples
    --------
    >>> import minidl
    >>> conv1 = minidl.nn.Conv2d(3, 96, kernel_size=11, stride=4)
    >>> conv1(minidl.zeros(1, 3, 227, 227)).shape
    Size([1, 96, 55, 55])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        channels = in_channels, out_channels
        if groups < 1 or min(channels) < 1 or any(count % groups for count in channels):
            raise ArgumentError(
                f"Conv2d: in_channels={in_channels} and out_channels={out_channels} must be "
                f"positive and divisible by groups={groups}"
            )
        if padding_mode not in (modes := ("zeros", "reflect", "replicate", "circular")):
            raise ArgumentError(f"Conv2d: padding_mode is one of {modes}, not {padding_mode!r}")
        if padding_mode != "zeros" and ceil_mode:
            raise ArgumentError(f"Conv2d: padding_mode={padding_mode!r} excludes ceil_mode")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = pair("Conv2d: kernel_size", kernel_size)
        self.stride = pair("Conv2d: stride", stride)
        self.padding = check_padding("Conv2d", padding, self.stride)
        self.dilation = pair("Conv2d: dilation", dilation)
        self.groups, self.padding_mode, self.ceil_mode = groups, padding_mode, ceil_mode
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        self.bias = Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Redraw weight and bias."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # ±1/√fan_in
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of `input`."""
        images, padding = self.padded(input)
        options: Any = self.stride, padding, self.dilation, self.groups
        return conv2d(images, self.weight, self.bias, *options, ceil_mode=self.ceil_mode)

    def padded(self, input: Tensor) -> tuple[Tensor, Any]:
        """Return what is convolved, and the padding by zeros that it still needs."""
        if self.padding_mode == "zeros":
            return input, self.padding
        (top, left), (bottom, right) = margins(self.padding, self.kernel_size, self.dilation)
        return pad(input, (left, right, top, bottom), mode=self.padding_mode), 0

    def extra_repr(self) -> str:
        own = {**vars(self), "bias": self.bias is not None}
        usual = {"padding": (0, 0), "dilation": (1, 1), "groups": 1, "bias": True}
        usual |= {"padding_mode": "zeros", "ceil_mode": False}
        changed = [f", {name}={own[name]}" for name in usual if own[name] != usual[name]]
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
        return "".join([text, f"stride={self.stride}", *changed])
