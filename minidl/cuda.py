"""The GPU engine: the only file that imports CuPy, and that only when a GPU is asked for."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType
from typing import Any

from .errors import DeviceError

_HOW_TO_INSTALL = (
    "pip install 'cupy-cuda12x[ctk]' (or 'cupy-cuda13x[ctk]', after the driver's version)"
)


@cache
def cupy() -> ModuleType:
    """Import and return CuPy.

    Raises
    ------
    DeviceError
        CuPy is not installed or can't be loaded; the message says how to install it.
    """
    try:
        return importlib.import_module("cupy")
    except ImportError as error:
        raise DeviceError(
            f"the GPU needs CuPy, which can't be imported ({error}); install it with "
            f"{_HOW_TO_INSTALL}, or use device 'cpu'"
        ) from error


def device_count() -> int:
    """Return the number of GPUs that can be used: 0 without CuPy, a driver or a card."""
    try:
        return int(cupy().cuda.runtime.getDeviceCount())
    except Exception:  # CuPy's own error types can't be named without importing it
        return 0


def is_available() -> bool:
    """Return whether there is a GPU that minidl can use.

    Examples
    --------
    >>> import minidl
    >>> minidl.cuda.is_available() in (True, False)
    True
    """
    return device_count() > 0


def require(index: int) -> None:
    """Raise a `DeviceError` that says what is missing unless GPU number `index` can be used."""
    xp = cupy()
    try:
        count = int(xp.cuda.runtime.getDeviceCount())
    except Exception as error:
        raise DeviceError(
            f"CuPy is installed, but no NVIDIA GPU answers ({error}); check `nvidia-smi` and the "
            "driver, or use device 'cpu'"
        ) from error
    if index >= count:
        raise DeviceError(f"device 'gpu:{index}' does not exist; this machine has {count} GPU(s)")


def synchronize() -> None:
    """Wait until the current GPU has finished all work given to it; nothing without a GPU."""
    if is_available():
        cupy().cuda.get_current_stream().synchronize()


def to_host(array: Any) -> Any:
    """Return a NumPy copy of a CuPy array."""
    return cupy().asnumpy(array)


def to_device(array: Any, index: int) -> Any:
    """Return a copy of `array` on GPU number `index`."""
    with cupy().cuda.Device(index):
        return cupy().asarray(array)
