"""Response normalization across channels on the CPU: rows of channels, a block at a time.

s is cheaper to compute again in the backward than to store: the kernels save x alone.
"""

from __future__ import annotations

import numpy as np

from ...device import Array
from .. import cpu
from ..epilogue import Epilogue
from . import epilogue, norm_blocks
from .norm_blocks import WindowSum


def forward(
    x: Array,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    groups: int,
    *,
    prologue: Epilogue = None,
) -> Array:
    """Return y for x (N, C, ...), or for the prologue of x."""
    y = _empty_channels_last(x)
    x_rows, y_rows = _rows(x, groups), _rows(y, groups)
    window_sum = _across_channels(size)

    def block(start: int) -> None:
        rows = slice(start, start + step)
        own = _after_prologue(prologue, x_rows[rows])
        norm_blocks.normalize(own, y_rows[rows], window_sum, alpha / size, beta, k)

    step = max(1, cpu.BLOCK // max(x_rows.shape[1], 1))
    cpu.parallel(block, range(0, len(x_rows), step))
    return y


def backward(
    grad: Array,
    x: Array,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    groups: int,
    *,
    overwrite: bool = False,
    prologue: Epilogue = None,
) -> Array:
    """Return dx, in the memory of `grad` if `overwrite`."""
    in_place = overwrite and np.moveaxis(grad, 1, -1).flags.c_contiguous
    dx = grad if in_place else _empty_channels_last(x)
    x_rows, dx_rows, grad_rows = (_rows(array, groups) for array in (x, dx, grad))
    window_sum = _across_channels(size)

    def block(start: int) -> None:
        rows = slice(start, start + step)
        own, result = _after_prologue(prologue, x_rows[rows]), dx_rows[rows]
        norm_blocks.normalize_backward(
            own, grad_rows[rows], result, window_sum, alpha / size, beta, k
        )
        if prologue:
            epilogue.gradient_of_block(prologue, own, result)

    step = max(1, cpu.BLOCK // max(x_rows.shape[1], 1))
    cpu.parallel(block, range(0, len(x_rows), step))
    return dx


def _after_prologue(prologue: Epilogue, block: Array) -> Array:
    """Return the prologue of a block, in this thread's buffer."""
    if prologue is None:
        return block
    out = cpu.scratch("after prologue", block.shape, block.dtype)
    epilogue.apply(prologue, block, out)
    return out


def _across_channels(size: int) -> WindowSum:
    """Return the sum over `size` neighbors along the last axis of (rows, channels)."""

    def window_sum(
        terms: np.ufunc, a: Array, b: Array, factor: float, out: Array, mirrored: bool
    ) -> None:
        before, after = size // 2, (size - 1) // 2
        if mirrored:
            before, after = after, before
        rows, channels = a.shape
        # With size - 1 zeros between them, the rows can be one run of memory: no window that
        # begins in a row reaches a number of the next.
        wide = cpu.scratch("wide", (rows, channels + size - 1), a.dtype)
        terms(a, b, out=wide[:, before : before + channels])
        for column in (*range(before), *range(before + channels, channels + size - 1)):
            wide[:, column] = 0  # NumPy takes three times as long for all of them at once
        total = wide
        if size > 1:
            pairs = cpu.scratch("work", wide.shape, a.dtype)
            total = cpu.scratch("total", wide.shape, a.dtype)
            _add_windows(wide.reshape(-1), size, pairs.reshape(-1), total.reshape(-1))
        np.multiply(total[:, :channels], a.dtype.type(factor), out=out)

    return window_sum


def _add_windows(x: Array, size: int, pairs: Array, total: Array) -> None:
    """Write the sum of every window of `size` numbers of a row x; the sums of pairs first.

    Two neighboring windows share their pairs: 5 numbers take 3 additions instead of 4.
    """
    count = len(x) - (size - 1)
    np.add(x[:-1], x[1:], out=pairs[:-1])
    terms = [pairs[i : i + count] for i in range(0, size - 1, 2)]
    if size % 2:
        terms.append(x[size - 1 :])
    if len(terms) == 1:
        np.copyto(total[:count], terms[0])
        return
    np.add(terms[0], terms[1], out=total[:count])
    for term in terms[2:]:
        np.add(total[:count], term, out=total[:count])


def _rows(x: Array, groups: int) -> Array:
    """Return (N, C, ...) as (rows, C/G), without copying if memory is channels-last."""
    last = np.moveaxis(x, 1, -1)
    depth = x.shape[1] // groups
    return np.ascontiguousarray(last).reshape(x.size // max(depth, 1), depth)


def _empty_channels_last(x: Array) -> Array:
    """Return an uninitialized array of the shape of `x`, channels-last in memory."""
    shape = (x.shape[0], *x.shape[2:], x.shape[1])
    return np.moveaxis(cpu.empty(shape, x.dtype), -1, 1)
