"""Shares of an epoch for several ranks."""

from __future__ import annotations

from typing import Any

import pytest

import minidl
from minidl.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    RandomSampler,
    sample_stream,
)
from minidl.data.distributed import SharedBatches
from minidl.errors import ArgumentError


class Drawn(Dataset):
    """Samples of an index and a random number."""

    def __getitem__(self, index: int) -> tuple[int, float]:
        return index, sample_stream().random()

    def __len__(self) -> int:
        return 11


def batches(**arguments: Any) -> list[list[tuple[int, float]]]:
    minidl.manual_seed(3)
    return [
        list(zip(indices.tolist(), drawn.tolist(), strict=True))
        for indices, drawn in DataLoader(Drawn(), **arguments)
    ]


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_shares_make_up_the_batches(ranks: int) -> None:
    alone = batches(batch_size=4, shuffle=True)
    shares = [
        batches(
            batch_sampler=SharedBatches(BatchSampler(RandomSampler(Drawn()), 4, False), rank, ranks)
        )
        for rank in range(ranks)
    ]
    for number, whole in enumerate(alone):
        for rank in range(ranks):
            expected = whole[rank::ranks] or whole[-1:]
            assert shares[rank][number] == expected  # drawn alike, whatever the number of ranks


def test_shares_of_equal_size() -> None:
    shares = [list(SharedBatches([[0, 1, 2], [3]], rank, 2, equal=True)) for rank in range(2)]
    assert shares == [[[0, 2], [3]], [[1, 2], [3]]]


def test_sampler() -> None:
    sampler = DistributedSampler(range(11), 4, 1)
    assert (len(sampler), sampler.total_size) == (3, 12)
    every = [list(DistributedSampler(range(11), 4, rank, seed=5)) for rank in range(4)]
    assert sorted({index for share in every for index in share}) == list(range(11))
    assert every[3][2] == every[0][0]  # the first fills up
    short = [list(DistributedSampler(range(11), 4, rank, drop_last=True)) for rank in range(4)]
    assert [len(share) for share in short] == [2] * 4
    before = list(sampler)
    assert list(sampler) == before
    sampler.set_epoch(1)
    assert list(sampler) != before
    assert list(DistributedSampler(range(2), 4, 3, shuffle=False)) == [1]


def test_ranks_draw_differently() -> None:
    shares = [
        batches(batch_size=2, sampler=DistributedSampler(Drawn(), 2, rank)) for rank in range(2)
    ]
    drawn = [number for share in shares for batch in share for _, number in batch]
    assert len(set(drawn)) == len(drawn)


def test_wrong_rank() -> None:
    with pytest.raises(ArgumentError, match="rank must be from 0 to 1"):
        DistributedSampler(range(3), 2, 2)
