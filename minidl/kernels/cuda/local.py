"""Unshared convolution on the GPU: one batched product over the positions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...device import Array, cupy
from ..windows import Geometry
from .launch import Source
from .memory import channel_major, empty_image

SOURCE = Source("local.cu")


def forward(x: Array, weight: Array, bias: Array | None, geometry: Geometry) -> Array:
    """Return y[n,:,l] = w[l]·X[l,:,n] + b[:,l] as images."""
    xp = cupy()
    n, (positions, o) = x.shape[0], weight.shape[:2]
    products = xp.matmul(xp.ascontiguousarray(weight), _windows(x, geometry, False))
    y = empty_image(n, o, *geometry.out, x.dtype)
    null_or_bias = np.uint64(0) if bias is None else xp.ascontiguousarray(bias, x.dtype)
    SOURCE.launch(
        "to_images", x.dtype, y.size, products, null_or_bias, channel_major(y),
        np.int64(y.size), o, n, positions,
    )  # fmt: skip
    return y


def backward(
    grad: Array, x: Array, weight: Array, geometry: Geometry, want: Sequence[bool]
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dw and db (None if not needed)."""
    dy = channel_major(grad)
    return (
        _input_gradient(dy, weight, x, geometry) if want[0] else None,
        _weight_gradient(x, dy, geometry) if want[1] else None,
        _bias_gradient(dy) if want[2] else None,
    )


def _windows(x: Array, geometry: Geometry, as_rows: bool) -> Array:
    """Return the windows as columns (L, K, N), or as rows (L, N, K)."""
    n, channels, height, width = x.shape
    length = channels * math.prod(geometry.kernel)
    sizes = (n, length) if as_rows else (length, n)
    result = cupy().empty((math.prod(geometry.out), *sizes), x.dtype)
    SOURCE.launch(
        "windows", x.dtype, result.size, channel_major(x), result, np.int64(result.size),
        length, n, as_rows, height, width, geometry.out[1], *geometry.kernel, *geometry.stride,
        *geometry.before,
    )  # fmt: skip
    return result


def _from_images(dy: Array, maps_last: bool) -> Array:
    """Return images that are (O, N, OH, OW) in memory as (L, O, N), or as (L, N, O)."""
    o, n, *out = dy.shape
    positions = math.prod(out)
    result = cupy().empty((positions, *((n, o) if maps_last else (o, n))), dy.dtype)
    SOURCE.launch(
        "from_images", dy.dtype, dy.size, dy, result, np.int64(dy.size), o, n, positions, maps_last
    )
    return result


def _weight_gradient(x: Array, dy: Array, geometry: Geometry) -> Array:
    """Return dw[l] = dy[l]·X[l]ᵀ; with rows for X no operand has to be transposed."""
    return cupy().matmul(_from_images(dy, False), _windows(x, geometry, True))


def _input_gradient(dy: Array, weight: Array, x: Array, geometry: Geometry) -> Array:
    """Return dX as images: dX[l]ᵀ = dy[l]ᵀ·w[l], then every entry goes back to its pixel."""
    xp = cupy()
    n, channels, height, width = x.shape
    rows = xp.matmul(_from_images(dy, True), xp.ascontiguousarray(weight))  # (L, N, K)
    dx = empty_image(n, channels, height, width, x.dtype)
    SOURCE.launch(
        "pixels", x.dtype, dx.size, rows, channel_major(dx), np.int64(dx.size),
        rows.shape[2], n, height, width, *geometry.out, *geometry.kernel, *geometry.stride,
        *geometry.before,
    )  # fmt: skip
    return dx


def _bias_gradient(dy: Array) -> Array:
    o, n, *out = dy.shape
    sums = cupy().empty((o, *out), dy.dtype)
    SOURCE.launch(
        "sum_images", dy.dtype, sums.size, dy, sums, np.int64(sums.size), n, math.prod(out)
    )
    return sums
