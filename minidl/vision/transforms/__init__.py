"""Transforms: what happens to a picture between the file and the network.

A transform is any callable from a picture to a picture; :class:`Compose` chains them. The names,
arguments and geometry are torchvision's; :class:`ToPixels`, :class:`SubtractMean` and
:class:`PCAJitter` are AlexNet's own. Pictures are Pillow's images or tensors of shape (..., C, H,
W); tensors are transformed outside the tape. Random transforms draw from
:func:`minidl.data.sample_stream`: in a :class:`~minidl.data.DataLoader` every choice is a function
of (seed, epoch, place in the epoch), elsewhere it comes from the generator that
:func:`minidl.manual_seed` seeds.

Examples
--------
The paper's training pictures: shorter side 256, the central square, a random 224×224 crop, its
mirror image half of the time, raw pixels less their mean, and the original program's colour jitter.

>>> from PIL import Image
>>> from minidl.vision import transforms
>>> train = transforms.Compose([
...     transforms.Resize(256),
...     transforms.CenterCrop(256),
...     transforms.RandomCrop(224),
...     transforms.RandomHorizontalFlip(),
...     transforms.ToPixels(),
...     transforms.SubtractMean((122.7, 116.7, 104.0)),
...     transforms.PCAJitter(mode="original"),
... ])
>>> tuple(train(Image.new("RGB", (500, 375))).shape)
(3, 224, 224)
"""

from .color import (
    ColorJitter,
    Grayscale,
    Normalize,
    PCAJitter,
    SubtractMean,
)
from .compose import Compose, Lambda
from .convert import PILToTensor, ToPixels, ToTensor
from .geometry import (
    CenterCrop,
    FiveCrop,
    InterpolationMode,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    Resize,
    TenCrop,
)
from .raw import RawPicture, RawToInput, ToRaw

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "FiveCrop",
    "Grayscale",
    "InterpolationMode",
    "Lambda",
    "Normalize",
    "PCAJitter",
    "PILToTensor",
    "Pad",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomVerticalFlip",
    "RawPicture",
    "RawToInput",
    "Resize",
    "SubtractMean",
    "TenCrop",
    "ToPixels",
    "ToRaw",
    "ToTensor",
]
