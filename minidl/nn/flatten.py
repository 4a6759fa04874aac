"""Flatten: images become vectors, in the order of channels, rows, columns (9216 = 256·6·6)."""

from __future__ import annotations

from .. import ops
from ..tensor import Tensor
from .module import Module

__all__ = ["Flatten"]


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
