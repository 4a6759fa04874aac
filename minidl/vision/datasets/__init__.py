"""Sets of pictures: one's own folder, CIFAR, MNIST; Shapes and FakeData need no download.

All give ``(picture, label)`` pairs, the picture a PIL image until a transform turns it into
something else, under torchvision's names and attributes.
"""

from minidl.vision.datasets.cifar import CIFAR10, CIFAR100
from minidl.vision.datasets.fake import FakeData
from minidl.vision.datasets.folder import ImageFolder, pil_loader
from minidl.vision.datasets.mnist import MNIST
from minidl.vision.datasets.shapes import Shapes

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "FakeData", "ImageFolder", "Shapes", "pil_loader"]
