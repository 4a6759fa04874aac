"""Layers: one file a concept, each with its maths, its code, its gradient and its module.

In the order in which a picture travels through AlexNet: ``im2col`` (windows), ``conv``,
``activation``, ``normalization``, ``pooling``, ``flatten``, ``linear``, ``dropout``, ``loss``; then
``local`` (unshared convolution) and ``padding``. ``module`` holds the containers, ``init`` the
initialisers, ``functional`` the functions under one roof, ``utils`` the clipping of gradients.
"""

from . import functional, init, utils
from .activation import LogSoftmax, ReLU, Sigmoid, Softmax, Tanh
from .conv import Conv2d
from .dropout import Dropout, PlainDropout
from .flatten import Flatten
from .im2col import Fold, Unfold
from .linear import Linear
from .local import LocallyConnected2d
from .loss import CrossEntropyLoss, MSELoss, NLLLoss
from .module import (
    Identity, Module, ModuleDict, ModuleList, Parameter, ParameterList, Sequential,
)  # fmt: skip
from .normalization import BatchNorm1d, BatchNorm2d, LocalResponseNorm, SpatialResponseNorm
from .pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from .summary import Summary, summary

__all__ = [
    "AdaptiveAvgPool2d", "AvgPool2d", "BatchNorm1d", "BatchNorm2d", "Conv2d", "CrossEntropyLoss",
    "Dropout", "Flatten", "Fold", "Identity", "Linear", "LocalResponseNorm", "LocallyConnected2d",
    "LogSoftmax", "MSELoss", "MaxPool2d", "Module", "ModuleDict", "ModuleList", "NLLLoss",
    "Parameter", "ParameterList", "PlainDropout", "ReLU", "Sequential", "Sigmoid", "Softmax",
    "SpatialResponseNorm", "Summary", "Tanh", "Unfold", "functional", "init", "summary",
    "utils",
]  # fmt: skip
