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
(tiles, channels) x (channels, kernels). 5 x 5 kernels on tiles of 3 x 3 need 7·7 = 49
multiplications instead of 225, 3 x 3 kernels on tiles of 4 x 4 need 36 instead of 144; tiles that
hang over the edge and the transforms take some of that back.

The transforms are linear, so the gradients come from their transposes. The input's gradient is a
convolution with the kernels turned by 180°, and the weights' is

    dg_c = Gᵀ[ Σ_tiles (Bᵀ d_c B) ⊙ (A dY_tile Aᵀ) ] G

Rounding: the transforms' entries amplify it. The points below are those of the smallest
amplification √(Σ_j (Aᵀ_ij ‖G_j‖ ‖B_j‖)²) among fractions of small numbers; the error relative to
the largest output is about 2e-6 in float32 for kernels of 3 and 4e-6 for 5 (a direct sum: 4e-7).
An infinity in a tile makes NaN of the whole tile.

Shapes: n images, I x J tiles an image, C = G·c input channels, O = G·o kernels in G groups.

Source: Winograd, "Arithmetic complexity of computations" (1980); Lavin and Gray, "Fast algorithms
for convolutional neural networks" (2016), arXiv:1509.09308. The choice of points: Barabasz et al.,
"Error analysis and improving the accuracy of Winograd convolution" (2020), arXiv:1803.10986.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from .. import cpu
from ..device import Array
from .im2col import Geometry, Pair

#: For a kernel's size: the outputs of a tile along an axis, and the points but infinity.
_TILES = {
    3: (4, ("0", "3/2", "-3/2", "2/3", "-2/3")),
    5: (3, ("0", "1", "1/2", "2", "-3/4", "-4/3")),
}

#: Fewer channels than this on either side, and the transforms cost more than they save.
_LEAST_CHANNELS = 24

#: Fewer tiles than this in a batch, and transforming the kernels costs more than it saves.
_LEAST_TILES = 512

#: The tiles of a matrix product: enough to be worth the packing of its kernels, which BLAS does
#: each time, and few enough for a core's own cache.
_ROWS = 128

#: How many transformed numbers the weights' gradient holds at a time (16 MB of float32): the more,
#: the fewer times the sums over tiles are transformed back.
_BLOCK = 4 << 20


class Transforms(NamedTuple):
    """The three matrices of one axis."""

    output: Array  # Aᵀ (m, t)
    kernel: Array  # G (t, r)
    data: Array  # Bᵀ (t, t)


@functools.cache
def transforms(size: int, dtype: np.dtype) -> Transforms:
    """Return Aᵀ, G and Bᵀ for kernels of `size`."""
    m, names = _TILES[size]
    points = [Fraction(name) for name in names]
    infinity = [Fraction(0)] * (size - 1) + [Fraction(1)]
    output = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    kernel, data = [], []
    for p in points:
        others = [q for q in points if q != p]
        scale = math.prod(p - q for q in others)
        kernel.append([p**i / scale for i in range(size)])
        data.append([*_coefficients(others), Fraction(0)])
    kernel.append(infinity)
    data.append(_coefficients(points))
    return Transforms(
        *(np.array(rows, np.float64).astype(dtype) for rows in (output, kernel, data))
    )


def _coefficients(roots: list[Fraction]) -> list[Fraction]:
    """Return the coefficients of Π (x - root), the constant first."""
    product = [Fraction(1)]
    for root in roots:
        by_x, by_root = [Fraction(0), *product], [*product, Fraction(0)]
        product = [a - root * b for a, b in zip(by_x, by_root, strict=True)]
    return product


def suits(geometry: Geometry, n: int, depth: int, per_group: int) -> bool:
    """Return whether a convolution is of the kind, and large enough, to gain from tiles.

    Parameters
    ----------
    geometry : Geometry
    n : int
        Images.
    depth, per_group : int
        Input and output channels of a group.
    """
    if geometry.stride != (1, 1) or geometry.dilation != (1, 1):
        return False
    if geometry.kernel[0] != geometry.kernel[1] or geometry.kernel[0] not in _TILES:
        return False
    return min(depth, per_group) >= _LEAST_CHANNELS and n * _tiles(geometry)[0] >= _LEAST_TILES


