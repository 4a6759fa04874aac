"""Pictures side by side: make_grid and save_image, as in torchvision."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, BinaryIO

import numpy as np

from ..conversion import fitting
from ..device import array_module
from ..errors import ArgumentError, DataError, DTypeError
from ..missing import attributes
from ..ops import stack
from ..tensor import Tensor
from .transforms import ToPILImage
from .transforms._image import two

__all__ = ["make_grid", "save_image"]


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
) -> Tensor:
    """Arrange pictures in a grid.

    Parameters
    ----------
    tensor : Tensor of shape (N, C, H, W), (C, H, W) or (H, W), or sequence of Tensors (C, H, W)
        One channel becomes three equal ones.
    nrow : int, default 8
        Number of pictures in a row.
    padding : int, default 2
        Pixels around each picture.
    normalize : bool, default False
        Map `value_range` to 0 to 1.
    value_range : (float, float), optional
        Values beyond are cut off. Default: the least and the greatest of the values.
    scale_each : bool, default False
        Take each picture's own least and greatest values.
    pad_value : float, default 0
        Value between the pictures.

    Returns
    -------
    Tensor, shape (C, rows · (H + padding) + padding, columns · (W + padding) + padding)
        A single picture is returned without a border.

    Raises
    ------
    DataError
        The value is neither a tensor of 2 to 4 axes nor a sequence of tensors.
    DTypeError
        Integers can't be normalized.

    Examples
    --------
    >>> import minidl
    >>> tuple(make_grid(minidl.zeros(6, 3, 28, 28), nrow=3).shape)
    (3, 62, 92)
    """
    if isinstance(tensor, list | tuple) and all(isinstance(part, Tensor) for part in tensor):
        tensor = stack(tensor)
    if not isinstance(tensor, Tensor) or not 2 <= tensor.ndim <= 4:
        raise DataError(
            f"make_grid: expected a tensor of shape (N, C, H, W) or a list of tensors (C, H, W), "
            f"got {type(tensor).__name__}"
        )
    if tensor.ndim == 4 and len(tensor) == 0:
        raise DataError("make_grid: there is no picture")
    if nrow < 1:
        raise ArgumentError(f"make_grid: nrow must be at least 1, got {nrow}")
    if padding < 0:
        raise ArgumentError(f"make_grid: padding must not be negative, got {padding}")
    if normalize and not tensor.is_floating_point():
        raise DTypeError(f"make_grid: normalize needs floats, got {tensor.dtype}")
    pixels = tensor.detach().array
    xp = array_module(pixels)
    pixels = pixels.reshape((1,) * (4 - pixels.ndim) + pixels.shape)
    if pixels.shape[1] == 1:
        pixels = pixels.repeat(3, axis=1)
    if normalize:
        axes = (1, 2, 3) if scale_each else (0, 1, 2, 3)
        if value_range is None:
            low, high = (limit(axis=axes, keepdims=True) for limit in (pixels.min, pixels.max))
        else:
            low, high = two(value_range, "make_grid: value_range")
        pixels = (pixels.clip(low, high) - low) / xp.maximum(high - low, 1e-5)
        pixels = pixels.astype(tensor.dtype)
    count, channels, height, width = pixels.shape
    if count == 1:
        return Tensor(pixels[0])
    columns = min(nrow, count)
    height, width = height + padding, width + padding
    shape = (channels, math.ceil(count / columns) * height + padding, columns * width + padding)
    grid = xp.full(shape, fitting("make_grid: pad_value", pad_value, tensor.dtype), tensor.dtype)
    for number in range(count):
        top, left = (place * side + padding for place, side in
                     zip(divmod(number, columns), (height, width), strict=True))  # fmt: skip
        grid[:, top : top + height - padding, left : left + width - padding] = pixels[number]
    return Tensor(grid)


def save_image(
    tensor: Tensor | Sequence[Tensor],
    fp: str | os.PathLike[str] | BinaryIO,
    format: str | None = None,
    **kwargs: Any,
) -> None:
    """Save pictures with values from 0 to 1 as one picture file.

    Parameters
    ----------
    tensor, **kwargs
        See :func:`make_grid`.
    fp : str, path or binary file
    format : str, optional
        Such as "PNG"; needed for a file. Default: by the name's extension.

    Raises
    ------
    DTypeError
        The values are not floats.

    Examples
    --------
    >>> import io, minidl
    >>> file = io.BytesIO()
    >>> save_image(minidl.rand(4, 3, 8, 8), file, "PNG")
    >>> file.getvalue()[1:4]
    b'PNG'
    """
    pixels = make_grid(tensor, **kwargs).cpu().array
    if pixels.dtype.kind != "f":
        raise DTypeError(f"save_image: expected floats from 0 to 1, got {pixels.dtype}")
    levels = (pixels * pixels.dtype.type(255) + pixels.dtype.type(0.5)).clip(0, 255)
    ToPILImage()(levels.astype(np.uint8).transpose(1, 2, 0)).save(fp, format=format)


__getattr__ = attributes(globals())
