"""A loader's workers are killed or stopped at random moments, or their parent is killed.

Each time there must be an error within ten seconds that names the worker, correct batches until
then, a loader that can be used again, and no process, descriptor or shared memory left over.
"""

from __future__ import annotations

import gc
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from minidl.data import DataLoader, Dataset, sample_stream
from minidl.errors import DataError

TIMES, SHORT = 100, 3

#: Seconds within which a loss must be noticed.
LIMIT = 10.0

ROOT = Path(__file__).resolve().parents[2]


class Noise(Dataset):
    """Random bytes that take a random time to make."""

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        rng = sample_stream()
        time.sleep(rng.random() * 0.003)
        return rng.integers(0, 256, 30_000, np.uint8), index

    def __len__(self) -> int:
        return 48


def make(workers: int, timeout: float, persistent: bool) -> DataLoader:
    return DataLoader(
        Noise(),
        8,
        shuffle=True,
        num_workers=workers,
        timeout=timeout,
        persistent_workers=persistent,
    )


def contents(batch: Any) -> tuple[bytes, list[int]]:
    return batch[0].numpy().tobytes(), batch[1].tolist()


def children(parent: int) -> list[int]:
    """Return the running processes that `parent` has started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, above = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(above) == parent and state not in "ZX":
                found.append(int(folder.name))
    return found


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def held() -> tuple[list[str], list[str]]:
    """Return this process's open descriptors, and the names in shared memory."""
    gc.collect()
    links = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except OSError:
            continue  # the listing's own descriptor
    links = sorted(name for name in links if not name.startswith("/proc"))
    shared = (name for name in os.listdir("/dev/shm") if not name.startswith("sm_segment"))
    return links, sorted(shared)  # without Open MPI's, of other tests


def left_behind(before: tuple[list[str], list[str]]) -> tuple[Counter[str], Counter[str]]:
    """Return descriptors and shared memory that were not there before.

    All processes of the machine use shared memory, so wait for other processes' blocks to vanish.
    """
    start = time.monotonic()
    while True:
        links, shared = (Counter(a) - Counter(b) for a, b in zip(held(), before, strict=True))
        if not (links or shared) or time.monotonic() - start > LIMIT:
            return links, shared
        time.sleep(0.05)


class Shot(threading.Thread):
    """Sends a signal to a random worker after a random time."""

    def __init__(self, number: int, rng: random.Random, others: list[int]) -> None:
        super().__init__()
        self.number, self.choice, self.delay = number, rng.random(), rng.random() * 0.3
        self.others = others
        self.pid, self.instant = 0, 0.0

    def run(self) -> None:
        time.sleep(self.delay)
        while not self.pid:
            pids = sorted(set(children(os.getpid())) - set(self.others))
            if pids:
                pid = pids[int(self.choice * len(pids))]
                try:
                    os.kill(pid, self.number)
                except ProcessLookupError:
                    continue
                self.pid, self.instant = pid, time.monotonic()


def lose_a_worker(rng: random.Random, number: int, timeout: float, expected: list[Any]) -> float:
    """Return the seconds from the signal to the error."""
    before = held()
    persistent = rng.random() < 0.5
    loader = make(rng.choice([1, 2, 4]), timeout, persistent)
    shot = Shot(number, rng, children(os.getpid()))
    shot.start()
    took = whole = 0
    seconds = 0.0
    try:
        while whole < 3:  # a worker that dies after its last batch causes no error
            loader.set_epoch(0)
            took = 0
            for batch in loader:
                assert contents(batch) == expected[took], f"batch {took} is wrong"
                took += 1
            assert took == len(expected), f"an epoch of {took} batches"
            whole += bool(shot.pid)
        assert not persistent, f"worker {shot.pid}, signal {number}: no error"
    except DataError as error:
        shot.join()
        seconds = time.monotonic() - shot.instant
        named = re.search(r"worker \d+ \(pid (\d+)\)", str(error))
        assert named is not None and int(named[1]) == shot.pid, f"{error}, but shot {shot.pid}"
        assert seconds <= LIMIT, f"noticed after {seconds:.1f} s: {error}"
    shot.join()
    loader.set_epoch(0)
    assert [contents(batch) for batch in loader] == expected, "the batches afterwards differ"
    batch = None  # frees the last batch's memory
    del loader
    assert not any(left := left_behind(before)), f"left behind: {left}"
    assert not runs(shot.pid), f"worker {shot.pid} still runs"
    return seconds


def lose_the_parent(rng: random.Random) -> float:
    """Return the seconds from the parent's death to that of its workers."""
    before = held()
    arguments = [sys.executable, __file__, str(rng.choice([1, 2, 4]))]
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(rng.random() * 0.3)
        workers = children(process.pid)
        if workers and rng.random() < 0.3:
            os.kill(rng.choice(workers), signal.SIGSTOP)
        process.kill()
        start = time.monotonic()
    while any(runs(pid) for pid in workers):
        assert time.monotonic() - start <= LIMIT, f"of {workers}, some live on"
        time.sleep(0.005)
    seconds = time.monotonic() - start
    assert not any(left := left_behind(before)), f"left behind: {left}"
    return seconds


def run(times: int, folder: Path, seed: int) -> str:
    """Run the trial; see the module's docstring."""
    rng = random.Random(seed)
    expected = [contents(batch) for batch in make(0, 0, False)]
    # The loader's default timeout of 8 seconds is too long for a short form.
    timeout = 1 if times <= SHORT else 0
    longest = {"killed": 0.0, "stopped": 0.0, "parent killed": 0.0}
    for number in range(times):
        kind = list(longest)[number % 3]
        if kind == "parent killed":
            seconds = lose_the_parent(rng)
        else:
            signum = signal.SIGKILL if kind == "killed" else signal.SIGSTOP
            seconds = lose_a_worker(rng, signum, timeout, expected)
        longest[kind] = max(longest[kind], seconds)
    return f"{times} times, longest until noticed: " + ", ".join(
        f"{kind} {seconds:.2f} s" for kind, seconds in longest.items()
    )


def consume(workers: int) -> None:
    """Iterate forever: the parent process that is killed."""
    loader = make(workers, 0, True)
    print("ready", flush=True)
    while True:
        for _ in loader:
            pass


if __name__ == "__main__":
    consume(int(sys.argv[1]))
