"""benchmarks/threads.py: the bound on a step's speedup by its pieces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import threads

    return threads


def test_free_threads_take_the_next_piece(threads: Any) -> None:
    assert threads.scheduled([3, 1, 1, 1], 1) == 6
    assert threads.scheduled([3, 1, 1, 1], 2) == 3
    assert threads.scheduled([1, 1, 1, 3], 2) == 4  # the longest piece came last
    assert threads.scheduled([1, 1, 1, 3], 9) == 3
    assert threads.scheduled([], 4) == 0


def test_work_outside_of_pieces_is_done_once(threads: Any) -> None:
    assert threads.bound(10, [[4, 4]], 2) == 10 / (2 + 4)
    assert threads.bound(10, [[4, 4]], 64) == 10 / (2 + 4)
    assert threads.bound(10, [[4, 4], [1, 1]], 2) == 2


def test_records_the_pieces_of_a_step(threads: Any) -> None:
    result = subprocess.run(
        [sys.executable, str(BENCHMARKS / "threads.py"), "--smoke", "--variant", "80sec"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "80sec, batch 4, threads" in result.stdout
    assert "columns.weight_gradient" in result.stdout and "1: 1.00×" in result.stdout
