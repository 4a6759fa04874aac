"""Rows along an axis: who works on them (``rows.cuh``)."""

from __future__ import annotations

import math

import numpy as np

from ...device import Shape


def rows(shape: Shape, axis: int) -> tuple[np.int64, np.int64, np.int64, int]:
    """Return the number of rows along an axis, their length, the inner size, threads per row."""
    outer, inner = math.prod(shape[: axis % len(shape)]), math.prod(shape[axis % len(shape) + 1 :])
    lanes = 32 if inner == 1 else 1
    return np.int64(outer * inner), np.int64(shape[axis]), np.int64(inner), lanes
