"""The checkpoints of a run: there is always a complete one, whatever the disk does."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, CheckpointError
from minidl.training.checkpoints import Checkpoints


def state(epoch: int) -> dict[str, Any]:
    return {"model": np.full(1000, epoch, np.float32), "epoch": epoch}


def epochs(folder: Path) -> dict[str, int]:
    """Return the epoch saved in each file of the folder."""
    found = {name: minidl.load(folder / name) for name in sorted(os.listdir(folder))}
    for loaded in found.values():
        assert (loaded["model"] == loaded["epoch"]).all()
    return {name.removesuffix(".safetensors"): loaded["epoch"] for name, loaded in found.items()}


def failing(function: Callable[..., Any], number: int, code: int, seen: list[int]) -> Any:
    """Return the function, but let call `number` (from 0) fail."""

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        seen.append(1)
        if len(seen) - 1 == number:
            raise OSError(code, os.strerror(code))
        return function(*args, **kwargs)

    return wrapped


def test_the_newest_two_and_the_best_stay(tmp_path: Path, capsys: Any) -> None:
    run = Checkpoints(tmp_path)
    found = []
    for epoch in range(5):
        assert run.save(state(epoch), best=epoch in (1, 2))
        found.append(epochs(tmp_path))
    assert found == [
        {"last": 0},
        {"best": 1, "last": 1, "previous": 0},
        {"best": 2, "last": 2, "previous": 1},
        {"best": 2, "last": 3, "previous": 2},
        {"best": 2, "last": 4, "previous": 3},
    ]
    assert capsys.readouterr().err == ""


def test_a_new_run_continues_from_the_last_checkpoint(tmp_path: Path) -> None:
    for epoch in range(3):
        assert Checkpoints(tmp_path).save(state(epoch))
    assert epochs(tmp_path) == {"last": 2, "previous": 1}


def test_the_best_is_not_written_twice(tmp_path: Path) -> None:
    run = Checkpoints(tmp_path)
    run.save(state(0), best=True)
    assert os.path.samefile(tmp_path / "last.safetensors", tmp_path / "best.safetensors")


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_links(code: int, tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", refuse)
    run = Checkpoints(tmp_path)
    for epoch in range(3):
        assert run.save(state(epoch), best=epoch == 1)
    assert epochs(tmp_path) == {"best": 1, "last": 2, "previous": 1}


def test_last_is_complete_at_every_moment(tmp_path: Path, monkeypatch: Any) -> None:
    run = Checkpoints(tmp_path)
    run.save(state(0))
    seen = []

    def spy(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        before = minidl.load(tmp_path / "last.safetensors")["epoch"]
        result = function(*args, **kwargs)
        seen.append((before, minidl.load(tmp_path / "last.safetensors")["epoch"]))
        return result

    for name in ("link", "replace", "unlink", "fsync", "open", "close"):
        monkeypatch.setattr(os, name, partial(spy, getattr(os, name)))
    assert run.save(state(1), best=True)
    assert set(seen) == {(0, 0), (0, 1), (1, 1)}


@pytest.mark.parametrize("name", ["fsync", "replace", "link"])
@pytest.mark.parametrize("number", range(3))
def test_a_failure_is_a_warning_and_the_next_save_works(
    name: str, number: int, tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    run = Checkpoints(tmp_path)
    for epoch in range(2):
        run.save(state(epoch), best=epoch == 0)
    seen: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(os, name, failing(getattr(os, name), number, errno.ENOSPC, seen))
        saved = run.save(state(2), best=True)
    error = capsys.readouterr().err
    if len(seen) <= number:  # there are not that many calls
        assert saved and error == ""
        return
    assert not saved
    assert str(tmp_path) in error and "No space left" in error and "last.safetensors" in error
    found = epochs(tmp_path)
    if (name, number) in (("link", 0), ("link", 1), ("fsync", 0), ("replace", 0)):
        assert found == {"best": 0, "last": 1, "previous": 0}
    else:
        assert found["last"] == 2
    assert run.save(state(3), best=True)
    assert epochs(tmp_path) == {"best": 3, "last": 3, "previous": found["last"]}


def test_a_deleted_last_checkpoint(tmp_path: Path, capsys: Any) -> None:
    run = Checkpoints(tmp_path)
    assert run.save(state(0)) and run.save(state(1))
    (tmp_path / "last.safetensors").unlink()
    assert run.save(state(2))
    assert epochs(tmp_path) == {"last": 2, "previous": 0}
    assert capsys.readouterr().err == ""


def test_a_deleted_folder(tmp_path: Path, capsys: Any) -> None:
    run = Checkpoints(tmp_path / "run")
    assert not run.save(state(0))
    assert "no checkpoint yet" in capsys.readouterr().err
    (tmp_path / "run").mkdir()
    assert run.save(state(0))


def test_a_warning_that_cannot_be_written_is_ignored(tmp_path: Path, monkeypatch: Any) -> None:
    class Full:
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    assert not Checkpoints(tmp_path / "nowhere").save(state(0))


def test_what_cannot_be_saved_is_an_error(tmp_path: Path) -> None:
    run = Checkpoints(tmp_path)
    run.save(state(0))
    with pytest.raises(ArgumentError, match=r"obj\['x'\]"):
        run.save({"x": object()})
    assert epochs(tmp_path) == {"last": 0}


def test_damage_is_a_warning_and_the_previous_is_loaded(tmp_path: Path, capsys: Any) -> None:
    run = Checkpoints(tmp_path)
    for epoch in range(3):
        run.save(state(epoch), best=epoch == 0)
    assert Checkpoints.load(tmp_path)[1]["epoch"] == 2
    assert Checkpoints.load(tmp_path, prefer="best")[1]["epoch"] == 0
    assert capsys.readouterr().err == ""
    last, previous, best = (
        tmp_path / f"{name}.safetensors" for name in ("last", "previous", "best")
    )
    damaged = bytearray(last.read_bytes())
    damaged[-1] ^= 1
    last.write_bytes(damaged)
    path, loaded = Checkpoints.load(tmp_path)
    assert (path, loaded["epoch"]) == (previous, 1)
    error = capsys.readouterr().err
    assert "last.safetensors" in error and "damaged" in error and str(previous) in error
    with pytest.raises(CheckpointError, match="damaged"):
        Checkpoints.load(last)  # a file given by name has no fallback
    previous.unlink()
    assert Checkpoints.load(tmp_path)[0] == best
    best.write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=r"last.*damaged.*previous.*No such file.*best.*empty"
    ):
        Checkpoints.load(tmp_path)
    with pytest.raises(ArgumentError, match="newest"):
        Checkpoints.load(tmp_path, prefer="newest")


def test_a_damaged_last_does_not_replace_a_good_previous(tmp_path: Path) -> None:
    run = Checkpoints(tmp_path)
    run.save(state(0))
    run.save(state(1))
    (tmp_path / "last.safetensors").write_bytes(b"damaged")
    assert Checkpoints(tmp_path).save(state(2))
    assert epochs(tmp_path) == {"last": 2, "previous": 0}


WRITER = """
import sys, time
from pathlib import Path
from minidl.files import temporary_name, write_new

def chunks():
    yield bytes(100_000)
    print("writing", flush=True)
    time.sleep(600)

with temporary_name(Path(sys.argv[1])) as path:
    write_new(path, chunks())
"""


@pytest.mark.skipif(os.name == "nt", reason="locks of POSIX")
def test_only_leftovers_of_dead_processes_are_removed(tmp_path: Path) -> None:
    run = Checkpoints(tmp_path)
    run.save(state(0))
    (tmp_path / ".minidl-of-mine").write_text("no temporary file")
    (tmp_path / ".minidl-folder.tmp").mkdir()
    kept = set(os.listdir(tmp_path))
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    root = Path(minidl.__file__).parent.parent
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"writing\n"
            [temporary] = set(os.listdir(tmp_path)) - kept
            Checkpoints(tmp_path)
            assert set(os.listdir(tmp_path)) == kept | {temporary}
        finally:
            process.kill()
    assert set(os.listdir(tmp_path)) == kept | {temporary}
    Checkpoints(tmp_path)
    assert set(os.listdir(tmp_path)) == kept
