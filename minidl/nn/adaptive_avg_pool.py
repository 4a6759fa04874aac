"""Adaptive average-pooling: a given number of means for any input size.

Forward. Bin p of OH covers the rows from floor(p·H / OH) up to, but not including,
ceil((p + 1)·H / OH); bins are of unequal sizes and may overlap by a row. Averaging an axis is a
product with a matrix that holds 1/length in the bin's columns and 0 elsewhere, so with R (OH, H)
for the rows and C (OW, W) for the columns

    y = R·x·Cᵀ

Backward. For a linear map the gradient is the transpose:

    ∂L/∂x = Rᵀ·∂L/∂y·C

Shapes: x (N, C, H, W) → y (N, C, OH, OW).

Source: PyTorch's ``AdaptiveAvgPool2d``, which its AlexNet uses to get 6×6 from images of any size.
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..device import Array, array_module
from ..kernels.windows import Pair
from ..ops.precision import in_float64, rounded_like
from ..tensor import Tensor
from .arguments import check_floats, pair, with_batch
from .module import Module

__all__ = ["AdaptiveAvgPool2d", "adaptive_avg_pool2d"]

# --- The plain code -------------------------------------------------------------------------------


def bins(xp: Any, size: int, out: int, dtype: Any) -> Array:
    """Return the matrix (out, size) that averages an axis into `out` bins."""
    matrix = xp.zeros((out, size), dtype)
    for i in range(out):
        start, stop = i * size // out, -(-(i + 1) * size // out)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


@in_float64
def forward(x: Array, out: Pair) -> Array:
    """Return ``R·x·Cᵀ``."""
    xp, (h, w) = array_module(x), x.shape[2:]
    rows, columns = bins(xp, h, out[0], x.dtype), bins(xp, w, out[1], x.dtype)
    return xp.matmul(rows, xp.matmul(x, columns.T))  # (N, C, OH, OW)


@in_float64
def backward(grad: Array, size: Pair) -> Array:
    """Return ``Rᵀ·∂L/∂y·C``."""
    xp, (oh, ow) = array_module(grad), grad.shape[2:]
    rows, columns = bins(xp, size[0], oh, grad.dtype), bins(xp, size[1], ow, grad.dtype)
    return xp.matmul(rows.T, xp.matmul(grad, columns))  # (N, C, H, W)


# --- The operation --------------------------------------------------------------------------------


class AdaptiveAvgPool2dFunction(Function):
    """The CPU has no kernel: two products are fast as they stand."""

    @staticmethod
    def forward(ctx: Context, x: Array, out: Pair) -> Array:
        ctx.size = x.shape[2:]
        ctx.kernel = kernels.of("adaptive_avg_pool", x)
        return rounded_like((ctx.kernel.forward if ctx.kernel else forward)(x, out), x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        return (ctx.kernel.backward if ctx.kernel else backward)(grad, ctx.size), None


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Return means over the requested number of bins, whatever the input's size.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W), floating point
    output_size : int or pair
        None in a pair keeps that axis.

    Returns
    -------
    Tensor, shape (N, C, OH, OW)
        Without N if `input` has none.

    Raises
    ------
    ShapeError
        `input` does not have three or four axes.
    ArgumentError
        `output_size` is not an integer or two.
    DTypeError
        `input` is not floating point.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.arange(6.0).reshape(1, 2, 3)
    >>> minidl.nn.functional.adaptive_avg_pool2d(x, (1, 3))
    tensor([[[1.5000, 2.5000, 3.5000]]])
    """
    check_floats("adaptive_avg_pool2d", input)
    images, added = with_batch("adaptive_avg_pool2d", input)
    wanted = tuple(output_size) if hasattr(output_size, "__len__") else (output_size,) * 2
    size = images.array.shape[2:]
    filled = [size[-1 if i else 0] if w is None else w for i, w in enumerate(wanted)]
    out = pair("adaptive_avg_pool2d: output_size", filled)
    # Where the size is right already, every bin holds one pixel: AlexNet's 6×6.
    result = images if out == size else AdaptiveAvgPool2dFunction.apply(images, out)
    return result.squeeze(0) if added else result


class AdaptiveAvgPool2d(Module):
    """Adaptive average-pooling as a layer: see :func:`adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or pair
        None in a pair keeps that axis.
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """Return the pooled `input`."""
        return adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
