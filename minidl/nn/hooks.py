"""Hooks: functions that a module runs before and after its ``forward``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ..autograd.handles import RemovableHandle, add_hook
from ..errors import ArgumentError


class _Hook(NamedTuple):
    function: Callable[..., Any]
    with_kwargs: bool
    always_call: bool = False


class Hooks:
    """The hooks of a module: how they are registered and run."""

    _forward_hooks: dict[int, _Hook]
    _forward_pre_hooks: dict[int, _Hook]

    forward: Callable[..., Any]

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
        return add_hook(self._forward_hooks, _Hook(hook, with_kwargs, always_call), prepend)
