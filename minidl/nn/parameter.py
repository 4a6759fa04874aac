"""Parameter: a tensor that a module trains; Buffer: one that it only keeps."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor, as_tensor

__all__ = ["Buffer", "Parameter"]


class Parameter(Tensor):
    """A tensor that a module registers as trainable when it is assigned to an attribute.

    Parameters
    ----------
    data : Tensor or array, optional
        The values; the parameter shares their memory. Default: none, in shape (0,).
    requires_grad : bool, default True
        Whether ``backward`` fills ``grad``.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.Parameter(minidl.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    def __init__(self, data: Any = None, requires_grad: bool = True) -> None:
        source = as_tensor([] if data is None else data)
        super().__init__(source.array, requires_grad)
        self.version = source.version  # one memory, one count of its changes

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        result = super().__deepcopy__(memo)
        result.grad = None
        return result

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that a module registers as a buffer when it is assigned to an attribute.

    Parameters
    ----------
    data : Tensor or array, optional
        The values; the buffer shares their memory. Default: none, in shape (0,).
    persistent : bool, default True
        Whether it is part of ``state_dict``.

    Examples
    --------
    >>> import minidl
    >>> module = minidl.nn.Module()
    >>> module.mean = minidl.nn.Buffer(minidl.zeros(2))
    >>> list(module.state_dict())
    ['mean']
    """

    def __init__(self, data: Any = None, *, persistent: bool = True) -> None:
        source = as_tensor([] if data is None else data)
        super().__init__(source.array)
        self.version = source.version
        self.persistent = persistent
