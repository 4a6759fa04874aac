"""GPUs, as a user sees them: what there is, how full it is, and TF32.

The kernels are in :mod:`minidl.kernels.cuda`. The names of ``torch.cuda`` that scripts call before
or beside their training are here, too; without a GPU, those that only report return 0.
"""

from typing import Any

from ..device import Device
from ..kernels.cuda import (
    HOW_TO_INSTALL, OutOfMemoryError, allow_tf32, cupy, device_count, is_available, is_tf32_allowed,
    memory_stats, synchronize,
)  # fmt: skip
from ..missing import attributes
from ..random import Generator, manual_seed

__all__ = [
    "HOW_TO_INSTALL", "OutOfMemoryError", "allow_tf32", "cupy", "current_device",
    "device_count", "empty_cache", "get_device_name", "is_available", "is_tf32_allowed",
    "manual_seed", "manual_seed_all", "max_memory_allocated", "memory_allocated",
    "memory_reserved", "memory_stats", "reset_peak_memory_stats", "set_device", "synchronize",
]  # fmt: skip


def manual_seed_all(seed: int) -> Generator:
    """Seed the default generator, which draws for all devices: :func:`minidl.manual_seed`."""
    return manual_seed(seed)


def current_device() -> int:
    """Return the number of the GPU that ``"gpu"`` means to CuPy now; 0 without a GPU."""
    return int(cupy().cuda.runtime.getDevice()) if is_available() else 0


def set_device(device: Any) -> None:
    """Compute on another GPU from now on.

    Parameters
    ----------
    device : int, str or Device

    Raises
    ------
    DeviceError
        There is no such GPU.
    """
    where = Device("gpu", device) if isinstance(device, int) else Device(device)
    cupy().cuda.Device(where.index or 0).use()


def get_device_name(device: Any = None) -> str:
    """Return the name of a GPU.

    Raises
    ------
    DeviceError
        There is no such GPU.
    """
    number = current_device() if device is None else device
    where = Device("gpu", number) if isinstance(number, int) else Device(number)
    return str(cupy().cuda.runtime.getDeviceProperties(where.index or 0)["name"].decode())


def empty_cache() -> None:
    """Give the memory that CuPy's pool holds for later back to the driver."""
    if is_available():
        cupy().get_default_memory_pool().free_all_blocks()


def memory_allocated(device: Any = None) -> int:
    """Return the bytes that arrays use on the current GPU; see :func:`memory_stats`."""
    return memory_stats()["used"]


def memory_reserved(device: Any = None) -> int:
    """Return the bytes that CuPy's pool holds on the current GPU."""
    return memory_stats()["pooled"]


def max_memory_allocated(device: Any = None) -> int:
    """Return the bytes of the pool, an upper bound of what arrays have used at once."""
    return memory_stats()["pooled"]


def reset_peak_memory_stats(device: Any = None) -> None:
    """Do nothing: :func:`max_memory_allocated` reports the pool, which keeps no peak."""


__getattr__ = attributes(globals(), {"amp": "amp"})
