"""Sets of pictures: one's own folder, CIFAR, MNIST; Shapes and FakeData need no download.

All give ``(picture, label)`` pairs, the picture a PIL image until a transform turns it into
something else, under torchvision's names and attributes.
"""

from .cifar import CIFAR10, CIFAR100
from .fake import FakeData
from .folder import ImageFolder, pil_loader
from .mnist import MNIST
from .shapes import Shapes

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "FakeData", "ImageFolder", "Shapes", "pil_loader"]
