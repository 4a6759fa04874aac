"""Scaled gradients divided by their scale, and checked, in one launch: see ``minidl/amp.py``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...device import Array, cupy
from .many import ManySource
from .memory import aligned, is_dense

_UNSCALE = ManySource("unscale.cu", arrays=("grad",))


def unscale(arrays: Sequence[Array], factor: float) -> bool:
    """Multiply arrays of one GPU in place; return whether a number is not finite.

    The host waits for the answer.
    """
    xp = cupy()
    found = xp.zeros(1, np.uint8)
    for dtype in {array.dtype for array in arrays}:
        dense = [aligned(a)[0] for a in arrays if a.dtype == dtype and is_dense(a)]
        _UNSCALE.launch("unscale", dtype, [([a], ()) for a in dense], found, factor)
    for array in arrays:
        if not is_dense(array):
            array *= array.dtype.type(factor)
            found |= ~xp.isfinite(array).all()
    return bool(found[0])
