"""Whether operations are recorded: :class:`no_grad` and its relatives. Every thread has its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

Callback = TypeVar("Callback", bound=Callable[..., Any])


class _Mode(threading.local):
    enabled = True


mode = _Mode()


class anomaly:
    """What :class:`detect_anomaly` has switched on, in all threads."""

    check_nan = False


def is_grad_enabled() -> bool:
    """Return whether this thread's operations are recorded."""
    return mode.enabled


class set_grad_enabled:
    """Switch recording on or off, at once or for a ``with`` block.

    Parameters
    ----------
    mode : bool
        Whether operations are recorded from now on.

    Examples
    --------
    >>> import minidl
    >>> with minidl.set_grad_enabled(False):
    ...     minidl.is_grad_enabled()
    False
    """

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.before = switch(self.mode)

    def __enter__(self) -> None:
        switch(self.mode)

    def __exit__(self, *error: object) -> None:
        switch(self.before)


def switch(enabled: bool) -> bool:
    """Set the mode and return the previous one."""
    before, mode.enabled = mode.enabled, enabled
    return before


class _GradMode:
    """A context manager and decorator that can be entered any number of times."""

    enabled: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(switch(self.enabled))

    def __exit__(self, *error: object) -> None:
        switch(self._before.pop())

    def __call__(self, function: Callback) -> Callback:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]


class no_grad(_GradMode):
    """Do not record the operations inside: a context manager, and a decorator.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.ones(2, requires_grad=True)
    >>> with minidl.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    enabled = False


class enable_grad(_GradMode):
    """Record the operations inside, even within :class:`no_grad`."""

    enabled = True
