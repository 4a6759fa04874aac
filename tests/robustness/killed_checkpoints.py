"""Programs killed while they save: every checkpoint reported as saved is complete.

A process saves one checkpoint after another, reports each, and is killed (SIGKILL) at a random
moment. The last one reported, or the one after it, must load as ``last``, the one before it as
``previous``. The next process removes half-written files and continues.
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
_SIZE = 200_000  # numbers of 4 bytes: writing takes long enough to be interrupted


def run(times: int, folder: Path, seed: int) -> str:
    rng = random.Random(seed)
    place = folder / "run"
    place.mkdir()
    done, half_written = -1, 0
    for _ in range(times):
        reported = _killed_after(rng.uniform(0, 0.3), place, done + 1)
        last, newest = _load(place / "last.safetensors"), reported[-1]
        assert last["epoch"] in (newest, newest + 1), f"{last['epoch']}, but reported: {newest}"
        half_written += any(name.endswith(".tmp") for name in os.listdir(place))
        Checkpoints(place)
        for name in os.listdir(place):
            epoch = _load(place / name)["epoch"]
            assert name in ("last.safetensors", "previous.safetensors", "best.safetensors"), name
            assert name != "previous.safetensors" or last["epoch"] - 2 <= epoch <= last["epoch"]
        done = last["epoch"]
    return f"{times} kills, {done + 1} checkpoints, half-written files after {half_written} kills"


def _load(path: Path) -> Any:
    try:
        return minidl.load(path)
    except CheckpointError as error:
        raise AssertionError(str(error)) from error


def _killed_after(seconds: float, place: Path, first: int) -> list[int]:
    """Let a process save checkpoints, kill it, and return the numbers that it reported.

    Parameters
    ----------
    seconds : float
        Time from the first checkpoint to the kill.
    place : Path
        The folder.
    first : int
        Number of the first checkpoint.
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
    assert first_line, "the process could not save; see its stderr"
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
