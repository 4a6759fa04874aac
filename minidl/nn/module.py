"""Module, the base class of everything with parameters, and the containers made of modules.

A module is a node of a tree. It owns three ordered dictionaries: its *parameters* (what the
optimizer changes), its *buffers* (state that is saved but not trained, such as a running mean)
and its *child modules*. Assigning an attribute files it under the right one, so that a network is
written as ordinary Python and can still be walked, moved to another device, saved and printed::

    class Net(Module):
        def __init__(self):
            super().__init__()
            self.fc = Linear(4, 2)       # a child module, with parameters fc.weight and fc.bias

        def forward(self, x):
            return self.fc(x)

A parameter's full name is the path to it with dots, ``features.0.weight``: the key of
``state_dict``.

Contents: Parameter, Module, RemovableHandle, StateDictError, Identity, Sequential, ModuleList,
ModuleDict, ParameterList.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self, overload

import numpy as np

from ..autograd import no_grad
from ..device import Device
from ..errors import ArgumentError, CheckpointError, DTypeError
from ..kernels import cuda
from ..tensor import Tensor, as_tensor

__all__ = ["Module", "Parameter"]


class StateDictError(CheckpointError, RuntimeError):
    """A state dict does not fit the module; also the ``RuntimeError`` that PyTorch raises here."""


class Parameter(Tensor):
    """A tensor that a module registers as trainable when it is assigned to an attribute.

    Parameters
    ----------
    data : Tensor or array
        The values; the parameter shares their memory.
    requires_grad : bool, default True
        Whether ``backward`` fills ``grad``.

    Examples
    --------
    >>> import minidl
    >>> minidl.nn.Parameter(minidl.zeros(2))
    Parameter containing:
    tensor([0., 0.], requires_grad=True)
    """

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        source = as_tensor(data)
        super().__init__(source.array, requires_grad)
        self.version = source.version  # one memory, one count of its changes

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()


class RemovableHandle:
    """What registering a hook returns: ``remove()`` takes the hook off again.

    It is also a context manager that removes the hook at the end of its block.
    """

    _next_id = itertools.count()

    def __init__(self, hooks: dict[int, Any]) -> None:
        self._hooks = hooks
        self.id = next(RemovableHandle._next_id)

    def remove(self) -> None:
        """Take the hook off; doing it twice does no harm."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


