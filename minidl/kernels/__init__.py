"""The kernels: functions that take and return arrays.

How a layer is made fast is here; what a layer is, in ``nn``.

``kernels.of("conv", x)`` is the module ``kernels/cpu/conv.py`` for a NumPy array and
``kernels/cuda/conv.py`` for a CuPy array; both define the same functions. It is None where the
plain code runs: for dtypes other than float32 and float64 (and, for a few layers on a GPU,
float16), where there is no such module because no kernel pays, and inside :class:`reference`.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any, TypeVar

import numpy as np

from ..device import Array

Callback = TypeVar("Callback", bound=Callable[..., Any])

#: Characters of the dtypes that kernels compute with: float32 and float64.
DTYPES = "fd"

#: The kernels that also compute with float16, on a GPU: those of AlexNet.
HALF = {"conv", "dropout", "linear", "max_pool", "relu", "response_norm"}


class _Here(threading.local):
    reference = False


_here = _Here()
_modules: dict[tuple[str, type, str], ModuleType | None] = {}  # by name, kind of array, dtype


def of(name: str, array: Array) -> Any:
    """Return the module of kernels for an operation and an array, or None for the plain code.

    Parameters
    ----------
    name : str
        Name of the module: "conv", "max_pool", ...
    array : ndarray or cupy.ndarray
        Its type decides the device; its dtype whether there are kernels at all.

    Returns
    -------
    module or None
    """
    if _here.reference:
        return None
    key = name, type(array), array.dtype.char
    try:
        return _modules[key]
    except KeyError:
        _modules[key] = _find(name, isinstance(array, np.ndarray), array.dtype.char)
    return _modules[key]


def _find(name: str, on_cpu: bool, dtype: str) -> ModuleType | None:
    if dtype not in DTYPES and (on_cpu or dtype != "e" or name not in HALF):
        return None
    path = f"{__name__}.{'cpu' if on_cpu else 'cuda'}.{name}"
    return importlib.import_module(path) if importlib.util.find_spec(path) else None


def is_reference() -> bool:
    """Return whether this thread is inside :class:`reference`."""
    return _here.reference


class reference:
    """Run every layer's plain code: a context manager, and a decorator.

    Inside, no kernel runs and nothing is fused, on either device: every layer's own page runs, and
    a debugger can step through it. Results equal the fast ones to rounding.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([-1.0, 2.0])
    >>> with minidl.reference():
    ...     y = minidl.relu(x)
    >>> y
    tensor([0., 2.])
    """

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_here.reference)
        _here.reference = True

    def __exit__(self, *error: object) -> None:
        _here.reference = self._before.pop()

    def __call__(self, function: Callback) -> Callback:
        @wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]
