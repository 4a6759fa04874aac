"""Convolution by columns (im2col) and one product for each group, on the CPU.

The images are channels last in memory, (N, H, W, C): a row of a window, KW·C numbers, is one run
and is copied as such, and Y is written where the next layer wants it. With X the windows as rows:

    Y  = X·W + b           X (N·OH·OW, KH·KW·C/G), one window a row;  W (KH·KW·C/G, O/G)
    dW = Xᵀ·dY             the same windows, recomputed
    dX = dY·Wᵀ             then every entry goes back to its pixel (col2im)

The bias is one more row of W whose window entry is always 1: with a column of ones at the end of X,
the first product adds b and the second one yields db.

X is never stored whole (at batch 128 it would take 2.3 GB for AlexNet's five layers): every lane
writes the windows of a few images at a time into a buffer that stays in its core's cache. Where not
even one image's windows fit, they are taken in bands of rows.
"""

from __future__ import annotations

import math
from itertools import product

import numpy as np

from ...device import Array
from .. import cpu
from ..epilogue import Epilogue
from ..windows import Band, Geometry, Pair
from . import epilogue as epilogues
from .images import channels_last, col2im, copy_pixels

#: Numbers of columns that a lane writes at a time (5 MB of float32).
COLUMN_BLOCK = 5 << 18

#: As how many multiplications counts: a run of memory that is copied, and each of its numbers.
_RUN, _NUMBER = 250, 26

#: With fewer windows to a product than this, BLAS spends its time on packing the weights.
_LEAST_WINDOWS = 80


def cost_of_run(numbers: int, kernels: int) -> int:
    """Return as how many multiplications it counts to copy a run of memory and to multiply it."""
    return _RUN + numbers * (_NUMBER + kernels)


