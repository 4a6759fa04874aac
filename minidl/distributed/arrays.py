"""Collective operations on arrays of NumPy: what all ranks must call in the same order.

Sums are computed here, not by MPI, in the order of the ranks: every rank gets the same bits, in
every run. A large array is cut into as many pieces as there are ranks. Each rank receives the
others' numbers for its own piece, adds them up, and returns the sum to all. So a rank sends
2 (N − 1)/N of the array, the least that any algorithm can do. The pieces leave from the array
itself, and the sums arrive in it: on one machine, where a rank reads another's memory, nothing is
copied twice. Others' numbers are received a few at a time, so that they are added while they are
still in the cache, and the next are on their way.

All functions run in the thread of :class:`~minidl.distributed.engine.Engine`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .world import World

__all__ = ["all_gather", "all_reduce", "broadcast", "exchange", "reduce_scatter"]

#: Up to this size, every rank receives the whole array of every other.
_SMALL = 4096

#: Largest message, because MPI counts in 32 bits.
_LARGEST = 1 << 28

#: Bytes of a rank's piece in one turn of a sum, and how many ranks may have so much.
_TURN, _MOST = 1 << 21, 16

_SCATTER, _GATHER = 3, 4  # tags, beside the engine's

Reduction = Callable[[np.ndarray, np.ndarray], np.ndarray]


def all_reduce(
    world: World, flat: np.ndarray, add: Reduction, label: str, factor: float = 1
) -> None:
    """Replace a contiguous vector by its reduction over the ranks, times a factor."""
    if world.size == 1 or flat.size == 0:
        return
    if flat.nbytes <= _SMALL:
        rows = all_gather(world, flat, [flat.size] * world.size, label)
        _reduce(list(rows.reshape(world.size, -1)), flat, add, factor)
        return
    step = _TURN * min(world.size, _MOST) // flat.itemsize
    turns = [Turn(world, flat[start : start + step]) for start in range(0, flat.size, step)]
    cells = [world.buffer(0, turns[0].room), world.buffer(1, turns[0].room)]
    turns[0].scatter(cells[0], label)
    for number, turn in enumerate(turns):
        if number + 1 < len(turns):
            turns[number + 1].scatter(cells[(number + 1) % 2], label)
        turn.add_up(add, factor)
        turn.gather(label)
    for turn in turns:
        world.finish(turn.requests)


class Turn:
    """A part of a vector that the ranks add up: each its own piece of it."""

    def __init__(self, world: World, part: np.ndarray) -> None:
        self.world = world
        cuts = [part.size * rank // world.size for rank in range(world.size + 1)]
        self.pieces = [part[start:end] for start, end in pairwise(cuts)]
        self.own = self.pieces[world.rank]
        self.others = [rank for rank in range(world.size) if rank != world.rank]
        self.room = -(-part.size // world.size) * part.itemsize * world.size
        self.requests: list[Any] = []

    def scatter(self, cell: np.ndarray, label: str) -> None:
        """Start to send the others' pieces to them, and to receive their numbers for one's own."""
        own, link = self.own, self.world.link
        room = cell[: own.nbytes * self.world.size].view(own.dtype)
        self.rows = list(room.reshape(self.world.size, own.size))
        self.rows[self.world.rank] = own
        self.world.count(label, sum(self.pieces[rank].nbytes for rank in self.others))
        self.requests = [link.Irecv(_bytes(self.rows[r]), r, _SCATTER) for r in self.others]
        self.requests += [link.Isend(_bytes(self.pieces[r]), r, _SCATTER) for r in self.others]

    def add_up(self, add: Reduction, factor: float) -> None:
        """Wait for the others' numbers, and replace one's own piece by the sum."""
        self.world.finish(self.requests)
        _reduce(self.rows, self.own, add, factor)

    def gather(self, label: str) -> None:
        """Start to send one's own piece to the others, and to receive theirs."""
        link = self.world.link
        self.world.count(label, self.own.nbytes * len(self.others))
        self.requests = [link.Irecv(_bytes(self.pieces[r]), r, _GATHER) for r in self.others]
        self.requests += [link.Isend(_bytes(self.own), r, _GATHER) for r in self.others]


def _bytes(flat: np.ndarray) -> np.ndarray:
    return flat.view(np.uint8)


def reduce_scatter(
    world: World, flat: np.ndarray, sizes: Sequence[int], label: str, add: Reduction = np.add
) -> np.ndarray:
    """Return this rank's piece of the reduction of a vector that is cut into `sizes`."""
    own = sizes[world.rank]
    if world.size == 1:
        return flat
    rows = exchange(world, flat, sizes, [own] * world.size, label)  # this piece, of every rank
    rows = rows.reshape(world.size, own)
    _reduce(list(rows), rows[0], add)
    return rows[0]


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
    world.finish([request])
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
    world.finish([request])
    return whole


def broadcast(world: World, flat: np.ndarray, source: int, label: str) -> None:
    """Replace a contiguous vector by that of one rank."""
    if world.size == 1:
        return
    if world.rank == source:
        world.count(label, flat.nbytes * (world.size - 1))
    step = _LARGEST // flat.itemsize
    for start in range(0, flat.size, step):
        world.finish([world.comm.Ibcast(_bytes(flat[start : start + step]), source)])


def _reduce(rows: list[np.ndarray], result: np.ndarray, add: Reduction, factor: float = 1) -> None:
    """Reduce rows from the first to the last; overwrites the first, and the result at the end."""
    total = rows[0]
    for row in rows[1:-1]:
        add(total, row, out=total)  # type: ignore[call-arg]
    add(total, rows[-1], out=result)  # type: ignore[call-arg]
    if factor != 1:
        np.multiply(result, result.dtype.type(factor), out=result)
