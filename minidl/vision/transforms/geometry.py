"""Random rotations and affine maps, and random erasing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...conversion import converted, fitting
from ...data import sample_stream
from ...errors import ArgumentError, DTypeError, SampleTypeError
from ...tensor import Tensor
from ._image import Transform, checked_fill, fill_of, probability, require_tensor, size_of, two
from .resize import InterpolationMode, interpolation_mode
from .warp import affine, rotate

__all__ = ["RandomAffine", "RandomErasing", "RandomRotation"]


def _range(value: float | Sequence[float], name: str) -> tuple[float, float]:
    """Return (-value, value), or the two numbers that are given."""
    if isinstance(value, int | float | np.number):
        if value < 0:
            raise ArgumentError(f"{name} must not be negative if it is one number, got {value}")
        return 0.0 - float(value), float(value)
    low, high = two(value, name)
    if low > high:
        raise ArgumentError(f"{name} must be one number, or two in order, got {value}")
    return float(low), float(high)


class RandomRotation(Transform):
    """Rotates a picture by a random angle.

    Parameters
    ----------
    degrees : float or (float, float)
        The angle is uniform in [-degrees, degrees], or in the range given.
    interpolation : InterpolationMode, default NEAREST
        Or BILINEAR; for PIL images also BICUBIC.
    expand : bool, default False
        Make the result large enough for the whole picture.
    center : (x, y), optional
        From the upper left corner. Default: the picture's center.
    fill : number or sequence, default 0
        The value outside the picture, or one for each channel.

    Raises
    ------
    ArgumentError
        `degrees` is not such a range.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import RandomRotation
    >>> RandomRotation((90, 90))(minidl.tensor([[[1, 2], [3, 4]]])).tolist()
    [[[2, 4], [1, 3]]]
    """

    _shown = ("degrees", "interpolation", "expand", "center", "fill")

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Any = 0,
    ) -> None:
        self.degrees = _range(degrees, "RandomRotation: degrees")
        self.interpolation = interpolation_mode(interpolation, "RandomRotation")
        self.expand, self.center, self.fill = expand, center, checked_fill(fill)

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        """Choose an angle."""
        return float(sample_stream().uniform(degrees[0], degrees[1]))

    def forward(self, img: Any) -> Any:
        angle = self.get_params(self.degrees)
        return rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)


class RandomAffine(Transform):
    """Rotates, shifts, scales and shears a picture at random; its size stays.

    Parameters
    ----------
    degrees : float or (float, float)
        The angle is uniform in [-degrees, degrees], or in the range given.
    translate : (float, float), optional
        Largest shift to either side, in parts of the width and of the height, 0 to 1.
    scale : (float, float), optional
        The factor is uniform in this range.
    shear : float or sequence of 2 or 4 floats, optional
        Range in degrees: [-shear, shear] along x, (low, high) along x, or both for x and for y.
    interpolation, fill, center
        See :class:`RandomRotation`.

    Raises
    ------
    ArgumentError
        A range is not allowed.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import RandomAffine
    >>> RandomAffine(0, scale=(2, 2))(minidl.arange(16).reshape(1, 4, 4))[0, 0].tolist()
    [5, 5, 6, 6]
    """

    _shown = ("degrees", "translate", "scale", "shear", "interpolation")

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
        fill: Any = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        self.degrees = _range(degrees, "RandomAffine: degrees")
        if translate is not None:
            translate = two(translate, "RandomAffine: translate")
            if not all(0 <= part <= 1 for part in translate):
                raise ArgumentError(f"RandomAffine: translate must lie in 0 to 1, got {translate}")
        if scale is not None:
            scale = two(scale, "RandomAffine: scale")
            if not 0 < scale[0] <= scale[1]:
                raise ArgumentError(f"RandomAffine: scale must be positive, in order, got {scale}")
        self.translate, self.scale = translate, scale
        self.shear: list[float] | None = None
        if shear is not None:
            ranges = [shear]
            if not isinstance(shear, int | float | np.number) and len(shear) == 4:
                ranges = [shear[:2], shear[2:]]
            self.shear = [side for r in ranges for side in _range(r, "RandomAffine: shear")]
        self.interpolation = interpolation_mode(interpolation, "RandomAffine")
        self.fill, self.center = checked_fill(fill), center

    @staticmethod
    def get_params(
        degrees: Sequence[float],
        translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None,
        shears: Sequence[float] | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """Choose angle, shift, scale and shear for a picture of (width, height)."""
        rng = sample_stream()
        angle = float(rng.uniform(degrees[0], degrees[1]))
        x = y = 0
        if translate is not None:
            x, y = (
                round(rng.uniform(-part * side, part * side))
                for part, side in zip(translate, img_size, strict=True)
            )
        scale = 1.0
        if scale_ranges is not None:
            scale = float(rng.uniform(scale_ranges[0], scale_ranges[1]))
        slants = [0.0, 0.0]
        limits = () if shears is None else shears
        for axis in range(len(limits) // 2):
            slants[axis] = float(rng.uniform(limits[2 * axis], limits[2 * axis + 1]))
        return angle, (x, y), scale, (slants[0], slants[1])

    def forward(self, img: Any) -> Any:
        size = size_of(img, "RandomAffine")[::-1]
        chosen = self.get_params(self.degrees, self.translate, self.scale, self.shear, size)
        return affine(img, *chosen, self.interpolation, self.fill, self.center)


class RandomErasing(Transform):
    """Overwrites a random rectangle of a tensor.

    Parameters
    ----------
    p : float, default 0.5
        Probability of erasing.
    scale : (float, float), default (0.02, 0.33)
        Smallest and largest part of the picture's area.
    ratio : (float, float), default (0.3, 3.3)
        Smallest and largest height / width.
    value : number, sequence or "random", default 0
        What to write: one number, one for each channel, or normal random numbers.
    inplace : bool, default False
        Change the tensor itself.

    Raises
    ------
    ArgumentError
        A range is not allowed.
    DataError
        The picture is not a tensor.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import RandomErasing
    >>> erased = RandomErasing(p=1)(minidl.ones(3, 64, 64))
    >>> 0.02 <= 1 - erased.mean().item() <= 0.34
    True
    """

    _shown = ("p", "scale", "ratio", "value", "inplace")

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: Any = 0,
        inplace: bool = False,
    ) -> None:
        self.p = probability(p, "RandomErasing")
        scale, ratio = two(scale, "RandomErasing: scale"), two(ratio, "RandomErasing: ratio")
        text = isinstance(value, str)
        if (text and value != "random") or not (text or np.asarray(value).dtype.kind in "biuf"):
            kind = ArgumentError if text else DTypeError
            raise kind(f'RandomErasing: value must be numbers or "random", got {value!r}')
        if not 0 <= scale[0] <= scale[1] <= 1 or not 0 < ratio[0] <= ratio[1]:
            raise ArgumentError(
                f"RandomErasing: scale must lie in 0 to 1 and ratio be positive, both in order, "
                f"got {scale} and {ratio}"
            )
        self.scale, self.ratio, self.value, self.inplace = scale, ratio, value, inplace

    @staticmethod
    def get_params(
        img: Tensor, scale: Sequence[float], ratio: Sequence[float], value: Any = None
    ) -> tuple[int, int, int, int, Tensor]:
        """Choose top, left, height, width and what to write; the picture if ten tries don't fit."""
        (height, width), rng = img.shape[-2:], sample_stream()
        for _ in range(10):
            area = height * width * rng.uniform(scale[0], scale[1])
            aspect = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
            h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if h < height and w < width:
                top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
                if value is None:
                    numbers = rng.standard_normal((*img.shape[:-2], h, w))
                else:
                    numbers = np.asarray(fill_of(value, img.shape[-3])).reshape(-1, 1, 1)
                return top, left, h, w, Tensor(numbers.astype(np.float32))
        return 0, 0, height, width, img

    def forward(self, img: Tensor) -> Tensor:
        if sample_stream().random() >= self.p:
            return img
        if not isinstance(img, Tensor) or img.ndim < 3:
            raise SampleTypeError("RandomErasing: expected a tensor of shape (..., C, H, W)")
        value = None if isinstance(self.value, str) else self.value
        chosen = self.get_params(img, self.scale, self.ratio, value)
        return erase(img, *chosen, self.inplace)


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """Return the tensor with `v` (a number, or a tensor) in h rows from i, w columns from j."""
    require_tensor(img, "erase")
    result = img if inplace else img.clone()
    number = fitting("erase: v", v, img.dtype) if np.ndim(v) == 0 else converted(v, img.dtype)
    values = v if isinstance(v, Tensor) else Tensor(number)
    values = values.to(img.device, img.dtype)
    if values.ndim == 1:
        values = values.reshape(-1, 1, 1)
    result[..., i : i + h, j : j + w] = values
    return result
