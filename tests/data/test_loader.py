"""The loader: one result for any workers, exact resuming, errors, and no threads left behind."""

from __future__ import annotations

import gc
import threading
import traceback
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    SequentialSampler,
    get_worker_info,
    sample_stream,
)
from minidl.errors import ArgumentError, DataError

WORKERS = [0, 1, 2, 3]


class Noisy(Dataset):
    """Sample i: its index, and a random number that stands for its augmentation."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.fetched: list[int] = []

    def __getitem__(self, index: int) -> tuple[int, float]:
        self.fetched.append(index)
        return index, float(sample_stream().random())

    def __len__(self) -> int:
        return self.count


def seen(batches: Any) -> list[list[list[float]]]:
    return [[part.tolist() for part in batch] for batch in batches]


def loader_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("minidl-loader")]


@pytest.fixture(autouse=True)
def no_threads_left() -> Any:
    yield
    gc.collect()
    assert loader_threads() == []


@pytest.mark.parametrize("workers", WORKERS)
def test_order_and_sizes(workers: int) -> None:
    loader = DataLoader(Noisy(7), batch_size=3, num_workers=workers)
    assert [index for index, _ in seen(loader)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(loader) == 3
    dropped = DataLoader(Noisy(7), batch_size=3, drop_last=True, num_workers=workers)
    assert [index for index, _ in seen(dropped)] == [[0, 1, 2], [3, 4, 5]]
    assert len(dropped) == 2


def test_batches_are_the_same_with_any_number_of_workers() -> None:
    def epochs(workers: int, **more: Any) -> list[Any]:
        loader = DataLoader(Noisy(23), batch_size=4, shuffle=True, num_workers=workers, **more)
        return [seen(loader) for _ in range(2)]

    expected = epochs(0)
    for workers in WORKERS[1:]:
        assert epochs(workers) == expected
        assert epochs(workers, prefetch_factor=1, persistent_workers=True) == expected


def test_epochs_differ_in_order_and_augmentation() -> None:
    loader = DataLoader(Noisy(50), batch_size=50, shuffle=True)
    (order_a, noise_a), (order_b, noise_b) = seen(loader)[0], seen(loader)[0]
    assert sorted(order_a) == sorted(order_b) == list(range(50))
    assert order_a != order_b
    assert not set(noise_a) & set(noise_b)
    assert len(set(noise_a)) == 50


@pytest.mark.parametrize("batch_size", [None, 4])
def test_an_epoch_can_be_replayed(batch_size: int | None) -> None:
    loader = DataLoader(range(20), batch_size=batch_size, shuffle=True)
    first, second = [[np.asarray(batch).tolist() for batch in loader] for _ in range(2)]
    loader.set_epoch(0)
    assert [np.asarray(batch).tolist() for batch in loader] == first
    assert first != second


def test_the_seed_decides() -> None:
    def first(seed: int) -> Any:
        minidl.manual_seed(seed)
        return seen(DataLoader(Noisy(20), batch_size=20, shuffle=True))

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_a_generator_lends_its_seed_and_is_not_advanced() -> None:
    generator = minidl.Generator().manual_seed(5)
    before = generator.get_state().tolist()
    loader = DataLoader(Noisy(20), batch_size=20, shuffle=True, generator=generator)
    mine = seen(loader)
    assert generator.get_state().tolist() == before
    minidl.manual_seed(99)
    again = DataLoader(
        Noisy(20), batch_size=20, shuffle=True, generator=minidl.Generator().manual_seed(5)
    )
    assert seen(again) == mine


def test_loading_leaves_the_default_generator_alone() -> None:
    before = minidl.random.get_rng_state().tolist()
    list(DataLoader(Noisy(5), shuffle=True))
    assert minidl.random.get_rng_state().tolist() == before


def test_a_samplers_own_generator_decides_the_order() -> None:
    def order(seed: int) -> Any:
        sampler = RandomSampler(range(30), generator=minidl.Generator().manual_seed(seed))
        return next(iter(DataLoader(range(30), batch_size=30, sampler=sampler))).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_a_sample_drawn_twice_is_augmented_twice() -> None:
    sampler = RandomSampler(range(2), replacement=True, num_samples=40)
    _, noise = seen(DataLoader(Noisy(2), batch_size=40, sampler=sampler))[0]
    assert len(set(noise)) == 40


def test_augmentation_does_not_depend_on_the_batch_size() -> None:
    def flat(size: int) -> list[float]:
        return [x for _, noise in seen(DataLoader(Noisy(12), batch_size=size)) for x in noise]

    assert flat(1) == flat(5) == flat(12)


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_in_the_middle_of_an_epoch(workers: int) -> None:
    def make() -> DataLoader:
        return DataLoader(Noisy(22), batch_size=4, shuffle=True, num_workers=workers)

    whole = make()
    epochs = [seen(whole) for _ in range(3)]

    resumed = make()
    resumed.set_epoch(1)
    assert seen(resumed.iterate(start_batch=4)) == epochs[1][4:]
    assert seen(resumed) == epochs[2]


def test_resuming_does_not_fetch_what_it_leaves_out() -> None:
    dataset = Noisy(10)
    list(DataLoader(dataset, batch_size=2).iterate(start_batch=4))
    assert dataset.fetched == [8, 9]


def test_resuming_at_and_after_the_end() -> None:
    loader = DataLoader(range(6), batch_size=2)
    assert list(loader.iterate(start_batch=3)) == []
    with pytest.raises(ArgumentError, match="only 3 batches"):
        list(loader.iterate(start_batch=4))
    with pytest.raises(ArgumentError, match="start_batch"):
        loader.iterate(start_batch=-1)
    with pytest.raises(ArgumentError, match="epoch"):
        loader.set_epoch(-1)


@pytest.mark.parametrize("workers", [0, 2])
def test_batch_sampler_and_no_batches(workers: int) -> None:
    sampler = BatchSampler(SequentialSampler(range(5)), 2, drop_last=True)
    loader = DataLoader(range(5), batch_sampler=sampler, num_workers=workers)
    assert [batch.tolist() for batch in loader] == [[0, 1], [2, 3]]
    pictures = [np.full((2, 2), i) for i in range(3)]
    single = DataLoader(pictures, batch_size=None, num_workers=workers)
    assert [tuple(picture.shape) for picture in single] == [(2, 2)] * 3
    assert len(single) == 3


@pytest.mark.parametrize("workers", [0, 2])
def test_collate_fn(workers: int) -> None:
    loader = DataLoader("abcde", batch_size=2, collate_fn="-".join, num_workers=workers)
    assert list(loader) == ["a-b", "c-d", "e"]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_keeps_its_type_and_names_the_sample(workers: int) -> None:
    class Damaged(Noisy):
        def __getitem__(self, index: int) -> tuple[int, float]:
            if index == 5:
                raise OSError("broken file five.jpg")
            return super().__getitem__(index)

    batches = iter(DataLoader(Damaged(20), batch_size=2, num_workers=workers))
    assert [next(batches)[0].tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(OSError, match="broken file") as caught:
        next(batches)
    assert "index 5 of the data set" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("workers", [0, 2])
def test_stop_iteration_in_a_data_set_does_not_end_the_epoch(workers: int) -> None:
    class Exhausted(Noisy):
        def __getitem__(self, index: int) -> tuple[int, float]:
            return next(iter(()))

    with pytest.raises(DataError, match="StopIteration for index 0"):
        list(DataLoader(Exhausted(3), num_workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_samplers_exception_comes_after_the_batches_before_it(workers: int) -> None:
    def broken() -> Any:
        yield from range(4)
        raise RuntimeError("no more")

    batches = iter(DataLoader(range(9), batch_size=2, sampler=broken(), num_workers=workers))
    assert [next(batches).tolist() for _ in range(2)] == [[0, 1], [2, 3]]
    with pytest.raises(RuntimeError, match="no more"):
        next(batches)


def test_what_collate_raises_comes_out() -> None:
    loader = DataLoader([1, "x"], batch_size=2, num_workers=1)
    with pytest.raises(DataError, match="is a str"):
        list(loader)


def test_workers_know_themselves_and_have_their_own_copy() -> None:
    class Own(Dataset):
        offset = 0

        def __getitem__(self, index: int) -> tuple[int, int, int]:
            info = get_worker_info()
            assert info is not None and info.dataset is self and info.num_workers == 2
            return info.id, self.offset + index, info.seed

        def __len__(self) -> int:
            return 8

    def begin(number: int) -> None:
        info = get_worker_info()
        assert info is not None and info.id == number
        info.dataset.offset = 100 * (number + 1)

    dataset = Own()
    loader = DataLoader(dataset, batch_size=2, num_workers=2, worker_init_fn=begin)
    batches = seen(loader)
    assert [ids for ids, _, _ in batches] == [[0, 0], [1, 1], [0, 0], [1, 1]]
    assert [values for _, values, _ in batches] == [[100, 101], [202, 203], [104, 105], [206, 207]]
    seeds = {seed for _, _, values in batches for seed in values}
    assert len(seeds) == 2
    assert dataset.offset == 0
    assert get_worker_info() is None


def test_an_exception_in_worker_init_fn_comes_out() -> None:
    def begin(number: int) -> None:
        raise LookupError(f"worker {number} can't start")

    with pytest.raises(LookupError, match="worker 0 can't start"):
        list(DataLoader(range(4), num_workers=2, worker_init_fn=begin))


def test_persistent_workers_stay_and_go_with_the_loader() -> None:
    started: list[int] = []
    loader = DataLoader(
        range(6), num_workers=2, persistent_workers=True, worker_init_fn=started.append
    )
    for _ in range(3):
        assert [batch.item() for batch in loader] == list(range(6))
    for batch in loader:  # and an epoch that is broken off
        assert batch.item() == 0
        break
    assert [batch.item() for batch in loader] == list(range(6))
    assert sorted(started) == [0, 1]
    assert len(loader_threads()) == 2
    del loader
    gc.collect()
    assert loader_threads() == []


def test_breaking_off_stops_the_workers() -> None:
    dataset = Noisy(1000)
    for _ in DataLoader(dataset, batch_size=2, num_workers=2):
        break
    gc.collect()
    assert loader_threads() == []


def test_a_dropped_iterators_worker_stops_after_the_sample_it_is_at() -> None:
    fetched: list[int] = []
    known = threading.Event()
    released: list[threading.Event] = []

    class Waiting(Noisy):
        def __getitem__(self, index: int) -> tuple[int, float]:
            fetched.append(index)
            if index == 1:
                known.wait()
                released[0].wait()
            return super().__getitem__(index)

    batches: Any = iter(DataLoader(Waiting(100), batch_size=10, num_workers=1))
    released.append(batches._cancelled)
    known.set()
    del batches
    # Where the worker was when the iterator went: before sample 0, or as far as sample 1.
    assert fetched in ([], [0], [0, 1])


def test_prefetching_is_bounded() -> None:
    class Counting:
        """Yields indices and keeps how many were asked for."""

        asked = 0

        def __iter__(self) -> Any:
            for index in range(100):
                self.asked += 1
                yield index

    sampler = Counting()
    batches = iter(
        DataLoader(range(100), batch_size=1, sampler=sampler, num_workers=2, prefetch_factor=3)
    )
    assert sampler.asked == 6
    for taken in range(1, 5):
        next(batches)
        assert sampler.asked == 6 + taken


def test_a_worker_that_takes_too_long() -> None:
    gate = threading.Event()

    class Stuck(Noisy):
        def __getitem__(self, index: int) -> tuple[int, float]:
            gate.wait()
            return super().__getitem__(index)

    batches = iter(DataLoader(Stuck(2), num_workers=1, timeout=0.01))
    try:
        with pytest.raises(DataError, match=r"timeout=0\.01"):
            next(batches)
    finally:
        gate.set()


def test_two_iterators_of_one_loader_do_not_disturb_each_other() -> None:
    loader = DataLoader(Noisy(8), batch_size=2, num_workers=2, persistent_workers=True)
    together = list(zip(seen(loader), seen(loader), strict=True))
    a, b = iter(loader), iter(loader)
    mixed = [(seen([next(a)])[0], seen([next(b)])[0]) for _ in range(4)]
    assert [x[0][0] for x in mixed] == [x[0][0] for x in together]
    assert all(x[0] == y[0] and x[1] != y[1] for x, y in mixed)
    with pytest.raises(StopIteration):
        next(a)


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 0},
        {"num_workers": -1},
        {"timeout": -1},
        {"num_workers": 1, "prefetch_factor": 0},
        {"persistent_workers": True},
        {"shuffle": True, "sampler": [0]},
        {"batch_sampler": [[0]], "batch_size": 2},
        {"batch_sampler": [[0]], "shuffle": True},
        {"batch_sampler": [[0]], "drop_last": True},
        {"batch_size": None, "drop_last": True},
    ],
)
def test_arguments_that_exclude_each_other(arguments: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        DataLoader(range(3), **arguments)


def test_a_data_set_that_cannot_be_indexed() -> None:
    with pytest.raises(ArgumentError, match="__getitem__"):
        DataLoader(iter(range(3)))


def test_random_numbers_outside_a_loader_come_from_the_default_generator() -> None:
    minidl.manual_seed(4)
    first = [sample_stream().random() for _ in range(2)]
    minidl.manual_seed(4)
    assert [sample_stream().random() for _ in range(2)] == first
    assert first[0] != first[1]
