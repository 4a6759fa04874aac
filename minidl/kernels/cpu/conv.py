"""Convolution on the CPU: it takes one of five ways.

====================== =========================================================================
``winograd``           fewer multiplications: kernels of 3 and 5, strides by blocks, many channels
``winograd_one_axis``  the same along the rows alone: few channels, as in a first layer
``few_windows``        fewer windows than kernels: one picture in a last layer
``strips``             im2col of several windows at once: few channels
``columns``            im2col and one product for each group: everything else
====================== =========================================================================

For stride 1 the input's gradient is itself a convolution, of dY padded by ``d·(K - 1) - p`` with
the weights turned by 180° and input and output channels exchanged: a gather instead of col2im's
scatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...device import Array
from .. import cpu
from ..epilogue import Epilogue
from ..windows import Geometry, Pair
from . import columns, few_windows, strips, winograd, winograd_one_axis
from . import epilogue as epilogues
from .images import channels_last

#: Weight gradients by tiles pay from this many times the images that the forward pass needs:
#: each lane transforms its sum back.
_USUAL_LANES = 2


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    groups: int,
    *,
    epilogue: Epilogue = None,
) -> Array:
    """Return the convolution of x (N, C, H, W) with W (O, C/G, KH, KW), plus b, or its epilogue."""
    kind = geometry, len(x), weight.shape[1], weight.shape[0] // groups, groups
    if winograd.suits(*kind):
        return winograd.forward(x, weight, bias, geometry, groups, epilogue)
    if winograd_one_axis.suits(*kind):
        return winograd_one_axis.forward(x, weight, bias, geometry, epilogue)
    if len(x) * math.prod(geometry.out) < weight.shape[0] // groups:
        return few_windows.forward(x, weight, bias, geometry, groups, epilogue)
    if (length := strips.best(*kind)[1]) > 1:
        return strips.forward(x, weight, bias, geometry, length, epilogue)
    return columns.forward(x, weight, bias, geometry, groups, epilogue)


def backward(
    grad: Array,
    x: Array,
    weight: Array,
    geometry: Geometry,
    groups: int,
    want: Sequence[bool],
    *,
    epilogue: Epilogue = None,
    y: Array | None = None,
    overwrite: bool = False,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dX, dW and db (None if not needed).

    With an epilogue, whose result was `y`, `grad` is the gradient after it; `overwrite` allows
    its memory to be used.
    """
    if epilogue:
        assert y is not None
        grad = epilogues.gradient(epilogue, y, grad, overwrite)
    dx = dweight = dbias = None
    if want[0]:
        dx = input_gradient(grad, weight, x.shape[2:], geometry, groups)
    if want[1]:
        dweight, dbias = weight_gradient(x, grad, weight.shape, geometry, groups)
    elif want[2]:
        dbias = bias_gradient(grad)
    return dx, dweight, dbias if want[2] else None


def bias_gradient(grad: Array) -> Array:
    """Return db."""
    n, o, h, w = grad.shape
    return cpu.sum_rows(channels_last(grad).reshape(n, h * w, o))


def weight_gradient(
    x: Array, grad: Array, shape: tuple[int, ...], geometry: Geometry, groups: int
) -> tuple[Array, Array]:
    """Return dW, of the weights' `shape`, and db."""
    n, (o, depth) = len(x), shape[:2]
    kind = depth, o // groups, groups
    if winograd.suits(geometry, -(-n // _USUAL_LANES), *kind):
        return winograd.weight_gradient(x, grad, shape, geometry, groups), bias_gradient(grad)
    if winograd_one_axis.suits(geometry, n, *kind):
        return winograd_one_axis.weight_gradient(x, grad, shape, geometry)
    if (length := strips.best(geometry, n, *kind)[1]) > 1:
        return strips.weight_gradient(x, grad, shape, geometry, length)
    return columns.weight_gradient(x, grad, shape, geometry, groups)


def input_gradient(
    grad: Array, weight: Array, size: Pair, geometry: Geometry, groups: int
) -> Array:
    """Return dX, of images of `size`: a convolution of dY for stride 1, by columns otherwise."""
    o, depth, kh, kw = weight.shape
    reach = [d * (k - 1) for d, k in zip(geometry.dilation, geometry.kernel, strict=True)]
    before = (reach[0] - geometry.before[0], reach[1] - geometry.before[1])
    if geometry.stride != (1, 1) or min(before) < 0:
        return columns.input_gradient(grad, weight, size, geometry, groups)
    if winograd.suits(geometry, len(grad), o // groups, depth, groups):
        return winograd.input_gradient(grad, weight, size, geometry, groups)
    # (O, C/G, KH, KW) → (C, O/G, KH, KW), turned by 180°
    turned = weight.reshape(groups, o // groups, depth, kh, kw)[..., ::-1, ::-1]
    turned = turned.transpose(0, 2, 1, 3, 4).reshape(groups * depth, o // groups, kh, kw)
    back = Geometry(geometry.kernel, (1, 1), geometry.dilation, before, size)
    return forward(grad, turned, None, back, groups)
