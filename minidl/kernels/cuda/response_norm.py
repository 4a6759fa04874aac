"""Response normalization across channels on the GPU: a thread goes along a position's channels."""

from __future__ import annotations

import numpy as np

from ...device import Array, cupy
from ..epilogue import EPILOGUES, Epilogue
from .launch import Source, arithmetic

SOURCE = Source("response_norm.cu")


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
    maps = _channels_first(x)
    y = cupy().empty(maps.shape, maps.dtype)
    layout, threads = _layout(x, groups)
    constants = alpha / size, float(beta), float(k), EPILOGUES[prologue]
    SOURCE.launch("response_norm_forward", y.dtype, threads, maps, y, *layout, size, *constants)
    return y.swapaxes(0, 1)


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
    xp, maps, dy = cupy(), _channels_first(x), _channels_first(grad)
    dx = dy if overwrite else xp.empty(maps.shape, maps.dtype)
    layout, threads = _layout(x, groups)
    constants = alpha / size, float(beta), float(k), EPILOGUES[prologue]
    if size == 5:
        SOURCE.launch(
            "response_norm_backward_5", dx.dtype, threads, maps, dy, dx, *layout, *constants
        )
    else:
        crosses = xp.empty(maps.shape, arithmetic(maps.dtype))
        SOURCE.launch(
            "response_norm_backward", dx.dtype, threads, maps, dy, dx, crosses, *layout, size,
            *constants,
        )  # fmt: skip
    return dx.swapaxes(0, 1)


def _channels_first(x: Array) -> Array:
    """Return (N, C, ...) as (C, N, ...) in shape and memory."""
    return cupy().ascontiguousarray(x.swapaxes(0, 1))


def _layout(x: Array, groups: int) -> tuple[tuple[int, int, np.int64], int]:
    """Return groups, channels of a group and positions, and the number of threads."""
    positions = x.size // max(x.shape[1], 1)
    return (groups, x.shape[1] // groups, np.int64(positions)), groups * positions
