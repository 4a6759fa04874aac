"""Two ranks whose tensors are on the simulated GPU give the numbers of the CPU."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import cupy_on_cpu
import numpy as np

import minidl
import minidl.distributed as dist
from minidl import nn
from minidl.distributed import nccl, world
from minidl.nn.exchange import gather_channels, gather_rounds, scatter_rows
from minidl.nn.parallel import DistributedDataParallel


def gradients(device: str, rank: int) -> np.ndarray:
    """Return the gradients of a network, and of tensors that ranks exchange, in one vector."""
    minidl.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Dropout(0.5), nn.Linear(12, 4))
    net = net.to(device)
    x = minidl.from_numpy(np.random.default_rng(rank).standard_normal((3, 2, 4, 4)))
    x = x.to(device, minidl.float32)
    model = DistributedDataParallel(net, bucket_cap_mb=0.0002)
    model(x).sum().backward()
    found = [p.grad for p in net.parameters()]
    y = x.detach().clone().requires_grad_()
    joined = gather_channels(y, [2, 2], "channels")
    whole = minidl.cat([part for part, _ in gather_rounds(joined, 6, "rows")])
    scatter_rows((whole * whole).flatten(1)[:, :5] * (rank + 1), [5, 5], "outputs").sum().backward()
    return np.concatenate([g.detach().cpu().numpy().ravel() for g in (*found, y.grad)])


if __name__ == "__main__":
    cupy_on_cpu.install()
    mine = dist.get_rank()
    total = minidl.ones(3, device="gpu") * (mine + 1)
    dist.all_reduce(total)
    assert total.device.type == "gpu" and total.tolist() == [3, 3, 3]
    on_cpu, on_gpu = gradients("cpu", mine), gradients("gpu", mine)
    assert np.allclose(on_gpu, on_cpu, rtol=1e-5, atol=1e-5)
    sys.modules["cupy.cuda.nccl"] = SimpleNamespace(available=False)  # type: ignore[assignment]
    assert not dist.is_nccl_available()  # though a package, such as PyTorch's, may have brought it
    nccl_stand_in = importlib.import_module("nccl_stand_in")
    sys.modules["cupy.cuda.nccl"] = nccl_stand_in
    through_mpi = gradients("gpu", mine)  # both ranks have the same GPU
    assert not nccl_stand_in.calls and np.array_equal(through_mpi, on_gpu)
    nccl._card = lambda where: (str(mine), str(where))  # type: ignore[assignment]
    world.current().traffic.clear()
    through_nccl = gradients("gpu", mine)
    assert "gradients" not in world.current().traffic
    assert nccl_stand_in.calls == [(52, 7), (54, 7), (3, 7)], nccl_stand_in.calls
    assert np.allclose(through_nccl, on_cpu, rtol=1e-5, atol=1e-5)
    print("content")
