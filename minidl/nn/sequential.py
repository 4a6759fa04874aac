"""Sequential: modules called one after the other."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Self

from ..errors import ArgumentError
from ..kernels import cuda
from ..tensor import Tensor
from . import fusion
from .containers import NumberedModules
from .module import Module

__all__ = ["Sequential"]


class Sequential(NumberedModules):
    """Modules called one after the other, each with the output of the one before.

    Some neighbors run as one pass over memory, such as a convolution and its ReLU: see
    :mod:`minidl.nn.fusion`.

    Parameters
    ----------
    *args : Module, or one OrderedDict of str to Module
        Unnamed modules get the names "0", "1", ...

    Examples
    --------
    >>> from collections import OrderedDict
    >>> from minidl.nn import Identity, Sequential
    >>> net = Sequential(OrderedDict([("first", Identity()), ("second", Identity())]))
    >>> net.first is net[0], len(net[1:])
    (True, 1)
    >>> net
    Sequential(
      (first): Identity()
      (second): Identity()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.add_module(name, module)
        else:
            for position, module in enumerate(args):
                self.add_module(str(position), module)

    def forward(self, input: Any) -> Any:
        """Return what the modules, one after the other, make of `input`."""
        modules: list[Any] = list(self._modules.values())
        place = 0
        while place < len(modules):
            module, both = modules[place], fusion.pair_at(modules, place)
            if both is None or not isinstance(input, Tensor):
                input = module(input)
                place += 1
                continue
            try:
                input = both(module, modules[place + 1], input)
            except cuda.OutOfMemoryError as error:
                error.leaves(module, (input,))
                raise
            place += 2
        return input

    def fused_pairs(self) -> Iterator[tuple[Module, Module]]:
        """Yield the neighbors that run as one, in their order."""
        modules: list[Any] = list(self._modules.values())
        place = 0
        while place < len(modules):
            if fusion.pair_at(modules, place) is not None:
                yield modules[place], modules[place + 1]
                place += 1
            place += 1

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            # A part keeps its modules' names, so that its state_dict keeps its keys.
            return type(self)(OrderedDict(list(self._modules.items())[index]))
        return self._modules[self._keys()[self._index(index)]]

    def __add__(self, other: Sequential) -> Sequential:
        if not isinstance(other, Sequential):
            return NotImplemented
        return Sequential(*self, *other)

    def __mul__(self, times: int) -> Sequential:
        if not isinstance(times, int):
            return NotImplemented
        if times < 1:
            raise ArgumentError(f"Sequential: expected to be repeated once at least, got {times}")
        return Sequential(*list(self) * times)

    __rmul__ = __mul__

    def __imul__(self, times: int) -> Self:
        return self.extend(list(self * times)[len(self) :])

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before position ``index``; all are renumbered. Returns the container."""
        self._insert(index, module)
        return self
