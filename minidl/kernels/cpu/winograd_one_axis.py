"""Minimal filtering along one axis: convolutions of few channels.

With few channels a product over (tiles, channels) x (channels, kernels) is too flat to gain: see
``winograd`` for the math. Then only the image's rows are transformed, in tiles of m x 1 outputs,
and the l columns of a window count as channels, as in im2col:

    Y_tile = Aᵀ[ Σ_{c,l} (G g_{c,l}) ⊙ (Bᵀ d_{c,l}) ]

For 4 outputs, kernels of 5 x 5 need 8·5 multiplications instead of 20·5, and as much less copying.
"""

from __future__ import annotations

import numpy as np

from ...device import Array
from .. import cpu
from ..epilogue import Epilogue
from ..windows import Geometry
from . import columns, strips
from .winograd_tiles import (
    LEAST_CHANNELS,
    TILES,
    apply,
    finish,
    in_lanes,
    lanes_of,
    pad,
    runs_of,
    transforms,
    windows_of,
    with_ones,
)

#: Numbers that a lane transforms and multiplies at a time: more than along both axes, as each call
#: of NumPy does less with them.
_SLAB = 3 << 18

#: As how many multiplications counts: an output, transformed back from its points, and the calls.
_OUTPUT, _CALLS = 40, 16 << 20


def suits(geometry: Geometry, n: int, depth: int, per_group: int, groups: int) -> bool:
    """Return whether n images' convolution gains from tiles along one axis: if channels are few.

    The parameters are those of :func:`.winograd.suits`.
    """
    (size, width), (oh, ow) = geometry.kernel, geometry.out
    ones = (1, 1)
    if geometry.stride != ones or geometry.dilation != ones or groups > 1 or size not in TILES:
        return False
    if min(depth, per_group) >= LEAST_CHANNELS:
        return False
    m = TILES[size][0]
    points = (m + size - 1) * -(-oh // m)  # of a column of outputs
    cost = points * columns.cost_of_run(width * depth, per_group) + oh * per_group * _OUTPUT
    return n * ow * cost + _CALLS < strips.best(geometry, n, depth, per_group, 1)[0]


def forward(
    x: Array, weight: Array, bias: Array | None, geometry: Geometry, epilogue: Epilogue
) -> Array:
    """Return the convolution of x with weights (O, C, k, l) and its bias, or its epilogue."""
    o, _, size, width = weight.shape
    output, kernel, _ = transforms(size, x.dtype)
    m, t = output.shape
    rows = np.ascontiguousarray(weight.transpose(2, 3, 1, 0))  # (k, l, C, O)
    kernels = np.matmul(kernel, rows.reshape(size, -1)).reshape(t, -1, o)
    if bias is not None:
        output = with_ones(output)
    y = cpu.empty_image(len(x), o, *geometry.out, x.dtype)

    def some_rows(images: Array, band: Geometry, y: Array) -> None:
        (n, oh, ow, _), down = y.shape, -(-band.out[0] // m)
        values = _values(images, band)
        products = cpu.scratch("products", (output.shape[1], down * n * ow, o), x.dtype)
        np.matmul(values, kernels, out=products[:t])
        if bias is not None:
            products[t] = bias
        y = y.reshape(n, oh, ow * o)  # a view
        exact = oh == down * m
        tiled = y if exact else cpu.scratch("tiles", (n, down * m, ow * o), x.dtype)
        points = products.reshape(-1, down, n, ow * o).transpose(2, 1, 0, 3)
        np.matmul(output, points, out=tiled.reshape(n, down, m, ow * o))
        finish(y, y if exact else tiled[:, :oh], epilogue)

    per_image = t * -(-geometry.out[0] // m) * geometry.out[1] * (kernels.shape[1] + o)
    bands = geometry.bands(cpu.BANDS // len(x), multiple=m)
    in_lanes(some_rows, x, y, bands, per_image, _SLAB)
    return y


def _values(images: Array, geometry: Geometry) -> Array:
    """Return the windows' rows of images (n, H, W, C) at the t points: (t, I·n·OW, l·C)."""
    (n, _, _, depth), (size, width), (oh, ow) = images.shape, geometry.kernel, geometry.out
    data, m = transforms(size, images.dtype).data, TILES[size][0]
    t, down = len(data), -(-oh // m)
    blocks = cpu.scratch("blocks", (down * m + size - 1, n, ow + width - 1, depth), images.dtype)
    pad(blocks.swapaxes(0, 1), images, geometry.before)
    rows = apply("rows", data, windows_of(blocks.reshape(len(blocks), -1), 0, down, t, m))
    # A window's l pixels of a row are l·C numbers that stand side by side.
    windows = windows_of(rows.reshape(t * down * n, -1), 1, ow, width * depth, depth)
    values = cpu.scratch("values", windows.shape, images.dtype)
    np.copyto(values, windows)
    return values.reshape(t, down * n * ow, width * depth)


def weight_gradient(
    x: Array, grad: Array, shape: tuple[int, ...], geometry: Geometry
) -> tuple[Array, Array]:
    """Return dW, of the weights' `shape` (O, C, k, l), and db: lanes add up their images."""
    (o, depth, size, width), (oh, ow) = shape, geometry.out
    output, kernel, _ = transforms(size, x.dtype)
    m, t = output.shape
    down = -(-oh // m)
    spread = np.ascontiguousarray(output.T)  # A (t, m)
    images, grads = x.transpose(0, 2, 3, 1), grad.transpose(0, 2, 3, 1)
    per_image = t * down * ow * (width * depth + o)
    lanes = lanes_of(len(x), per_image, _SLAB)
    sums = np.zeros((len(lanes), t, width * depth, o), x.dtype)
    bias_sums = np.zeros((len(lanes), o), x.dtype)

    def lane(number: int) -> None:
        for run in runs_of(lanes[number], _SLAB // per_image):
            n = run.stop - run.start
            values = _values(images[run], geometry)
            tiled = dy = grads[run]
            if oh < down * m:
                tiled = cpu.scratch("tiles", (n, down * m, ow, o), x.dtype)
                pad(tiled, dy, (0, 0))
            tiles = tiled.reshape(n, down, m, ow * o).swapaxes(0, 1)
            grad_values = apply("products", spread, tiles).reshape(t, -1, o)
            sums[number] += np.matmul(values.swapaxes(1, 2), grad_values)
            bias_sums[number] += np.matmul(np.ones(n * oh * ow, x.dtype), dy.reshape(-1, o))

    cpu.parallel(lane, range(len(lanes)))
    rows = np.matmul(kernel.T, sums.sum(axis=0).reshape(t, -1))  # (k, l·C·O)
    dweight = rows.reshape(size, width, depth, o).transpose(3, 2, 0, 1)
    return np.ascontiguousarray(dweight), bias_sums.sum(axis=0)
