"""Changes in place: a tensor takes the value of a result, and its place on the tape.

``x.mul_(2)`` computes ``x * 2`` as usual and then stores it: the numbers go into the memory of x,
and x stands on the tape where the result stood. Every change counts up ``x.version``, which x
shares with its views: a backward that needs the old numbers notices it and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ..autograd import describe, is_grad_enabled
from ..device import active
from ..errors import AutogradError, DTypeError, ShapeError
from ..random import default_generator
from ..tensor import Tensor, as_tensor, float64
from .creation import full
from .elementwise import clamp
from .shape import expand


def changed(tensor: Tensor) -> Tensor:
    """Note that the memory of `tensor` was changed, and return it."""
    tensor.version[0] += 1
    return tensor


def store(tensor: Tensor, result: Tensor) -> Tensor:
    """Let `tensor` take the value and the place on the tape of `result`, computed from it.

    Raises
    ------
    AutogradError
        While recording: `tensor` is a leaf that requires a gradient, or a view on the tape.
    ShapeError, DTypeError
        The result does not fit into the tensor.
    """
    if is_grad_enabled() and (tensor.requires_grad or result.requires_grad):
        if tensor.node is None and tensor.requires_grad:
            raise AutogradError(
                f"{describe(tensor)} is a leaf that requires a gradient: it can't be changed in "
                "place while recording; use minidl.no_grad()"
            )
        if tensor.node is not None and tensor.node.function.is_view:
            raise AutogradError(
                "a view on the tape can't be changed in place; assign through the tensor that it "
                "is a view of: x[index] = value"
            )
    if result.array.shape != tensor.array.shape:
        raise ShapeError(
            f"in place: the result has shape {tuple(result.shape)}, the tensor "
            f"{tuple(tensor.shape)}"
        )
    if "buif".index(result.dtype.kind) > "buif".index(tensor.dtype.kind):
        raise DTypeError(f"in place: a {tensor.dtype} tensor can't keep a {result.dtype} result")
    with active(tensor.device):
        if result.node is not None:
            result.node.context.keep_copy(tensor.array)
        tensor.array[...] = result.array
    if result.node is not None:
        tensor.node, tensor.output_index = result.node, result.output_index
        tensor._requires_grad = True
    return changed(tensor)


def in_place(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the form of an operation that stores its result in its first argument."""

    @wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return store(self, function(self, *args, **kwargs))

    return method


def augmented(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return an operation as an augmented assignment: ``add`` as ``+=``."""

    @wraps(function)
    def method(self: Tensor, other: Any) -> Tensor:
        result = function(self, other)
        # x[i] += 1 is  v = x[i]; v = v + 1; x[i] = v.  The assignment that Python makes afterwards
        # records the change, so that the view itself need not be changed.
        if result.requires_grad and self.node is not None and self.node.function.is_view:
            with active(self.device):
                result.node.context.keep_copy(self.array)
            return result
        return store(self, result)

    return method


def relu_(self: Tensor) -> Tensor:
    """Set negative elements to 0 in place."""
    return store(self, clamp(self, 0))


def zero_(self: Tensor) -> Tensor:
    """Set every element to 0."""
    return fill_(self, 0)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to `value`, a number or a tensor without axes."""
    if isinstance(value, Tensor):
        return copy_(self, value)
    return copy_(self, full((), value, dtype=self.dtype, device=self.device))


def copy_(self: Tensor, source: Any, non_blocking: Any = False) -> Tensor:
    """Set the elements to those of `source`, broadcast, of any dtype and device."""
    source = as_tensor(source).to(self.device).to(dtype=self.dtype)
    return store(self, expand(source, self.shape))


# --- Random numbers: drawn on the CPU, so that a seed gives the same ones on every device ---------


def normal_(self: Tensor, mean: Any = 0.0, std: Any = 1.0, *, generator: Any = None) -> Tensor:
    """Draw every element from N(mean, std²)."""
    size, dtype = self.array.size, _drawn_dtype(self)
    return _fill_drawn(
        self, lambda s: s.standard_normal(size, dtype) * self.dtype.type(std) + mean, generator
    )


def uniform_(self: Tensor, a: Any = 0.0, b: Any = 1.0, *, generator: Any = None) -> Tensor:
    """Draw every element uniformly from [a, b)."""
    size, dtype = self.array.size, _drawn_dtype(self)
    return _fill_drawn(
        self, lambda s: s.random(size, dtype) * self.dtype.type(b - a) + a, generator
    )


def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Any = None) -> Tensor:
    """Draw every element: 1 with probability `p`, else 0."""
    return _fill_drawn(self, lambda s: s.random(self.array.size) < p, generator)


def random_(self: Tensor, low: Any, high: Any, *, generator: Any = None) -> Tensor:
    """Draw every element from the integers of [low, high)."""
    return _fill_drawn(self, lambda s: s.integers(low, high, self.array.size), generator)


def _drawn_dtype(tensor: Tensor) -> Any:
    """Return the dtype to draw numbers for `tensor` in: NumPy draws float32 and float64."""
    return np.float64 if tensor.dtype == float64 else np.float32


def _fill_drawn(
    tensor: Tensor, draw: Callable[[np.random.Generator], np.ndarray], generator: Any
) -> Tensor:
    """Set the elements to numbers that `draw` takes from a stream."""
    drawn = draw((generator or default_generator).next_stream())
    return copy_(tensor, Tensor(drawn.reshape(tensor.array.shape)))
