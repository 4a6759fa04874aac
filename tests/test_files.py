"""Files are complete or absent, whatever fails."""

from __future__ import annotations

import errno
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minidl.files import locked, remove_leftovers, write_atomically, write_new


def chunks() -> Iterator[bytes]:
    yield b"new"
    yield bytes(100_000)
    yield b"end"


NEW = b"".join(chunks())


def test_many_small_pieces(tmp_path: Path) -> None:
    write_atomically(tmp_path / "x", (b"%d\n" % i for i in range(100_000)))
    assert (tmp_path / "x").read_bytes().split() == [b"%d" % i for i in range(100_000)]


def failing(code: int) -> Callable[..., Any]:
    def fail(*args: Any) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EINTR])
@pytest.mark.parametrize("step", ["fsync", "replace", "open"])
def test_a_failure_before_renaming_keeps_the_old_file(
    step: str, code: int, tmp_path: Path, monkeypatch: Any
) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, step, failing(code))
        with pytest.raises(OSError, match=os.strerror(code)):
            write_atomically(path, chunks())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.skipif(os.name == "nt", reason="folders of POSIX")
def test_a_folder_that_cannot_be_synced_raises_and_keeps_the_new_file(
    tmp_path: Path, monkeypatch: Any
) -> None:
    fsync = os.fsync
    for code, told in ((errno.EIO, True), (errno.EINVAL, False), (errno.ENOTSUP, False)):
        path = tmp_path / f"{code}"

        def fail(descriptor: int, code: int = code) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(code, os.strerror(code))
            fsync(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fail)
            if told:
                with pytest.raises(OSError, match=r"the new file is in place.*error") as raised:
                    write_atomically(path, chunks())
                assert raised.value.errno == code
            else:
                write_atomically(path, chunks())
        assert path.read_bytes() == NEW


def test_a_leftover_that_cannot_be_removed_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(os, "fsync", failing(errno.ENOSPC))
    monkeypatch.setattr(os, "unlink", failing(errno.EIO))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_atomically(tmp_path / "x", chunks())


def test_no_descriptor_leaks(tmp_path: Path, monkeypatch: Any) -> None:
    before = os.listdir("/proc/self/fd") if sys.platform == "linux" else []
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.ENOSPC))
        for _ in range(3):
            with pytest.raises(OSError, match="No space"):
                write_atomically(tmp_path / "x", chunks())
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == len(before)


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "x", [b"new"])
    assert (tmp_path / "x").read_bytes() == b"old"


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_the_new_file_has_the_old_ones_permissions(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "x"
    seen: list[int] = []
    chmod = os.chmod

    def spy(name: Any, mode: int) -> None:
        seen.append(stat.S_IMODE(os.stat(name).st_mode))
        chmod(name, mode)

    monkeypatch.setattr(os, "chmod", spy)
    for mode in (0o600, 0o664, 0o444, 0o755):
        path.write_bytes(b"old")
        chmod(path, mode)
        write_atomically(path, chunks())
        assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_bytes() == NEW
        assert seen.pop() & ~mode == 0  # never more than that
        path.unlink()
    monkeypatch.setattr(os, "chmod", failing(errno.EPERM))
    path.write_bytes(b"old")
    write_atomically(path, chunks())
    assert path.read_bytes() == NEW


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes of POSIX")
def test_pipes_and_devices_stay(tmp_path: Path) -> None:
    pipe, link, found = tmp_path / "pipe", tmp_path / "link", []
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
        reader.start()
        write_atomically(path, chunks())
        reader.join(10)
    assert found == [NEW, NEW] and stat.S_ISFIFO(pipe.stat().st_mode)
    first, second = os.openpty()
    name = os.ttyname(second)
    write_atomically(name, [b"new"])
    assert os.read(first, 10) == b"new" and stat.S_ISCHR(os.stat(name).st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]
    os.close(first)
    os.close(second)


def test_leftovers(tmp_path: Path) -> None:
    remove_leftovers(tmp_path / "nothing")
    (tmp_path / ".minidl-1.tmp").write_text("left over")
    (tmp_path / ".minidl-2.tmp").symlink_to(tmp_path / "kept")
    (tmp_path / ".minidl-3.tmp").mkdir()
    (tmp_path / "kept").write_text("kept")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / ".minidl-4.tmp")  # opening it would block
    remove_leftovers(tmp_path)
    kept = {".minidl-2.tmp", ".minidl-3.tmp", "kept"}
    assert set(os.listdir(tmp_path)) - {".minidl-4.tmp"} == kept


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    busy = RuntimeError("taken")
    with (
        locked(tmp_path, busy),
        pytest.raises(RuntimeError, match="taken"),
        locked(tmp_path, busy),
    ):
        raise AssertionError
    with locked(tmp_path, busy):
        pass


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("fcntl.flock", failing(errno.ENOLCK))
    with locked(tmp_path, busy=RuntimeError("taken")):
        write_atomically(tmp_path / "x", chunks())
    (tmp_path / ".minidl-1.tmp").write_text("perhaps someone's")
    remove_leftovers(tmp_path)
    assert set(os.listdir(tmp_path)) == {"x", ".minidl-1.tmp"}
