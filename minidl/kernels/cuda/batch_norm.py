"""Batch normalization on the GPU: several blocks to a channel, in two launches each way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...device import Array, cupy
from .launch import Source

SOURCE = Source("batch_norm.cu")

#: Threads of a block: as in the source, a power of two.
_BLOCK = 256

#: How many numbers of a channel a block takes, unless there would be too many blocks to add up.
_RUN = 32 * _BLOCK

#: For an array that is not given.
_NULL = np.uintp(0)


def forward(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    batches: Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Array, Array, Array]:
    """Return y, and mean and 1/√(var + ε) of every channel."""
    xp, images = cupy(), _channels_first(x)
    channels, dtype = x.shape[1], images.dtype
    count = x.size // max(channels, 1)
    parts, found = _parts(count), _NULL
    y, mean, inverse = (xp.empty(s, dtype) for s in (images.shape, channels, channels))
    given = [_vector(array, dtype) for array in (weight, bias, running_mean, running_var)]
    blocks = {"block": _BLOCK, "grid": channels * parts}
    if training:
        found = xp.empty((channels, parts, 3), dtype)
        SOURCE.launch("moments", dtype, channels, images, found, np.int64(count), parts, **blocks)
    SOURCE.launch(
        "normalize", dtype, channels, images, *given, _NULL if batches is None else batches, found,
        y, mean, inverse, np.int64(count), parts, float(momentum), float(eps), **blocks,
    )  # fmt: skip
    for running, moved in zip((running_mean, running_var), given[2:], strict=True):
        if training and running is not None and moved is not running:
            running[...] = moved  # of another dtype or strided: the kernel had a copy
    return y.swapaxes(0, 1), mean, inverse


def backward(
    grad: Array,
    x: Array,
    weight: Array | None,
    mean: Array,
    inverse: Array,
    training: bool,
    want: Sequence[bool],
    overwrite: bool,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dγ and dβ (None if not needed); dx in the memory of `grad` if `overwrite`."""
    xp, images, dy = cupy(), _channels_first(x), _channels_first(grad)
    channels, dtype = x.shape[1], images.dtype
    count = x.size // max(channels, 1)
    parts, found = _parts(count), _NULL
    dx = None
    if want[0]:
        dx = dy if overwrite else xp.empty(dy.shape, dtype)
    dweight, dbias = xp.empty(channels, dtype), xp.empty(channels, dtype)
    blocks = {"block": _BLOCK, "grid": channels * parts}
    if training or want[1] or want[2]:
        found = xp.empty((channels, parts, 2), dtype)
        SOURCE.launch(
            "gradient_sums", dtype, channels, images, dy, mean, inverse, found, np.int64(count),
            parts, **blocks,
        )  # fmt: skip
    SOURCE.launch(
        "gradients", dtype, channels, images, dy, _vector(weight, dtype), mean, inverse, found,
        _NULL if dx is None else dx, dweight, dbias, np.int64(count), parts, training, **blocks,
    )  # fmt: skip
    return None if dx is None else dx.swapaxes(0, 1), dweight, dbias


def _vector(array: Array | None, dtype: np.dtype) -> Any:
    """Return one number a channel for the kernels: `array` itself if it will do."""
    return _NULL if array is None else cupy().ascontiguousarray(array, dtype)


def _parts(count: int) -> int:
    """Return the number of runs into which the numbers of a channel are cut."""
    return min(max(-(-count // _RUN), 1), _BLOCK)


def _channels_first(x: Array) -> Array:
    """Return (N, C, ...) as (C, N, ...) in shape and memory."""
    return cupy().ascontiguousarray(x.swapaxes(0, 1))
