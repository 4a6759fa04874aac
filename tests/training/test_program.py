"""minidl.training.program: exit statuses, and the device."""

from __future__ import annotations

import os
import signal
import warnings

import pytest

import minidl
from minidl.errors import ArgumentError, CheckpointError, DataError, DeviceError
from minidl.training.program import run_program, set_up_device
from minidl.training.signals import Interruption
from minidl.training.watch import NotFiniteError


@pytest.mark.parametrize("error", [ArgumentError, CheckpointError, DataError, DeviceError])
def test_a_mistake_is_a_sentence(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["/somewhere/train.py"])

    def work(interruption: Interruption) -> int:
        raise error("--lr: no")

    assert run_program(work) == 2
    assert capsys.readouterr().err == "train.py: --lr: no\n"


def test_nan_has_its_own_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    def work(interruption: Interruption) -> int:
        raise NotFiniteError("the loss is nan")

    assert run_program(work) == 3
    assert capsys.readouterr().err.startswith("the loss is nan; nothing of it was saved")


def test_a_signal_ends_the_program_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    def work(interruption: Interruption) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    assert run_program(work, on_stop="stopped") == 143
    assert capsys.readouterr().err == "\nstopped\n"
    assert run_program(work) == 143
    assert capsys.readouterr().err == ""


def test_other_errors_and_statuses_pass() -> None:
    assert run_program(lambda interruption: 4) == 4
    with pytest.raises(ZeroDivisionError):
        run_program(lambda interruption: 1 // 0)


def test_overflow_raises_no_warning() -> None:
    def work(interruption: Interruption) -> int:
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
        return 0

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run_program(work) == 0


def test_device_threads_and_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    before = minidl.get_num_threads()
    try:
        settings = {"device": "cpu", "num_threads": 1, "tf32": False}
        assert set_up_device(settings) == minidl.device("cpu")
        assert minidl.get_num_threads() == 1
        monkeypatch.setattr(minidl.cuda, "is_available", lambda: False)
        assert set_up_device({**settings, "device": "auto"}) == minidl.device("cpu")
        with pytest.raises(DeviceError):
            set_up_device({**settings, "device": "tpu"})
    finally:
        minidl.set_num_threads(before)
