"""Resize, crops, flips and borders: torchvision's geometry, to the pixel.

With a picture of height H and width W and a crop of h × w:

- ``Resize(s)`` makes the shorter side s and the longer ``int(s · longer / shorter)`` (rounded
  down);
- ``CenterCrop`` starts at ``round((H - h) / 2)``, ``round((W - w) / 2)``, where Python
  rounds halves to the even number;
- ``RandomCrop`` starts at any of the (H - h + 1) · (W - w + 1) places with equal probability;
- the five crops start at (0, 0), (0, W - w), (H - h, 0), (H - h, W - w) and the centre.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from ...data import sample_stream
from ...data.stream import shared_stream
from ...errors import ArgumentError, DataError
from ...tensor import Tensor
from ._image import (
    border,
    crop,
    hflip,
    is_pil,
    is_rgb_bytes,
    pad,
    pair,
    require_pil,
    size_of,
    vflip,
)

__all__ = [
    "CenterCrop",
    "FiveCrop",
    "InterpolationMode",
    "Pad",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "Resize",
    "TenCrop",
]

_PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


class InterpolationMode(Enum):
    """How :class:`Resize` and :class:`RandomResizedCrop` compute pixels; Pillow's filters.

    When a picture shrinks, all but ``NEAREST`` average over the pixels that fall together.
    """

    NEAREST = "nearest"
    BOX = "box"
    BILINEAR = "bilinear"
    HAMMING = "hamming"
    BICUBIC = "bicubic"
    LANCZOS = "lanczos"


def _interpolation(mode: InterpolationMode | int, who: str) -> InterpolationMode:
    """The mode; Pillow's own constants (``Image.BILINEAR``) are understood."""
    if isinstance(mode, InterpolationMode):
        return mode
    from PIL import Image

    try:
        return InterpolationMode[Image.Resampling(mode).name]
    except ValueError:
        raise ArgumentError(
            f"{who}: interpolation must be an InterpolationMode, got {mode!r}"
        ) from None


def _resize(
    image: Any,
    height: int,
    width: int,
    mode: InterpolationMode,
    box: tuple[float, float, float, float] | None = None,
) -> Any:
    """Resize a picture, or only its part inside a box of (left, top, right, bottom)."""
    from PIL import Image

    if isinstance(image, Tensor):  # of bytes, which Pillow resizes, too
        picture = Image.fromarray(image.array.transpose(1, 2, 0))
        return Tensor(np.asarray(_resize(picture, height, width, mode, box)).transpose(2, 0, 1))
    return image.resize((width, height), Image.Resampling[mode.name], box)


class Resize:
    """Resizes a PIL image, or a tensor of uint8 and shape (3, H, W).

    Parameters
    ----------
    size : int or (height, width)
        An int is the length of the shorter side, and the sides keep their ratio: the
        longer becomes ``int(size * longer / shorter)``. A pair is the size itself.
    interpolation : InterpolationMode, default BILINEAR
        Pillow's constants are accepted too.
    max_size : int, optional
        With an int ``size``: the longest that the longer side may become; the shorter one
        then becomes shorter than ``size``.
    antialias : bool, default True
        Accepted for torchvision's sake: Pillow always averages when it makes a picture smaller.

    Raises
    ------
    ArgumentError
        When the sizes are not positive, or ``max_size`` does not fit ``size``.
    DataError
        For anything else than such a picture.

    Examples
    --------
    >>> from PIL import Image
    >>> from minidl.vision.transforms import Resize
    >>> Resize(256)(Image.new("RGB", (500, 375))).size
    (341, 256)
    """

    takes_bytes = True

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
                f"Resize: max_size={max_size} needs a size of one int that is smaller, got {size!r}"
            )
        self.size = size
        self.interpolation = _interpolation(interpolation, "Resize")
        self.max_size = max_size
        self._exact = (height, width)

    def __call__(self, image: Any) -> Any:
        target = self.target(image)
        if target == size_of(image, "Resize"):
            return image
        return _resize(image, *target, self.interpolation)

    def target(self, image: Any) -> tuple[int, int]:
        """Return the height and width that a picture will have."""
        if not is_rgb_bytes(image):
            require_pil(image, "Resize")
        height, width = size_of(image, "Resize")
        if self._shorter is None:
            return self._exact
        shorter = self._shorter
        longer = int(shorter * max(height, width) / min(height, width))
        if self.max_size is not None and longer > self.max_size:
            shorter, longer = int(self.max_size * shorter / longer), self.max_size
        return (longer, shorter) if width <= height else (shorter, longer)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, interpolation={self.interpolation.value}, "
            f"max_size={self.max_size})"
        )


