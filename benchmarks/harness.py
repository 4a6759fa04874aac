"""Contests: contenders that do the same work turn by turn, each in a process of its own.

A contender's process (``worker.py``) imports one library, prepares its work and waits. A round
asks one contender after the other to do the work and to answer with the seconds that it took,
forwards in even rounds and backwards in odd ones, so that whatever else the machine does meanwhile
meets all of them alike. A result is the median of the rounds, with the fastest and the slowest.

What is measured, and what it costs in theory, is the business of the scripts beside this file. Each
has ``make(contender, **options) -> Work`` for the processes and ``measure(settings) -> Report`` for
the table. This file imports the standard library alone: a process's memory is measured too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

#: Seconds between two turns: OpenMP's and OpenBLAS's threads spin for a while after their work.
PAUSE = 0.2

#: Environment variables that decide how many threads a library starts.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

#: The contenders of PyTorch, as words: "torch" alone is eager in the default memory layout.
EAGER = ("torch", "torch channels_last")
COMPILED = ("torch compile", "torch channels_last compile")


@dataclass(frozen=True)
class Settings:
    """What the command line says.

    `size` is "full", "quick" or "smoke": the last does as little as possible, to see that it runs.
    """

    threads: int = 2
    size: str = "full"
    rounds: int = 0  # 0: as `size` says
    without: tuple[str, ...] = ()
    env_unset: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    variants: tuple[str, ...] = ()
    device: str = "cpu"

    def pick(self, full: Any, quick: Any, smoke: Any) -> Any:
        """Choose by `size`."""
        return {"full": full, "quick": quick, "smoke": smoke}[self.size]

    def counts(self, full: Any, quick: Any, smoke: Any) -> tuple[int, ...]:
        """Return the sizes of batches: those of the command line, else by `size`."""
        return self.batches or self.pick(full, quick, smoke)

    @property
    def round_count(self) -> int:
        """Rounds of a contest."""
        return self.rounds or self.pick(5, 3, 1)


# --- In a contender's process ---------------------------------------------------------------------


@dataclass
class Work:
    """What a contender does in a round.

    `phases` are called in this order and timed; `before` is called first, untimed. `facts` are
    sent along once: counts and versions.
    """

    phases: Mapping[str, Callable[[], Any]]
    before: Callable[[], Any] | None = None
    facts: dict[str, Any] = field(default_factory=dict)

    def time(self, repeat: int) -> dict[str, float]:
        """Return the mean seconds of each phase."""
        totals = dict.fromkeys(self.phases, 0.0)
        clock = time.perf_counter
        for _ in range(repeat):
            if self.before is not None:
                self.before()
            for name, phase in self.phases.items():
                start = clock()
                phase()
                totals[name] += clock() - start
        return {name: total / repeat for name, total in totals.items()}


def library(contender: str) -> Any:
    """Import the library of a contender and set its threads. Both have one API: PyTorch's."""
    threads = int(os.environ["BENCHMARK_THREADS"])
    if contender == "minidl":
        import minidl

        minidl.set_num_threads(threads)
        return minidl
    import torch

    torch.set_num_threads(threads)
    return torch


# --- In the process that asks ---------------------------------------------------------------------


class ContenderError(RuntimeError):
    """A contender's process failed; the message is its traceback."""


class Worker:
    """A contender's process."""

    def __init__(self, settings: Settings) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in settings.env_unset}
        threads = str(settings.threads)
        environment |= dict.fromkeys((*THREAD_VARIABLES, "BENCHMARK_THREADS"), threads)
        paths = [str(HERE.parent), *filter(None, [environment.get("PYTHONPATH")])]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, **question: Any) -> dict[str, Any]:
        """Send a question and wait for the answer."""
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):  # it has died: the missing answer says so
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            raise ContenderError(f"the process ended with status {status} (out of memory?)")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ContenderError(answer["error"])
        return answer

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin and self.process.stdout
        with contextlib.suppress(BrokenPipeError):  # it may have died
            self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@dataclass(frozen=True)
class Entry:
    """A contender, the script that knows its work, and the arguments of the script's `make`."""

    script: str
    contender: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Result:
    """The seconds of every round, by phase, and the facts of the work."""

    rounds: list[dict[str, float]]
    facts: dict[str, Any]

    def times(self, phase: str | None = None) -> list[float]:
        """Seconds of each round, of one phase or of all together."""
        return [sum(r.values()) if phase is None else r[phase] for r in self.rounds]

    def seconds(self, phase: str | None = None) -> float:
        """Return the median of the rounds."""
        return statistics.median(self.times(phase))

    def spread(self) -> float:
        """Return the slowest minus the fastest round, as a share of the median."""
        return (max(self.times()) - min(self.times())) / self.seconds()

    def as_json(self) -> dict[str, Any]:
        """Return what is kept on disk."""
        return {"seconds": self.rounds, "facts": self.facts}


