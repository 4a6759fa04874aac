"""Activations as methods of Tensor: ``x.relu()``. Attached from here, where the layers are."""

from ..tensor import Tensor
from .functional import log_softmax, relu, sigmoid, softmax, tanh

for _function in (log_softmax, relu, sigmoid, softmax, tanh):
    setattr(Tensor, _function.__name__, _function)
