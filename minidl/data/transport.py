"""How a batch travels between two processes: :class:`Channel`, a pipe with memory beside it.

Pickle's protocol 5 takes a batch apart into a few bytes that describe it and the memory of its
arrays. Sender and receiver share *slots*, anonymous files in memory: the sender copies all of it
into one, sends a line of some bytes through the pipe, and the receiver copies it out, straight to
where the batch shall stay. So a batch is copied once on either side. A slot has no name that could
be left behind, it ends with the last process that holds it, and it grows with what is written.
The lines are so short that a pipe takes them whole and at once, or not at all: nobody waits for
the rest of a message whose sender has died or stopped.

Where the system has no such files (Windows), everything goes through the pipe.
"""

from __future__ import annotations

import io
import mmap
import os
import pickle
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cpu import empty
from ..errors import DataError
from ..tensor import Tensor
from .collate import memory_order

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

#: Given sizes in bytes, returns a writable array of bytes of each size.
Allocate = Callable[[Sequence[int]], list[np.ndarray]]


def allocate(sizes: Sequence[int]) -> list[np.ndarray]:
    """Return ordinary memory, an array of bytes of each size."""
    return [empty((size,), np.dtype(np.uint8)) for size in sizes]


class Channel:
    """One end of a connection between two processes, with the slots that both write to.

    Only one side may use a slot at a time; who, is for the callers to agree on.

    Parameters
    ----------
    connection : Connection
        An end of ``multiprocessing.Pipe()``.
    slots : list of AnonymousFile
        The same on both sides. Empty where there are none.
    """

    def __init__(self, connection: Connection, slots: list[AnonymousFile]) -> None:
        self.connection, self.slots = connection, slots

    def send(self, slot: int, value: Any) -> None:
        """Send anything that can be pickled. An error leaves the connection as it was."""
        buffers: list[memoryview] = []
        body = io.BytesIO()
        _Pickler(
            body, protocol=5, buffer_callback=lambda buffer: buffers.append(buffer.raw())
        ).dump(value)
        sizes = pickle.dumps([buffer.nbytes for buffer in buffers])
        parts = [memoryview(sizes), body.getbuffer(), *buffers]
        line = (slot, parts[0].nbytes, parts[1].nbytes)
        if not self.slots:
            self.connection.send(line)
            for part in parts:
                self.connection.send_bytes(part)
            return
        offset = 0
        for part in parts:
            offset = self.slots[slot].write(part, offset)
        self.connection.send(line)

    def hang_up(self) -> None:
        """Let the other side's :meth:`receive` be the last, whatever the slots are used for."""
        self.connection.send(None)

    def receive(self, allocate: Allocate = allocate) -> tuple[int, Any]:
        """Wait for the other side; return the slot that it used, and what it sent.

        Raises
        ------
        EOFError, ConnectionError
            The other side has hung up, or its process has ended.
        """
        line = self.connection.recv()
        if line is None:
            raise EOFError
        slot, *lengths = line
        offset = 0

        def take(into: np.ndarray) -> memoryview:
            nonlocal offset
            view = into.data
            if self.slots:
                offset = self.slots[slot].read(view, offset)
            else:
                self.connection.recv_bytes_into(view)
            return view

        sizes, body = (take(np.empty(length, np.uint8)) for length in lengths)
        buffers = allocate(pickle.loads(sizes))
        for buffer in buffers:
            take(buffer)
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

#: Whether this system has anonymous files that take and give bytes without moving a position.
HAS_ANONYMOUS_FILES = hasattr(os, "pwrite") and hasattr(os, "preadv")


class AnonymousFile:
    """A file in memory (elsewhere than on Linux: a temporary one) that has no name in any folder.

    A child by fork has it as it is; to a spawned one it goes as an argument of the process.
    """

    descriptor = -1

    def __init__(self, descriptor: int | None = None) -> None:
        self.descriptor = _anonymous_descriptor() if descriptor is None else descriptor

    def write(self, data: memoryview, offset: int) -> int:
        """Write at `offset`; return the offset behind the data."""
        while data.nbytes:
            count = os.pwrite(self.descriptor, data, offset)
            data, offset = data[count:], offset + count
        return offset

    def read(self, into: memoryview, offset: int) -> int:
        """Fill `into` with what is at `offset`; return the offset behind that."""
        while into.nbytes:
            count = os.preadv(self.descriptor, [into], offset)
            if count == 0:
                raise EOFError("a slot of shared memory is shorter than its line says")
            into, offset = into[count:], offset + count
        return offset

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
