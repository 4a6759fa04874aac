"""Sets of pictures: a folder of one's own, CIFAR, MNIST, and Shapes, which needs no download.

All give ``(picture, label)`` pairs, the picture a PIL image until a transform turns it into
something else, under torchvision's names and attributes.
"""

from minidl.vision.datasets.cifar import CIFAR10, CIFAR100
from minidl.vision.datasets.folder import ImageFolder, pil_loader
from minidl.vision.datasets.mnist import MNIST
from minidl.vision.datasets.shapes import Shapes

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "ImageFolder", "Shapes", "pil_loader"]
