"""Exchanges between ranks inside of a network: each forward, and the backward that belongs to it.

Let rank r of N hold the channels Cᵣ of a tensor (N, C, ...), or the rows r, r + N, ... of a batch.

==================  ==========================================  ================================
function            forward                                     backward
==================  ==========================================  ================================
`gather_channels`   own channels → all channels                 Σ over ranks, own channels of it
`gather_outputs`    the same, for what all ranks go on with     own channels
`gather_rows`       own rows → all rows                         Σ over ranks, own rows of it
`scatter_rows`      own channels of all rows → all channels     own channels of all ranks' rows
                    of own rows
==================  ==========================================  ================================

After ``gather_channels`` and ``gather_rows`` every rank computes something of its own with the
whole, so a number's gradient is the sum of the gradients that the ranks find. After
``gather_outputs`` all compute the same, and each already has the whole gradient.

Channels travel last in memory, as the kernels keep them.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from ..autograd import Context, Function
from ..device import CPU, Array, active, array_module, device_of
from ..distributed import arrays, world
from ..kernels.cuda import copy_to
from ..tensor import Tensor

__all__ = ["gather_channels", "gather_outputs", "gather_rows", "scatter_rows"]


def _last(x: Array) -> np.ndarray:
    """Return an array of the host with the channels last: (N, ..., C), contiguous."""
    if device_of(x) != CPU:
        x = copy_to(x, CPU)
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


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


class GatherRowsFunction(Function):
    """Saves nothing."""

    @staticmethod
    def forward(ctx: Context, x: Array, total: int, label: str) -> Array:
        here = world.current()
        ctx.counts, ctx.label = _rows_of_ranks(total), label
        ctx.shape = x.shape
        host = _host(x)[: ctx.counts[here.rank]]
        one = host[:1].size if len(host) else x[:1].size
        sizes = [one * count for count in ctx.counts]
        own = np.ascontiguousarray(host).reshape(-1)
        flat = here.submit(lambda: arrays.all_gather(here, own, sizes, label)).wait()
        whole = np.empty((total, *x.shape[1:]), host.dtype)
        for rank, cut in enumerate(_cuts(sizes)):
            whole[rank :: here.size] = flat[cut].reshape(-1, *x.shape[1:])
        return _on_device(whole, x)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        here, whole = world.current(), _host(grad)
        one = whole[:1].size
        flat = np.concatenate([whole[rank :: here.size].reshape(-1) for rank in range(here.size)])
        sizes = [one * count for count in ctx.counts]
        own = here.submit(lambda: arrays.reduce_scatter(here, flat, sizes, ctx.label)).wait()
        rows = np.zeros(ctx.shape, whole.dtype)
        rows[: ctx.counts[here.rank]] = own.reshape(-1, *whole.shape[1:])
        return _on_device(rows, grad), None, None


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
        own = np.empty((sum(ctx.counts), width), whole.dtype)
        for rank, cut in enumerate(_cuts(taken)):
            own[rank :: here.size] = got[cut].reshape(-1, width)
        return _on_device(own, grad), None, None


def _rows_of_ranks(total: int) -> list[int]:
    ranks = world.current().size
    return [len(range(rank, total, ranks)) for rank in range(ranks)]


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


def gather_rows(x: Tensor, total: int, label: str = "rows") -> Tensor:
    """Return the batch of all ranks; sample i is on rank i modulo N.

    Parameters
    ----------
    x : Tensor, shape (n, ...)
        This rank's samples; one that does not count if it has none.
    total : int
        Number of samples of all ranks.
    label : str
        Where bytes are counted.
    """
    return GatherRowsFunction.apply(x, total, label)


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
