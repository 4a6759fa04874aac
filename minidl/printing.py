"""How an array prints: the numbers as PyTorch writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .errors import ArgumentError

#: dtypes that are not named, because a literal of Python's has them.
_PLAIN = ("float32", "int64", "bool")


_DEFAULTS: dict[str, Any] = {"precision": 4, "threshold": 1000, "edgeitems": 3, "linewidth": 80}
_PROFILES: dict[str, dict[str, Any]] = {
    "default": _DEFAULTS,
    "short": {**_DEFAULTS, "precision": 2, "edgeitems": 2},
    "full": {**_DEFAULTS, "threshold": float("inf")},
}
_options: dict[str, Any] = {**_DEFAULTS, "sci_mode": None}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print; what is None stays, but `sci_mode`.

    Parameters
    ----------
    precision : int, optional
        Number of decimals. At first 4.
    threshold : float, optional
        Number of elements up to which all are printed. At first 1000.
    edgeitems : int, optional
        Number of elements at either end of each axis that are printed otherwise. At first 3.
    linewidth : int, optional
        At first 80.
    profile : {"default", "short", "full"}, optional
        Where the others start from.
    sci_mode : bool, optional
        Whether floats have powers of ten. None: if their range is wide.

    Raises
    ------
    ArgumentError
        `profile` is none of the three.

    Examples
    --------
    >>> import minidl
    >>> minidl.set_printoptions(precision=2)
    >>> minidl.tensor([0.12345])
    tensor([0.12])
    >>> minidl.set_printoptions(profile="default")
    """
    if profile is not None and profile not in _PROFILES:
        raise ArgumentError(f"set_printoptions: profile is one of {[*_PROFILES]}, not {profile!r}")
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems,
             "linewidth": linewidth}  # fmt: skip
    _options.update(_PROFILES.get(profile or "", {}))
    _options.update({name: value for name, value in given.items() if value is not None})
    _options["sci_mode"] = sci_mode


def format_array(array: np.ndarray, *notes: str) -> str:
    """Return ``tensor(...)`` with the numbers of an array of the host, its dtype and `notes`."""
    options = {name: _options[name] for name in ("precision", "threshold", "edgeitems")}
    columns = _options["linewidth"]
    if array.dtype.kind == "f":
        options["formatter"] = {"float_kind": _float_format(array)}
    elif array.dtype.kind == "b" and array.all():  # NumPy keeps room for a False
        options["formatter"] = {"bool": str}
    prefix = "tensor("
    width = columns + max(array.ndim - 1, 0)  # NumPy keeps room for closing brackets
    body = np.array2string(array, separator=", ", prefix=prefix, max_line_width=width, **options)
    text = prefix + body.replace(", ...,", ",  ...,")  # as PyTorch prints it
    if array.dtype.name not in _PLAIN:
        notes = (f"dtype=minidl.{array.dtype}", *notes)
    if array.size == 0 and array.ndim != 1:
        notes = (f"size={tuple(array.shape)}", *notes)
    for note in notes:
        line = len(text) - text.rfind("\n") + 1
        text += (", " if line + len(note) + 2 <= columns else ",\n" + " " * len(prefix)) + note
    return f"{text})"


def _float_format(array: np.ndarray) -> Callable[[Any], str]:
    """Return how PyTorch prints floats: four decimals, or powers of ten for a wide range."""
    precision, edge, sci_mode = (_options[name] for name in ("precision", "edgeitems", "sci_mode"))
    if array.size > _options["threshold"]:  # only the edges are printed
        for axis, length in enumerate(array.shape):
            shown = np.arange(length)
            array = array.take(shown[(shown < edge) | (shown >= length - edge)], axis)
    values = array[np.isfinite(array) & (array != 0)].astype(np.float64)
    whole = bool((values == np.trunc(values)).all())
    powers = False
    if values.size:
        small, large = np.abs(values).min(), np.abs(values).max()
        wide = large > 1e8 or large > 1000 * small or (not whole and small < 1e-4)
        powers = wide if sci_mode is None else sci_mode
    if powers:
        spec = f".{precision}e"
    else:
        spec = ".0f" if whole else f".{precision}f"

    def number(x: Any) -> str:
        return format(x, spec) + ("." if whole and spec[-1] == "f" and np.isfinite(x) else "")

    width = max((len(number(x)) for x in values), default=0)
    return lambda x: number(x).rjust(width)
