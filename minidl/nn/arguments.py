"""Arguments of layers that slide windows over images: checked, and made a geometry."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ..device import Array
from ..errors import ArgumentError, ShapeError
from ..kernels.windows import Geometry, Pair, plan

IntOrPair: TypeAlias = int | tuple[int, ...] | list[int]


def pair(name: str, value: Any, least: int = 1) -> Pair:
    """Return `value`, an integer or two, as a pair.

    Raises
    ------
    ArgumentError
        It is neither, or smaller than `least`; the message names the argument.
    """
    values = (value, value) if isinstance(value, (int, np.integer)) else value
    try:
        if len(values) == 1:
            values = (*values, *values)
        first, second = (int(v) for v in values)
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"{name}: expected an integer or two, got {value!r}") from error
    if min(first, second) < least:
        raise ArgumentError(f"{name}: expected at least {least}, got {value!r}")
    return first, second


def check_images(name: str, x: Array) -> None:
    """Raise a `ShapeError` unless `x` has the four axes (N, C, H, W)."""
    if x.ndim != 4:
        raise ShapeError(f"{name}: expected input of shape (N, C, H, W), got {tuple(x.shape)}")


def check_padding(name: str, padding: Any, stride: Pair) -> Any:
    """Return the padding of a convolution: a pair of numbers, "same" or "valid"."""
    if not isinstance(padding, str):
        return pair(f"{name}: padding", padding, 0)
    if padding not in ("same", "valid"):
        raise ArgumentError(f"{name}: padding must be numbers, 'same' or 'valid', got {padding!r}")
    if padding == "same" and stride != (1, 1):
        raise ArgumentError(f"{name}: padding='same' needs stride 1, got {stride}")
    return padding


def conv_geometry(
    name: str, size: Pair, kernel: Pair, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Geometry:
    """Return where a convolution's windows lie, from its arguments."""
    stride, dilation = pair(f"{name}: stride", stride), pair(f"{name}: dilation", dilation)
    before = after = check_padding(name, padding, stride)
    if padding == "valid":
        before = after = 0, 0
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        before = total[0] // 2, total[1] // 2
        after = total[0] - before[0], total[1] - before[1]
    if ceil_mode:
        # Round the number of windows up: as much more padding below and to the right as it takes.
        missing = [
            -(n + 2 * p - d * (k - 1) - 1) % s
            for n, p, d, k, s in zip(size, before, dilation, kernel, stride, strict=True)
        ]
        after = after[0] + missing[0], after[1] + missing[1]
    return plan(name, size, kernel, stride, dilation, before, after)
