"""Sending batches between two processes: :class:`Channel`, a pipe with shared memory.

Pickle's protocol 5 separates a batch into a short description and the memory of its arrays. Sender
and receiver share *slots*, files in memory without a name: the sender builds its batch in a slot
(:meth:`Channel.empty`) or copies it there, and sends a line of a few bytes through the pipe. The
receiver copies the arrays out, or maps them in place (copy-on-write) and frees the slot when they
are dropped. Nothing is left behind: a slot vanishes with the last process that holds it. The lines
are so short that a pipe takes each one at once or not at all: nobody waits for the rest of a
message whose sender has died or stopped.

On systems without such files (Windows), everything goes through the pipe.
"""

from __future__ import annotations

import io
import math
import mmap
import os
import pickle
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..device import Array, Shape
from ..errors import DataError
from ..kernels import cpu
from ..tensor import Tensor
from .collate import Empty, memory_order

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

#: Given sizes in bytes, returns a writable array of bytes of each size.
Allocate = Callable[[Sequence[int]], list[np.ndarray]]

#: Where something is in a slot: offset and length in bytes.
Place = tuple[int, int]


def ordinary_memory(sizes: Sequence[int]) -> list[np.ndarray]:
    """Return an array of bytes of each size, in this process's own memory."""
    return [cpu.empty((size,), np.dtype(np.uint8)) for size in sizes]


class Channel:
    """One end of a connection between two processes, with the slots that both write to.

    Only one side may use a slot at a time; the callers must agree on which.

    Parameters
    ----------
    connection : Connection
        One end of ``multiprocessing.Pipe()``.
    slots : list of Slot
        The same on both sides. Empty without shared memory.
    """

    def __init__(self, connection: Connection, slots: list[Slot]) -> None:
        self.connection, self.slots = connection, slots

    def empty(self, slot: int) -> Empty:
        """Return an allocator of arrays that :meth:`send` need not copy."""
        return self.slots[slot].empty if self.slots else cpu.empty

    def send(self, slot: int, value: Any) -> None:
        """Send any picklable value. An error leaves the connection intact."""
        out_of_band: list[pickle.PickleBuffer] = []
        body = io.BytesIO()
        _Pickler(body, protocol=5, buffer_callback=out_of_band.append).dump(value)
        buffers = [buffer.raw() for buffer in out_of_band]
        if not self.slots:
            sizes = memoryview(pickle.dumps([buffer.nbytes for buffer in buffers]))
            self.connection.send((slot,))
            for part in (sizes, body.getbuffer(), *buffers):
                self.connection.send_bytes(part)
            return
        memory = self.slots[slot]
        places = pickle.dumps([memory.place(buffer) for buffer in buffers])
        self.connection.send(
            (slot, memory.place(memoryview(places)), memory.place(body.getbuffer()))
        )

    def hang_up(self) -> None:
        """End the other side's :meth:`receive` with an EOFError, whatever the slots hold."""
        self.connection.send(None)

    def receive(
        self,
        allocate: Allocate | None = ordinary_memory,
        release: Callable[[int], object] = lambda slot: None,
    ) -> tuple[int, Any]:
        """Wait for the other side; return the slot that it used, and the value.

        Parameters
        ----------
        allocate : callable, optional
            Allocates the arrays' memory. None leaves them in the slot, if there are slots.
        release : callable
            Called with the slot as soon as it is free: at once, or when the arrays in it are
            dropped, which may happen in any thread and at any moment.

        Raises
        ------
        EOFError, ConnectionError
            The other side has hung up, or its process has ended.
        """
        line = self.connection.recv()
        if line is None:
            raise EOFError
        slot, *places = line
        if not self.slots:
            sizes, body = self.connection.recv_bytes(), self.connection.recv_bytes()
            buffers = (allocate or ordinary_memory)(pickle.loads(sizes))
            for buffer in buffers:
                self.connection.recv_bytes_into(buffer.data)
            release(slot)
            return slot, pickle.loads(body, buffers=buffers)

        memory = self.slots[slot]
        index, description = (np.empty(size, np.uint8) for _, size in places)
        for place, into in zip(places, (index, description), strict=True):
            memory.read(place, into)
        memory.clear()  # this side's next message in it starts at the beginning
        parts: list[Place] = pickle.loads(index.data)
        length = max((start + size for start, size in parts), default=0)
        if allocate is None and length:
            shared = memory.lend(length, lambda: release(slot))
            buffers = [shared[start : start + size] for start, size in parts]
        else:
            buffers = (allocate or ordinary_memory)([size for _, size in parts])
            for place, buffer in zip(parts, buffers, strict=True):
                memory.read(place, buffer)
            release(slot)
        return slot, pickle.loads(description.data, buffers=buffers)

    def close(self) -> None:
        """Close this end and this process's hold on the slots."""
        self.connection.close()
        for slot in self.slots:
            slot.close()


