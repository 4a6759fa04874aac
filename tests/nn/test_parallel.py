"""Data parallelism: N ranks compute what one process does with the whole batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import ranks

import minidl
from minidl import nn
from minidl.errors import ArgumentError
from minidl.nn.parallel import DistributedDataParallel


@ranks.needs_mpi
@pytest.mark.parametrize("count", [2, 4])
def test_ranks_equal_one_process(count: int) -> None:
    result = ranks.run(count, Path(__file__).with_name("data_parallel_program.py"))
    assert result.stdout.split() == ["content"] * count


def test_one_rank() -> None:
    model = nn.Linear(2, 1)
    parallel = DistributedDataParallel(model, device_ids=None)
    assert [name for name, _ in parallel.named_parameters()] == ["module.weight", "module.bias"]
    with parallel.no_sync():
        parallel(minidl.ones(3, 2)).sum().backward()
    assert model.weight.grad is not None and model.weight.grad.tolist() == [[3, 3]]


def test_wrong_arguments() -> None:
    with pytest.raises(ArgumentError, match="no parameter"):
        DistributedDataParallel(nn.ReLU())
    with pytest.raises(ArgumentError, match="process_group=None"):
        nn.SyncBatchNorm(2, process_group=object())


def test_convert_keeps_parameters() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm1d(3, affine=False)))
    before = [id(p) for p in model.parameters()]
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert [type(m) for m in (converted[0], converted[1][0])] == [nn.SyncBatchNorm] * 2
    assert [id(p) for p in converted.parameters()] == before
    x = minidl.randn(4, 2, 3, 3)
    assert minidl.equal(converted[0](x), nn.BatchNorm2d(2)(x))
