"""The report of a run: the same numbers for readers and programs, whatever they are."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import DataError
from minidl.training import report

HISTORY = [
    {"epoch": 1, "train_loss": 6.5, "train_top1": 1.25, "val_loss": 6.25, "top1": 30.0,
     "top5": 55.5},
    {"epoch": 2, "train_loss": 5.5, "train_top1": 20.5, "val_loss": 5.125, "top1": 42.0,
     "top5": 66.0},
    {"epoch": 3, "train_loss": 4.5, "train_top1": 30.5, "val_loss": 5.25, "top1": 42.0,
     "top5": 65.0},
]  # fmt: skip
FINAL = {
    "single crop": {"top1": 57.125, "top5": 80.25, "loss": 1.875},
    "ten crops": {"top1": 58.5, "top5": 81.5, "loss": 1.75},
}


def written(
    folder: Path,
    settings: dict[str, Any],
    history: list[dict[str, Any]] = HISTORY,
    final: dict[str, dict[str, float]] = FINAL,
) -> tuple[dict[str, Any], str]:
    """Return both files; the JSON must be strict."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    report.write(folder, settings=settings, history=history, final=final)
    text = (folder / "report.json").read_text()
    return json.loads(text, parse_constant=refuse), (folder / "report.md").read_text()


def rows(markdown: str, start: str) -> list[list[str]]:
    """The cells of the table's rows that begin with `start`."""
    found = (line.split(" | ") for line in markdown.splitlines() if line.startswith(f"| {start}"))
    return [[cell.strip("| ") for cell in cells] for cells in found]


def test_scores_are_errors_and_accuracies(tmp_path: Path) -> None:
    settings = {"classes": ["cat", "dog"], "lr": 0.01, "command": "python train.py"}
    content, markdown = written(tmp_path, settings)
    assert content["results"]["single crop"] == {
        "top1": 57.125, "top5": 80.25, "loss": 1.875, "top1_error": 42.875, "top5_error": 19.75
    }  # fmt: skip
    assert content["results"]["ten crops"]["top5_error"] == 18.5
    assert rows(markdown, "**ten crops**") == [
        ["**ten crops**", "58.50 %", "81.50 %", "41.50 %", "18.50 %", "1.7500"]
    ]
    assert rows(markdown, "2 ") == [
        ["2", "5.5000", "20.50 %", "5.1250", "42.00 %", "66.00 %", "58.00 %", "34.00 %"]
    ]
    assert content["epochs"] == HISTORY
    assert (content["classes"], content["paper"]) == (2, [])
    assert "paper" not in markdown and "# Training run: 2 classes" in markdown


def test_the_best_epoch_is_the_first_of_the_highest_top_1(tmp_path: Path) -> None:
    content, markdown = written(tmp_path, {})
    assert (content["best"], content["last"]) == (HISTORY[1], HISTORY[2])
    assert "Best epoch: 2, top-1 error 58.00 %" in markdown
    assert "Last epoch: 3, top-1 error 58.00 %" in markdown
    alike = [{**HISTORY[1], "epoch": epoch, "val_loss": loss}
             for epoch, loss in enumerate((5.0, 4.5, 4.5), 1)]  # fmt: skip
    content, _ = written(tmp_path, {}, alike)
    assert content["best"]["epoch"] == 2  # the smallest loss, and of two the first


@pytest.mark.parametrize("classes", [1000, [f"n{number:08d}" for number in range(1000)]])
def test_the_papers_figures_appear_with_1000_classes(tmp_path: Path, classes: Any) -> None:
    content, markdown = written(tmp_path, {"classes": classes})
    errors = {(line["where"], line["top1_error"], line["top5_error"]) for line in content["paper"]}
    assert ("table 2", 40.7, 18.2) in errors and ("table 1", 37.5, 17.0) in errors
    assert ("footnote 5", 39.0, 18.3) in errors
    (row,) = rows(markdown, "paper: one network, ten crops, ILSVRC-2012 validation (table 2)")
    assert row[1:] == ["59.3 %", "81.8 %", "40.7 %", "18.2 %", "–"]
    assert "NIPS 2012" in markdown and "n00000001" not in markdown


