"""What programs that train share, apart from their loops: data, interruptions, a log.

None of it knows about networks. ``open_folder`` and ``hold_out`` find pictures to train and to
validate with, ``Interruption`` turns Ctrl-C into a question that the loop asks after each step,
``Waiting`` measures how long a loop waits for its data, and ``RunLog`` writes what happened to a
file of JSON lines.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeAlias

import numpy as np

from ..data import Subset
from ..errors import ArgumentError, CheckpointError, DataError
from ..random import stream
from .datasets import ImageFolder, Shards
from .datasets.shards import MANIFEST, read_manifest

__all__ = [
    "Interrupted",
    "Interruption",
    "RunLog",
    "Waiting",
    "find_checkpoint",
    "hold_out",
    "latest_run",
    "new_run",
    "open_folder",
]

_LOG = "log.jsonl"


def hold_out(targets: Sequence[int] | np.ndarray, every: int = 10) -> tuple[list[int], list[int]]:
    """Split pictures into those to train with and those to validate with, each class alike.

    Parameters
    ----------
    targets : sequence of N ints
        The labels.
    every : int, default 10
        One picture of this many is held out; at least 2.

    Returns
    -------
    train, held_out : list of int
        Indices in ascending order; ``len(held_out) == N // every``.

    Raises
    ------
    ArgumentError
        When ``every`` is below 2.

    Notes
    -----
    The pictures are put in order of their class, shuffled within it, and every ``every``-th is
    taken: a class of n pictures gives n / every of them, rounded up or down. The split depends on
    the labels alone, never on a run's seed.

    Examples
    --------
    >>> train, held_out = hold_out([0, 1] * 10, every=5)
    >>> len(train), [index % 2 for index in held_out]
    (16, [0, 1, 0, 1])
    """
    if every < 2:
        raise ArgumentError(f"hold_out: every must be at least 2, got {every}")
    labels = np.asarray(targets)
    shuffled = stream(0, "hold out").permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[by_class[every - 1 :: every]] = True
    return np.flatnonzero(~held_out).tolist(), np.flatnonzero(held_out).tolist()


Pictures: TypeAlias = ImageFolder | Shards | Subset


def open_folder(root: str | os.PathLike[str]) -> tuple[Pictures, Pictures]:
    """Open a folder of one's own pictures, to train with and to validate with.

    Parameters
    ----------
    root : str or path
        Holds either ``train/<class>/<picture>.jpg`` and ``val/<class>/<picture>.jpg``, or only
        ``train``, or ``<class>/<picture>.jpg`` itself, or the shards that
        ``examples/prepare_imagenet.py`` makes of such a folder. Without ``val``, a tenth of the
        pictures is held out (see :func:`hold_out`).

    Returns
    -------
    train, val : ImageFolder or Shards, or Subset of one
        With pictures as items. Each has a data set of its own, so that both can be given
        transforms.

    Raises
    ------
    DataError
        When there are no such folders, ``train`` and ``val`` have other classes, or there are too
        few pictures to hold some out.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise DataError(
            f"no folder of pictures at {folder}: expected train/<class>/<picture>.jpg and val/... "
            f"in it, or <class>/<picture>.jpg, found {'a file' if folder.exists() else 'nothing'}"
        )
    train: ImageFolder | Shards
    if (folder / MANIFEST).exists():
        train = Shards(folder)
        if "val" in read_manifest(folder)["splits"]:
            return train, Shards(folder, "val")  # one list of classes serves both
        whole = True
    else:
        whole = not (folder / "train").is_dir()
        train = ImageFolder(folder if whole else folder / "train")
    if whole or not (folder / "val").is_dir():
        kept, held_out = hold_out(train.targets)
        if not held_out:
            raise DataError(f"{folder} holds {len(train)} pictures, expected 10 or more")
        return Subset(train, kept), Subset(copy.copy(train), held_out)
    val = ImageFolder(folder / "val")
    if val.classes != train.classes:
        odd = sorted(set(val.classes) ^ set(train.classes))
        raise DataError(
            f"{folder}: expected the same classes in train/ and val/, found in only one of them: "
            f"{', '.join(odd[:5])}{f' and {len(odd) - 5} more' if len(odd) > 5 else ''}"
        )
    return train, val


class Interrupted(Exception):
    """The user or the system asked the loop to end, and its step is finished."""


class Interruption:
    """Lets a loop finish its step when the user presses Ctrl-C or the system asks it to end.

    To save from inside a signal's handler would catch the parameters half updated. So while the
    ``with`` block runs, the first SIGINT or SIGTERM only sets ``requested``, and the loop asks for
    it with ``check`` at the end of each step. A second signal raises KeyboardInterrupt at once.

    Attributes
    ----------
    requested : bool
        Whether a signal has come.

    Examples
    --------
    >>> with Interruption() as interruption:
    ...     for step in range(3):
    ...         interruption.check()
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

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


class RunLog:
    """Writes a run's history to a file of JSON lines, and to TensorBoard where that is installed.

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
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.path = Path(folder) / _LOG
        kept = []
        if after_step is not None and self.path.exists():
            kept = [entry for entry in self.read(self.path) if entry["step"] <= after_step]
        self._file = self.path.open("w", encoding="utf-8")
        for entry in kept:
            self._put(entry)
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
        text = Path(path).read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(keepends=True), start=1):
            try:
                entry = json.loads(line)
                if not isinstance(entry["step"], int):
                    raise TypeError
            except (ValueError, KeyError, TypeError):
                if not line.endswith("\n"):
                    break
                raise DataError(f"{path}: line {number} is no entry of a training log") from None
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
            Numbers become TensorBoard's scalars ``kind/name``.
        """
        self._put({"kind": kind, "step": step, **values})
        if self._board is not None:
            for name, value in values.items():
                if not isinstance(value, str):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def _put(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._board is not None:
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


def _tensorboard(folder: str | os.PathLike[str], after_step: int | None) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        return None
    purge = None if after_step is None else after_step + 1
    return SummaryWriter(os.fspath(folder), purge_step=purge)


# ------------------------------------------------------------------------------- folders of runs
def new_run(given: str | None, default: str) -> str:
    """Return a folder for a new run, so that no older run is overwritten.

    Parameters
    ----------
    given : str, optional
        The folder that the user wants.
    default : str
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


def latest_run(parent: str | os.PathLike[str], pattern: str) -> Path:
    """Return the folder, of those in ``parent`` whose names match, that was saved to last.

    Raises
    ------
    CheckpointError
        When there is none.
    """
    found = list(Path(parent).glob(f"{pattern}/last.safetensors"))
    if not found:
        raise CheckpointError(
            f"there is no run to go on with: no {parent}/{pattern}/last.safetensors"
        )
    return max(found, key=lambda path: path.stat().st_mtime).parent


def find_checkpoint(path: str | os.PathLike[str], prefer: str = "last") -> Path:
    """Return a checkpoint's file.

    Parameters
    ----------
    path : str or path
        The file itself, or the folder of a run.
    prefer : {"last", "best"}
        Which of a folder's checkpoints; ``last.safetensors`` where there is no other.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return path
    wanted = path / f"{prefer}.safetensors"
    return wanted if wanted.exists() else path / "last.safetensors"
