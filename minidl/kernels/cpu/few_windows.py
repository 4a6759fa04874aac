"""Convolution with fewer windows than kernels, as for one picture in AlexNet's last layers.

There the columns are smaller than the weights. So the columns are written in the weights' order,
(G, C/G·KH·KW, N·OH·OW), and the weights are multiplied as they stand.
"""

from __future__ import annotations

import numpy as np

from ...device import Array
from .. import cpu
from ..epilogue import Epilogue
from ..windows import Geometry
from .linear import multiply_turned

#: Number of pieces that the work is cut into.
_PIECES = 4


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    groups: int,
    epilogue: Epilogue,
) -> Array:
    """Return Y, or its epilogue."""
    (o, depth, kh, kw), (n, channels, *size) = weight.shape, x.shape
    (oh, ow), per_group, length = geometry.out, o // groups, depth * kh * kw
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    rows, columns, own_rows, own_columns = geometry.inside((size[0], size[1]))
    windows = cpu.empty((channels, kh, kw, n, oh, ow), x.dtype)

    def gather(some: slice) -> None:
        planes = cpu.scratch("planes", (some.stop - some.start, n, *geometry.span), x.dtype)
        planes.fill(0)
        planes[:, :, rows, columns] = x[:, some, own_rows, own_columns].swapaxes(0, 1)
        channel, image, row, column = planes.strides
        windows[some] = np.lib.stride_tricks.as_strided(
            planes,
            (len(planes), *windows.shape[1:]),
            (channel, row * dh, column * dw, image, row * sh, column * sw),
        )

    cpu.parallel(gather, cpu.split(channels, _PIECES))
    factors = windows.reshape(groups, length, n * oh * ow)
    matrices = weight.reshape(groups, per_group, length)
    y = cpu.empty_image(n, o, oh, ow, x.dtype)
    y_rows = y.transpose(0, 2, 3, 1).reshape(n * oh * ow, groups, per_group)

    def multiply(piece: tuple[int, slice]) -> None:
        group, kernels = piece
        own_bias = None if bias is None else bias.reshape(groups, per_group)[group, kernels]
        own = y_rows[:, group, kernels]
        multiply_turned(matrices[group, kernels], factors[group], own_bias, own, epilogue)

    parts = cpu.split(per_group, _PIECES)
    cpu.parallel(multiply, [(group, part) for group in range(groups) for part in parts])
    return y
