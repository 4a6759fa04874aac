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
from collections import deque

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


class _Block:
    """A part of memory from the system, taken by an array or free, between its neighbors."""

    __slots__ = ("after", "before", "memory", "size", "start")

    def __init__(self, memory: np.ndarray, start: int, size: int) -> None:
        self.memory, self.start, self.size = memory, start, size
        self.before: _Block | None = None
        self.after: _Block | None = None

    def split(self, size: int) -> _Block:
        """Keep the first `size` bytes; return the rest."""
        rest = _Block(self.memory, self.start + size, self.size - size)
        rest.before, rest.after = self, self.after
        if self.after is not None:
            self.after.before = rest
        self.after, self.size = rest, size
        return rest

    def join(self, after: _Block) -> None:
        """Become one with the next block."""
        self.size, self.after = self.size + after.size, after.after
        if self.after is not None:
            self.after.before = self


class _Pool:
    """Memory that dropped arrays have returned, in blocks.

    An array takes the smallest block that is large enough. If more than `REST` remains, it becomes
    a block of its own, and both are joined when they are free again. A training step asks for the
    same sizes again and again and finds them all. Where sizes vary, the memory used longest ago is
    dropped as more is taken, so that idle memory never exceeds the memory in use by more than
    `SPARE`, and both together the most that ever was in use by more than a tenth or `LEAST`
    (unless living arrays lie in the same memory).
    """

    SPARE = 1 << 28
    LEAST = 1 << 26
    REST = 1 << 20

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.returned: deque[_Block] = deque()  # since the last call
        self.free: dict[_Block, None] = {}  # in the order of their last use
        self.idle = self.used = self.most = 0  # bytes; the most that were in use

    def take(self, size: int) -> _Block:
        size += -size % _LINE
        with self.lock:
            self._collect()
            fitting = [block for block in self.free if block.size >= size]
            if fitting:
                block = min(fitting, key=lambda block: block.size)
                del self.free[block]
                if block.size - size >= self.REST:
                    self.free[block.split(size)] = None
                self.idle -= block.size
            else:
                block = _Block(_aligned(size), 0, size)
            self.used += block.size
            self.most = max(self.most, self.used)
            if not fitting:
                room = self.most - self.used + max(self.most // 10, self.LEAST)
                self.trim(min(room, self.used + self.SPARE))
        return block

    def give_back(self, block: _Block) -> None:
        """Return a block; an array may be dropped anywhere, even inside of :meth:`take`."""
        self.returned.append(block)

    def _collect(self) -> None:
        """Join what was returned with its free neighbors."""
        while self.returned:
            block = self.returned.popleft()
            self.used -= block.size
            self.idle += block.size
            if block.after in self.free:
                del self.free[block.after]
                block.join(block.after)
            if block.before in self.free:
                del self.free[block.before]
                block.before.join(block)
                block = block.before
            self.free[block] = None

    def trim(self, limit: int) -> None:
        """Drop memory that is free as a whole until at most `limit` bytes are idle."""
        with self.lock:
            self._collect()
            for block in list(self.free):
                if self.idle > limit and block.size == block.memory.size:
                    del self.free[block]
                    self.idle -= block.size

    def after_fork(self) -> None:
        self.lock = threading.RLock()  # a thread that the child lacks may hold the old one


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.after_fork)


class _Lease:
    """Kept alive by an array of :func:`empty`: returns the array's block to the pool."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, block: _Block, shape: Shape, dtype: np.dtype) -> None:
        self.block = block
        self.__array_interface__ = {
            "data": (block.memory.ctypes.data + block.start, False),
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
