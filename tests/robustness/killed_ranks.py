"""Runs on several ranks, one of which is killed or stopped at any moment, end and can go on."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import minidl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import programs
import ranks

TIMES, SHORT = 50, 1

#: Seconds in which all ranks must have ended, as docs/scaling.md says.
LIMIT = 15

SETTINGS = (
    "--variant", "cifar", "--batch-size", 8, "--limit-batches", 30, "--epochs", 1, "--workers", 1,
    "--save-minutes", 0, "--output", "run", "--parallel", "data",
)  # fmt: skip


def run(times: int, folder: Path, seed: int) -> str:
    """Kill or stop a rank `times` times."""
    if ranks.MPIRUN is None or find_spec("mpi4py") is None:
        return "left out: mpi4py or mpirun is missing (pip install '.[mpi]')"
    choose = random.Random(seed)
    log, slowest, resumed = folder / "run" / "log.jsonl", 0.0, 0
    for number in range(times):
        count = choose.choice([2, 4])
        arguments = ("--resume", "run", "--parallel", "data") if log.exists() else SETTINGS
        words = programs.command("alexnet_imagenet.py", *arguments)[1:]
        process = ranks.start(count, *words, folder=folder)
        before = log.stat().st_mtime if log.exists() else 0
        while process.poll() is None and not (log.exists() and log.stat().st_mtime > before):
            time.sleep(0.05)  # until the training begins
        time.sleep(choose.uniform(0, 10))
        found = ranks.pids(process.pid)
        if process.poll() is not None or len(found) < count:  # it had come to its end
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0, output
            for file in log.parent.iterdir():
                file.unlink()
            continue
        victim = choose.randrange(count)
        kind = signal.SIGSTOP if number % 3 == 2 else signal.SIGKILL
        os.kill(found[victim], kind)
        began = time.monotonic()
        output, _ = process.communicate(timeout=60)
        slowest = max(slowest, time.monotonic() - began)
        assert process.returncode != 0, output
        assert f"rank {victim}" in output, output
        assert not list(filter(ranks.alive, found.values())), "a rank is left over"
        if (log.parent / "last.safetensors").exists():
            minidl.load(log.parent / "last.safetensors", weights_only=False)
            resumed += 1
        elif log.exists():
            log.unlink()  # nothing was saved yet: begin again
    assert slowest < LIMIT, f"{slowest:.1f} seconds"
    return f"{times} ranks lost, all ended within {slowest:.1f} s; {resumed} checkpoints loaded"