def _tiles(geometry: Geometry) -> tuple[int, int, int, Geometry]:
    """Return the tiles of an image, I·J, I and J, and the windows' geometry rounded up to them."""
    m, _ = _TILES[geometry.kernel[0]]
    down, across = (-(-out // m) for out in geometry.out)
    return down * across, down, across, geometry._replace(out=(down * m, across * m))


def _runs(lane: slice, at_most: int) -> list[slice]:
    """Cut a lane's images into runs of equal length, one image or `at_most`."""
    n = lane.stop - lane.start
    runs = cpu.split(n, -(-n // max(at_most, 1)))
    return [slice(lane.start + run.start, lane.start + run.stop) for run in runs]


def _pad(slot: str, images: Array, shape: tuple[int, ...], top: int, left: int) -> Array:
    """Return channels-last images with zeros around them, in this thread's buffer."""
    padded = cpu.scratch(slot, shape, images.dtype)
    height = min(images.shape[1], shape[1] - top)
    width = min(images.shape[2], shape[2] - left)
    padded[:, :top] = 0
    padded[:, top + height :] = 0
    padded[:, :, :left] = 0
    padded[:, :, left + width :] = 0
    padded[:, top : top + height, left : left + width] = images[:, :height, :width]
    return padded


def _windows(x: Array, axis: int, count: int, size: int, step: int) -> Array:
    """View `axis` of x as `count` windows of `size` entries, `step` apart: two axes for one."""
    shape = (*x.shape[:axis], count, size, *x.shape[axis + 1 :])
    strides = (*x.strides[: axis + 1], *x.strides[axis:])
    strides = (*strides[:axis], step * x.strides[axis], *strides[axis + 1 :])
    return np.lib.stride_tricks.as_strided(x, shape, strides)


def _transform_kernels(weight: Array, groups: int, *, turned: bool) -> Array:
    """Return G g Gᵀ, (t, t, G, c, o), of weights (O, c, r, r).

    With `turned` those of the input's gradient, (t, t, G, o, c): g turned by 180°, output channels
    in the place of input channels.
    """
    depth, size, per_group = weight.shape[1], weight.shape[2], weight.shape[0] // groups
    kernel = transforms(size, weight.dtype).kernel
    t = len(kernel)
    both = np.kron(kernel, kernel)  # (t·t, r·r)
    rows = weight.reshape(groups, per_group, depth, size * size)
    if turned:
        both = both[:, ::-1]
    else:
        rows = rows.swapaxes(1, 2)
    kernels = cpu.empty((t * t, *rows.shape[:3]), weight.dtype)
    lanes = [(group, part) for group in range(groups) for part in cpu.split(rows.shape[1])]

    def lane(piece: tuple[int, slice]) -> None:
        mine = np.ascontiguousarray(rows[piece]).reshape(-1, size * size)
        np.matmul(both, mine.T, out=kernels[:, piece[0], piece[1]].reshape(t * t, -1))

    cpu.parallel(lane, lanes)
    return kernels.reshape(t, t, *kernels.shape[1:])


def forward(x: Array, weight: Array, bias: Array | None, geometry: Geometry, groups: int) -> Array:
    """Return the convolution of x (N, C, H, W) with weights (O, C/G, r, r) and its bias.

    The geometry must be one that :func:`suits`.
    """
    kernels = _transform_kernels(weight, groups, turned=False)
    return _convolve(x, kernels, bias, geometry)


def input_gradient(
    grad: Array, weight: Array, size: Pair, geometry: Geometry, groups: int
) -> Array:
    """Return dX: the convolution of dY with the kernels turned and their channels exchanged."""
    top, left = (k - 1 - p for k, p in zip(geometry.kernel, geometry.before, strict=True))
    back = geometry._replace(before=(top, left), out=size)
    return _convolve(grad, _transform_kernels(weight, groups, turned=True), None, back)


def _convolve(x: Array, kernels: Array, bias: Array | None, geometry: Geometry) -> Array:
    """Return the convolution with transformed kernels (t, t, G, c, o): lanes over the images."""
    t, _, groups, depth, per_group = kernels.shape
    channels, out_channels = groups * depth, groups * per_group
    output, _, data = transforms(geometry.kernel[0], x.dtype)
    m = len(output)
    tiles, down, across, rounded = _tiles(geometry)
    height, width = rounded.span
    images = x.transpose(0, 2, 3, 1)
    y = cpu.empty_image(len(x), out_channels, *geometry.out, x.dtype)
    y_images = y.transpose(0, 2, 3, 1)

    def some_images(run: slice) -> None:
        n = run.stop - run.start
        padded = _pad("padded", images[run], (n, height, width, channels), *geometry.before)
        # Rows first: (n, I, t, width·C), stored as (t, n, I, width, C).
        rows = cpu.scratch("rows", (t, n, down, width, channels), x.dtype)
        windows = _windows(padded.reshape(n, height, -1), 1, down, t, m)
        np.matmul(data, windows, out=rows.reshape(t, n, down, -1).transpose(1, 2, 0, 3))
        # Then the columns, the products and the columns back: one row of the t·t points at a time.
        values = cpu.scratch("values", (t, n, down, across, channels), x.dtype)
        products = cpu.scratch("products", (t, n, down, across, out_channels), x.dtype)
        back = cpu.scratch("back", (t, n, down, across, m, out_channels), x.dtype)
        for row, kernel, row_back in zip(rows, kernels, back, strict=True):
            windows = _windows(row, 2, across, t, m)  # (n, I, J, t, C)
            np.matmul(data, windows, out=values.transpose(1, 2, 3, 0, 4))
            np.matmul(
                values.reshape(t, n * tiles, groups, depth).swapaxes(1, 2),
                kernel,  # (t, G, c, o)
                out=products.reshape(t, n * tiles, groups, per_group).swapaxes(1, 2),
            )
            np.matmul(output, products.transpose(1, 2, 3, 0, 4), out=row_back)
        # The rows back: (n, I, m, J·m·O), which is the images in order.
        exact = geometry.out == rounded.out
        shape = (n, *rounded.out, out_channels)
        whole = y_images[run] if exact else cpu.scratch("tiles", shape, x.dtype)
        back = back.reshape(t, n, down, -1).transpose(1, 2, 0, 3)
        np.matmul(output, back, out=whole.reshape(n, down, m, -1))
        inside = whole[:, : geometry.out[0], : geometry.out[1]]
        if bias is not None:
            np.add(inside, bias, out=y_images[run])
        elif not exact:
            y_images[run] = inside

    def lane(images: slice) -> None:
        for run in _runs(images, _ROWS // tiles):
            some_images(run)

    cpu.parallel(lane, cpu.split(len(x)))
    return y


def weight_gradient(
    x: Array, grad: Array, shape: tuple[int, ...], geometry: Geometry, groups: int
) -> Array:
    """Return dW, of the weights' `shape` (O, C/G, r, r): lanes add up their images, then lanes."""
    o, depth, size, _ = shape
    per_group, channels = o // groups, groups * depth
    output, kernel, data = transforms(size, x.dtype)
    m, t = output.shape
    spread = np.ascontiguousarray(output.T)  # A (t, m)
    gather = np.ascontiguousarray(kernel.T)  # Gᵀ (r, t)
    tiles, down, across, rounded = _tiles(geometry)
    height, width = rounded.span
    images, grads = x.transpose(0, 2, 3, 1), grad.transpose(0, 2, 3, 1)
    lanes = cpu.split(len(x))
    sums = [cpu.empty((size, size, groups, depth, per_group), x.dtype) for _ in lanes]

    def some_images(run: slice, total: Array) -> None:
        n = run.stop - run.start
        padded = _pad("padded", images[run], (n, height, width, channels), *geometry.before)
        rows = cpu.scratch("rows", (t, n, down, width, channels), x.dtype)
        windows = _windows(padded.reshape(n, height, -1), 1, down, t, m)
        np.matmul(data, windows, out=rows.reshape(t, n, down, -1).transpose(1, 2, 0, 3))
        padded = _pad("padded", grads[run], (n, *rounded.out, o), 0, 0)
        grad_rows = cpu.scratch("grad rows", (t, n, down, across, m, o), x.dtype)
        by_tile = padded.reshape(n, down, m, -1)
        np.matmul(spread, by_tile, out=grad_rows.reshape(t, n, down, -1).transpose(1, 2, 0, 3))
        values = cpu.scratch("values", (t, n, down, across, channels), x.dtype)
        grad_values = cpu.scratch("products", (t, n, down, across, o), x.dtype)
        products = cpu.scratch("kernels", (t, groups, depth, per_group), x.dtype)
        back = cpu.scratch("back", (t, size, groups * depth * per_group), x.dtype)
        for row, grad_row, row_back in zip(rows, grad_rows, back, strict=True):
            windows = _windows(row, 2, across, t, m)  # (n, I, J, t, C)
            np.matmul(data, windows, out=values.transpose(1, 2, 3, 0, 4))
            np.matmul(spread, grad_row, out=grad_values.transpose(1, 2, 3, 0, 4))
            np.matmul(
                values.reshape(t, n * tiles, groups, depth).transpose(0, 2, 3, 1),
                grad_values.reshape(t, n * tiles, groups, per_group).swapaxes(1, 2),
                out=products,
            )
            np.matmul(gather, products.reshape(t, -1), out=row_back)
        np.matmul(gather, back.reshape(t, -1), out=total.reshape(size, -1))

    def lane(number: int) -> None:
        total = sums[number]
        per_image = t * down * (width * channels + across * m * o)
        first, *others = _runs(lanes[number], _BLOCK // per_image)
        some_images(first, total)
        for run in others:
            more = cpu.scratch("part", total.shape, x.dtype)
            some_images(run, more)
            total += more

    cpu.parallel(lane, range(len(lanes)))
    for other in sums[1:]:
        sums[0] += other
    dweight = np.empty(shape, x.dtype)
    turned = sums[0].transpose(2, 4, 3, 0, 1)  # (G, o, c, r, r)
    np.copyto(dweight.reshape(groups, per_group, depth, size, size), turned)
    return dweight
