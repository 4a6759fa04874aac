"""Uploading batches to a GPU on a second stream, while the first one computes."""

from __future__ import annotations

import weakref
from functools import cache
from typing import Any

import numpy as np

from ...device import cupy
from .out_of_memory import explain_out_of_memory

#: Most blocks of pinned memory that are kept for reuse. (CuPy's pool keeps all, of powers of two.)
KEPT = 8

_idle: list[Any] = []  # the latest last; threads share it, so nothing waits for a lock here


def pinned(size: int) -> np.ndarray:
    """Return `size` bytes of pinned host memory, which a GPU can read asynchronously.

    The system may move ordinary memory, so copies from it go through the driver's own buffer, and
    the host waits. The memory is reused once the last view of the block is gone.
    """
    xp = cupy()
    memory = _reused(size)
    if memory is None:
        unit = max(1 << max(size.bit_length() - 4, 0), 4096)  # a page or an eighth too much
        memory = xp.cuda.PinnedMemory(-(-max(size, 1) // unit) * unit)
    block = np.frombuffer(xp.cuda.PinnedMemoryPointer(memory, 0), np.uint8, size)
    weakref.finalize(block, _idle.append, memory).atexit = False
    return block


def _reused(size: int) -> Any:
    """Return the smallest idle memory for `size` bytes, at most twice as large; or None."""
    found = None
    for memory in sorted(_idle, key=lambda memory: memory.size):
        if found is None and size <= memory.size <= 2 * max(size, 4096):
            try:
                _idle.remove(memory)
                found = memory
            except ValueError:  # another thread was faster
                pass
    while len(_idle) > KEPT:
        _idle.pop(0)  # the system gets it back
    return found


def pinned_block(array: np.ndarray) -> np.ndarray | None:
    """Return the block of :func:`pinned` that `array` is a view of, or None."""
    block = array.base
    memory = getattr(getattr(block, "base", None), "obj", None)
    return block if isinstance(memory, cupy().cuda.PinnedMemoryPointer) else None


@cache
def _copy_stream(index: int) -> Any:
    """Return the upload stream of GPU number `index`."""
    with cupy().cuda.Device(index):
        return cupy().cuda.Stream(non_blocking=True)  # or the null stream would wait for it


class Upload:
    """An upload of a pinned block to a GPU, on a stream parallel to the computing one.

    Every upload allocates new device memory from the computing stream's pool. Queued work may still
    use memory that the pool hands out, so the copy waits for all work queued before it; work queued
    later runs in parallel.

    Parameters
    ----------
    block : ndarray of uint8
        From :func:`pinned`. Nobody may write to it before :meth:`wait` has returned, or the upload
        is dropped.
    index : int
        Number of the GPU.
    """

    def __init__(self, block: np.ndarray, index: int) -> None:
        xp, stream = cupy(), _copy_stream(index)
        self.block, self._index = block, index
        with xp.cuda.Device(index):
            try:
                self._array = xp.empty(block.shape, block.dtype)
            except (MemoryError, RuntimeError) as error:
                explain_out_of_memory(error, "a batch on its way up")
                raise
            self._copied = xp.cuda.Event(block=True, disable_timing=True)
            stream.wait_event(xp.cuda.get_current_stream().record())
            self._array.data.copy_from_host_async(block.ctypes.data, block.nbytes, stream)
            self._copied.record(stream)
        # The garbage collector ends the objects of a cycle in any order, and an event that it has
        # destroyed can't be waited for: this keeps the event, and the block.
        self._finish = weakref.finalize(self, _wait_for, self._copied, block)
        self._finish.atexit = False

    def receive(self) -> None:
        """Make work queued from now on, on the GPU's current stream, wait for the upload."""
        with cupy().cuda.Device(self._index):  # every GPU has its own current stream
            cupy().cuda.get_current_stream().wait_event(self._copied)

    def twin(self, view: np.ndarray) -> Any:
        """Return the device's copy of a view of the block."""
        offset = view.ctypes.data - self.block.ctypes.data
        return cupy().ndarray(view.shape, view.dtype, self._array.data + offset, view.strides)

    def wait(self) -> None:
        """Wait until the block has been read, as dropping the upload does; usually it has been."""
        self._finish()


def _wait_for(copied: Any, block: np.ndarray) -> None:
    """Wait for an event; `block` is only kept until then."""
    if not copied.done:
        copied.synchronize()
