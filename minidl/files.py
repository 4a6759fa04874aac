"""Writing files atomically: nobody ever sees a partly written file.

The new file gets a temporary name ``.minidl-<random>.tmp`` beside the old one, is written and
synced, and then renamed, which replaces the old one atomically. Finally the folder, which holds the
names, is synced as well.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path


def write_atomically(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Replace a file so that at any moment the old or the new one exists, complete.

    Parameters
    ----------
    path : str or path-like
        A link is followed, not replaced. The new file has the old one's permissions. A device or a
        pipe is written to.
    chunks : iterable of bytes
        The new content.

    Raises
    ------
    OSError
        The file can't be written; the old one is untouched. Only if the last step, syncing the
        folder, fails does the new file exist, and the message says so.
    """
    mode = None
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        with open(path, "wb") as file:
            file.writelines(chunks)
        return
    target = Path(os.path.realpath(path))
    with folder_on_disk(target.parent), temporary_name(target.parent) as temporary:
        write_new(temporary, chunks, None if mode is None else mode & 0o777)
        os.replace(temporary, target)


def write_new(path: Path, chunks: Iterable[bytes | memoryview], mode: int | None = None) -> None:
    """Write a file that does not exist yet; its content is on the disk on return.

    Parameters
    ----------
    path : Path
        Usually a :func:`temporary_name`. The file is locked while it is being written, so that
        :func:`remove_leftovers` leaves it alone.
    chunks : iterable of bytes
        The content.
    mode : int, optional
        The permissions. Default: the usual ones.

    Raises
    ------
    OSError
        The system's error; the partly written file remains.
    """
    # Created with these permissions, so that nobody can open the file before they are set.
    opener = None if mode is None else partial(os.open, mode=mode)
    with open(path, "xb", opener=opener) as file:
        if mode is not None:
            with suppress(OSError):  # some disks have no permissions
                os.chmod(path, mode)
        _lock(file.fileno(), exclusive=True)
        file.writelines(chunks)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def temporary_name(folder: Path) -> Iterator[Path]:
    """Yield a new name in a folder; a file that still has it at the end is removed.

    Parameters
    ----------
    folder : Path
        The folder of the file to replace, because renaming works only within one disk.
    """
    path = folder / f".minidl-{secrets.token_hex(8)}.tmp"
    try:
        yield path
    finally:
        # A renamed file is gone, and a disk that can't remove it has raised its error before.
        with suppress(OSError):
            os.unlink(path)


@contextmanager
def folder_on_disk(folder: Path) -> Iterator[None]:
    """Sync a folder at the end, if the system can, so that renamings in it are on the disk.

    Parameters
    ----------
    folder : Path
        Opened at the beginning, so that a folder that can't be opened is an error before any
        change.

    Raises
    ------
    OSError
        The folder can't be opened, or can't be synced after the renamings; the message says which.
    """
    if os.name == "nt":  # folders can't be opened there
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
            reason = "the new file is in place, but a power failure may bring the old one back"
            raise OSError(error.errno, f"{reason} ({error.strerror})") from error
    finally:
        os.close(descriptor)


def remove_leftovers(folder: str | os.PathLike[str]) -> None:
    """Remove the temporary files that killed programs left in a folder.

    Files that a running program is writing are locked and stay. If the system has no locks, or the
    folder can't be changed, all files stay: leftovers only take space.

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
    """Lock a folder against other processes, if the system can; the lock ends with the process.

    Parameters
    ----------
    folder : str or path-like
        An existing folder.
    busy : Exception
        Raised if another process has the lock.
    """
    if os.name == "nt":  # folders can't be opened there
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
    """Lock a file or folder until it is closed, and return whether it was free.

    Returns None if the system (Windows) or the file system (some network disks) has no such locks.
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


def cache_folder() -> Path:
    """Return minidl's folder in the user's cache."""
    if named := os.environ.get("MINIDL_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "minidl"
