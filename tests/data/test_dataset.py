"""Data sets: indexing, combining and splitting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import minidl
from minidl.data import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from minidl.errors import ArgumentError, DTypeError, ShapeError


class Numbers(Dataset):
    def __init__(self, start: int, count: int) -> None:
        self.start, self.count = start, count

    def __getitem__(self, index: int) -> int:
        return self.start + range(self.count)[index]

    def __len__(self) -> int:
        return self.count


def test_the_base_says_what_to_override() -> None:
    with pytest.raises(NotImplementedError, match="Dataset must define __getitem__"):
        Dataset()[0]


def test_tensor_dataset(device: str) -> None:
    images = minidl.tensor([[1.0, 2.0], [3.0, 4.0]]).to(device)
    dataset = TensorDataset(images, minidl.tensor([7, 8]).to(device))
    image, label = dataset[1]
    assert (image.tolist(), label.item(), len(dataset)) == ([3.0, 4.0], 8, 2)


def test_tensor_dataset_refuses_different_lengths() -> None:
    with pytest.raises(ShapeError, match=r"axis 0.*\(2,\), \(3,\)"):
        TensorDataset(minidl.zeros(2), minidl.zeros(3))
    with pytest.raises(ShapeError):
        TensorDataset(minidl.tensor(1.0))
    with pytest.raises(ArgumentError):
        TensorDataset()
    with pytest.raises(DTypeError, match="expected tensors, got list"):
        TensorDataset([1, 2])


def test_concat_finds_the_part() -> None:
    both = Numbers(0, 2) + Numbers(10, 0) + Numbers(20, 3)
    assert [both[i] for i in range(5)] == [0, 1, 20, 21, 22]
    assert (both[-1], both[-5], len(both)) == (22, 0, 5)
    for outside in (5, -6):
        with pytest.raises(IndexError, match="out of range"):
            both[outside]
    for parts in ([], [Numbers(0, 2), IterableDataset()]):
        with pytest.raises(ArgumentError):
            ConcatDataset(parts)


def test_split_by_numbers_and_by_fractions() -> None:
    for lengths, sizes in (([7, 3], [7, 3]), ([0.5, 0.5], [5, 5]), ([1 / 3] * 3, [4, 3, 3])):
        parts = random_split(range(10), lengths)
        assert [len(part) for part in parts] == sizes
        assert sorted(x for part in parts for x in part) == list(range(10))  # type: ignore[attr-defined]


def test_split_is_random_but_repeatable() -> None:
    def split(seed: int) -> list[int]:
        part, _ = random_split(range(100), [50, 50], minidl.Generator().manual_seed(seed))
        return list(part.indices)

    assert split(1) == split(1)
    assert split(1) != split(2)
    assert split(1) != list(range(50))


@pytest.mark.parametrize("lengths", [[5, 4], [0.5, 0.6], [12, -2], [2.5, 7.5], 3])
def test_split_refuses_lengths_that_do_not_add_up(lengths: list[float]) -> None:
    with pytest.raises(ArgumentError, match="lengths"):
        random_split(range(10), lengths)


def test_subsets_take_slices_and_lists() -> None:
    whole = TensorDataset(minidl.arange(6), minidl.arange(6) * 10)
    part = Subset(whole, [5, 3, 1, 0])
    assert [rows.tolist() for rows in part[1:3]] == [[3, 1], [30, 10]]
    assert [rows.tolist() for rows in part[[0, -1]]] == [[5, 0], [50, 0]]
    assert [rows.tolist() for rows in Subset(part, range(1, 4))[:2]] == [[3, 1], [30, 10]]


def test_data_sets_side_by_side() -> None:
    pairs = StackDataset(range(3), "abc")
    assert len(pairs) == 3 and list(map(pairs.__getitem__, range(3)))[2] == (2, "c")
    assert StackDataset(x=range(3), y="abc")[1] == {"x": 1, "y": "b"}
    with pytest.raises(ArgumentError, match=r"agree in length, got \[3, 2\]"):
        StackDataset(range(3), "ab")
    with pytest.raises(ArgumentError, match="by position or all by name"):
        StackDataset()
    with pytest.raises(ArgumentError, match="by position or all by name"):
        StackDataset(range(3), x=range(3))


def test_base_classes_take_a_type() -> None:
    class Numbers(Dataset[int]):
        def __getitem__(self, index: int) -> int:
            return index

    class Stream(IterableDataset[tuple[int, str]]):
        pass

    assert Numbers()[3] == 3 and isinstance(Stream(), IterableDataset)
    with pytest.raises(NotImplementedError, match="Stream must define __iter__"):
        iter(Stream())


def test_iterable_data_sets_in_sequence() -> None:
    class Count(IterableDataset):
        def __init__(self, count: int) -> None:
            self.count = count

        def __iter__(self) -> Iterator[int]:
            return iter(range(self.count))

        def __len__(self) -> int:
            return self.count

    both = Count(2) + Count(3)
    assert isinstance(both, ChainDataset) and list(both) == [0, 1, 0, 1, 2] and len(both) == 5
