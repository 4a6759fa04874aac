"""Unshared convolution on the CPU: the positions' products on the threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...device import Array
from .. import cpu
from ..windows import Geometry
from .images import col2im


def forward(x: Array, weight: Array, bias: Array | None, geometry: Geometry) -> Array:
    """Return y[n,:,l] = w[l]·X[l,:,n] + b[:,l] as images."""
    y = _products(weight, _windows(x, geometry)).transpose(2, 1, 0)  # (N, O, L)
    y = y.reshape(x.shape[0], weight.shape[1], *geometry.out)
    return y if bias is None else y + bias


def backward(
    grad: Array, x: Array, weight: Array, geometry: Geometry, want: Sequence[bool]
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dw and db (None if not needed)."""
    n, o = grad.shape[:2]
    dy = np.ascontiguousarray(grad.reshape(n, o, len(weight)).transpose(2, 1, 0))  # (L, O, N)
    dx = dweight = None
    if want[0]:
        columns = _products(weight.swapaxes(1, 2), dy).transpose(2, 1, 0)  # (N, K, L)
        columns = columns.reshape(n, x.shape[1], *geometry.kernel, *geometry.out)
        dx = col2im(columns, geometry, x.shape[2:])
    if want[1]:
        dweight = _products(dy, _windows(x, geometry).swapaxes(1, 2))
    return dx, dweight, grad.sum(axis=0) if want[2] else None


def _products(a: Array, b: Array) -> Array:
    """Return ``a[l] @ b[l]`` for every position l."""
    out = np.empty((len(a), a.shape[1], b.shape[2]), a.dtype)

    def lane(positions: slice) -> None:
        np.matmul(a[positions], b[positions], out=out[positions])

    cpu.parallel(lane, cpu.split(len(a), cpu.pieces_of_product(a.size * b.shape[2])))
    return out


def _windows(x: Array, geometry: Geometry) -> Array:
    """Return the windows as (L, C·KH·KW, N)."""
    (n, channels, *size), (kh, kw), (oh, ow) = x.shape, geometry.kernel, geometry.out
    rows, columns, own_rows, own_columns = geometry.inside((size[0], size[1]))
    padded = np.zeros((channels, *geometry.span, n), x.dtype)
    padded[:, rows, columns] = x[:, :, own_rows, own_columns].transpose(1, 2, 3, 0)
    channel, row, column, image = padded.strides
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    windows = np.lib.stride_tricks.as_strided(
        padded,
        (oh, ow, channels, kh, kw, n),
        (row * sh, column * sw, channel, row * dh, column * dw, image),
    )
    return np.ascontiguousarray(windows).reshape(oh * ow, channels * kh * kw, n)
