"""A million paths and labels in little memory, and the file that stores them: the *index*.

A scan of ImageNet finds 1,281,167 files. A list of Python strings would take 150 MB, and every
worker would end up with a copy, because reading a string writes its reference count. So the paths
are stored in one byte array with offsets, and the labels in another array; :class:`Samples` and
:class:`Targets` make them behave like torchvision's lists.

On a network disk the scan takes minutes, so its result can be kept in a file, the index. The file
consists of a line that names its kind, the SHA-256 of the rest, the length of a JSON header, the
header and the arrays that it lists: numbers and text, none of which is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from ...errors import DataError, DTypeError
from ...files import write_atomically
from .decoding import shown


class _Arrays(Sequence[Any]):
    """What looks like a list, but can't be changed, because arrays hold it."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Sequence[Any]) -> list[Any]:
        return [*self, *other]

    def __setitem__(self, *_: Any, **__: Any) -> None:
        raise DTypeError(
            "samples and targets of a data set are no lists, to save memory; change a copy, such "
            "as dataset.samples = list(dataset.samples)"
        )

    __delitem__ = append = extend = insert = remove = pop = sort = reverse = clear = __setitem__


class Targets(_Arrays):
    """Labels in an array, behaving like a list of int."""

    def __init__(self, labels: np.ndarray) -> None:
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        found: int | list[int] = self._labels[index].tolist()
        return found

    def __iter__(self) -> Iterator[int]:
        return iter(self._labels.tolist())

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._labels, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        return repr(self._labels.tolist())


class Samples(_Arrays):
    """(path, label) pairs in arrays, behaving like a list of tuples."""

    def __init__(self, root: str, names: np.ndarray, ends: np.ndarray, labels: np.ndarray) -> None:
        self._root = root
        self._names = names  # the bytes of all names, one after another
        self._ends = ends
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the bytes of all names, where each name ends, and the labels."""
        return self._names, self._ends, self._labels

    def name(self, index: int) -> str:
        """Return a sample's path relative to the root."""
        position = range(len(self))[index]
        start = self._ends[position - 1] if position else 0
        return os.fsdecode(self._names[start : self._ends[position]].tobytes())

    @overload
    def __getitem__(self, index: int) -> tuple[str, int]: ...
    @overload
    def __getitem__(self, index: slice) -> list[tuple[str, int]]: ...
    def __getitem__(self, index: int | slice) -> tuple[str, int] | list[tuple[str, int]]:
        # range() handles negative indices, slices and IndexError.
        picked = range(len(self))[index]
        if isinstance(picked, range):
            return [self[i] for i in picked]
        return os.path.join(self._root, self.name(picked)), int(self._labels[picked])

    def __repr__(self) -> str:
        return f"<{len(self)} (path, label) pairs under {self._root}>"


def table_of(classes: Iterable[Iterable[bytes]]) -> dict[str, np.ndarray]:
    """Return the names of each class's pictures as the arrays of a :class:`Samples`, and counts."""
    names, ends, counts = bytearray(), array("q"), array("q")
    for pictures in classes:
        before = len(ends)
        for name in pictures:
            names += name
            ends.append(len(names))
        counts.append(len(ends) - before)
    return {
        "names": np.frombuffer(names, dtype=np.uint8),
        "ends": np.array(ends, dtype=np.int64),
        "counts": np.array(counts, dtype=np.int64),
    }


# -------------------------------------------------------------------------------- the index on disk
_INDEX = b"minidl index "  # the beginning of every version
_INDEX_1 = _INDEX + b"1\n"
_DIGEST = 32  # bytes of a SHA-256
_SETTLED = 2 * 10**9  # nanoseconds; the coarsest clock of a file system still in use


