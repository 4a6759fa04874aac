"""minidl.vision.training: interruptions, waiting, logs, bad pictures, folders of runs."""

from __future__ import annotations

import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from minidl.errors import ArgumentError, CheckpointError, DataError
from minidl.vision import training
from minidl.vision.training import BadImages, Interrupted, Interruption, Leniency, RunLog, Waiting

ENDING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


@pytest.mark.parametrize("number", ENDING)
def test_interruption_waits_for_the_step(number: signal.Signals) -> None:
    unheard: list[int] = []
    before = signal.signal(number, lambda number, frame: unheard.append(number))
    handler = signal.getsignal(number)
    steps = []
    try:
        with Interruption() as interruption, pytest.raises(Interrupted):
            for step in interruption.watch(range(5)):
                if step == 1:
                    os.kill(os.getpid(), number)
                steps.append(step)
        assert signal.getsignal(number) is handler and not unheard
    finally:
        signal.signal(number, before)
    assert steps == [0, 1] and interruption.requested
    assert interruption.status == {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}[number.name]


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="there is no SIGHUP")
def test_nohup_is_respected() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not interruption.requested
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", ENDING)
def test_signal_leaves_at_once_where_nothing_is_at_stake(number: signal.Signals) -> None:
    with Interruption(waits=False) as interruption, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    assert interruption.status == 128 + number


def test_second_signal_leaves_at_once() -> None:
    with Interruption(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(os.name == "nt", reason="pipes end in another way")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_without_a_reader_does_not_end_a_program(stream: str) -> None:
    code = (
        "import sys\n"
        "from minidl.vision.training import speak_to_nobody\n"
        "print('before', file=sys.{0})\n"
        "speak_to_nobody()\n"
        "print('äöü', file=sys.{0}, flush=True)\n"
        "sys.stdin.read()\n"
        "for _ in range(9999):\n"
        "    print('nobody', file=sys.{0}, flush=True)\n"
        "print('lost', file=sys.{0})\n"
        "sys.exit(5)\n"
    )
    program = subprocess.Popen(
        [sys.executable, "-W", "error", "-X", "utf8", "-c", code.format(stream)],
        stdin=subprocess.PIPE,
        **{stream: subprocess.PIPE},
    )
    reader = getattr(program, stream)
    assert [reader.readline().decode().strip() for _ in range(2)] == ["before", "äöü"]
    reader.close()
    assert program.stdin is not None
    program.stdin.close()
    assert program.wait(60) == 5


@pytest.mark.parametrize("text", ["-1", "0.5", "nan", "inf", "many", ""])
def test_numbers_of_the_command_line(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"^expected a whole number of 0 or more, got '"):
        training.at_least(0)(text)
    if text != "0.5":
        with pytest.raises(ArgumentTypeError, match=r"^expected a number of 0.0 or more, got '"):
            training.at_least(0.0)(text)


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
        log.write("epoch", 7, loss=0.5, note="first", worst=math.inf, mean=math.nan)
    line = log.path.read_text()
    assert json.loads(line, parse_constant=pytest.fail) == {
        "kind": "epoch", "step": 7, "loss": 0.5, "note": "first", "worst": None, "mean": None
    }  # fmt: skip
    log.path.write_text("no json\n" + line)
    with pytest.raises(DataError, match="line 1"):
        RunLog.read(log.path)


def test_log_is_never_rewritten(tmp_path: Path) -> None:
    """A run that is killed while it resumes must not lose its history."""
    with RunLog(tmp_path) as log:
        for step in (1, 2, 3):
            log.write("step", step, loss=1.0)
    before = os.stat(log.path).st_ino
    log.path.write_bytes(log.path.read_bytes() + b"\0" * 50 + b"\n")  # of a loss of power
    with RunLog(tmp_path, after_step=3) as log:
        log.write("step", 4, loss=0.5)
    assert [entry["step"] for entry in RunLog.read(log.path)] == [1, 2, 3, 4]
    assert os.stat(log.path).st_ino == before


class FullDisk:
    """A file on a disk that takes ten bytes more."""

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


def test_log_without_a_folder_to_write_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    with RunLog(tmp_path / "file") as log:
        log.write("step", 1, loss=1.0)
    assert capsys.readouterr().err.count("warning") == 1


def test_leniency_warns_once_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    leniency = Leniency()
    for what in ("figures", "figures", "report"):
        with leniency.writing(what):
            raise OSError("no room")
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line] == [
        f"warning: {what} can't be written (no room); the training goes on"
        for what in ("figures", "report")
    ]
    with pytest.raises(ZeroDivisionError), leniency.writing("figures"):
        raise ZeroDivisionError


def test_bad_images_are_listed_and_limited(tmp_path: Path) -> None:
    path = tmp_path / "bad-images.txt"
    bad = BadImages(path, limit=2)
    bad.update([])
    assert not path.exists()
    bad.update(["a: cut off"])
    bad.update(["a: cut off"])
    assert path.read_text() == "a: cut off\n"
    resumed = BadImages(path, limit=2)
    resumed.update(["b: empty", "a: cut off"])  # another loader
    assert resumed.found == path.read_text().splitlines() == ["a: cut off", "b: empty"]
    with pytest.raises(DataError, match="3 pictures .* more than the 2 allowed, such as c: empty"):
        resumed.update(["b: empty", "c: empty"])
    assert "c: empty" in path.read_text()


def test_resumed_settings() -> None:
    saved = {"lr": 0.1, "workers": 2, "drops": None}
    found = training.resumed_settings(saved, {"lr": 0.1, "drops": [3]}, {"workers", "drops"})
    assert found == {"lr": 0.1, "workers": 2, "drops": [3]}
    with pytest.raises(ArgumentError, match=r"--batch-size: the run has 4, and must keep it"):
        training.resumed_settings({"batch_size": 4}, {"batch_size": 5}, {"workers"})


def test_new_run_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for expected in ("runs/x", "runs/x-2", "runs/x-3"):
        assert training.new_run(None, "runs/x") == expected
        RunLog(expected).close()
    assert training.new_run("mine", "runs/x") == "mine"
    with pytest.raises(ArgumentError, match="runs/x-2 holds a run"):
        training.new_run("runs/x-2", "runs/x")


def test_folder_that_refuses_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training.make_folder(str(tmp_path / "runs" / "one"))
    training.make_folder(str(tmp_path / "runs" / "one"))
    (tmp_path / "file").touch()
    with pytest.raises(ArgumentError, match=r"file can't be made: "):
        training.make_folder(str(tmp_path / "file"))
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may do all
    with pytest.raises(ArgumentError, match=r"files can't be written in the folder .*runs"):
        training.make_folder(str(tmp_path / "runs"))


def test_latest_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run"):
        training.latest_run(tmp_path, "net*")
    names = ("net/last", "net-2/last", "net-3/previous", "other/last")
    for age, name in enumerate(names):
        path = tmp_path / f"{name}.safetensors"
        path.parent.mkdir()
        path.touch()
        os.utime(path, (age, age))
    assert training.latest_run(tmp_path, "net*") == tmp_path / "net-3"
    assert training.latest_run(tmp_path, "net-2") == tmp_path / "net-2"
