"""Changes of color with a given strength, for Pillow images and tensors, as in torchvision.

A change mixes the picture x with another one: black for brightness, the mean of its gray for
contrast, its gray for saturation:

    y = f · x + (1 - f) · other,    limited to the range of the dtype

Integer tensors are rounded towards zero, Pillow images as Pillow does.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...conversion import as_dtype
from ...device import Array, array_module
from ...errors import ArgumentError, DTypeError, ShapeError
from ...ops import cat
from ...tensor import Tensor
from ._image import channels_of, check_no_grad, is_pil, number, require_tensor

__all__ = [
    "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_saturation",
    "convert_image_dtype", "rgb_to_grayscale",
]  # fmt: skip


def _check(image: Any, who: str, factor: float = 0) -> None:
    channels = channels_of(image, who)
    if number(factor, f"{who}: the factor") < 0 and not is_pil(image):
        raise ArgumentError(f"{who}: the factor must not be negative, got {factor}")
    if isinstance(image, Tensor) and channels not in (1, 3):
        raise ShapeError(
            f"{who}: expected a tensor of shape (..., C, H, W) with 1 or 3 channels, "
            f"got {tuple(image.shape)}"
        )


def _white(dtype: np.dtype) -> int:
    """Return the value of white: 1 for floats and bool, the largest number of an integer dtype."""
    return 1 if dtype.kind in "fb" else int(np.iinfo(dtype).max)


def _real(dtype: np.dtype) -> np.dtype:
    return dtype if dtype.kind == "f" else np.dtype(np.float32)


def _numbers(image: Tensor) -> Any:
    """Return what formulas compute with: reals, as a Tensor only if a gradient is to pass."""
    return image if image.requires_grad else image.array.astype(_real(image.dtype), copy=False)


def _picture(numbers: Any, dtype: np.dtype) -> Tensor:
    return numbers if isinstance(numbers, Tensor) else Tensor(numbers.astype(dtype, copy=False))


def _mix(image: Tensor, other: Any, factor: float) -> Tensor:
    """Return y as at the top of this file."""
    mixed = _numbers(image) * float(factor) + (1 - float(factor)) * other
    return _picture(mixed.clip(0, _white(image.dtype)), image.dtype)


def _gray(image: Tensor) -> Any:
    """Return (..., 1, H, W) as :func:`_numbers`, rounded as the picture's dtype rounds."""
    numbers = _numbers(image)
    if channels_of(image, "gray") == 1:
        return numbers
    red, green, blue = (numbers[..., c : c + 1, :, :] for c in range(3))
    gray = 0.2989 * red + 0.587 * green + 0.114 * blue
    return gray if image.dtype.kind == "f" else gray.astype(image.dtype).astype(gray.dtype)


def _enhance(image: Any, what: str, factor: float) -> Any:
    """Return a Pillow image after the change of that name."""
    from PIL import ImageEnhance

    try:
        return getattr(ImageEnhance, what)(image).enhance(factor)
    except ValueError as error:
        raise DTypeError(
            f"adjust: Pillow can't change the colors of mode {image.mode}; convert it to RGB or L"
        ) from error