def write_index(
    path: str | os.PathLike[str],
    key: dict[str, Any],
    arrays: dict[str, np.ndarray],
    newest: int,
    started: int,
) -> None:
    """Write an index, completely or not at all; warn if ``path`` can't be written.

    Parameters
    ----------
    path : str or path
        The file.
    key : dict
        A description of the data that the arrays were made from, for JSON.
    arrays : dict of str to ndarray of uint8 or int64, shape (N,)
        The arrays to store.
    newest, started : int
        Nanoseconds since 1970: the latest change of the data, and the start of reading it. With
        less than two seconds in between, nothing is written: another change might have the same
        time stamp and go unnoticed.
    """
    if newest > started - _SETTLED:
        return
    parts = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
    listed = [[name, values.dtype.str, len(values)] for name, values in parts.items()]
    header = json.dumps({"key": key, "arrays": listed}).encode()
    header += b" " * (-(len(_INDEX_1) + _DIGEST + 8 + len(header)) % 8)  # aligns the numbers
    digest = hashlib.sha256()
    pieces: list[Any] = [len(header).to_bytes(8, "little"), header]
    for values in parts.values():
        pieces += [values.data, bytes(-values.nbytes % 8)]
    for piece in pieces:
        digest.update(piece)
    try:
        write_atomically(path, [_INDEX_1 + digest.digest(), *pieces])
    except OSError as error:
        warnings.warn(
            f"the index {shown(path)} can't be written, so the pictures will be searched again "
            f"next time ({error}); pass a writable file as index=...",
            stacklevel=2,
        )


def read_index(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Read an index from :func:`write_index`: ``names``, ``ends``, ``counts`` and other arrays.

    Returns
    -------
    (dict, dict of str to ndarray) or None
        Key and arrays; None if there is no such file or, with a warning, if it is damaged.

    Raises
    ------
    DataError
        The file is not an index, and so should not be overwritten.
    """
    try:
        with open(path, "rb") as file:
            if not file.read(len(_INDEX)) == _INDEX:
                raise DataError(
                    f"{shown(path)} is not an index of pictures and is left as it is; choose "
                    f"another file, or delete it"
                )
            file.seek(0)
            content = np.frombuffer(file.read(), dtype=np.uint8)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"the index {shown(path)} can't be read: {error}") from error
    try:
        key, arrays = _parse_index(content)
        _check_table(arrays["names"], arrays["ends"], arrays["counts"])
        return key, arrays
    except (ValueError, KeyError, TypeError) as error:
        warnings.warn(
            f"the index {shown(path)} is damaged or has another version and is made again "
            f"({error})",
            stacklevel=2,
        )
        return None


def _parse_index(content: np.ndarray) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    start = len(_INDEX_1) + _DIGEST
    if content[: len(_INDEX_1)].tobytes() != _INDEX_1:
        raise ValueError("expected version 1")
    digest = content[len(_INDEX_1) : start].tobytes()
    if hashlib.sha256(content[start:].data).digest() != digest:
        raise ValueError("its SHA-256 does not match")
    end = start + 8 + int.from_bytes(content[start : start + 8].tobytes(), "little")
    header = json.loads(content[start + 8 : end].tobytes())
    arrays: dict[str, np.ndarray] = {}
    for name, dtype, count in header["arrays"]:
        if dtype not in ("|u1", "<i8"):
            raise ValueError(f"it lists numbers of type {dtype!r}")
        size = count * np.dtype(dtype).itemsize
        arrays[name] = content[end : end + size].view(dtype)
        if len(arrays[name]) != count:
            raise ValueError("it is shorter than its arrays")
        end += size + -size % 8
    return dict(header["key"]), arrays


def _check_table(names: np.ndarray, ends: np.ndarray, counts: np.ndarray) -> None:
    """Raise ValueError unless the arrays are consistent, as for a :class:`Samples`."""
    steps = np.diff(ends, prepend=0)
    last = ends[-1] if len(ends) else 0
    if steps.min(initial=0) < 0 or last != len(names):
        raise ValueError("its names don't match their lengths")
    if counts.min(initial=0) < 0 or counts.sum() != len(ends):
        raise ValueError("its classes don't add up to its names")
