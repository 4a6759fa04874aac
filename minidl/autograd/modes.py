"""Whether operations are recorded: :class:`no_grad` and its relatives. Each thread has its own."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections.abc import Callable, Generator
from functools import wraps
from typing import Any, Self

from ..tensor import Tensor, inferring, is_inferring


class _Mode(threading.local):
    enabled = True
    autocast: Any = None  # the casts of minidl.amp, see precision.py


mode = _Mode()


def is_grad_enabled() -> bool:
    """Return whether this thread's operations are recorded."""
    return mode.enabled


def switch(enabled: bool) -> bool:
    """Set the mode and return the previous one; in inference mode nothing is recorded."""
    before, mode.enabled = mode.enabled, enabled and not (inferring and is_inferring())
    return before


class _Decorator:
    """A context manager that also decorates functions, generators and methods.

    A generator runs in the mode, its caller doesn't.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if args and callable(args[0]):  # @no_grad, without parentheses
            return cls(**kwargs)(args[0])
        return super().__new__(cls)

    def clone(self) -> Self:
        """Return a new one; each call of a decorated function enters its own."""
        return type(self)()

    def __enter__(self) -> None:
        raise NotImplementedError

    def __exit__(self, *error: object) -> None:
        raise NotImplementedError

    def __call__(self, function: Any) -> Any:
        if inspect.isgeneratorfunction(function):
            return self._generator(function)
        kept: tuple[str, ...] = ("__dict__",)
        if inspect.isclass(function):
            kept = ()
            warnings.warn(
                f"{type(self).__name__} decorates the class {function.__name__}: it becomes a "
                "function that makes instances; decorate __init__ instead",
                FutureWarning,
                stacklevel=2,
            )

        @wraps(function, updated=kept)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.clone():
                return function(*args, **kwargs)

        return wrapper

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            generator = function(*args, **kwargs)
            resume, sent = generator.send, None
            while True:
                try:
                    with self.clone():
                        value = resume(sent)
                except StopIteration as end:
                    return end.value
                try:
                    resume, sent = generator.send, (yield value)
                except GeneratorExit:
                    with self.clone():
                        generator.close()
                    raise
                except BaseException as error:
                    resume, sent = generator.throw, error

        return wrapper


class _GradMode(_Decorator):
    """A mode that can be entered any number of times."""

    enabled: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(switch(self.enabled))

    def __exit__(self, *error: object) -> None:
        mode.enabled = self._before.pop()


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
    >>> @minidl.no_grad
    ... def double(x):
    ...     return x * 2
    >>> double(x).requires_grad
    False
    """

    enabled = False


class enable_grad(_GradMode):
    """Record the operations inside, even within :class:`no_grad`."""

    enabled = True


class set_grad_enabled(_Decorator):
    """Switch recording on or off: at once, for a ``with`` block, or for a decorated function.

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

    def clone(self) -> Self:
        return type(self)(self.mode)

    def __call__(self, function: Any) -> Any:
        switch(self.before)
        return super().__call__(function)

    def __enter__(self) -> None:
        switch(self.mode)

    def __exit__(self, *error: object) -> None:
        mode.enabled = self.before


class inference_mode(_Decorator):
    """Record nothing inside, and mark the results as unfit for recording.

    Tensors made inside can't be saved for a backward or changed in place outside; ``clone()`` makes
    normal ones. As in PyTorch, layers are not switched to evaluation: call ``eval()`` too.

    Parameters
    ----------
    mode : bool
        False leaves inference mode and records. Default True.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.ones(2, requires_grad=True)
    >>> with minidl.inference_mode():
    ...     y = x * 2
    >>> y.requires_grad, y.is_inference()
    (False, True)
    """

    def __init__(self, mode: bool = True) -> None:
        self.mode = bool(mode)
        self._before: list[tuple[bool, bool]] = []

    def clone(self) -> Self:
        return type(self)(self.mode)

    def __enter__(self) -> None:
        self._before.append((is_inferring(), mode.enabled))
        _set_inferring(self.mode)
        mode.enabled = not self.mode

    def __exit__(self, *error: object) -> None:
        inference, mode.enabled = self._before.pop()
        _set_inferring(inference)


def _set_inferring(inference: bool) -> None:
    (inferring.add if inference else inferring.discard)(threading.get_ident())


def is_inference_mode_enabled() -> bool:
    """Return whether this thread is in :class:`inference_mode`."""
    return is_inferring()


def is_inference(tensor: Tensor) -> bool:
    """Return whether `tensor` was made in :class:`inference_mode`."""
    return tensor.is_inference()


class anomaly:
    """What :class:`detect_anomaly` has switched on, for all threads."""

    enabled = False
    check_nan = False


class set_detect_anomaly:
    """Switch the search for NaN in backward passes on or off: at once, or for a ``with`` block.

    Parameters
    ----------
    mode : bool
    check_nan : bool
        Raise an error where a backward returns NaN, with the operation's name. Default True.
    """

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = anomaly.enabled, anomaly.check_nan
        anomaly.enabled, anomaly.check_nan = bool(mode), bool(mode and check_nan)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        anomaly.enabled, anomaly.check_nan = self._before


class detect_anomaly:
    """Raise an error where a backward inside the ``with`` block returns NaN.

    The error names the operation. The check costs a pass over each gradient.

    Parameters
    ----------
    check_nan : bool
        Default True.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([0.0, 1.0], requires_grad=True)
    >>> with minidl.autograd.detect_anomaly():
    ...     (x.sqrt() * 0).sum().backward()
    Traceback (most recent call last):
        ...
    minidl.errors.AutogradError: Function 'SqrtBackward0' returned nan values in its 0th output
    """

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan

    def __enter__(self) -> None:
        self._switched = set_detect_anomaly(True, self._check_nan)

    def __exit__(self, *error: object) -> None:
        self._switched.__exit__()


def is_anomaly_enabled() -> bool:
    """Return whether :class:`detect_anomaly` is on."""
    return anomaly.enabled
