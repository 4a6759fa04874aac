"""tanh on the GPU."""

from __future__ import annotations

from ...device import Array
from .elementwise import elementwise
from .launch import Source

SOURCE = Source("tanh.cu")


def forward(x: Array) -> Array:
    """Return ``tanh x``."""
    return elementwise(SOURCE, "tanh_forward", x)


def backward(y: Array, grad: Array) -> Array:
    """Return ``grad · (1 - y²)``."""
    return elementwise(SOURCE, "tanh_backward", y, grad)
