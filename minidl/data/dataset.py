"""Data sets: objects with a length whose samples are fetched by index, and ways to combine them.

A data set provides ``len(dataset)`` and ``dataset[index]``; samplers and
:class:`~minidl.data.DataLoader` do everything else (order, batches, workers, randomness).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from types import GenericAlias
from typing import Any

from ..errors import ArgumentError, DTypeError, ShapeError
from ..random import Generator
from ..tensor import Tensor
from .stream import order_stream

__all__ = [
    "ChainDataset", "ConcatDataset", "Dataset", "IterableDataset", "StackDataset", "Subset",
    "TensorDataset", "random_split",
]  # fmt: skip


class Dataset:
    """Base class of data sets: override ``__getitem__`` and ``__len__``.

    Notes
    -----
    :class:`~minidl.data.DataLoader`'s workers are processes: each has the data set as it was when
    the iteration began, and anything that ``__getitem__`` or ``worker_init_fn`` assigns (such as an
    open file) belongs to that worker alone. Random choices in ``__getitem__`` should come from
    :func:`minidl.data.sample_stream`, which depends on the seed, the epoch and the sample's place
    in it, never on the worker.

    Examples
    --------
    >>> from minidl.data import Dataset
    >>> class Squares(Dataset):
    ...     def __getitem__(self, index):
    ...         return index**2
    ...     def __len__(self):
    ...         return 5
    >>> Squares()[3]
    9
    """

    #: ``Dataset[T]``, for annotations and base classes, is ``Dataset``.
    __class_getitem__: Any = classmethod(GenericAlias)

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Base class of data sets that are read from the beginning, such as streams: has ``__iter__``.

    Notes
    -----
    Each worker of a :class:`~minidl.data.DataLoader` iterates over its own copy. So that samples
    don't come once from every worker, ``__iter__`` takes its share by
    :func:`~minidl.data.get_worker_info`. Samples come in the data set's own order.

    Examples
    --------
    >>> from minidl.data import DataLoader, IterableDataset, get_worker_info
    >>> class Count(IterableDataset):
    ...     def __iter__(self):
    ...         info = get_worker_info()
    ...         return iter(range(5)) if info is None else iter(range(info.id, 5, info.num_workers))
    >>> [batch.tolist() for batch in DataLoader(Count(), batch_size=2)]
    [[0, 1], [2, 3], [4]]
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError(f"{type(self).__name__} must define __iter__")

    def __add__(self, other: Dataset) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class ChainDataset(IterableDataset):
    """Several iterable data sets in sequence.

    Parameters
    ----------
    datasets : iterable of IterableDataset

    Examples
    --------
    >>> from minidl.data import ChainDataset
    >>> list(ChainDataset([[1, 2], [3]]))
    [1, 2, 3]
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = datasets

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            yield from dataset

    def __len__(self) -> int:
        return sum(map(len, self.datasets))


