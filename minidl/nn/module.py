"""Module: the base class of everything with parameters.

A module is a node of a tree. It owns three ordered dictionaries: its *parameters* (what the
optimizer changes), its *buffers* (state that is saved but not trained, such as a running mean) and
its *child modules*. Assigning an attribute files it under the right one, so that a network is
written as ordinary Python and can still be walked, moved to another device, saved and printed::

    class Net(Module):
        def __init__(self):
            super().__init__()
            self.fc = Linear(4, 2)       # a child module, with parameters fc.weight and fc.bias

        def forward(self, x):
            return self.fc(x)

The full name of a parameter is the path to it with dots, ``features.0.weight``: its key in
``state_dict``.

This page defines a module. Its other methods are in files of their own: ``tree`` walks over child
modules, ``moving`` changes device and dtype, ``state`` saves and loads, ``hooks`` runs functions
before and after ``forward``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from ..autograd.handles import RemovableHandle
from ..errors import ArgumentError
from ..kernels import cuda
from ..ops.spelling import explain
from ..tensor import Tensor
from .hooks import EVERYWHERE, Hooks
from .parameter import Buffer, Parameter
from .state import State
from .state import StateDictError as StateDictError  # where it was before

__all__ = ["Buffer", "Module", "Parameter"]


class Module(State, Hooks):
    """Base class of all layers and networks.

    A subclass calls ``super().__init__()`` first, assigns its parameters and child modules to
    attributes, and defines ``forward``. Users call the module itself, which runs the hooks too.

    Attributes
    ----------
    training : bool
        True after ``train()`` (and at first), False after ``eval()``; dropout and batch
        normalization look at it.

    Examples
    --------
    >>> import minidl
    >>> from minidl.nn import Module, Parameter
    >>> class Scale(Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.factor = Parameter(minidl.ones(1))
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> scale = Scale()
    >>> scale(minidl.tensor([1.0, 2.0])).tolist()
    [1.0, 2.0]
    >>> list(scale.state_dict())
    ['factor']
    """

    training: bool

    def __init__(self) -> None:
        # Past __setattr__, which needs these dictionaries to exist.
        state = self.__dict__
        state["training"] = True
        state["_parameters"] = {}
        state["_buffers"] = {}
        state["_non_persistent_buffers"] = set()
        state["_modules"] = {}
        state["_forward_hooks"] = {}
        state["_forward_pre_hooks"] = {}
        state["_backward_hooks"] = {}
        state["_backward_pre_hooks"] = {}

    # --- Calling ----------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; every subclass defines this."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Small networks call this often enough to feel it: without hooks nothing else happens.
        try:
            if (
                self._forward_hooks
                or self._forward_pre_hooks
                or self._backward_hooks
                or self._backward_pre_hooks
                or EVERYWHERE
            ):
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except cuda.OutOfMemoryError as error:
            error.leaves(self, args)
            raise
        except Exception as error:
            if type(self).__module__.startswith("minidl."):
                explain(type(self).__name__, self.forward, args, kwargs, error)
            raise

    # --- Registering ------------------------------------------------------------------------------

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None reserves the name for one that is absent (``bias=False``)."""
        self._check_new_name(name, "_parameters")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{type(param).__name__}' object to parameter '{name}' "
                "(Parameter or None required)"
            )
        self._parameters[name] = param
        if param is not None and param.name is None:
            param.name = name

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that belongs to the module's state but is not trained.

        Parameters
        ----------
        name : str
            The attribute under which it is reached.
        tensor : Tensor or None
            None reserves the name.
        persistent : bool, default True
            Whether it is part of ``state_dict``.
        """
        self._check_new_name(name, "_buffers")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' "
                "(Tensor or None required)"
            )
        self._buffers[name] = tensor
        if persistent:
            self._non_persistent_buffers.discard(name)
        else:
            self._non_persistent_buffers.add(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module, reached as the attribute ``name``."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_new_name(name, "_modules")
        self._modules[name] = module

    register_module = add_module

    def _check_new_name(self, name: str, registry: str) -> None:
        if registry not in self.__dict__:
            raise AttributeError(
                f"cannot register '{name}' before {type(self).__name__}.__init__ has called "
                "super().__init__()"
            )
        if not isinstance(name, str):
            raise TypeError(f"a name must be a str, but this is a {type(name).__name__}")
        if name == "" or "." in name:
            raise KeyError(f'a name can\'t be empty or contain "." (it is {name!r})')
        if name not in self.__dict__[registry] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    def __setattr__(self, name: str, value: Any) -> None:
        registries = self.__dict__
        if isinstance(value, Parameter):
            self._forget(name, keep="_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, keep="_modules")
            self.add_module(name, value)
        elif isinstance(value, Buffer):
            self._forget(name, keep="_buffers")
            self.register_buffer(name, value, value.persistent)
        elif name in registries.get("_parameters", ()):
            self.register_parameter(name, value)
        elif name in registries.get("_modules", ()):
            self.add_module(name, value)
        elif name in registries.get("_buffers", ()):
            self.register_buffer(name, value, name not in self._non_persistent_buffers)
        else:
            object.__setattr__(self, name, value)

    def _forget(self, name: str, keep: str) -> None:
        """Drop ``name`` from every place but ``keep``, where it may be replaced in its position."""
        state = self.__dict__
        state.pop(name, None)
        for registry in ("_parameters", "_buffers", "_modules"):
            if registry != keep and registry in state:
                state[registry].pop(name, None)
        if "_non_persistent_buffers" in state:
            state["_non_persistent_buffers"].discard(name)

    def __getattr__(self, name: str) -> Any:
        # Python calls this only after the ordinary lookup has failed.
        state = self.__dict__
        for registry in ("_parameters", "_buffers", "_modules"):
            if name in (entries := state.get(registry, ())):
                return entries[name]
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    def __delattr__(self, name: str) -> None:
        for registry in (self._parameters, self._buffers, self._modules):
            if name in registry:
                del registry[name]
                self._non_persistent_buffers.discard(name)
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        names = {*super().__dir__(), *self._parameters, *self._buffers, *self._modules}
        return sorted(name for name in names if not name[:1].isdigit())

    # --- Modes and gradients ----------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Switch this module and all below it to training (or, with False, to evaluation)."""
        if not isinstance(mode, bool):
            raise ArgumentError(f"train: mode must be True or False, but it is {mode!r}")
        self.training = mode
        for module in self.children():
            module.train(mode)  # a child may define its own, to keep itself frozen
        return self

    def eval(self) -> Self:
        """Switch this module and all below it to evaluation: the same as ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set ``requires_grad`` of every parameter; False freezes the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop every parameter's gradient or, with ``set_to_none=False``, fill it with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif (grad := parameter.grad) is not None:
                # create_graph=True leaves it on the tape; a view can't be detached in place
                (grad.requires_grad_(False) if grad.grad_fn is None else grad.detach_()).zero_()

    # --- Printing ---------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of this layer's printed line."""
        return ""

    def __repr__(self) -> str:
        lines = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [f"({name}): {_indent(repr(m))}" for name, m in self._modules.items()]
        return _repr_block(type(self).__name__, lines, children)


def _indent(text: str) -> str:
    """Indent all lines but the first by two spaces."""
    return text.replace("\n", "\n  ")


def _repr_block(name: str, extra_lines: list[str], child_lines: list[str]) -> str:
    """Lay a module's description out as PyTorch prints it."""
    if not child_lines and len(extra_lines) <= 1:
        return f"{name}({''.join(extra_lines)})"
    return f"{name}(\n  " + "\n  ".join(extra_lines + child_lines) + "\n)"


@contextmanager
def in_evaluation(model: Module, *handles: RemovableHandle) -> Iterator[None]:
    """Have a model in evaluation mode for a block, after which hooks are removed.

    Then each module has its own mode again: some may have been frozen in evaluation mode.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
