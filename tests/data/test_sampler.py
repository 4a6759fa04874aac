"""Samplers: every order has the right elements and length, and the right dependencies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from minidl.errors import ArgumentError


def test_sequential_is_the_data_sets_order() -> None:
    assert list(SequentialSampler("abcd")) == [0, 1, 2, 3]


def test_random_is_a_permutation_and_another_one_each_time() -> None:
    sampler = RandomSampler(range(100))
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(100))
    assert first != second
    assert all(type(index) is int for index in first)


def test_random_follows_its_generator() -> None:
    def draw() -> list[int]:
        return list(RandomSampler(range(50), generator=minidl.Generator().manual_seed(3)))

    assert draw() == draw()
    assert draw() != list(RandomSampler(range(50), generator=minidl.Generator().manual_seed(4)))


def test_random_without_replacement_goes_round_again() -> None:
    drawn = list(RandomSampler(range(4), num_samples=10))
    assert sorted(drawn[:4]) == sorted(drawn[4:8]) == [0, 1, 2, 3]
    assert len(drawn) == len(RandomSampler(range(4), num_samples=10)) == 10
    assert len(set(drawn[8:])) == 2


def test_random_with_replacement_is_uniform() -> None:
    counts = np.bincount(
        list(RandomSampler(range(5), replacement=True, num_samples=10_000)), minlength=5
    )
    # Binomial: five standard deviations around n p.
    assert np.all(np.abs(counts - 2000) < 5 * np.sqrt(10_000 * 0.2 * 0.8))


def test_random_follows_a_growing_data_set() -> None:
    data = [0]
    sampler = RandomSampler(data)
    data.append(1)
    assert len(sampler) == 2
    assert sorted(sampler) == [0, 1]


@pytest.mark.parametrize("count", [0, -1, 2.5, True])
def test_random_refuses_a_wrong_count(count: object) -> None:
    with pytest.raises(ArgumentError, match="num_samples"):
        RandomSampler("abc", num_samples=count)  # type: ignore[arg-type]


def test_random_of_nothing() -> None:
    with pytest.raises(ArgumentError, match="empty"):
        RandomSampler([], num_samples=3)
    with pytest.raises(ArgumentError, match="empty"):
        DataLoader([], shuffle=True)


def test_the_order_is_drawn_with_the_first_index() -> None:
    for sampler in (
        RandomSampler(range(9)),
        SubsetRandomSampler(range(9)),
        WeightedRandomSampler([1.0] * 9, 9),
    ):
        orders = iter(sampler), iter(sampler)
        firsts = []
        for order in orders:
            minidl.manual_seed(0)
            firsts.append(next(order))
        assert firsts[0] == firsts[1] and list(orders[0]) == list(orders[1])


def test_choices_must_be_true_or_false() -> None:
    with pytest.raises(TypeError, match="replacement"):
        RandomSampler("ab", replacement=0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="replacement"):
        WeightedRandomSampler([1.0], 1, replacement=None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="drop_last"):
        BatchSampler("ab", 1, drop_last=0)  # type: ignore[arg-type]


def test_subset_random_permutes_its_indices() -> None:
    sampler = SubsetRandomSampler([9, 4, 7, 1, 3, 12, 15])
    orders = {tuple(sampler) for _ in range(5)}
    assert len(orders) > 1
    assert all(sorted(order) == [1, 3, 4, 7, 9, 12, 15] for order in orders)
    assert len(sampler) == 7


def test_weighted_draws_in_proportion() -> None:
    counts = np.bincount(list(WeightedRandomSampler([1, 0, 3], 10_000)), minlength=3)
    assert counts[1] == 0
    assert abs(counts[2] - 7500) < 5 * np.sqrt(10_000 * 0.75 * 0.25)


def test_weighted_without_replacement_draws_each_once() -> None:
    assert sorted(WeightedRandomSampler([5, 1, 0, 1], 3, replacement=False)) == [0, 1, 3]


def test_weighted_takes_a_tensor() -> None:
    assert set(WeightedRandomSampler(minidl.tensor([0.0, 1.0]), 5)) == {1}  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "weights", [[], [-1, 2], [[1.0]], [0, 0], [float("nan")], [float("inf")], "ab"]
)
def test_weighted_refuses_wrong_weights(weights: Any) -> None:
    with pytest.raises(ArgumentError, match="weights"):
        WeightedRandomSampler(weights, 1)


def test_weighted_refuses_too_many_draws() -> None:
    with pytest.raises(ArgumentError, match="only 1 weights"):
        WeightedRandomSampler([0, 1], 2, replacement=False)


@pytest.mark.parametrize(
    ("count", "size", "drop", "expected"),
    [
        (6, 3, False, [[0, 1, 2], [3, 4, 5]]),
        (5, 3, False, [[0, 1, 2], [3, 4]]),
        (5, 3, True, [[0, 1, 2]]),
        (2, 3, True, []),
        (0, 3, False, []),
    ],
)
def test_batches(count: int, size: int, drop: bool, expected: list[list[int]]) -> None:
    sampler = BatchSampler(range(count), size, drop)
    assert list(sampler) == expected
    assert len(sampler) == len(expected)


def test_batches_need_a_size() -> None:
    with pytest.raises(ArgumentError, match="batch_size"):
        BatchSampler([0], 0, False)


def test_a_sampler_that_goes_round_in_one_epoch_gets_several_orders() -> None:
    class Endless:
        def __init__(self) -> None:
            self.inner = RandomSampler(range(20))

        def __iter__(self):  # type: ignore[no-untyped-def]
            while True:
                yield from self.inner

    batches = iter(DataLoader(range(20), batch_size=20, sampler=Endless()))
    first, second = next(batches).tolist(), next(batches).tolist()
    assert sorted(first) == sorted(second)
    assert first != second
