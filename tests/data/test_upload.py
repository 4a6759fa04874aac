"""DeviceBatches: the loader's batches on a device, complete, in order, and in time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import asynchronous

import minidl
from minidl.data import DataLoader, Dataset, DeviceBatches, TensorDataset, upload
from minidl.data.upload import pin
from minidl.kernels import cuda


class Pair(NamedTuple):
    left: Any
    right: Any


class Pictures(Dataset):
    """Bytes in channels-last memory, labels, and things that are not tensors."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(0)
        self.pixels = rng.integers(0, 256, (count, 6, 5, 3), np.uint8)

    def __getitem__(self, index: int) -> Any:
        picture = minidl.from_numpy(self.pixels[index].transpose(2, 0, 1))
        return Pair(picture, {"label": index, "name": f"{index}.jpg", "none": [index / 2]})

    def __len__(self) -> int:
        return len(self.pixels)


@pytest.fixture
def late(device: str) -> Iterator[None]:
    """Simulated streams that defer their work as long as CUDA allows."""
    simulator = sys.modules.get("cupy_on_cpu")
    if device == "cpu" or simulator is None or not simulator.is_installed():
        yield
        return
    with asynchronous(simulator, True):
        yield


def check(batches: list[Any], dataset: Pictures, device: str) -> None:
    """Compare a batch with the data set, number by number."""
    where = minidl.device(device)
    for batch in batches:
        assert isinstance(batch, Pair) and batch.left.device == where
        assert batch.right["label"].device == where and batch.right["none"][0].device == where
        assert batch.left.dtype == np.uint8 and batch.right["label"].dtype == np.int64
    pixels = np.concatenate([batch.left.cpu().numpy() for batch in batches])
    np.testing.assert_array_equal(pixels.transpose(0, 2, 3, 1), dataset.pixels)
    labels = [label for batch in batches for label in batch.right["label"].tolist()]
    assert labels == list(range(len(dataset)))
    assert [name for batch in batches for name in batch.right["name"]] == [
        f"{label}.jpg" for label in labels
    ]
    halves = [half for batch in batches for half in batch.right["none"][0].tolist()]
    assert halves == [label / 2 for label in labels]


@pytest.mark.parametrize("pin_memory", [False, True])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.usefixtures("late")
def test_every_batch_arrives_whole_and_stays_so(
    device: str, pin_memory: bool, workers: int
) -> None:
    dataset = Pictures(22)
    loader = DataLoader(dataset, 4, num_workers=workers, pin_memory=pin_memory)
    batches = DeviceBatches(loader, device)
    assert len(batches) == 6
    epochs = [list(batches) for _ in range(2)]  # the second in pinned memory used before
    for epoch in epochs:
        check(epoch, dataset, device)


@pytest.mark.usefixtures("late")
def test_a_batch_is_there_when_it_is_looked_at(device: str) -> None:
    dataset = Pictures(8)
    loader = DataLoader(dataset, 2, pin_memory=True)
    for number, batch in enumerate(DeviceBatches(loader, device)):
        found = (batch.left * 1).cpu().numpy().transpose(0, 2, 3, 1)  # waits for its stream alone
        np.testing.assert_array_equal(found, dataset.pixels[2 * number : 2 * number + 2])


@pytest.mark.parametrize("pin_memory", [False, True])
@pytest.mark.usefixtures("late")
def test_batches_that_are_dropped_after_use(device: str, pin_memory: bool) -> None:
    """As in training: pinned blocks and the device's memory are reused, but not too early."""
    count = 60
    pixels = np.random.default_rng(0).integers(0, 256, (count, 40), np.uint8)
    dataset = TensorDataset(minidl.from_numpy(pixels), minidl.arange(count))
    loader = DataLoader(dataset, 2, num_workers=1, pin_memory=pin_memory)
    total = minidl.zeros(40, dtype=minidl.int64, device=device)
    sums = []
    for rows, labels in DeviceBatches(loader, device):
        total = total + rows.sum(0) * labels.sum()
        sums.append(total)
        del rows, labels
    expected = pixels.reshape(-1, 2, 40).sum(1) * np.arange(count).reshape(-1, 2).sum(1)[:, None]
    np.testing.assert_array_equal(
        np.stack([row.cpu().numpy() for row in sums]), expected.cumsum(axis=0)
    )


