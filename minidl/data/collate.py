"""From a list of samples to one batch: ``default_collate`` and ``default_convert``.

The batch's array is allocated once and each sample is copied into its row. It keeps the samples'
order of axes in memory: pictures that are channels-last behind a (C, H, W) view make a batch that
is channels-last behind (N, C, H, W), which is how the layers like it, without a transposing copy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import cpu
from ..device import Array, Shape, array_module
from ..errors import DataError
from ..tensor import Tensor

__all__ = ["default_collate", "default_convert"]


def default_collate(batch: Sequence[Any]) -> Any:
    """Make one batch of a list of samples, as PyTorch does.

    Parameters
    ----------
    batch : sequence
        Samples of one structure: tensors, NumPy arrays, numbers, strings, or dictionaries, named
        tuples, tuples and lists of them. At least one.

    Returns
    -------
    Tensor, or a structure of them
        Tensors and arrays of shape (...) become one tensor of shape (N, ...) and the same dtype;
        Python's floats a float64 tensor of shape (N,), integers int64, truth values bool. Strings
        stay as they are, in a list or tuple. Dictionaries become a dictionary, named tuples a
        named tuple, tuples and lists a list, each with a batch in every field.

    Raises
    ------
    DataError
        When the samples differ in structure, shape or dtype, or hold something that has no
        batch (``None``, a picture of Pillow's); the message names the sample and the field.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.data import default_collate
    >>> images, labels = default_collate([(np.zeros((3, 8, 8), np.float32), 7)] * 4)
    >>> tuple(images.shape), labels.tolist()
    ((4, 3, 8, 8), [7, 7, 7, 7])
    """
    return collate_into(batch, cpu.empty)


def collate_into(batch: Sequence[Any], empty: Callable[[Shape, np.dtype], Array]) -> Any:
    """Do as :func:`default_collate`, in memory that ``empty(shape, dtype)`` returns."""
    if not batch:
        raise DataError("default_collate: the batch is empty, expected at least one sample")
    return _collate(batch, "sample", empty)


def default_convert(sample: Any) -> Any:
    """Turn the NumPy arrays inside one sample into tensors; leave the rest as it is.

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
        return {key: default_convert(value) for key, value in sample.items()}
    if is_namedtuple(sample):
        return type(sample)(*(default_convert(value) for value in sample))
    if isinstance(sample, tuple | list):
        return [default_convert(value) for value in sample]
    return sample


def _collate(batch: Sequence[Any], field: str, empty: Callable[[Shape, np.dtype], Array]) -> Any:
    """The batch of samples whose place in the structure is called ``field`` in messages."""
    first = batch[0]
    if isinstance(first, Tensor):
        _check_alike(batch, Tensor, field)
        return Tensor(_stack([sample.array for sample in batch], field, empty))
    if isinstance(first, np.ndarray | np.generic):
        _check_alike(batch, (np.ndarray, np.generic), field)
        if first.dtype.kind not in "biufc":
            raise DataError(
                f"{field}: arrays of dtype {first.dtype} can't be batched, only numbers"
            )
        return Tensor(_stack([np.asarray(sample) for sample in batch], field, empty))
    for kind, dtype in ((bool, np.bool_), (int, np.int64), (float, np.float64)):
        if isinstance(first, kind):
            # An integer among the floats of a batch is a number like them.
            _check_alike(batch, (int, float) if kind is float else kind, field)
            return Tensor(np.array(batch, dtype=dtype))
    if isinstance(first, str | bytes):
        return batch
    if isinstance(first, Mapping):
        _check_alike(batch, Mapping, field)
        for number, sample in enumerate(batch):
            if sample.keys() != first.keys():
                raise DataError(
                    f"{field}: sample {number} of the batch has the keys {sorted(map(str, sample))}"
                    f", the first has {sorted(map(str, first))}"
                )
        return {key: _collate([s[key] for s in batch], f"{field}[{key!r}]", empty) for key in first}
    if isinstance(first, tuple | list):
        _check_alike(batch, (tuple, list), field)
        for number, sample in enumerate(batch):
            if len(sample) != len(first):
                raise DataError(
                    f"{field}: sample {number} of the batch has {len(sample)} elements, "
                    f"the first has {len(first)}"
                )
        parts = enumerate(zip(*batch, strict=True))
        columns = [_collate(part, f"{field}[{i}]", empty) for i, part in parts]
        return type(first)(*columns) if is_namedtuple(first) else columns
    raise DataError(_no_batch(first, field))


def _stack(arrays: list[Array], field: str, empty: Callable[[Shape, np.dtype], Array]) -> Array:
    """Copy arrays of one shape into the rows of a new array; keeps their memory order."""
    first = arrays[0]
    for number, array in enumerate(arrays):
        if array.shape != first.shape or array.dtype != first.dtype:
            raise DataError(
                f"{field}: sample {number} of the batch has shape {array.shape} and dtype "
                f"{array.dtype}, the first has {first.shape} and {first.dtype}; "
                "resize or crop the pictures to one size, or pass a collate_fn"
            )
    slow_to_fast = memory_order(first)
    shape = [len(arrays), *(first.shape[axis] for axis in slow_to_fast)]
    if not isinstance(first, np.ndarray):
        empty = array_module(first).empty
    memory = empty(tuple(shape), first.dtype)
    out: Array = memory.transpose(0, *(1 + slow_to_fast.index(axis) for axis in range(first.ndim)))
    for row, array in enumerate(arrays):
        out[row] = array
    return out


def _check_alike(batch: Sequence[Any], kind: Any, field: str) -> None:
    for number, sample in enumerate(batch):
        if not isinstance(sample, kind):
            raise DataError(
                f"{field}: sample {number} of the batch is a {type(sample).__name__}, "
                f"the first is a {type(batch[0]).__name__}"
            )


def _no_batch(value: Any, field: str) -> str:
    if type(value).__module__.startswith("PIL."):
        return (
            f"{field} is a picture of Pillow's ({type(value).__name__}), which can't be batched; "
            "end the data set's transform with ToTensor()"
        )
    return (
        f"{field} is a {type(value).__name__}, which can't be batched; expected tensors, arrays, "
        "numbers, strings, or dictionaries and tuples of them, or pass a collate_fn"
    )


def memory_order(array: Array) -> list[int]:
    """Axes from the slowest in memory to the fastest: (1, 2, 0) for a channels-last (C, H, W)."""
    return sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))


def is_namedtuple(value: Any) -> bool:
    """Whether a value has named fields to be made anew from."""
    return isinstance(value, tuple) and hasattr(value, "_fields")
