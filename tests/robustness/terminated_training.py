"""Trainings that get SIGTERM at any moment save after the step, resume and give the same weights.

A signal during the imports, before there is anything to save, ends the program at once.
"""

from __future__ import annotations

import importlib.util
import random
import signal
import sys
import time
from pathlib import Path

TIMES, SHORT = 100, 1

_SPEC = importlib.util.spec_from_file_location(
    "endurance_training", Path(__file__).with_name("_training.py")
)
assert _SPEC is not None and _SPEC.loader is not None
_training = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = _training
_SPEC.loader.exec_module(_training)


def run(times: int, folder: Path, seed: int) -> str:
    """Terminate a training `times` times."""
    choose = random.Random(seed)
    pictures = _training.draw(folder / "pictures")
    whole = _training.Training(folder / "whole", pictures, save_minutes=60, small=times <= SHORT)
    process = whole.start(workers=0, threads=1)
    _training.wait_for_steps(process)
    began = time.monotonic()
    process.communicate()
    seconds = time.monotonic() - began
    training = _training.Training(folder / "run", pictures, save_minutes=60, small=times <= SHORT)
    sent = saved = ended = 0
    while sent < times:
        before = training.step()
        process = training.start(choose.randint(0, 2), choose.randint(1, 2))
        said = _training.wait_for_steps(process) if sent % 4 < 3 else ""
        time.sleep(choose.uniform(0, 0.8) * seconds)
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=120)[1].decode()
        assert process.returncode in (0, 143, -signal.SIGTERM), said
        assert not list(training.output.glob(".minidl-*.tmp")), "a half-written file is left over"
        sent += process.returncode != 0
        after = training.step()
        if "saved after step" in said:
            assert process.returncode == 143, process.returncode
            assert f"saved after step {after};" in said, (after, said)
            saved += 1
        assert after >= before, f"step {before} was saved, then {after}"
        if after == _training.STEPS:
            training.finish()
            _training.assert_same_weights(training, whole)
            training.last.unlink()
            ended += 1
    training.finish(workers=1, threads=2)
    _training.assert_same_weights(training, whole)
    return f"{sent} signals, {saved} saved; {ended + 1} runs gave the same weights"
