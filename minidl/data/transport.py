"""How a batch travels between two processes: :class:`Channel`, a pipe with memory beside it.

Pickle's protocol 5 takes a batch apart into a few bytes that describe it and the memory of its
arrays. Sender and receiver share *slots*, files without a name that both have mapped into their
memory: the sender makes its batch there (:meth:`Channel.empty`) or copies it there, and sends a
line of some bytes through the pipe. The receiver copies the arrays out, or keeps them where they
are and lets the slot be used again when they are dropped. Nothing can be left behind: a slot ends
with the last process that holds it. The lines are so short that a pipe takes them whole and at
once, or not at all: nobody waits for the rest of a message whose sender has died or stopped.

Where the system has no such files (Windows), everything goes through the pipe.
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

from .. import cpu
from ..device import Array, Shape
from ..errors import DataError
from ..tensor import Tensor
from .collate import memory_order

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

    Only one side may use a slot at a time; who, is for the callers to agree on.

    Parameters
    ----------
    connection : Connection
        An end of ``multiprocessing.Pipe()``.
    slots : list of Slot
        The same on both sides. Empty where there are none.
    """

    def __init__(self, connection: Connection, slots: list[Slot]) -> None:
        self.connection, self.slots = connection, slots

    def empty(self, slot: int) -> Callable[[Shape, np.dtype], Array]:
        """Return what makes arrays that :meth:`send` need not copy."""
        return self.slots[slot].empty if self.slots else cpu.empty

    def send(self, slot: int, value: Any) -> None:
        """Send anything that can be pickled. An error leaves the connection as it was."""
        buffers: list[memoryview] = []
        body = io.BytesIO()
        _Pickler(
            body, protocol=5, buffer_callback=lambda buffer: buffers.append(buffer.raw())
        ).dump(value)
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
        """Let the other side's :meth:`receive` be the last, whatever the slots are used for."""
        self.connection.send(None)

    def receive(
        self,
        allocate: Allocate | None = ordinary_memory,
        release: Callable[[int], object] = lambda slot: None,
    ) -> tuple[int, Any]:
        """Wait for the other side; return the slot that it used, and what it sent.

        Parameters
        ----------
        allocate : callable, optional
            Where the arrays shall be. With None they stay in the slot, if there are slots.
        release : callable
            Called with the slot as soon as nothing needs it: at once, or when the arrays in it are
            dropped, which may happen in any thread and in the middle of anything.

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
        index, body = (memory.at(place).tobytes() for place in places)
        memory.clear()  # what this side sends in it next begins at its beginning
        parts: list[Place] = pickle.loads(index)
        if allocate is None and parts:
            shared = memory.lend(lambda: release(slot))
            buffers = [shared[start : start + size] for start, size in parts]
        else:
            buffers = (allocate or ordinary_memory)([size for _, size in parts])
            for buffer, place in zip(buffers, parts, strict=True):
                np.copyto(buffer, memory.at(place))
            release(slot)
        return slot, pickle.loads(body, buffers=buffers)

    def close(self) -> None:
        """Close this end and this process's hold on the slots."""
        self.connection.close()
        for slot in self.slots:
            slot.close()


# --- Pickling -----------------------------------------------------------------------------------


class _Pickler(pickle.Pickler):
    """Takes the memory of arrays and tensors out of band, in whatever order its axes have."""

    def reducer_override(self, value: Any) -> Any:
        if type(value) is Tensor:
            return _reduce_tensor(value)
        # Without objects inside, which are not memory, and with bytes at all.
        if type(value) is np.ndarray and not value.dtype.hasobject and value.dtype.itemsize:
            return _reduce_array(value)
        return NotImplemented


def _reduce_tensor(tensor: Tensor) -> Any:
    if not isinstance(tensor.array, np.ndarray):
        raise DataError(
            f"a tensor of shape {tuple(tensor.shape)} is on a GPU; a loader's worker processes "
            "make tensors of the CPU, which DeviceBatches sends up"
        )
    if tensor.node is not None:
        raise DataError(
            f"a tensor of shape {tuple(tensor.shape)} is the result of an operation that wants a "
            "gradient, which can't leave its process; call detach() on it"
        )
    return Tensor, (tensor.array, tensor.requires_grad)


def _reduce_array(array: np.ndarray) -> Any:
    axes = memory_order(array)
    dense = np.asarray(array.transpose(axes), order="C")
    if not dense.flags.writeable:
        dense = dense.copy()  # a read-only buffer would come out read-only, and not where it should
    memory = dense.reshape(-1).view(np.uint8)
    return _array, (pickle.PickleBuffer(memory.data), array.dtype, dense.shape, axes)


