"""Checks of the collective operations, for any number of ranks."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
import minidl.distributed as dist
from minidl.distributed import arrays, world
from minidl.errors import ArgumentError, DistributedError, ShapeError


def numbers(rank: int, size: int = 5) -> minidl.Tensor:
    """Numbers of one rank whose sum depends on the order of addition."""
    drawn = np.random.default_rng(rank).standard_normal(size) * 10.0 ** (4 * (rank % 3))
    return minidl.from_numpy(drawn.astype(np.float32))


def check_sums(rank: int, ranks: int) -> None:
    turns = 5 * arrays._TURN * ranks // 8 + 3  # two whole ones, and a part
    for size in (0, 1, 7, 5000, 100_003, turns):  # small ones travel whole, large ones in pieces
        expected = numbers(0, size).numpy()
        for other in range(1, ranks):
            expected = expected + numbers(other, size).numpy()
        found = numbers(rank, size)
        work = dist.all_reduce(found, async_op=True)
        work.wait()
        assert work.is_completed() and np.array_equal(found.numpy(), expected), size  # same bits
    turned = numbers(rank, 6).reshape(2, 3).T  # not contiguous
    dist.all_reduce(turned, dist.ReduceOp.MAX)
    expected = np.max([numbers(other, 6).numpy() for other in range(ranks)], 0)
    assert np.array_equal(turned.numpy(), expected.reshape(2, 3).T)
    for op, value in ((dist.ReduceOp.PRODUCT, 2.0**ranks), (dist.ReduceOp.AVG, 2.0)):
        x = minidl.full((2,), 2.0)
        dist.all_reduce(x, op)
        assert x.tolist() == [value, value]


def check_moves(rank: int, ranks: int) -> None:
    x = numbers(rank)
    dist.broadcast(x, ranks - 1)
    assert np.array_equal(x.numpy(), numbers(ranks - 1).numpy())
    every = [minidl.zeros(5) for _ in range(ranks)]
    dist.all_gather(every, numbers(rank))
    for other, found in enumerate(every):
        assert np.array_equal(found.numpy(), numbers(other).numpy())
    whole = minidl.zeros(ranks, 5)
    dist.all_gather_into_tensor(whole, numbers(rank))
    assert np.array_equal(whole.numpy(), np.stack([t.numpy() for t in every]))
    part = minidl.zeros(5)
    dist.reduce_scatter_tensor(part, whole)
    assert np.allclose(part.numpy(), ranks * numbers(rank).numpy(), rtol=ranks * 2.0**-23)
    objects = [None] * ranks
    dist.all_gather_object(objects, {"rank": rank, "text": "x" * rank})
    assert objects == [{"rank": other, "text": "x" * other} for other in range(ranks)]
    found = [None] * ranks if rank == 1 else None
    dist.gather_object("x" * rank, found, dst=1)
    assert found is None or found == ["x" * other for other in range(ranks)]
    message = [f"of {rank}"]
    dist.broadcast_object_list(message, 1)
    assert message == ["of 1"]
    dist.barrier()


def check_errors(ranks: int) -> None:
    with pytest.raises(ArgumentError, match="src must be a rank"):
        dist.broadcast(minidl.ones(1), ranks)
    with pytest.raises(ShapeError, match=f"expected {ranks} tensors"):
        dist.all_gather([minidl.ones(1)], minidl.ones(1))
    with pytest.raises(ArgumentError, match="list on rank 0, and only there"):
        dist.gather_object("x", None if dist.get_rank() == 0 else [])
    with pytest.raises(ShapeError, match="times"):
        dist.all_gather_into_tensor(minidl.ones(1), minidl.ones(1))
    with pytest.raises(DistributedError, match="group=None"):
        dist.barrier(group=object())
    with pytest.raises(ArgumentError, match="called before"):
        dist.init_process_group()


def check_traffic(ranks: int) -> None:
    here = world.current()
    here.traffic.clear()
    dist.all_reduce(minidl.ones(ranks * 3000), label="sum")
    assert here.traffic == {"sum": 2 * (ranks - 1) * 3000 * 4}


if __name__ == "__main__":
    dist.init_process_group("gloo", timeout=None)
    mine, size = dist.get_rank(), dist.get_world_size()
    assert dist.is_initialized() and size > 1
    check_sums(mine, size)
    check_moves(mine, size)
    check_errors(size)
    check_traffic(size)
    print(f"rank {mine} of {size} is content")
    dist.destroy_process_group()
