"""What a rank has of a batch that several ranks hold: dropout draws its masks as parts of one.

So a network drops the same activations on any number of ranks; see :mod:`minidl.nn.buckets`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..device import Shape

__all__ = ["Part", "part_of_batch", "use_rows"]


class Part(NamedTuple):
    """Some rows of a batch, and perhaps one of several equal pieces of its second axis."""

    rows: list[int]
    total: int
    piece: int = 0
    pieces: int = 1

    def whole(self, shape: Shape) -> Shape:
        """Return the shape of the batch of all ranks, from that of this rank's part."""
        return (self.total, *(size * self.pieces for size in shape[1:2]), *shape[2:])

    def cut(self, whole: np.ndarray, first: int = 0) -> np.ndarray:
        """Return this rank's part of an array for the batch of all ranks, from row `first` on."""
        rows = whole[np.asarray(self.rows) - first]
        return rows if self.pieces == 1 else np.split(rows, self.pieces, axis=1)[self.piece]


_part: Part | None = None


def part_of_batch() -> Part | None:
    """Return what :func:`use_rows` has set."""
    return _part


def use_rows(rows: list[int] | None, total: int = 0, piece: int = 0, pieces: int = 1) -> None:
    """Draw masks as parts of those of the batch of all ranks, until called with None.

    Parameters
    ----------
    rows : list of int or None
        The places of this rank's samples in the batch of all ranks.
    total : int
        Number of samples in that batch.
    piece, pieces : int
        Which of how many equal pieces of the second axis this rank has. Default 0 and 1.
    """
    global _part
    _part = None if rows is None else Part(rows, total, piece, pieces)