def _array(memory: Any, dtype: np.dtype, shape: tuple[int, ...], axes: list[int]) -> np.ndarray:
    dense = np.asarray(memory).view(dtype).reshape(shape)
    return dense.transpose(sorted(range(len(axes)), key=axes.__getitem__))


# --- Shared memory without a name ---------------------------------------------------------------

#: Whether this system has files without a name that processes can share.
HAS_ANONYMOUS_FILES = sys.platform != "win32"


class Slot:
    """Memory of two processes, which takes one thing after the other and grows with them.

    Parameters
    ----------
    file : AnonymousFile, optional
        Default: a new one.
    """

    def __init__(self, file: AnonymousFile | None = None) -> None:
        self.file = AnonymousFile() if file is None else file
        self.memory = np.empty(0, np.uint8)  # the file, so far as it is mapped
        self.end = 0

    def clear(self) -> None:
        """Begin at the beginning again."""
        self.end = 0

    def empty(self, shape: Shape, dtype: np.dtype) -> Array:
        """Return an uninitialised array behind what is there."""
        start, size = self._take(dtype.itemsize * math.prod(shape))
        return self.memory[start : start + size].view(dtype).reshape(shape)

    def place(self, data: memoryview) -> Place:
        """Return where bytes are; copy them behind what is there unless they are in it already."""
        source = np.asarray(data)
        start = _address(source) - _address(self.memory)
        if 0 <= start <= len(self.memory) - source.size:
            return start, source.size
        place = self._take(source.size)
        np.copyto(self.at(place), source)
        return place

    def at(self, place: Place) -> np.ndarray:
        """Return the bytes at a place, which either side has put there."""
        start, size = place
        self._map(start + size)
        return self.memory[start : start + size]

    def lend(self, give_back: Callable[[], object]) -> np.ndarray:
        """Return all of it, and call `give_back` when no view of that is left."""
        return np.asarray(_Loan(self.memory, give_back))

    def _take(self, size: int) -> Place:
        start = -(-self.end // _ALIGNMENT) * _ALIGNMENT
        self.end = start + size
        self._map(self.end)
        return start, size

    def _map(self, length: int) -> None:
        if length <= len(self.memory):
            return
        there = os.fstat(self.file.descriptor).st_size
        if there < length:
            there = max(length + length // 8, mmap.PAGESIZE)  # for the small things behind it
            os.truncate(self.file.descriptor, there)
        # Arrays in the mapping before keep that alive; it shows the same memory.
        self.memory = np.frombuffer(mmap.mmap(self.file.descriptor, there), np.uint8)

    def close(self) -> None:
        """Give it up in this process, but for what is lent; a second call does nothing."""
        self.file.close()
        self.memory = np.empty(0, np.uint8)

    def __reduce__(self) -> Any:
        return Slot, (self.file,)


_ALIGNMENT = 64  # bytes: a line of the cache


def _address(array: np.ndarray) -> int:
    address: int = array.__array_interface__["data"][0]
    return address


class _Loan:
    """What the views of a lent slot keep alive.

    What a process that was forked meanwhile has of it is the same memory and no copy. So the slot
    is not given back then: that process may go on using the batch when this one has dropped it.
    """

    def __init__(self, memory: np.ndarray, give_back: Callable[[], object]) -> None:
        self.memory, self.give_back = memory, give_back
        self.forks = _forks
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        if self.forks == _forks:
            self.give_back()


_forks = 0  # of this process and those that it was forked from


def _count_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_count_fork)


class AnonymousFile:
    """A file in memory (elsewhere than on Linux: a temporary one) that has no name in any folder.

    A child by fork has it as it is; to a spawned one it goes as an argument of the process.
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
    """Integers of 64 bits that two processes see: ``numbers.cells[i]``, all 0 at first."""

    def __init__(self, count: int, source: Any = None) -> None:
        if sys.platform == "win32":
            # A name of the system's memory alone, which it forgets with the last process.
            self.source = source or f"minidl-{uuid.uuid4()}"
            self._memory = mmap.mmap(-1, 8 * count, tagname=self.source)
        else:
            self.source = source or AnonymousFile()
            os.truncate(self.source.descriptor, 8 * count)
            self._memory = mmap.mmap(self.source.descriptor, 8 * count)
        self.cells = memoryview(self._memory).cast("q")

    def close(self) -> None:
        """Give it up in this process; a second call does nothing."""
        self.cells.release()
        self._memory.close()
        if isinstance(self.source, AnonymousFile):
            self.source.close()

    def __reduce__(self) -> Any:
        return SharedNumbers, (len(self.cells), self.source)
