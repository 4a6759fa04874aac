"""minidl.training.signals: a signal ends a loop between two steps; a closed output does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from minidl.training.signals import Interrupted, Interruption

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
def test_a_signal_exits_at_once_where_nothing_can_be_lost(number: signal.Signals) -> None:
    before = signal.signal(number, signal.SIG_DFL)  # nohup may have started the tests
    try:
        with Interruption(waits=False) as interruption, pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)
    assert interruption.status == 128 + number


def test_a_second_signal_exits_at_once() -> None:
    with Interruption(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.skipif(os.name == "nt", reason="closed pipes behave differently")
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_output_without_a_reader_does_not_end_a_program(stream: str) -> None:
    code = (
        "import sys\n"
        "from minidl.training import speak_to_nobody\n"
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
