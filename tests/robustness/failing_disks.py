"""Disks that fail in the middle of a save: the older checkpoints stay, and the next save works.

The trial counts the system calls of a successful save. Then it lets each of them fail in turn: with
ENOSPC, with EIO, with EIO after the call has succeeded, and with a partial write. Then it uses real
disks: one that is full, one that becomes read-only (a tmpfs in the process's own mount namespace,
where the system allows that), a limit on file sizes, and a folder without write permission.
"""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import minidl
from minidl.errors import CheckpointError
from minidl.training.checkpoints import NAMES, Checkpoints

TIMES = 2000
SHORT = 70  # each fault of the largest state once

SIZES = (20_000, 10, 1000)  # numbers of 8 bytes in each of three arrays

ROOT = Path(__file__).resolve().parents[2]


def run(times: int, folder: Path, seed: int) -> str:
    counts: Counter[str] = Counter()
    for number in range(times):
        place = folder / str(number)
        place.mkdir()
        counts[_one_fault(place, number, size=SIZES[(seed + number // SHORT) % len(SIZES)])] += 1
    real = [_real(kind, folder / kind) for kind in ("tmpfs", "limit", "permission")]
    return ", ".join([f"{count} at {name}" for name, count in sorted(counts.items())] + real)


def _state(epoch: int, size: int) -> dict[str, Any]:
    return {"model": {f"w{i}": np.full(size, epoch + i / 8) for i in range(3)}, "epoch": epoch}


def _epochs(folder: Path, size: int) -> dict[str, int]:
    """Return the epoch saved under each name; every file in the folder must load as saved."""
    found = {}
    for name in os.listdir(folder):
        assert name.removesuffix(".safetensors") in NAMES, f"{name} was left over"
        try:
            loaded = minidl.load(folder / name)
        except CheckpointError as error:
            raise AssertionError(str(error)) from error
        found[name.removesuffix(".safetensors")] = epoch = loaded["epoch"]
        for i in range(3):
            assert (loaded["model"][f"w{i}"] == np.full(size, epoch + i / 8)).all(), name
    return found


# --- Faults in this process -----------------------------------------------------------------------


class _Disk:
    """Counts system calls, and makes one of them fail."""

    def __init__(self, fail_at: int = -1, how: str = "") -> None:
        self.fail_at, self.how = fail_at, how
        self.calls: list[str] = []

    def call(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        self.calls.append(name)
        if len(self.calls) - 1 != self.fail_at:
            return function(*args)
        if self.how == "short":
            [data] = args
            return function(memoryview(data)[: max(1, len(data) // 2)])
        # A closed file stays closed even if close reports an error.
        if self.how == "EIO after" or name.startswith("close"):
            result = function(*args)
            if name == "open":
                io.FileIO.close(result)
            if name == "open folder":
                os.close(result)
        code = getattr(errno, self.how.split()[0])
        raise OSError(code, os.strerror(code))

    @contextmanager
    def installed(self) -> Iterator[None]:
        disk = self

        class File(io.FileIO):
            def write(self, data: Any) -> int:
                return disk.call("write", super().write, data)

            def close(self) -> None:
                if self.closed:
                    return
                disk.call("close", super().close)

        def opened(path: Path, mode: str, opener: None) -> io.BufferedWriter:
            assert mode == "xb" and opener is None
            return io.BufferedWriter(disk.call("open", File, path, mode))

        names = {
            "fsync": "fsync",
            "replace": "replace",
            "link": "link",
            "unlink": "unlink",
            "open": "open folder",
            "close": "close folder",
        }
        with mock.patch("minidl.files.open", opened, create=True):
            patches = {
                key: partial(self.call, told, getattr(os, key)) for key, told in names.items()
            }
            with mock.patch.multiple(os, **patches):
                yield


def _save(run: Checkpoints, epoch: int, size: int, disk: _Disk) -> tuple[bool, str]:
    stderr = io.StringIO()
    with redirect_stderr(stderr), disk.installed():
        saved = run.save(_state(epoch, size), best=True)
    return saved, stderr.getvalue()


def _one_fault(folder: Path, number: int, size: int) -> str:
    """Let one system call of a save fail; return its name."""
    run = Checkpoints(folder)
    assert run.save(_state(0, size), best=True)
    good = _Disk()
    assert _save(run, 1, size, good) == (True, "")
    assert number >= SHORT or len(_faults(good.calls)) <= SHORT, "SHORT has to be larger"
    before = _epochs(folder, size)
    assert before == {"last": 1, "previous": 0, "best": 1}
    at, how = _faults(good.calls)[number % len(_faults(good.calls))]
    name = good.calls[at]
    what = f"{how} at call {at}, {name}"
    descriptors = _open_descriptors()

    saved, warning = _save(run, 2, size, _Disk(at, how))
    assert _open_descriptors() == descriptors, f"{what}: a descriptor leaks"
    after = _epochs(folder, size)
    if how == "short" or name == "unlink":  # not a failure
        assert saved and not warning, what
        assert after == {"last": 2, "previous": 1, "best": 2}, what
    else:
        assert not saved, f"{what}: save returned True"
        assert str(folder) in warning and "last.safetensors" in warning, f"{what}: {warning!r}"
        assert os.strerror(getattr(errno, how.split()[0])) in warning, f"{what}: {warning!r}"
        renamed = good.calls.index("replace")
        if at < renamed or (at == renamed and how != "EIO after"):
            assert after == before, f"{what}: {after}"
        else:
            assert after["last"] == 2, f"{what}: {after}"
    saved, warning = _save(run, 3, size, _Disk())
    assert saved and not warning, f"{what}: the next save failed: {warning}"
    assert _epochs(folder, size) == {"last": 3, "previous": after["last"], "best": 3}, what
    return name


def _faults(calls: list[str]) -> list[tuple[int, str]]:
    """Return all faults: a call's number, and how it fails."""
    ways = ("ENOSPC", "EIO", "EIO after")
    return [
        (at, how)
        for at, name in enumerate(calls)
        for how in (*ways, "short")
        if how != "short" or name == "write"
    ]


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0


# --- Real disks -----------------------------------------------------------------------------------

_SIZE = 10_000


def _real(kind: str, folder: Path) -> str:
    """Test one kind of disk in its own process; return a summary."""
    folder.mkdir()
    if kind == "permission" and (os.name == "nt" or os.geteuid() == 0):
        return "permission: not tried as root"
    if kind == "limit" and os.name == "nt":
        return "limit: not on Windows"
    command = [sys.executable, __file__, kind, str(folder)]
    if kind == "tmpfs":
        mount = 'mount -t tmpfs -o size=1m tmpfs "$1" || exit 77; shift; exec "$@"'
        command = ["unshare", "-Urm", "sh", "-c", mount, "sh", str(folder), *command]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    except FileNotFoundError:
        return f"{kind}: this system has none"
    if kind == "tmpfs" and "Traceback" not in done.stderr and done.stdout == "":
        return f"{kind}: not allowed here"
    assert done.returncode == 0 and done.stdout == "survived\n", done.stdout + done.stderr
    return f"{kind}: survived"


def _fails(run: Checkpoints, epoch: int, reason: int, size: int = _SIZE) -> None:
    before = _epochs(run.folder, _SIZE)
    stderr = io.StringIO()
    with redirect_stderr(stderr):
        assert not run.save(_state(epoch, size), best=True)
    assert os.strerror(reason) in stderr.getvalue(), stderr.getvalue()
    assert _epochs(run.folder, _SIZE) == before


def _tmpfs(folder: Path) -> None:
    inside = folder / "run"
    inside.mkdir()
    run = Checkpoints(inside)
    assert run.save(_state(0, _SIZE)) and run.save(_state(1, _SIZE))
    _fails(run, 2, errno.ENOSPC, size=100_000)
    filler = folder / "filler"
    log = open(folder / "log", "w")  # noqa: SIM115
    for free in (0, 4096, 100_000):  # full at the start, after the first page, in the middle
        room = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
        filler.write_bytes(bytes(room - free))
        _fails(run, 2, errno.ENOSPC)
        if free == 0:
            with redirect_stderr(log):  # on the full disk, too
                assert not run.save(_state(2, _SIZE))
            with suppress(OSError):
                log.close()
        filler.unlink()
    assert run.save(_state(2, _SIZE))
    subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
    _fails(Checkpoints(inside), 3, errno.EROFS)
    subprocess.run(["mount", "-o", "remount,rw", folder], check=True)
    assert run.save(_state(3, _SIZE), best=True)
    assert _epochs(inside, _SIZE) == {"last": 3, "previous": 2, "best": 3}


def _limit(folder: Path) -> None:
    import resource

    run = Checkpoints(folder)
    assert run.save(_state(0, _SIZE)) and run.save(_state(1, _SIZE))
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 1, 4096, 100_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))  # Python ignores SIGXFSZ
        _fails(run, 2, errno.EFBIG)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert run.save(_state(2, _SIZE), best=True)
    assert _epochs(folder, _SIZE) == {"last": 2, "previous": 1, "best": 2}


def _permission(folder: Path) -> None:
    run = Checkpoints(folder)
    assert run.save(_state(0, _SIZE)) and run.save(_state(1, _SIZE))
    folder.chmod(0o555)
    _fails(run, 2, errno.EACCES)
    folder.chmod(0o755)
    assert run.save(_state(2, _SIZE), best=True)
    assert _epochs(folder, _SIZE) == {"last": 2, "previous": 1, "best": 2}


if __name__ == "__main__":
    {"tmpfs": _tmpfs, "limit": _limit, "permission": _permission}[sys.argv[1]](Path(sys.argv[2]))
    print("survived")
