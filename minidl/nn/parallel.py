""":class:`DataParallel` on one card: it runs its module unchanged.

Scripts wrap a model in it whenever there is a GPU. In minidl, a step uses one card.
"""

from __future__ import annotations

from typing import Any

from ..missing import attributes
from .module import Module

__all__ = ["DataParallel"]


class DataParallel(Module):
    """A module that runs another, on the one device where its parameters are.

    Parameters
    ----------
    module : Module
        Available as ``module``, so that parameters have PyTorch's names.
    device_ids, output_device, dim
        Accepted for compatibility with PyTorch.
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module = module

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Return what the module returns."""
        return self.module(*inputs, **kwargs)


__getattr__ = attributes(globals())
