"""minidl.training.progress: an epoch's progress bar and speed."""

from __future__ import annotations

import threading
import time

import pytest

from minidl.training.progress import Bar, Progress


def test_speed_counts_samples_since_the_resume(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    with Progress([10, 20], "epoch 7", total=5, done=3) as batches:
        for batch in batches:
            now += 2
            batches.update(batch)
        batches.show("loss 0.5")
    assert (batches.samples, batches.speed, batches.waiting.share) == (30, 7.5, 0)
    said = capsys.readouterr().err
    assert "epoch 7" in said and "3/5" in said and "5/5" in said and "loss 0.5" in said


def test_starts_no_thread_that_outlives_the_bar(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with Progress([1], "epoch 1", total=1) as batches:
        assert list(batches) == list(Bar([1], "files")) == [1]
        assert threading.active_count() == before
    assert "files: 100%" in capsys.readouterr().err


def test_closes_its_bar_after_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), Progress([1], "epoch 1", total=1):
        raise ZeroDivisionError
    assert capsys.readouterr().err.endswith("\n")
