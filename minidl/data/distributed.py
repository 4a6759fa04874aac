"""Samplers for several ranks, each of which reads its share of an epoch.

Sample i of the epoch's order goes to rank i modulo N. Its random choices depend on i, so that N
ranks together read, crop and mirror as one process does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from typing import Any

from .. import random
from ..distributed import get_rank, get_world_size
from ..errors import ArgumentError
from .sampler import Sampler

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler):
    """Every rank's share of the indices, of the same length on all ranks.

    Parameters
    ----------
    dataset : sized
    num_replicas, rank : int, optional
        Default: those of :mod:`minidl.distributed`.
    shuffle : bool
        Default True: a new order in each epoch; call :meth:`set_epoch` before each.
    seed : int
        Of the order, the same on all ranks. Default 0.
    drop_last : bool
        Leave out the last indices if they don't suffice for all ranks. Default False: the first
        indices of the order fill up.

    Raises
    ------
    ArgumentError
        The rank is not one of the replicas.

    Examples
    --------
    >>> from minidl.data import DistributedSampler
    >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
    [1, 3, 0]
    """

    def __init__(
        self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None,
        shuffle: bool = True, seed: int = 0, drop_last: bool = False,
    ) -> None:  # fmt: skip
        self.dataset, self.shuffle, self.seed, self.drop_last = dataset, shuffle, seed, drop_last
        self.num_replicas = get_world_size() if num_replicas is None else num_replicas
        self.rank = get_rank() if rank is None else rank
        self.epoch = 0
        if not 0 <= self.rank < self.num_replicas:
            raise ArgumentError(
                f"DistributedSampler: rank must be from 0 to {self.num_replicas - 1}, got {rank}"
            )
        count, ranks = len(dataset), self.num_replicas
        self.num_samples = count // ranks if drop_last else -(-count // ranks)
        self.total_size = self.num_samples * self.num_replicas

    def __iter__(self) -> Iterator[int]:
        count = len(self.dataset)
        order: Any = range(count)
        if self.shuffle:
            order = random.stream(self.seed, "distributed", self.epoch).permutation(count)
        for place in range(self.rank, self.total_size, self.num_replicas):
            yield int(order[place % count])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order."""
        self.epoch = epoch

    def places(self, start: int) -> tuple[int, int]:
        """Return the place of a batch's first sample in the epoch, and the step to the next."""
        return start * self.num_replicas + self.rank, self.num_replicas


class SharedBatches(Sampler):
    """One rank's share of each batch of a batch sampler that all ranks iterate over.

    A batch of n samples gives rank r those at r, r + N, ...: n/N of them, or one more. If there are
    fewer samples than ranks, the others get the last one, which then must not count.

    Parameters
    ----------
    batches : iterable of list
        A batch sampler with the same order on all ranks.
    rank, ranks : int
    equal : bool
        Give all ranks equally many: the last sample, which must not count, fills up. Default False.

    Examples
    --------
    >>> from minidl.data.distributed import SharedBatches
    >>> list(SharedBatches([[0, 1, 2], [3]], rank=1, ranks=2))
    [[1], [3]]
    """

    def __init__(
        self, batches: Iterable[list[Any]], rank: int, ranks: int, equal: bool = False
    ) -> None:
        self.batches, self.rank, self.ranks, self.equal = batches, rank, ranks, equal

    def __iter__(self) -> Iterator[list[Any]]:
        place = 0
        for batch in self.batches:
            share = batch[self.rank :: self.ranks]
            first = self.rank if share else len(batch) - 1
            count = -(-len(batch) // self.ranks) if self.equal else 1
            share += batch[-1:] * (count - len(share))
            yield Share(share, place + first, self.ranks)
            place += len(batch)

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]


class Share(list[Any]):
    """Some keys of a batch, with the place of the first in the epoch and the step to the next."""

    def __init__(self, keys: list[Any], first_place: int, step: int) -> None:
        super().__init__(keys)
        self.first_place, self.step = first_place, step
