"""Sending a batch between processes: every array complete, in its memory order, copied once."""

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
    Slot,
    ordinary_memory,
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
    slots = [Slot(), Slot()] if request.param == "memory" else []
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
    """More than a pipe holds, many times over, is sent before anybody reads."""
    from multiprocessing import Pipe

    ours, theirs = Pipe()
    slots = [Slot()]
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
    assert [part.nbytes for part in ordinary_memory([5, 0])] == [5, 0]


@needs_files
def test_a_batch_stays_in_its_slot_until_it_is_dropped() -> None:
    from multiprocessing import Pipe

    free: list[int] = []
    ours, theirs = Pipe()
    slots = [Slot(), Slot()]
    worker = Channel(ours, slots)
    consumer = Channel(theirs, [Slot(AnonymousFile(os.dup(s.file.descriptor))) for s in slots])
    made = worker.empty(1)((2, 3), np.dtype(np.float32))
    made[...] = 7
    worker.send(1, {"made": made, "copied": np.arange(4), "text": "x"})
    _, found = consumer.receive(None, free.append)
    assert found["made"].tolist() == [[7] * 3] * 2 and found["copied"].tolist() == [0, 1, 2, 3]
    made[0, 0] = 8
    assert found["made"][0, 0] == 8, "it is another memory"
    found["made"][0, 0] = 9
    assert made[0, 0] == 8, "a change has come back"
    part = found["made"][1:]
    del found
    assert free == []
    consumer.close()  # which takes nothing away
    worker.close()
    assert part.tolist() == [[7] * 3]
    del part
    assert free == [1]


def test_what_has_no_memory_of_its_own_frees_its_slot_at_once(
    ends: tuple[Channel, Channel],
) -> None:
    free: list[int] = []
    ends[0].send(1, "text")
    assert ends[1].receive(None, free.append)[1] == "text" and free == [1]
    ends[0].send(0, np.arange(3))
    assert ends[1].receive(release=free.append)[1].tolist() == [0, 1, 2] and free == [1, 0]


@needs_files
def test_a_slot_that_grows_leaves_earlier_arrays_as_they_are() -> None:
    slot = Slot()
    arrays = []
    for length in (1, 1000, 30_000, 2, 0, 500_000):
        arrays.append(slot.empty((length,), np.dtype(np.int64)))
        arrays[-1][...] = length
    places = [slot.place(array.view(np.uint8).data) for array in arrays]
    assert slot.end == places[-1][0] + places[-1][1], "what is there already was copied"
    for array, place in zip(arrays, places, strict=True):
        assert place[0] % 64 == 0 and (array == len(array)).all()
        found = np.empty_like(array)
        slot.read(place, found.view(np.uint8))
        np.testing.assert_array_equal(found, array)
    slot.clear()
    assert slot.place(memoryview(b"new"))[0] == 0
    slot.close()


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
    slot, numbers = Slot(), SharedNumbers(3)
    slot.place(memoryview(b"12345"))
    assert (set(os.listdir(folder)) if folder.exists() else set()) == before
    again = SharedNumbers(3, numbers.source)
    numbers.cells[1] = 2**40
    assert list(again.cells) == [0, 2**40, 0]
    for _ in range(2):  # closing twice is closing
        slot.close()
        again.close()
    numbers.cells.release()
    numbers._memory.close()


@needs_files
def test_without_memfd_a_temporary_file_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    slot = Slot()
    other, into = Slot(AnonymousFile(os.dup(slot.file.descriptor))), np.empty(3, np.uint8)
    other.read(slot.place(memoryview(b"abc")), into)
    assert into.tobytes() == b"abc"
    with pytest.raises(EOFError):
        other.read((1, 3), into)
    for one in (slot, other):
        one.close()
