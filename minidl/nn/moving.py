"""Moving a module to another device or dtype."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Self, overload

import numpy as np

from ..conversion import as_dtype
from ..device import Device
from ..errors import DTypeError
from ..tensor import Tensor
from .tree import Tree


class Moving(Tree):
    """Moving all that a module holds."""

    @overload
    def to(self, device: Device | str, dtype: Any = ..., non_blocking: bool = ...) -> Self: ...
    @overload
    def to(self, dtype: np.dtype[Any], non_blocking: bool = ...) -> Self: ...
    @overload
    def to(self, tensor: Tensor, non_blocking: bool = ...) -> Self: ...
    @overload
    def to(
        self, *, device: Any = ..., dtype: Any = ..., non_blocking: bool = ...,
        memory_format: Any = ...,
    ) -> Self: ...  # fmt: skip
    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move all parameters and buffers to a device, change their floating-point type, or both.

        Called as ``to(device)``, ``to(dtype)``, ``to(device, dtype)`` or ``to(tensor)`` (that
        tensor's device and dtype). It changes the module itself and returns it. Integer buffers
        move but keep their dtype.

        Parameters
        ----------
        device : Device or str, optional
            Such as ``"cpu"`` or ``"gpu:0"``.
        dtype : dtype, optional
            A floating-point type such as ``minidl.float64``.
        non_blocking : bool, default False
            Accepted as in PyTorch; the order of the work is kept either way.
        memory_format : optional
            Accepted as in PyTorch; kernels choose the order in memory themselves.

        Raises
        ------
        DTypeError
            If ``dtype`` is not a floating-point type, or an argument is none of these.
        """
        device, dtype = _parse_to(*args, **kwargs)
        if dtype is not None and dtype.kind != "f":
            raise DTypeError(f"Module.to: dtype must be a floating-point type, but it is {dtype}")

        def convert(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=dtype if tensor.dtype.kind == "f" else None)

        return self._convert(convert)

    def _convert(self, convert: Callable[[Tensor], Tensor]) -> Self:
        """Replace the data of every parameter, gradient and buffer, keeping the Tensor objects.

        Keeping the objects means that an optimizer made before the move goes on working.
        """
        for tensor in itertools.chain(self.parameters(), self.buffers()):
            gradient = tensor.grad
            tensor.data = convert(tensor.detach()).data
            if gradient is not None:
                tensor.grad = convert(gradient.detach())
        return self

    def type(self, dst_type: Any) -> Self:
        """Turn all parameters and buffers into a dtype; see ``Tensor.type``."""
        return self._convert(lambda tensor: tensor.type(dst_type))

    def cpu(self) -> Self:
        """Move the module to main memory."""
        return self.to("cpu")

    def cuda(self, device: Device | int | str | None = None) -> Self:
        """Move the module to a GPU: ``None`` is the current one, an int its number."""
        if device is None or isinstance(device, int):
            device = "gpu" if device is None else f"gpu:{device}"
        return self.to(device)

    def float(self) -> Self:
        """Turn all floating-point parameters and buffers into float32."""
        return self.to(np.dtype("float32"))

    def double(self) -> Self:
        """Turn all floating-point parameters and buffers into float64."""
        return self.to(np.dtype("float64"))

    def half(self) -> Self:
        """Turn all floating-point parameters and buffers into float16."""
        return self.to(np.dtype("float16"))


def _parse_to(
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    tensor: Tensor | None = None,
    non_blocking: bool = False,
    memory_format: Any = None,
    **others: Any,
) -> tuple[Any, np.dtype[Any] | None]:
    """Sort the arguments of ``Module.to`` into ``(device, dtype)``."""
    if others:
        raise DTypeError(f"Module.to: unexpected arguments {sorted(others)}")
    for argument in args:
        if isinstance(argument, Tensor):
            tensor = argument
        elif isinstance(argument, bool) or argument is None:
            continue  # non_blocking, or a device that was left open
        elif isinstance(argument, (np.dtype, type)):
            dtype = argument
        elif isinstance(argument, (str, Device)):
            device = argument
        else:
            raise DTypeError(
                f"Module.to: expected a device, a dtype or a tensor, but got {argument!r}"
            )
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    return device, None if dtype is None else as_dtype("Module.to", dtype)
