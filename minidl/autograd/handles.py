"""Handles: what registering a hook returns, on a tensor, a node or a module."""

from __future__ import annotations

import itertools
from typing import Any, Self


class RemovableHandle:
    """What registering a hook returns: ``remove()`` removes the hook.

    It is also a context manager that removes the hook at the end of its block.
    """

    _next_id = itertools.count()

    def __init__(self, hooks: dict[int, Any]) -> None:
        self._hooks = hooks
        self.id = next(RemovableHandle._next_id)

    def remove(self) -> None:
        """Remove the hook; a second call does nothing."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def add_hook(hooks: dict[int, Any], hook: Any, prepend: bool = False) -> RemovableHandle:
    """Add a hook to those of one place, after the others or before them."""
    handle = RemovableHandle(hooks)
    earlier = dict(hooks) if prepend else {}
    if prepend:
        hooks.clear()  # handles refer to this dictionary
    hooks[handle.id] = hook
    hooks.update(earlier)
    return handle
