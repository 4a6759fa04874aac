"""examples/figure1.py: ReLU against tanh."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from programs import ROOT, draw, run

from minidl.training import RunLog

PROGRAM = "figure1.py"


def test_trains_draws_and_keeps_what_is_finished(tmp_path: Path) -> None:
    draw(tmp_path / "data" / "train", ("airplane", "bird"), 80, (32, 32))
    draw(tmp_path / "data" / "test", ("airplane", "bird"), 2, (32, 32))
    options = ["--data", "data", "--target", 60, "--epochs", 2, "--num-threads", 1]
    options += ["--rates", 0.001, 0.002, "--seeds", 1, 2]
    said = run(tmp_path, PROGRAM, *options).stdout
    folder = tmp_path / "runs" / "figure1"
    assert said.count("final error") == 6  # two rates, then the better one with another seed
    assert "| mean |" in said and (folder / "figure1.png").exists()
    logs = list(folder.glob("*-1/log.jsonl"))
    assert len(logs) == 4
    for path in logs[0].parent.glob("*.safetensors"):
        path.unlink()  # as if it had been interrupted before its first checkpoint
    again = run(tmp_path, PROGRAM, *options).stdout
    assert again.count("final error") == 1 and again.splitlines()[-4:] == said.splitlines()[-4:]
    other = run(tmp_path, PROGRAM, *options, "--variant", "80sec", status=2)
    assert "trained with variant = 19pct, not 80sec: name another --output" in other.stderr


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import figure1

    yield figure1
    sys.modules.pop("figure1", None)


def test_what_was_not_reached_is_a_dash(program: Any) -> None:
    assert program.row(1, 7.0, math.inf) == "| 1 | 7.0 | – | – |"


def test_epochs_until(program: Any, tmp_path: Path) -> None:
    with RunLog(tmp_path, after_step=None) as log:
        for step, error in enumerate((50.0, 30.0, 20.0), 1):
            log.write("epoch", step, train_top1=100 - error)
    path = tmp_path / "log.jsonl"
    assert program.epochs_until(25.0, path) == 2.0
    assert program.epochs_until(60.0, path) == 0.5
    assert math.isinf(program.epochs_until(10.0, path))
