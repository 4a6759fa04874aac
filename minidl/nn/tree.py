"""The tree of modules: the registries of a module, and walks over the modules below it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

from ..tensor import Tensor
from .parameter import Parameter


class Tree:
    """A node of the tree: its parameters, buffers and child modules by name."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers: set[str]
    _modules: dict[str, Any]

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """Yield ``(name, module)`` of the direct children, each module once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Any]:
        """Yield the direct child modules."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """Yield ``(dotted name, module)`` of the module itself and of all below it.

        Parameters
        ----------
        memo : set of int, optional
            The ``id`` of the modules that were yielded already.
        prefix : str, default ""
            Put before every name.
        remove_duplicate : bool, default True
            Yield a module that is used in several places only once.
        """
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                path = f"{prefix}.{name}" if prefix else name
                yield from module.named_modules(memo, path, remove_duplicate)

    def modules(self) -> Iterator[Any]:
        """Yield the module itself and all modules below it, each once."""
        for _, module in self.named_modules():
            yield module

    def _named_members(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        """Yield ``(dotted name, tensor)`` from one registry of this module or of all below it."""
        modules: Iterable[tuple[str, Any]] = [(prefix, self)]
        if recurse:
            modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
        seen: set[int] = set()
        for path, module in modules:
            for name, tensor in module.__dict__[registry].items():
                # Unique by identity: tied weights are one parameter. (== compares elements.)
                if tensor is None or id(tensor) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(tensor))
                yield (f"{path}.{name}" if path else name), tensor

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield ``(dotted name, parameter)``; a shared parameter comes once, under its first name.

        Parameters
        ----------
        prefix : str, default ""
            Put before every name.
        recurse : bool, default True
            Descend into child modules.
        remove_duplicate : bool, default True
            Yield a parameter that is used in several places only once.

        Notes
        -----
        A parameter's ``name``, which error messages show, becomes the longest dotted name under
        which it was ever listed: listing the whole network, as for an optimizer, gives it in full.
        """
        for path, parameter in self._named_members(
            "_parameters", prefix, recurse, remove_duplicate
        ):
            if parameter.name is None or len(path) > len(parameter.name):
                parameter.name = path
            yield path, parameter

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, each once: what an optimizer is given."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Yield ``(dotted name, buffer)``; the arguments are those of ``named_parameters``."""
        yield from self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Any:
        """Return the module with the dotted name ``target``; ``""`` is the module itself.

        Raises
        ------
        AttributeError
            If there is no such module.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            child = module._modules.get(name)
            if child is None:
                children = ", ".join(module._modules) or "none"
                raise AttributeError(
                    f"{type(module).__name__} has no child module '{name}' (asked for "
                    f"'{target}'; its children: {children})"
                )
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """Return the parameter with the dotted name ``target``, or raise AttributeError."""
        path, _, name = target.rpartition(".")
        parameter = self.get_submodule(path)._parameters.get(name)
        if parameter is None:
            raise AttributeError(f"{type(self).__name__} has no parameter '{target}'")
        return parameter

    def get_buffer(self, target: str) -> Tensor:
        """Return the buffer with the dotted name ``target``, or raise AttributeError."""
        path, _, name = target.rpartition(".")
        buffer = self.get_submodule(path)._buffers.get(name)
        if buffer is None:
            raise AttributeError(f"{type(self).__name__} has no buffer '{target}'")
        return buffer

    def apply(self, fn: Callable[[Any], None]) -> Self:
        """Call ``fn(module)`` on every module below and then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def share_memory(self) -> Self:
        """Move parameters and buffers into memory that child processes share."""
        for tensor in (*self.parameters(), *self.buffers()):
            tensor.share_memory_()
        return self
