"""What programs that train share, apart from their loops: interruptions, a log, folders of runs.

None of it knows about networks. ``Interruption`` turns Ctrl-C into a question that the loop asks
after each step, ``speak_to_nobody`` keeps a loop alive whose output has lost its reader,
``Waiting`` measures how long a loop waits for its data, ``RunLog`` writes what
happened to a file of JSON lines, ``BadImages`` lists pictures that could not be read, and
``Leniency`` lets a training go on when such a file can't be written.
"""

from __future__ import annotations

import errno
import io
import json
import math
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import numpy as np

from ..errors import ArgumentError, CheckpointError, DataError
from ..files import write_atomically
from .report import as_json

__all__ = [
    "BadImages",
    "Interrupted",
    "Interruption",
    "Leniency",
    "RunLog",
    "Waiting",
    "at_least",
    "latest_run",
    "make_folder",
    "new_run",
    "resumed_settings",
    "speak_to_nobody",
    "versions",
]

_LOG = "log.jsonl"

# Windows has no SIGHUP, which comes when the terminal or the connection to it is closed.
_ENDING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Interrupted(Exception):
    """The user or the system asked the loop to end, and its step is finished."""


class Interruption:
    """Lets a loop finish its step when the user presses Ctrl-C or the system asks it to end.

    To save from inside a signal's handler would catch the parameters half updated. So while the
    ``with`` block runs, the first SIGINT, SIGTERM or SIGHUP (unless ``nohup`` has it ignored) only
    sets ``number``, and the loop asks for it with ``check`` at the end of each step. A second
    signal raises KeyboardInterrupt at once.

    Parameters
    ----------
    waits : bool
        False: nothing is at stake yet, the first signal raises KeyboardInterrupt as well.
        Default True.

    Attributes
    ----------
    waits : bool
        May be changed when a loop begins or ends.
    number : int
        Of the signal that came; 0 when none did.

    Examples
    --------
    >>> with Interruption() as interruption:
    ...     for step in range(3):
    ...         interruption.check()
    """

    def __init__(self, waits: bool = True) -> None:
        self.waits = waits
        self.number = 0
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has come."""
        return self.number != 0

    @property
    def status(self) -> int:
        """The exit status that shells expect: 130 after SIGINT, 143 after SIGTERM, ..."""
        return 128 + self.number

    def __enter__(self) -> Interruption:
        for number in _ENDING:
            before = signal.signal(number, self._handle)
            if before == signal.SIG_IGN and number not in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, before)  # as nohup wants it
            else:
                self._before[number] = before
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.number = self.requested, number
        if again or not self.waits:
            raise KeyboardInterrupt

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted when a signal has come."""
        if self.requested:
            raise Interrupted

    def watch(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items, checking after each."""
        for item in items:
            yield item
            self.check()


class _Outlet(io.FileIO):
    """A file to which writing never fails; what it can't take is lost."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data) or 0
        return len(data)


def speak_to_nobody() -> None:
    """Let stdout and stderr go on, in silence, when nobody reads them any more.

    Ctrl-C under ``2>&1 | tee`` ends the reader first, and a closed terminal takes no text either.
    The next line that a program prints would then end it, before it could save.

    Notes
    -----
    For programs, not for libraries: it replaces ``sys.stdout`` and ``sys.stderr``.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        stream.flush()
        raw = _Outlet(stream.fileno(), "w", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(raw), stream.encoding, stream.errors,
            line_buffering=stream.line_buffering, write_through=stream.write_through,
        )  # fmt: skip
        setattr(sys, name, text)


class Waiting:
    """Passes items on and adds up the time spent waiting for them.

    Parameters
    ----------
    items : iterable
        Such as a DataLoader.

    Attributes
    ----------
    seconds : float
        Waited for items so far.
    started : float
        ``time.perf_counter()`` when it was made.

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
        """Seconds since it was made."""
        return time.perf_counter() - self.started

    @property
    def share(self) -> float:
        """The part of the elapsed time that was spent waiting, 0 to 1."""
        return self.seconds / max(self.elapsed, 1e-9)


class Leniency:
    """Lets a program go on when a file that it can do without can't be written.

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
        """Turn OSError and DataError inside the block into a warning, the first time only.

        Parameters
        ----------
        what : str
            The file, for the warning on stderr.
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


class RunLog:
    """Writes a run's history to a file of JSON lines, and to TensorBoard where that is installed.

    When the file can't be written (the disk is full), there is one warning, and lines are missing;
    later ones are written again as soon as that is possible.

    Parameters
    ----------
    folder : str or path
        Made if need be; gets ``log.jsonl``, and event files if ``tensorboardX`` can be imported.
    after_step : int, optional
        Go on after this step: later lines, which an interrupted run left, are taken out. Default:
        start anew.

    Attributes
    ----------
    path : Path
        Of ``log.jsonl``.

    Examples
    --------
    >>> import tempfile
    >>> with RunLog(tempfile.mkdtemp()) as log:
    ...     log.write("epoch", step=100, epoch=1, loss=2.25)
    >>> RunLog.read(log.path)
    [{'kind': 'epoch', 'step': 100, 'epoch': 1, 'loss': 2.25}]
    """

    def __init__(self, folder: str | os.PathLike[str], after_step: int | None = None) -> None:
        self.path = Path(folder) / _LOG
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
        """Return the entries of a log; a last line that was cut off is left out.

        Raises
        ------
        DataError
            When a line is not one of this class's.
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
        """Append one line ``{"kind": kind, "step": step, ...}``, whole even if the run is killed.

        Parameters
        ----------
        kind : str
            Such as "step" or "epoch".
        step : int
            Optimizer steps so far.
        **values : float or str
            Numbers become TensorBoard's scalars ``kind/name``; in the line, those that are not
            finite become ``null``, as JSON has no other word for them.
        """
        line = json.dumps(as_json({"kind": kind, "step": step, **values})).encode() + b"\n"
        with self._leniency.writing(str(self.path)):
            self._append(line)
            if self._board is not None:
                for name, value in values.items():
                    if not isinstance(value, str):
                        self._board.add_scalar(f"{kind}/{name}", value, step)

    def _append(self, line: bytes) -> None:
        # Without a buffer, which would keep what the disk refused and put it somewhere later on.
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
        """Close the files."""
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


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return what a line of a log says; None for anything else."""
    try:
        entry = json.loads(line)
        return entry if line.endswith(b"\n") and isinstance(entry["step"], int) else None
    except (ValueError, KeyError, TypeError):
        return None


def _end_of_step(path: Path, last: int) -> int:
    """Return the length of a log up to a step; what stands behind a damaged line is left out."""
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


class BadImages:
    """Lists the pictures that could not be read, and ends a run that meets too many of them.

    Parameters
    ----------
    path : str or path
        Of the list, one picture a line. What an earlier part of the run put there counts as well.
    limit : int
        How many there may be.

    Attributes
    ----------
    found : list of str
        The pictures so far, each with what was wrong.

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
        """Take what a loader has noted so far.

        Parameters
        ----------
        notes : sequence of str
            Those that are known already are not counted again.

        Raises
        ------
        DataError
            When there are more than the limit.
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


def versions() -> dict[str, str]:
    """Return what the last bit of a result depends on: versions and the machine's kind.

    Examples
    --------
    >>> list(versions())
    ['minidl', 'numpy', 'python', 'platform']
    """
    from .. import __version__

    return {
        "minidl": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def at_least(least: float) -> Callable[[str], float]:
    """Return a type for argparse: finite numbers from ``least`` on, whole ones if it is an int.

    Examples
    --------
    >>> at_least(1)("12"), at_least(0.0)("12")
    (12, 12.0)
    """

    def read(text: str) -> float:
        from argparse import ArgumentTypeError

        try:
            number = type(least)(text)
        except ValueError:
            number = math.nan
        if not least <= number < math.inf:
            kind = "a whole number" if isinstance(least, int) else "a number"
            raise ArgumentTypeError(f"expected {kind} of {least} or more, got {text!r}")
        return number

    return read


# ------------------------------------------------------------------------------- folders of runs
def new_run(given: str | None, default: str = "run") -> str:
    """Return a folder for a new run, so that no older run is overwritten.

    Parameters
    ----------
    given : str, optional
        The folder that the user wants.
    default : str, default "run"
        Otherwise the first of ``default``, ``default-2``, ``default-3``, ... without a run in it.

    Raises
    ------
    ArgumentError
        When ``given`` holds a run.
    """
    names = (default if number == 1 else f"{default}-{number}" for number in count(1))
    if given is None:
        return next(name for name in names if not (Path(name) / _LOG).exists())
    if (Path(given) / _LOG).exists():
        raise ArgumentError(f"{given} holds a run already: resume it, or name a new folder")
    return given


def make_folder(path: str) -> None:
    """Make a run's folder if need be, and see that files can be written there.

    Raises
    ------
    ArgumentError
        When they can't: better now than after an epoch.
    """
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise ArgumentError(f"the folder {path} can't be made: {error.strerror}") from error
    if not os.access(path, os.W_OK):
        raise ArgumentError(
            f"files can't be written in the folder {path}: name another one, or change its "
            "permissions"
        )


def resumed_settings(
    saved: Mapping[str, Any], given: Mapping[str, Any], may_change: Collection[str]
) -> dict[str, Any]:
    """Return the settings of a run that goes on.

    Parameters
    ----------
    saved : mapping of str to object
        Its settings so far.
    given : mapping of str to object
        Those that the user gives now.
    may_change : collection of str
        Of which they may differ.

    Raises
    ------
    ArgumentError
        When another one differs: it would be another run.

    Examples
    --------
    >>> resumed_settings({"lr": 0.1, "workers": 2}, {"workers": 4}, {"workers"})
    {'lr': 0.1, 'workers': 4}
    """
    for name in given.keys() - set(may_change):
        if given[name] != saved.get(name):
            option = f"--{name.replace('_', '-')}"
            raise ArgumentError(f"{option}: the run has {saved.get(name)}, and must keep it")
    return {**saved, **given}


def latest_run(parent: str | os.PathLike[str], pattern: str) -> Path:
    """Return the folder, of those in ``parent`` whose names match, that was saved to last.

    Raises
    ------
    CheckpointError
        When there is none.
    """
    names = ("last.safetensors", "previous.safetensors")
    found = [path for name in names for path in Path(parent).glob(f"{pattern}/{name}")]
    if not found:
        raise CheckpointError(
            f"there is no run to go on with: no {parent}/{pattern}/last.safetensors"
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent
