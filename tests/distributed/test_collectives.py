"""Collective operations: on several ranks, and on one without MPI."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import ranks

import minidl
import minidl.distributed as dist
from minidl.distributed import world
from minidl.errors import ArgumentError, DistributedError

PROGRAM = Path(__file__).with_name("collective_program.py")


@ranks.needs_mpi
@pytest.mark.parametrize("count", [2, 4])
def test_several_ranks(count: int) -> None:
    result = ranks.run(count, PROGRAM)
    assert sorted(result.stdout.split("\n")[:-1]) == [
        f"rank {rank} of {count} is content" for rank in range(count)
    ]


def test_one_rank_needs_nothing() -> None:
    x = minidl.tensor([1.0, 2.0])
    every = [minidl.zeros(2)]
    dist.all_reduce(x)
    dist.broadcast(x)
    dist.barrier()
    dist.all_gather(every, x)
    objects = [None]
    dist.all_gather_object(objects, "x")
    assert x.tolist() == every[0].tolist() == [1, 2] and objects == ["x"]
    work = dist.all_reduce(x, dist.ReduceOp.AVG, async_op=True)
    assert work is not None
    work.wait()
    assert (dist.get_rank(), dist.get_world_size(), x.tolist()) == (0, 1, [1, 2])


def test_several_ranks_without_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise DistributedError(f"several processes need mpi4py: {world.HOW_TO_INSTALL}")

    monkeypatch.setattr(world, "find_mpi", missing)
    dist.init_process_group()  # of one process
    dist.destroy_process_group()
    with pytest.raises(DistributedError, match=r"pip install 'minidl\[mpi\]'"):
        dist.init_process_group(world_size=2)
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    stopped = []
    monkeypatch.setattr(world.faulthandler, "dump_traceback_later", lambda *a, **k: None)
    monkeypatch.setattr(
        world.faulthandler, "cancel_dump_traceback_later", lambda: stopped.append(True)
    )
    with pytest.raises(DistributedError, match=r"pip install 'minidl\[mpi\]'"):
        dist.get_rank()
    assert stopped  # or the process would end a minute later


def test_processes_that_do_not_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = SimpleNamespace(COMM_WORLD=SimpleNamespace(rank=0, size=1))
    monkeypatch.setattr(world, "find_mpi", lambda: alone)
    monkeypatch.setattr(world.Guard, "start", lambda self: None)
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")  # without PMIx, srun starts worlds of one
    with pytest.raises(DistributedError, match="3 processes were started.*--mpi=pmix"):
        dist.get_world_size()
    assert not dist.is_initialized()


def test_wrong_arguments() -> None:
    with pytest.raises(ArgumentError, match="backend 'mpi', got 'smoke'"):
        dist.init_process_group("smoke")


@ranks.needs_mpi
def test_tensors_on_a_gpu() -> None:
    pytest.importorskip("cupy")
    slow = "300"  # the simulator may have to compile kernels
    result = ranks.run(2, PROGRAM.with_name("gpu_program.py"), MINIDL_HANG_SECONDS=slow)
    assert result.stdout.split() == ["content"] * 2


_HANGS = """
import time
import minidl.distributed as dist
if dist.get_rank() == 1:
    time.sleep(60)
dist.barrier()
"""


@ranks.needs_mpi
def test_a_rank_that_stands_still() -> None:
    result = ranks.run(2, "-c", _HANGS, status=5, MINIDL_HANG_SECONDS="6")
    assert "rank 1 has stood still for 6 seconds in <module>" in result.stderr


_LEAVES = """
import minidl.distributed as dist
if dist.get_rank() == 0:
    dist.barrier()
"""


@ranks.needs_mpi
def test_a_rank_that_ends_early() -> None:
    result = ranks.run(2, "-c", _LEAVES, status=5, MINIDL_HANG_SECONDS="6")
    assert "rank 1 has ended, but rank 0 waits for all ranks; all 2 ranks end" in result.stderr
