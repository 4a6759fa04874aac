"""One model on several processes or cards, :class:`DistributedDataParallel` and `DataParallel`.

Scripts wrap a model in DataParallel whenever there is a GPU; in minidl, a process uses one card, so
it runs its module unchanged. DistributedDataParallel computes with all ranks of
:mod:`minidl.distributed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import ArgumentError
from ..missing import attributes
from .buckets import Reducer
from .module import Module

__all__ = ["DataParallel", "DistributedDataParallel"]


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


class DistributedDataParallel(Module):
    """A module whose gradients are averaged over all ranks, during the backward.

    Each rank computes with its own batch. After ``backward()`` all have the gradients of the mean
    loss, so equal optimizers keep the parameters equal.

    Parameters
    ----------
    module : Module
        Available as ``module``. All ranks begin with rank 0's parameters and buffers.
    broadcast_buffers : bool
        Send the buffers of rank 0, such as running means, before each forward in training. Default
        True.
    bucket_cap_mb : float, optional
        Gradients are sent in buckets of this size in MiB; a parameter of 1 MiB has one of its own.
        Default 25.
    find_unused_parameters : bool
        The loss may not depend on all parameters. Default False.
    device_ids, output_device, dim, init_sync, check_reduction, gradient_as_bucket_view,
    static_graph
        Accepted for compatibility with PyTorch.
    process_group : None
        All ranks.

    Raises
    ------
    ArgumentError
        `process_group` is not None, or no parameter requires a gradient.
    DistributedError
        In the forward: the backward before gave some parameters no gradient.

    Examples
    --------
    >>> import minidl
    >>> from minidl.nn.parallel import DistributedDataParallel
    >>> net = DistributedDataParallel(minidl.nn.Linear(2, 1))
    >>> net(minidl.ones(3, 2)).sum().backward()
    >>> net.module.weight.grad
    tensor([[3., 3.]])
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0,
        broadcast_buffers: bool = True, init_sync: bool = True, process_group: Any = None,
        bucket_cap_mb: float | None = None, find_unused_parameters: bool = False,
        check_reduction: bool = False, gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if process_group is not None:
            raise ArgumentError("DistributedDataParallel: expected process_group=None, all ranks")
        if not any(parameter.requires_grad for parameter in module.parameters()):
            raise ArgumentError("DistributedDataParallel: no parameter requires a gradient")
        self.module = module
        self.reducer = Reducer(
            module, 25 if bucket_cap_mb is None else bucket_cap_mb, broadcast_buffers,
            find_unused_parameters,
        )  # fmt: skip

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """Return what the module returns."""
        return self.module(*inputs, **kwargs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Keep gradients in the block on this rank; the next backward outside sends the sums."""
        before, self.reducer.active = self.reducer.active, False
        try:
            yield
        finally:
            self.reducer.active = before


__getattr__ = attributes(globals())
