"""Hooks: functions that modules run before and after their ``forward``, and their backward.

Most are a module's own; ``register_module_*`` add those that every module runs, before its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..autograd.handles import RemovableHandle, add_hook
from ..errors import ArgumentError
from .backward_hooks import Borders


class _Hook(NamedTuple):
    function: Callable[..., Any]
    with_kwargs: bool = False
    always_call: bool = False
    kind: str = ""  # of a hook of every module


#: The hooks of every module.
EVERYWHERE: dict[int, _Hook] = {}


class Hooks:
    """The hooks of a module: how they are registered and run."""

    _forward_hooks: dict[int, _Hook]
    _forward_pre_hooks: dict[int, _Hook]
    _backward_hooks: dict[int, _Hook]
    _backward_pre_hooks: dict[int, _Hook]

    forward: Callable[..., Any]

    def _hooks_of(self, kind: str) -> Iterator[tuple[int, _Hook]]:
        """Yield the hooks of one kind: those of every module, then this module's own."""
        yield from [item for item in EVERYWHERE.items() if item[1].kind == kind]
        yield from list(getattr(self, f"_{kind}_hooks").items())

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        finished: set[int] = set()
        try:
            for _, hook in self._hooks_of("forward_pre"):
                args, kwargs = self._call_pre_hook(hook, args, kwargs)
            borders = Borders(
                self,
                [hook.function for _, hook in self._hooks_of("backward_pre")],
                [hook.function for _, hook in self._hooks_of("backward")],
            )
            args = borders.enter(args)
            output = self.forward(*args, **kwargs)
            for key, hook in self._hooks_of("forward"):
                finished.add(key)
                output = self._call_forward_hook(hook, args, kwargs, output)
            return borders.leave(output)
        except Exception:
            for key, hook in self._hooks_of("forward"):
                if hook.always_call and key not in finished:
                    try:
                        self._call_forward_hook(hook, args, kwargs, None)
                    except Exception as error:  # the first error is the one to report
                        warnings.warn(f"a hook with always_call failed: {error!r}", stacklevel=4)
            raise

    def _call_pre_hook(
        self, hook: _Hook, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        given = (args, kwargs) if hook.with_kwargs else (args,)
        changed = hook.function(self, *given)
        if changed is None:
            return args, kwargs
        if not hook.with_kwargs:
            return (changed if isinstance(changed, tuple) else (changed,)), kwargs
        if not (isinstance(changed, tuple) and len(changed) == 2):
            raise ArgumentError(
                "a forward pre-hook with kwargs must return None or a tuple (args, kwargs), "
                f"but it returned {changed!r}"
            )
        return changed

    def _call_forward_hook(
        self, hook: _Hook, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> Any:
        given = (args, kwargs) if hook.with_kwargs else (args,)
        changed = hook.function(self, *given, output)
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
        """
        return add_hook(self._forward_pre_hooks, _Hook(hook, with_kwargs), prepend)

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

        Examples
        --------
        >>> import minidl
        >>> layer = minidl.nn.Identity()
        >>> handle = layer.register_forward_hook(lambda module, args, output: print(output.shape))
        >>> _ = layer(minidl.zeros(2, 3))
        Size([2, 3])
        >>> handle.remove()
        """
        return add_hook(self._forward_hooks, _Hook(hook, with_kwargs, always_call), prepend)

    def register_full_backward_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Run ``hook(module, grad_output)`` when the gradients of the module's outputs are known.

        Parameters
        ----------
        hook : callable
            Gets a tuple of Tensors, None for outputs without one. Returns None, or the gradients to
            go on with.
        prepend : bool, default False
            Run before the hooks that are there already.
        """
        return add_hook(self._backward_pre_hooks, _Hook(hook), prepend)

    def register_full_backward_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Run ``hook(module, grad_input, grad_output)`` when the gradients of the inputs are known.

        Parameters
        ----------
        hook : callable
            Gets two tuples of Tensors: the gradients of the positional arguments and of the
            outputs, None for those without one. Returns None, or what replaces the first.
        prepend : bool, default False
            Run before the hooks that are there already.

        Examples
        --------
        >>> import minidl
        >>> layer = minidl.nn.ReLU()
        >>> handle = layer.register_full_backward_hook(lambda module, i, o: print(i[0], o[0]))
        >>> x = minidl.tensor([-1.0, 2.0], requires_grad=True)
        >>> layer(x).sum().backward()
        tensor([0., 1.]) tensor([1., 1.])
        """
        return add_hook(self._backward_hooks, _Hook(hook), prepend)

    register_backward_hook = register_full_backward_hook  # its name before


# --- Hooks of every module ------------------------------------------------------------------------


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Run ``hook(module, args)`` before each ``forward`` of every module.

    See :meth:`Module.register_forward_pre_hook`.
    """
    return add_hook(EVERYWHERE, _Hook(hook, kind="forward_pre"))


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Run ``hook(module, args, output)`` after each ``forward`` of every module.

    See :meth:`Module.register_forward_hook`.
    """
    return add_hook(EVERYWHERE, _Hook(hook, with_kwargs, always_call, "forward"))


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Run ``hook(module, grad_output)`` before the backward of every module.

    See :meth:`Module.register_full_backward_pre_hook`.
    """
    return add_hook(EVERYWHERE, _Hook(hook, kind="backward_pre"))


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Run ``hook(module, grad_input, grad_output)`` after the backward of every module.

    See :meth:`Module.register_full_backward_hook`.
    """
    return add_hook(EVERYWHERE, _Hook(hook, kind="backward"))
