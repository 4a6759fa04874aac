"""From samples to a batch: ``default_collate``, ``default_convert``, and ``Collation`` behind them.

A batch's array is allocated with the first sample, and every sample is copied into its row at once:
its own memory, still in the cache, serves the next sample. The batch keeps the samples' memory
order: channels-last pictures viewed as (C, H, W) make a channels-last batch viewed as (N, C, H, W),
which the layers prefer, without a transposing copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from ..device import Array, Shape, array_module
from ..errors import DataError, SampleTypeError
from ..kernels import cpu
from ..tensor import Tensor

__all__ = ["default_collate", "default_convert"]


def default_collate(batch: Sequence[Any]) -> Any:
    """Combine a list of samples into a batch, as in PyTorch.

    Parameters
    ----------
    batch : sequence
        Samples with the same structure: tensors, NumPy arrays, numbers, strings, or dictionaries,
        named tuples, tuples and lists of them. At least one.

    Returns
    -------
    Tensor, or a structure of them
        Tensors and arrays of shape (...) become one tensor of shape (N, ...) and the same dtype;
        Python floats a float64 tensor of shape (N,), ints int64, bools bool. Strings stay as they
        are, in a list or tuple. Dictionaries become a dictionary, named tuples a named tuple,
        tuples and lists a list, each with a batch in every field; other mappings and sequences
        keep their type if they can be made of the batches.

    Raises
    ------
    DataError
        The samples differ in structure, shape or dtype, or (a DataError that is a TypeError) hold
        something that can't be batched: ``None``, a Pillow image. The message names the sample and
        the field.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.data import default_collate
    >>> images, labels = default_collate([(np.zeros((3, 8, 8), np.float32), 7)] * 4)
    >>> tuple(images.shape), labels.tolist()
    ((4, 3, 8, 8), [7, 7, 7, 7])
    """
    collation = Collation(len(batch))
    for sample in batch:
        collation.add(sample)
    return collation.batch()


def default_convert(sample: Any) -> Any:
    """Convert the NumPy arrays in a sample to tensors; keep the rest as it is.

    Parameters
    ----------
    sample : object
        Tensors, arrays, or dictionaries, named tuples, tuples and lists of them.

    Returns
    -------
    object
        The same structure.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.data import default_convert
    >>> default_convert({"label": np.arange(3), "name": "cat"})
    {'label': tensor([0, 1, 2]), 'name': 'cat'}
    """
    if isinstance(sample, np.ndarray | np.generic) and sample.dtype.kind in "biufc":
        return Tensor(np.asarray(sample))
    if isinstance(sample, Mapping):
        return _like(sample, {key: default_convert(value) for key, value in sample.items()})
    if isinstance(sample, Sequence) and not isinstance(sample, str | bytes):
        return _like(sample, [default_convert(value) for value in sample])
    return sample


# --- One sample after the other -------------------------------------------------------------------

#: Given a shape and a dtype, returns an uninitialized array.
Empty = Callable[[Shape, np.dtype], Array]


class Collation:
    """A batch under construction, sample by sample, for :func:`default_collate`.

    Parameters
    ----------
    count : int
        Number of samples.
    empty : callable
        Allocates the batch's arrays. Default: ordinary memory. GPU arrays stay on their GPU.
    """

    def __init__(self, count: int, empty: Empty = cpu.empty) -> None:
        self.count, self.empty = count, empty
        self.added = 0
        self.column: _Column | None = None

    def add(self, sample: Any) -> None:
        """Add the next sample; raises the same errors as :func:`default_collate`."""
        if self.column is None:
            self.column = _column(sample, "sample", self)
        self.column.add(self.added, sample)
        self.added += 1

    def batch(self) -> Any:
        """Return the batch of all samples."""
        if self.column is None:
            raise DataError("default_collate: the batch is empty, expected at least one sample")
        return self.column.batch()


class _Column:
    """One field of all samples; ``kind`` is the type that all must have, like the first."""

    def __init__(self, first: Any, field: str, kind: Any) -> None:
        self.first, self.field, self.kind = first, field, kind

    def add(self, number: int, value: Any) -> None:
        if not isinstance(value, self.kind):
            raise DataError(
                f"{self.field}: sample {number} of the batch is a {type(value).__name__}, "
                f"the first is a {type(self.first).__name__}"
            )
        self.take(number, value)

    def take(self, number: int, value: Any) -> None:
        raise NotImplementedError

    def batch(self) -> Any:
        raise NotImplementedError


class _Arrays(_Column):
    """Tensors or arrays of one shape: each is copied to its row, keeping its memory order."""

    def __init__(self, first: Any, field: str, kind: Any, collation: Collation) -> None:
        super().__init__(first, field, kind)
        array = _array_of(first)
        if array.dtype.kind not in "biufc":
            raise SampleTypeError(
                f"{field}: arrays of dtype {array.dtype} can't be batched, only numbers"
            )
        self.shape, self.dtype = array.shape, array.dtype
        slow_to_fast = memory_order(array)
        shape = (collation.count, *(array.shape[axis] for axis in slow_to_fast))
        on_cpu = isinstance(array, np.ndarray)
        empty: Empty = collation.empty if on_cpu else array_module(array).empty
        places = (1 + slow_to_fast.index(axis) for axis in range(array.ndim))
        self.rows = empty(shape, array.dtype).transpose(0, *places)

    def take(self, number: int, value: Any) -> None:
        array = _array_of(value)
        if array.shape != self.shape or array.dtype != self.dtype:
            resize = "resize or crop the pictures to one size"
            hint = resize if array.shape != self.shape else "cast"
            raise DataError(
                f"{self.field}: sample {number} of the batch has shape {array.shape} and dtype "
                f"{array.dtype}, the first has {self.shape} and {self.dtype}; "
                f"{hint}, or pass a collate_fn"
            )
        self.rows[number] = array

    def batch(self) -> Tensor:
        return Tensor(self.rows)


class _Values(_Column):
    """Numbers and strings, collected in a list from which ``many`` makes the batch."""

    def __init__(self, first: Any, field: str, kind: Any, many: Callable[[list[Any]], Any]) -> None:
        super().__init__(first, field, kind)
        self.many = many
        self.values: list[Any] = []

    def take(self, number: int, value: Any) -> None:
        self.values.append(value)

    def batch(self) -> Any:
        return self.many(self.values)


class _Nested(_Column):
    """Mappings with the same keys, or sequences of the same length: a column for each item."""

    def __init__(self, first: Any, field: str, kind: Any, collation: Collation) -> None:
        super().__init__(first, field, kind)
        items, many = (first.items(), list) if kind is Mapping else (enumerate(first), tuple)
        self.columns = {
            key: _column(value, f"{field}[{key!r}]", collation, many) for key, value in items
        }

    def take(self, number: int, value: Any) -> None:
        if self.kind is Mapping and value.keys() != self.columns.keys():
            raise DataError(
                f"{self.field}: sample {number} of the batch has the keys "
                f"{sorted(map(str, value))}, the first has {sorted(map(str, self.columns))}"
            )
        if len(value) != len(self.columns):
            raise DataError(
                f"{self.field}: sample {number} of the batch has {len(value)} elements, "
                f"the first has {len(self.columns)}"
            )
        for key, column in self.columns.items():
            column.add(number, value[key])

    def batch(self) -> Any:
        batches = {key: column.batch() for key, column in self.columns.items()}
        return _like(self.first, batches if self.kind is Mapping else list(batches.values()))


def _column(
    first: Any, field: str, collation: Collation, many: Callable[[Any], Any] = list
) -> _Column:
    """Return the column that begins with a value; ``many`` makes the container of strings."""
    if isinstance(first, Tensor):
        return _Arrays(first, field, Tensor, collation)
    if isinstance(first, str | bytes):  # NumPy's strings, too
        return _Values(first, field, object, many)
    if isinstance(first, np.ndarray | np.generic):
        return _Arrays(first, field, (np.ndarray, np.generic), collation)
    for kind, dtype in ((bool, np.bool_), (int, np.int64), (float, np.float64)):
        if isinstance(first, kind):
            # An int among a batch's floats counts as a float.
            kinds = (int, float) if kind is float else kind
            return _Values(first, field, kinds, partial(_tensor, dtype=dtype))
    if isinstance(first, Mapping | Sequence):
        return _Nested(first, field, Mapping if isinstance(first, Mapping) else Sequence, collation)
    raise SampleTypeError(_no_batch(first, field))


def _tensor(numbers: list[Any], dtype: Any) -> Tensor:
    return Tensor(np.array(numbers, dtype=dtype))


def _like(first: Any, made: Any) -> Any:
    """Return a dict or list in a container of the type of `first`, as far as PyTorch does."""
    kind: Any = type(first)
    if is_namedtuple(first):
        return kind(*made)
    if kind in (dict, list) or isinstance(first, tuple):
        return made
    try:
        if not isinstance(first, MutableMapping):
            return kind(made)
        other: Any = copy(first)  # which keeps a default factory, for example
        other.update(made)
        return other
    except (TypeError, ValueError):
        return made


def _array_of(value: Any) -> Array:
    return value.array if isinstance(value, Tensor) else np.asarray(value)


def _no_batch(value: Any, field: str) -> str:
    if type(value).__module__.startswith("PIL."):
        return (
            f"{field} is a Pillow image ({type(value).__name__}), which can't be batched; "
            "end the data set's transform with ToTensor()"
        )
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    return (
        f"{field} is a {name}, which can't be batched; expected tensors, arrays, "
        "numbers, strings, or dictionaries and tuples of them, or pass a collate_fn"
    )


def memory_order(array: Array) -> list[int]:
    """Return the axes from slowest to fastest in memory: (1, 2, 0) for channels-last (C, H, W)."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def is_namedtuple(value: Any) -> bool:
    """Return whether a value is a named tuple, which is rebuilt from its fields."""
    return isinstance(value, tuple) and hasattr(value, "_fields")
