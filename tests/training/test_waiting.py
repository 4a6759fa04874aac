"""minidl.training.waiting: the time spent waiting for data."""

from __future__ import annotations

import time

import pytest

from minidl.training.waiting import Waiting


def test_waiting_counts_only_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    waiting = Waiting(passes(3) for _ in range(2))
    for _ in waiting:
        passes(1)
    assert (waiting.seconds, waiting.elapsed, waiting.share) == (6, 8, 0.75)
