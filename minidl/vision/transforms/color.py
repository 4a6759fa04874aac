"""Transforms of colors: Normalize, SubtractMean, PCAJitter, Grayscale, ColorJitter.

**PCAJitter.** Let λ_i and p_i be the eigenvalues and eigenvectors of the 3×3 covariance of the
training pixels' R, G and B on the scale 0 to 1. One draw z ~ N(0, I) per picture shifts all its
pixels by

- ``mode="paper01"``: Σ_i p_i · (0.1 · z_i) · λ_i, the paper's formula [1]_ on pixels from 0 to 1,
  as later programs use it: 5.5 of 255 gray levels for one sigma along p_1;
- ``mode="original"``: Σ_i p_i · (0.1 · z_i) · √λ_i, after which the picture is divided by 1.1 to
  keep the scale of the test pictures. The authors' own program [2]_ does this: 10.8 gray levels.

(Taken literally on pixels from 0 to 255, where λ is 255² times as large, the paper's formula would
shift by 1414.)

References
----------
.. [1] A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional
   neural networks", 2012, section 4.1.
.. [2] A. Krizhevsky, cuda-convnet2, ``convdata.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...data import sample_stream
from ...device import Array, array_module
from ...errors import ArgumentError, DTypeError, ShapeError
from ...tensor import Tensor
from . import adjust
from ._image import (
    Transform,
    channels_of,
    check_no_grad,
    probability,
    require_float_tensor,
    size_of,
    two,
)

__all__ = [
    "ColorJitter", "Grayscale", "Normalize", "PCAJitter", "RandomGrayscale", "SubtractMean",
]  # fmt: skip

# For ImageNet's training pixels on the scale 0 to 1, as published by fb.resnet.torch.
# Rows are R, G, B; column i belongs to eigenvalue i.
IMAGENET_EIGENVALUES = (0.2175, 0.0188, 0.0045)
IMAGENET_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


class Normalize(Transform):
    """Subtracts a mean from each channel and divides by a standard deviation.

    Parameters
    ----------
    mean, std : sequence of float, of length C or 1, or array or Tensor (C, 1, 1) or (C, H, W)
        On the scale of the picture: 0 to 1 after :class:`ToTensor`.
    inplace : bool, default False
        Whether to change the tensor itself.

    Raises
    ------
    ArgumentError
        A standard deviation is zero.
    DataError, DTypeError, ShapeError
        The picture is not a floating-point tensor, or its channels don't match ``mean`` and
        ``std``.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import Normalize
    >>> Normalize([0.5], [0.25])(minidl.tensor([[[0.0, 1.0]]])).tolist()
    [[[-2.0, 2.0]]]
    """

    _shown = ("mean", "std")

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        self.mean = mean
        self.std = std
        self.inplace = inplace
        self._mean, self._std = _channels(mean), _channels(std)
        if np.any(self._std == 0):
            raise ArgumentError(f"Normalize: std must not be zero, got {std}")

    def forward(self, tensor: Tensor) -> Tensor:
        require_float_tensor(tensor, "Normalize")
        mean = _beside(self._mean, tensor.array, "Normalize: mean")
        std = _beside(self._std, tensor.array, "Normalize: std")
        if self.inplace:
            return tensor.sub_(Tensor(mean)).div_(Tensor(std))
        if tensor.requires_grad:
            return (tensor - Tensor(mean)) / Tensor(std)
        pixels = tensor.array - mean
        pixels /= std
        return Tensor(pixels)


def _channels(values: Any) -> Array:
    """Return one number a channel as (C, 1, 1), and (C, H, W) as it is."""
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise DTypeError(f"Normalize: expected numbers, got {values!r}") from error
    return numbers if numbers.ndim > 1 else numbers.reshape(-1, 1, 1)


def _beside(values: Array, pixels: Array, who: str) -> Array:
    """Return (C, 1, 1) or (C, H, W) numbers in the dtype, device and memory order of the picture.

    One number per channel is expanded to a row of the picture, (C, 1, W): in channels-last memory,
    NumPy then works along W·C numbers at a time instead of C, which is six times as fast.
    """
    if values.shape[-3] not in (1, pixels.shape[-3]):
        raise ShapeError(
            f"{who} has {values.shape[-3]} channels, the picture of shape {tuple(pixels.shape)} "
            f"has {pixels.shape[-3]}"
        )
    moved: Array = array_module(pixels).asarray(values.astype(pixels.dtype))
    if moved.shape[1:] != (1, 1):
        return moved
    row: Array = array_module(pixels).empty_like(pixels[..., :1, :])
    row[...] = moved
    return row


def mean_of(mean: Any, who: str) -> np.ndarray:
    """Return one number a channel, (C,), or a mean picture, (C, H, W), in float32."""
    values = np.asarray(mean, np.float32)
    if values.ndim not in (1, 3):
        raise ShapeError(
            f"{who}: mean must be one number per channel or a picture of shape (C, H, W), "
            f"got shape {values.shape}"
        )
    return values


class SubtractMean:
    """Subtracts the training set's mean: the paper's network takes centered raw pixels.

    Parameters
    ----------
    mean : sequence of C floats, or array or Tensor of shape (C, H, W)
        On the scale of the picture: 0 to 255 after :class:`ToPixels`. From a mean picture, the
        **central** part of the picture's size is subtracted, no matter where the picture was
        cropped, as in the original program; it starts at ``(H - h) // 2``, ``(W - w) // 2``.

    Raises
    ------
    ShapeError
        The mean has neither shape, has other channels than the picture, or is smaller.
    DataError, DTypeError
        The picture is not a floating-point tensor.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import SubtractMean
    >>> SubtractMean([100.0])(minidl.tensor([[[90.0, 255.0]]])).tolist()
    [[[-10.0, 155.0]]]
    """

    def __init__(self, mean: Any) -> None:
        values = mean_of(mean, "SubtractMean")
        values = values if values.ndim == 3 else values.reshape(-1, 1, 1)
        # Channels-last in memory, like the pictures from ToPixels.
        self.mean = np.ascontiguousarray(values.transpose(1, 2, 0)).transpose(2, 0, 1)

    def __call__(self, image: Tensor) -> Tensor:
        require_float_tensor(image, "SubtractMean")
        mean = self.mean
        if mean.shape[1:] != (1, 1):
            (height, width), (h, w) = mean.shape[1:], image.shape[-2:]
            if h > height or w > width:
                raise ShapeError(
                    f"SubtractMean: the mean picture of {height}x{width} is smaller than the "
                    f"picture of {h}x{w}"
                )
            top, left = (height - h) // 2, (width - w) // 2
            mean = mean[:, top : top + h, left : left + w]
        own = _beside(mean, image.array, "SubtractMean: mean")
        if image.requires_grad:
            return image - Tensor(own)
        pixels = image.array.copy(order="K")
        pixels -= own
        return Tensor(pixels)

    def __repr__(self) -> str:
        channels, height, width = self.mean.shape
        shown = (
            self.mean.ravel().tolist() if height == width == 1 else f"{channels}x{height}x{width}"
        )
        return f"{type(self).__name__}(mean={shown})"


class PCAJitter:
    """AlexNet's color jitter: a shift along the principal components of the training pixels.

    Each call draws one shift for the whole picture; use it in training only. See the top of this
    file for the formulas and their strengths.

    Parameters
    ----------
    mode : {"paper01", "original"}
        The paper's formula on the scale 0 to 1, or the original program's (which also divides the
        picture by 1.1, and so must follow the subtraction of the mean).
    eigenvalues : sequence of 3 floats
        Eigenvalues of the covariance of the training set's R, G, B on the scale 0 to 1. Default:
        ImageNet's.
    eigenvectors : sequence of shape (3, 3)
        Rows R, G, B; column i belongs to eigenvalue i.
    std : float, default 0.1
        Strength: the standard deviation of the paper's random variables.
    white : float, optional
        The value of white in the pictures: 1 after :class:`ToTensor`, 255 after
        :class:`ToPixels`. Default 1 for ``"paper01"`` and 255 for ``"original"``.

    Raises
    ------
    ArgumentError
        The mode is unknown, an eigenvalue is negative, or a shape is wrong.
    DataError, DTypeError, ShapeError
        The picture is not a floating-point tensor with three channels.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import PCAJitter
    >>> shifted = PCAJitter()(minidl.zeros(3, 2, 2))
    >>> bool((shifted[:, 0, 0] == shifted[:, 1, 1]).all())
    True
    """

    def __init__(
        self,
        mode: str = "paper01",
        eigenvalues: Sequence[float] = IMAGENET_EIGENVALUES,
        eigenvectors: Sequence[Sequence[float]] = IMAGENET_EIGENVECTORS,
        std: float = 0.1,
        white: float | None = None,
    ) -> None:
        if mode not in ("paper01", "original"):
            raise ArgumentError(f"PCAJitter: mode must be 'paper01' or 'original', got {mode!r}")
        self.mode = mode
        self.eigenvalues = np.asarray(eigenvalues, np.float64)
        self.eigenvectors = np.asarray(eigenvectors, np.float64)
        if self.eigenvalues.shape != (3,) or np.any(self.eigenvalues < 0):
            raise ArgumentError(
                f"PCAJitter: eigenvalues must be three numbers >= 0, got {eigenvalues}"
            )
        if self.eigenvectors.shape != (3, 3):
            raise ArgumentError(
                f"PCAJitter: eigenvectors must be 3x3, got shape {self.eigenvectors.shape}"
            )
        self.std = std
        self.white = (1.0 if mode == "paper01" else 255.0) if white is None else white
        weights = self.eigenvalues if mode == "paper01" else np.sqrt(self.eigenvalues)
        self._mixing = self.eigenvectors * (weights * std * self.white)  # (channel, component)

    def draw(self) -> Array:
        """Draw a shift for a picture's three channels."""
        return self._mixing @ sample_stream().standard_normal(3)

    def __call__(self, image: Tensor) -> Tensor:
        require_float_tensor(image, "PCAJitter")
        if image.shape[-3] != 3:
            raise ShapeError(f"PCAJitter: expected 3 channels, got shape {tuple(image.shape)}")
        check_no_grad(image, "PCAJitter")
        pixels = image.array + _beside(self.draw().reshape(3, 1, 1), image.array, "PCAJitter")
        if self.mode == "original":
            pixels /= pixels.dtype.type(1.1)
        return Tensor(pixels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mode={self.mode!r}, std={self.std}, white={self.white})"


