"""Convolution with few channels: one row of the columns for a *strip* of neighboring windows.

Windows that are neighbors in a row of the output share most of their pixels. With b of them as one
wide window, whose b·O kernels are the O kernels shifted to each place and filled up with zeros,

    y[.., b·i + j, o] = Σ_{kh,l} wide[j, o, .., kh, l] · strip_i[kh, l]
    wide[j, o, c, kh, l] = w[o, c, kh, l - j·s] or 0,   l < KW + (b - 1)·s

the columns are copied once per strip, in longer runs, and the product has b·O instead of O columns.
It multiplies zeros, too: the more of them, the larger b. Both pay where channels are few: LeNet's
first layer, 5 x 5 on 1 channel to 6, copies 25 numbers for 6 results otherwise.

An infinity in a strip makes NaN of the whole strip, as in ``winograd``.
"""

from __future__ import annotations

import functools

import numpy as np

from ...device import Array
from ..epilogue import Epilogue
from ..windows import Geometry
from . import columns

#: As how many multiplications counts: a number of the wide kernels, and the calls that make them.
_NUMBER, _CALLS = 70, 1 << 20


@functools.cache
def best(geometry: Geometry, n: int, depth: int, per_group: int, groups: int) -> tuple[int, int]:
    """Return the cost in multiplications, and of how many windows: a divisor of a row's, often 1.

    The parameters are those of :func:`.winograd.suits`.
    """
    (kh, kw), (_, stride), (oh, ow) = geometry.kernel, geometry.stride, geometry.out

    def cost(b: int) -> int:
        numbers, kernels = (kw + (b - 1) * stride) * depth, b * per_group
        strips = n * oh * (ow // b) * columns.cost_of_run(numbers, kernels)
        return kh * groups * (strips + numbers * kernels * _NUMBER) + (b > 1) * _CALLS

    alone = groups > 1 or geometry.dilation[1] > 1
    return min((cost(b), b) for b in range(1, 2 if alone else ow + 1) if ow % b == 0)


def forward(
    x: Array, weight: Array, bias: Array | None, geometry: Geometry, b: int, epilogue: Epilogue
) -> Array:
    """Return Y = X·W + b, or its epilogue, by strips of b windows."""
    o, _, _, kw = weight.shape
    wide = np.zeros((b, *weight.shape[:3], _wide(geometry, b).kernel[1]), weight.dtype)
    for j in range(b):
        start = j * geometry.stride[1]
        wide[j, ..., start : start + kw] = weight
    many = None if bias is None else np.tile(bias, b)
    kernels = wide.reshape(b * o, *wide.shape[2:])
    y = columns.forward(x, kernels, many, _wide(geometry, b), 1, epilogue)
    return y.transpose(0, 2, 3, 1).reshape(len(x), *geometry.out, o).transpose(0, 3, 1, 2)


def weight_gradient(
    x: Array, grad: Array, shape: tuple[int, ...], geometry: Geometry, b: int
) -> tuple[Array, Array]:
    """Return dW, of the weights' `shape`, and db: the gradients at a kernel's b places, added."""
    (o, depth, kh, kw), wide = shape, _wide(geometry, b)
    rows = grad.transpose(0, 2, 3, 1).reshape(len(x), *wide.out, b * o)
    wide_shape = b * o, depth, kh, wide.kernel[1]
    dwide, dbias = columns.weight_gradient(x, rows.transpose(0, 3, 1, 2), wide_shape, wide, 1)
    dwide = dwide.reshape(b, o, depth, kh, -1)
    dweight = dwide[0, ..., :kw].copy()
    for j in range(1, b):
        start = j * geometry.stride[1]
        dweight += dwide[j, ..., start : start + kw]
    return dweight, dbias.reshape(b, o).sum(axis=0)


def _wide(geometry: Geometry, b: int) -> Geometry:
    """Return where strips of b windows lie."""
    (kh, kw), (down, across), (oh, ow) = geometry.kernel, geometry.stride, geometry.out
    kernel, stride = (kh, kw + (b - 1) * across), (down, b * across)
    return geometry._replace(kernel=kernel, stride=stride, out=(oh, ow // b))
