"""Contests: contenders do the same work in turn, each in its own process.

A contender's process (``worker.py``) imports one library, prepares its work and waits. In each
round the contenders do the work one after another and report the seconds that it took. The order
is reversed in every other round, so other load on the machine affects all of them alike. A result
is the median of the rounds, with the fastest and the slowest.

The scripts in this folder define the work and its theoretical cost. Each has ``make(contender,
**options) -> Work`` for the processes and ``measure(settings) -> Report`` for the table. This file
imports only the standard library, because a process's memory is measured, too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
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

#: Seconds between two turns: OpenMP and OpenBLAS threads spin for a while after their work.
PAUSE = 0.2

#: Environment variables that set a library's number of threads.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

#: PyTorch's contenders: "torch" alone is eager mode in the default memory layout.
EAGER = ("torch", "torch channels_last")
COMPILED = ("torch compile", "torch channels_last compile")

#: Under ``torch.autocast(dtype=bfloat16)``: factors have 8 bits of mantissa instead of 24.
BFLOAT16 = ("torch bfloat16", "torch channels_last bfloat16")

#: Optional libraries, by the first word of their contenders' names. The modules ``peer_*`` know
#: how those without PyTorch's API do the work.
PEERS = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime", "jax": "JAX"}


@dataclass(frozen=True)
class Settings:
    """The options of the command line.

    `size` is "full", "quick" or "smoke"; the last does as little as possible, as a check.
    """

    threads: int = 2
    size: str = "full"
    rounds: int = 0  # 0: the default for `size`
    without: tuple[str, ...] = ()
    env_unset: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    variants: tuple[str, ...] = ()
    device: str = "cpu"

    def pick(self, full: Any, quick: Any, smoke: Any) -> Any:
        """Choose by `size`."""
        return {"full": full, "quick": quick, "smoke": smoke}[self.size]

    def counts(self, full: Any, quick: Any, smoke: Any) -> tuple[int, ...]:
        """Return the batch sizes from the command line, or by `size`."""
        return self.batches or self.pick(full, quick, smoke)

    @property
    def round_count(self) -> int:
        """Number of rounds in a contest."""
        return self.rounds or self.pick(5, 3, 1)


# --- In a contender's process ---------------------------------------------------------------------


@dataclass
class Work:
    """A contender's work in a round.

    `phases` are called in this order and timed; `before` is called first, untimed. `facts`,
    such as counts and versions, are sent once.
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


def peer(contender: str) -> Any:
    """Return the module ``peer_*`` of a contender without PyTorch's API, or None."""
    name = contender.split()[0]
    return importlib.import_module(f"peer_{name}") if name in ("onnxruntime", "jax") else None


def autocast(lib: Any, contender: str) -> Any:
    """Return the context of a contender's forward pass.

    Raises
    ------
    RuntimeError
        The contender computes in bfloat16 and the processor can't: it would take many times as long
        as in float32.
    """
    if "bfloat16" not in contender:
        return contextlib.nullcontext()
    if not lib.ops.mkldnn._is_mkldnn_bf16_supported():
        raise RuntimeError("this processor does not compute in bfloat16")
    return lib.autocast("cpu", dtype=lib.bfloat16)


def library(contender: str) -> Any:
    """Import a contender's library and set its threads. Both have PyTorch's API."""
    threads = int(os.environ["BENCHMARK_THREADS"])
    if contender == "minidl":
        import minidl

        minidl.set_num_threads(threads)
        return minidl
    import torch

    torch.set_num_threads(threads)
    return torch


# --- In the main process --------------------------------------------------------------------------


class ContenderError(RuntimeError):
    """A contender's process has failed; the message is its traceback."""


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
        with contextlib.suppress(
            BrokenPipeError
        ):  # it has died; the missing answer is reported below
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
        """End the process."""
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
        """Return the seconds of each round, for one phase or for all together."""
        return [sum(r.values()) if phase is None else r[phase] for r in self.rounds]

    def seconds(self, phase: str | None = None) -> float:
        """Return the median of the rounds."""
        return statistics.median(self.times(phase))

    def spread(self) -> float:
        """Return the slowest minus the fastest round, as a fraction of the median."""
        return (max(self.times()) - min(self.times())) / self.seconds()

    def as_json(self) -> dict[str, Any]:
        """Return the result for the JSON file."""
        return {"seconds": self.rounds, "facts": self.facts}


