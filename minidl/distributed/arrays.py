"""Collective operations on arrays of NumPy: what all ranks must call in the same order.

Sums are computed here, not by MPI, in the order of the ranks: every rank gets the same bits, in
every run. A large array is cut into as many pieces as there are ranks. Each rank receives the
others' numbers for its own piece, adds them up, and returns the sum to all. So a rank sends
2 (N − 1)/N of the array, the least that any algorithm can do.

All functions run in the thread of :class:`~minidl.distributed.engine.Engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from .world import World

__all__ = ["all_gather", "all_reduce", "broadcast", "exchange", "reduce_scatter"]

#: Up to this size, every rank receives the whole array of every other.
_SMALL = 4096

#: Largest message, because MPI counts in 32 bits.
_LARGEST = 1 << 28

Reduction = Callable[[np.ndarray, np.ndarray], np.ndarray]


def all_reduce(world: World, flat: np.ndarray, add: Reduction, label: str) -> None:
    """Replace a contiguous vector by its reduction over the ranks, in the order of the ranks."""
    if world.size == 1 or flat.size == 0:
        return
    if flat.nbytes <= _SMALL:
        rows = all_gather(world, flat, [flat.size] * world.size, label)
        flat[:] = _reduced(rows.reshape(world.size, -1), add)
        return
    step = _LARGEST // flat.itemsize
    for start in range(0, flat.size, step):
        part = flat[start : start + step]
        cuts = [part.size * rank // world.size for rank in range(world.size + 1)]
        sizes = [after - before for before, after in pairwise(cuts)]
        mine = reduce_scatter(world, part, sizes, label, add)
        part[:] = all_gather(world, mine, sizes, label)


def reduce_scatter(
    world: World, flat: np.ndarray, sizes: Sequence[int], label: str, add: Reduction = np.add
) -> np.ndarray:
    """Return this rank's piece of the reduction of a vector that is cut into `sizes`."""
    own = sizes[world.rank]
    if world.size == 1:
        return flat
    rows = exchange(world, flat, sizes, [own] * world.size, label)  # this piece, of every rank
    return _reduced(rows.reshape(world.size, own), add)


def exchange(
    world: World, flat: np.ndarray, sent: Sequence[int], taken: Sequence[int], label: str
) -> np.ndarray:
    """Send a piece of a vector to each rank; return the pieces that the ranks have sent here."""
    item = flat.itemsize
    got = np.empty(sum(taken), flat.dtype)
    world.count(label, (flat.size - sent[world.rank]) * item)
    request = world.comm.Ialltoallv(
        [flat.view(np.uint8), [size * item for size in sent]],
        [got.view(np.uint8), [size * item for size in taken]],
    )
    world.finish(request)
    return got


def all_gather(world: World, flat: np.ndarray, sizes: Sequence[int], label: str) -> np.ndarray:
    """Return the vectors of all ranks, one after another; rank r has ``sizes[r]`` numbers."""
    if world.size == 1:
        return flat
    item = flat.itemsize
    whole = np.empty(sum(sizes), flat.dtype)
    world.count(label, flat.nbytes * (world.size - 1))
    request = world.comm.Iallgatherv(
        flat.view(np.uint8), [whole.view(np.uint8), [size * item for size in sizes]]
    )
    world.finish(request)
    return whole


def broadcast(world: World, flat: np.ndarray, source: int, label: str) -> None:
    """Replace a contiguous vector by that of one rank."""
    if world.size == 1:
        return
    if world.rank == source:
        world.count(label, flat.nbytes * (world.size - 1))
    step = _LARGEST // flat.itemsize
    for start in range(0, flat.size, step):
        world.finish(world.comm.Ibcast(flat[start : start + step].view(np.uint8), source))


def _reduced(rows: np.ndarray, add: Reduction) -> np.ndarray:
    """Return the reduction of rows, from the first to the last; overwrites the first."""
    total = rows[0]
    for row in rows[1:]:
        add(total, row, out=total)  # type: ignore[call-arg]
    return total
