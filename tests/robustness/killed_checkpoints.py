"""Programs killed in the middle of saving: what was called saved is there, whole.

A process saves one checkpoint after another, tells of each, and is killed (SIGKILL) at a random
moment. The newest one it told of, or the one after it, must load as ``last``, the one before as
``previous``; the next process removes what was half-written and goes on.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import minidl
from minidl.errors import CheckpointError
from minidl.training.checkpoints import Checkpoints

TIMES = 500
SHORT = 4

ROOT = Path(__file__).resolve().parents[2]
_SIZE = 200_000  # numbers of 4 bytes: long enough to be killed while they are written


def run(times: int, folder: Path, seed: int) -> str:
    rng = random.Random(seed)
    place = folder / "run"
    place.mkdir()
    done, half_written = -1, 0
    for _ in range(times):
        told = _killed_after(rng.uniform(0, 0.3), place, done + 1)
        last, newest = _load(place / "last.safetensors"), told[-1]
        assert last["epoch"] in (newest, newest + 1), f"{last['epoch']} is there, told: {newest}"
        half_written += any(name.endswith(".tmp") for name in os.listdir(place))
        Checkpoints(place)
        for name in os.listdir(place):
            epoch = _load(place / name)["epoch"]
            assert name in ("last.safetensors", "previous.safetensors", "best.safetensors"), name
            assert name != "previous.safetensors" or last["epoch"] - 2 <= epoch <= last["epoch"]
        done = last["epoch"]
    return f"{times} kills, {done + 1} checkpoints, {half_written} times something half-written"


def _load(path: Path) -> Any:
    try:
        return minidl.load(path)
    except CheckpointError as error:
        raise AssertionError(str(error)) from error


def _killed_after(seconds: float, place: Path, first: int) -> list[int]:
    """Let a process save from a number on, kill it some time after its first; return what it told.

    Parameters
    ----------
    seconds : float
        From the first checkpoint to the kill.
    place : Path
        The folder.
    first : int
        The number to begin with.
    """
    process = subprocess.Popen(
        [sys.executable, __file__, str(place), str(first)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    with process:
        try:
            first_line = process.stdout.readline()
            time.sleep(seconds)
        finally:
            process.kill()
        lines = [first_line, *process.stdout]
    assert first_line, "it could not save; its stderr says why"
    return [int(line) for line in lines if line.endswith(b"\n")]


def _save_for_ever(place: Path, epoch: int) -> None:
    checkpoints = Checkpoints(place)
    while True:
        state = {"model": np.full(_SIZE, epoch, np.float32), "epoch": epoch}
        assert checkpoints.save(state, best=epoch % 3 == 0)
        print(epoch, flush=True)
        epoch += 1


if __name__ == "__main__":
    _save_for_ever(Path(sys.argv[1]), int(sys.argv[2]))
