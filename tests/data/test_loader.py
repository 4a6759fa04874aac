"""The loader: the same result for any number of workers, exact resuming, errors."""

from __future__ import annotations

import gc
import multiprocessing
import os
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    get_worker_info,
    sample_stream,
)
from minidl.errors import ArgumentError, DataError

WORKERS = [0, 1, 2, 4, 8]


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


@pytest.mark.parametrize("workers", WORKERS)
def test_order_and_sizes(workers: int) -> None:
    loader = DataLoader(Noisy(7), batch_size=3, num_workers=workers)
    assert [index for index, _ in seen(loader)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert len(loader) == 3
    dropped = DataLoader(Noisy(7), batch_size=3, drop_last=True, num_workers=workers)
    assert [index for index, _ in seen(dropped)] == [[0, 1, 2], [3, 4, 5]]
    assert len(dropped) == 2


class Picture(Dataset):
    """Sample i: a picture viewed as (C, H, W), its augmentation, and its name."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        pixels = sample_stream().integers(0, 256, (5, 4, 3), np.uint8)
        return {"pixels": pixels.transpose(2, 0, 1), "label": index, "name": f"{index}.jpg"}

    def __len__(self) -> int:
        return 23


def exact(batch: Any) -> Any:
    """Return all bytes of a batch and where they lie."""
    pixels, labels = batch["pixels"].array, batch["label"].array
    where = (pixels.shape, pixels.strides, pixels.dtype, labels.dtype, pixels.flags.writeable)
    return where, pixels.tobytes(), labels.tobytes(), batch["name"]


def test_batches_are_the_same_with_any_number_of_workers() -> None:
    def epochs(workers: int, **more: Any) -> list[Any]:
        minidl.manual_seed(1)
        loader = DataLoader(Picture(), batch_size=4, shuffle=True, num_workers=workers, **more)
        whole = [[exact(batch) for batch in loader] for _ in range(2)]
        for _ in loader:  # epoch 2 is interrupted
            break
        rest = [exact(batch) for batch in loader.iterate(start_batch=3)]
        return [*whole, rest, [exact(batch) for batch in loader]]

    expected = epochs(0)
    assert [len(epoch) for epoch in expected] == [6, 6, 3, 6]
    assert len({repr(epoch) for epoch in expected}) == 4
    for workers in WORKERS[1:]:
        assert epochs(workers) == expected
        assert epochs(workers, prefetch_factor=1, persistent_workers=True) == expected


def test_random_choices_of_collate_fn_belong_to_the_batch() -> None:
    def mix(samples: list[Any]) -> tuple[list[float], list[float]]:
        return [noise for _, noise in samples], sample_stream().random(2).tolist()

    def epochs(workers: int) -> list[Any]:
        minidl.manual_seed(1)
        loader = DataLoader(Noisy(10), 2, collate_fn=mix, num_workers=workers)
        return [list(loader) for _ in range(2)]

    expected = epochs(0)
    assert epochs(1) == epochs(2) == expected
    draws = [draw for epoch in expected for batch in epoch for part in batch for draw in part]
    assert len(set(draws)) == len(draws) == 40


def test_epochs_differ_in_order_and_augmentation() -> None:
    loader = DataLoader(Noisy(50), batch_size=50, shuffle=True)
    (order_a, noise_a), (order_b, noise_b) = seen(loader)[0], seen(loader)[0]
    assert sorted(order_a) == sorted(order_b) == list(range(50))
    assert order_a != order_b
    assert not set(noise_a) & set(noise_b)
    assert len(set(noise_a)) == 50


@pytest.mark.parametrize("batch_size", [None, 4])
def test_an_epoch_can_be_replayed(batch_size: int | None) -> None:
    minidl.manual_seed(1)
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


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_made_anew_has_a_new_epoch(own: bool, workers: int) -> None:
    generator = minidl.Generator() if own else minidl.default_generator

    def epoch() -> Any:
        given = generator if own else None
        return seen(DataLoader(Noisy(20), 20, True, num_workers=workers, generator=given))[0]

    generator.manual_seed(5)
    first = epoch()
    state = generator.get_state()
    later = [epoch() for _ in range(3)]
    orders = [first[0], *(order for order, _ in later)]
    assert len({str(order) for order in orders}) == 4
    noise = {number for _, numbers in [first, *later] for number in numbers}
    assert len(noise) == 80
    loader = DataLoader(Noisy(20), 5, True, num_workers=workers, generator=generator)
    list(loader)
    loader.set_epoch(loader.epoch - 1)
    last = seen(loader)
    again = DataLoader(Noisy(20), 5, True, num_workers=workers, generator=generator)
    assert seen(again.iterate(start_batch=1)) == last[1:]  # the epoch that was begun
    generator.set_state(state)  # a resumed run goes on from the saved state
    assert [epoch() for _ in range(3)] == later
    assert epoch() != first
    generator.manual_seed(5)
    assert [epoch() for _ in range(4)] == [first, *later]


def test_an_own_generator_leaves_the_default_one_alone() -> None:
    before = minidl.get_rng_state().tolist()
    list(DataLoader(Noisy(5), shuffle=True, generator=minidl.Generator()))
    assert minidl.get_rng_state().tolist() == before


def test_an_order_does_not_move_the_numbers_of_the_generator() -> None:
    minidl.manual_seed(5)
    expected = minidl.rand(3).tolist()
    minidl.manual_seed(5)
    list(DataLoader(Noisy(5), shuffle=True))
    assert minidl.rand(3).tolist() == expected


def test_a_loader_whose_epoch_is_set_counts_by_itself() -> None:
    minidl.manual_seed(5)
    loader = DataLoader(Noisy(20), batch_size=20, shuffle=True)
    loader.set_epoch(3)
    before = minidl.get_rng_state().tolist()
    third, fourth = seen(loader), seen(loader)
    assert minidl.get_rng_state().tolist() == before and loader.epoch == 5
    list(DataLoader(Noisy(5)))  # another loader's epoch
    loader.set_epoch(3)
    assert [seen(loader), seen(loader)] == [third, fourth]


def test_a_samplers_own_generator_decides_the_order() -> None:
    def order(seed: int) -> Any:
        minidl.manual_seed(1)
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
        minidl.manual_seed(1)
        return [x for _, noise in seen(DataLoader(Noisy(12), batch_size=size)) for x in noise]

    assert flat(1) == flat(5) == flat(12)


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_in_the_middle_of_an_epoch(workers: int) -> None:
    def make() -> DataLoader:
        minidl.manual_seed(1)
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
    class Offset(Dataset):
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

    dataset = Offset()
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
    loader = DataLoader(Own(), num_workers=2, persistent_workers=True)
    seen_pids: set[int] = set()
    for _ in range(3):
        pids = [batch.item() for batch in loader]
        assert pids[0] != pids[1] and pids[:2] * 3 == pids
        seen_pids.update(pids)
    for batch in loader:  # and an interrupted epoch
        assert batch.item() == pids[0]
        break
    assert [batch.item() for batch in loader] == pids
    assert len(seen_pids) == 2 and os.getpid() not in seen_pids
    assert sorted(child.pid or 0 for child in multiprocessing.active_children()) == sorted(
        seen_pids
    )
    del loader
    gc.collect()
    assert multiprocessing.active_children() == []


class Own(Dataset):
    """Sample i: the process that fetches it."""

    def __getitem__(self, index: int) -> int:
        return os.getpid()

    def __len__(self) -> int:
        return 6


def test_workers_end_with_the_epoch() -> None:
    loader = DataLoader(Noisy(4), num_workers=2)
    batches = iter(loader)
    assert len(list(batches)) == 4 and multiprocessing.active_children() == []


def test_breaking_off_stops_the_workers() -> None:
    for _ in DataLoader(Noisy(1000), batch_size=2, num_workers=2):
        break
    gc.collect()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("persistent", [False, True])
def test_a_dropped_iterators_worker_stops_after_the_sample_it_is_at(
    tmp_path: Path, persistent: bool
) -> None:
    class Slow(Noisy):
        def __getitem__(self, index: int) -> tuple[int, float]:
            with open(tmp_path / "fetched", "a") as file:
                file.write(f"{index}\n")
            time.sleep(0.1 if index < 40 else 0)
            return super().__getitem__(index)

    loader = DataLoader(
        Slow(80), batch_size=40, num_workers=1, prefetch_factor=1, persistent_workers=persistent
    )
    del_me = iter(loader)
    del del_me
    gc.collect()
    batches = loader.iterate(start_batch=1)
    assert next(batches)[0].tolist() == list(range(40, 80))
    first = [n for n in (tmp_path / "fetched").read_text().split() if int(n) < 40]
    assert len(first) < 20  # of 40, in 4 seconds


def test_prefetching_is_bounded() -> None:
    class Counting:
        """Yields indices and counts those requested."""

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
        {"multiprocessing_context": "fork"},
        {"num_workers": 1, "multiprocessing_context": "thread"},
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


def test_a_context_of_the_wrong_type_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        DataLoader(range(3), num_workers=1, multiprocessing_context=object())


@pytest.mark.parametrize(
    "name",
    ["batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"],
)
def test_what_decides_the_batches_stays_as_it_is(name: str) -> None:
    loader = DataLoader(range(3), pin_memory_device="", in_order=False)
    with pytest.raises(ArgumentError, match=f"{name} can't be changed"):
        setattr(loader, name, {})
    loader.num_workers, loader.collate_fn = 1, list
    assert list(loader) == [[0], [1], [2]]


def test_a_data_set_that_cannot_be_indexed() -> None:
    with pytest.raises(ArgumentError, match="__getitem__"):
        DataLoader(iter(range(3)))


def test_random_numbers_outside_a_loader_come_from_the_default_generator() -> None:
    minidl.manual_seed(4)
    first = [sample_stream().random() for _ in range(2)]
    minidl.manual_seed(4)
    assert [sample_stream().random() for _ in range(2)] == first
    assert first[0] != first[1]


def test_batches_of_workers_are_put_into_pinned_memory_at_once(
    gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minidl.data import DeviceBatches, upload

    monkeypatch.delattr(upload, "_pack")  # what would copy them once more
    loader = DataLoader(Picture(), 4, num_workers=1, pin_memory=True)
    for number, batch in enumerate(DeviceBatches(loader, gpu)):
        assert batch["label"].tolist()[0] == 4 * number
        assert batch["pixels"].shape[1:] == (3, 5, 4)


class Stream(IterableDataset):
    """The numbers below a count, shared among workers, with random numbers."""

    def __init__(self, count: int, shared: bool = True) -> None:
        self.count, self.shared = count, shared

    def __iter__(self) -> Any:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info and self.shared else (0, 1)
        return ((i, float(sample_stream().random())) for i in range(first, self.count, step))


def numbers(batches: Any) -> list[list[int]]:
    return [batch[0].tolist() for batch in batches]


def test_an_iterable_data_set() -> None:
    assert numbers(DataLoader(Stream(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert numbers(DataLoader(Stream(7), 3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]
    assert numbers(DataLoader(Stream(6), 3)) == [[0, 1, 2], [3, 4, 5]]
    assert [sample[0] for sample in DataLoader(Stream(3), None)] == [0, 1, 2]
    loader = DataLoader(Stream(7), 3)
    assert numbers(loader.iterate(start_batch=1)) == [[3, 4, 5], [6]]
    noise = [batch[1].tolist() for _ in range(2) for batch in loader]
    assert len({x for batch in noise for x in batch}) == 14
    with pytest.raises(TypeError):
        len(loader)


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_share_an_iterable_data_set(persistent: bool) -> None:
    loader = DataLoader(Stream(10), 2, num_workers=2, persistent_workers=persistent)
    for _ in range(2):
        loader.set_epoch(0)  # even so, a new iteration begins at the beginning
        assert numbers(loader) == [[0, 2], [1, 3], [4, 6], [5, 7], [8], [9]]
    for _ in loader:  # one that is dropped
        break
    assert len(numbers(loader)) == 6
    uneven = DataLoader(Stream(3), 1, num_workers=2)
    assert numbers(uneven) == [[0], [1], [2]]
    every = DataLoader(Stream(2, shared=False), 2, num_workers=3)
    assert numbers(every) == [[0, 1]] * 3
    assert numbers(DataLoader(Stream(1), 2, num_workers=3)) == [[0]]


@pytest.mark.parametrize("order", [{"shuffle": True}, {"sampler": [1]}, {"batch_sampler": [[1]]}])
def test_an_iterable_data_set_has_its_own_order(order: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="its own order"):
        DataLoader(Stream(3), **order)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_an_iterable_data_set(workers: int) -> None:
    class Broken(IterableDataset):
        def __iter__(self) -> Any:
            yield 1
            raise KeyError("here")

    batches = iter(DataLoader(Broken(), num_workers=workers))
    assert next(batches).tolist() == [1]
    with pytest.raises(KeyError, match="here"):
        next(batches)
