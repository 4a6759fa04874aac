"""What happens to a picture on its way into AlexNet, in training and in evaluation.

Both resize the shorter side to 8/7 of the net's input (256 for 224 and for 227). Training then
takes a random crop and mirrors every second picture (the paper, section 4.1), evaluation the
central crop or all ten. The numbers end on the scale that the net's initial values expect: pixels
from 0 to 255 without their mean, or numbers from 0 to 1 without their mean and divided by their
deviation.

With ``raw=True`` a picture stays bytes, which :func:`alexnet_finish` makes the same numbers of, a
batch at a time and on the network's device.
"""

from __future__ import annotations

from typing import Any

from ...data import default_collate
from ...errors import ArgumentError
from .color import Normalize, PCAJitter, SubtractMean
from .compose import Compose, Lambda
from .convert import ToPixels, ToTensor
from .geometry import CenterCrop, RandomCrop, RandomHorizontalFlip, Resize, TenCrop
from .raw import RawToInput, ToRaw

__all__ = ["alexnet_evaluation", "alexnet_finish", "alexnet_training"]

#: ImageNet's channel means and deviations, R, G, B: of pixels (Caffe), and from 0 to 1 (PyTorch).
PIXEL_MEAN = (123.68, 116.78, 103.94)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _numbers(input_scale: str) -> tuple[Any, Any, float]:
    """Return how a picture becomes numbers, how they are centred, and what white is in between."""
    if input_scale == "pixels":
        return ToPixels(), SubtractMean(PIXEL_MEAN), 255
    if input_scale == "normalized":
        return ToTensor(), Normalize(MEAN, DEVIATION), 1
    raise ArgumentError(f"input_scale: expected 'pixels' or 'normalized', got {input_scale!r}")


def _resize(size: int) -> Resize:
    return Resize(round(size / 7) * 8)


def alexnet_training(
    size: int, input_scale: str, jitter: bool = False, raw: bool = False
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

    Raises
    ------
    ArgumentError
        There is no such scale.
    """
    to_tensor, center, white = _numbers(input_scale)
    noise = PCAJitter(white=white) if jitter else None
    crop: list[Any] = [_resize(size), RandomCrop(size)]
    if raw:
        return Compose([*crop, ToRaw(flip=0.5, jitter=noise)])
    return Compose([*crop, RandomHorizontalFlip(), to_tensor, *([noise] if noise else []), center])


def alexnet_evaluation(
    size: int, input_scale: str, ten_crop: bool = False, raw: bool = False
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

    Raises
    ------
    ArgumentError
        There is no such scale.
    """
    to_tensor, center, _ = _numbers(input_scale)
    view = Compose([ToRaw()] if raw else [to_tensor, center])
    if ten_crop:
        views = Lambda(lambda crops: default_collate([view(crop) for crop in crops]))
        return Compose([_resize(size), TenCrop(size), views])
    return Compose([_resize(size), CenterCrop(size), view])


def alexnet_finish(input_scale: str) -> RawToInput:
    """Return what makes the net's input of a batch of raw pictures, on their device.

    Parameters
    ----------
    input_scale : {"pixels", "normalized"}
        ``model.input_scale``.

    Raises
    ------
    ArgumentError
        There is no such scale.
    """
    _numbers(input_scale)  # raises
    return RawToInput(PIXEL_MEAN) if input_scale == "pixels" else RawToInput(MEAN, DEVIATION, 255)
