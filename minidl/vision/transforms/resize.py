"""Resizing to torchvision's pixels: Resize, RandomResizedCrop, and Resize with RandomCrop in one.

``Resize(s)`` makes the shorter side s and the longer ``int(s · longer / shorter)`` (rounded down).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from ...data import sample_stream
from ...errors import ArgumentError
from ...nn.functional import interpolate
from ...ops import stack
from ...tensor import Tensor
from ._image import Transform, crop, is_pil, is_rgb_bytes, pair, size_of, two
from .crop import RandomCrop, random_place

__all__ = ["InterpolationMode", "RandomResizedCrop", "Resize", "ResizeAndCrop"]


class InterpolationMode(Enum):
    """Pillow's filters, for :class:`Resize` and other transforms.

    When a picture shrinks, all filters but the nearest average over the pixels that are merged.
    ``NEAREST_EXACT`` takes the pixel at the center, as Pillow's NEAREST does; ``NEAREST`` takes
    another one of a tensor, like PyTorch.
    """

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BOX = "box"
    BILINEAR = "bilinear"
    HAMMING = "hamming"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


def interpolation_mode(mode: InterpolationMode | int, who: str) -> InterpolationMode:
    """Return the mode, also for Pillow's constants such as ``Image.BILINEAR``."""
    if isinstance(mode, InterpolationMode):
        return mode
    from PIL import Image

    try:
        return InterpolationMode[Image.Resampling(mode).name]
    except ValueError:
        raise ArgumentError(
            f"{who}: interpolation must be an InterpolationMode, got {mode!r}"
        ) from None


def pillows(mode: InterpolationMode) -> Any:
    """Return Pillow's constant."""
    from PIL import Image

    return Image.Resampling[mode.name.removesuffix("_EXACT")]


def _resize(
    image: Any,
    height: int,
    width: int,
    mode: InterpolationMode,
    box: tuple[float, float, float, float] | None = None,
) -> Any:
    """Resize a picture, or only the part in a box of (left, top, right, bottom)."""
    from PIL import Image

    if isinstance(image, Tensor) and image.dtype == np.uint8 and image.ndim > 3 and len(image):
        return stack([_resize(one, height, width, mode, box) for one in image])
    quick = is_rgb_bytes(image) and isinstance(image.array, np.ndarray)
    if quick and mode not in _NOT_AS_PILLOW:
        picture = Image.fromarray(image.array.transpose(1, 2, 0))
        return Tensor(np.asarray(_resize(picture, height, width, mode, box)).transpose(2, 0, 1))
    if isinstance(image, Tensor):
        return resample(image, height, width, mode)
    return image.resize((width, height), pillows(mode), box)


#: Filters with which tensors differ from PIL images, in torchvision too.
_NOT_AS_PILLOW = tuple(map(InterpolationMode, ("nearest", "nearest-exact", "bicubic")))


class Resize(Transform):
    """Resizes a PIL image, or a tensor of shape (..., H, W).

    Parameters
    ----------
    size : int or (height, width)
        An int is the length of the shorter side; the aspect ratio is kept, and the longer side
        becomes ``int(size * longer / shorter)``. A pair is the size itself.
    interpolation : InterpolationMode, default BILINEAR
        Pillow's constants are accepted too.
    max_size : int, optional
        With an int ``size``: the maximum length of the longer side; the shorter side then becomes
        shorter than ``size``.
    antialias : bool, default True
        Whether a tensor that shrinks is averaged, as a PIL image always is. Other tensors than
        uint8 of shape (3, H, W) take the nearest pixel, BILINEAR and BICUBIC.

    Raises
    ------
    ArgumentError
        The sizes are not positive, or ``max_size`` does not fit ``size``.
    DataError
        The value is not such a picture.

    Examples
    --------
    >>> from PIL import Image
    >>> from minidl.vision.transforms import Resize
    >>> Resize(256)(Image.new("RGB", (500, 375))).size
    (341, 256)
    """

    _shown = ("size", "interpolation", "max_size", "antialias")

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        height, width = pair(size, "Resize")
        self._shorter = None if isinstance(size, Sequence) and len(size) == 2 else height
        if max_size is not None and (self._shorter is None or max_size <= self._shorter):
            raise ArgumentError(
                f"Resize: max_size={max_size} needs one smaller int as size, got {size!r}"
            )
        self.size = size
        self.interpolation = interpolation_mode(interpolation, "Resize")
        self.max_size = max_size
        self.antialias = antialias
        self._exact = (height, width)

    def forward(self, img: Any) -> Any:
        target = self.target(img)
        if target == size_of(img, "Resize"):
            return img
        if not self.antialias and isinstance(img, Tensor):
            return resample(img, *target, self.interpolation, antialias=False)
        return _resize(img, *target, self.interpolation)

    @property
    def takes_bytes(self) -> bool:
        """Whether a tensor of bytes gives the numbers of the PIL image."""
        return self.interpolation not in _NOT_AS_PILLOW and bool(self.antialias)

    def target(self, image: Any) -> tuple[int, int]:
        """Return a picture's height and width after resizing."""
        height, width = size_of(image, "Resize")
        if self._shorter is None:
            return self._exact
        shorter = self._shorter
        longer = int(shorter * max(height, width) / min(height, width))
        if self.max_size is not None and longer > self.max_size:
            shorter, longer = int(self.max_size * shorter / longer), self.max_size
        return (longer, shorter) if width <= height else (shorter, longer)


