"""Unshared convolution on the CPU: the positions' products on the threads.

The images are turned, (C, H, W, N): each row of X[l], (K, N), is then one run of memory, and a
thread copies a few positions' windows into its cache just before their products. X is never stored
whole.

For dX a thread has a few of the channels: the columns w[l]ᵀ·dY[l] of these, for all positions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...device import Array
from .. import cpu
from ..windows import Geometry
from .images import channels_last

#: Numbers of windows that a thread copies at a time (1 MB of float32).
_BLOCK = 1 << 18

Run = tuple[slice, slice]  # some positions: rows and columns


def forward(x: Array, weight: Array, bias: Array | None, geometry: Geometry) -> Array:
    """Return y[n,:,l] = w[l]·X[l,:,n] + b[:,l] as images."""
    window, runs = _windows(x, geometry), _runs(geometry, len(x), weight)
    weights = weight.reshape(*geometry.out, *weight.shape[1:]).swapaxes(2, 3)  # (OH, OW, K, O)
    y = cpu.empty_image(len(x), weight.shape[1], *geometry.out, x.dtype)
    outputs = y.transpose(2, 3, 0, 1)  # (OH, OW, N, O)

    def lane(run: Run) -> None:
        np.matmul(window(run).swapaxes(2, 3), weights[run], out=outputs[run])
        if bias is not None:
            outputs[run] += bias.transpose(1, 2, 0)[run][:, :, None]

    cpu.parallel(lane, runs)
    return y


def backward(
    grad: Array, x: Array, weight: Array, geometry: Geometry, want: Sequence[bool]
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dw and db (None if not needed)."""
    grads = channels_last(grad).transpose(1, 2, 3, 0)  # (OH, OW, O, N)
    dx = _input_gradient(grads, weight, geometry, x.shape) if want[0] else None
    dweight = None
    if want[1]:
        window, dweight = _windows(x, geometry), np.empty(weight.shape, weight.dtype)
        dweights = dweight.reshape(*geometry.out, *weight.shape[1:])

        def lane(run: Run) -> None:
            np.matmul(grads[run], window(run).swapaxes(2, 3), out=dweights[run])

        cpu.parallel(lane, _runs(geometry, len(x), weight))
    return dx, dweight, grads.sum(axis=3).transpose(2, 0, 1) if want[2] else None


def _runs(geometry: Geometry, n: int, weight: Array) -> list[Run]:
    """Cut the positions into runs: some rows of them, or parts of a row."""
    (oh, ow), (positions, _, length) = geometry.out, weight.shape
    pieces = cpu.pieces_of_product(n * weight.size)
    most = max(1, min(_BLOCK // max(n * length, 1), positions // pieces))
    rows, columns = cpu.split(oh, -(-oh // max(most // ow, 1))), cpu.split(ow, -(-ow // most))
    return [(some, few) for some in rows for few in columns]


def _windows(x: Array, geometry: Geometry) -> Callable[[Run], Array]:
    """Return a function that copies the windows X[l] of a run, (rows, columns, C·KH·KW, N)."""
    n, channels, *size = x.shape
    (kh, kw), (oh, ow), (sh, sw) = geometry.kernel, geometry.out, geometry.stride
    rows, columns, own_rows, own_columns = geometry.inside((size[0], size[1]))
    padded = np.zeros((channels, *geometry.span, n), x.dtype)
    turned = x.transpose(1, 2, 3, 0)[:, own_rows, own_columns]

    def lane(some: slice) -> None:
        padded[some, rows, columns] = turned[some]

    cpu.parallel(lane, cpu.split(channels, cpu.pieces_of(x.size)))
    channel, row, column, image = padded.strides
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (oh, ow, channels, kh, kw, n),
        (row * sh, column * sw, channel, row, column, image),
    )

    def window(run: Run) -> Array:
        copy = cpu.scratch("columns", windows[run].shape, x.dtype)
        copy[...] = windows[run]
        return copy.reshape(*copy.shape[:2], channels * kh * kw, n)

    return window


def _input_gradient(grads: Array, weight: Array, geometry: Geometry, shape: Sequence[int]) -> Array:
    """Return dX: the columns w[l]ᵀ·dY[l], their entries added to their pixels (col2im)."""
    (n, channels, height, width), dtype = shape, weight.dtype
    (kh, kw), (oh, ow) = geometry.kernel, geometry.out
    rows, columns, own_rows, own_columns = geometry.inside((height, width))
    weights = weight.reshape(oh, ow, weight.shape[1], channels, kh * kw)
    dx = cpu.empty_image(n, channels, height, width, dtype)
    turned = dx.transpose(1, 2, 3, 0)  # (C, H, W, N)

    def lane(some: slice) -> None:
        depth = some.stop - some.start
        own = weights[:, :, :, some].reshape(*weights.shape[:3], depth * kh * kw)
        entries = cpu.scratch("columns", (oh, ow, depth * kh * kw, n), dtype)
        np.matmul(own.swapaxes(2, 3), grads, out=entries)
        entries = entries.reshape(oh, ow, depth, kh, kw, n).transpose(3, 4, 2, 0, 1, 5)
        padded = cpu.scratch("padded", (depth, *geometry.span, n), dtype)
        padded[...] = 0
        for place in np.ndindex(kh, kw):
            padded[:, *geometry.positions(*place)] += entries[place]
        turned[some] = 0
        turned[some, own_rows, own_columns] = padded[:, rows, columns]

    pieces = cpu.pieces_of_product(n * weight.size, cpu.LANES)
    cpu.parallel(lane, cpu.split(channels, pieces))
    return dx
