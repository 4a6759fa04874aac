"""Hooks of a module's state: functions that run when it is saved and loaded."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..autograd.handles import RemovableHandle, add_hook
from ..errors import ArgumentError
from .tree import Tree


class StateHooks(Tree):
    """The hooks of ``state_dict`` and ``load_state_dict``: how they are registered and run."""

    def _add_state_hook(self, kind: str, hook: Callable[..., Any]) -> RemovableHandle:
        return add_hook(self.__dict__.setdefault(f"_{kind}_hooks", {}), hook, False)

    def _state_hooks(self, kind: str) -> list[Callable[..., Any]]:
        return list(self.__dict__.get(f"_{kind}_hooks", {}).values())

    def register_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Run ``hook(module, prefix, keep_vars)`` before each ``state_dict``."""
        return self._add_state_hook("state_dict_pre", hook)

    def register_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Run ``hook(module, state_dict, prefix, local_metadata)`` after each ``state_dict``.

        Parameters
        ----------
        hook : callable
            May change the dictionary, which holds the entries of other modules, too; the module's
            begin with `prefix`. `local_metadata` is an empty dictionary.

        Examples
        --------
        >>> import minidl
        >>> layer = minidl.nn.Linear(2, 1)
        >>> handle = layer.register_state_dict_post_hook(
        ...     lambda module, state, prefix, metadata: state.update(epoch=minidl.tensor(3)))
        >>> list(layer.state_dict())
        ['weight', 'bias', 'epoch']
        """
        return self._add_state_hook("state_dict", _without_result(hook))

    def _register_state_dict_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Do the same; what the hook returns replaces the dictionary, unless it is None."""
        return self._add_state_hook("state_dict", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Run a hook on what this module is about to load.

        Parameters
        ----------
        hook : callable
            ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys,
            unexpected_keys, error_msgs)``. It may change `state_dict`, a copy of what was given,
            and append to the three lists.
        """
        return self._add_state_hook("load_state_dict_pre", hook)

    def _register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], with_module: bool = False
    ) -> RemovableHandle:
        """Do the same; the hook gets the module only if `with_module`."""
        return self.register_load_state_dict_pre_hook(
            hook if with_module else lambda module, *args: hook(*args)
        )

    def register_load_state_dict_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Run ``hook(module, incompatible_keys)`` after loading.

        Parameters
        ----------
        hook : callable
            It may change the lists ``missing_keys`` and ``unexpected_keys``; with ``strict=True``,
            those that are left are errors.
        """
        return self._add_state_hook("load_state_dict_post", _without_result(hook))

    def _run_load_pre_hooks(self, state_dict: Any, *lists: list[str]) -> Any:
        """Return the state dict to load."""
        hooks = [
            (hook, path, module)
            for path, module in self.named_modules(remove_duplicate=False)
            for hook in module._state_hooks("load_state_dict_pre")
        ]
        if hooks:
            state_dict = dict(state_dict)
        for hook, path, module in hooks:
            hook(module, state_dict, f"{path}." if path else "", {}, True, *lists)
        return state_dict

    def _load_post_hooks(self) -> list[Callable[[Any], Any]]:
        """Return the hooks of all modules, children first, as functions of the keys."""
        return [
            partial(hook, module)
            for module in reversed(list(self.modules()))
            for hook in module._state_hooks("load_state_dict_post")
        ]


def _without_result(hook: Callable[..., Any]) -> Callable[..., None]:
    """Return a hook that refuses to return something."""

    def checked(*args: Any) -> None:
        if hook(*args) is not None:
            raise ArgumentError("a hook of a state dict must return None; change what it is given")

    return checked
