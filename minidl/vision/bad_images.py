"""Pictures that could not be read: :class:`BadImages`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..errors import DataError
from ..files import write_atomically
from ..training.leniency import Leniency

__all__ = ["BadImages"]


class BadImages:
    """Lists the pictures that could not be read, and ends a run that meets too many of them.

    Parameters
    ----------
    path : str or path
        The file of the list, one picture a line. Lines from an earlier part of the run count too.
    limit : int
        Largest number of bad pictures.

    Attributes
    ----------
    found : list of str
        The pictures so far, each with what is wrong.

    Examples
    --------
    >>> import tempfile
    >>> bad = BadImages(Path(tempfile.mkdtemp()) / "bad-images.txt", limit=10)
    >>> bad.update(["a.jpg: cut off"])
    >>> bad.path.read_text().splitlines()
    ['a.jpg: cut off']
    """

    def __init__(self, path: str | os.PathLike[str], limit: int) -> None:
        self.path, self.limit = Path(path), limit
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        self.found = text.splitlines()
        self._leniency = Leniency()

    def update(self, notes: Sequence[str]) -> None:
        """Add what a loader has noted so far.

        Parameters
        ----------
        notes : sequence of str
            Notes that are known already are not counted again.

        Raises
        ------
        DataError
            If there are more than the limit.
        """
        if set(notes) <= set(self.found):
            return
        self.found = list(dict.fromkeys([*self.found, *notes]))
        text = "".join(f"{line}\n" for line in self.found)
        with self._leniency.writing(str(self.path)):
            write_atomically(self.path, [text.encode("utf-8", "backslashreplace")])
        if len(self.found) > self.limit:
            raise DataError(
                f"{len(self.found)} pictures can't be read, more than the {self.limit} allowed, "
                f"such as {self.found[-1]}; see {self.path}"
            )
