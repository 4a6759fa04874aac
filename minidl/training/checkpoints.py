"""The checkpoints of a run in rotation: the newest two and the best, in one folder.

- ``last.safetensors``: the newest;
- ``previous.safetensors``: the one before, in case the disk damages the newest;
- ``best.safetensors``: the newest one that was saved as the best.

Each is a complete file of :func:`minidl.save`. Where the file system has hard links, ``best`` and
``last`` can be two names of one file, so that the best is not written twice.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from .. import checkpoint
from ..device import Device
from ..errors import ArgumentError, CheckpointError
from ..files import folder_on_disk, remove_leftovers, temporary_name, write_new

__all__ = ["NAMES", "Checkpoints"]

NAMES = ("last", "previous", "best")

# Errors of file systems without hard links; EINVAL is Windows's.
_NO_LINKS = {
    getattr(errno, name)
    for name in ("EPERM", "EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK")
}


class Checkpoints:
    """Saves the checkpoints of one run, and survives a disk that fails.

    Parameters
    ----------
    folder : str or path-like
        Must exist when something is saved. Temporary files that killed programs left in it are
        removed, except those that a running program is writing.

    Examples
    --------
    >>> import tempfile
    >>> from minidl.training import Checkpoints
    >>> folder = tempfile.TemporaryDirectory()
    >>> run = Checkpoints(folder.name)
    >>> [run.save({"epoch": epoch}, best=epoch == 1) for epoch in range(3)]
    [True, True, True]
    >>> [Checkpoints.load(folder.name, name)[1]["epoch"] for name in ("last", "previous", "best")]
    [2, 1, 1]
    >>> folder.cleanup()
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._wrote_last = False
        remove_leftovers(self.folder)

    def save(self, state: Any, best: bool = False, best_without: Sequence[str] = ()) -> bool:
        """Save a state as ``last``. The old ``last`` becomes ``previous``, unless it is damaged.

        Parameters
        ----------
        state : object
            Anything that :func:`minidl.save` accepts.
        best : bool, default False
            Save it as ``best``, too.
        best_without : sequence of str, optional
            Entries of `state`, a dict, that ``best`` leaves out, such as the optimizer's.

        Returns
        -------
        bool
            Whether everything is on the disk. If not, a warning on stderr says why, and which
            checkpoints there are.

        Raises
        ------
        ArgumentError
            If something in `state` can't be saved.

        Notes
        -----
        Nothing else is touched until the new file is complete and on the disk. It then takes the
        name ``last`` atomically. So at every moment, and after any failure, there is a complete
        ``last`` if there was one before.

        Where the file system has no hard links, ``last`` is renamed to ``previous`` (for an instant
        there is no ``last``, and :meth:`load` takes ``previous``), and ``best`` is written
        separately.
        """
        chunks, best_chunks = checkpoint.encode(state), None
        if best and best_without:
            rest = {name: part for name, part in state.items() if name not in best_without}
            best_chunks = checkpoint.encode(rest)
        try:
            self._replace(chunks, best, best_chunks)
        except OSError as error:
            kept = [f"{name}.safetensors" for name in NAMES if os.path.exists(self._path(name))]
            there = f"it has {' and '.join(kept)}" if kept else "it has no checkpoint yet"
            reason = error.strerror or error
            folder = os.fspath(self.folder)
            _warn(f"no checkpoint was saved safely in {folder!r}: {reason}; {there}")
            return False
        return True

    def _replace(
        self,
        chunks: list[bytes | memoryview],
        best: bool,
        best_chunks: list[bytes | memoryview] | None,
    ) -> None:
        """Give the new and the old file their names, after everything that can fail."""
        last, previous = self._path("last"), self._path("previous")
        with ExitStack() as stack:
            stack.enter_context(folder_on_disk(self.folder))
            new, old, new_best = (
                stack.enter_context(temporary_name(self.folder)) for _ in range(3)
            )
            write_new(new, chunks)
            if best and (best_chunks or not _link(new, new_best)):
                write_new(new_best, best_chunks or chunks)
            keep = self._last_is_good()
            linked = keep and _link(last, old)
            if keep and not linked:
                os.replace(last, previous)
            os.replace(new, last)
            self._wrote_last = True
            if linked:
                os.replace(old, previous)
            if best:
                os.replace(new_best, self._path("best"))

    def _last_is_good(self) -> bool:
        """Return whether ``last`` may replace ``previous``; a damaged one must not."""
        if self._wrote_last:
            return os.path.exists(self._path("last"))
        try:
            checkpoint.load(self._path("last"), map_location="cpu")
        except CheckpointError:
            return False
        return True

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    @staticmethod
    def load(
        folder_or_file: str | os.PathLike[str],
        prefer: str = "last",
        map_location: str | Device | None = None,
    ) -> tuple[Path, Any]:
        """Load a checkpoint of a run, or another one if that is damaged or missing.

        Parameters
        ----------
        folder_or_file : str or path-like
            A run's folder, or a file, for which there is no substitute.
        prefer : {"last", "previous", "best"}, default "last"
            Which checkpoint of a folder to load. If it can't be loaded, the others are tried in
            this order, and a warning on stderr says so.
        map_location : str or Device, optional
            See :func:`minidl.load`.

        Returns
        -------
        path : Path
            The file that was loaded.
        state : object
            The state that was saved.

        Raises
        ------
        CheckpointError
            If none can be loaded. The message gives the reason for each.
        """
        if prefer not in NAMES:
            raise ArgumentError(f"load: prefer={prefer!r}; expected 'last', 'previous' or 'best'")
        folder = Path(folder_or_file)
        if not os.path.isdir(folder):
            return folder, checkpoint.load(folder, map_location)
        reasons = []
        for name in sorted(NAMES, key=lambda name: name != prefer):
            path = folder / f"{name}.safetensors"
            try:
                state = checkpoint.load(path, map_location)
            except CheckpointError as error:
                reasons.append(str(error))
            else:
                if reasons and (prefer != "best" or os.path.exists(folder / "best.safetensors")):
                    _warn(f"{'; '.join(reasons)}; {os.fspath(path)!r} is taken instead")
                return path, state
        raise CheckpointError(f"no checkpoint can be loaded: {'; '.join(reasons)}")


def _link(source: Path, name: Path) -> bool:
    """Give a file a second name; return False if the file system has no hard links."""
    try:
        os.link(source, name)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _warn(text: str) -> None:
    with suppress(OSError, ValueError):  # stderr may be a file on the same full disk, or closed
        print(f"minidl: warning: {text}", file=sys.stderr, flush=True)
