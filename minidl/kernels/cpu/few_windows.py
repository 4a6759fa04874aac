"""Convolution with fewer windows than kernels, as for one picture in AlexNet's last layers.

There the columns are smaller than the weights. So the columns are written in the weights' order,
(C/G·KH·KW, N·OH·OW), and the weights are multiplied as they stand. Each piece takes some of the
input's channels: their columns stay in a core's cache, and BLAS packs each number once. The pieces'
products are added.
"""

from __future__ import annotations

import numpy as np

from ...device import Array
from .. import cpu
from ..epilogue import Epilogue
from ..windows import Geometry
from .linear import write_turned

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
    (o, depth, kh, kw), (n, _, *size) = weight.shape, x.shape
    (oh, ow), per_group, entries = geometry.out, o // groups, kh * kw
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    rows, columns, own_rows, own_columns = geometry.inside((size[0], size[1]))
    matrices = weight.reshape(groups, per_group, depth * entries)
    parts = cpu.split(depth, max(_PIECES // groups, 1)) or [slice(0, 0)]
    products = cpu.empty((len(parts), groups, per_group, n * oh * ow), x.dtype)

    def multiply(piece: tuple[int, int]) -> None:
        part, group = piece
        own = parts[part]
        count, first = own.stop - own.start, group * depth + own.start
        planes = cpu.scratch("planes", (count, n, *geometry.span), x.dtype)
        planes.fill(0)
        images = x[:, first : first + count, own_rows, own_columns]
        planes[:, :, rows, columns] = images.swapaxes(0, 1)
        channel, image, row, column = planes.strides
        windows = cpu.scratch("columns", (count, kh, kw, n, oh, ow), x.dtype)
        windows[...] = np.lib.stride_tricks.as_strided(
            planes, windows.shape, (channel, row * dh, column * dw, image, row * sh, column * sw)
        )
        factor = matrices[group, :, own.start * entries : own.stop * entries]
        np.matmul(factor, windows.reshape(count * entries, n * oh * ow), out=products[piece])

    cpu.parallel(multiply, list(np.ndindex(len(parts), groups)))
    y = cpu.empty_image(n, o, oh, ow, x.dtype)
    y_rows = y.transpose(0, 2, 3, 1).reshape(n * oh * ow, o)
    own = products.reshape(len(parts), o, n * oh * ow)

    def add(kernels: slice) -> None:
        total = own[0, kernels]
        for more in own[1:, kernels]:
            total += more
        own_bias = None if bias is None else bias[kernels]
        write_turned(total, own_bias, y_rows[:, kernels], epilogue)

    cpu.parallel(add, cpu.split(o, cpu.pieces_of(own.size)))
    return y
