"""Devices of arrays: :class:`Device`, and the choice between NumPy and CuPy.

All other code gets an array's module from :func:`array_module` and calls functions through it. Only
:func:`cupy` imports CuPy, and only when a GPU is requested.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, wraps
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import numpy as np

from .errors import DeviceError

#: An array on either device. The type is NumPy's, which CuPy's mirrors.
Array: TypeAlias = np.ndarray[Any, Any]

#: A shape.
Shape: TypeAlias = tuple[int, ...]

Callback = TypeVar("Callback", bound=Callable[..., Any])

HOW_TO_INSTALL = "pip install 'cupy-cuda12x[ctk]' (or 'cupy-cuda13x[ctk]', to match the driver)"


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
            f"{HOW_TO_INSTALL}, or use device 'cpu'"
        ) from error


def device_count() -> int:
    """Return the number of usable GPUs: 0 without CuPy, a driver or a card."""
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
    return device_count() > 0 and not probe(0)


def require(index: int) -> None:
    """Raise a `DeviceError` that says what is missing unless GPU number `index` can be used."""
    xp = cupy()
    try:
        count = int(xp.cuda.runtime.getDeviceCount())
    except Exception as error:
        raise DeviceError(
            f"CuPy is installed, but no NVIDIA GPU responds ({error}); check `nvidia-smi` and the "
            "driver, or use device 'cpu'"
        ) from error
    if index >= count:
        raise DeviceError(f"device 'gpu:{index}' does not exist; this machine has {count} GPU(s)")
    reason = probe(index)
    if reason:
        raise DeviceError(f"GPU {index} responds, but cannot compute: {reason}")


@cache
def probe(index: int) -> str:
    """Return why GPU number `index` can't compute, "" if it can.

    It compiles and runs a kernel, an elementwise operation and a product, once a process: with a
    driver too old for CuPy's wheel, or without CUDA's libraries, only these would fail, with CuPy's
    own errors.
    """
    xp = cupy()
    try:
        properties = xp.cuda.runtime.getDeviceProperties(index)
        capability = int(properties["major"]), int(properties["minor"])
        if capability < (7, 5):
            return (
                f"its compute capability is {capability[0]}.{capability[1]}, and 7.5 (Turing) is "
                "the least; use device 'cpu'"
            )
        with xp.cuda.Device(index):
            x = xp.ones((4, 4), np.float32)
            code = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= 2; }'
            xp.RawKernel(code, "twice")((1,), (16,), (x,))
            total = float((x @ x + x).sum())  # 16 times 4·2·2 + 2
    except Exception as error:
        return (
            f"{type(error).__name__}: {error}; `python -m minidl` says what is missing, as a rule "
            f"CUDA's libraries or a newer driver: {HOW_TO_INSTALL}; or use device 'cpu'"
        )
    return "" if total == 288 else f"16 sums should be 288 together, not {total}"


class Device:
    """A CPU or one GPU.

    Parameters
    ----------
    spec : str or Device
        ``"cpu"``, ``"gpu"``, ``"gpu:1"``; ``"cuda"`` is accepted for ``"gpu"``.
    index : int, optional
        Number of the GPU, unless ``spec`` gives it. Default 0.

    Raises
    ------
    DeviceError
        ``spec`` is none of the above, or the requested GPU does not exist.

    Examples
    --------
    >>> import minidl
    >>> minidl.device("cpu")
    device(type='cpu')
    >>> with minidl.device("cpu"):  # of new tensors and layers
    ...     x = minidl.zeros(2)
    """

    __slots__ = ("index", "type")

    def __init__(self, spec: str | Device, index: int | None = None) -> None:
        if isinstance(spec, Device):
            self.type: str = spec.type
            self.index: int | None = spec.index
            return
        kind, _, number = str(spec).partition(":")
        if kind == "cuda":
            kind = "gpu"
        if kind not in ("cpu", "gpu") or (number and not number.isdigit()):
            raise DeviceError(
                f"device {spec!r} is unknown; expected 'cpu', 'gpu' or 'gpu:N' ('cuda' is 'gpu')"
            )
        if kind == "cpu":
            if number not in ("", "0") or index not in (None, 0):
                raise DeviceError(f"device {spec!r}: there is only one CPU; write 'cpu'")
            self.type, self.index = "cpu", None
        else:
            self.type = "gpu"
            self.index = int(number) if number else (index or 0)
            require(self.index)

    def __repr__(self) -> str:
        where = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{where})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Device):
            return NotImplemented
        return self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __enter__(self) -> Device:
        defaults.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        defaults.pop()


CPU = Device("cpu")

#: The device of new tensors is the last: the default, and those of ``with device:``.
defaults = [CPU]

#: PyTorch's spelling: ``minidl.device("gpu")``.
device = Device


def array_module(array: Array) -> ModuleType:
    """Return ``numpy`` or ``cupy``: the module that `array` belongs to.

    Examples
    --------
    >>> import numpy as np
    >>> from minidl.device import array_module
    >>> array_module(np.zeros(3)) is np
    True
    """
    if isinstance(array, (np.ndarray, np.generic)):
        return np
    namespace = getattr(array, "__array_namespace__", None)  # of an array on the tape
    return cupy() if namespace is None else namespace()


def module_for(where: Device) -> ModuleType:
    """Return ``numpy`` or ``cupy`` for a device."""
    return np if where.type == "cpu" else cupy()


def device_of(array: Array) -> Device:
    """Return the device that `array` lives on."""
    if isinstance(array, (np.ndarray, np.generic)):
        return CPU
    return gpu(int(array.data.device_id))


@cache  # checked once; later calls come from arrays that are on it
def gpu(index: int) -> Device:
    """Return GPU number `index`."""
    return Device("gpu", index)


_NOTHING = nullcontext()


def active(where: Device) -> AbstractContextManager[Any]:
    """Return a context in which `where` computes and new arrays are made on it.

    For the CPU, and for CuPy's current GPU, the context does nothing.
    """
    if where.index is None or cupy().cuda.runtime.getDevice() == where.index:
        return _NOTHING
    return cupy().cuda.Device(where.index)


def on_its_device(function: Callback) -> Callback:
    """Decorate a function so that it computes on the device of its first argument, a tensor.

    For functions that work on arrays outside a ``Function``; ``Function.apply`` does this itself.
    """

    @wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        tensor = args[0] if args else next(v for v in kwargs.values() if hasattr(v, "array"))
        array = tensor.array
        if isinstance(array, np.ndarray):
            return function(*args, **kwargs)
        with active(device_of(array)):
            return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


def check_one_device(name: str, **arrays: Any) -> None:
    """Raise a `DeviceError` unless all arrays are on one device.

    Parameters
    ----------
    name : str
        Name of the operation, for the message.
    **arrays : array or anything else
        By the names of the arguments; anything but an array is ignored.
    """
    devices = {key: device_of(array) for key, array in arrays.items() if hasattr(array, "dtype")}
    if len(set(devices.values())) > 1:
        where = ", ".join(f"{key} on {device}" for key, device in devices.items())
        raise DeviceError(
            f"{name}: all tensors must be on one device, got {where}; move them with .to(device)"
        )


class MemoryFormat:
    """The order of a tensor's numbers in memory; accepted where PyTorch takes one."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"minidl.{self.name}"


channels_last = MemoryFormat("channels_last")
contiguous_format = MemoryFormat("contiguous_format")
preserve_format = MemoryFormat("preserve_format")