class CenterCrop:
    """Cuts out the centre.

    A picture that is smaller than the crop gets a black (zero) border first; of an odd number of
    missing pixels, the bottom and the right get the one more.

    Parameters
    ----------
    size : int or (height, width)
        Of the crop.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import CenterCrop
    >>> CenterCrop(2)(minidl.arange(16).reshape(1, 4, 4)).tolist()
    [[[5, 6], [9, 10]]]
    """

    takes_bytes = True

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = pair(size, "CenterCrop")

    def __call__(self, image: Any) -> Any:
        height, width = size_of(image, "CenterCrop")
        h, w = self.size
        if h > height or w > width:
            missing_h, missing_w = max(h - height, 0), max(w - width, 0)
            ltrb = (missing_w // 2, missing_h // 2, (missing_w + 1) // 2, (missing_h + 1) // 2)
            image = pad(image, ltrb)
            height, width = size_of(image, "CenterCrop")
        return crop(image, *_center(height, width, h, w), h, w)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


def _center(height: int, width: int, h: int, w: int) -> tuple[int, int]:
    return round((height - h) / 2), round((width - w) / 2)


class Pad:
    """Puts a border around a picture.

    Parameters
    ----------
    padding : int or sequence
        One width for all sides, (left and right, top and bottom), or (left, top, right, bottom).
    fill : number or tuple, default 0
        The border's value, with ``padding_mode="constant"``; a tuple names one for each channel
        of a PIL image.
    padding_mode : {"constant", "edge", "reflect", "symmetric"}
        ``edge`` repeats the outermost pixel; ``reflect`` and ``symmetric`` mirror the picture,
        without and with its outermost pixel.

    Raises
    ------
    ArgumentError
        For a negative width or another mode.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import Pad
    >>> Pad((1, 0), padding_mode="edge")(minidl.tensor([[[1, 2]]])).tolist()
    [[[1, 1, 2, 2]]]
    """

    def __init__(
        self, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant"
    ) -> None:
        if padding_mode not in _PADDING_MODES:
            raise ArgumentError(
                f"Pad: padding_mode must be one of {', '.join(_PADDING_MODES)}, "
                f"got {padding_mode!r}"
            )
        self._border = border(padding, "Pad")
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def __call__(self, image: Any) -> Any:
        size_of(image, "Pad")
        return pad(image, self._border, self.fill, self.padding_mode)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(padding={self.padding}, fill={self.fill}, "
            f"padding_mode={self.padding_mode})"
        )


class RandomCrop:
    """Cuts out a part at a random place.

    Parameters
    ----------
    size : int or (height, width)
        Of the crop.
    padding : int or sequence, optional
        A border that the picture gets first; see :class:`Pad`.
    pad_if_needed : bool, default False
        Give a picture that is too small (after ``padding``) a border of what is missing, on both
        sides.
    fill, padding_mode
        See :class:`Pad`.
    shared : int, optional
        In a loader, so many neighbours in the epoch's order are cropped at the same place (if they
        have the same size), as by the original AlexNet program: 32. Default: each at its own.

    Raises
    ------
    ArgumentError
        From the constructor: `shared` is less than 1; or see :class:`Pad`.
    DataError
        When the picture is smaller than the crop.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import RandomCrop
    >>> tuple(RandomCrop(224)(minidl.zeros(3, 256, 256)).shape)
    (3, 224, 224)
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
        shared: int | None = None,
    ) -> None:
        self.size = pair(size, "RandomCrop")
        self.shared = neighbours(shared, "RandomCrop")
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode
        self._pad = Pad(0 if padding is None else padding, fill, padding_mode)

    @staticmethod
    def get_params(
        img: Any, output_size: tuple[int, int], shared: int | None = None
    ) -> tuple[int, int, int, int]:
        """Choose a place at random: top, left, height and width of the crop."""
        return _random_place(size_of(img, "RandomCrop"), output_size, shared)

    @property
    def takes_bytes(self) -> bool:
        """As long as no border is asked for, whose filling has another form for tensors."""
        return self.padding is None and not self.pad_if_needed

    def __call__(self, image: Any) -> Any:
        if self.padding is not None:
            image = self._pad(image)
        if self.pad_if_needed:
            height, width = size_of(image, "RandomCrop")
            missing_h, missing_w = max(self.size[0] - height, 0), max(self.size[1] - width, 0)
            if missing_h or missing_w:
                image = Pad((missing_w, missing_h), self.fill, self.padding_mode)(image)
        return crop(image, *self.get_params(image, self.size, self.shared))

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, padding={self.padding}, shared={self.shared})"
        )


def _random_place(
    picture: tuple[int, int], output_size: tuple[int, int], shared: int | None
) -> tuple[int, int, int, int]:
    (height, width), (h, w) = picture, output_size
    if h > height or w > width:
        raise DataError(
            f"RandomCrop: a crop of {h}x{w} does not fit into a picture of {height}x{width}; "
            "resize it first, or pass pad_if_needed=True"
        )
    if (h, w) == (height, width):
        return 0, 0, h, w
    rng = sample_stream() if shared is None else shared_stream(shared, "crop")
    return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w


class ResizeAndCrop:
    """A Resize and the RandomCrop after it, computing no more pixels than the crop keeps.

    Bilinear values may be one grey level (seldom two) higher or lower than if all were computed:
    Pillow keeps the borders of a part in single precision, works along rows and columns in the
    order that is quicker for this part, and rounds in between. Other filters overshoot or choose
    pixels, and differ by more.

    Parameters
    ----------
    resize : Resize
    crop : RandomCrop
        Without borders.
    """

    def __init__(self, resize: Resize, crop: RandomCrop) -> None:
        self.resize, self.crop = resize, crop

    @staticmethod
    def fits(first: Any, second: Any) -> bool:
        """Whether two transforms are such a pair."""
        return (
            type(first) is Resize
            and first.interpolation is InterpolationMode.BILINEAR
            and type(second) is RandomCrop
            and second.takes_bytes
        )

    def __call__(self, image: Any) -> Any:
        target = self.resize.target(image)
        old_height, old_width = size_of(image, "Resize")
        # Pillow resizes pictures with a palette, or of one bit, by choosing pixels.
        if target == (old_height, old_width) or (is_pil(image) and image.mode not in ("RGB", "L")):
            return self.crop(self.resize(image))
        top, left, h, w = _random_place(target, self.crop.size, self.crop.shared)
        down, across = old_height / target[0], old_width / target[1]
        box = (left * across, top * down, (left + w) * across, (top + h) * down)
        return _resize(image, h, w, self.resize.interpolation, box)


class RandomHorizontalFlip:
    """Mirrors left and right with a given probability.

    Parameters
    ----------
    p : float, default 0.5
        The probability, 0 to 1.
    shared : int, optional
        In a loader, so many neighbours in the epoch's order are all mirrored or all not, as by the
        original AlexNet program: 32. Default: each by itself.

    Raises
    ------
    ArgumentError
        `p` is no probability, or `shared` less than 1.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import RandomHorizontalFlip
    >>> RandomHorizontalFlip(p=1)(minidl.tensor([[[1, 2, 3]]])).tolist()
    [[[3, 2, 1]]]
    """

    def __init__(self, p: float = 0.5, shared: int | None = None) -> None:
        self.p = probability(p, type(self).__name__)
        self.shared = neighbours(shared, type(self).__name__)

    def draw(self) -> bool:
        """Choose whether to mirror a picture."""
        rng = sample_stream() if self.shared is None else shared_stream(self.shared, "flip")
        return bool(rng.random() < self.p)

    def __call__(self, image: Any) -> Any:
        size_of(image, "RandomHorizontalFlip")
        return hflip(image) if self.draw() else image

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p}, shared={self.shared})"


class RandomVerticalFlip:
    """Exchanges top and bottom with a given probability.

    Parameters
    ----------
    p : float, default 0.5
        The probability, 0 to 1.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import RandomVerticalFlip
    >>> RandomVerticalFlip(p=1)(minidl.tensor([[[1], [2]]])).tolist()
    [[[2], [1]]]
    """

    def __init__(self, p: float = 0.5) -> None:
        self.p = probability(p, type(self).__name__)

    def __call__(self, image: Any) -> Any:
        size_of(image, "RandomVerticalFlip")
        return vflip(image) if sample_stream().random() < self.p else image

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


def probability(p: float, who: str) -> float:
    """Return an argument that must lie between 0 and 1."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"{who}: p must be between 0 and 1, got {p}")
    return p


def neighbours(shared: int | None, who: str) -> int | None:
    """Return an argument that says how many neighbours share a choice, if any."""
    if shared is not None and shared < 1:
        raise ArgumentError(f"{who}: shared must be at least 1, got {shared}")
    return shared


class RandomResizedCrop:
    """Cuts a part of random area and aspect ratio out of a PIL image and resizes it.

    Ten times at most an area and a ratio (uniform in its logarithm) are drawn, until the
    part fits into the picture; then the largest central part whose ratio is allowed is taken.

    Parameters
    ----------
    size : int or (height, width)
        Of the result.
    scale : (float, float), default (0.08, 1.0)
        Smallest and largest part of the picture's area.
    ratio : (float, float), default (3/4, 4/3)
        Smallest and largest width / height.
    interpolation : InterpolationMode, default BILINEAR
        Pillow's constants are accepted too.
    antialias : bool, default True
        Accepted for torchvision's sake, see :class:`Resize`.

    Raises
    ------
    ArgumentError
        When a range is empty or not positive.
    DataError
        For anything else than a PIL image.

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
            if len(limits) != 2 or not 0 < limits[0] <= limits[1]:
                raise ArgumentError(
                    f"RandomResizedCrop: {name} must be two positive numbers in order, got {limits}"
                )
        self.size = pair(size, "RandomResizedCrop")
        self.scale = scale
        self.ratio = ratio
        self.interpolation = _interpolation(interpolation, "RandomResizedCrop")

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
        w, h = width, height
        if width / height < min(ratio):
            h = round(width / min(ratio))
        elif width / height > max(ratio):
            w = round(height * max(ratio))
        return (height - h) // 2, (width - w) // 2, h, w

    def __call__(self, image: Any) -> Any:
        require_pil(image, "RandomResizedCrop")
        part = crop(image, *self.get_params(image, self.scale, self.ratio))
        return _resize(part, *self.size, self.interpolation)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, scale={tuple(self.scale)}, "
            f"ratio={tuple(round(r, 4) for r in self.ratio)}, "
            f"interpolation={self.interpolation.value})"
        )


class FiveCrop:
    """The four corners and the centre of a picture.

    Parameters
    ----------
    size : int or (height, width)
        Of each crop.

    Returns
    -------
    tuple of 5 pictures
        Top left, top right, bottom left, bottom right, centre.

    Raises
    ------
    DataError
        When the picture is smaller than the crop.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import FiveCrop
    >>> [c.item() for c in FiveCrop(1)(minidl.arange(9).reshape(1, 3, 3))]
    [0, 2, 6, 8, 4]
    """

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = pair(size, "FiveCrop")

    def __call__(self, image: Any) -> tuple[Any, ...]:
        return _five_crops(image, self.size, "FiveCrop")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


def _five_crops(image: Any, size: tuple[int, int], who: str) -> tuple[Any, ...]:
    height, width = size_of(image, who)
    h, w = size
    bottom, right = height - h, width - w
    if bottom < 0 or right < 0:
        raise DataError(f"{who}: a crop of {h}x{w} does not fit into a picture of {height}x{width}")
    starts = [(0, 0), (0, right), (bottom, 0), (bottom, right), _center(height, width, h, w)]
    return tuple(crop(image, top, left, h, w) for top, left in starts)


class TenCrop:
    """The four corners and the centre, and the same five of the mirror image.

    Parameters
    ----------
    size : int or (height, width)
        Of each crop.
    vertical_flip : bool, default False
        Mirror top and bottom instead of left and right.

    Returns
    -------
    tuple of 10 pictures
        :class:`FiveCrop` of the picture, then :class:`FiveCrop` of its mirror image.

    Raises
    ------
    DataError
        When the picture is smaller than the crop.

    Notes
    -----
    The paper's test averages the network's answers over these ten views. The order is
    torchvision's. For 224 of 256 the original program's offsets (row, column) were (0, 0), (0, 32),
    (16, 16), (32, 0), (32, 32), each crop then mirrored. They are the crops 0, 1, 4, 2, 3 here, and
    their mirror images 6, 5, 9, 8, 7: the left corners of the mirrored picture are the mirrored
    right corners. The average does not depend on the order.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import TenCrop
    >>> [c.item() for c in TenCrop(1)(minidl.arange(9).reshape(1, 3, 3))]
    [0, 2, 6, 8, 4, 2, 0, 8, 6, 4]
    """

    def __init__(self, size: int | Sequence[int], vertical_flip: bool = False) -> None:
        self.size = pair(size, "TenCrop")
        self.vertical_flip = vertical_flip

    def __call__(self, image: Any) -> tuple[Any, ...]:
        views = _five_crops(image, self.size, "TenCrop")
        mirrored = vflip(image) if self.vertical_flip else hflip(image)
        return views + _five_crops(mirrored, self.size, "TenCrop")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, vertical_flip={self.vertical_flip})"
