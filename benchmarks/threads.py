"""How a training step scales with threads: the bound by its pieces, and what is measured.

    python benchmarks/threads.py                       (paper and torchvision, batch 128)
    python benchmarks/threads.py --batch 32 --variant paper --threads 4

minidl cuts the work of each kernel into a fixed number of pieces, which threads take in turn. Here
one thread runs all of them, and each is timed (the fastest of the rounds). Then they are scheduled
on T threads: a thread that is free takes the next piece, all wait for the last one, and what runs
outside of pieces takes its time once. The result is a bound, as if threads cost nothing and shared
no memory's bandwidth.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

from harness import Entry, Report, Settings, Team, Work, table
from publish import main
from train_step import VARIANTS
from train_step import make as make_step

#: Numbers of threads whose bound the table shows.
THREADS = (2, 4, 6, 8, 16, 32, 64)

#: The pieces of a step: for each call of ``parallel``, its kernel and the seconds of its pieces.
Calls = list[tuple[str, list[float]]]


@contextmanager
def recorded(calls: Calls) -> Iterator[None]:
    """Add the calls of ``parallel`` to `calls`; minidl must have one thread."""
    from minidl.kernels.cpu import lanes

    def drain(job: Any) -> None:
        if lanes._here.in_lane:  # its time belongs to the piece around it
            return original(job)
        name = job.task.__qualname__.removesuffix(".<locals>." + job.task.__name__)
        seconds: list[float] = []
        calls.append((f"{job.task.__module__.removeprefix('minidl.kernels.cpu.')}.{name}", seconds))
        job.remaining = iter(list(job.remaining))
        job.task = _timed(job.task, seconds)
        return original(job)

    original = lanes._Job.drain
    with mock.patch.object(lanes._Job, "drain", drain):
        yield


def _timed(task: Callable[[Any], None], seconds: list[float]) -> Callable[[Any], None]:
    def run(piece: Any) -> None:
        start = time.perf_counter()
        task(piece)
        seconds.append(time.perf_counter() - start)

    return run


def scheduled(pieces: Sequence[float], threads: int) -> float:
    """Return when the last of the pieces ends if free threads take them in turn."""
    free = [0.0] * min(threads, len(pieces))
    for seconds in pieces:
        heapq.heapreplace(free, free[0] + seconds)
    return max(free, default=0.0)


def bound(total: float, calls: Iterable[Sequence[float]], threads: int) -> float:
    """Return how many times as fast a step of `total` seconds can be at most."""
    calls = list(calls)
    outside = total - sum(map(sum, calls))
    return total / (outside + sum(scheduled(pieces, threads) for pieces in calls))


def make(contender: str, variant: str, count: int) -> Work:
    """Prepare steps whose facts are the pieces; see :class:`harness.Work`."""
    import minidl

    work = make_step(contender, variant, count)
    threads = minidl.get_num_threads()
    rounds: list[tuple[float, Calls]] = []

    def record() -> None:
        calls: Calls = []
        minidl.set_num_threads(1)
        with recorded(calls):
            start = time.perf_counter()
            for phase in work.phases.values():
                phase()
            rounds.append((time.perf_counter() - start, calls))
        minidl.set_num_threads(threads)

    for _ in range(4):
        record()
    best = [
        (
            name,
            [min(times) for times in zip(*(calls[k][1] for _, calls in rounds[1:]), strict=True)],
        )
        for k, (name, _) in enumerate(rounds[-1][1])
    ]
    outside = min(total - sum(sum(pieces) for _, pieces in calls) for total, calls in rounds[1:])
    return Work(work.phases, facts={"outside": outside, "calls": best})


def measure(settings: Settings) -> Report:
    """Return the bounds, the calls that hold most threads back, and the measured speedup."""
    report = Report("Threads (training step)", [])
    for variant in settings.variants or VARIANTS[::2]:
        for count in settings.counts((128, 32), (128,), (4,)):
            _one(settings, variant, count, report)
    return report


def _one(settings: Settings, variant: str, count: int, report: Report) -> None:
    entry = Entry("threads", "minidl", {"variant": variant, "count": count})
    seconds = {}
    for threads in sorted({1, settings.threads}):
        with Team(replace(settings, threads=threads)) as team:
            facts = team.facts("minidl", entry)
            seconds[threads] = team.compete({"minidl": entry}, 1)["minidl"].seconds()
    calls = facts["calls"]
    total = facts["outside"] + sum(sum(pieces) for _, pieces in calls)
    times = [pieces for _, pieces in calls]
    few = sum(len(pieces) <= 8 for pieces in times)
    title = f"{variant}, batch {count}"
    report.notes.append(
        f"{title}: {len(calls)} calls of `parallel`, {few} of at most 8 pieces; "
        f"{facts['outside'] / total:.1%} of {total * 1e3:.0f} ms outside of pieces; measured at "
        + ", ".join(f"{t}: {seconds[1] / s:.2f}×" for t, s in seconds.items())
    )
    bounds = {threads: bound(total, times, threads) for threads in THREADS}
    report.tables.append(
        table(
            (f"{title}, threads", *map(str, THREADS)),
            [["at most", *(f"{b:.1f}×" for b in bounds.values())]],
        )
    )
    lost = sorted(
        ((scheduled(pieces, 16) - sum(pieces) / 16, name, pieces) for name, pieces in calls),
        reverse=True,
    )
    report.tables.append(
        table(
            (f"{title}, lost at 16 threads", "pieces", "ms in all", "ms lost"),
            [
                [name, str(len(pieces)), f"{sum(pieces) * 1e3:.1f}", f"{waste * 1e3:.1f}"]
                for waste, name, pieces in lost[:12]
            ],
        )
    )
    for threads, aim in ((4, 3.7), (8, 6.8), (16, 11)):
        if variant == "paper" and count == 128:
            figure = f"{bounds[threads]:.1f}×"
            report.figures.append((f"step's bound at {threads} threads", figure, f"≥ {aim}×"))
    report.data[title] = {"outside": facts["outside"], "calls": calls, "seconds": seconds}


if __name__ == "__main__":
    main(measure, __doc__)
