"""minidl.vision.training: held-out parts, interruptions, waiting, logs, folders of runs."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidl.data import Subset
from minidl.errors import ArgumentError, CheckpointError, DataError
from minidl.vision import training
from minidl.vision.training import Interrupted, Interruption, RunLog, Waiting


@given(st.lists(st.integers(0, 4), max_size=80), st.integers(2, 12))
def test_hold_out_takes_the_same_share_of_each_class(labels: list[int], every: int) -> None:
    train, held_out = training.hold_out(labels, every)
    assert sorted(train + held_out) == list(range(len(labels)))
    assert train == sorted(train) and held_out == sorted(held_out)
    assert len(held_out) == len(labels) // every
    for label in set(labels):
        share = labels.count(label) / every
        assert abs([labels[index] for index in held_out].count(label) - share) < 1


def test_hold_out_is_the_same_in_every_run() -> None:
    first, second = (training.hold_out(np.arange(100) % 3) for _ in range(2))
    assert first == second
    with pytest.raises(ArgumentError, match="at least 2"):
        training.hold_out([0, 1], every=1)


def _draw(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (4, 4)).save(folder / f"{number}.png")


def test_open_folder_with_train_and_val(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 1)):
        for name in "ab":
            _draw(tmp_path / part / name, count)
    train, val = training.open_folder(tmp_path)
    assert (len(train), len(val)) == (6, 2)
    _draw(tmp_path / "val" / "zebra", 1)
    with pytest.raises(DataError, match="same classes .* zebra"):
        training.open_folder(tmp_path)


@pytest.mark.parametrize("inside", [".", "train"])
def test_open_folder_holds_a_tenth_out(tmp_path: Path, inside: str) -> None:
    for name in "ab":
        _draw(tmp_path / inside / name, 10)
    train, val = training.open_folder(tmp_path)
    assert isinstance(train, Subset) and isinstance(val, Subset)
    assert (len(train), len(val)) == (18, 2)
    assert {label for _, label in val} == {0, 1}
    train.dataset.transform = lambda picture: None  # the other part keeps its own
    assert train[0][0] is None and val[0][0] is not None


def test_open_folder_says_what_it_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected train/<class>.* found nothing"):
        training.open_folder(tmp_path / "nothing")
    _draw(tmp_path / "a", 3)
    with pytest.raises(DataError, match="holds 3 pictures, expected 10"):
        training.open_folder(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interruption_waits_for_the_step(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    steps = []
    with Interruption() as interruption, pytest.raises(Interrupted):
        for step in interruption.watch(range(5)):
            if step == 1:
                os.kill(os.getpid(), number)
            steps.append(step)
    assert steps == [0, 1] and interruption.requested
    assert signal.getsignal(number) is before


def test_second_signal_leaves_at_once() -> None:
    with Interruption(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


def test_waiting_counts_only_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    waiting = Waiting(passes(3) for _ in range(2))
    for _ in waiting:
        passes(1)
    assert (waiting.seconds, waiting.elapsed, waiting.share) == (6, 8, 0.75)


def test_log_goes_on_after_the_checkpoint(tmp_path: Path) -> None:
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
        log.write("epoch", 7, loss=0.5, note="first")
    line = log.path.read_text()
    assert json.loads(line) == {"kind": "epoch", "step": 7, "loss": 0.5, "note": "first"}
    log.path.write_text("no json\n" + line)
    with pytest.raises(DataError, match="line 1"):
        RunLog.read(log.path)


def test_new_run_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("runs/x", "runs/x-2", "runs/x-3"):
        assert training.new_run(None, "runs/x") == expected
        RunLog(expected).close()
    assert training.new_run("mine", "runs/x") == "mine"
    with pytest.raises(ArgumentError, match="runs/x-2 holds a run"):
        training.new_run("runs/x-2", "runs/x")


def test_find_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run"):
        training.latest_run(tmp_path, "net*")
    for age, name in enumerate(("net", "net-2", "other")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "last.safetensors").touch()
        os.utime(tmp_path / name / "last.safetensors", (age, age))
    assert training.latest_run(tmp_path, "net*") == tmp_path / "net-2"
    last, best = (tmp_path / "net" / f"{name}.safetensors" for name in ("last", "best"))
    assert training.find_checkpoint(tmp_path / "net", "best") == last
    best.touch()
    assert training.find_checkpoint(tmp_path / "net", "best") == best
    assert training.find_checkpoint(tmp_path / "net") == last
    assert training.find_checkpoint(best) == best
