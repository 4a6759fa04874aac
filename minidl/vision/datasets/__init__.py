"""Data sets of pictures: folders, ImageNet, shards, CIFAR, MNIST; Shapes and FakeData.

Each yields ``(picture, label)`` pairs, where the picture is a PIL image until a transform converts
it. Names and attributes are torchvision's.
"""

from ...missing import attributes
from .cifar import CIFAR10, CIFAR100
from .decoding import pil_loader
from .fake import FakeData
from .folder import ImageFolder
from .image_list import ImageList
from .imagenet import ImageNet
from .mnist import MNIST, FashionMNIST
from .shapes import Shapes
from .shards import Shards

__all__ = [
    "CIFAR10", "CIFAR100", "MNIST", "FakeData", "FashionMNIST", "ImageFolder", "ImageList",
    "ImageNet", "Shapes", "Shards", "pil_loader",
]  # fmt: skip

__getattr__ = attributes(globals())
