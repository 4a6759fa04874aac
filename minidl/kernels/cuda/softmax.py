"""Softmax and its logarithm on the GPU."""

from __future__ import annotations

from ...device import Array, cupy
from .launch import Source
from .rows import rows

SOURCE = Source("softmax.cu")


def forward(x: Array, axis: int, *, logarithm: bool = False) -> Array:
    """Return ``e^x / Σ e^x`` along `axis`, or its logarithm."""
    return _launch("softmax_forward", axis, logarithm, x)


def backward(y: Array, grad: Array, axis: int, *, logarithm: bool = False) -> Array:
    """Return the gradient of the input, from the result y."""
    return _launch("softmax_backward", axis, logarithm, y, grad)


def _launch(name: str, axis: int, logarithm: bool, *inputs: Array) -> Array:
    xp = cupy()
    out = xp.empty(inputs[0].shape, inputs[0].dtype)
    sources = [xp.ascontiguousarray(array) for array in inputs]
    *sizes, lanes = rows(out.shape or (1,), axis)
    SOURCE.launch(
        name, out.dtype, int(sizes[0]) * lanes, *sources, out, *sizes, lanes, logarithm, block=128
    )
    return out
