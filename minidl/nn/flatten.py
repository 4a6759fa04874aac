"""Flatten: images become vectors, in the order of channels, rows, columns (9216 = 256·6·6)."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..tensor import Tensor
from .module import Module

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """Make the axes from `start_dim` to `end_dim` one.

    Parameters
    ----------
    start_dim, end_dim : int
        Defaults 1 and -1: everything but the batch.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        """Return the flattened `input`."""
        return ops.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Make several axes of the axis `dim`.

    Parameters
    ----------
    dim : int
    unflattened_size : sequence of int
        Their lengths; -1 stands for what is left.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.Unflatten(1, (256, 6, 6))(minidl.zeros(2, 9216)).shape
    Size([2, 256, 6, 6])
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        """Return the unflattened `input`."""
        return ops.unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
