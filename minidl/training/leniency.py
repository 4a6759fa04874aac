"""Files that a training can do without: :class:`Leniency`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import DataError

__all__ = ["Leniency"]


class Leniency:
    """Lets a training go on when a file that it can do without cannot be written.

    Examples
    --------
    >>> leniency = Leniency()
    >>> with leniency.writing("the figures"):
    ...     pass
    """

    def __init__(self) -> None:
        self._told: set[str] = set()

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Turn an OSError or DataError inside the block into a warning, once for each `what`.

        Parameters
        ----------
        what : str
            Names the file in the warning, which goes to stderr.
        """
        try:
            yield
        except (OSError, DataError) as error:
            if what not in self._told:
                self._told.add(what)
                reason = getattr(error, "strerror", None) or error
                print(
                    f"\nwarning: {what} can't be written ({reason}); the training goes on",
                    file=sys.stderr,
                )
