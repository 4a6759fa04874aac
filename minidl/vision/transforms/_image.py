"""Operations on pictures that the transforms share, for Pillow images and tensors.

Pillow is imported only where it is needed: a program that never imported it has no Pillow images.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from numbers import Real
from typing import Any

import numpy as np

from ...autograd import is_grad_enabled
from ...conversion import fitting
from ...device import array_module
from ...errors import ArgumentError, AutogradError, DTypeError, SampleTypeError, ShapeError
from ...nn import functional
from ...tensor import Tensor


class Transform:
    """The base of the transforms: ``repr`` shows the attributes named in `_shown`.

    Those in `_optional` are shown only if they are given.
    """

    _shown: tuple[str, ...] = ()
    _optional = ("center", "mode", "shared")

    def forward(self, img: Any) -> Any:
        """Return the transformed picture; a subclass may replace it, as in torchvision."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def __repr__(self) -> str:
        values = {name: getattr(self, name) for name in self._shown}
        shown = (
            f"{name}={value.value if isinstance(value, Enum) else value}"
            for name, value in values.items()
            if value is not None or name not in self._optional
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def is_pil(image: Any) -> bool:
    """Return whether a value is a Pillow image."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def is_rgb_bytes(image: Any) -> bool:
    """Return whether a value is a uint8 tensor of shape (3, H, W)."""
    return isinstance(image, Tensor) and image.dtype == np.uint8 and image.shape[:-2] == (3,)


def check_no_grad(image: Any, who: str) -> None:
    """Raise if a tensor requires a gradient, which would get lost."""
    if isinstance(image, Tensor) and image.requires_grad and is_grad_enabled():
        raise AutogradError(f"{who} has no gradient: call it inside no_grad(), or detach() before")


def require_float_tensor(image: Any, who: str) -> None:
    """Raise unless the picture is a floating-point tensor of shape (..., C, H, W)."""
    if not isinstance(image, Tensor):
        raise SampleTypeError(
            f"{who}: expected a tensor of shape (C, H, W), got {type(image).__name__}; "
            "put ToTensor() or ToPixels() before it"
        )
    if image.ndim < 3:
        raise ShapeError(f"{who}: expected shape (..., C, H, W), got {tuple(image.shape)}")
    if image.dtype.kind != "f":
        raise DTypeError(f"{who}: expected a floating-point tensor, got {image.dtype}")


def size_of(image: Any, who: str) -> tuple[int, int]:
    """Return height and width."""
    if is_pil(image):
        width, height = image.size
        return height, width
    if isinstance(image, Tensor) and image.ndim >= 2:
        return image.shape[-2], image.shape[-1]
    shape = f" of shape {tuple(image.shape)}" if isinstance(image, Tensor) else ""
    raise SampleTypeError(
        f"{who}: expected a PIL image or a tensor of shape (..., H, W), "
        f"got {type(image).__name__}{shape}"
    )


def channels_of(image: Any, who: str) -> int:
    """Return the number of channels."""
    size_of(image, who)
    if is_pil(image):
        return len(image.getbands())
    return image.shape[-3] if image.ndim > 2 else 1


def crop(image: Any, top: int, left: int, height: int, width: int) -> Any:
    """Return a part, which lies inside the picture if that is a tensor; then it is a view."""
    if is_pil(image):
        return image.crop((left, top, left + width, top + height))
    size_of(image, "crop")
    part = (..., slice(top, top + height), slice(left, left + width))
    return image[part] if image.requires_grad else Tensor(image.array[part])


def hflip(img: Any) -> Any:
    """Return the picture with left and right exchanged."""
    if is_pil(img):
        from PIL import Image

        return img.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    size_of(img, "hflip")
    return img.flip(-1) if img.requires_grad else Tensor(img.array[..., ::-1].copy(order="K"))


def vflip(img: Any) -> Any:
    """Return the picture with top and bottom exchanged."""
    if is_pil(img):
        from PIL import Image

        return img.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    size_of(img, "vflip")
    return img.flip(-2) if img.requires_grad else Tensor(img.array[..., ::-1, :].copy(order="K"))


def pad(image: Any, ltrb: tuple[int, int, int, int], fill: Any = 0, mode: str = "constant") -> Any:
    """Return the picture with a border of (left, top, right, bottom) pixels."""
    left, top, right, bottom = ltrb
    border = ((top, bottom), (left, right))
    if is_pil(image):
        from PIL import Image, ImageOps

        if mode == "constant":
            color = fill_of(fill, len(image.getbands()), image.mode)
            return ImageOps.expand(image, border=ltrb, fill=color)
        pixels = np.asarray(image)
        widths = border + ((0, 0),) * (pixels.ndim - 2)
        padded = Image.fromarray(np.pad(pixels, widths, mode))  # type: ignore[call-overload]
        if image.mode == "P":
            padded.putpalette(image.getpalette())
        return padded
    size_of(image, "pad")
    passes = image.requires_grad and is_grad_enabled()
    if passes and mode != "symmetric" and np.ndim(fill) == 0:
        sides = (left, right, top, bottom)
        return functional.pad(image, sides, "replicate" if mode == "edge" else mode, fill)
    check_no_grad(image, "pad")
    array, xp = image.array, array_module(image.array)
    padded = xp.pad(array, ((0, 0),) * (array.ndim - 2) + border, mode)
    colors = fill_of(fill, channels_of(image, "pad"))
    if mode == "constant" and np.any(colors):
        height, width = array.shape[-2:]
        fitted = {color: fitting("pad: fill", color, array.dtype) for color in set(colors)}
        values = xp.asarray(np.array([fitted[color] for color in colors]).reshape(-1, 1, 1))
        padded[...] = values[0] if array.ndim == 2 else values
        padded[..., top : top + height, left : left + width] = array
    return Tensor(padded)


def checked_fill(fill: Any) -> Any:
    """Return the value outside the picture: 0 for None."""
    if fill is not None and (isinstance(fill, str) or not isinstance(fill, Real | Sequence)):
        raise DTypeError(f"fill must be a number, or one for each channel, got {fill!r}")
    return 0 if fill is None else fill


def fill_of(fill: Any, channels: int, mode: str | None = None) -> Any:
    """Return the color of a border: one number for each channel.

    Parameters
    ----------
    fill : number or sequence
        One number for all channels, or one for each.
    channels : int
    mode : str, optional
        Of a Pillow image: return what Pillow takes.
    """
    numbers = [0 if fill is None else fill] if np.ndim(fill or 0) == 0 else list(fill)
    if len(numbers) not in (1, channels):
        raise ArgumentError(
            f"fill must be one number or one for each of {channels} channels, got {fill!r}"
        )
    numbers *= channels // len(numbers)
    if mode is None:
        return tuple(numbers)
    numbers = numbers if mode == "F" else [int(number) for number in numbers]
    return numbers[0] if channels == 1 else tuple(numbers)


def require_tensor(image: Any, who: str) -> None:
    """Raise unless the picture is a tensor."""
    if not isinstance(image, Tensor):
        raise SampleTypeError(
            f"{who}: expected a tensor, got {type(image).__name__}; put PILToTensor() or "
            "ToTensor() before it"
        )


def _numbers(value: Any, name: str) -> tuple[Any, ...]:
    """Return one number or several as a tuple."""
    if isinstance(value, int | np.integer):
        return (value,)
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        raise DTypeError(f"{name} must be an int or several, got {value!r}")
    return tuple(value)


def pair(size: Any, who: str) -> tuple[int, int]:
    """Return (height, width) for an argument that is one number, or a sequence of one or two."""
    numbers = _numbers(size, f"{who}: size")
    if len(numbers) not in (1, 2) or any(number < 1 for number in numbers):
        raise ArgumentError(f"{who}: size must be a positive int or (height, width), got {size!r}")
    return int(numbers[0]), int(numbers[-1])


def border(padding: int | Sequence[int], who: str) -> tuple[int, int, int, int]:
    """Return (left, top, right, bottom) for one number, (horizontal, vertical), or all four."""
    numbers = _numbers(padding, f"{who}: padding")
    if len(numbers) not in (1, 2, 4) or any(number < 0 for number in numbers):
        raise ArgumentError(
            f"{who}: padding must be an int, 2 or 4 ints that are not negative, got {padding!r}"
        )
    left, top, right, bottom = (numbers * (4 // len(numbers)))[:4]
    return int(left), int(top), int(right), int(bottom)


def number(value: float, name: str) -> float:
    """Return `value`, or raise unless it is a number."""
    if not hasattr(value, "__float__"):  # a tensor of one element has it
        raise DTypeError(f"{name} must be a number, got {value!r}")
    return value


def probability(p: float, who: str) -> float:
    """Return `p`, or raise unless it is between 0 and 1."""
    if not 0 <= number(p, f"{who}: p") <= 1:
        raise ArgumentError(f"{who}: p must be between 0 and 1, got {p}")
    return p


def two(values: Any, name: str) -> tuple[float, float]:
    """Return two numbers, or raise."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise DTypeError(f"{name} must be two numbers, got {values!r}")
    if len(values) != 2:
        raise ArgumentError(f"{name} must be two numbers, got {len(values)}")
    return values[0], values[1]


def neighbors(shared: int | None, who: str) -> int | None:
    """Return `shared`, the number of neighbors that share a choice; raise if it is less than 1."""
    if shared is not None and shared < 1:
        raise ArgumentError(f"{who}: shared must be at least 1, got {shared}")
    return shared
