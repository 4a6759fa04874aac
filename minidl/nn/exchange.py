"""Exchanges between ranks inside of a network: each forward, and the backward that belongs to it.

Let rank r of N hold the channels Cᵣ of a tensor (N, C, ...), or the rows r, r + N, ... of a batch.

==================  ==========================================  ================================
function            forward                                     backward
==================  ==========================================  ================================
`gather_channels`   own channels → all channels                 Σ over ranks, own channels of it
`gather_outputs`    the same, for what all ranks go on with     own channels
`gather_rounds`     own rows → all rows, in rounds              Σ over ranks, own rows of it
`scatter_rows`      own channels of all rows → all channels     own channels of all ranks' rows
                    of own rows
==================  ==========================================  ================================

After ``gather_channels`` and ``gather_rounds`` every rank computes something of its own with the
whole, so a number's gradient is the sum of the gradients that the ranks find. After
``gather_outputs`` all compute the same, and each already has the whole gradient.

Channels travel last in memory, as the kernels keep them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..device import CPU, Array, Shape, active, array_module, device_of
from ..distributed import Work, arrays, world
from ..kernels.cuda import copy_to
from ..tensor import Tensor

__all__ = ["gather_channels", "gather_outputs", "gather_rounds", "scatter_rows"]


#: Largest number of rounds, that of the paper's devices. More hide little more, but cost messages.
ROUNDS = 8


def _last(x: Array) -> np.ndarray:
    """Return an array of the host with the channels last: (N, ..., C), contiguous."""
    return np.ascontiguousarray(np.moveaxis(_host(x), 1, -1))


def _first(x: np.ndarray, like: Array) -> Array:
    """Return (N, ..., C) as (N, C, ...), on the device of another array."""
    xp = array_module(like)
    if xp is np:
        return np.moveaxis(x, -1, 1)
    return _on_device(np.ascontiguousarray(np.moveaxis(x, -1, 1)), like)


def _cuts(sizes: list[int]) -> list[slice]:
    ends = list(accumulate(sizes))
    return [slice(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def join_channels(x: Array, sizes: list[int], label: str) -> Array:
    """Return the channels of all ranks; rank r has ``sizes[r]``."""
    here, own = world.current(), _last(x)
    one = own.size // own.shape[-1]  # numbers of a channel
    counts = [one * size for size in sizes]
    flat = here.submit(lambda: arrays.all_gather(here, own.reshape(-1), counts, label)).wait()
    pieces = [
        flat[cut].reshape(*own.shape[:-1], size)
        for cut, size in zip(_cuts(counts), sizes, strict=True)
    ]
    return _first(np.concatenate(pieces, -1), x)


def sum_own_channels(grad: Array, sizes: list[int], label: str) -> Array:
    """Return this rank's channels of the sum of all ranks' arrays."""
    here, whole = world.current(), _last(grad)
    one = whole.size // whole.shape[-1]
    flat = np.concatenate([whole[..., cut].reshape(-1) for cut in _cuts(sizes)])
    counts = [one * size for size in sizes]
    own = here.submit(lambda: arrays.reduce_scatter(here, flat, counts, label)).wait()
    return _first(own.reshape(*whole.shape[:-1], sizes[here.rank]), grad)


class GatherChannelsFunction(Function):
    """Saves nothing."""

    @staticmethod
    def forward(ctx: Context, x: Array, sizes: list[int], label: str, same: bool) -> Array:
        ctx.sizes, ctx.label, ctx.same = sizes, label, same
        return join_channels(x, sizes, label)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        if ctx.same:
            own = grad[:, _cuts(ctx.sizes)[world.current().rank]]
            own = own if array_module(own) is np else array_module(own).ascontiguousarray(own)
        else:
            own = sum_own_channels(grad, ctx.sizes, ctx.label)
        return own, None, None, None


class Rounds:
    """The rounds in which the ranks send each other a batch: see :func:`gather_rounds`."""

    def __init__(self, total: int, label: str) -> None:
        self.here, self.label = world.current(), label
        most = -(-total // self.here.size)  # samples of rank 0
        count = min(self.here.size, most, ROUNDS)
        self.starts = [most * number // count * self.here.size for number in range(count)] + [total]
        self._works: list[Work] = []

    def samples(self, number: int) -> tuple[slice, list[int]]:
        """Return which rows of this rank are in a round, and how many rows of each rank."""
        start, end = self.starts[number : number + 2]
        counts = _rows_of_ranks(end - start)
        first = start // self.here.size
        return slice(first, first + counts[self.here.rank]), counts

    def send(self, x: Array, number: int) -> None:
        """Start a round, if there is one of this number."""
        if number + 1 >= len(self.starts):
            return
        rows, counts = self.samples(number)
        own = np.ascontiguousarray(_host(x[rows])).reshape(-1)
        sizes = [count * math.prod(x.shape[1:]) for count in counts]
        self._works.append(
            self.here.submit(lambda: arrays.all_gather(self.here, own, sizes, self.label))
        )

    def receive(self, x: Array, number: int) -> Array:
        """Return the samples of a round; meanwhile the next is on its way."""
        flat = self._works.pop(0).wait()
        self.send(x, number + 1)
        return _on_device(_shuffled(flat, self.samples(number)[1], x.shape[1:]), x)

    def send_back(self, grad: Array, number: int) -> None:
        """Send the gradients of a round's samples to the ranks that have them."""
        if not self._works:
            most = max(self.samples(len(self.starts) - 2)[0].stop, 1)
            self._rows = np.zeros((most, *grad.shape[1:]), grad.dtype)
        rows, counts = self.samples(number)
        whole, ranks = _host(grad), self.here.size
        flat = np.concatenate([whole[rank::ranks].reshape(-1) for rank in range(ranks)])
        sizes = [count * math.prod(grad.shape[1:]) for count in counts]

        def work() -> None:
            own = arrays.reduce_scatter(self.here, flat, sizes, self.label)
            self._rows[rows] = own.reshape(-1, *grad.shape[1:])

        self._works.append(self.here.submit(work))

    def gradient(self, like: Array) -> Array:
        """Return the gradient of this rank's samples, after all rounds."""
        while self._works:
            self._works.pop(0).wait()
        return _on_device(self._rows, like)


