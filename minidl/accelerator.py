"""The functions of ``torch.accelerator``: whether there is a GPU, which one, and how many."""

from __future__ import annotations

from .cuda import current_device, device_count, is_available, set_device, synchronize
from .cuda import empty_cache as empty_cache
from .cuda import max_memory_allocated as max_memory_allocated
from .cuda import memory_allocated as memory_allocated
from .cuda import memory_reserved as memory_reserved
from .device import Device
from .missing import attributes

__all__ = [
    "current_accelerator", "current_device_index", "device_count", "empty_cache", "is_available",
    "max_memory_allocated", "memory_allocated", "memory_reserved", "set_device_index",
    "synchronize",
]  # fmt: skip

current_device_index, set_device_index = current_device, set_device


def current_accelerator(check_available: bool = False) -> Device | None:
    """Return the GPU as a device, or None if there is none.

    Parameters
    ----------
    check_available : bool
        Accepted for compatibility with PyTorch; it is always checked.
    """
    return Device("gpu") if is_available() else None


__getattr__ = attributes(globals())
