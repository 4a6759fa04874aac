"""A GPU budget for one training step of the paper's network: launches, products and memory.

The simulator counts (``--device=gpu-simulated``). A count that rises here rises on every card.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from small_networks import zeros

import minidl
import minidl.nn.functional as F
from minidl.kernels.cuda.conv import Columns
from minidl.kernels.windows import plan
from minidl.nn import Conv2d
from minidl.vision.models import alexnet

#: Launches of a step whose columns fit into one part each.
LAUNCHES = {
    "conv: pack weights and bias": 5,
    "conv: columns, forward and for the weights": 10,
    "conv: columns to the input's gradient": 4,
    "conv: unpack gradients": 5,
    "relu that is not fused": 6,
    "response normalization": 4,
    "max-pool": 6,
    "dropout": 4,
    "flatten, and back": 2,
    "linear: bias (and relu), and their gradients": 6,
    "loss": 3,
    "first gradient": 1,
    "update": 1,
}

#: Most launches and products at batch 128, where conv1's and conv2's columns take several parts.
MOST_LAUNCHES = 111

FP32, TF32 = 68, 77  # cuBLAS's compute types


class Step:
    """A model on the device and its training step."""

    def __init__(self, device: str, count: int) -> None:
        self.model = alexnet("paper", num_classes=10).to(device)
        self.optimizer = minidl.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4
        )
        # in the layout that the input's kernel writes
        self.images = minidl.randn(3, count, 227, 227).to(device).permute(1, 0, 2, 3)
        self.labels = minidl.randint(0, 10, (count,)).to(device)

    def __call__(self) -> None:
        # Freeing the gradients first makes every step start with the same memory in use.
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(self.images), self.labels)
        loss.backward()
        self.optimizer.step()


def products(batch: int) -> list[tuple[int, int, int]]:
    """Return (M, N, K) of all products of a step: rows and columns of the result, terms."""
    shapes: list[tuple[int, int, int]] = []
    convolutions = [  # for a group: kernels, windows, entries of a window plus bias; groups
        (96, 55 * 55, 364, 1),
        (128, 27 * 27, 1204, 2),
        (384, 13 * 13, 2308, 1),
        (192, 13 * 13, 1732, 2),
        (128, 13 * 13, 1732, 2),
    ]
    for number, (o, windows, rows, groups) in enumerate(convolutions):
        length = rows - (rows % 4 or 4) if number else 363
        for _ in range(groups):
            shapes += [(o, batch * windows, rows), (o, rows, batch * windows)]
            if number:  # the pictures need no gradient
                shapes.append((length, batch * windows, o))
    for out, inputs in ((4096, 9216), (4096, 4096), (10, 4096)):
        shapes += [(batch, out, inputs), (batch, inputs, out), (out, inputs, batch)]
    return shapes


def test_the_budget_of_a_step(gpu: str, simulator: Any) -> None:
    held = simulator.stats().current_bytes  # by earlier tests
    step = Step(gpu, 2)
    step()
    with simulator.count() as used:
        step()
    assert (used.syncs, used.h2d, used.d2h, used.h2h) == (0, 0, 0, 0)
    assert used.launches == sum(LAUNCHES.values()), dict(used.kernels)
    found = sorted(  # cuBLAS is column-major; weight gradients may be sums of a batch of products
        (n, m, k * (more[0] if "Batched" in name else 1))
        for name, m, n, k, *more in used.cublas_calls
    )
    assert found == sorted(products(2))
    assert {call[-1] for call in used.cublas_calls} == {FP32}
    parameters = 4 * sum(p.numel() for p in step.model.parameters())
    # parameters, gradients and velocities; activations, their gradients and columns of 2 pictures
    assert used.peak_bytes - held <= 3 * parameters + 2 * 20e6


def test_tf32_reaches_every_product(gpu: str, simulator: Any) -> None:
    step = Step(gpu, 1)
    minidl.cuda.allow_tf32(True)
    try:
        with simulator.count() as used:
            step()
    finally:
        minidl.cuda.allow_tf32(False)
    assert {call[-1] for call in used.cublas_calls} == {TF32}


def test_launches_at_batch_128() -> None:
    """The only launches that a larger batch adds are for more parts of columns."""
    pieces = []
    with zeros():
        layers = [layer for layer in alexnet("paper").modules() if isinstance(layer, Conv2d)]
    for layer, size in zip(layers, (227, 27, 13, 13, 13), strict=True):
        geometry = plan(
            "test", (size, size), layer.kernel_size, layer.stride, (1, 1), layer.padding
        )
        shape = (layer.in_channels, 128, size, size)
        columns = Columns(shape, np.dtype(np.float32), geometry, layer.groups)
        pieces.append(len(columns.chunks()))
    # columns forward, for the weights and (except conv1) to the input, each with its products
    groups = [layer.groups for layer in layers]
    passes = [2, 3, 3, 3, 3]
    more = sum(
        p * (1 + g) * (count - 1) for p, g, count in zip(passes, groups, pieces, strict=True)
    )
    assert sum(LAUNCHES.values()) + len(products(1)) + more <= MOST_LAUNCHES, pieces


def test_the_memory_pool_does_not_grow(gpu: str, simulator: Any) -> None:
    """From the second step on, the driver is not asked for memory."""
    import cupy

    pool = cupy.cuda.MemoryPool()
    with cupy.cuda.using_allocator(pool.malloc):
        step = Step(gpu, 1)
        held = []
        for _ in range(4):
            step()
            held.append(pool.total_bytes())
    assert held[1] == held[2] == held[3]
    assert not math.isclose(held[0], 0)
