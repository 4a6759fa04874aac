"""Rotations and affine maps of pictures, to torchvision's pixels.

The pixel of the result at x takes the picture's value at A⁻¹(x - c - t) + c, with the center c, the
translation t, and A = rotation · shear · scale. Outside the picture is the fill.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...device import Array, array_module
from ...errors import ArgumentError
from ...tensor import Tensor
from ._image import check_no_grad, fill_of, is_pil, number, size_of, two
from .resize import InterpolationMode, interpolation_mode, pillows

__all__ = ["affine", "rotate"]


def _inverse(
    center: Sequence[float], angle: float, translate: Sequence[float], scale: float,
    shear: Sequence[float],
) -> list[float]:  # fmt: skip
    """Return the two rows of the map from the result's places (x, y, 1) to the picture's."""
    turn, shear_x, shear_y = map(math.radians, (angle, *shear))
    a = math.cos(turn - shear_y) / math.cos(shear_y)
    b = -a * math.tan(shear_x) - math.sin(turn)
    c = math.sin(turn - shear_y) / math.cos(shear_y)
    d = -c * math.tan(shear_x) + math.cos(turn)
    rows = [d / scale, -b / scale, 0.0, -c / scale, a / scale, 0.0]
    x, y = -center[0] - translate[0], -center[1] - translate[1]
    rows[2] = rows[0] * x + rows[1] * y + center[0]
    rows[5] = rows[3] * x + rows[4] * y + center[1]
    return rows


def _mode(image: Any, interpolation: InterpolationMode | int, who: str) -> InterpolationMode:
    mode = interpolation_mode(interpolation, who)
    known = ["NEAREST", "BILINEAR", *["BICUBIC"] * is_pil(image)]
    if mode.name not in known:
        kind = "a PIL image" if is_pil(image) else "a tensor"
        modes = " or ".join(known)
        raise ArgumentError(f"{who}: interpolation of {kind} must be {modes}, got {mode}")
    return mode


def _sample(
    image: Tensor, rows: Sequence[float], size: tuple[int, int], mode: InterpolationMode, fill: Any
) -> Tensor:
    """Return (..., C, h, w): the picture at the places that `rows` maps to, from the centers."""
    check_no_grad(image, "a rotation or affine map")
    if image.ndim == 2:
        return _sample(image.unsqueeze(0), rows, size, mode, fill).squeeze(0)
    pixels = image.array
    xp, (height, width), (h, w) = array_module(pixels), pixels.shape[-2:], size
    real = pixels.dtype if pixels.dtype.kind == "f" else np.dtype(np.float32)
    x, y = xp.meshgrid(  # (h, w)
        xp.arange(w, dtype=np.float32) - np.float32((w - 1) / 2),
        xp.arange(h, dtype=np.float32) - np.float32((h - 1) / 2),
    )
    # In steps and in single precision, as torchvision does: places between two pixels round alike.
    halves = np.array([width / 2, height / 2], np.float32).repeat(3)
    a, b, c, d, e, f = np.array(rows, np.float32) / halves
    across = ((a * x + b * y + c + 1) * np.float32(width) - 1) / 2
    down = ((d * x + e * y + f + 1) * np.float32(height) - 1) / 2

    def at(row: Array, column: Array) -> tuple[Array, Array]:
        """Return the pixels, zero outside the picture, and whether they are inside."""
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        where = (row.clip(0, height - 1).astype(int), column.clip(0, width - 1).astype(int))
        return pixels[(..., *where)] * inside, inside

    if mode is InterpolationMode.NEAREST:
        result, inside = at(xp.rint(down), xp.rint(across))
        return Tensor(xp.where(inside, result, _fill(fill, pixels)).astype(pixels.dtype))
    top, left = xp.floor(down), xp.floor(across)
    result, coverage = xp.zeros((), real), xp.zeros((), np.float32)
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        weight = (1 - abs(down - row)) * (1 - abs(across - column))
        corner, inside = at(row, column)
        result = result + corner * weight
        coverage = coverage + weight * inside
    if fill is not None:
        result = result * coverage + (1 - coverage) * _fill(fill, pixels)
    if pixels.dtype.kind != "f":
        result = xp.rint(result)
    return Tensor(result.astype(pixels.dtype))


def _fill(fill: Any, pixels: Array) -> Array:
    """Return the fill as (C, 1, 1) or (1, 1, 1)."""
    values = np.asarray(fill_of(fill, pixels.shape[-3]), np.float64).reshape(-1, 1, 1)
    return array_module(pixels).asarray(values.astype(np.float32))


def rotate(
    img: Any,
    angle: float,
    interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: Any = None,
) -> Any:
    """Rotate a picture counterclockwise.

    Parameters
    ----------
    img : PIL image, or Tensor of shape (..., C, H, W)
    angle : float
        In degrees.
    interpolation : InterpolationMode, default NEAREST
        Or BILINEAR; for PIL images also BICUBIC.
    expand : bool, default False
        Make the result large enough for the whole picture; without `center`.
    center : (x, y), optional
        From the upper left corner. Default: the picture's center.
    fill : number or sequence, optional
        The value outside the picture, or one for each channel. With BILINEAR, a tensor's border is
        mixed with it. Default: zero.
    """
    height, width = size_of(img, "rotate")
    number(angle, "rotate: angle")
    mode = _mode(img, interpolation, "rotate")
    center = None if center is None else two(center, "rotate: center")
    if is_pil(img):
        color = fill_of(fill, len(img.getbands()), img.mode)
        return img.rotate(angle, pillows(mode), expand, center, fillcolor=color)
    middle = [0.0, 0.0] if center is None else [center[0] - width / 2, center[1] - height / 2]
    rows = _inverse(middle, -angle, [0.0, 0.0], 1.0, [0.0, 0.0])
    size = _whole(rows, width, height) if expand else (height, width)
    return _sample(img, rows, size, mode, fill)


def _whole(rows: Sequence[float], width: int, height: int) -> tuple[int, int]:
    """Return height and width of the smallest picture that holds the whole rotated one."""
    x, y = np.array([-1, -1, 1, 1]) * width / 2, np.array([-1, 1, 1, -1]) * height / 2
    corners = np.stack([rows[3] * x + rows[4] * y + rows[5] + height / 2,
                        rows[0] * x + rows[1] * y + rows[2] + width / 2])  # fmt: skip
    corners = np.trunc(corners.astype(np.float32) / 1e-4) * 1e-4  # so that 20.00001 is 20
    h, w = np.ceil(corners.max(1)) - np.floor(corners.min(1))
    return int(h), int(w)


def affine(
    img: Any,
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: float | Sequence[float],
    interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
    fill: Any = None,
    center: Sequence[float] | None = None,
) -> Any:
    """Rotate (clockwise), shear, scale and shift a picture; its size stays.

    Parameters
    ----------
    img : PIL image, or Tensor of shape (..., C, H, W)
    angle : float
        In degrees.
    translate : (float, float)
        Pixels to the right and down.
    scale : float
        Greater than 0.
    shear : float or (float, float)
        In degrees, along x, or along x and y.
    interpolation, fill, center
        See :func:`rotate`.
    """
    height, width = size_of(img, "affine")
    mode = _mode(img, interpolation, "affine")
    translate = two(translate, "affine: translate")
    x, y = (width / 2, height / 2) if center is None else two(center, "affine: center")
    if scale <= 0:
        raise ArgumentError(f"affine: scale must be greater than 0, got {scale}")
    if isinstance(shear, int | float | np.number):
        slants = [float(shear), 0.0]
    else:
        slants = list(map(float, two([*shear] * 2 if len(shear) == 1 else shear, "affine: shear")))
    if is_pil(img):
        from PIL import Image

        rows = _inverse((x, y), angle, translate, scale, slants)
        color = fill_of(fill, len(img.getbands()), img.mode)
        return img.transform(img.size, Image.Transform.AFFINE, rows, pillows(mode), fillcolor=color)
    rows = _inverse((x - width / 2, y - height / 2), angle, translate, scale, slants)
    return _sample(img, rows, (height, width), mode, fill)
