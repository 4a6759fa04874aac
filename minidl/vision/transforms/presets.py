"""What happens to a picture on its way into AlexNet, in training and in evaluation.

Both resize the shorter side to 8/7 of the net's input (256 for 224 and for 227). Training then
takes a random crop and mirrors every second picture (the paper, section 4.1), evaluation the
central crop or all ten. The numbers end on the scale that the net's initial values expect: pixels
from 0 to 255 without their mean, or numbers from 0 to 1 without their mean and divided by their
deviation. What these means and deviations are: ImageNet's, or those of the data set itself where
its :class:`~minidl.vision.statistics.PixelStatistics` are given; then pixels lose their mean
*picture*, of which, as in the original program, every crop gets the central part.

With ``raw=True`` a picture stays bytes, which :func:`alexnet_finish` makes the same numbers of, a
batch at a time and on the network's device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...data import default_collate
from ...errors import ArgumentError
from ..statistics import PixelStatistics
from .color import Normalize, PCAJitter, SubtractMean
from .compose import Compose, Lambda
from .convert import ToPixels, ToTensor
from .crop import CenterCrop, RandomCrop, TenCrop
from .flip import RandomHorizontalFlip
from .raw import RawToInput, ToRaw
from .resize import Resize

__all__ = ["alexnet_evaluation", "alexnet_finish", "alexnet_training"]

#: ImageNet's channel means and deviations, R, G, B: of pixels (Caffe), and from 0 to 1 (PyTorch).
PIXEL_MEAN = (123.68, 116.78, 103.94)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _scale(
    input_scale: str, size: int, statistics: PixelStatistics | None
) -> tuple[Any, Any, float]:
    """Return the mean, the deviation, and what white is among the numbers."""
    if input_scale == "pixels":
        mean = PIXEL_MEAN if statistics is None else _mean_picture(statistics, size)
        return mean, 1.0, 255
    if input_scale == "normalized":
        if statistics is None:
            return MEAN, DEVIATION, 1
        return statistics.mean, statistics.std, 1
    raise ArgumentError(f"input_scale: expected 'pixels' or 'normalized', got {input_scale!r}")


def _mean_picture(statistics: PixelStatistics, size: int) -> np.ndarray:
    """Return the mean of the pictures as they are when they are cropped.

    To resize is a linear map, so that the mean of resized pictures is the resized mean.
    """
    mean, side = statistics.mean_image.astype(np.float32), _whole(size)
    if mean.shape[1:] == (side, side):
        return mean
    from PIL import Image

    bilinear = Image.Resampling.BILINEAR
    planes = [Image.fromarray(plane).resize((side, side), bilinear) for plane in mean]
    return np.stack([np.asarray(plane) for plane in planes])


def _to_numbers(input_scale: str, size: int, statistics: PixelStatistics | None) -> tuple[Any, Any]:
    """Return how a picture becomes numbers, and how they are centred."""
    mean, deviation, _ = _scale(input_scale, size, statistics)
    if input_scale == "pixels":
        return ToPixels(), SubtractMean(mean)
    return ToTensor(), Normalize(mean, deviation)


def _jitter(white: float, statistics: PixelStatistics | None) -> PCAJitter:
    if statistics is None:
        return PCAJitter(white=white)
    values, vectors = statistics.eigenvalues.tolist(), statistics.eigenvectors.tolist()
    return PCAJitter(eigenvalues=values, eigenvectors=vectors, white=white)


def _whole(size: int) -> int:
    """Return the length of the shorter side of the pictures that are cropped."""
    return round(size / 7) * 8


def alexnet_training(
    size: int,
    input_scale: str,
    jitter: bool = False,
    raw: bool = False,
    statistics: PixelStatistics | None = None,
    shared_offset: int | None = None,
) -> Compose:
    """Return a random crop, mirrored or not, as a tensor.

    Parameters
    ----------
    size : int
        Height and width of the net's input, ``model.input_size[-1]``.
    input_scale : {"pixels", "normalized"}
        ``model.input_scale``.
    jitter : bool
        Add the paper's PCA colour noise. Default False.
    raw : bool
        Return a :class:`RawPicture` instead, for :func:`alexnet_finish`. Default False.
    statistics : PixelStatistics, optional
        Of the training pictures: their means, deviations and principal components. Default:
        ImageNet's.
    shared_offset : int, optional
        So many neighbours in the epoch's order are cropped at the same place and mirrored alike;
        in the original program, 32. Default: each for itself.

    Raises
    ------
    ArgumentError
        There is no such scale, `shared_offset` is less than 1, or a deviation is zero.
    """
    _, _, white = _scale(input_scale, size, statistics)
    noise = _jitter(white, statistics) if jitter else None
    crop: list[Any] = [Resize(_whole(size)), RandomCrop(size, shared=shared_offset)]
    flip = RandomHorizontalFlip(shared=shared_offset)
    if raw:
        return Compose([*crop, ToRaw(flip, noise)])
    to_tensor, center = _to_numbers(input_scale, size, statistics)
    return Compose([*crop, flip, to_tensor, *([noise] if noise else []), center])


def alexnet_evaluation(
    size: int,
    input_scale: str,
    ten_crop: bool = False,
    raw: bool = False,
    statistics: PixelStatistics | None = None,
) -> Compose:
    """Return the central crop as a tensor (C, H, W), or ten crops as (10, C, H, W).

    Parameters
    ----------
    size : int
        Height and width of the net's input, ``model.input_size[-1]``.
    input_scale : {"pixels", "normalized"}
        ``model.input_scale``.
    ten_crop : bool
        Corners and centre, and their mirror images. Default False.
    raw : bool
        Return a :class:`RawPicture` instead, for :func:`alexnet_finish`. Default False.
    statistics : PixelStatistics, optional
        Of the training pictures. Default: ImageNet's.

    Raises
    ------
    ArgumentError
        There is no such scale, or a deviation is zero.
    """
    numbers = _to_numbers(input_scale, size, statistics)
    view = Compose([ToRaw()] if raw else numbers)
    if ten_crop:
        views = Lambda(lambda crops: default_collate([view(crop) for crop in crops]))
        return Compose([Resize(_whole(size)), TenCrop(size), views])
    return Compose([Resize(_whole(size)), CenterCrop(size), view])


def alexnet_finish(
    input_scale: str, statistics: PixelStatistics | None = None, size: int = 224
) -> RawToInput:
    """Return what makes the net's input of a batch of raw pictures, on their device.

    Parameters
    ----------
    input_scale : {"pixels", "normalized"}
        ``model.input_scale``.
    statistics : PixelStatistics, optional
        Of the training pictures. Default: ImageNet's.
    size : int
        Height and width of the net's input: the mean picture is resized as the pictures were.
        Default 224, which does for 227 as well.

    Raises
    ------
    ArgumentError
        There is no such scale, or a deviation is zero.
    """
    mean, deviation, white = _scale(input_scale, size, statistics)
    return RawToInput(mean, deviation, 255 / white)
