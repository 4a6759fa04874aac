"""Clipping of all gradients in a few launches on the GPU: see ``nn/utils.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...device import Array, cupy, device_of
from .many import ManySource
from .memory import aligned, is_dense

_CLIP = ManySource("clip_gradients.cu", arrays=("grad",))


def covers(arrays: Sequence[Array]) -> bool:
    """Return whether the kernels can take these arrays: dense, of one dtype and device."""
    kinds = {(array.dtype.char, device_of(array)) for array in arrays}
    return len(kinds) == 1 and all(is_dense(array) for array in arrays)


def norm_and_factor(arrays: Sequence[Array], max_norm: float, p: float) -> Array:
    """Return the p-norm and the factor that brings it down to `max_norm`, as an array of two."""
    xp, dtype = cupy(), arrays[0].dtype
    partial = xp.empty(_CLIP.blocks([array.size for array in arrays]), dtype)
    result = xp.empty(2, dtype)
    _CLIP.launch("powers", dtype, _rows(arrays), partial, float(p))
    _CLIP.source.launch(
        "norm_and_factor", dtype, 1, partial, partial.size, result, float(p), float(max_norm),
        grid=1,
    )  # fmt: skip
    return result


def scale(arrays: Sequence[Array], result: Array) -> None:
    """Multiply by the factor of :func:`norm_and_factor` in place."""
    _CLIP.launch("scale", result.dtype, _rows(arrays), result)


def limit(arrays: Sequence[Array], low: float, high: float) -> None:
    """Limit every number to [low, high] in place."""
    _CLIP.launch("limit", arrays[0].dtype, _rows(arrays), float(low), float(high))


def _rows(arrays: Sequence[Array]) -> list[Any]:
    return [(aligned(array), ()) for array in arrays]
