"""Batch normalization on the CPU, an image at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...device import Array
from .. import cpu


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
    rows = _image_rows(x)
    count = rows.shape[0] * rows.shape[1]
    if training:
        mean = cpu.sum_rows(rows) / x.dtype.type(count)

        def square(x: Array, out: Array) -> None:
            np.subtract(x, mean, out=out)
            out *= out

        variance = cpu.sum_rows(_map_images(square, rows)) / x.dtype.type(count)
        if count > 0:
            if batches is not None:
                momentum = 1 / int(batches)
            if running_mean is not None:
                running_mean += momentum * (mean - running_mean)
            if running_var is not None:
                unbiased = variance * (count / max(count - 1, 1))
                running_var += momentum * (unbiased - running_var)
    else:
        assert running_mean is not None and running_var is not None
        # a copy, because a later batch in training changes it in place
        mean, variance = running_mean.copy(), running_var
    inverse = (1 / np.sqrt(variance + x.dtype.type(eps))).astype(x.dtype)
    slope = inverse if weight is None else inverse * weight

    def normalize(x: Array, out: Array) -> None:
        np.subtract(x, mean, out=out)
        out *= slope
        if bias is not None:
            out += bias

    return _like_input(_map_images(normalize, rows), x.shape), mean, inverse


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
    """Return dx, dγ and dβ; the last two always, dx if it is wanted."""
    rows, dy = _image_rows(x), _image_rows(grad)

    def times_normalized(x: Array, dy: Array, out: Array) -> None:
        np.subtract(x, mean, out=out)
        out *= inverse
        out *= dy

    dweight = cpu.sum_rows(_map_images(times_normalized, rows, dy))
    dbias = cpu.sum_rows(dy)
    slope = inverse if weight is None else inverse * weight
    n = x.dtype.type(rows.shape[0] * rows.shape[1])

    def input_gradient(x: Array, dy: Array, out: Array) -> None:
        if training:
            np.subtract(x, mean, out=out)
            out *= inverse * dweight / n
            np.subtract(dy, out, out=out)
            out -= dbias / n
            out *= slope
        else:
            np.multiply(dy, slope, out=out)

    dx = _like_input(_map_images(input_gradient, rows, dy), x.shape) if want[0] else None
    return dx, dweight, dbias


def _image_rows(x: Array) -> Array:
    """Return (N, C, ...) as channels-last (N, P, C); (N, C) as (1, N, C)."""
    if x.ndim == 2:
        return x[None]
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    return last.reshape(x.shape[0], math.prod(x.shape[2:]), x.shape[1])


def _like_input(rows: Array, shape: tuple[int, ...]) -> Array:
    """Undo :func:`_image_rows`."""
    if len(shape) == 2:
        return rows[0]
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def _map_images(task: Callable[..., None], *arrays: Array) -> Array:
    """Call ``task(*images, out)`` for every image of (N, P, C) arrays and return the outs."""
    out = cpu.empty(arrays[0].shape, arrays[0].dtype)

    def lane(part: slice) -> None:
        for number in range(part.start, part.stop):
            task(*(array[number] for array in arrays), out[number])

    cpu.parallel(lane, cpu.split(len(out), cpu.pieces_of(out.size)))
    return out
