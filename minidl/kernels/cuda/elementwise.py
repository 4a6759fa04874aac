"""Elementwise kernels on the GPU: along memory, whatever the order of the axes."""

from __future__ import annotations

import numpy as np

from ...device import Array, cupy
from .launch import Source
from .memory import aligned, is_dense


def elementwise(source: Source, name: str, *inputs: Array, out: Array | None = None) -> Array:
    """Return a kernel's result, in the memory order of the first input, or in `out`."""
    if out is None or not is_dense(out):
        result = cupy().empty_like(inputs[0])
    else:
        result = out
    target, *sources = aligned(result, *inputs)
    source.launch(name, target.dtype, target.size, *sources, target, np.int64(target.size))
    if out is not None and result is not out:
        out[...] = result
    return result if out is None else out
