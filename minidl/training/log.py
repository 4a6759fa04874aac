"""The history of a run, one JSON object a line: :class:`RunLog`."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import DataError
from .folders import LOG_NAME
from .leniency import Leniency

__all__ = ["RunLog", "as_json"]


class RunLog:
    """Writes a run's history to a file of JSON lines, and to TensorBoard where it is installed.

    If the file can't be written (the disk is full, say), one warning is printed and lines are
    missing. Later lines are written again as soon as that is possible.

    Parameters
    ----------
    folder : str or path
        Created if it is missing. Holds ``log.jsonl``, and TensorBoard's event files if
        ``tensorboardX`` can be imported.
    after_step : int, optional
        Go on after this step: later lines, left by an interrupted run, are removed. Default: start
        a new log.

    Attributes
    ----------
    path : Path
        The path of ``log.jsonl``.

    Examples
    --------
    >>> import tempfile
    >>> with RunLog(tempfile.mkdtemp()) as log:
    ...     log.write("epoch", step=100, epoch=1, loss=2.25)
    >>> RunLog.read(log.path)
    [{'kind': 'epoch', 'step': 100, 'epoch': 1, 'loss': 2.25}]
    """

    def __init__(self, folder: str | os.PathLike[str], after_step: int | None = None) -> None:
        self.path = Path(folder) / LOG_NAME
        self._leniency = Leniency()
        self._end = 0  # of the last whole line
        self._board: Any = None
        with self._leniency.writing(str(self.path)):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if after_step is not None and self.path.exists():
                self._end = _end_of_step(self.path, after_step)
            with self.path.open("ab") as file:
                file.truncate(self._end)
            self._board = _tensorboard(folder, after_step)

    @staticmethod
    def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
        """Return the entries of a log. A last line that was cut off is left out.

        Raises
        ------
        DataError
            If another line is not an entry.
        """
        entries = []
        for number, line in enumerate(Path(path).read_bytes().splitlines(keepends=True), start=1):
            entry = _entry(line)
            if entry is None and line.endswith(b"\n"):
                raise DataError(f"{path}: line {number} is no entry of a training log")
            if entry is not None:
                entries.append(entry)
        return entries

    def write(self, kind: str, step: int, **values: float | str) -> None:
        """Append the line ``{"kind": kind, "step": step, ...}``, whole even if the run is killed.

        Parameters
        ----------
        kind : str
            Such as "step" or "epoch".
        step : int
            Number of optimizer steps so far.
        **values : float or str
            Numbers also become TensorBoard's scalars ``kind/name``. In the line, NaN and infinity
            become ``null``, since JSON has neither.
        """
        line = json.dumps(as_json({"kind": kind, "step": step, **values})).encode() + b"\n"
        with self._leniency.writing(str(self.path)):
            self._append(line)
            if self._board is not None:
                for name, value in values.items():
                    if not isinstance(value, str):
                        self._board.add_scalar(f"{kind}/{name}", value, step)

    def _append(self, line: bytes) -> None:
        # Unbuffered: a buffer would keep what the disk refused and write it later, in the middle.
        with self.path.open("ab", buffering=0) as file:
            try:
                if file.write(line) != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except BaseException:
                with suppress(OSError):
                    file.truncate(self._end)  # half a line
                raise
        self._end += len(line)

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            with self._leniency.writing("TensorBoard's file"):
                self._board.close()

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def as_json(value: Any) -> Any:
    """Return a value in JSON's types.

    Numbers that are not finite become None, tuples become lists, and whatever JSON has no type for
    becomes text.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def _entry(line: bytes) -> dict[str, Any] | None:
    """Parse a line of a log; return None if it is not a whole entry."""
    try:
        entry = json.loads(line)
        return entry if line.endswith(b"\n") and isinstance(entry["step"], int) else None
    except (ValueError, KeyError, TypeError):
        return None


def _end_of_step(path: Path, last: int) -> int:
    """Return the length in bytes of a log up to a step, or up to the first damaged line."""
    end = 0
    for line in path.read_bytes().splitlines(keepends=True):
        entry = _entry(line)
        if entry is None or entry["step"] > last:
            break
        end += len(line)
    return end


def _tensorboard(folder: str | os.PathLike[str], after_step: int | None) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    purge = None if after_step is None else after_step + 1
    return SummaryWriter(os.fspath(folder), purge_step=purge)