class StackDataset(Dataset):
    """Several data sets side by side: a sample is a tuple, or a dictionary, of theirs.

    Parameters
    ----------
    *args : Dataset
        For tuples.
    **kwargs : Dataset
        For dictionaries, instead.

    Raises
    ------
    ArgumentError
        There is no data set, both kinds are given, or the lengths differ.

    Examples
    --------
    >>> from minidl.data import StackDataset
    >>> StackDataset("abc", range(3))[1], StackDataset(name="abc", number=range(3))[2]
    (('b', 1), {'name': 'c', 'number': 2})
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if bool(args) == bool(kwargs):
            raise ArgumentError("StackDataset: expected data sets, all by position or all by name")
        self.datasets: Any = args or kwargs
        lengths = [len(dataset) for dataset in (args or kwargs.values())]
        if len(set(lengths)) > 1:
            raise ArgumentError(f"StackDataset: data sets must agree in length, got {lengths}")
        self._length = lengths[0]

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __len__(self) -> int:
        return self._length


class TensorDataset(Dataset):
    """Tensors whose rows are the samples: sample ``i`` is the tuple of each tensor's row ``i``.

    Parameters
    ----------
    *tensors : Tensor
        Any shapes and dtypes, with the same length along axis 0.

    Raises
    ------
    ArgumentError
        There is no tensor.
    ShapeError
        The lengths differ.

    Examples
    --------
    >>> import minidl
    >>> from minidl.data import TensorDataset
    >>> dataset = TensorDataset(minidl.zeros(4, 3), minidl.arange(4))
    >>> image, label = dataset[2]
    >>> image.tolist(), label.item(), len(dataset)
    ([0.0, 0.0, 0.0], 2, 4)
    """

    def __init__(self, *tensors: Tensor) -> None:
        if not tensors:
            raise ArgumentError("TensorDataset needs at least one tensor, got none")
        for other in (tensor for tensor in tensors if not hasattr(tensor, "ndim")):
            raise DTypeError(f"TensorDataset: expected tensors, got {type(other).__name__}")
        lengths = [tensor.shape[0] if tensor.ndim else 0 for tensor in tensors]
        if len(set(lengths)) != 1 or any(tensor.ndim == 0 for tensor in tensors):
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
            raise ShapeError(f"TensorDataset: tensors must agree along axis 0, got shapes {shapes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])


class Subset(Dataset):
    """The samples of a data set at the given indices, in that order.

    Parameters
    ----------
    dataset : Dataset
        Source of the samples.
    indices : sequence of int
        Their indices in ``dataset``; may repeat.

    Examples
    --------
    >>> from minidl.data import Subset
    >>> list(Subset("abcdef", [4, 0, 0]))
    ['e', 'a', 'a']
    """

    def __init__(self, dataset: Any, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):  # for data sets that take lists, such as TensorDataset
            return self.dataset[list(self.indices[index])]
        if isinstance(index, list):
            return self.dataset[[self.indices[position] for position in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset):
    """Several data sets in sequence.

    Parameters
    ----------
    datasets : iterable of Dataset
        At least one.

    Attributes
    ----------
    cumulative_sizes : list of int
        Number of samples up to and including each data set.

    Raises
    ------
    ArgumentError
        There is no data set, or one is an IterableDataset.
    IndexError
        From ``dataset[index]``: ``index`` is outside ``-len ... len - 1``.

    Examples
    --------
    >>> from minidl.data import ConcatDataset
    >>> both = ConcatDataset([[10, 11], [12, 13, 14]])
    >>> len(both), both[2], both[-1]
    (5, 12, 14)
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise ArgumentError("ConcatDataset: datasets is empty, expected at least one")
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise ArgumentError("ConcatDataset: use a ChainDataset to join IterableDatasets")
        self.cumulative_sizes = list(accumulate(len(dataset) for dataset in self.datasets))

    def __getitem__(self, index: int) -> Any:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        which = bisect.bisect_right(self.cumulative_sizes, position)
        start = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][position - start]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


def random_split(
    dataset: Any, lengths: Sequence[float], generator: Generator | None = None
) -> list[Subset]:
    """Split a data set at random into parts that do not overlap.

    Parameters
    ----------
    dataset : Dataset
        The data set to split.
    lengths : sequence of int or float
        Either integers that add up to ``len(dataset)``, or fractions that add up to 1: a part then
        gets ``floor(len(dataset) * fraction)`` samples, and the remaining ones go to the first
        parts, one each.
    generator : minidl.Generator, optional
        Source of the permutation. Default: the library's own generator.

    Returns
    -------
    list of Subset
        One for each of ``lengths``.

    Raises
    ------
    ArgumentError
        The lengths are negative or do not add up.

    Examples
    --------
    >>> from minidl.data import random_split
    >>> train, test = random_split(range(10), [0.8, 0.2])
    >>> len(train), len(test), sorted([*train, *test]) == list(range(10))
    (8, 2, True)
    """
    total = len(dataset)
    if not hasattr(lengths, "__len__"):
        raise ArgumentError(f"random_split: lengths must be a sequence, got {lengths!r}")
    if any(length < 0 for length in lengths):
        raise ArgumentError(f"random_split: lengths must not be negative, got {list(lengths)}")
    if math.isclose(sum(lengths), 1) and any(isinstance(length, float) for length in lengths):
        counts = [math.floor(total * fraction) for fraction in lengths]
        for spare in range(total - sum(counts)):
            counts[spare % len(counts)] += 1
    else:
        counts = [int(length) for length in lengths]
        if sum(counts) != total or counts != list(lengths):
            raise ArgumentError(
                f"random_split: lengths {list(lengths)} must be fractions that add up to 1 or "
                f"integers that add up to the data set's {total} samples"
            )
    order = order_stream(generator).permutation(total).tolist()
    stops = accumulate(counts)
    return [Subset(dataset, order[stop - n : stop]) for stop, n in zip(stops, counts, strict=True)]
