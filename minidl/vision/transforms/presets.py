"""AlexNet's transforms for training and for evaluation.

Both resize the shorter side to 8/7 of the net's input (256 for 224 and for 227). Training then
takes a random crop and mirrors it half of the time (the paper, section 4.1); evaluation takes the
central crop or all ten. The result has the scale that the net's initial values expect: pixels from
0 to 255 minus their mean, or numbers from 0 to 1 minus their mean and divided by their deviation.
Means and deviations are ImageNet's, or the data set's own if its
:class:`~minidl.vision.statistics.PixelStatistics` are given. In the latter case the mean *picture*
is subtracted from pixels: its central part from every crop, as in the original program.

With ``raw=True`` a picture stays bytes, and :func:`alexnet_finish` computes the same numbers from
them, a batch at a time and on the network's device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError
from ..statistics import PixelStatistics
from .color import Normalize, PCAJitter, SubtractMean
from .compose import Compose
from .convert import ToPixels, ToTensor
from .crop import CenterCrop, RandomCrop
from .flip import RandomHorizontalFlip
from .preprocessing import Preprocessing, evaluation
from .raw import RawToInput, ToRaw
from .resize import Resize

__all__ = ["alexnet_evaluation", "alexnet_finish", "alexnet_preprocessing", "alexnet_training"]

#: ImageNet's means of R, G, B on the scale 0 to 255 (Caffe's).
PIXEL_MEAN = (123.68, 116.78, 103.94)

#: ImageNet's means and deviations of R, G, B on the scale 0 to 1 (PyTorch's).
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _scale(
    input_scale: str, size: int, statistics: PixelStatistics | None
) -> tuple[Any, Any, float]:
    """Return the mean, the deviation and the value of white."""
    if input_scale == "pixels":
        mean = PIXEL_MEAN if statistics is None else _mean_picture(statistics, size)
        return mean, 1.0, 255
    if input_scale == "normalized":
        if statistics is None:
            return MEAN, DEVIATION, 1
        return statistics.mean, statistics.std, 1
    raise ArgumentError(f"input_scale: expected 'pixels' or 'normalized', got {input_scale!r}")


def _mean_picture(statistics: PixelStatistics, size: int) -> np.ndarray:
    """Return the mean of the pictures at the size at which they are cropped.

    Resizing is linear, so the mean of resized pictures is the resized mean.
    """
    mean, side = statistics.mean_image.astype(np.float32), whole_size(size)
    if mean.shape[1:] == (side, side):
        return mean
    from PIL import Image

    bilinear = Image.Resampling.BILINEAR
    planes = [Image.fromarray(plane).resize((side, side), bilinear) for plane in mean]
    return np.stack([np.asarray(plane) for plane in planes])


def _to_numbers(input_scale: str, size: int, statistics: PixelStatistics | None) -> tuple[Any, Any]:
    """Return the transforms that convert a picture to numbers and that center these."""
    mean, deviation, _ = _scale(input_scale, size, statistics)
    if input_scale == "pixels":
        return ToPixels(), SubtractMean(mean)
    return ToTensor(), Normalize(mean, deviation)


def _jitter(white: float, statistics: PixelStatistics | None) -> PCAJitter:
    if statistics is None:
        return PCAJitter(white=white)
    values, vectors = statistics.eigenvalues.tolist(), statistics.eigenvectors.tolist()
    return PCAJitter(eigenvalues=values, eigenvectors=vectors, white=white)


def whole_size(size: int) -> int:
    """Return the length of the shorter side of the pictures that are cropped."""
    return round(size / 7) * 8


def alexnet_training(
    size: int,
    input_scale: str,
    jitter: bool = False,
    raw: bool = False,
    statistics: PixelStatistics | None = None,
    shared_offset: int | None = None,
    augment: bool = True,
) -> Compose:
    """Return the training transform: a random crop, mirrored half of the time, as a tensor.

    Parameters
    ----------
    size : int
        Height and width of the net's input, ``model.input_size[-1]``.
    input_scale : {"pixels", "normalized"}
        ``model.input_scale``.
    jitter : bool
        Add the paper's PCA color noise. Default False.
    raw : bool
        Make a :class:`RawPicture` instead, for :func:`alexnet_finish`. Default False.
    statistics : PixelStatistics, optional
        Means, deviations and principal components of the training pictures. Default: ImageNet's.
    shared_offset : int, optional
        Number of neighbors in the epoch's order that are cropped at the same place and mirrored
        alike; 32 in the original program. Default: each picture is decided separately.
    augment : bool
        False takes the central crop and mirrors nothing. Default True.

    Raises
    ------
    ArgumentError
        The scale is unknown, `shared_offset` is less than 1, or a deviation is zero.
    """
    _, _, white = _scale(input_scale, size, statistics)
    noise = _jitter(white, statistics) if jitter else None
    crop: list[Any] = [Resize(whole_size(size)), RandomCrop(size, shared=shared_offset)]
    flip: Any = RandomHorizontalFlip(shared=shared_offset)
    if not augment:
        crop[1], flip = CenterCrop(size), None
    if raw:
        return Compose([*crop, ToRaw(flip, noise)])
    to_tensor, center = _to_numbers(input_scale, size, statistics)
    return Compose([step for step in (*crop, flip, to_tensor, noise, center) if step is not None])


def alexnet_evaluation(
    size: int,
    input_scale: str,
    ten_crop: bool = False,
    raw: bool = False,
    statistics: PixelStatistics | None = None,
) -> Compose:
    """Return the evaluation transform: the central crop, (C, H, W), or ten crops, (10, C, H, W).

    Parameters
    ----------
    size, input_scale, raw, statistics
        As for :func:`alexnet_training`.
    ten_crop : bool
        Take corners and center, and their mirror images. Default False.

    Raises
    ------
    ArgumentError
        The scale is unknown, or a deviation is zero.
    """
    numbers = _to_numbers(input_scale, size, statistics)
    return evaluation(whole_size(size), size, [ToRaw()] if raw else numbers, ten_crop)


def alexnet_preprocessing(
    size: int, input_scale: str, statistics: PixelStatistics | None = None
) -> Preprocessing:
    """Return what :func:`alexnet_evaluation` does, to go with weights.

    Parameters
    ----------
    size, input_scale, statistics
        As for :func:`alexnet_training`. The mean color takes the place of the mean picture.

    Raises
    ------
    ArgumentError
        The scale is unknown.
    """
    mean, deviation, white = _scale(input_scale, size, statistics)
    if np.ndim(deviation) == 0:
        mean = mean if statistics is None else 255 * statistics.mean
        deviation = (deviation,) * 3
    colors, deviations = (tuple(map(float, values)) for values in (mean, deviation))
    return Preprocessing(size, whole_size(size), colors, deviations, white)  # type: ignore[arg-type]


def alexnet_finish(
    input_scale: str, statistics: PixelStatistics | None = None, size: int = 224
) -> RawToInput:
    """Return the transform from a batch of raw pictures to the net's input, on their device.

    Parameters
    ----------
    input_scale, statistics
        As for :func:`alexnet_training`.
    size : int
        Height and width of the net's input: the mean picture is resized like the pictures. Default
        224, which also serves 227.

    Raises
    ------
    ArgumentError
        The scale is unknown, or a deviation is zero.
    """
    mean, deviation, white = _scale(input_scale, size, statistics)
    return RawToInput(mean, deviation, 255 / white)