def resample(
    image: Tensor, height: int, width: int, mode: InterpolationMode, antialias: bool = True
) -> Tensor:
    """Resize a tensor (..., H, W) by :func:`~minidl.nn.functional.interpolate`, as torchvision."""
    if mode not in _ON_TENSORS:
        raise ArgumentError(
            f"interpolation={mode.name} is for PIL images; a tensor takes "
            f"{', '.join(m.name for m in _ON_TENSORS)}"
        )
    dtype, nearest = image.dtype, mode.value.startswith("nearest")
    planes = image.reshape(-1, 1, *image.shape[-2:])
    planes = planes if nearest or dtype.kind == "f" else planes.float()
    result = interpolate(
        planes, (height, width), mode=mode.value, antialias=antialias and not nearest
    ).reshape(*image.shape[:-2], height, width)
    if result.dtype == dtype:
        return result
    if dtype.kind == "b":
        return result != 0
    limits = np.iinfo(dtype)
    return Tensor(result.array.round().clip(limits.min, limits.max).astype(dtype))


_ON_TENSORS = (*_NOT_AS_PILLOW, InterpolationMode.BILINEAR)


class ResizeAndCrop:
    """A Resize and the RandomCrop after it, computing only the pixels that the crop keeps.

    Bilinear values may differ by one gray level (rarely two) from those of the two in sequence:
    Pillow stores the box in single precision, handles rows and columns in whichever order is faster
    for the box, and rounds in between. Other filters overshoot or pick pixels, and differ by more.

    Parameters
    ----------
    resize : Resize
    crop : RandomCrop
        Without a border.
    """

    def __init__(self, resize: Resize, crop: RandomCrop) -> None:
        self.resize, self.crop = resize, crop

    @staticmethod
    def fits(first: Any, second: Any) -> bool:
        """Return whether two transforms are such a pair."""
        return (
            type(first) is Resize
            and first.interpolation is InterpolationMode.BILINEAR
            and bool(first.antialias)
            and type(second) is RandomCrop
            and second.takes_bytes
        )

    def __call__(self, image: Any) -> Any:
        target = self.resize.target(image)
        old_height, old_width = size_of(image, "Resize")
        # Pillow resizes pictures with a palette, or of one bit, by picking pixels.
        by_box = image.mode in ("RGB", "L") if is_pil(image) else is_rgb_bytes(image)
        if target == (old_height, old_width) or not by_box:
            return self.crop(self.resize(image))
        top, left, h, w = random_place(target, self.crop.size, self.crop.shared)
        down, across = old_height / target[0], old_width / target[1]
        box = (left * across, top * down, (left + w) * across, (top + h) * down)
        return _resize(image, h, w, self.resize.interpolation, box)


class RandomResizedCrop(Transform):
    """Cuts a part of random area and aspect ratio out of a picture and resizes it.

    An area and a ratio (uniform in its logarithm) are drawn up to ten times, until the part fits
    into the picture; after that, the largest central part with an allowed ratio is taken.

    Parameters
    ----------
    size : int or (height, width)
        Size of the result.
    scale : (float, float), default (0.08, 1.0)
        Smallest and largest fraction of the picture's area.
    ratio : (float, float), default (3/4, 4/3)
        Smallest and largest width / height.
    interpolation : InterpolationMode, default BILINEAR
        Pillow's constants are accepted too.
    antialias : bool, default True
        See :class:`Resize`.

    Raises
    ------
    ArgumentError
        A range is empty or not positive.
    DataError
        The value is not a picture.

    Examples
    --------
    >>> from PIL import Image
    >>> from minidl.vision.transforms import RandomResizedCrop
    >>> RandomResizedCrop(224)(Image.new("RGB", (500, 375))).size
    (224, 224)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        for name, limits in (("scale", scale), ("ratio", ratio)):
            low, high = two(limits, f"RandomResizedCrop: {name}")
            if not 0 < low <= high:
                raise ArgumentError(
                    f"RandomResizedCrop: {name} must be two positive numbers in order, got {limits}"
                )
        self.size = pair(size, "RandomResizedCrop")
        self.scale = scale
        self.ratio = ratio
        self.interpolation = interpolation_mode(interpolation, "RandomResizedCrop")
        self.antialias = antialias
        self._resize = Resize(self.size, self.interpolation, antialias=antialias)

    @staticmethod
    def get_params(
        img: Any, scale: Sequence[float], ratio: Sequence[float]
    ) -> tuple[int, int, int, int]:
        """Choose a part at random: its top, left, height and width."""
        height, width = size_of(img, "RandomResizedCrop")
        rng = sample_stream()
        for _ in range(10):
            area = height * width * rng.uniform(scale[0], scale[1])
            aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
        w, h = min(width, round(height * max(ratio))), min(height, round(width / min(ratio)))
        return (height - h) // 2, (width - w) // 2, h, w

    def forward(self, img: Any) -> Any:
        return self._resize(crop(img, *self.get_params(img, self.scale, self.ratio)))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, scale={tuple(self.scale)}, "
            f"ratio={tuple(round(r, 4) for r in self.ratio)}, "
            f"interpolation={self.interpolation.value}, antialias={self.antialias})"
        )
