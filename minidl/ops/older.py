"""Spellings from PyTorch's early days: ``FloatTensor(2, 3)``, ``x.type("torch.FloatTensor")``,
and changes of a tensor's own shape, such as ``x.unsqueeze_(0)``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ..autograd import describe, is_grad_enabled, set_grad_enabled
from ..autograd.views import reshape_in_place
from ..errors import AutogradError
from ..tensor import Size, Tensor, tensor
from .creation import empty

#: dtypes by the names of PyTorch's early classes of tensors.
TYPES = {
    "HalfTensor": np.dtype("float16"), "FloatTensor": np.dtype("float32"),
    "DoubleTensor": np.dtype("float64"), "ByteTensor": np.dtype("uint8"),
    "CharTensor": np.dtype("int8"), "ShortTensor": np.dtype("int16"),
    "IntTensor": np.dtype("int32"), "LongTensor": np.dtype("int64"),
    "BoolTensor": np.dtype("bool"),
}  # fmt: skip


def _typed(name: str) -> Callable[..., Tensor]:
    def make(*data: Any) -> Tensor:
        if not data or all(isinstance(size, int) for size in data):
            return empty(*data or (0,), dtype=TYPES[name], device="cpu")
        return tensor(data[0], dtype=TYPES[name], device="cpu")

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"Return {TYPES[name]} numbers on the CPU: of sizes, or the data of a sequence."
    return make


CONSTRUCTORS = {name: _typed(name) for name in TYPES}


def type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Return the tensor with dtype `dtype`; without one, the name of its early class."""
    if dtype is None:
        name = next(name for name, value in TYPES.items() if value == self.dtype)
        return f"torch.cuda.{name}" if self.is_cuda else f"torch.{name}"
    if isinstance(dtype, str):
        dtype = TYPES.get(dtype.rpartition(".")[2], dtype)
    return self.to(dtype=TYPES.get(getattr(dtype, "__name__", ""), dtype))


def new(self: Tensor, *data: Any) -> Tensor:
    """Return a tensor of this tensor's dtype and device: of sizes, or the data of a sequence."""
    if len(data) == 1 and not isinstance(data[0], (int, Size)):
        return tensor(data[0], dtype=self.dtype, device=self.device)
    return empty(*data or (0,), dtype=self.dtype, device=self.device)


def reshaped(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Return the form of a view's operation that gives its first argument the view's shape."""

    @wraps(function)
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.is_leaf and self.requires_grad and is_grad_enabled():
            raise AutogradError(
                f"{describe(self)} is a leaf that requires a gradient: its shape can't be changed "
                "in place while recording; use minidl.no_grad()"
            )
        with set_grad_enabled(is_grad_enabled() or (self.requires_grad and not self.is_leaf)):
            reshape_in_place(self, function(self, *args, **kwargs))  # it keeps its history
        return self

    return method
