"""Containers: modules in a list or a dictionary, parameters in a list."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

from ..errors import DTypeError
from ..tensor import Tensor
from .module import Module, Parameter, _indent, _repr_block

__all__ = ["Identity", "ModuleDict", "ModuleList", "ParameterList"]


class Identity(Module):
    """Return the input. Arguments are accepted and ignored, so that it can stand for any layer.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.Identity(54, unused=True)
    Identity()
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class NumberedModules(Module):
    """Numbered children and the methods of a list, for Sequential and ModuleList."""

    def _index(self, index: int) -> int:
        """Turn a possibly negative index into a position, or raise IndexError."""
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range")
        return index % len(self)

    def _keys(self) -> list[str]:
        return list(self._modules)

    def _rename(self, modules: Iterable[Module | None]) -> None:
        """Replace the children by ``modules``, numbered from 0."""
        modules = list(modules)
        self._modules.clear()
        for position, module in enumerate(modules):
            self.add_module(str(position), module)

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __contains__(self, module: object) -> bool:
        return any(module is own for own in self._modules.values())

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._keys()[self._index(index)], module)

    def __delitem__(self, index: int | slice) -> None:
        modules = list(self._modules.values())
        del modules[index if isinstance(index, slice) else self._index(index)]
        self._rename(modules)

    def pop(self, index: int = -1) -> Any:
        """Remove and return the module at ``index``; the ones after it are renumbered."""
        module = self._modules[self._keys()[self._index(index)]]
        del self[index]
        return module

    def append(self, module: Module) -> Self:
        """Add a module at the end and return the container."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add all ``modules`` at the end and return the container."""
        for module in list(modules):
            self.append(module)
        return self

    def _insert(self, index: int, module: Module) -> None:
        if not -len(self) <= index <= len(self):
            raise IndexError(f"Index out of range: {index}")
        modules = list(self._modules.values())
        modules.insert(index, module)
        self._rename(modules)


class ModuleList(NumberedModules):
    """A list of modules that are registered but not chained.

    Parameters
    ----------
    modules : iterable of Module, optional

    Examples
    --------
    >>> from minidl.nn import Identity, ModuleList
    >>> ModuleList(Identity() for _ in range(3))
    ModuleList(
      (0-2): 3 x Identity()
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(() if modules is None else modules)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return type(self)(list(self)[index])
        return self._modules[self._keys()[self._index(index)]]

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        return ModuleList(itertools.chain(self, other))

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    def insert(self, index: int, module: Module) -> None:
        """Put a module before position ``index``; all are renumbered."""
        self._insert(index, module)

    def __repr__(self) -> str:
        # Neighbours that print alike are folded into one line, as PyTorch does.
        lines: list[str] = []
        first = 0
        for text, group in itertools.groupby(repr(module) for module in self):
            count = len(list(group))
            last = first + count - 1
            label = f"({first})" if count == 1 else f"({first}-{last})"
            lines.append(f"{label}: {_indent(text if count == 1 else f'{count} x {text}')}")
            first = last + 1
        return _repr_block(type(self).__name__, [], lines)


class ModuleDict(Module):
    """A dictionary of modules that are registered under their keys.

    Parameters
    ----------
    modules : mapping or iterable of (str, Module), optional

    Examples
    --------
    >>> from minidl.nn import Identity, ModuleDict
    >>> activations = ModuleDict({"none": Identity()})
    >>> "none" in activations, list(activations)
    (True, ['none'])
    """

    def __init__(
        self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] | None = None
    ) -> None:
        super().__init__()
        self.update({} if modules is None else modules)

    def __getitem__(self, key: str) -> Any:
        return self._modules[key]

    def __setitem__(self, key: str, module: Module) -> None:
        self.add_module(key, module)

    def __delitem__(self, key: str) -> None:
        del self._modules[key]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self._modules.keys()

    def items(self) -> Iterable[tuple[str, Any]]:
        """Return the pairs (name, module)."""
        return self._modules.items()

    def values(self) -> Iterable[Any]:
        """Return the modules."""
        return self._modules.values()

    def clear(self) -> None:
        """Remove all modules."""
        self._modules.clear()

    def pop(self, key: str) -> Any:
        """Remove the module ``key`` and return it."""
        return self._modules.pop(key)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add or replace modules from a mapping or from pairs (name, module)."""
        pairs = modules.items() if isinstance(modules, (Mapping, ModuleDict)) else modules
        for key, module in pairs:
            self[key] = module


class ParameterList(Module):
    """A list of parameters that are registered under the names "0", "1", ...

    Parameters
    ----------
    values : iterable of Parameter or Tensor, optional
        Plain tensors become parameters.
    """

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.extend(() if values is None else values)

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._parameters.values())

    def __getitem__(self, index: int | slice) -> Any:
        chosen: Any = list(self._parameters.values())[index]
        return ParameterList(chosen) if isinstance(index, slice) else chosen

    def __setitem__(self, index: int, value: Tensor) -> None:
        name = list(self._parameters)[index]
        setattr(self, name, value if isinstance(value, Parameter) else Parameter(value))

    def __iadd__(self, values: Iterable[Tensor]) -> Self:
        return self.extend(values)

    def append(self, value: Tensor) -> Self:
        """Add a parameter at the end and return the list."""
        parameter = value if isinstance(value, Parameter) else Parameter(value)
        self.register_parameter(str(len(self)), parameter)
        return self

    def extend(self, values: Iterable[Tensor]) -> Self:
        """Add all ``values`` at the end and return the list."""
        if isinstance(values, Tensor):  # its rows would become parameters
            raise DTypeError("ParameterList.extend: expected several tensors, got one; use append")
        for value in list(values):
            self.append(value)
        return self

    def extra_repr(self) -> str:
        return "\n".join(
            f"({name}): Parameter containing: [{p.dtype} of size {'x'.join(map(str, p.shape))}]"
            for name, p in self._parameters.items()
            if p is not None
        )
