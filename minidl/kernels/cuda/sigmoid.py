"""sigmoid on the GPU."""

from __future__ import annotations

from ...device import Array
from .elementwise import elementwise
from .launch import Source

SOURCE = Source("sigmoid.cu")


def forward(x: Array) -> Array:
    """Return ``1 / (1 + e^-x)``."""
    return elementwise(SOURCE, "sigmoid_forward", x)


def backward(y: Array, grad: Array) -> Array:
    """Return ``grad · y · (1 - y)``."""
    return elementwise(SOURCE, "sigmoid_backward", y, grad)