class Grayscale(Transform):
    """Converts a picture to gray: 0.299 R + 0.587 G + 0.114 B.

    Parameters
    ----------
    num_output_channels : {1, 3}
        One channel, or three equal ones.

    Raises
    ------
    ArgumentError
        The number of channels is neither.
    DataError
        The value is not a picture.

    Examples
    --------
    >>> from PIL import Image
    >>> from minidl.vision.transforms import Grayscale
    >>> Grayscale()(Image.new("RGB", (1, 1), (255, 0, 0))).getpixel((0, 0))
    76
    """

    _shown = ("num_output_channels",)

    def __init__(self, num_output_channels: int = 1) -> None:
        if num_output_channels not in (1, 3):
            raise ArgumentError(
                f"Grayscale: num_output_channels must be 1 or 3, got {num_output_channels}"
            )
        self.num_output_channels = num_output_channels

    def forward(self, img: Any) -> Any:
        return adjust.rgb_to_grayscale(img, self.num_output_channels)


class RandomGrayscale(Transform):
    """Converts a picture to gray with a given probability; it keeps its number of channels.

    Parameters
    ----------
    p : float, default 0.1
        The probability, 0 to 1.

    Examples
    --------
    >>> import minidl
    >>> from minidl.vision.transforms import RandomGrayscale
    >>> RandomGrayscale(p=1)(minidl.tensor([[[1.0]], [[0.0]], [[0.0]]])).flatten()
    tensor([0.2989, 0.2989, 0.2989])
    """

    _shown = ("p",)

    def __init__(self, p: float = 0.1) -> None:
        self.p = probability(p, "RandomGrayscale")

    def forward(self, img: Any) -> Any:
        if sample_stream().random() >= self.p:
            return img
        return adjust.rgb_to_grayscale(img, channels_of(img, "RandomGrayscale"))


