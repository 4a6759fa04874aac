"""Peak resident memory of training steps of the paper's network at batch 128, in fresh processes.

A process reports its memory three times: as a bare interpreter, with the library imported, and at
the peak of three steps. The main result is the peak minus the bare interpreter. The table also
shows the peak minus interpreter and library, which excludes the library's own code.
"""

from __future__ import annotations

import re
import statistics
import sys
from typing import Any

from harness import (
    EAGER,
    Entry,
    Report,
    Settings,
    Team,
    Work,
    available,
    library,
    progress,
    table,
)
from publish import main


def make(contender: str, variant: str, count: int, steps: int) -> Work:
    interpreter = peak()
    library(contender)
    imported = peak()
    import train_step

    work = train_step.make(contender, variant, count)
    work.time(steps)
    work.facts |= {"interpreter": interpreter, "imported": imported, "peak": peak()}
    return work


def peak() -> int:
    """Return the highest resident memory of this process so far, in bytes."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            found = re.search(r"VmHWM:\s*(\d+) kB", file.read())
        if found:
            return 1024 * int(found.group(1))
    except OSError:
        pass
    # On other systems. (On Linux it would include the process that this one was forked from.)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(settings: Settings) -> Report:
    """Start each contender several times, in turn."""
    torch, notes = available(settings, EAGER)
    variant = settings.pick("paper", "paper", "80sec")
    count = settings.counts((128,), (128,), (2,))[0]
    report = Report(f"Memory of a training step ({variant}, batch {count})", notes)
    options = {"variant": variant, "count": count, "steps": settings.pick(3, 2, 1)}
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("minidl", *torch)}
    for _ in range(settings.pick(3, 1, 1)):
        for name, runs in found.items():
            progress(f"memory of {name}")
            with Team(settings) as team:
                runs.append(team.facts(name, Entry("memory", name, options)))
    progress("")

    def above(name: str, start: str) -> float:
        return statistics.median(run["peak"] - run[start] for run in found[name])

    rows = []
    for name in found:
        whole, without_library = above(name, "interpreter"), above(name, "imported")
        rows.append(
            [
                name,
                *(f"{size / 2**20:.0f}" for size in (whole, without_library)),
                f"{above('minidl', 'interpreter') / whole:.2f}",
                f"{above('minidl', 'imported') / without_library:.2f}",
            ]
        )
    header = ("contender", "peak MiB", "without the library's code", "minidl takes", "without code")
    report.tables.append(table(header, rows))
    if torch:
        best = min(above(name, "interpreter") for name in torch)
        ratio = above("minidl", "interpreter") / best
        what = f"peak memory of a step, {variant}, batch {count}: of PyTorch's smaller"
        report.figures.append((what, f"{ratio:.2f}×", "≤ 0.55×" if count == 128 else ""))
    report.data = dict(found)
    return report


if __name__ == "__main__":
    main(measure, __doc__)