class Team:
    """The contenders' processes: one for each name, for as long as the ``with`` block lasts."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.workers: dict[str, Worker] = {}
        self.notes: list[str] = []

    def __enter__(self) -> Team:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in self.workers.values():
            worker.close()

    def facts(self, name: str, entry: Entry, warm_up: int = 0) -> dict[str, Any]:
        """Let a contender prepare its work and do it some times; return the facts."""
        if name not in self.workers:
            self.workers[name] = Worker(self.settings)
        return self.workers[name].ask(
            script=entry.script,
            contender=entry.contender,
            options=dict(entry.options),
            warm_up=warm_up,
        )

    def compete(
        self, entries: Mapping[str, Entry], repeat: int = 1, warm_up: int = 2
    ) -> dict[str, Result]:
        """Let contenders do their work round by round.

        Parameters
        ----------
        entries : mapping of str to Entry
            By the name of the process, which is kept for the next contest.
        repeat : int
            How often a contender does its work in a round.
        warm_up : int
            How often before the first round.

        Returns
        -------
        dict
            The results by name. A contender of PyTorch's that fails is left out, and `notes` says
            why.
        """
        results: dict[str, Result] = {}
        for name, entry in entries.items():
            progress(f"preparing {name}")
            try:
                facts = self.facts(name, entry, warm_up)
            except ContenderError as error:
                if not entry.contender.startswith("torch"):
                    raise
                reason = str(error).strip().splitlines()[-1]
                self.notes.append(f"{name} is left out, since it failed: {reason}")
                continue
            results[name] = Result([], facts)
        for number in range(self.settings.round_count):
            order = list(results) if number % 2 == 0 else list(reversed(results))
            for name in order:
                progress(f"round {number + 1} of {self.settings.round_count}: {name}")
                time.sleep(0 if self.settings.size == "smoke" else PAUSE)
                results[name].rounds.append(self.workers[name].ask(repeat=repeat))
        progress("")
        return results


def torch_contenders(settings: Settings, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return those of PyTorch's contenders that can run here, and notes on those that cannot."""
    if "torch" in settings.without:
        return [], ["PyTorch is left out, as the command line asks."]
    if importlib.util.find_spec("torch") is None:
        return [], ["PyTorch is left out: it is not installed (pip install 'minidl[bench]')."]
    return [name for name in names if not set(name.split()) & set(settings.without)], []


def progress(text: str) -> None:
    """Show on a terminal what is going on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


# --- Reports --------------------------------------------------------------------------------------


@dataclass
class Report:
    """What a script found.

    `figures` are lines of the summary: what was measured, the value, and what it should be.
    `data` is everything measured, for the JSON file.
    """

    title: str
    notes: list[str] = field(default_factory=list)
    tables: list[str] = field(default_factory=list)
    figures: list[tuple[str, str, str]] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """Return the report as a section of Markdown."""
        return "\n\n".join([f"## {self.title}", *self.notes, *self.tables])


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text: int = 1) -> str:
    """Return a table of Markdown: `text` columns to the left, the numbers behind to the right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    rule = [
        "-" * width if column < text else "-" * (width - 1) + ":"
        for column, width in enumerate(widths)
    ]
    aligned = [
        [
            cell.ljust(width) if column < text else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in [lines[0], rule, *lines[1:]]
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)


def milliseconds(result: Result, phase: str | None = None) -> str:
    """Return the median, as "12.3"."""
    return f"{1000 * result.seconds(phase):.4g}"


def fastest(results: Mapping[str, Result], names: Iterable[str]) -> str | None:
    """Return the name with the smallest median among those that have a result."""
    return min(
        (name for name in names if name in results),
        key=lambda name: results[name].seconds(),
        default=None,
    )


def parse(description: str | None, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line that all scripts share."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n\n")[0])
    parser.add_argument("--threads", type=int, default=2, help="of every contender (default 2)")
    parser.add_argument("--rounds", type=int, default=0, help="default: 5, with --quick 3")
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[], help="instead of each script's own"
    )
    parser.add_argument("--variant", nargs="+", default=[], help="networks of a training step")
    parser.add_argument(
        "--device", choices=("cpu", "gpu", "gpu-simulated"), default="cpu",
        help="of a training step (default cpu; gpu-simulated: only see that it runs)",
    )  # fmt: skip
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a short form")
    size.add_argument("--smoke", action="store_true", help="only see that everything runs")
    parser.add_argument(
        "--without", nargs="+", default=[], choices=("torch", "channels_last", "compile"),
        help="leave out PyTorch, one memory layout, or torch.compile",
    )  # fmt: skip
    parser.add_argument(
        "--env-unset", action="append", default=[], metavar="NAME",
        help="take a variable out of the contenders' environment; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--name", help="of the files in benchmarks/results (default: processor and threads)"
    )
    parser.add_argument(
        "--results", type=Path, default=HERE / "results", metavar="DIR", help="where to write"
    )
    return parser.parse_args(argv)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return what the command line says about the contests."""
    size = "quick" if arguments.quick else "smoke" if arguments.smoke else "full"
    return Settings(
        threads=arguments.threads,
        size=size,
        rounds=arguments.rounds,
        without=tuple(arguments.without),
        env_unset=tuple(arguments.env_unset),
        batches=tuple(arguments.batch),
        variants=tuple(arguments.variant),
        device=arguments.device,
    )
