"""Batches on their way to a GPU, beside the stream that computes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from ...device import cupy
from .out_of_memory import explain_out_of_memory


def pinned(size: int) -> np.ndarray:
    """Return a block of `size` bytes of the host that a GPU can read while both work on.

    Ordinary memory may be moved by the system, so that a copy from it goes through the driver's own
    buffer and the host waits. The block comes from CuPy's pool, and goes back with its last view.
    """
    memory = cupy().cuda.alloc_pinned_memory(max(size, 1))
    return np.frombuffer(memory, np.uint8, size)


def pinned_block(array: np.ndarray) -> np.ndarray | None:
    """Return the block of :func:`pinned` that `array` is a view of, or None."""
    block = array.base
    memory = getattr(getattr(block, "base", None), "obj", None)
    return block if isinstance(memory, cupy().cuda.PinnedMemoryPointer) else None


@cache
def _copy_stream(index: int) -> Any:
    """Return the stream of GPU number `index` that batches go up on."""
    with cupy().cuda.Device(index):
        return cupy().cuda.Stream(non_blocking=True)  # else the null stream would wait for it


class Upload:
    """A pinned block on its way to a GPU, on a stream beside the one that computes.

    The device's memory is new at every upload, from the pool of the stream that computes. What that
    pool hands out may have been dropped by work that is still queued there, so the copy waits for
    all that was queued before it; what is queued later runs beside it.

    Parameters
    ----------
    block : ndarray of uint8
        From :func:`pinned`. Nobody may write to it before :meth:`wait` has returned.
    index : int
        The GPU's number.
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

    def receive(self) -> None:
        """Let what is queued from now on, on the GPU's current stream, find the block's bytes."""
        with cupy().cuda.Device(self._index):  # every GPU has a current stream of its own
            cupy().cuda.get_current_stream().wait_event(self._copied)

    def twin(self, view: np.ndarray) -> Any:
        """Return the device's copy of a view of the block."""
        offset = view.ctypes.data - self.block.ctypes.data
        return cupy().ndarray(view.shape, view.dtype, self._array.data + offset, view.strides)

    def wait(self) -> None:
        """Wait until the block has been read; usually it has been long ago, and this is a look."""
        if not self._copied.done:
            self._copied.synchronize()