# --- Pickling -----------------------------------------------------------------------------------


class _Pickler(pickle.Pickler):
    """Pickles the memory of arrays and tensors out of band, in any memory order."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is Tensor:
            return _reduce_tensor(value)
        # Not arrays of objects, nor of items without bytes.
        if type(value) is np.ndarray and not value.dtype.hasobject and value.dtype.itemsize:
            return _reduce_array(value)
        return NotImplemented


def _reduce_tensor(tensor: Tensor) -> Any:
    if not isinstance(tensor.array, np.ndarray):
        raise DataError(
            f"a tensor of shape {tuple(tensor.shape)} is on a GPU; a loader's workers must make "
            "CPU tensors, which DeviceBatches uploads"
        )
    if tensor.node is not None:
        raise DataError(
            f"a tensor of shape {tuple(tensor.shape)} is part of a computation that requires "
            "gradients, which can't leave its process; call detach() on it"
        )
    return Tensor, (tensor.array, tensor.requires_grad)


def _reduce_array(array: np.ndarray) -> Any:
    axes = memory_order(array)
    dense = np.asarray(array.transpose(axes), order="C")
    if not dense.flags.writeable:
        dense = dense.copy()  # a read-only buffer would arrive read-only, in the wrong memory
    memory = dense.reshape(-1).view(np.uint8)
    return _array, (pickle.PickleBuffer(memory.data), array.dtype, dense.shape, axes)


def _array(memory: Any, dtype: np.dtype, shape: tuple[int, ...], axes: list[int]) -> np.ndarray:
    dense = np.asarray(memory).view(dtype).reshape(shape)
    return dense.transpose(sorted(range(len(axes)), key=axes.__getitem__))


# --- Shared memory without a name ---------------------------------------------------------------

#: Whether this system has files without a name, and reads and writes at a given offset.
HAS_ANONYMOUS_FILES = hasattr(os, "pwrite") and hasattr(os, "preadv")


class Slot:
    """Memory shared by two processes, filled from its beginning and growing as needed.

    Parameters
    ----------
    file : AnonymousFile, optional
        Default: a new one.
    """

    def __init__(self, file: AnonymousFile | None = None) -> None:
        self.file = AnonymousFile() if file is None else file
        self.mappings: list[np.ndarray] = []  # each from the file's beginning, the last the longest
        self.end = 0

    def clear(self) -> None:
        """Start again at the beginning."""
        self.end = 0
        del self.mappings[:-1]

    def empty(self, shape: Shape, dtype: np.dtype) -> Array:
        """Return an uninitialized array after the present content."""
        start, _ = self._take(dtype.itemsize * math.prod(shape))
        if not self.mappings or len(self.mappings[-1]) < self.end:
            file = self.file.descriptor
            there = max(self.end + self.end // 8, mmap.PAGESIZE, os.fstat(file).st_size)
            os.truncate(file, there)
            self.mappings.append(np.frombuffer(mmap.mmap(file, there), np.uint8))
        return self.mappings[-1][start : self.end].view(dtype).reshape(shape)

    def place(self, data: memoryview) -> Place:
        """Return the place of bytes; append a copy unless they are already in the slot."""
        address = _address(np.asarray(data))
        for mapping in self.mappings:
            start = address - _address(mapping)
            if 0 <= start <= len(mapping) - data.nbytes:
                return start, data.nbytes
        place = offset, _ = self._take(data.nbytes)
        while data.nbytes:
            count = os.pwrite(self.file.descriptor, data, offset)
            data, offset = data[count:], offset + count
        return place

    def read(self, place: Place, into: np.ndarray) -> None:
        """Copy the bytes at a place into an array."""
        (offset, _), rest = place, into.data
        while rest.nbytes:
            count = os.preadv(self.file.descriptor, [rest], offset)
            if count == 0:
                raise EOFError("a slot of shared memory is shorter than its line says")
            rest, offset = rest[count:], offset + count

    def lend(self, length: int, give_back: Callable[[], object]) -> np.ndarray:
        """Return the first `length` bytes, and call `give_back` when no view of them is left.

        The mapping is copy-on-write: changes do not reach the slot.
        """
        mapping = mmap.mmap(self.file.descriptor, length, access=mmap.ACCESS_COPY)
        return np.asarray(_Loan(np.frombuffer(mapping, np.uint8), give_back))

    def _take(self, size: int) -> Place:
        start = -(-self.end // _ALIGNMENT) * _ALIGNMENT
        self.end = start + size
        return start, size

    def close(self) -> None:
        """Close the slot in this process, except lent memory; a second call does nothing."""
        self.file.close()
        self.mappings.clear()

    def __reduce__(self) -> Any:
        return Slot, (self.file,)


_ALIGNMENT = 64  # bytes: a cache line


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


class _Loan:
    """The object that views of a lent slot keep alive.

    A process that was forked meanwhile has the memory too, would see later content, and may still
    use it after this process has dropped it: then the slot is not given back.
    """

    def __init__(self, memory: np.ndarray, give_back: Callable[[], object]) -> None:
        self.memory, self.give_back = memory, give_back
        self.forks = _forks
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        if self.forks == _forks:
            self.give_back()


_forks = 0  # of this process and its ancestors


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_count_fork)


class AnonymousFile:
    """A file in memory (a temporary file where the system is not Linux) without a name.

    A forked child inherits it; a spawned child receives it as an argument of the process.
    """

    descriptor = -1

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous_descriptor() if descriptor is None else descriptor

    def close(self) -> None:
        """Close it in this process; a second call does nothing."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
        self.descriptor = -1

    def __del__(self) -> None:
        self.close()

    def __reduce__(self) -> Any:
        from multiprocessing.reduction import DupFd

        return _received_file, (DupFd(self.descriptor),)


def _anonymous_descriptor() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("minidl-loader")
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _received_file(descriptor: Any) -> AnonymousFile:
    return AnonymousFile(descriptor.detach())


class SharedNumbers:
    """64-bit integers shared by two processes: ``numbers.cells[i]``, initially 0."""

    def __init__(self, count: int, source: Any = None) -> None:
        if sys.platform == "win32":
            # Names memory only, and only until the last process ends.
            self.source = source or f"minidl-{uuid.uuid4()}"
            self._memory = mmap.mmap(-1, 8 * count, tagname=self.source)
        else:
            self.source = source or AnonymousFile()
            os.truncate(self.source.descriptor, 8 * count)
            self._memory = mmap.mmap(self.source.descriptor, 8 * count)
        self.cells = memoryview(self._memory).cast("q")

    def close(self) -> None:
        """Close it in this process; a second call does nothing."""
        self.cells.release()
        self._memory.close()
        if isinstance(self.source, AnonymousFile):
            self.source.close()

    def __reduce__(self) -> Any:
        return SharedNumbers, (len(self.cells), self.source)