def test_report_describes_the_run_and_the_machine(tmp_path: Path) -> None:
    settings = {"variant": "paper", "init": None, "device": "cpu", "bad_pictures": 7,
                "command": "python train.py --lr 0.5"}  # fmt: skip
    content, markdown = written(tmp_path, settings)
    assert content["settings"] == {"variant": "paper", "init": None, "device": "cpu"}
    assert content["bad_pictures"] == 7 and "could not be read: 7" in markdown
    assert content["command"] == "python train.py --lr 0.5" and content["command"] in markdown
    machine = content["machine"]
    assert machine["minidl"] == minidl.__version__ and machine["numpy"] == np.__version__
    assert machine["threads"] == str(minidl.get_num_threads()) and machine["device"] == "cpu"
    assert {"system", "processor", "Python", "BLAS"} <= set(machine)
    assert rows(markdown, "numpy") == [["numpy", np.__version__]]


def test_the_device_that_auto_chose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for there, expected in ((False, "cpu"), (True, "gpu")):
        monkeypatch.setattr(minidl.cuda, "is_available", lambda there=there: there)
        content, _ = written(tmp_path, {"device": "auto"})
        assert content["machine"]["device"] == expected
        assert ("CuPy" in content["machine"]) == there


def test_the_default_command_is_the_programs_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "--data", "my pictures"])
    content, markdown = written(tmp_path, {})
    assert content["command"] == "python train.py --data 'my pictures'"
    assert "could not be read" not in markdown and content["bad_pictures"] is None


def test_missing_numbers_and_values_that_json_lacks(tmp_path: Path) -> None:
    settings = {"data": Path("/a|b\nc"), "size": (1, np.int64(2)), "rate": np.float32(0.5),
                "worst": -math.inf, 3: {"x": math.nan}, "on": np.bool_(True)}  # fmt: skip
    history = [{"epoch": 1, "top1": math.nan}, {"epoch": np.int64(2), "top1": np.float32(12.5)}]
    content, markdown = written(
        tmp_path, settings, history, {"single crop": {"top1": math.nan, "top5": math.inf}}
    )
    assert content["settings"] == {
        "data": "/a|b\nc", "size": [1, 2], "rate": 0.5, "worst": None, "3": {"x": None}, "on": True
    }  # fmt: skip
    assert content["results"]["single crop"] == {
        "top1": None, "top5": None, "top1_error": None, "top5_error": None
    }  # fmt: skip
    assert content["best"] == {"epoch": 2, "top1": 12.5}
    assert rows(markdown, "data") == [["data", "/a\\|b c"]]
    assert rows(markdown, "**single crop**")[0][1:] == ["–"] * 5


def test_a_run_without_an_epoch(tmp_path: Path) -> None:
    content, markdown = written(tmp_path, {}, [], {})
    assert content["best"] is None and content["last"] is None and content["results"] == {}
    assert "None was finished." in markdown and "Best epoch" not in markdown


@pytest.mark.skipif(os.name == "nt", reason="paths are not bytes there")
def test_paths_that_are_not_valid_text(tmp_path: Path) -> None:
    content, markdown = written(tmp_path, {"data": os.fsdecode(b"/pictures/\xff")})
    assert os.fsencode(content["settings"]["data"]) == b"/pictures/\xff"
    assert rows(markdown, "data") == [["data", "/pictures/\\udcff"]]


def test_a_failed_write_keeps_the_older_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, markdown = written(tmp_path, {"lr": 0.01})

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DataError, match=r"report\.json can't be written: No space left"):
        report.write(tmp_path, settings={"lr": 0.5}, history=HISTORY, final=FINAL)
    assert (tmp_path / "report.md").read_text() == markdown
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]
    monkeypatch.undo()
    with pytest.raises(DataError, match="missing"):
        report.write(tmp_path / "missing", settings={}, history=[], final={})
