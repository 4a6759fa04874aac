"""Arguments of layers that slide windows over images: checked, and made a geometry."""

from __future__ import annotations

from operator import index
from typing import Any, TypeAlias

import numpy as np

from ..device import Array
from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels.windows import Geometry, Pair, plan
from ..tensor import Tensor

IntOrPair: TypeAlias = int | tuple[int, ...] | list[int]


def pair(name: str, value: Any, least: int = 1) -> Pair:
    """Return `value`, an integer or two, as a pair.

    Raises
    ------
    DTypeError
        It is neither; the message names the argument.
    ArgumentError
        There are more than two, or one is smaller than `least`.
    """
    values = (value, value) if isinstance(value, (int, np.integer)) else value
    try:
        if len(values) == 1:
            values = (*values, *values)
        first, second = (index(v) for v in values)
    except TypeError as error:
        raise DTypeError(f"{name}: expected an integer or two, got {value!r}") from error
    except ValueError as error:
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


def margins(padding: Any, kernel: Pair, dilation: Pair) -> tuple[Pair, Pair]:
    """Return the padding above and to the left, and that below and to the right."""
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        return padding, padding
    total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    before = total[0] // 2, total[1] // 2
    return before, (total[0] - before[0], total[1] - before[1])


def conv_geometry(
    name: str, size: Pair, kernel: Pair, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Geometry:
    """Return where a convolution's windows lie, from its arguments."""
    stride, dilation = pair(f"{name}: stride", stride), pair(f"{name}: dilation", dilation)
    before, after = margins(check_padding(name, padding, stride), kernel, dilation)
    if ceil_mode:
        # Round the number of windows up: as much more padding below and to the right as it takes.
        missing = [
            -(n + 2 * p - d * (k - 1) - 1) % s
            for n, p, d, k, s in zip(size, before, dilation, kernel, stride, strict=True)
        ]
        after = after[0] + missing[0], after[1] + missing[1]
    return plan(name, size, kernel, stride, dilation, before, after)


def check_floats(name: str, input: Tensor) -> None:
    """Raise a `DTypeError` unless the tensor is floating point."""
    if not input.is_floating_point():
        raise DTypeError(f"{name}: expected floats, got {input.dtype}; use .float() first")


def with_batch(name: str, input: Tensor) -> tuple[Tensor, bool]:
    """Return images with a batch axis, and whether it had to be added."""
    if input.ndim not in (3, 4):
        raise ShapeError(
            f"{name}: expected input of shape (N, C, H, W) or (C, H, W), got {tuple(input.shape)}"
        )
    return (input.unsqueeze(0), True) if input.ndim == 3 else (input, False)


def pool_geometry(
    name: str,
    images: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Geometry:
    """Return where the windows lie on images (N, C, H, W), from PyTorch's arguments.

    With `ceil_mode` the number of windows is rounded up: the last one may hang over the padding,
    but it must begin inside the image or the padding in front of it.
    """
    size = images.array.shape[2:]
    kernel = pair(f"{name}: kernel_size", kernel_size)
    stride = kernel if stride in (None, (), []) else pair(f"{name}: stride", stride)
    padding = pair(f"{name}: padding", padding, 0)
    dilation = pair(f"{name}: dilation", dilation)
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if any(p > extent // 2 for p, extent in zip(padding, extents, strict=True)):
        raise ArgumentError(
            f"{name}: padding must be at most half of the window, got padding={padding} and "
            f"kernel_size={kernel}"
        )
    after = padding
    if ceil_mode:
        more = []
        for n, extent, s, p in zip(size, extents, stride, padding, strict=True):
            room = n + 2 * p - extent
            missing = -room % s
            if missing and (room + missing) // s * s >= n + p:
                missing = 0
            more.append(p + missing)
        after = (more[0], more[1])
    return plan(name, size, kernel, stride, dilation, padding, after)