_Range = tuple[float, float] | None


class ColorJitter(Transform):
    """Changes brightness, contrast, saturation and hue at random, in random order.

    Parameters
    ----------
    brightness, contrast, saturation : float or (float, float), default 0
        The factor is uniform in [max(0, 1 - x), 1 + x], or in the range given.
    hue : float or (float, float), default 0
        The rotation of the color circle is uniform in [-x, x], or in the range given; at most 0.5,
        half of the circle.

    Raises
    ------
    ArgumentError
        A range is not allowed.
    DataError
        The value is not a picture.

    Examples
    --------
    >>> from PIL import Image
    >>> from minidl.vision.transforms import ColorJitter
    >>> twice = ColorJitter(brightness=(2, 2))
    >>> twice(Image.new("RGB", (1, 1), (10, 20, 30))).getpixel((0, 0))
    (20, 40, 60)
    """

    _shown = ("brightness", "contrast", "saturation", "hue")

    def __init__(
        self,
        brightness: float | Sequence[float] = 0,
        contrast: float | Sequence[float] = 0,
        saturation: float | Sequence[float] = 0,
        hue: float | Sequence[float] = 0,
    ) -> None:
        self.brightness = _around("brightness", brightness, 1.0, 0.0, float("inf"))
        self.contrast = _around("contrast", contrast, 1.0, 0.0, float("inf"))
        self.saturation = _around("saturation", saturation, 1.0, 0.0, float("inf"))
        self.hue = _around("hue", hue, 0.0, -0.5, 0.5)

    @staticmethod
    def get_params(
        brightness: _Range, contrast: _Range, saturation: _Range, hue: _Range
    ) -> tuple[Array, float | None, float | None, float | None, float | None]:
        """Choose the order of the four changes, and the factor of each; None for no change."""
        rng, limits = sample_stream(), (brightness, contrast, saturation, hue)
        order, factors = rng.permutation(4), list[Any]([None] * 4)
        for which in order:
            if (limit := limits[which]) is not None:
                factors[which] = rng.uniform(*limit)
        return order, *factors

    def forward(self, img: Any) -> Any:
        size_of(img, "ColorJitter")
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        changes = (adjust.adjust_brightness, adjust.adjust_contrast, adjust.adjust_saturation,
                   adjust.adjust_hue)  # fmt: skip
        for which in order:
            if (factor := factors[which]) is not None:
                img = changes[which](img, factor)
        return img


def _around(
    name: str, value: float | Sequence[float], center: float, lowest: float, highest: float
) -> tuple[float, float] | None:
    """Return the range that an argument of ColorJitter means; None for no change."""
    if isinstance(value, int | float | np.number):
        if value < 0:
            raise ArgumentError(f"ColorJitter: {name} must not be negative, got {value}")
        low, high = max(center - value, lowest), center + value
    else:
        low, high = two(value, f"ColorJitter: {name}")
    if not lowest <= low <= high <= highest:
        raise ArgumentError(
            f"ColorJitter: {name} must lie between {lowest} and {highest}, got {value}"
        )
    return None if low == high == center else (float(low), float(high))
