"""ReLU on the GPU."""

from __future__ import annotations

from ...device import Array
from .elementwise import elementwise
from .launch import Source

SOURCE = Source("relu.cu")


def forward(x: Array, *, inplace: bool = False) -> Array:
    """Return ``max(x, 0)``, in the memory of `x` if `inplace`."""
    return elementwise(SOURCE, "relu_forward", x, out=x if inplace else None)


def backward(y: Array, grad: Array, *, overwrite: bool = False) -> Array:
    """Return `grad` where y > 0 and 0 elsewhere, in the memory of `grad` if `overwrite`."""
    # Otherwise in the memory order of y, in which the next gradient is computed.
    same_order = overwrite and grad.strides == y.strides
    return elementwise(SOURCE, "relu_backward", y, grad, out=grad if same_order else None)
