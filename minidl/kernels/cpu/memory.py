"""Memory that is used again: blocks that dropped arrays give back, and each thread's own buffers.

An activation of AlexNet takes up to 150 MB, and fresh memory costs a page fault every 4 KB, which
takes longer than computing on it. :func:`empty` therefore hands out memory that earlier arrays have
given back; :func:`scratch` is a thread's own buffer for columns and the like.

An image activation is NCHW in shape and NHWC in memory (channels last): see :func:`empty_image`.
"""

from __future__ import annotations

import functools
import math
import os
import threading

import numpy as np

from ...device import Array, Shape


class _Here(threading.local):
    def __init__(self) -> None:
        self.buffers: dict[str, np.ndarray] = {}  # see scratch


_here = _Here()

#: Smaller arrays come from NumPy, which is fast enough for them.
_POOLED = 1 << 20

#: Bytes of a line of the cache.
_LINE = 64


def _aligned(size: int) -> np.ndarray:
    """Return `size` fresh bytes from the start of a cache line on.

    Where NumPy's own memory starts, 16 bytes later, each of AVX-512's registers is read from two
    lines, and a sum of two arrays takes up to twice as long.
    """
    block = np.empty(size + _LINE, np.uint8)
    start = -block.ctypes.data % _LINE
    return block[start : start + size]


class _Pool:
    """Blocks of memory that dropped arrays have returned, by size in bytes.

    A training step asks for the same sizes again and again and finds them all. A block may also
    serve an array up to `FIT` times smaller: conv2's output takes conv1's place. Where sizes vary,
    the blocks of the least recently used sizes are dropped, before more memory is taken, so that
    idle memory never exceeds the memory in use by more than `SPARE`, and both together the most
    that ever was in use by more than a tenth or `LEAST`.
    """

    SPARE = 1 << 28
    LEAST = 1 << 26
    FIT = 3.0

    def __init__(self) -> None:
        self.lock = threading.RLock()  # an array may be dropped inside any call
        self.free: dict[int, list[np.ndarray]] = {}  # sizes in the order of their last use
        self.idle = self.used = self.most = 0  # bytes; the most that were in use

    def take(self, size: int) -> np.ndarray:
        with self.lock:
            fitting = [n for n, free in self.free.items() if free and size <= n <= size * self.FIT]
            if fitting:
                size = min(fitting)
                self.used += size
                self.most = max(self.most, self.used)
                self.idle -= size
                return self.free[size].pop()
            self.used += size
            self.most = max(self.most, self.used)
            room = self.most - self.used + max(self.most // 10, self.LEAST)
            self.trim(min(room, self.used + self.SPARE))
        return _aligned(size)

    def give_back(self, block: np.ndarray) -> None:
        with self.lock:
            self.used -= block.nbytes
            self.idle += block.nbytes
            blocks = self.free.pop(block.nbytes, [])
            blocks.append(block)
            self.free[block.nbytes] = blocks

    def trim(self, limit: int) -> None:
        """Drop idle blocks until at most `limit` bytes are idle."""
        with self.lock:
            for size in list(self.free):
                blocks = self.free[size]
                while blocks and self.idle > limit:
                    blocks.pop()
                    self.idle -= size
                if not blocks:
                    del self.free[size]

    def after_fork(self) -> None:
        self.lock = threading.RLock()  # a thread that the child lacks may hold the old one


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.after_fork)


class _Lease:
    """Kept alive by an array of :func:`empty`: returns the array's block to the pool."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, block: np.ndarray, shape: Shape, dtype: np.dtype) -> None:
        self.block = block
        self.__array_interface__ = {
            "data": (block.ctypes.data, False),
            "shape": shape,
            "typestr": dtype.str,
            "version": 3,
        }

    def __del__(self) -> None:
        _pool.give_back(self.block)


def empty(shape: Shape, dtype: np.dtype) -> Array:
    """Return an uninitialized C-contiguous array, from memory given back by dropped ones.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    """
    dtype = np.dtype(dtype)
    size = dtype.itemsize * math.prod(shape)
    if size < _POOLED:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_pool.take(size), tuple(shape), dtype))


def empty_image(n: int, c: int, h: int, w: int, dtype: np.dtype) -> Array:
    """Return an uninitialized activation: NCHW in shape, NHWC in memory."""
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def release_memory() -> None:
    """Return the memory of dropped arrays to the operating system."""
    _pool.trim(0)


@functools.cache
def roomy() -> int:
    """Return by how much more than usual fits a core's L2 cache: 2 from 2 MB on, else 1."""
    try:
        with open("/sys/devices/system/cpu/cpu0/cache/index2/size") as file:
            return 2 if int(file.read().strip().removesuffix("K")) >= 2048 else 1
    except (OSError, ValueError):  # not Linux
        return 1


def scratch(slot: str, shape: Shape, dtype: np.dtype) -> Array:
    """Return this thread's buffer named `slot`, as an uninitialized array of `shape`.

    The next call with the same slot returns the same memory: it holds columns and the like while
    one piece of work uses them.
    """
    try:
        return np.ndarray(shape, dtype, _here.buffers[slot])
    except (KeyError, TypeError):  # there is none yet, or it is too small
        size = dtype.itemsize * math.prod(shape)
        block = _here.buffers[slot] = _aligned(size)
        return np.ndarray(shape, dtype, block)
