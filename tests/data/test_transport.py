"""The way of a batch between processes: every array whole, in its memory order, copied once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import minidl
from minidl.data.transport import (
    HAS_ANONYMOUS_FILES,
    AnonymousFile,
    Channel,
    SharedNumbers,
    allocate,
)
from minidl.errors import DataError
from minidl.tensor import Tensor

needs_files = pytest.mark.skipif(not HAS_ANONYMOUS_FILES, reason="needs memory without a name")


class Pair(NamedTuple):
    left: Any
    right: Any


@pytest.fixture(params=["memory", "pipe"])
def ends(request: pytest.FixtureRequest) -> Iterator[tuple[Channel, Channel]]:
    from multiprocessing import Pipe

    if request.param == "memory" and not HAS_ANONYMOUS_FILES:
        pytest.skip("needs memory without a name")
    ours, theirs = Pipe()
    slots = [AnonymousFile(), AnonymousFile()] if request.param == "memory" else []
    pair = Channel(ours, slots), Channel(theirs, slots)
    yield pair
    for end in pair:
        end.close()


ARRAYS = {
    "contiguous": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "channels last": np.arange(24, dtype=np.uint8).reshape(2, 3, 4).transpose(2, 0, 1),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "scalar": np.array(7),
    "empty": np.empty((0, 3), np.int16),
    "of length one": np.ones((1, 3, 1, 2)).transpose(3, 0, 1, 2),
    "structured": np.array([(1, 2.5)], [("a", "i4"), ("b", "f8")]),
    "dates": np.array(["2012-09-30"], "M8[D]"),
    "text": np.array(["conv", "pool1"]),
    "of no bytes": np.empty(3, "V0"),
    "objects": np.array([None, "x"], object),
    "big endian": np.arange(3, dtype=">i4"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_arrive_as_they_are(name: str, ends: tuple[Channel, Channel]) -> None:
    array = ARRAYS[name]
    ends[0].send(1, array)
    slot, found = ends[1].receive()
    assert slot == 1 and found.shape == array.shape and found.dtype == array.dtype
    assert found.flags.writeable
    assert found.size == 0 or found.strides == array.strides
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize(
    "array",
    [np.arange(9)[::2], np.arange(9)[::-1], np.broadcast_to(np.float32(3), (2, 3)), np.arange(3)],
    ids=["steps", "backwards", "broadcast", "read-only"],
)
def test_arrays_that_become_dense(array: np.ndarray, ends: tuple[Channel, Channel]) -> None:
    array = array.view()
    array.flags.writeable = False
    ends[0].send(0, array)
    found = ends[1].receive()[1]
    np.testing.assert_array_equal(found, array)
    assert found.flags.writeable and found.flags.c_contiguous


def test_structures_of_tensors(ends: tuple[Channel, Channel]) -> None:
    tensor = minidl.tensor([[1.0, 2.0], [3.0, 4.0]])
    wanted = minidl.zeros(3, requires_grad=True)
    ends[0].send(0, {"pair": Pair(tensor, [tensor.T, "name"]), "wanted": wanted, "n": 3})
    found = ends[1].receive()[1]
    assert type(found["pair"]) is Pair and found["n"] == 3
    assert type(found["pair"].left) is Tensor and found["pair"].left.tolist() == tensor.tolist()
    assert found["pair"].right[0].array.strides == (4, 8) and found["pair"].right[1] == "name"
    assert found["wanted"].requires_grad and not found["pair"].left.requires_grad
    found["pair"].left.array[0, 0] = 9  # memory of its own
    ends[0].send(0, tensor)
    assert ends[1].receive()[1].tolist() == [[1, 2], [3, 4]]


def test_a_slot_grows_and_is_used_again(ends: tuple[Channel, Channel]) -> None:
    for length in (3, 1000, 10):
        ends[0].send(0, np.full(length, length))
        ends[1].send(1, np.full(length, -length))
        assert ends[1].receive()[1].tolist() == [length] * length
        assert ends[0].receive()[1].tolist() == [-length] * length


@needs_files
def test_a_large_batch_waits_for_nobody() -> None:
    """What would fill a pipe many times over is sent before anybody reads."""
    from multiprocessing import Pipe

    ours, theirs = Pipe()
    slots = [AnonymousFile()]
    array = np.random.default_rng(0).integers(0, 256, 5_000_000, np.uint8)
    Channel(ours, slots).send(0, (array, "text" * 100_000))
    found, text = Channel(theirs, slots).receive()[1]
    np.testing.assert_array_equal(found, array)
    assert text == "text" * 100_000
    for thing in (ours, theirs, *slots):
        thing.close()


def test_the_receiver_says_where_memory_comes_from(ends: tuple[Channel, Channel]) -> None:
    blocks: list[np.ndarray] = []

    def one_block(sizes: Sequence[int]) -> list[np.ndarray]:
        blocks.append(np.zeros(64 * len(sizes), np.uint8))
        return [blocks[0][64 * i : 64 * i + size] for i, size in enumerate(sizes)]

    ends[0].send(0, [minidl.arange(3), minidl.ones(2)])
    numbers, ones = ends[1].receive(one_block)[1]
    assert numbers.array.base is blocks[0] and ones.array.base is blocks[0]
    assert numbers.tolist() == [0, 1, 2] and ones.tolist() == [1, 1]
    assert [part.nbytes for part in allocate([5, 0])] == [5, 0]


def test_hanging_up_ends_it(ends: tuple[Channel, Channel]) -> None:
    ends[0].send(0, "last")
    ends[0].hang_up()
    assert ends[1].receive()[1] == "last"
    with pytest.raises(EOFError):
        ends[1].receive()
    ends[0].close()
    with pytest.raises((EOFError, ConnectionError)):
        ends[1].receive()


def test_what_cannot_leave_its_process(ends: tuple[Channel, Channel]) -> None:
    made = minidl.ones(2, requires_grad=True) * 2
    with pytest.raises(DataError, match="detach"):
        ends[0].send(0, [made])
    with pytest.raises((AttributeError, TypeError)):
        ends[0].send(0, lambda: None)
    ends[0].send(0, made.detach())  # and nothing of the attempts is in the way
    assert ends[1].receive()[1].tolist() == [2, 2]


def test_a_tensor_of_a_gpu_cannot_leave_its_process(gpu: str) -> None:
    from multiprocessing import Pipe

    ours, theirs = Pipe()
    with pytest.raises(DataError, match="GPU"):
        Channel(ours, []).send(0, minidl.ones(2, device=gpu))
    ours.close()
    theirs.close()


@needs_files
def test_shared_memory_has_no_name() -> None:
    folder = Path("/dev/shm")
    before = set(os.listdir(folder)) if folder.exists() else set()
    file, numbers = AnonymousFile(), SharedNumbers(3)
    file.write(memoryview(b"12345"), 0)
    assert (set(os.listdir(folder)) if folder.exists() else set()) == before
    into = bytearray(2)
    assert file.read(memoryview(into), 2) == 4 and into == b"34"
    with pytest.raises(EOFError):
        file.read(memoryview(bytearray(9)), 0)
    again = SharedNumbers(3, numbers.source)
    numbers.cells[1] = 2**40
    assert list(again.cells) == [0, 2**40, 0]
    for _ in range(2):  # closing twice is closing
        file.close()
        again.close()
    numbers.cells.release()
    numbers._memory.close()


@needs_files
def test_without_memfd_a_temporary_file_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    file = AnonymousFile()
    file.write(memoryview(b"abc"), 1)
    into = bytearray(4)
    file.read(memoryview(into), 0)
    assert into == b"\0abc"
    file.close()
