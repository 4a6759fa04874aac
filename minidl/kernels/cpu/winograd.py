"""Convolution with fewer multiplications: Winograd's minimal filtering, for kernels of 3 and 5.

A kernel g of r numbers that slides over t = m + r - 1 inputs d gives m outputs. Counted one by one
that is m·r multiplications. Seen as polynomials, it is the transpose of a product g(x)·e(x) of
degrees r - 1 and m - 1, and a product is known from its values at t points: transform both factors
to their values, multiply value by value (t multiplications), transform back (Toom and Cook). With
the points p_0 ... p_{t-2} and infinity:

    y = Aᵀ[(G g) ⊙ (Bᵀ d)]        Aᵀ (m, t): Aᵀ[i, j] = p_j^i, the last column infinity's
                                  G (t, r): G[j, i] = p_j^i / Π_{l≠j} (p_j - p_l), last row x^{r-1}
                                  Bᵀ (t, t): row j holds the coefficients of Π_{l≠j} (x - p_l)

In two dimensions rows and columns are transformed in turn. The output is cut into tiles of m x m:

    Y_tile = Aᵀ[ Σ_c (G g_c Gᵀ) ⊙ (Bᵀ d_c B) ] A

The sum over the input channels c turns each of the t·t products ⊙ into a matrix product over
(tiles, channels) x (channels, kernels). On tiles of 4 x 4, 5 x 5 kernels need 8·8 = 64
multiplications instead of 400, 3 x 3 kernels 36 instead of 144; tiles that hang over the edge and
the transforms take some of that back.

A stride of s becomes a stride of 1 on blocks of s x s pixels, whose s·s·C numbers count as
channels: AlexNet's conv1, 11 x 11 at stride 4 on 3 channels, is a convolution of 3 x 3 blocks of 48
channels (with a zero row and column at the kernel's end). This works for one group only.

The transforms are linear, so the gradients come from their transposes. The input's gradient is a
convolution with the kernels turned by 180°, and the weights' is

    dg_c = Gᵀ[ Σ_tiles (Bᵀ d_c B) ⊙ (A dY_tile Aᵀ) ] G

Where channels are few, ``winograd_one_axis`` transforms the rows alone.

Rounding: the transforms' entries amplify it. The points below are those of the smallest
amplification √(Σ_j (Aᵀ_ij ‖G_j‖ ‖B_j‖)²) among fractions of small numbers; the error relative to
the largest output is about 2e-6 in float32 for kernels of 3 and 6e-6 for 5 (a direct sum: 4e-7;
one axis: 1e-6). An infinity in a tile makes NaN of the whole tile.

Shapes: n images, I x J tiles an image, C = G·c input channels, O = G·o kernels in G groups.

Source: Winograd, "Arithmetic complexity of computations" (1980); Lavin and Gray, "Fast algorithms
for convolutional neural networks" (2016), arXiv:1509.09308. The choice of points: Barabasz et al.,
"Error analysis and improving the accuracy of Winograd convolution" (2020), arXiv:1803.10986.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ...device import Array
from .. import cpu
from ..epilogue import Epilogue
from ..windows import Geometry, Pair
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

#: Transforming a kernel takes as long as this number of multiplications for each of its points.
_KERNEL_COST = 200

#: Numbers that a lane transforms and multiplies at a time: enough to make each call of NumPy worth
#: it, few enough for a core's own cache (0.8 MB of float32; twice as many where it has 2 MB). Up to
#: twice as many where the kernels have as many numbers, which are reread for every slab.
_SLAB = 3 << 16

#: Transformed numbers that the weights' gradient holds at a time (16 MB of float32): with more,
#: the sums over tiles are transformed back fewer times.
_BLOCK = 4 << 20

#: Tiles of a run in the weights' gradient that are worth transforming its sum back for.
_LEAST_TILES = 256


@functools.cache
def _kernel_transform(size: int, dtype: np.dtype) -> Array:
    """Return G for both axes at once, (t·t, r·r)."""
    kernel = transforms(size, dtype).kernel
    return np.kron(kernel, kernel)


def suits(geometry: Geometry, n: int, depth: int, per_group: int, groups: int) -> bool:
    """Return whether a convolution is of the kind, and large enough, to gain from tiles.

    Parameters
    ----------
    geometry : Geometry
    n : int
        The images that one transform of the kernels serves.
    depth, per_group : int
        Input and output channels of a group.
    """
    (kernel, width), (stride, across) = geometry.kernel, geometry.stride
    if kernel != width or stride != across or geometry.dilation != (1, 1):
        return False
    if stride > 1 and groups > 1:  # a block's channels would have to be sorted by group
        return False
    if -(-kernel // stride) not in TILES or min(depth * stride**2, per_group) < LEAST_CHANNELS:
        return False
    tiling = _Tiling(geometry)
    points = (tiling.t * stride) ** 2
    saved = math.prod(geometry.out) * kernel**2 - tiling.tiles * points
    return n * saved >= _KERNEL_COST * points


class _Tiling:
    """How tiles cover an output: numbers that every step needs."""

    def __init__(self, geometry: Geometry) -> None:
        self.block = geometry.stride[0]  # pixels
        self.size = -(-geometry.kernel[0] // self.block)  # r, of the kernel in blocks
        self.m = TILES[self.size][0]
        self.t = self.m + self.size - 1
        self.down, self.across = (-(-out // self.m) for out in geometry.out)
        self.tiles = self.down * self.across
        #: The output rounded up to whole tiles, and the blocks that they read.
        self.out = self.down * self.m, self.across * self.m
        self.span = self.out[0] + self.size - 1, self.out[1] + self.size - 1


def _blocks(images: Array, tiling: _Tiling, before: Pair) -> Array:
    """Return what the tiles read of images (n, H, W, C), zeros outside: (*span, n, s·s·C).

    The images stand side by side so that the transforms run over all of them in one go.
    """
    (n, _, _, channels), s, (height, width) = images.shape, tiling.block, tiling.span
    blocks = cpu.scratch("blocks", (height, width, n, s * s * channels), images.dtype)
    if s == 1:
        pad(blocks.transpose(2, 0, 1, 3), images, before)
    else:
        pixels = cpu.scratch("pixels", (n, height * s, width * s, channels), images.dtype)
        pad(pixels, images, before)
        rows = pixels.reshape(n, height, s, width, s * channels)
        blocks.reshape(height, width, n, s, s * channels)[...] = rows.transpose(1, 3, 0, 2, 4)
    return blocks


def _kernel_in_blocks(weight: Array, tiling: _Tiling) -> Array:
    """Return weights (O, c, k, k) as (O, s·s·c, r, r): zeros where blocks reach over the kernel."""
    (o, depth, k, _), s, r = weight.shape, tiling.block, tiling.size
    if s == 1:
        return weight
    whole = np.zeros((o, depth, r * s, r * s), weight.dtype)
    whole[:, :, :k, :k] = weight
    in_blocks = whole.reshape(o, depth, r, s, r, s).transpose(0, 3, 5, 1, 2, 4)
    return in_blocks.reshape(o, s * s * depth, r, r)


def _transform_kernels(weight: Array, groups: int, tiles: int, *, turned: bool) -> Array:
    """Return G g Gᵀ, (t, t, G, P, c, o/P), of weights (O, c, r, r), in P panels.

    With `turned` those of the input's gradient, (t, t, G, P, o, c/P): g turned by 180°, output
    channels in the place of input channels. An image has `tiles`.
    """
    depth, size, per_group = weight.shape[1], weight.shape[2], weight.shape[0] // groups
    both, t = _kernel_transform(size, weight.dtype), TILES[size][0] + size - 1
    rows = weight.reshape(groups, per_group, depth, size * size)
    if turned:
        both = both[:, ::-1]
    else:
        rows = rows.swapaxes(1, 2)
    panels = cpu.panels_of(tiles, *rows.shape[1:3])
    rows = rows.reshape(groups, rows.shape[1], panels, -1, size * size).swapaxes(1, 2)
    kernels = cpu.empty((t * t, *rows.shape[:4]), weight.dtype)
    parts = cpu.split(rows.shape[2], -(-cpu.pieces_of(kernels.size) // panels))

    def lane(piece: tuple[int, int, slice]) -> None:
        mine = np.ascontiguousarray(rows[piece]).reshape(-1, size * size)
        np.matmul(both, mine.T, out=kernels[:, *piece].reshape(t * t, -1))

    cpu.parallel(lane, [(*pair, part) for pair in np.ndindex(groups, panels) for part in parts])
    return kernels.reshape(t, t, *kernels.shape[1:])


def forward(
    x: Array, weight: Array, bias: Array | None, geometry: Geometry, groups: int, epilogue: Epilogue
) -> Array:
    """Return the convolution with weights (O, C/G, k, k), plus b, or its epilogue.

    The geometry must be one that :func:`suits`.
    """
    tiling = _Tiling(geometry)
    in_blocks = _kernel_in_blocks(weight, tiling)
    kernels = _transform_kernels(in_blocks, groups, tiling.tiles, turned=False)
    return _convolve(x, kernels, bias, geometry, epilogue)


def input_gradient(
    grad: Array, weight: Array, size: Pair, geometry: Geometry, groups: int
) -> Array:
    """Return dX for stride 1: the convolution of dY with the kernels turned, channels exchanged."""
    top, left = (k - 1 - p for k, p in zip(geometry.kernel, geometry.before, strict=True))
    back = geometry._replace(before=(top, left), out=size)
    kernels = _transform_kernels(weight, groups, _Tiling(back).tiles, turned=True)
    return _convolve(grad, kernels, None, back, None)


def _convolve(
    x: Array, kernels: Array, bias: Array | None, geometry: Geometry, epilogue: Epilogue
) -> Array:
    """Return the convolution with kernels (t, t, G, P, c, o/P): lanes over the images."""
    t, _, groups, panels, depth, width = kernels.shape
    channels, out_channels = groups * depth, groups * panels * width
    whole = _Tiling(geometry)
    output, _, data = transforms(whole.size, x.dtype)
    last = output if bias is None else with_ones(output)
    m = whole.m
    y = cpu.empty_image(len(x), out_channels, *geometry.out, x.dtype)

    def some_rows(images: Array, band: Geometry, y: Array) -> None:
        n, tiling = len(images), _Tiling(band)
        down, across, tiles = tiling.down, tiling.across, tiling.tiles * n
        blocks = _blocks(images, tiling, band.before)  # (height, width, n, C)
        # Rows first, (I, t, width·n·C), stored as (t, I, width, n·C).
        rows = apply("rows", data, windows_of(blocks.reshape(len(blocks), -1), 0, down, t, m))
        rows = rows.reshape(t, down, tiling.span[1], n * channels)
        # Then the columns, the products and the columns back: one row of the t·t points at a time,
        # or all of a small band's. (Between two calls of NumPy a thread waits for the interpreter.)
        step = t if t * t * tiles * (channels + out_channels) <= 2 * slab else 1
        values = cpu.scratch("values", (step, t, down, across, n * channels), x.dtype)
        products = cpu.scratch("products", (step, t, down, across, n * out_channels), x.dtype)
        back = cpu.scratch("back", (last.shape[1], down, across, m, n * out_channels), x.dtype)
        if bias is not None:
            back[t].reshape(-1, out_channels)[...] = bias
        factors = values.reshape(step, t, tiles, groups, 1, depth).transpose(0, 1, 3, 4, 2, 5)
        sums = products.reshape(step, t, tiles, groups, panels, width).transpose(0, 1, 3, 4, 2, 5)
        values, products = (points.transpose(0, 2, 3, 1, 4) for points in (values, products))
        columns = windows_of(rows, 2, across, t, m)  # (t, I, J, t, n·C)
        for row in range(0, t, step):
            some = slice(row, row + step)
            np.matmul(data, columns[some], out=values)
            np.matmul(factors, kernels[some], out=sums)  # (t, G, 1, tiles, c) by (t, G, P, c, o)
            np.matmul(output, products, out=back[some])
        # The rows back: (I, m, J·m·n·O), which is the images side by side.
        exact = n == 1 and band.out == tiling.out
        tiled = y[0] if exact else cpu.scratch("tiles", (*tiling.out, n, out_channels), x.dtype)
        rows_back = back.reshape(len(back), down, -1).swapaxes(0, 1)
        cpu.multiply_wide(last, rows_back, tiled.reshape(down, m, -1))
        tiled = tiled.reshape(*tiling.out, n, out_channels).transpose(2, 0, 1, 3)
        inside = tiled[:, : band.out[0], : band.out[1]]
        finish(y, y if exact else inside, epilogue)

    per_image = t * whole.tiles * (channels + out_channels)
    slab = _SLAB * cpu.roomy()
    slab = min(max(slab, t * depth * out_channels), 2 * slab)
    if panels > 1:
        slab = min(slab, cpu.UNPACKED // (whole.tiles * depth * width) * per_image)
    bands = geometry.bands(2 if len(x) <= cpu.BANDS // 4 else 1, multiple=m)
    in_lanes(some_rows, x, y, bands, per_image, slab)
    return y


def weight_gradient(
    x: Array, grad: Array, shape: tuple[int, ...], geometry: Geometry, groups: int
) -> Array:
    """Return dW, of the weights' `shape` (O, C/G, k, k): lanes add up their images, then lanes."""
    tiling = _Tiling(geometry)
    m, t, size, s = tiling.m, tiling.t, tiling.size, tiling.block
    tiles, down, across, (height, width) = tiling.tiles, tiling.down, tiling.across, tiling.span
    o, depth = shape[0], shape[1] * s * s
    per_group, channels = o // groups, groups * depth
    output, kernel, data = transforms(size, x.dtype)
    spread = np.ascontiguousarray(output.T)  # A (t, m)
    gather = np.ascontiguousarray(kernel.T)  # Gᵀ (r, t)
    images, grads = x.transpose(0, 2, 3, 1), grad.transpose(0, 2, 3, 1)
    per_image = t * down * (width * channels + across * m * o)
    lanes = lanes_of(len(x), 4 * per_image, _BLOCK)
    at_a_time = _BLOCK // per_image
    unpacked = cpu.UNPACKED // (cpu.PANEL * depth * tiles)  # images
    if cpu.multiplies_unpacked() and unpacked * tiles >= _LEAST_TILES:
        at_a_time = min(at_a_time, unpacked)
    panels = cpu.panels_of(depth, tiles * min(at_a_time, lanes[0].stop), per_group)
    matrices = groups, panels, depth, per_group // panels
    sums = [cpu.empty((size, size, *matrices), x.dtype) for _ in lanes]

    def some_images(run: slice, total: Array) -> None:
        n = run.stop - run.start
        blocks = _blocks(images[run], tiling, geometry.before).reshape(height, -1)
        rows = apply("rows", data, windows_of(blocks, 0, down, t, m))
        rows = rows.reshape(t, down, width, n * channels)
        padded = cpu.scratch("blocks", (*tiling.out, n, o), x.dtype)
        pad(padded.transpose(2, 0, 1, 3), grads[run], (0, 0))
        grad_rows = apply("grad rows", spread, padded.reshape(down, m, -1))
        grad_rows = grad_rows.reshape(t, down, across, m, n * o)
        values = cpu.scratch("values", (t, down, across, n * channels), x.dtype)
        grad_values = cpu.scratch("products", (t, down, across, n * o), x.dtype)
        products = cpu.scratch("kernels", (t, *matrices), x.dtype)
        back = cpu.scratch("back", (t, size, groups * depth * per_group), x.dtype)
        factors = values.reshape(t, tiles * n, groups, 1, depth).transpose(0, 2, 3, 4, 1)
        grad_factors = grad_values.reshape(t, tiles * n, groups, panels, -1)
        grad_factors = grad_factors.transpose(0, 2, 3, 1, 4)
        values, grad_values = (points.transpose(1, 2, 0, 3) for points in (values, grad_values))
        sums = products.reshape(t, -1)
        columns = windows_of(rows, 2, across, t, m)  # (t, I, J, t, n·C)
        for column, grad_column, row_back in zip(columns, grad_rows, back, strict=True):
            np.matmul(data, column, out=values)
            np.matmul(spread, grad_column, out=grad_values)
            np.matmul(factors, grad_factors, out=products)
            cpu.multiply_wide(gather, sums, row_back)
        cpu.multiply_wide(gather, back.reshape(t, -1), total.reshape(size, -1))

    def lane(number: int) -> None:
        total = sums[number]
        first, *others = runs_of(lanes[number], at_a_time)
        some_images(first, total)
        for run in others:
            more = cpu.scratch("part", total.shape, x.dtype)
            some_images(run, more)
            total += more

    cpu.parallel(lane, range(len(lanes)))
    dweight = np.empty((groups, per_group, shape[1], size * s, size * s), x.dtype)
    in_blocks = dweight.reshape(groups, panels, -1, shape[1], size, s, size, s)
    sums = [total.reshape(size, size, groups, panels, s, s, shape[1], -1) for total in sums]

    def add(channels: slice) -> None:
        total = sums[0][..., channels, :]
        for other in sums[1:]:
            total += other[..., channels, :]
        in_blocks[:, :, :, channels] = total.transpose(2, 3, 7, 6, 0, 4, 1, 5)

    cpu.parallel(add, cpu.split(shape[1], cpu.pieces_of(len(sums) * dweight.size)))
    whole = dweight.reshape(o, shape[1], size * s, size * s)  # the kernel is its first k x k
    return np.ascontiguousarray(whole[:, :, : shape[2], : shape[3]])
