"""The source of random decisions about data: the only holder of the current random stream.

Every decision is a pure function of *(seed, purpose, epoch, place)*. While a
:class:`~minidl.data.DataLoader` fetches a sample, it sets a *scope* of seed, epoch and the sample's
place in the epoch; a transform gets the scope's stream from :func:`sample_stream`. Workers, threads
and clocks play no part, so a batch has the same bytes for any number of workers. Outside a loader,
streams come from the library's default generator, one after another, as in PyTorch.

The *place* is the sample's position in the order of the epoch (0 for the first sample of the first
batch), not its index in the data set: a picture that a sampler draws twice in an epoch is augmented
in two ways, and a sampler's keys need not be integers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from .. import random
from ..random import Generator

__all__ = ["order_stream", "sample_stream", "shared_stream"]


class SampleScope:
    """Determines the random choices about one sample; makes its stream at first use."""

    __slots__ = ("_stream", "epoch", "place", "seed")

    def __init__(self, seed: int, epoch: int, place: int) -> None:
        self.seed, self.epoch, self.place = seed, epoch, place
        self._stream: np.random.Generator | None = None

    def stream(self) -> np.random.Generator:
        """Return the sample's stream: the same object for all transforms, which draw in turn."""
        if self._stream is None:
            self._stream = random.stream(self.seed, "sample", self.epoch, self.place)
        return self._stream


class OrderScope:
    """Determines the order of one epoch; counts the orders requested in it."""

    __slots__ = ("draws", "epoch", "seed")

    def __init__(self, seed: int, epoch: int) -> None:
        self.seed, self.epoch, self.draws = seed, epoch, 0

    def stream(self, generator: Generator | None) -> np.random.Generator:
        """Return a stream for the next order; a sampler's own generator replaces the seed."""
        seed = self.seed if generator is None else random.chosen(generator).initial_seed()
        # A sampler that iterates several times in one epoch gets another order each time.
        self.draws += 1
        return random.stream(seed, "order", self.epoch, self.draws)


_sample_scope: ContextVar[SampleScope | None] = ContextVar("sample_scope", default=None)
_order_scope: ContextVar[OrderScope | None] = ContextVar("order_scope", default=None)


def use_sample(scope: SampleScope) -> AbstractContextManager[None]:
    """Make :func:`sample_stream` return this sample's stream, in this thread, inside the block."""
    return _use(_sample_scope, scope)


def use_order(scope: OrderScope) -> AbstractContextManager[None]:
    """Make :func:`order_stream` return this epoch's stream, in this thread, inside the block."""
    return _use(_order_scope, scope)


@contextmanager
def _use(variable: ContextVar[Any], scope: Any) -> Iterator[None]:
    token = variable.set(scope)
    try:
        yield
    finally:
        variable.reset(token)


def sample_stream() -> np.random.Generator:
    """Return the random stream for choices about the current sample.

    Returns
    -------
    numpy.random.Generator
        Inside a :class:`~minidl.data.DataLoader`, the stream of the sample being fetched: a
        function of the loader's seed, the epoch and the sample's place in it. Elsewhere, a new
        stream from the library's default generator, which :func:`minidl.manual_seed` seeds.

    Notes
    -----
    Use it in ``__getitem__`` and in transforms instead of ``random`` or ``numpy.random``, whose
    state depends on the number of workers.

    Examples
    --------
    >>> import minidl
    >>> from minidl.data import sample_stream
    >>> _ = minidl.manual_seed(0)
    >>> 0 <= sample_stream().random() < 1
    True
    """
    scope = _sample_scope.get()
    return random.default_generator.next_stream() if scope is None else scope.stream()


def shared_stream(pictures: int, purpose: str) -> np.random.Generator:
    """Return a random stream for a choice that neighbors in the epoch's order share.

    Parameters
    ----------
    pictures : int
        Number of samples that share the choice: those at places 0 to ``pictures - 1`` of the epoch,
        then the next ones, and so on.
    purpose : str
        Name of the choice; choices with different names are independent.

    Returns
    -------
    numpy.random.Generator
        Inside a :class:`~minidl.data.DataLoader`, a new stream for each call, the same for all
        neighbors: a function of the loader's seed, the epoch, the purpose and
        ``place // pictures``. Elsewhere, as from :func:`sample_stream`.
    """
    scope = _sample_scope.get()
    if scope is None:
        return random.default_generator.next_stream()
    return random.stream(scope.seed, "shared", purpose, scope.epoch, scope.place // pictures)


def order_stream(generator: Generator | None = None) -> np.random.Generator:
    """Return the random stream for the order of an epoch, or for a split of a data set.

    Parameters
    ----------
    generator : minidl.Generator, optional
        A sampler's own generator. Inside a loader its initial seed replaces the loader's; outside,
        the stream is drawn from it (and it advances). Default: the loader's seed, or the library's
        default generator.

    Returns
    -------
    numpy.random.Generator
        Inside a :class:`~minidl.data.DataLoader`, a function of the seed, the epoch and the number
        of orders requested in this epoch.
    """
    scope = _order_scope.get()
    if scope is not None:
        return scope.stream(generator)
    return random.chosen(generator).next_stream()
