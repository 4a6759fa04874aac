"""The transforms as functions: torchvision's names, for Pillow images and tensors.

Examples
--------
>>> import minidl
>>> import minidl.vision.transforms.functional as F
>>> F.hflip(minidl.tensor([[[1, 2, 3]]])).tolist()
[[[3, 2, 1]]]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError, SampleTypeError
from ...missing import attributes
from ...tensor import Tensor
from . import _image
from ._image import channels_of, hflip, is_pil, size_of, vflip
from .adjust import (
    adjust_brightness,
    adjust_contrast,
    adjust_gamma,
    adjust_hue,
    adjust_saturation,
    convert_image_dtype,
    rgb_to_grayscale,
)
from .color import Normalize
from .convert import PILToTensor, ToPILImage, ToTensor
from .crop import CenterCrop, FiveCrop, Pad, TenCrop
from .geometry import erase
from .resize import InterpolationMode, Resize
from .warp import affine, rotate

__all__ = [
    "InterpolationMode", "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue",
    "adjust_saturation", "affine", "center_crop", "convert_image_dtype", "crop", "erase",
    "five_crop", "get_dimensions", "get_image_num_channels", "get_image_size", "hflip", "normalize",
    "pad", "pil_to_tensor", "resize", "resized_crop", "rgb_to_grayscale", "rotate", "ten_crop",
    "to_grayscale", "to_pil_image", "to_tensor", "vflip",
]  # fmt: skip


def get_dimensions(img: Any) -> list[int]:
    """Return [channels, height, width]."""
    return [get_image_num_channels(img), *size_of(img, "get_dimensions")]


def get_image_size(img: Any) -> list[int]:
    """Return [width, height]."""
    return list(size_of(img, "get_image_size")[::-1])


def get_image_num_channels(img: Any) -> int:
    """Return the number of channels."""
    return channels_of(img, "get_image_num_channels")


def to_tensor(pic: Any) -> Tensor:
    """Return a float32 tensor of shape (C, H, W), 0 to 1: see :class:`ToTensor`."""
    return ToTensor()(pic)


def pil_to_tensor(pic: Any) -> Tensor:
    """Return a tensor of shape (C, H, W) of the picture's own numbers."""
    return PILToTensor()(pic)


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """Return a PIL image: see :class:`ToPILImage`."""
    return ToPILImage(mode)(pic)


def normalize(
    tensor: Tensor, mean: Sequence[float], std: Sequence[float], inplace: bool = False
) -> Tensor:
    """Return ``(x - mean) / std``: see :class:`Normalize`."""
    return Normalize(mean, std, inplace)(tensor)


def resize(
    img: Any,
    size: int | Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """Resize a picture: see :class:`Resize`."""
    return Resize(size, interpolation, max_size, antialias)(img)


def pad(
    img: Any, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant"
) -> Any:
    """Put a border around a picture: see :class:`Pad`."""
    return Pad(padding, fill, padding_mode)(img)


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """Return a part of a picture; what lies outside it is black."""
    old_height, old_width = size_of(img, "crop")
    if height < 0 or width < 0:
        raise ArgumentError(f"crop: height and width must not be negative, got {height}, {width}")
    bottom, right = top + height, left + width
    if is_pil(img) or (top >= 0 and left >= 0 and bottom <= old_height and right <= old_width):
        return _image.crop(img, top, left, height, width)
    border = [max(-left, 0), max(-top, 0), max(right - old_width, 0), max(bottom - old_height, 0)]
    padded = _image.pad(img, tuple(border))  # type: ignore[arg-type]
    return _image.crop(padded, top + border[1], left + border[0], height, width)


def center_crop(img: Any, output_size: int | Sequence[int]) -> Any:
    """Return the center of a picture: see :class:`CenterCrop`."""
    return CenterCrop(output_size)(img)


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: int | Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """Cut out a part of a picture and resize it."""
    return resize(crop(img, top, left, height, width), size, interpolation, None, antialias)


def five_crop(img: Any, size: int | Sequence[int]) -> tuple[Any, ...]:
    """Return four corners and the center: see :class:`FiveCrop`."""
    return FiveCrop(size)(img)


def ten_crop(img: Any, size: int | Sequence[int], vertical_flip: bool = False) -> tuple[Any, ...]:
    """Return four corners and the center, and those of the mirror image."""
    return TenCrop(size, vertical_flip)(img)


def to_grayscale(img: Any, num_output_channels: int = 1) -> Any:
    """Return a PIL image in gray; for tensors there is :func:`rgb_to_grayscale`."""
    if not is_pil(img):
        raise SampleTypeError("to_grayscale: expected a PIL image; a tensor takes rgb_to_grayscale")
    return rgb_to_grayscale(img, num_output_channels)


__getattr__ = attributes(globals())
