"""How long a training loop waits for its data: :class:`Waiting`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

__all__ = ["Waiting"]


class Waiting:
    """Passes items on and adds up the time spent waiting for them.

    Parameters
    ----------
    items : iterable
        Such as a DataLoader.

    Attributes
    ----------
    seconds : float
        Time spent waiting for items so far.
    started : float
        ``time.perf_counter()`` at construction.

    Examples
    --------
    >>> waiting = Waiting([1, 2])
    >>> list(waiting), waiting.seconds < 1, 0 <= waiting.share <= 1
    ([1, 2], True, True)
    """

    def __init__(self, items: Iterable[Any]) -> None:
        self.seconds = 0.0
        self.started = time.perf_counter()
        self._items = iter(items)

    def __iter__(self) -> Waiting:
        return self

    def __next__(self) -> Any:
        before = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.seconds += time.perf_counter() - before

    @property
    def elapsed(self) -> float:
        """Seconds since construction."""
        return time.perf_counter() - self.started

    @property
    def share(self) -> float:
        """Fraction of the elapsed time that was spent waiting, 0 to 1."""
        return self.seconds / max(self.elapsed, 1e-9)