def _pieces(windows: int, shape: tuple[int, ...], groups: int, most: int = cpu.PIECES) -> int:
    """Return into how many pieces to cut the work on `windows`; `shape` is the weights'."""
    o, depth, kh, kw = shape
    cost = groups * kh * cost_of_run(kw * depth, o // groups)
    return cpu.pieces_of_product(windows * cost // 2, most)  # each calls NumPy five times


def _images_at_a_time(geometry: Geometry, depth: int, lane: slice) -> list[slice]:
    """Cut a lane's images into runs whose columns fit the block."""
    per_image = math.prod(geometry.out) * math.prod(geometry.kernel) * depth
    step = max(1, COLUMN_BLOCK // max(per_image, 1))
    return [slice(a, min(a + step, lane.stop)) for a in range(lane.start, lane.stop, step)]


def _padded_groups(x: Array, geometry: Geometry, groups: int) -> Array:
    """Return the images' span as (G, n, span_h, span_w, C/G), in this thread's buffer.

    Without padding and groups that is the images' own memory if they are channels-last.
    """
    n, channels, *size = x.shape
    last = x.transpose(0, 2, 3, 1)  # (n, H, W, C)
    if groups == 1 and geometry.fits_exactly((size[0], size[1])) and last.flags.c_contiguous:
        return last[None]
    depth = channels // groups
    padded = cpu.scratch("padded", (groups, n, *geometry.span, depth), x.dtype)
    rows, columns, own_rows, own_columns = geometry.inside((size[0], size[1]))
    padded[:, :, : rows.start] = 0
    padded[:, :, rows.stop :] = 0
    padded[:, :, :, : columns.start] = 0
    padded[:, :, :, columns.stop :] = 0
    for group in range(groups):
        own = slice(group * depth, (group + 1) * depth)
        copy_pixels(last[:, own_rows, own_columns, own], padded[group, :, rows, columns])
    return padded


def _bands(geometry: Geometry, depth: int, least: int = 1) -> list[Band]:
    """Cut an image's windows into bands whose columns fit the block, at `least` so many."""
    per_image = math.prod(geometry.out) * math.prod(geometry.kernel) * depth
    return geometry.bands(max(least, -(-per_image // COLUMN_BLOCK)))


def _columns(padded: Array, geometry: Geometry, ones: bool) -> Array:
    """Return the windows of C-contiguous (n, span_h, span_w, C) as rows, (n·OH·OW, KH·KW·C [+ 1]).

    With `ones`, every row ends in a 1 for the bias.
    """
    n, _, _, depth = padded.shape
    (kh, kw), (oh, ow) = geometry.kernel, geometry.out
    image, row, column, channel = padded.strides
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    windows = np.ndarray(  # as_strided, which takes four times as long
        (n, oh, ow, kh, kw, depth),
        padded.dtype,
        padded,
        0,
        (image, row * sh, column * sw, row * dh, column * dw, channel),
    )
    length = kh * kw * depth
    columns = cpu.scratch("columns", (n * oh * ow, length + ones), padded.dtype)
    np.copyto(columns[:, :length].reshape(windows.shape), windows)  # the reshape is a view
    if ones:
        columns[:, length] = 1
    return columns


def _as_matrices(weight: Array, bias: Array | None, groups: int) -> Array:
    """Return weights (O, C/G, KH, KW) as (G, KH·KW·C/G [+ 1], O/G), the bias as the last row."""
    o, depth, kh, kw = weight.shape
    per_group, length = o // groups, kh * kw * depth
    matrices = cpu.empty((groups, length + (bias is not None), per_group), weight.dtype)
    rows = matrices[:, :length].reshape(groups, kh, kw, depth, per_group)  # a view
    turned = weight.reshape(groups, per_group, depth, kh, kw).transpose(0, 3, 4, 2, 1)

    def lane(kernels: slice) -> None:
        rows[..., kernels] = turned[..., kernels]

    # A few kernels at a time: reading and writing then stay in a core's cache.
    few = cpu.split(per_group, -(-per_group // 32))
    cpu.parallel(lane, few if weight.size > cpu.SMALL else [slice(None)])
    if bias is not None:
        matrices[:, length] = bias.reshape(groups, per_group)
    return matrices


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    groups: int,
    epilogue: Epilogue,
) -> Array:
    """Return Y = X·W + b, or its epilogue."""
    matrices = _as_matrices(weight, bias, groups)
    depth, per_group = weight.shape[1], weight.shape[0] // groups
    n, (oh, ow) = x.shape[0], geometry.out
    y = cpu.empty_image(n, groups * per_group, oh, ow, x.dtype)
    y_images = y.transpose(0, 2, 3, 1)

    def lane(piece: tuple[slice, Band]) -> None:
        images, (band, first_row, of_band) = piece
        for run in _images_at_a_time(of_band, depth, images):
            padded = _padded_groups(x[run, :, first_row:], of_band, groups)
            out = y_images[run, band].reshape(-1, groups * per_group)
            for group in range(groups):
                own = out[:, group * per_group : (group + 1) * per_group]
                columns = _columns(padded[group], of_band, bias is not None)
                np.matmul(columns, matrices[group], out=own)
            epilogues.apply(epilogue, out, out)

    pieces = _pieces(n * oh * ow, weight.shape, groups)
    # A few images are cut further, so that every thread has some of them. (Then a lane has one.)
    least = min(min(pieces, cpu.BANDS) // max(n, 1), oh * ow // _LEAST_WINDOWS)
    bands = _bands(geometry, depth, least)
    cpu.parallel(lane, [(images, band) for images in cpu.split(n, pieces) for band in bands])
    return y


def weight_gradient(
    x: Array, grad: Array, shape: tuple[int, ...], geometry: Geometry, groups: int
) -> tuple[Array, Array]:
    """Return dW = Xᵀ·dY, (O, C/G, KH, KW), and db: lanes add up their images, then the lanes."""
    o, depth, kh, kw = shape
    per_group, length = o // groups, kh * kw * depth
    n = x.shape[0]
    grads, bands = channels_last(grad), _bands(geometry, depth)
    lanes = cpu.split(n, _pieces(n * math.prod(geometry.out), shape, groups, cpu.LANES))
    sums = [cpu.empty((groups, length + 1, per_group), x.dtype) for _ in lanes]

    def lane(number: int) -> None:
        total = sums[number]
        runs = _images_at_a_time(bands[0].geometry, depth, lanes[number])
        for place, (run, (band, first_row, of_band)) in enumerate(product(runs, bands)):
            padded = _padded_groups(x[run, :, first_row:], of_band, groups)
            dy = grads[run, band].reshape(-1, o)
            for group in range(groups):
                own = dy[:, group * per_group : (group + 1) * per_group]
                columns = _columns(padded[group], of_band, True)
                out = cpu.scratch("product", total[group].shape, x.dtype) if place else total[group]
                np.matmul(columns.T, own, out=out)
                if place:
                    total[group] += out

    cpu.parallel(lane, range(len(lanes)))
    if not sums:
        return np.zeros(shape, x.dtype), np.zeros(o, x.dtype)

    def add(rows: slice) -> None:
        total = sums[0][:, rows]
        for other in sums[1:]:
            total += other[:, rows]

    cpu.parallel(add, cpu.split(length + 1, cpu.pieces_of(len(sums) * sums[0].size)))
    dweight = np.empty(shape, x.dtype)
    turned = sums[0][:, :length].reshape(groups, kh, kw, depth, per_group).transpose(0, 4, 3, 1, 2)
    np.copyto(dweight.reshape(groups, per_group, depth, kh, kw), turned)
    return dweight, sums[0][:, length].reshape(o)


def input_gradient(
    grad: Array, weight: Array, size: Pair, geometry: Geometry, groups: int
) -> Array:
    """Return dX = dY·Wᵀ, its entries added to their pixels."""
    o, depth, kh, kw = weight.shape
    n, per_group = grad.shape[0], o // groups
    dx = cpu.empty_image(n, groups * depth, *size, grad.dtype)
    rows = channels_last(grad).reshape(n, math.prod(geometry.out), o)
    matrices = weight.reshape(groups, per_group, depth * kh * kw)

    def lane(images: slice) -> None:
        for run in _images_at_a_time(geometry, depth, images):
            dy = rows[run].reshape(-1, o)
            for group in range(groups):
                own = dy[:, group * per_group : (group + 1) * per_group]
                columns = np.matmul(own, matrices[group])  # (n·OH·OW, C/G·KH·KW)
                columns = columns.reshape(-1, *geometry.out, depth, kh, kw)
                channels = slice(group * depth, (group + 1) * depth)
                dx[run, channels] = col2im(columns.transpose(0, 3, 4, 5, 1, 2), geometry, size)

    cpu.parallel(lane, cpu.split(n, _pieces(n * math.prod(geometry.out), weight.shape, groups)))
    return dx
