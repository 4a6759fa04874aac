"""A full GPU: the error says which layer asked, what is allocated, and which batch would fit."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.errors import DeviceError
from minidl.kernels import cuda


@pytest.fixture
def limited(gpu: str) -> Iterator[Any]:
    """Return a function that limits the memory of arrays, through the test's own pool."""
    import cupy

    pool = cupy.cuda.MemoryPool()
    allocator = cupy.cuda.get_allocator()
    cupy.cuda.set_allocator(pool.malloc)

    def limit(more: int) -> None:
        gc.collect()
        pool.free_all_blocks()
        pool.set_limit(pool.used_bytes() + more)

    yield limit
    cupy.cuda.set_allocator(allocator)


def network() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Linear(256, 512), nn.ReLU()),
        nn.Sequential(nn.Linear(512, 4096), nn.ReLU(), nn.Linear(4096, 16)),
    )


def test_forward_names_the_layer_and_a_batch_that_fits(gpu: str, limited: Any) -> None:
    model = network().to(gpu)
    x = minidl.zeros(64, 256, device=gpu)
    limited(1 << 20)  # the size of the wide layer's output alone

    with pytest.raises(DeviceError, match="memory is full") as caught:
        model(x)

    text = str(caught.value)
    assert "layer '1.0' (Linear)" in text
    assert "requested 1 MiB" in text
    assert "instead of 64 pictures" in text
    found = re.search(r"at most (\d+) would fit", text)
    assert found is not None
    fits = int(found[1])
    assert 8 < fits < 64
    # The error's traceback keeps the arrays of the failed step alive.
    del caught
    with minidl.no_grad():
        model[:1](x[:fits])


def test_fixed_memory_is_reported_separately(gpu: str, limited: Any) -> None:
    gc.collect()
    before = cuda.OutOfMemoryError("", 0, 64).fixed
    model = network().to(gpu)
    x = minidl.zeros(64, 256, device=gpu)
    model(x).sum().backward()
    gc.collect()
    limited(1 << 20)
    with pytest.raises(cuda.OutOfMemoryError) as caught:
        model(x)
    blocks = [-(-parameter.array.nbytes // 512) * 512 for parameter in model.parameters()]
    assert caught.value.fixed - before == 2 * sum(blocks)  # and their gradients


def test_hooks_do_not_hide_the_layer(gpu: str, limited: Any) -> None:
    model = network().to(gpu)
    model[1][0].register_forward_hook(lambda *args: None)
    x = minidl.zeros(64, 256, device=gpu)
    limited(1 << 20)
    with pytest.raises(cuda.OutOfMemoryError, match=r"layer '1\.0' \(Linear\)"):
        model(x)


def test_backward_names_the_layer_of_the_parameter(gpu: str, limited: Any) -> None:
    model = network().to(gpu)
    names = [name for name, _ in model.named_parameters()]
    assert "1.0.weight" in names
    loss = model(minidl.zeros(64, 256, device=gpu)).sum()
    limited(1 << 19)
    with pytest.raises(cuda.OutOfMemoryError, match=r"layer '1\.") as caught:
        loss.backward()
    assert "backward" in str(caught.value) and "instead of 64 pictures" in str(caught.value)


def test_a_batch_that_cannot_shrink(gpu: str, limited: Any) -> None:
    layer = nn.Linear(256, 1 << 16).to(gpu)
    x = minidl.zeros(1, 256, device=gpu)
    limited(1 << 10)
    with pytest.raises(cuda.OutOfMemoryError, match="no smaller batch would fit"):
        layer(x)


def test_a_card_without_a_pool_says_so_too(gpu: str) -> None:
    import cupy

    allocator = cupy.cuda.get_allocator()
    cupy.cuda.set_allocator(None)
    try:
        x = minidl.zeros(1 << 20, 1, device=gpu)
        with pytest.raises(cuda.OutOfMemoryError, match="memory is full"):
            x + minidl.zeros(1, 1 << 20, device=gpu)
    finally:
        cupy.cuda.set_allocator(allocator)


@pytest.mark.parametrize("status", ["ALLOC_FAILED", "NOT_INITIALIZED", "INTERNAL_ERROR"])
def test_a_card_filled_outside_the_pool(status: str, gpu: str) -> None:
    # CuPy's own pool, which the simulator does without
    error_type = type("CUBLASError", (RuntimeError,), {"__module__": "cupy_backends.cuda.libs"})
    error = error_type(f"CUBLAS_STATUS_{status}")
    if status == "INTERNAL_ERROR":
        cuda.explain_out_of_memory(error, "Linear", (64, 3))
        return
    with pytest.raises(cuda.OutOfMemoryError, match="memory is full: Linear requested more, "):
        cuda.explain_out_of_memory(error, "Linear", (64, 3))


def test_moving_an_array_to_the_card(gpu: str, limited: Any) -> None:
    limited(1 << 10)
    with pytest.raises(cuda.OutOfMemoryError, match=r"moving an array of shape \(64, 64\)"):
        minidl.zeros(64, 64).to(gpu)


def test_making_an_array_on_the_card(gpu: str, limited: Any) -> None:
    limited(1 << 10)
    with pytest.raises(cuda.OutOfMemoryError, match=r"making an array \(zeros\) requested 16 KiB"):
        minidl.zeros(64, 64, device=gpu)


def test_the_optimizers_momentum(gpu: str, limited: Any) -> None:
    layer = nn.Linear(64, 64).to(gpu)
    layer(minidl.zeros(2, 64, device=gpu)).sum().backward()
    optimizer = minidl.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    limited(1 << 10)
    with pytest.raises(cuda.OutOfMemoryError, match=r"SGD\.step requested 16 KiB"):
        optimizer.step()


def test_numpys_own_error_is_unchanged() -> None:
    x = minidl.from_numpy(np.zeros((1, 1), np.float32)).expand(1 << 24, 1)
    y = minidl.from_numpy(np.zeros((1, 1), np.float32)).expand(1, 1 << 24)
    with pytest.raises(MemoryError):
        x + y


def test_other_errors_are_unchanged(gpu: str) -> None:
    with pytest.raises(minidl.errors.ShapeError):
        network().to(gpu)(minidl.zeros(2, 3, device=gpu))
