"""Writing files that are never seen half-written: a new name, everything on the disk, then renamed.

What is new gets a temporary name ``.minidl-<random>.tmp`` beside the old, is written and synced,
takes the old one's place by a renaming, which is one instant, and then the folder, which holds the
names, is synced as well. Nothing here is about what is in the files.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Replace a file so that at any moment there is the old one or the new one, whole.

    Parameters
    ----------
    path : str or path-like
        A link is followed, not replaced.
    chunks : iterable of bytes
        The new content.

    Raises
    ------
    OSError
        The file can't be written; the old one is untouched. Only if the very last step fails, the
        syncing of the folder, the new file is there, and the message says so.
    """
    target = Path(os.path.realpath(path))
    with folder_on_disk(target.parent), temporary_name(target.parent) as temporary:
        write_new(temporary, chunks)
        os.replace(temporary, target)


def write_new(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file that does not exist yet; its content is on the disk on return.

    Parameters
    ----------
    path : Path
        Usually a :func:`temporary_name`. As long as the file is being written it is locked, which
        tells :func:`remove_leftovers` that it is none.
    chunks : iterable of bytes
        The content.

    Raises
    ------
    OSError
        As the system gives it; what was written so far is there still.
    """
    with open(path, "xb") as file:
        _lock(file.fileno(), exclusive=True)
        file.writelines(chunks)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def temporary_name(folder: Path) -> Iterator[Path]:
    """Give a fresh name in a folder; what has it in the end is removed.

    Parameters
    ----------
    folder : Path
        That of the file which is going to be replaced: renaming works within one disk.
    """
    path = folder / f".minidl-{secrets.token_hex(8)}.tmp"
    try:
        yield path
    finally:
        # Renamed, it is not there; and the disk that can't remove it has raised its error before.
        with suppress(OSError):
            os.unlink(path)


@contextmanager
def folder_on_disk(folder: Path) -> Iterator[None]:
    """Sync a folder at the end, where that can be done: the renamings in it are on the disk then.

    Parameters
    ----------
    folder : Path
        Is opened at the beginning, so that a folder that can't be is an error before any change.

    Raises
    ------
    OSError
        The folder can't be opened, or, after the renamings, synced; the message tells which.
    """
    if os.name == "nt":  # there folders can't be opened
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOTSUP):  # some network file systems
                return
            reason = "the new file is there, but a loss of power may bring the old one back"
            raise OSError(error.errno, f"{reason} ({error.strerror})") from error
    finally:
        os.close(descriptor)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed programs left in a folder.

    A file that a living program writes is locked by it and stays. Where the system has no locks,
    or the folder can't be changed, everything stays: leftovers cost room and nothing else.

    Parameters
    ----------
    folder : str or path-like
        If it does not exist, there is nothing to do.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            temporary = entry.name.startswith(".minidl-") and entry.name.endswith(".tmp")
            if temporary and entry.is_file(follow_symlinks=False):
                with suppress(OSError), open(entry.path, "rb") as file:
                    if _lock(file.fileno(), exclusive=False):
                        os.unlink(entry.path)


@contextmanager
def locked(folder: str | os.PathLike[str], busy: Exception) -> Iterator[None]:
    """Keep other processes out of a folder, where the system can; the lock ends with the process.

    Parameters
    ----------
    folder : str or path-like
        Exists.
    busy : Exception
        Raised if another process has the lock.
    """
    if os.name == "nt":  # there folders can't be opened
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if _lock(descriptor, exclusive=True) is False:
            raise busy
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, exclusive: bool) -> bool | None:
    """Return whether a file or folder was free, and lock it until it is closed.

    None if the system (Windows) or the file system (some of networks) has no such locks.
    """
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
