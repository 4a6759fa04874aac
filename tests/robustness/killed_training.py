"""Trainings killed at random moments, half of them while saving, resume and give the same weights.

After each ``kill -9`` the newest checkpoint is complete and no older than before. Resumed to the
end, with other numbers of workers and threads, the run gives the weights of an uninterrupted one.
"""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import time
from pathlib import Path

TIMES, SHORT = 200, 1

_SPEC = importlib.util.spec_from_file_location(
    "endurance_training", Path(__file__).with_name("_training.py")
)
assert _SPEC is not None and _SPEC.loader is not None
_training = importlib.util.module_from_spec(_SPEC)
sys.modules[_SPEC.name] = _training
_SPEC.loader.exec_module(_training)


def run(times: int, folder: Path, seed: int) -> str:
    """Kill a training `times` times."""
    choose = random.Random(seed)
    pictures = _training.draw(folder / "pictures")
    whole = _training.Training(folder / "whole", pictures, save_minutes=60, small=times <= SHORT)
    began = time.monotonic()
    whole.finish()
    seconds = time.monotonic() - began
    killed = in_a_save = ended = 0
    training = _training.Training(folder / "run", pictures, save_minutes=0, small=times <= SHORT)
    before = 0
    while killed < times:
        process = training.start(choose.randint(0, 2), choose.randint(1, 2))
        if killed % 2 == 0:
            saving = _wait_for_a_save(process, training.output)
            time.sleep(choose.uniform(0, 0.1))  # a save takes about 0.1 s
        else:
            saving = False
            time.sleep(choose.uniform(0, seconds))
        saving = saving and _temporary(training.output)
        process.kill()
        _, said = process.communicate()
        assert process.returncode in (0, -9), said.decode()
        killed += process.returncode != 0
        in_a_save += saving and process.returncode != 0
        after = training.step()
        assert after >= before, f"step {before} was saved, then {after}"
        before = after
        if after == _training.STEPS:
            training.finish()
            _training.assert_same_weights(training, whole)
            training.last.unlink()
            ended, before = ended + 1, 0
    training.finish(workers=1, threads=2)
    _training.assert_same_weights(training, whole)
    assert not _temporary(training.output), "a half-written file is left over"
    return f"{killed} kills, {in_a_save} during a save; {ended + 1} runs gave the same weights"


def _temporary(folder: Path) -> bool:
    return any(folder.glob(".minidl-*.tmp"))


def _wait_for_a_save(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Wait until a file is being written; return False if the program ends first."""
    old = set(folder.glob(".minidl-*.tmp"))
    while process.poll() is None:
        if set(folder.glob(".minidl-*.tmp")) - old:
            return True
        time.sleep(0.001)
    return False
