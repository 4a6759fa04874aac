"""Detecting that a user's forward changed its arguments or returned their memory.

A forward that changes an argument should declare it with ``ctx.mark_dirty``; otherwise it would
silently corrupt what earlier operations saved. NumPy doesn't report writes, so the arguments are
compared before and after: small arrays as a whole, large ones by the sum of their bits and a
sample. Arrays on a GPU are not compared, because the host would have to wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import Array
from ..errors import AutogradError
from ..tensor import Tensor
from .views import link_opaque, shares_memory

_SMALL = 4096  # bytes of an array that is kept whole, and elements in a sample


def notes(arrays: list[Any]) -> list[Any]:
    """Return a note of each array's content, None for everything else."""
    return [_note(array) if isinstance(array, np.ndarray) else None for array in arrays]


def _note(array: np.ndarray) -> Any:
    if array.nbytes <= _SMALL:
        return array.tobytes()
    memory = array.transpose(sorted(range(array.ndim), key=lambda axis: -array.strides[axis]))
    flat = np.ascontiguousarray(memory).reshape(-1)
    octets = flat.view(np.uint8)
    whole = octets[: octets.size // 8 * 8].view(np.uint64)
    sample = flat[:: -(-flat.size // _SMALL)]
    return int(whole.sum()), octets[whole.nbytes :].tobytes(), sample.tobytes()


def note(before: list[Any], arrays: list[Any], args: Sequence[Any], dirty: Any) -> None:
    """Advance the version of arguments that the forward changed without declaring it."""
    for position, earlier in enumerate(before):
        array = arrays[position]
        if earlier is None or any(array is other for other in dirty):
            continue
        if isinstance(args[position], Tensor) and _note(array) != earlier:
            args[position].version[0] += 1


def wrapped(output: Any, args: Sequence[Any], outputs: Sequence[Any], before: list[Any]) -> Any:
    """Return an output of a forward as a Tensor: a view of the argument whose memory it shares.

    What is no array stays as it is. `before` holds the earlier ones of the `outputs`: an array that
    is returned twice is one Tensor.
    """
    if not hasattr(output, "dtype"):
        return output
    if isinstance(output, Tensor):
        raise AutogradError("a Function's forward returned a Tensor; it must return arrays")
    for earlier, other in zip(before, outputs, strict=False):
        if other is output:
            return earlier
    result = Tensor(output)
    for arg in args if result.array.base is not None else ():
        if isinstance(arg, Tensor) and _shows(result.array, arg.array):
            link_opaque(result, arg)
            break
    return result


def _shows(y: Array, x: Array) -> bool:
    """Return whether the array `y` shares memory with `x`."""
    if not shares_memory(y, x):
        return False
    return not isinstance(y, np.ndarray) or np.may_share_memory(y, x)