@pytest.mark.usefixtures("late")
def test_a_loop_that_ends_early_leaves_nothing_behind(device: str) -> None:
    dataset = Pictures(40)
    loader = DataLoader(dataset, 2, num_workers=1, pin_memory=True)
    for _ in range(3):
        for number, _batch in enumerate(DeviceBatches(loader, device)):
            if number == 2:
                break
        gc.collect()
        # Would meet the copies of the batches that nobody has waited for.
        ones = [minidl.ones(256, device=device) for _ in range(8)]
        assert all(one.sum().item() == 256 for one in ones)
    firsts = [next(iter(DeviceBatches(loader, device))) for _ in range(4)]
    for first in firsts:
        np.testing.assert_array_equal(
            first.left.cpu().numpy().transpose(0, 2, 3, 1), dataset.pixels[:2]
        )


def test_a_loop_in_a_garbage_cycle_waits_for_its_copies(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The garbage collector may destroy the events before it closes the loop."""
    uploads: list[Any] = []
    make = cuda.Upload
    monkeypatch.setattr(cuda, "Upload", lambda *args: uploads.append(make(*args)) or uploads[-1])
    loop: Any = iter(DeviceBatches([minidl.ones(2)] * 4, device))
    next(loop)
    loop = [loop]
    loop.append(loop)
    gc.collect()  # behind `uploads`, in which it has found the events
    uploads.clear()
    del loop
    gc.collect()


def test_finish_is_called_on_the_device_and_errors_come_through(device: str) -> None:
    batches = DeviceBatches(DataLoader(Pictures(6), 3), device, lambda batch: batch.left * 2)
    for doubled in batches:
        assert doubled.device == minidl.device(device) and tuple(doubled.shape) == (3, 3, 6, 5)

    def broken() -> Iterator[Any]:
        yield minidl.ones(2)
        raise KeyError("picture")

    with pytest.raises(KeyError, match="picture"):
        list(DeviceBatches(broken(), device))


def test_batches_without_tensors_and_empty_ones(device: str) -> None:
    given = ["text", [], minidl.zeros(0, 3), {"a": 1.5}]
    found = list(DeviceBatches(given, device))
    assert found[0] == "text" and found[1] == [] and found[3] == {"a": 1.5}
    assert tuple(found[2].shape) == (0, 3) and found[2].device == minidl.device(device)
    assert list(DeviceBatches([], device)) == []


def test_what_is_on_the_device_stays_there(device: str) -> None:
    there, here = minidl.ones(3, device=device), minidl.zeros(2)
    ((same, moved),) = DeviceBatches([(there, here)], device)
    assert same.array is there.array
    assert moved.device == minidl.device(device) and moved.tolist() == [0, 0]


def test_on_the_cpu_nothing_is_taken_ahead() -> None:
    taken = []

    def batches() -> Iterator[Any]:
        for number in range(3):
            taken.append(number)
            yield minidl.tensor(number)

    first = next(iter(DeviceBatches(batches(), "cpu")))
    assert first.item() == 0 and taken == [0]


def test_pinned_tensors_share_a_block_and_keep_their_order_of_axes(gpu: str) -> None:
    pixels = minidl.from_numpy(np.arange(60, dtype=np.uint8).reshape(4, 5, 3).transpose(2, 0, 1))
    found = pin([pixels, minidl.tensor(7), "text", minidl.ones(2, device=gpu)])
    block = cuda.pinned_block(found[0].array)
    assert block is not None and cuda.pinned_block(found[1].array) is block
    assert cuda.pinned_block(pixels.array) is None
    assert found[0].array.strides == pixels.array.strides
    np.testing.assert_array_equal(found[0].numpy(), pixels.numpy())
    assert found[1].item() == 7 and found[2] == "text" and str(found[3].device) == "gpu:0"


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loaders_pin_memory_where_there_is_a_gpu(device: str, workers: int) -> None:
    for flag in (False, True):
        loader = DataLoader(Pictures(4), 2, num_workers=workers, pin_memory=flag)
        for batch in loader:
            assert isinstance(batch.left.array, np.ndarray)
            if cuda.is_available():
                assert (cuda.pinned_block(batch.left.array) is not None) == flag
        check(list(loader), Pictures(4), "cpu")


def test_pinned_memory_is_reused_and_bounded(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda.transfer, "_idle", [])

    def memory_of(block: np.ndarray) -> Any:
        return block.base.obj.mem

    for size in (0, 1, 5000, 25_000_000, (1 << 24) + 1):
        block = cuda.pinned(size)
        assert block.size == size <= memory_of(block).size <= max(1.125 * size, size + 4096)
    first = memory_of(cuda.pinned(1 << 20))
    view = cuda.pinned((1 << 20) - 7)[3:]  # of the same memory
    assert memory_of(view.base) is first
    other = cuda.pinned(1 << 20)
    assert memory_of(other) is not first  # which is in use
    del view
    assert memory_of(cuda.pinned(700_000)) is first
    blocks = [cuda.pinned(size << 12) for size in range(1, 40)]
    del blocks
    cuda.pinned(1 << 30)  # larger than any
    assert len(cuda.transfer._idle) <= cuda.transfer.KEPT + 1


def test_pinned_batches_are_not_copied_again(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pin([minidl.ones(3), minidl.zeros(2)])
    monkeypatch.delattr(upload, "_pack")
    ((ones, zeros),) = DeviceBatches([batch], gpu)
    assert (ones.tolist(), zeros.tolist()) == ([1, 1, 1], [0, 0])


@pytest.mark.parametrize("pin_memory", [False, True])
def test_one_copy_a_batch(simulator: ModuleType, gpu: str, pin_memory: bool) -> None:
    loader = DataLoader(Pictures(12), 4, pin_memory=pin_memory)
    with asynchronous(simulator, False), simulator.count() as used:
        batches = list(DeviceBatches(loader, gpu))
    assert len(batches) == 3
    assert (used.h2d, used.d2h, used.d2d, used.syncs, used.launches) == (3, 0, 0, 0, 0)
    assert used.h2d_bytes <= 3 * (4 * 6 * 5 * 3 + 2 * 256 + 256)


def test_a_copy_runs_beside_the_step(simulator: ModuleType, gpu: str) -> None:
    """The next batch's copy does not wait for work submitted to the GPU after it."""
    import cupy

    done: list[str] = []
    with asynchronous(simulator, True):
        batches = iter(DeviceBatches([minidl.ones(3), minidl.zeros(3), minidl.ones(3)], gpu))
        for _ in range(2):
            next(batches)
            cupy.cuda.get_current_stream().launch_host_func(done.append, "step")
        cuda.transfer._copy_stream(0).synchronize()
        assert done == ["step"]  # the third batch waits for the first step, not for the second
    assert done == ["step", "step"]


def test_the_stream_of_the_batchs_gpu_waits(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    xp, upload = cuda.cupy(), cuda.Upload(cuda.pinned(8), 0)
    device, entered = xp.cuda.Device, []

    def noted(index: int) -> Any:
        entered.append(index)
        return device(index)

    monkeypatch.setattr(xp.cuda, "Device", noted)
    upload.receive()
    assert entered == [0]  # whichever is the current one
    upload.wait()


def test_synchronize_waits_for_copies_as_well(gpu: str, late: None) -> None:
    upload = cuda.Upload(cuda.pinned(8), 0)
    cuda.synchronize()
    assert upload._copied.done
