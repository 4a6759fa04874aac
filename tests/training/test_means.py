"""minidl.training.means: running means that are seldom read."""

from __future__ import annotations

import numpy as np

import minidl
from minidl.training.means import RunningMeans


def test_running_means_are_weighted_and_resume(device: str) -> None:
    numbers = [(1.0, 3), (4.0, 1), (2.0, 4)]
    whole, first, second = RunningMeans(), RunningMeans(), RunningMeans()
    for value, weight in numbers:
        whole.update(minidl.tensor(value, device=device), weight=weight)
    assert whole.weight == 0  # nothing was read
    assert whole.read() == [[1.0], [4.0], [2.0]] and whole.read() == []
    assert whole.values() == [(3 * 1.0 + 4.0 + 4 * 2.0) / 8]
    first.update(minidl.tensor(1.0, device=device), weight=3)
    second.load_state_dict(first.state_dict())
    for value, weight in numbers[1:]:
        second.update(minidl.tensor(value, device=device), weight=weight)
    second.read()
    assert second.values() == whole.values()


def test_many_steps_between_two_readings(device: str) -> None:
    means = RunningMeans()
    for step in range(300):
        means.update(minidl.tensor(step, dtype="float64", device=device), minidl.tensor(
            0.1 * step, device=device))  # fmt: skip
    assert means.read() == [[step, float(np.float32(0.1 * step))] for step in range(300)]
    assert means.weight == 300 and means.values()[0] == 149.5
    means.update(*minidl.tensor([7.0, 8.0], device=device))
    assert means.read() == [[7.0, 8.0]] and means.weight == 301
