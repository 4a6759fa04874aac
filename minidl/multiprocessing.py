"""Python's ``multiprocessing``, with tensors that processes share: ``torch.multiprocessing``.

``tensor.share_memory_()`` and ``model.share_memory()`` move numbers into memory that child
processes share: all see a change by one, such as an optimizer's step. Other tensors reach a child
as copies. Only tensors on the CPU can be shared.
"""

from __future__ import annotations

import mmap
import os
import tempfile
import weakref
from multiprocessing import *
from multiprocessing import parent_process
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from .errors import DeviceError
from .missing import attributes
from .tensor import Tensor

#: The files of shared memory by the addresses where this process sees them.
_files: dict[int, str] = {}


def share(tensor: Tensor) -> Tensor:
    """Move the numbers of `tensor` into memory that processes share, and return it.

    Parameters
    ----------
    tensor : Tensor
        On the CPU. Its older views keep the memory that they had.

    Raises
    ------
    DeviceError
        The tensor is on a GPU.
    """
    array = tensor.array
    if not isinstance(array, np.ndarray):
        raise DeviceError(f"share_memory_: the tensor is on {tensor.device}; use .cpu() first")
    if array.size and array.ctypes.data not in _files:
        folder = "/dev/shm" if os.path.isdir("/dev/shm") else None
        handle, path = tempfile.mkstemp(prefix="minidl-", dir=folder)
        os.close(handle)
        os.truncate(path, array.nbytes)
        shared = _opened(path, array.shape, array.dtype.str)
        shared[...] = array
        tensor.array = shared
    return tensor


def _opened(path: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Return the array whose numbers are the file's."""
    with open(path, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    array: np.ndarray = np.ndarray(shape, dtype, memory)
    address = array.ctypes.data
    _files[address] = path
    weakref.finalize(memory, _forget, address, path, os.getpid())
    return array


def _forget(address: int, path: str, owner: int) -> None:
    _files.pop(address, None)
    if os.getpid() == owner and parent_process() is None:  # a child leaves the file to its parent
        os.unlink(path)


def _reduced(array: np.ndarray) -> Any:
    """Return how an array goes to a child process: a shared one as its file's name."""
    path = _files.get(array.ctypes.data) if array.flags.c_contiguous else None
    if path is None:
        return array.__reduce__()
    return _opened, (path, array.shape, array.dtype.str)


ForkingPickler.register(np.ndarray, _reduced)

__getattr__ = attributes(globals())
