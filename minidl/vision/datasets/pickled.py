"""Reading CIFAR's pickles, without running them: see :mod:`minidl.pickles`."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ...errors import DataError
from ...pickles import RefusedError, only, read_pickle


def read_pickled_dict(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a pickled dict of plain values; nothing in the file is executed.

    Parameters
    ----------
    path : str or path
        The file.

    Returns
    -------
    dict of str to value
        Keys are str, whether the file has bytes or text. Values are numbers, str, bytes, None,
        bool, list, tuple, dict and read-only uint8 arrays.

    Raises
    ------
    DataError
        The file is missing or damaged, or holds anything but plain values.
    """
    try:
        with open(path, "rb") as file:
            value = read_pickle(file, dtypes="u")
        pairs = only(dict, value).items()
        for _, array in pairs:
            if isinstance(array, np.ndarray) and array.dtype != np.uint8:
                raise RefusedError(f"an array of {array.dtype}")
        return {as_text(key): value for key, value in pairs}
    except RefusedError as refused:
        raise DataError(
            f"{os.fspath(path)} was refused: a CIFAR file holds lists, strings and uint8 arrays, "
            f"this pickle asks for {refused}; nothing in it was executed"
        ) from None
    except FileNotFoundError:
        raise DataError(f"{os.fspath(path)} is missing") from None
    except Exception as error:  # a damaged program may fail in any way
        raise DataError(
            f"{os.fspath(path)} is damaged or not a pickle ({type(error).__name__}: {error})"
        ) from error


def as_text(value: Any) -> str:
    """Return text that Python 2 may have written as bytes."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(only(str, value))
