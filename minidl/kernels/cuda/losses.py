"""Shared by the losses of class indices on the GPU; see also ``losses.cuh``."""

from __future__ import annotations

import numpy as np

from ...device import Array, Shape, cupy
from .launch import Source
from .rows import rows

#: A null pointer.
NULL = np.uint64(0)


class Rows:
    """The rows of scores of an input of this shape, and what its losses become.

    Parameters
    ----------
    shape : tuple of int
        (C,), (N, C) or (N, C, ...).
    dtype : dtype
    """

    def __init__(self, shape: Shape, dtype: np.dtype) -> None:
        self.shape, self.dtype = shape, dtype
        *self.sizes, self.lanes = rows(shape, 1 if len(shape) > 1 else 0)
        self.count, self.classes = int(self.sizes[0]), int(self.sizes[1])

    def reduce(
        self, source: Source, losses: Array, weights: Array, reduction: str
    ) -> tuple[Array, Array | None]:
        """Return the loss in its shape, and the totals unless every row has its own loss."""
        if reduction == "none":
            shape = self.shape
            return losses.reshape((shape[0], *shape[2:]) if len(shape) > 1 else ()), None
        totals = add_up(source, losses, weights, 0.0, reduction == "mean")
        return totals[0], totals


def labels_of(target: Array) -> Array:
    """Return class indices as the kernels take them."""
    return cupy().ascontiguousarray(target, np.int64)


def add_up(
    source: Source, losses: Array, weights: Array | None, divisor: float, mean: bool
) -> Array:
    """Return the mean or the sum of the losses, and the mean's divisor, as an array of two."""
    totals = cupy().empty(2, losses.dtype)
    source.launch(
        "add_up", losses.dtype, 1, losses, NULL if weights is None else weights, totals,
        np.int64(losses.size), divisor, mean, grid=1,
    )  # fmt: skip
    return totals