def rgb_to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Return the picture in gray, 0.299 R + 0.587 G + 0.114 B, with one or three equal channels."""
    _check(img, "rgb_to_grayscale")
    if num_output_channels not in (1, 3):
        raise ArgumentError(f"num_output_channels must be 1 or 3, got {num_output_channels}")
    if is_pil(img):
        gray = img.convert("L")
        return gray if num_output_channels == 1 else gray.convert("RGB")
    gray = _picture(_gray(img), img.dtype)
    if img.ndim < 3:
        gray = gray.unsqueeze(0)
    return cat([gray] * num_output_channels, -3)


def adjust_brightness(img: Any, brightness_factor: float) -> Any:
    """Mix with black: factor 0 gives black, 1 the picture, 2 twice the brightness."""
    _check(img, "adjust_brightness", brightness_factor)
    if is_pil(img):
        return _enhance(img, "Brightness", brightness_factor)
    return _mix(img, 0.0, brightness_factor)


def adjust_contrast(img: Any, contrast_factor: float) -> Any:
    """Mix with the mean of the gray picture: factor 0 gives plain gray, 1 the picture."""
    _check(img, "adjust_contrast", contrast_factor)
    if is_pil(img):
        return _enhance(img, "Contrast", contrast_factor)
    return _mix(img, _gray(img).mean(axis=(-3, -2, -1), keepdims=True), contrast_factor)


def adjust_saturation(img: Any, saturation_factor: float) -> Any:
    """Mix with the gray picture: factor 0 gives gray, 1 the picture, 2 stronger colors."""
    _check(img, "adjust_saturation", saturation_factor)
    if is_pil(img):
        return _enhance(img, "Color", saturation_factor)
    return img if channels_of(img, "saturation") == 1 else _mix(img, _gray(img), saturation_factor)


def adjust_gamma(img: Any, gamma: float, gain: float = 1) -> Any:
    """Return ``gain * x**gamma``, where white is 1: gamma > 1 makes shadows darker."""
    _check(img, "adjust_gamma")
    if gamma < 0:
        raise ArgumentError(f"adjust_gamma: gamma must not be negative, got {gamma}")
    if is_pil(img):
        table = [int((255 + 1 - 1e-3) * gain * (level / 255) ** gamma) for level in range(256)]
        return img.convert("RGB").point(table * 3).convert(img.mode)
    pixels = _numbers(convert_image_dtype(img, _real(img.dtype)))
    changed = _picture((gain * pixels**gamma).clip(0, 1), _real(img.dtype))
    return convert_image_dtype(changed, img.dtype)


def adjust_hue(img: Any, hue_factor: float) -> Any:
    """Turn the color circle by the factor, -0.5 to 0.5 of a whole turn."""
    _check(img, "adjust_hue")
    if not -0.5 <= number(hue_factor, "adjust_hue: the factor") <= 0.5:
        raise ArgumentError(f"adjust_hue: the factor must lie in -0.5 to 0.5, got {hue_factor}")
    if is_pil(img):
        from PIL import Image

        if img.mode in ("1", "L", "I", "F"):
            return img
        hue, saturation, value = img.convert("HSV").split()
        # Pillow's hue is a byte that wraps at 256.
        hue = hue.point([(level + int(hue_factor * 255)) % 256 for level in range(256)])
        return Image.merge("HSV", (hue, saturation, value)).convert(img.mode)
    if channels_of(img, "hue") == 1:
        return img
    check_no_grad(img, "adjust_hue")
    hue, saturation, value = _to_hsv(convert_image_dtype(img, _real(img.dtype)).array)
    turned = _from_hsv((hue + hue_factor) % 1, saturation, value)
    return convert_image_dtype(Tensor(turned), img.dtype)


def _to_hsv(pixels: Array) -> tuple[Array, Array, Array]:
    """Return hue, saturation and value, each (..., H, W), from 0 to 1."""
    xp = array_module(pixels)
    red, green, blue = (pixels[..., c, :, :] for c in range(3))
    value, low = pixels.max(axis=-3), pixels.min(axis=-3)
    spread, one = value - low, pixels.dtype.type(1)
    plain = spread == 0
    saturation = spread / xp.where(plain, one, value)
    # How far each color is below the greatest, in parts of the spread.
    r, g, b = ((value - color) / xp.where(plain, one, spread) for color in (red, green, blue))
    hue = xp.where(value == red, b - g, xp.where(value == green, 2 + r - b, 4 + g - r))
    return (hue / 6) % 1, saturation, value


def _from_hsv(hue: Array, saturation: Array, value: Array) -> Array:
    """Return (..., 3, H, W)."""
    xp = array_module(hue)
    sector = xp.floor(hue * 6)
    part = hue * 6 - sector
    p = value * (1 - saturation)
    q = value * (1 - saturation * part)
    t = value * (1 - saturation * (1 - part))
    colors = ((value, t, p), (q, value, p), (p, value, t), (p, q, value), (t, p, value),
              (value, p, q))  # fmt: skip
    which = sector.astype(np.int64) % 6
    rgb = [xp.select([which == k for k in range(6)], [c[i] for c in colors]) for i in range(3)]
    return xp.stack(rgb, axis=-3).clip(0, 1).astype(value.dtype)


def convert_image_dtype(image: Tensor, dtype: Any = np.float32) -> Tensor:
    """Convert a tensor to another dtype, and scale it so that white stays white.

    Floats have white at 1, integers at their greatest number.

    Raises
    ------
    DTypeError
        From floats to integers of more bits than they have digits.
    """
    require_tensor(image, "convert_image_dtype")
    old, new = image.dtype, as_dtype("convert_image_dtype", dtype)
    if old == new:
        return image
    if old.kind == new.kind == "f":
        return image.to(dtype=new)
    pixels = image.array
    if new.kind == "f":
        return Tensor(pixels.astype(new) / new.type(_white(old)))
    if old.kind == "f":
        if new.itemsize > 4 or (old.itemsize < 8 and new.itemsize == 4):
            raise DTypeError(f"convert_image_dtype: {old} has too few digits for {new}")
        # Each number has an equal share of the range: without 1e-3, white alone would overflow.
        return Tensor((pixels * old.type(_white(new) + 1 - 1e-3)).astype(new))
    old_range, new_range = _white(old) + 1, _white(new) + 1
    if old_range > new_range:
        return Tensor((pixels // (old_range // new_range)).astype(new))
    return Tensor(pixels.astype(new) * (new_range // old_range))
