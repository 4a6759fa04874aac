"""What weights expect of pictures: :class:`Preprocessing` comes with every set of weights.

Most networks see red, green, blue. Caffe's see blue, green, red, and pictures that were resized to
a square without regard to their proportions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ...data import default_collate
from ...errors import ArgumentError
from ...tensor import Tensor
from .color import Normalize
from .compose import Compose, Lambda
from .convert import ToPixels, ToTensor
from .crop import CenterCrop, TenCrop
from .raw import RawToInput, ToRaw
from .resize import Resize

__all__ = ["CAFFE", "TORCHVISION", "Preprocessing"]


class _ReverseChannels:
    """Makes blue, green, red of red, green, blue: of (..., 3, H, W), alone or first in a batch."""

    takes_bytes = True

    def __call__(self, images: Any) -> Any:
        if isinstance(images, Tensor):
            return images.flip(-3)
        first, *others = images
        return [self(first), *others]


def evaluation(resize: Any, crop: int, numbers: Sequence[Any], ten_crop: bool) -> Compose:
    """Return the transform of a picture into the numbers of its center, or of its ten crops."""
    view = Compose(numbers)
    if ten_crop:
        views = Lambda(lambda crops: default_collate([view(crop) for crop in crops]))
        return Compose([Resize(resize), TenCrop(crop), views])
    return Compose([Resize(resize), CenterCrop(crop), view])


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a network's input, for prediction and evaluation.

    Attributes
    ----------
    crop : int
        Height and width of the input.
    resize : int or (height, width)
        Length of the shorter side before cropping, or both sides.
    mean, std : tuple of float
        Of red, green, blue; subtracted, and divided by.
    white : float
        The value of white before that: 255 or 1.
    bgr : bool
        The input's channels are blue, green, red.

    Examples
    --------
    >>> from PIL import Image
    >>> from minidl.vision.transforms.preprocessing import CAFFE
    >>> CAFFE.transforms()(Image.new("RGB", (300, 200), "red"))[:, 0, 0]
    tensor([-104.0070, -116.6690,  132.3210])
    """

    crop: int
    resize: int | tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    white: float = 255.0
    bgr: bool = False

    def transforms(self, ten_crop: bool = False, raw: bool = False) -> Compose:
        """Return the transform of a picture into the network's input.

        Parameters
        ----------
        ten_crop : bool
            Take corners and center, and their mirror images: (10, C, H, W). Default False: the
            center.
        raw : bool
            Make a :class:`RawPicture` instead, for :meth:`finish`. Default False.
        """
        numbers = [ToRaw()] if raw else self._numbers()
        return evaluation(self.resize, self.crop, numbers, ten_crop)

    @property
    def input_scale(self) -> str:
        """The scale of the input: "pixels" (up to ±255) or "normalized" (deviations near 1)."""
        return "pixels" if self.white / max(self.std) > 50 else "normalized"

    def finish(self) -> Compose:
        """Return the transform from a batch of raw pictures to the input, on their device."""
        reverse = [_ReverseChannels()] if self.bgr else []
        return Compose([RawToInput(self.mean, self.std, 255 / self.white), *reverse])

    def _numbers(self) -> list[Any]:
        to_tensor = ToTensor() if self.white == 1 else ToPixels()
        numbers: list[Any] = [to_tensor, Normalize(self.mean, self.std)]
        return [*numbers, _ReverseChannels()] if self.bgr else numbers

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Any) -> Preprocessing:
        """Return what :meth:`to_dict` returned, or JSON made of it.

        Raises
        ------
        ArgumentError
            Fields are missing or have impossible values.
        """
        try:
            resize, crop = fields["resize"], int(fields["crop"])
            sides = (resize,) * 2 if isinstance(resize, int) else tuple(map(int, resize))
            mean, std = (tuple(map(float, fields[name])) for name in ("mean", "std"))
            white = float(fields["white"])
            possible = len(mean) == len(std) == 3 and len(sides) == 2 and white in (1, 255)
            possible = possible and all(map(math.isfinite, (*mean, *std)))
            if not (possible and 0 < crop <= min(sides) and max(sides) <= 1 << 14 and min(std) > 0):
                raise ValueError("impossible values")
            resize = resize if isinstance(resize, int) else sides
            return cls(crop, resize, mean, std, white, bool(fields["bgr"]))  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ArgumentError(f"preprocessing: {error}") from error


#: torchvision's: shorter side 256, center 224, 0 to 1, each channel normalized.
TORCHVISION = Preprocessing(224, 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), white=1.0)

#: Caffe's: warped to 256×256, center 227, 0 to 255 minus the means of Caffe's mean file.
CAFFE = Preprocessing(227, (256, 256), (122.679, 116.669, 104.007), bgr=True)
