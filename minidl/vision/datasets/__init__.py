"""Sets of pictures: one's own folder, CIFAR, MNIST; Shapes and FakeData need no download.

All give ``(picture, label)`` pairs, the picture a PIL image until a transform turns it into
something else, under torchvision's names and attributes.
"""

from ...vision.datasets.cifar import CIFAR10, CIFAR100
from ...vision.datasets.fake import FakeData
from ...vision.datasets.folder import ImageFolder, pil_loader
from ...vision.datasets.mnist import MNIST
from ...vision.datasets.shapes import Shapes

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "FakeData", "ImageFolder", "Shapes", "pil_loader"]
