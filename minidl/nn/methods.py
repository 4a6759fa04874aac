"""Activations as methods of Tensor: ``x.relu()``. Attached from here, where the layers are."""

from ..ops.inplace import in_place
from ..ops.spelling import spelled
from ..tensor import Tensor
from . import functional
from .functional import relu, sigmoid, tanh

log_softmax, softmax = spelled(functional.log_softmax), spelled(functional.softmax)

log_softmax.__module__ = softmax.__module__ = __name__  # where pickle looks for it

for _function in (log_softmax, relu, sigmoid, softmax, tanh):
    setattr(Tensor, _function.__name__, _function)
for _function in (sigmoid, tanh):
    setattr(Tensor, f"{_function.__name__}_", in_place(_function))


def relu_(self: Tensor) -> Tensor:
    """Set negative elements to 0 in place."""
    return relu(self, inplace=True)


Tensor.relu_ = relu_  # type: ignore[attr-defined]
