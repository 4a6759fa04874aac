"""minidl.training.folders: the folders of runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minidl.errors import ArgumentError, CheckpointError
from minidl.training.folders import latest_run, make_folder, new_run
from minidl.training.log import RunLog


def test_new_run_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("runs/x", "runs/x-2", "runs/x-3"):
        assert new_run(None, "runs/x") == expected
        RunLog(expected).close()
    assert new_run("mine", "runs/x") == "mine"
    with pytest.raises(ArgumentError, match="runs/x-2 holds a run.* before its first checkpoint"):
        new_run("runs/x-2", "runs/x")
    Path("runs/x-2/last.safetensors").touch()
    with pytest.raises(ArgumentError, match="runs/x-2 holds a run already: resume it"):
        new_run("runs/x-2", "runs/x")


def test_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(str(tmp_path / "runs" / "one"))
    make_folder(str(tmp_path / "runs" / "one"))
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match=r"file can't be made: "):
        make_folder(str(tmp_path / "file"))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write anywhere
    with pytest.raises(ArgumentError, match=r"files can't be written in the folder .*runs"):
        make_folder(str(tmp_path / "runs"))


def test_latest_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run"):
        latest_run(tmp_path, "net*")
    names = ("net/last", "net-2/last", "net-3/previous", "other/last")
    for age, name in enumerate(names):
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir()
        path.touch()
        os.utime(path, (age, age))
    assert latest_run(tmp_path, "net*") == tmp_path / "net-3"
    assert latest_run(tmp_path, "net-2") == tmp_path / "net-2"
