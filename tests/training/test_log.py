"""minidl.training.log: the history of a run survives kills and full disks."""

from __future__ import annotations

import io
import json
import math
import os
from pathlib import Path

import pytest

from minidl.errors import DataError
from minidl.training.log import RunLog


def test_log_continues_after_the_checkpoint(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.write("step", step, loss=1.0 / step)
    with log.path.open("a") as file:
        file.write('{"kind": "step", "st')  # killed while writing
    with RunLog(tmp_path, after_step=2) as log:
        log.write("step", 3, loss=0.25)
    assert [entry["loss"] for entry in RunLog.read(log.path)] == [1.0, 0.5, 0.25]
    with RunLog(tmp_path) as log:
        pass
    assert RunLog.read(log.path) == []


def test_log_lines_are_json(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.write("epoch", 7, loss=0.5, note="first", worst=math.inf, mean=math.nan)
    line = log.path.read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "kind": "epoch", "step": 7, "loss": 0.5, "note": "first", "worst": None, "mean": None
    }  # fmt: skip
    log.path.write_text("no json\n" + line)
    with pytest.raises(DataError, match="line 1"):
        RunLog.read(log.path)


def test_log_is_never_rewritten(tmp_path: Path) -> None:
    """A run killed while it resumes must not lose its history."""
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.write("step", step, loss=1.0)
    before = os.stat(log.path).st_ino
    log.path.write_bytes(log.path.read_bytes() + b"\0" * 50 + b"\n")  # as after a power failure
    with RunLog(tmp_path, after_step=3) as log:
        log.write("step", 4, loss=0.5)
    assert [entry["step"] for entry in RunLog.read(log.path)] == [1, 2, 3, 4]
    assert os.stat(log.path).st_ino == before


class FullDisk:
    """A file on a disk with room for ten more bytes."""

    def __init__(self, file: io.FileIO) -> None:
        self.file = file

    def __enter__(self) -> FullDisk:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def write(self, line: bytes) -> int:
        return self.file.write(line[:10])

    def truncate(self, size: int) -> None:
        self.file.truncate(size)


def test_full_disk_leaves_gaps_and_no_half_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with RunLog(tmp_path) as log:
        log.write("step", 1, loss=1.0)
        with monkeypatch.context() as patch:
            real = Path.open
            patch.setattr(Path, "open", lambda *args, **how: FullDisk(real(*args, **how)))
            log.write("step", 2, loss=1.0)
            log.write("step", 3, loss=1.0)
        log.write("step", 4, loss=1.0)
    assert [entry["step"] for entry in RunLog.read(log.path)] == [1, 4]
    said = capsys.readouterr().err
    assert said.count("warning") == 1
    assert str(log.path) in said and "No space left on device" in said


def test_log_without_a_writable_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    with RunLog(tmp_path / "file") as log:
        log.write("step", 1, loss=1.0)
    assert capsys.readouterr().err.count("warning") == 1