class _Hook(NamedTuple):
    function: Callable[..., Any]
    with_kwargs: bool
    always_call: bool = False


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` returns: the keys that did not match."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"IncompatibleKeys(missing_keys={self.missing_keys}, "
            f"unexpected_keys={self.unexpected_keys})"
        )


class Module:
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
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _non_persistent_buffers: set[str]
    _modules: dict[str, Module | None]
    _forward_hooks: dict[int, _Hook]
    _forward_pre_hooks: dict[int, _Hook]

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

    # ------------------------------------------------------------------ calling

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the module's output; every subclass defines this."""
        raise NotImplementedError(
            f'Module [{type(self).__name__}] is missing the required "forward" function'
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Small networks call this often enough to feel it: without hooks nothing else happens.
        try:
            if self._forward_hooks or self._forward_pre_hooks:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except cuda.OutOfMemoryError as error:
            error.leaves(self, args)
            raise

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        finished: set[int] = set()
        try:
            for hook in tuple(self._forward_pre_hooks.values()):
                args, kwargs = self._call_pre_hook(hook, args, kwargs)
            output = self.forward(*args, **kwargs)
            for key, hook in tuple(self._forward_hooks.items()):
                finished.add(key)
                output = self._call_forward_hook(hook, args, kwargs, output)
            return output
        except Exception:
            for key, hook in tuple(self._forward_hooks.items()):
                if hook.always_call and key not in finished:
                    self._call_forward_hook(hook, args, kwargs, None)
            raise

    def _call_pre_hook(
        self, hook: _Hook, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if hook.with_kwargs:
            changed = hook.function(self, args, kwargs)
            if changed is None:
                return args, kwargs
            if not (isinstance(changed, tuple) and len(changed) == 2):
                raise ArgumentError(
                    "a forward pre-hook with kwargs must return None or a tuple (args, kwargs), "
                    f"but it returned {changed!r}"
                )
            return changed
        changed = hook.function(self, args)
        if changed is None:
            return args, kwargs
        return (changed if isinstance(changed, tuple) else (changed,)), kwargs

    def _call_forward_hook(
        self, hook: _Hook, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        if hook.with_kwargs:
            changed = hook.function(self, args, kwargs, output)
        else:
            changed = hook.function(self, args, output)
        return output if changed is None else changed

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Run ``hook(module, args)`` before each ``forward``.

        Parameters
        ----------
        hook : callable
            Returns None, or the new positional arguments (a tuple, or one value that is wrapped).
        prepend : bool, default False
            Run before the hooks that are there already.
        with_kwargs : bool, default False
            Call ``hook(module, args, kwargs)``; it then returns None or ``(args, kwargs)``.

        Returns
        -------
        RemovableHandle
        """
        return _add_hook(self._forward_pre_hooks, _Hook(hook, with_kwargs), prepend)

    def register_forward_hook(
        self,
        hook: Callable[..., Any],
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Run ``hook(module, args, output)`` after each ``forward``.

        Parameters
        ----------
        hook : callable
            Returns None, or what replaces the output.
        prepend : bool, default False
            Run before the hooks that are there already.
        with_kwargs : bool, default False
            Call ``hook(module, args, kwargs, output)``.
        always_call : bool, default False
            Run the hook (with output None) even when ``forward`` raises.

        Returns
        -------
        RemovableHandle

        Examples
        --------
        >>> import minidl
        >>> layer = minidl.nn.Identity()
        >>> handle = layer.register_forward_hook(lambda module, args, output: print(output.shape))
        >>> _ = layer(minidl.zeros(2, 3))
        Size([2, 3])
        >>> handle.remove()
        """
        return _add_hook(self._forward_hooks, _Hook(hook, with_kwargs, always_call), prepend)

    # ------------------------------------------------------------------ registering

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
            if registry in state and name in state[registry]:
                return state[registry][name]
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

    # ------------------------------------------------------------------ walking the tree

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield ``(name, module)`` of the direct children, each module once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the direct child modules."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
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

    def modules(self) -> Iterator[Module]:
        """Yield the module itself and all modules below it, each once."""
        for _, module in self.named_modules():
            yield module

    def _named_members(
        self, registry: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        """Yield ``(dotted name, tensor)`` from one registry of this module or of all below it."""
        modules: Iterable[tuple[str, Module]] = [(prefix, self)]
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
        which it was ever listed: whoever lists the whole network (an optimizer does) knows most.
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

    def get_submodule(self, target: str) -> Module:
        """Return the module with the dotted name ``target``; ``""`` is the module itself.

        Raises
        ------
        AttributeError
            If there is no such module.
        """
        module: Module = self
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

    def apply(self, fn: Callable[[Module], None]) -> Self:
        """Call ``fn(module)`` on every module below and then on this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    # ------------------------------------------------------------------ modes and gradients

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
            elif parameter.grad is not None:
                parameter.grad = parameter.grad.detach().zero_()

    # ------------------------------------------------------------------ device and dtype

    @overload
    def to(self, device: Device | str, dtype: Any = ..., non_blocking: bool = ...) -> Self: ...
    @overload
    def to(self, dtype: np.dtype[Any], non_blocking: bool = ...) -> Self: ...
    @overload
    def to(self, tensor: Tensor, non_blocking: bool = ...) -> Self: ...
    @overload
    def to(self, *, device: Any = ..., dtype: Any = ..., non_blocking: bool = ...) -> Self: ...
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

        Raises
        ------
        DTypeError
            If ``dtype`` is not a floating-point type.
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

    # ------------------------------------------------------------------ saving and loading

    def state_dict(
        self,
        *,
        destination: OrderedDict[str, Any] | None = None,
        prefix: str = "",
        keep_vars: bool = False,
    ) -> OrderedDict[str, Any]:
        """Return all parameters and persistent buffers by dotted name.

        Parameters
        ----------
        destination : OrderedDict, optional
            Filled and returned, instead of a new one.
        prefix : str, default ""
            Put before every key.
        keep_vars : bool, default False
            Return the parameters themselves, not tensors detached from the tape.

        Returns
        -------
        OrderedDict of str to Tensor
            The tensors share the module's memory: copy them before the next training step if
            they are to stay what they are.
        """
        destination = OrderedDict() if destination is None else destination
        for name, parameter in self._parameters.items():
            if parameter is not None:
                destination[prefix + name] = parameter if keep_vars else parameter.detach()
        for name, buffer in self._buffers.items():
            if buffer is not None and name not in self._non_persistent_buffers:
                destination[prefix + name] = buffer if keep_vars else buffer.detach()
        for name, module in self._modules.items():
            if module is not None:
                module.state_dict(
                    destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars
                )
        return destination

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> IncompatibleKeys:
        """Copy the values of ``state_dict`` into the parameters and buffers of the same names.

        Everything is checked before anything is copied, so that a state dict that does not fit
        leaves the module as it was.

        Parameters
        ----------
        state_dict : mapping of str to Tensor or array
            As ``state_dict()`` returns it. Values are converted to the module's dtype and device.
        strict : bool, default True
            Whether missing and unexpected keys are errors. Wrong shapes always are.
        assign : bool, default False
            Take over the given arrays, with their dtype and device, instead of copying.

        Returns
        -------
        IncompatibleKeys
            With the lists ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        StateDictError
            Listing every missing key, unexpected key and wrong shape.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"Expected state_dict to be dict-like, got {type(state_dict).__name__}."
            )
        own = self.state_dict(keep_vars=True)
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        new = {name: as_tensor(state_dict[name]) for name in own if name in state_dict}

        problems: list[str] = []
        if strict and unexpected:
            problems.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
        if strict and missing:
            problems.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
        problems += [
            f"size mismatch for {name}: copying a param with shape {list(value.shape)} from "
            f"checkpoint, the shape in current model is {list(own[name].shape)}."
            for name, value in new.items()
            if value.shape != own[name].shape
        ]
        if problems:
            raise StateDictError(
                f"Error(s) in loading state_dict for {type(self).__name__}:\n\t"
                + "\n\t".join(problems)
            )

        with no_grad():
            for name, value in new.items():
                if assign:
                    own[name].data = value.data
                else:
                    own[name].copy_(value)
        return IncompatibleKeys(missing, unexpected)

    # ------------------------------------------------------------------ printing

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of this layer's printed line."""
        return ""

    def __repr__(self) -> str:
        lines = self.extra_repr().split("\n") if self.extra_repr() else []
        children = [f"({name}): {_indent(repr(m))}" for name, m in self._modules.items()]
        return _repr_block(type(self).__name__, lines, children)


def _add_hook(hooks: dict[int, _Hook], hook: _Hook, prepend: bool) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    earlier = dict(hooks) if prepend else {}
    if prepend:
        hooks.clear()  # the same dictionary must stay: handles refer to it
    hooks[handle.id] = hook
    hooks.update(earlier)
    return handle


def _parse_to(
    *args: Any,
    device: Any = None,
    dtype: Any = None,
    tensor: Tensor | None = None,
    non_blocking: bool = False,
) -> tuple[Any, np.dtype[Any] | None]:
    """Sort the arguments of ``Module.to`` into ``(device, dtype)``."""
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
            raise ArgumentError(
                f"Module.to: expected a device, a dtype or a tensor, but got {argument!r}"
            )
    if tensor is not None:
        device, dtype = tensor.device, tensor.dtype
    return device, None if dtype is None else np.dtype(dtype)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _indent(text: str) -> str:
    """Indent all lines but the first by two spaces."""
    return text.replace("\n", "\n  ")


def _repr_block(name: str, extra_lines: list[str], child_lines: list[str]) -> str:
    """Lay a module's description out as PyTorch prints it."""
    if not child_lines and len(extra_lines) <= 1:
        return f"{name}({''.join(extra_lines)})"
    return f"{name}(\n  " + "\n  ".join(extra_lines + child_lines) + "\n)"
