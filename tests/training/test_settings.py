"""minidl.training.settings: a new run gets its own folder; a resumed run keeps its settings."""

from __future__ import annotations

from pathlib import Path

import pytest

import minidl
from minidl.errors import ArgumentError, CheckpointError
from minidl.training.log import RunLog
from minidl.training.settings import begin, resumed_settings

DEFAULTS = {"lr": 0.1, "workers": 2}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["train.py"])
    return tmp_path


def start(given: dict[str, object], evaluating: bool = False) -> tuple[dict, Path | None, object]:
    return begin(given, DEFAULTS, {"workers", "output"}, "runs/net", evaluating)


def old_run(name: str = "runs/net", **options: object) -> dict[str, object]:
    """Save an earlier run, and return its checkpoint."""
    RunLog(name).close()
    options = {"lr": 0.5, "workers": 2, "output": "elsewhere", "command": "python old.py"} | options
    state = {"options": options, "versions": {}, "step": 3, "optimizer": {}}
    for file in ("last", "best"):
        minidl.save({**state, "file": file}, f"{name}/{file}.safetensors")
    return {**state, "file": "last"}


def test_a_new_run_has_the_defaults_and_its_own_folder() -> None:
    expected = {"lr": 0.2, "workers": 2, "output": "runs/net", "command": "python train.py",
                "program": "net"}  # fmt: skip
    assert start({"lr": 0.2}) == (expected, None, None)
    old_run()
    assert start({})[0]["output"] == "runs/net-2"
    with pytest.raises(ArgumentError, match="runs/net holds a run already"):
        start({"output": "runs/net"})


@pytest.mark.parametrize("given", [{"resume": "runs/net"}, {"resume": None}])
def test_a_resumed_run_keeps_its_settings(given: dict[str, object]) -> None:
    state = old_run()
    settings, path, found = start({**given, "workers": 4})
    assert (settings["lr"], settings["workers"], settings["output"]) == (0.5, 4, "runs/net")
    assert settings["command"] == "python old.py\npython train.py"
    assert path == Path("runs/net/last.safetensors") and found == state
    with pytest.raises(ArgumentError, match=r"--lr: the run has 0\.5"):
        start({**given, "lr": 1.0})


def test_a_setting_newer_than_the_run_has_its_default() -> None:
    old_run()
    settings, _, _ = begin({"resume": None}, {**DEFAULTS, "new": 7}, (), "runs/net")
    assert settings["new"] == 7


def test_a_resumed_run_may_move_but_not_overwrite_another() -> None:
    old_run("runs/net")
    old_run("runs/other")
    assert start({"resume": "runs/net", "output": "new"})[0]["output"] == "new"
    assert start({"resume": "runs/net", "output": "./runs/../runs/net"})[0]
    with pytest.raises(ArgumentError, match="runs/other holds a run already"):
        start({"resume": "runs/net", "output": "runs/other"})


def test_evaluation_uses_the_best_under_any_settings() -> None:
    old_run()
    settings, path, state = start({"lr": 9.0}, evaluating=True)
    assert settings["lr"] == 9.0 and path == Path("runs/net/best.safetensors")
    assert isinstance(state, dict) and state["file"] == "best"


def test_other_files_are_not_runs(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="no run to go on with"):
        start({"resume": None})
    minidl.save({"model": {}}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="was not written by this program"):
        start({"resume": "model.safetensors"})


def test_resumed_settings() -> None:
    saved = {"lr": 0.1, "workers": 2, "drops": None}
    found = resumed_settings(saved, {"lr": 0.1, "drops": [3]}, {"workers", "drops"})
    assert found == {"lr": 0.1, "workers": 2, "drops": [3]}
    with pytest.raises(ArgumentError, match=r"--batch-size: the run has 4, and must keep it"):
        resumed_settings({"batch_size": 4}, {"batch_size": 5}, {"workers"})
