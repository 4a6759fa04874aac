"""N ranks with a share of each batch, compared with one process that has the whole batch."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.distributed as dist
from minidl import nn
from minidl.errors import DistributedError
from minidl.nn.parallel import DistributedDataParallel

STEPS, BATCH = 5, 14  # which 4 does not divide


def network() -> nn.Module:
    minidl.manual_seed(1)
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * 36, 16), nn.Dropout(0.5), nn.Linear(16, 4))


def train(model: nn.Module, share: slice, reducer: object = None) -> np.ndarray:
    """Return the parameters after some steps with a share of each batch."""
    rng = np.random.default_rng(0)
    optimizer = minidl.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    minidl.manual_seed(7)
    for _ in range(STEPS):
        images = rng.standard_normal((BATCH, 3, 8, 8)).astype(np.float32)[share]
        labels = rng.integers(0, 4, BATCH)[share]
        if reducer is not None:
            reducer.total = BATCH  # type: ignore[attr-defined]
        optimizer.zero_grad()
        logits = model(minidl.from_numpy(images.copy()))
        nn.functional.cross_entropy(logits, minidl.from_numpy(labels.copy())).backward()
        optimizer.step()
    return np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])


def check_training(rank: int, ranks: int) -> None:
    expected = train(network(), slice(None))
    found = []
    for _ in range(2):
        minidl.manual_seed(rank)  # the ranks begin with rank 0's parameters
        model = nn.SyncBatchNorm.convert_sync_batchnorm(network())
        if rank:
            nn.init.zeros_(model[0].weight)
        parallel = DistributedDataParallel(model, bucket_cap_mb=0.001)
        found.append(train(parallel, slice(rank, None, ranks), parallel.reducer))
    every: list[bytes] = [b""] * ranks
    dist.all_gather_object(every, found[0].tobytes())
    assert len({*every, found[1].tobytes()}) == 1  # the same bits, on all ranks and twice
    error = np.abs(found[0] - expected).max() / np.abs(expected).max()
    assert error < 1e-5, error


def check_buffers(rank: int) -> None:
    model = nn.BatchNorm2d(2)
    parallel = DistributedDataParallel(model)
    x = minidl.full((2, 2, 1, 1), float(rank))
    parallel(x), parallel(x)
    assert model.running_mean.tolist() == pytest.approx(
        [0.1 * rank] * 2
    )  # from rank 0's, which stays 0


def check_no_sync(rank: int, ranks: int) -> None:
    model = nn.Linear(1, 1, bias=False)
    parallel = DistributedDataParallel(model)
    with parallel.no_sync():
        parallel(minidl.full((1, 1), float(rank))).sum().backward()
    assert model.weight.grad.item() == rank
    parallel(minidl.full((1, 1), float(rank))).sum().backward()
    assert model.weight.grad.item() == 2 * sum(range(ranks)) / ranks


class Chooses(nn.Module):
    """Uses one of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(1, 1) for _ in range(3)])
        self.chosen = 0

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return self.layers[self.chosen](x)


def check_unused(rank: int, ranks: int) -> None:
    model = Chooses()
    parallel = DistributedDataParallel(model)
    parallel(minidl.ones(1, 1)).sum().backward()
    with pytest.raises(DistributedError, match=r"layers.1.weight.*find_unused_parameters"):
        parallel(minidl.ones(1, 1))
    model = Chooses()
    parallel = DistributedDataParallel(model, find_unused_parameters=True)
    model.chosen = min(rank, 1)
    for _ in range(2):
        model.zero_grad()
        parallel(minidl.ones(1, 1)).sum().backward()
    grads = [layer.bias.grad for layer in model.layers]
    assert grads[2] is None
    assert [g.item() for g in grads[:2]] == [1 / ranks, (ranks - 1) / ranks]


if __name__ == "__main__":
    mine, size = dist.get_rank(), dist.get_world_size()  # nothing need be called before
    check_training(mine, size)
    check_buffers(mine)
    check_no_sync(mine, size)
    check_unused(mine, size)
    print("content")
