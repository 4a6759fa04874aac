"""Transforms: the steps from a decoded picture to the network's input.

A transform is any callable from a picture to a picture; :class:`Compose` chains them. Names,
arguments and geometry are torchvision's; :class:`ToPixels`, :class:`SubtractMean` and
:class:`PCAJitter` are AlexNet's own. Pictures are Pillow images or tensors of shape (..., C, H, W);
gradients pass the plain ones. Random transforms draw from
:func:`minidl.data.sample_stream`: in a :class:`~minidl.data.DataLoader` every choice is a function
of (seed, epoch, place in the epoch); elsewhere it comes from the generator that
:func:`minidl.manual_seed` seeds.

Examples
--------
The paper's training pictures: shorter side 256, the central square, a random 224×224 crop, mirrored
half of the time, raw pixels minus their mean, and the original program's color jitter.

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

import sys

from ...missing import attributes
from . import functional
from .color import ColorJitter, Grayscale, Normalize, PCAJitter, RandomGrayscale, SubtractMean
from .compose import Compose, Lambda, RandomApply, RandomChoice, RandomOrder
from .convert import ConvertImageDtype, PILToTensor, ToPILImage, ToPixels, ToTensor
from .crop import CenterCrop, FiveCrop, Pad, RandomCrop, TenCrop
from .flip import RandomHorizontalFlip, RandomVerticalFlip
from .geometry import RandomAffine, RandomErasing, RandomRotation
from .raw import RawPicture, RawToInput, ToRaw
from .resize import InterpolationMode, RandomResizedCrop, Resize

__all__ = [
    "CenterCrop", "ColorJitter", "Compose", "ConvertImageDtype", "FiveCrop", "Grayscale",
    "InterpolationMode", "Lambda", "Normalize", "PCAJitter", "PILToTensor", "Pad",
    "RandomAffine", "RandomApply", "RandomChoice", "RandomCrop", "RandomErasing",
    "RandomGrayscale", "RandomHorizontalFlip", "RandomOrder", "RandomResizedCrop",
    "RandomRotation", "RandomVerticalFlip", "RawPicture", "RawToInput", "Resize",
    "SubtractMean", "TenCrop", "ToPILImage", "ToPixels", "ToRaw", "ToTensor", "functional",
]  # fmt: skip

#: torchvision has the transforms in a module of this name.
transforms = sys.modules[f"{__name__}.transforms"] = sys.modules[__name__]

__getattr__ = attributes(globals())
