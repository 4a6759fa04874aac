"""Sets of pictures: one's own folder, ImageNet, shards, CIFAR, MNIST; Shapes and FakeData.

All give ``(picture, label)`` pairs, the picture a PIL image until a transform turns it into
something else, under torchvision's names and attributes.
"""

from .cifar import CIFAR10, CIFAR100
from .decoding import pil_loader
from .fake import FakeData
from .folder import ImageFolder
from .imagenet import ImageNet
from .mnist import MNIST
from .shapes import Shapes
from .shards import Shards

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "MNIST",
    "FakeData",
    "ImageFolder",
    "ImageNet",
    "Shapes",
    "Shards",
    "pil_loader",
]
