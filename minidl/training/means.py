"""Means over many steps, without waiting for a GPU in each: :class:`RunningMeans`."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import distributed
from ..device import Array, active, array_module, device_of
from ..tensor import Tensor

__all__ = ["RunningMeans"]

#: Number of steps whose values share an array, which is read in one copy.
_ROWS = 128


class RunningMeans:
    """Weighted means of values that stay on their device until they are read.

    Reading a value from a GPU waits for all the work that was queued before. A training loop that
    reads its loss in every step leaves the GPU idle in between. So :meth:`update` keeps the
    tensors, and :meth:`read` fetches those of many steps at once.

    Attributes
    ----------
    weight : int
        Sum of the weights of the values that were read.

    Examples
    --------
    >>> import minidl
    >>> from minidl.training import RunningMeans
    >>> means = RunningMeans()
    >>> means.update(minidl.tensor(1.0), minidl.tensor(50.0), weight=3)
    >>> means.update(minidl.tensor(2.0), minidl.tensor(90.0), weight=1)
    >>> means.read()
    [[1.0, 50.0], [2.0, 90.0]]
    >>> means.values()
    [1.25, 60.0]
    """

    def __init__(self) -> None:
        self.weight = 0
        self._sums: list[float] = []
        self._unread: list[int] = []  # weights
        self._rows: list[Array] = []  # on the device, _ROWS steps each; float64 holds any float

    def update(self, *values: Tensor, weight: int = 1) -> None:
        """Add the values of one step.

        Parameters
        ----------
        *values : Tensor
            Scalars (tensors without axes) on one device; the same number of them in every call.
        weight : int, default 1
            How much they count, such as the number of samples that they are means of.
        """
        row = len(self._unread) % _ROWS
        with active(device_of(values[0].array)):
            if row == 0:
                xp = array_module(values[0].array)
                self._rows.append(xp.empty((_ROWS, len(values)), np.float64))
            for column, value in enumerate(values):
                self._rows[-1][row, column] = value.array
        self._unread.append(weight)

    def read(self) -> list[list[float]]:
        """Fetch and return the values of the calls of :meth:`update` since the last reading."""
        rows = [row for block in self._rows for row in block.tolist()][: len(self._unread)]
        for weight, row in zip(self._unread, rows, strict=True):
            sums = self._sums or [0.0] * len(row)
            self._sums = [total + value * weight for total, value in zip(sums, row, strict=True)]
            self.weight += weight
        self._unread, self._rows = [], []
        return rows

    def values(self) -> list[float]:
        """Return the means of the values that were read."""
        return [total / self.weight for total in self._sums]

    def join(self, values: int) -> None:
        """Add the sums of all ranks, each of which calls this; `values` is their number."""
        sums = Tensor(np.array([self.weight, *(self._sums or [0.0] * values)], np.float64))
        distributed.all_reduce(sums)
        weight, *self._sums = sums.tolist()
        self.weight = int(weight)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums for a checkpoint; reads what is still unread."""
        self.read()
        return {"weight": self.weight, "sums": list(self._sums)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what :meth:`state_dict` returned."""
        self.weight, self._sums = state_dict["weight"], list(state_dict["sums"])
        self._unread, self._rows = [], []
