"""Data sets and programs for tests of a loader's worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

from programs import ROOT

from minidl.data import Dataset


class Calls(Dataset):
    """Sample i: what ``call(i)`` returns in the worker."""

    def __init__(self, call: Callable[[int], Any], count: int = 6) -> None:
        self.call, self.count = call, count

    def __getitem__(self, index: int) -> Any:
        return self.call(index)

    def __len__(self) -> int:
        return self.count


def at(place: int, call: Callable[[], Any]) -> Calls:
    """Calls ``call`` for one index and returns the others' process."""
    return Calls(lambda index: os.getpid() if index != place else call() or 0)


def run_program(text: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        **more,
    )


def output_of(text: str) -> str:
    """Return the output of a program, which must not hang and must end without errors."""
    with run_program(text, stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (0, "")
    return out
