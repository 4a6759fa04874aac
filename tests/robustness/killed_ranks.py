"""Runs on several ranks, one of which is lost at any moment, end and can go on.

The rank is killed, stopped, or meets NaN: at any instant from the start of its process to its end,
but for NaN, which needs a training that has begun.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import minidl

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import programs
import ranks

TIMES, SHORT = 50, 3

#: Seconds in which all ranks must have ended, as docs/scaling.md says.
LIMIT = 15

KINDS = {"killed": signal.SIGKILL, "stopped": signal.SIGSTOP, "NaN": signal.SIGUSR1}

SETTINGS = (
    "--variant", "cifar", "--batch-size", 8, "--limit-batches", 10, "--epochs", 1, "--workers", 1,
    "--save-minutes", 0, "--output", "run",
)  # fmt: skip


def start(count: int, folder: Path) -> subprocess.Popen[str]:
    """Start a run, or resume it."""
    saved = (folder / "run" / "last.safetensors").exists()
    if not saved:
        shutil.rmtree(folder / "run", ignore_errors=True)
    arguments = (*(("--resume", "run") if saved else SETTINGS), "--parallel", "data")
    words = programs.command("alexnet_imagenet.py", *arguments)[1:]
    words.insert(words.index("error") + 1, str(Path(__file__).with_name("_nan_on_signal.py")))
    return ranks.start(count, *words, folder=folder)


def lose(
    process: subprocess.Popen[str], kind: str, rank: int, after: float, folder: Path
) -> dict[int, int]:
    """Lose a rank some seconds after the start; return all ranks' processes, none if too late."""
    until, before = time.monotonic() + after, saved_at(folder)
    while process.poll() is None:
        found = ranks.pids(process.pid)
        ready = rank in found and (kind != "NaN" or saved_at(folder) > before)
        if ready and time.monotonic() >= until:
            os.kill(found[rank], KINDS[kind])
            return found
        time.sleep(0.02)
    return {}


def wait_for_watch(process: subprocess.Popen[str], others: list[int]) -> float:
    """Wait until a rank has loaded MPI: while all import Python's modules, none watches."""
    while process.poll() is None:
        for pid in others:
            try:
                if "libmpi" in Path(f"/proc/{pid}/maps").read_text():
                    return time.monotonic()
            except OSError:
                continue
        time.sleep(0.02)
    return time.monotonic()


def saved_at(folder: Path) -> float:
    """Return the time of the checkpoint."""
    last = folder / "run" / "last.safetensors"
    return last.stat().st_mtime if last.exists() else 0.0


def run(times: int, folder: Path, seed: int) -> str:
    """Lose a rank `times` times."""
    if ranks.MPIRUN is None or find_spec("mpi4py") is None:
        return "left out: mpi4py or mpirun is missing (pip install '.[mpi]')"
    choose, last = random.Random(seed), folder / "run" / "last.safetensors"
    length = 6.0
    if times > SHORT:
        began = time.monotonic()
        finish(2, folder)
        length = min(time.monotonic() - began, 20)  # on a busy machine, most of it is the start
        shutil.rmtree(last.parent)
    slowest: dict[str, float] = dict.fromkeys(KINDS, 0.0)
    lost: Counter[str] = Counter()
    starting = loaded = 0
    while lost.total() < times:
        kind = list(KINDS)[lost.total() % len(KINDS)]
        count = choose.choice([2, 2, 4]) if times > SHORT else 2
        victim, after = choose.randrange(count), choose.uniform(0, length)
        steps, process = steps_of(folder), start(count, folder)
        found = lose(process, kind, victim, after, folder)
        began = time.monotonic()
        if kind == "stopped":
            others = ranks.pids(process.pid)
            others.pop(victim, None)
            began = wait_for_watch(process, list(others.values()))
        try:
            output, _ = process.communicate(timeout=60)
        finally:
            left = [pid for pid in (*found.values(), process.pid) if ranks.alive(pid)]
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        what = f"{kind} rank {victim} of {count} after {after:.2f} s: {output}"
        assert not left, f"left over: {what}"
        if process.returncode == 0:  # it had come to its end
            shutil.rmtree(last.parent)
            continue
        seconds = time.monotonic() - began
        print(f"{kind}, rank {victim} of {count}, after {after:.1f} s: {seconds:.1f} s", flush=True)
        slowest[kind] = max(slowest[kind], seconds)
        lost[kind] += 1
        # On a busy machine, mpirun may tell of a rank killed at its start by its status alone.
        told = kind == "killed" and process.returncode == 128 + signal.SIGKILL
        assert told or f"rank {victim}" in output, what
        assert seconds < LIMIT, f"{seconds:.1f} seconds: {what}"
        starting += steps_of(folder) == steps
        if last.exists():
            minidl.load(last, weights_only=False)
            loaded += 1
    finish(2, folder)
    figures = ", ".join(f"{n} {kind} (at most {slowest[kind]:.1f} s)" for kind, n in lost.items())
    return f"{figures}; {starting} before a step was saved; {loaded} checkpoints loaded"


def finish(count: int, folder: Path) -> None:
    """Run to the end."""
    process = start(count, folder)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output


def steps_of(folder: Path) -> int:
    """Return the number of steps in the checkpoint."""
    last = folder / "run" / "last.safetensors"
    return minidl.load(last, weights_only=False)["progress"][2] if last.exists() else 0
