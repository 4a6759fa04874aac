"""The ranks of right classes, and the share of small ones, in one launch each."""

from __future__ import annotations

import numpy as np

from ...device import Array, cupy
from .launch import Source

_ACCURACY = Source("accuracy.cu")


def ranks(scores: Array, labels: Array) -> Array:
    """Return the number of classes ranked before the right one in each row, int32 (N,)."""
    xp, (rows, classes) = cupy(), scores.shape
    out: Array = xp.empty(rows, np.int32)
    _ACCURACY.launch(
        "ranks", scores.dtype, 32 * rows, xp.ascontiguousarray(scores),
        xp.ascontiguousarray(labels, np.int64), out, rows, classes,
    )  # fmt: skip
    return out


def percent(ranks: Array, k: int) -> Array:
    """Return the percentage of ranks below k, a float32 array without axes."""
    out: Array = cupy().empty((), np.float32)
    one = np.float32(100.0 / len(ranks))
    _ACCURACY.launch("percent", np.float32, 32, ranks, out, len(ranks), k, one, block=32)
    return out
