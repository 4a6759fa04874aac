"""Samplers: the order and the batches in which the indices of a data set are visited.

A sampler is any iterable of indices; a batch sampler is an iterable of lists of indices. Random
samplers draw from :func:`minidl.data.stream.order_stream`: inside a
:class:`~minidl.data.DataLoader` the order is a function of (seed, epoch); outside, every iteration
draws a new order from the generator.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import islice
from types import GenericAlias
from typing import Any

import numpy as np

from ..errors import ArgumentError, DTypeError
from ..random import Generator
from .stream import order_stream

__all__ = [
    "BatchSampler", "RandomSampler", "Sampler", "SequentialSampler", "SubsetRandomSampler",
    "WeightedRandomSampler",
]  # fmt: skip


class Sampler:
    """Base class of samplers: override ``__iter__``, and ``__len__`` if it is known.

    Examples
    --------
    >>> from minidl.data import DataLoader, Sampler
    >>> class Backwards(Sampler):
    ...     def __init__(self, dataset):
    ...         self.dataset = dataset
    ...     def __iter__(self):
    ...         return iter(range(len(self.dataset) - 1, -1, -1))
    ...     def __len__(self):
    ...         return len(self.dataset)
    >>> letters = ["a", "b", "c"]
    >>> [batch[0] for batch in DataLoader(letters, sampler=Backwards(letters))]
    ['c', 'b', 'a']
    """

    __class_getitem__: Any = classmethod(GenericAlias)

    def __init__(self, data_source: Any = None) -> None:
        """Accept the argument that PyTorch's base class once took."""

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")


class SequentialSampler(Sampler):
    """The indices in their own order, 0 to ``len(data_source) - 1``.

    Parameters
    ----------
    data_source : sized
        The data set.

    Examples
    --------
    >>> from minidl.data import SequentialSampler
    >>> list(SequentialSampler("abc"))
    [0, 1, 2]
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """The indices in a random order, or drawn at random with replacement.

    Parameters
    ----------
    data_source : sized
        The data set; not empty.
    replacement : bool, default False
        Draw every index independently, instead of a permutation.
    num_samples : int, optional
        Number of indices in an epoch; at least 1. Default ``len(data_source)``. A larger number
        without replacement takes several permutations.
    generator : minidl.Generator, optional
        See :func:`minidl.data.stream.order_stream`.

    Raises
    ------
    ArgumentError
        ``num_samples`` is not a positive integer, or there are no data.
    DTypeError
        ``replacement`` is not a bool.

    Examples
    --------
    >>> from minidl.data import RandomSampler
    >>> sorted(RandomSampler("abcd"))
    [0, 1, 2, 3]
    >>> len(list(RandomSampler("abcd", replacement=True, num_samples=10)))
    10
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        _check_replacement("RandomSampler", replacement)
        if num_samples is not None:
            _check_count("RandomSampler", num_samples)
        if len(data_source) == 0:
            raise ArgumentError("RandomSampler: the data set is empty, so there is no order of it")
        self.data_source = data_source
        self.replacement = replacement
        self.generator = generator
        self._num_samples = num_samples

    @property
    def num_samples(self) -> int:
        """Number of indices in an epoch: the data set's current length unless it was given."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        size, count = len(self.data_source), self.num_samples
        rng = order_stream(self.generator)
        if self.replacement:
            drawn = rng.integers(size, size=count)
        else:
            rounds = -(-count // size)
            drawn = np.concatenate([rng.permutation(size) for _ in range(rounds)])[:count]
        # One int at a time: a list of a million Python ints would take eight times the memory.
        yield from map(int, drawn)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given indices in a random order.

    Parameters
    ----------
    indices : sequence of int
        The indices to permute.
    generator : minidl.Generator, optional
        See :func:`minidl.data.stream.order_stream`.

    Examples
    --------
    >>> from minidl.data import SubsetRandomSampler
    >>> sorted(SubsetRandomSampler([7, 3, 5]))
    [3, 5, 7]
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        order = order_stream(self.generator).permutation(len(self.indices))
        yield from (self.indices[place] for place in order)

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Indices drawn with given relative weights.

    Parameters
    ----------
    weights : sequence of float
        One for each sample, not negative; they need not add up to one.
    num_samples : int
        Number of indices in an epoch; at least 1.
    replacement : bool, default True
        If False, an index is drawn at most once, and ``num_samples`` must not exceed the number of
        positive weights.
    generator : minidl.Generator, optional
        See :func:`minidl.data.stream.order_stream`.

    Raises
    ------
    ArgumentError
        The weights are not a sequence of numbers ≥ 0 with a positive sum, or there are too few for
        ``num_samples`` draws without replacement.

    Examples
    --------
    >>> from minidl.data import WeightedRandomSampler
    >>> set(WeightedRandomSampler([0, 3, 1], 100)) <= {1, 2}
    True
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        _check_count("WeightedRandomSampler", num_samples)
        _check_replacement("WeightedRandomSampler", replacement)
        try:
            self.weights = np.asarray(weights, dtype=np.float64)
        except (TypeError, ValueError):
            self.weights = np.empty(())
        if self.weights.ndim != 1 or not np.all(self.weights >= 0):
            raise ArgumentError(
                "WeightedRandomSampler: weights must be a sequence of numbers >= 0, "
                f"got {reprlib.repr(weights)}"
            )
        if not 0 < self.weights.sum() < np.inf:
            raise ArgumentError(
                f"WeightedRandomSampler: weights add up to {self.weights.sum()}, expected a "
                "positive number"
            )
        if not replacement and num_samples > np.count_nonzero(self.weights):
            raise ArgumentError(
                f"WeightedRandomSampler: num_samples={num_samples} without replacement, but only "
                f"{np.count_nonzero(self.weights)} weights are above zero"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        rng, shares = order_stream(self.generator), self.weights / self.weights.sum()
        drawn = rng.choice(len(shares), self.num_samples, self.replacement, shares)
        yield from map(int, drawn)

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Groups the indices of another sampler into lists.

    Parameters
    ----------
    sampler : iterable
        Yields the indices.
    batch_size : int
        Number of indices in a batch; at least 1.
    drop_last : bool
        Drop the last batch if it is smaller.

    Raises
    ------
    ArgumentError
        ``batch_size`` is not a positive integer.

    Examples
    --------
    >>> from minidl.data import BatchSampler
    >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool) -> None:
        _check_count("BatchSampler", batch_size, "batch_size")
        if not isinstance(drop_last, bool):
            raise ArgumentError(f"BatchSampler: drop_last must be True or False, got {drop_last!r}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[Any]]:
        indices = iter(self.sampler)
        while len(batch := list(islice(indices, self.batch_size))) == self.batch_size:
            yield batch
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


def _check_count(who: str, value: Any, name: str = "num_samples") -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ArgumentError(f"{who}: {name} must be a positive integer, got {value!r}")


def _check_replacement(who: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise DTypeError(f"{who}: replacement must be True or False, got {value!r}")
