"""How an array prints: the numbers as PyTorch writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

#: dtypes that are not named, because a literal of Python's has them.
_PLAIN = ("float32", "int64", "bool")


def format_array(array: np.ndarray, *notes: str) -> str:
    """Return ``tensor(...)`` with the numbers of an array of the host, its dtype and `notes`."""
    options: dict[str, Any] = {"precision": 4, "threshold": 1000, "edgeitems": 3}
    if array.dtype.kind == "f":
        options["formatter"] = {"float_kind": _float_format(array)}
    prefix = "tensor("
    width = 80 + max(array.ndim - 1, 0)  # NumPy keeps room for closing brackets
    body = np.array2string(array, separator=", ", prefix=prefix, max_line_width=width, **options)
    text = prefix + body.replace(", ...,", ",  ...,")  # as PyTorch prints it
    if array.dtype.name not in _PLAIN:
        notes = (f"dtype=minidl.{array.dtype}", *notes)
    if array.size == 0 and array.ndim != 1:
        notes = (f"size={tuple(array.shape)}", *notes)
    for note in notes:
        line = len(text) - text.rfind("\n") + 1
        text += (", " if line + len(note) + 2 <= 80 else ",\n" + " " * len(prefix)) + note
    return f"{text})"


def _float_format(array: np.ndarray) -> Callable[[Any], str]:
    """Return how PyTorch prints floats: four decimals, or powers of ten for a wide range."""
    if array.size > 1000:  # only the edges are printed
        for axis, length in enumerate(array.shape):
            shown = np.arange(length)
            array = array.take(shown[(shown < 3) | (shown >= length - 3)], axis)
    values = array[np.isfinite(array) & (array != 0)].astype(np.float64)
    whole = bool((values == np.trunc(values)).all())
    spec = ".0f" if whole else ".4f"
    if values.size:
        small, large = np.abs(values).min(), np.abs(values).max()
        if large > 1e8 or large > 1000 * small or (not whole and small < 1e-4):
            spec = ".4e"

    def number(x: Any) -> str:
        return format(x, spec) + ("." if spec == ".0f" and np.isfinite(x) else "")

    width = max((len(number(x)) for x in values), default=0)
    return lambda x: number(x).rjust(width)
