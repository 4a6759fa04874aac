"""Crops and borders to torchvision's pixels.

With a picture of height H and width W and a crop of h × w:

- ``CenterCrop`` starts at ``round((H - h) / 2)``, ``round((W - w) / 2)``, where Python
  rounds halves to the even number;
- ``RandomCrop`` starts at any of the (H - h + 1) · (W - w + 1) places with equal probability;
- the five crops start at (0, 0), (0, W - w), (H - h, 0), (H - h, W - w) and the center.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...data import sample_stream
from ...data.stream import shared_stream
from ...errors import ArgumentError, DataError
from ._image import (
    Transform,
    border,
    checked_fill,
    crop,
    hflip,
    neighbors,
    pad,
    pair,
    size_of,
    vflip,
)

__all__ = ["CenterCrop", "FiveCrop", "Pad", "RandomCrop", "TenCrop"]

_PADDING_MODES = ("constant", "edge", "reflect", "symmetric")


class CenterCrop(Transform):
    """Cuts out the center.

    A picture that is smaller than the crop first gets a black (zero) border. If the number of
    missing pixels is odd, the bottom and the right get one more.

    Parameters
    ----------
    size : int or (height, width)
        Size of the crop.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import CenterCrop
    >>> CenterCrop(2)(minidl.arange(16).reshape(1, 4, 4)).tolist()
    [[[5, 6], [9, 10]]]
    """

    _shown = ("size",)
    takes_bytes = True

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = pair(size, "CenterCrop")

    def forward(self, img: Any) -> Any:
        height, width = size_of(img, "CenterCrop")
        h, w = self.size
        if h > height or w > width:
            missing_h, missing_w = max(h - height, 0), max(w - width, 0)
            ltrb = (missing_w // 2, missing_h // 2, (missing_w + 1) // 2, (missing_h + 1) // 2)
            img = pad(img, ltrb)
            height, width = size_of(img, "CenterCrop")
        return crop(img, *_center(height, width, h, w), h, w)


def _center(height: int, width: int, h: int, w: int) -> tuple[int, int]:
    return round((height - h) / 2), round((width - w) / 2)


class Pad(Transform):
    """Puts a border around a picture.

    Parameters
    ----------
    padding : int or sequence
        One width for all sides, (left and right, top and bottom), or (left, top, right, bottom).
    fill : number or tuple, default 0
        Value of the border with ``padding_mode="constant"``; a tuple has one for each channel.
    padding_mode : {"constant", "edge", "reflect", "symmetric"}
        ``edge`` repeats the outermost pixel; ``reflect`` mirrors the picture without its outermost
        pixel, ``symmetric`` with it.

    Raises
    ------
    ArgumentError
        A width is negative, or the mode is unknown.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import Pad
    >>> Pad((1, 0), padding_mode="edge")(minidl.tensor([[[1, 2]]])).tolist()
    [[[1, 1, 2, 2]]]
    """

    _shown = ("padding", "fill", "padding_mode")

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
        self.fill = checked_fill(fill)
        self.padding_mode = padding_mode

    def forward(self, img: Any) -> Any:
        size_of(img, "Pad")
        return pad(img, self._border, self.fill, self.padding_mode)


class RandomCrop(Transform):
    """Cuts out a part at a random place.

    Parameters
    ----------
    size : int or (height, width)
        Size of the crop.
    padding : int or sequence, optional
        Border to add to the picture first; see :class:`Pad`.
    pad_if_needed : bool, default False
        If the picture (after ``padding``) is too small, add the missing pixels on both sides.
    fill, padding_mode
        See :class:`Pad`.
    shared : int, optional
        In a loader, the number of neighbors in the epoch's order that are cropped at the same place
        (if they have the same size); 32 in the original AlexNet program. Default: each picture has
        its own place.

    Raises
    ------
    ArgumentError
        From the constructor: `shared` is less than 1; or see :class:`Pad`.
    DataError
        The picture is smaller than the crop.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import RandomCrop
    >>> tuple(RandomCrop(224)(minidl.zeros(3, 256, 256)).shape)
    (3, 224, 224)
    """

    _shown = ("size", "padding", "shared")

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
        self.shared = neighbors(shared, "RandomCrop")
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
        return random_place(size_of(img, "RandomCrop"), output_size, shared)

    @property
    def takes_bytes(self) -> bool:
        """Whether there is no border: its `fill` has another form for tensors."""
        return self.padding is None and not self.pad_if_needed

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = self._pad(img)
        if self.pad_if_needed:
            height, width = size_of(img, "RandomCrop")
            missing_h, missing_w = max(self.size[0] - height, 0), max(self.size[1] - width, 0)
            if missing_h or missing_w:
                img = Pad((missing_w, missing_h), self.fill, self.padding_mode)(img)
        shared = {} if self.shared is None else {"shared": self.shared}
        return crop(img, *self.get_params(img, self.size, **shared))


def random_place(
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


class FiveCrop(Transform):
    """The four corners and the center of a picture.

    Parameters
    ----------
    size : int or (height, width)
        Size of each crop.

    Returns
    -------
    tuple of 5 pictures
        Top left, top right, bottom left, bottom right, center.

    Raises
    ------
    DataError
        The picture is smaller than the crop.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import FiveCrop
    >>> [c.item() for c in FiveCrop(1)(minidl.arange(9).reshape(1, 3, 3))]
    [0, 2, 6, 8, 4]
    """

    _shown = ("size",)

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = pair(size, "FiveCrop")

    def forward(self, img: Any) -> tuple[Any, ...]:
        return _five_crops(img, self.size, "FiveCrop")


def _five_crops(image: Any, size: tuple[int, int], who: str) -> tuple[Any, ...]:
    height, width = size_of(image, who)
    h, w = size
    bottom, right = height - h, width - w
    if bottom < 0 or right < 0:
        raise DataError(f"{who}: a crop of {h}x{w} does not fit into a picture of {height}x{width}")
    starts = [(0, 0), (0, right), (bottom, 0), (bottom, right), _center(height, width, h, w)]
    return tuple(crop(image, top, left, h, w) for top, left in starts)


class TenCrop(Transform):
    """The four corners and the center, and the same five of the mirror image.

    Parameters
    ----------
    size : int or (height, width)
        Size of each crop.
    vertical_flip : bool, default False
        Mirror top and bottom instead of left and right.

    Returns
    -------
    tuple of 10 pictures
        :class:`FiveCrop` of the picture, then :class:`FiveCrop` of its mirror image.

    Raises
    ------
    DataError
        The picture is smaller than the crop.

    Notes
    -----
    The paper averages the network's predictions over these ten views. The order is torchvision's.
    For 224 of 256 pixels, the original program's offsets (row, column) were (0, 0), (0, 32),
    (16, 16), (32, 0), (32, 32), and each crop was then mirrored. Here they are crops 0, 1, 4, 2, 3,
    and their mirror images are 6, 5, 9, 8, 7: the left corners of the mirrored picture are the
    mirrored right corners. The average does not depend on the order.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import TenCrop
    >>> [c.item() for c in TenCrop(1)(minidl.arange(9).reshape(1, 3, 3))]
    [0, 2, 6, 8, 4, 2, 0, 8, 6, 4]
    """

    _shown = ("size", "vertical_flip")

    def __init__(self, size: int | Sequence[int], vertical_flip: bool = False) -> None:
        self.size = pair(size, "TenCrop")
        self.vertical_flip = vertical_flip

    def forward(self, img: Any) -> tuple[Any, ...]:
        views = _five_crops(img, self.size, "TenCrop")
        mirrored = vflip(img) if self.vertical_flip else hflip(img)
        return views + _five_crops(mirrored, self.size, "TenCrop")