class RoundFunction(Function):
    """The samples of one round. Rounds go back in the opposite order; round 0 waits for all."""

    @staticmethod
    def forward(ctx: Context, x: Array, rounds: Rounds, number: int) -> Array:
        ctx.rounds, ctx.number = rounds, number
        if number == 0:
            rounds.send(x, 0)
        return rounds.receive(x, number)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        ctx.rounds.send_back(grad, ctx.number)
        return None if ctx.number else ctx.rounds.gradient(grad), None, None


class ScatterRowsFunction(Function):
    """Saves nothing."""

    @staticmethod
    def forward(ctx: Context, x: Array, sizes: list[int], label: str) -> Array:
        here, own = world.current(), _host(x)
        ctx.sizes, ctx.label, ctx.counts = sizes, label, _rows_of_ranks(len(own))
        mine = ctx.counts[here.rank]
        flat = np.concatenate([own[rank :: here.size].reshape(-1) for rank in range(here.size)])
        sent = [count * sizes[here.rank] for count in ctx.counts]
        taken = [mine * size for size in sizes]
        got = here.submit(lambda: arrays.exchange(here, flat, sent, taken, label)).wait()
        whole = np.zeros((max(mine, 1), sum(sizes)), own.dtype)  # a rank without rows has one of 0
        for cut, source, size in zip(_cuts(sizes), _cuts(taken), sizes, strict=True):
            whole[:mine, cut] = got[source].reshape(mine, size)
        return _on_device(whole, x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        here = world.current()
        mine, width = ctx.counts[here.rank], ctx.sizes[here.rank]
        whole = _host(grad)[:mine]
        flat = np.concatenate([whole[:, cut].reshape(-1) for cut in _cuts(ctx.sizes)])
        sent = [mine * size for size in ctx.sizes]
        taken = [count * width for count in ctx.counts]
        got = here.submit(lambda: arrays.exchange(here, flat, sent, taken, ctx.label)).wait()
        return _on_device(_shuffled(got, ctx.counts, (width,)), grad), None, None


def _rows_of_ranks(total: int) -> list[int]:
    ranks = world.current().size
    return [len(range(rank, total, ranks)) for rank in range(ranks)]


def _shuffled(flat: np.ndarray, counts: list[int], shape: Shape) -> np.ndarray:
    """Return the rows of all ranks, which come one rank after another, in the batch's order."""
    whole = np.empty((sum(counts), *shape), flat.dtype)
    for rank, cut in enumerate(_cuts(counts)):
        whole[rank :: len(counts)] = flat.reshape(whole.shape)[cut]
    return whole


def _host(x: Array) -> np.ndarray:
    return x if device_of(x) == CPU else copy_to(x, CPU)


def _on_device(x: np.ndarray, like: Array) -> Array:
    with active(device_of(like)):
        xp = array_module(like)
        return x if xp is np else xp.asarray(x)


def gather_channels(x: Tensor, sizes: list[int], label: str = "channels") -> Tensor:
    """Return the channels of all ranks, for a computation that differs from rank to rank.

    Parameters
    ----------
    x : Tensor, shape (N, C, ...)
        This rank's channels.
    sizes : list of int
        The number of channels of each rank.
    label : str
        Where bytes are counted.
    """
    return GatherChannelsFunction.apply(x, sizes, label, False)


def gather_outputs(x: Tensor, sizes: list[int], label: str = "outputs") -> Tensor:
    """Return the channels of all ranks, for a computation that is the same on all ranks.

    Parameters
    ----------
    x, sizes, label
        As for :func:`gather_channels`.
    """
    return GatherChannelsFunction.apply(x, sizes, label, True)


def gather_rounds(x: Tensor, total: int, label: str = "rows") -> Iterator[tuple[Tensor, int]]:
    """Yield the batch of all ranks in rounds; sample i is on rank i modulo N.

    A round has an Nth of each rank's samples, or an eighth. While the program computes with it, the
    next is sent. In the backward, its gradients travel back while those of the next are computed.

    Parameters
    ----------
    x : Tensor, shape (n, ...)
        This rank's samples; one that does not count if it has none.
    total : int
        Number of samples of all ranks.
    label : str
        Where bytes are counted.

    Yields
    ------
    Tensor
        The samples of a round, in the order of the batch.
    int
        The place of the first one in the batch.
    """
    rounds = Rounds(total, label)
    for number, start in enumerate(rounds.starts[:-1]):
        yield RoundFunction.apply(x, rounds, number), start


def scatter_rows(x: Tensor, sizes: list[int], label: str = "outputs") -> Tensor:
    """Return this rank's rows of an array whose columns the ranks hold.

    Parameters
    ----------
    x : Tensor, shape (total, ``sizes[rank]``)
        This rank's columns of all rows.
    sizes : list of int
        The number of columns of each rank.
    label : str
        Where bytes are counted.
    """
    return ScatterRowsFunction.apply(x, sizes, label)
