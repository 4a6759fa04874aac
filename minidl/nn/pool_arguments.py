"""The arguments that all pools share: checks, and where the windows lie."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels.windows import Geometry, plan
from ..tensor import Tensor
from .im2col import pair


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