class Team:
    """The contenders' processes: one for each name, inside a ``with`` block."""

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
        """Let a contender prepare its work and warm up; return the facts."""
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
        """Let the contenders do their work round by round.

        Parameters
        ----------
        entries : mapping of str to Entry
            By the name of the process, which is kept for the next contest.
        repeat : int
            Number of times that a contender does its work in a round.
        warm_up : int
            Number of times before the first round.

        Returns
        -------
        dict
            The results by name. Optional contenders that fail are omitted, and `notes` says
            why.
        """
        results: dict[str, Result] = {}
        for name, entry in entries.items():
            progress(f"preparing {name}")
            try:
                facts = self.facts(name, entry, warm_up)
            except ContenderError as error:
                if entry.contender.split()[0] not in PEERS:
                    raise
                reason = str(error).strip().splitlines()[-1]
                self.notes.append(f"{name} is omitted because it failed: {reason}")
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


def available(settings: Settings, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the optional contenders that can run here, and notes on the libraries that cannot."""
    found, notes = [], []
    for package in dict.fromkeys(name.split()[0] for name in names):
        if package in settings.without:
            notes.append(f"{PEERS[package]} is omitted, as requested on the command line.")
        elif importlib.util.find_spec(package) is None:
            notes.append(
                f"{PEERS[package]} is omitted: it is not installed (pip install 'minidl[bench]')."
            )
        else:
            found.append(package)
    without = set(settings.without)
    return [
        name for name in names if name.split()[0] in found and not without & set(name.split())
    ], notes


def progress(text: str) -> None:
    """Show progress on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


# --- Reports --------------------------------------------------------------------------------------


@dataclass
class Report:
    """A script's result.

    `figures` are lines of the summary: the quantity, its value, and the target.
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
    """Return a Markdown table: the first `text` columns left-aligned, the others right-aligned."""
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
    """Return the median, as "12.3"; "" for a phase that the contender does not tell apart."""
    if phase is not None and phase not in result.rounds[0]:
        return ""
    return f"{1000 * result.seconds(phase):.4g}"


def fastest(results: Mapping[str, Result], names: Iterable[str]) -> str | None:
    """Return the name with the smallest median among those with a result."""
    return min(
        (name for name in names if name in results),
        key=lambda name: results[name].seconds(),
        default=None,
    )


def parse(description: str | None, argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line that all scripts share."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n\n")[0])
    parser.add_argument(
        "--threads", type=int, default=2, help="threads of every contender (default 2)"
    )
    parser.add_argument("--rounds", type=int, default=0, help="default: 5, with --quick 3")
    parser.add_argument(
        "--batch", type=int, nargs="+", default=[], help="batch sizes, instead of each script's own"
    )
    parser.add_argument("--variant", nargs="+", default=[], help="networks of a training step")
    parser.add_argument(
        "--device", choices=("cpu", "gpu", "gpu-simulated"), default="cpu",
        help="of a training step (default cpu; gpu-simulated: only see that it runs)",
    )  # fmt: skip
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a short version")
    size.add_argument("--smoke", action="store_true", help="only check that everything runs")
    parser.add_argument(
        "--without", nargs="+", default=[],
        choices=(*PEERS, "channels_last", "compile", "bfloat16"),
        help="leave out a library, or PyTorch in one memory layout, compiled, or in bfloat16",
    )  # fmt: skip
    parser.add_argument(
        "--env-unset", action="append", default=[], metavar="NAME",
        help="remove a variable from the contenders' environment; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--name", help="of the files in benchmarks/results (default: processor and threads)"
    )
    parser.add_argument(
        "--results", type=Path, default=HERE / "results", metavar="DIR", help="where to write"
    )
    return parser.parse_args(argv)


def settings_of(arguments: argparse.Namespace) -> Settings:
    """Return the settings from the command line."""
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
