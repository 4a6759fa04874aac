"""Devices: names, equality, and errors without a GPU."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from helpers import asynchronous

import minidl
from minidl import nn
from minidl.data import DataLoader, DeviceBatches
from minidl.device import CPU, array_module, check_one_device, device_of
from minidl.errors import DeviceError
from minidl.kernels.cuda import copy_to
from minidl.vision.metrics import RunningMeans, accuracy
from minidl.vision.transforms import RawToInput, ToRaw

no_gpu = pytest.mark.skipif(minidl.cuda.is_available(), reason="there is a GPU")


def test_names_of_the_cpu() -> None:
    for spec in ("cpu", "cpu:0", CPU):
        device = minidl.device(spec)
        assert device == CPU and hash(device) == hash(CPU)
        assert (device.type, device.index, str(device)) == ("cpu", None, "cpu")
    assert repr(CPU) == "device(type='cpu')"
    assert CPU != "cpu" and minidl.device("cpu", 0) == CPU


@pytest.mark.parametrize("spec", ["tpu", "", "cpu:1", "gpu:x", "gpu:-1", "cuda:1.5", "gpus"])
def test_unknown_devices(spec: str) -> None:
    with pytest.raises(DeviceError, match="device"):
        minidl.device(spec)


@no_gpu
@pytest.mark.parametrize("spec", ["gpu", "gpu:0", "cuda", "cuda:1"])
def test_a_missing_gpu_says_what_to_do(spec: str) -> None:
    with pytest.raises(DeviceError, match=r"pip install|nvidia-smi|does not exist"):
        minidl.device(spec)
    with pytest.raises(DeviceError):
        minidl.zeros(2).to(spec)
    with pytest.raises(DeviceError):
        minidl.zeros(2, device=spec)


@no_gpu
def test_asking_for_gpus_never_raises() -> None:
    assert minidl.cuda.device_count() == 0 and not minidl.cuda.is_available()
    minidl.cuda.synchronize()
    with pytest.raises(DeviceError):
        minidl.zeros(2).cuda()


def test_results_stay_on_the_device(device: str) -> None:
    where = minidl.device(device)
    x = minidl.ones(2, 3, device=device, requires_grad=True)
    for y in (
        x + 1, 2 / x, x > 0, x.sum(), x @ x.T, x[0], x[:, [0]], x.max(1)[1], x.sort()[1], -x,
        x.detach(), x.clone(), x.double(), x.new_zeros(2), x.new_tensor([1]), minidl.zeros_like(x),
        minidl.full_like(x, 2), minidl.empty_like(x), minidl.rand_like(x), x.cumsum(0), x.median(),
        minidl.where(x > 0, 1, 0), x.nonzero(), x.unique(), minidl.eye(2, device=device), x.var(),
        minidl.arange(3, device=device), minidl.linspace(0, 1, 3, device=device), x.bernoulli(),
        minidl.full((2,), 1.0, device=device), minidl.normal(x, 1.0, device=device), x.diagonal(),
        minidl.einsum("ij->j", x), minidl.nn.functional.one_hot(x.long()), x.multinomial(1),
        minidl.tensor(x), minidl.as_tensor(x), x.repeat_interleave(minidl.tensor([1, 2]), 0),
    ):  # fmt: skip
        assert y.device == where and type(y.array) is type(x.array), y
    (x * 2).sum().backward()
    assert x.grad.device == where


def test_mixed_devices_are_refused(gpu: str) -> None:
    here, there = minidl.ones(2, device=gpu).array, np.ones(2)
    check_one_device("add", a=here, b=here, c=3.0, d=None)
    with pytest.raises(DeviceError, match=r"add: .* a on gpu:0, b on cpu; move them with \.to"):
        check_one_device("add", a=here, b=there)


class PretendedGPUs:
    """A real GPU 0, and a pretended GPU 1 that is current until code switches to GPU 0.

    `inside` counts CuPy's work (launches, products, allocations) while GPU 0 was current.
    """

    def __init__(self, simulator: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
        self.current, self.inside, self.entered = 1, 0, False
        self.stats = simulator.stats
        cuda = minidl.cuda.cupy().cuda
        monkeypatch.setattr(cuda.runtime, "getDevice", lambda: self.current)
        monkeypatch.setattr(cuda, "Device", self.device)

    @contextlib.contextmanager
    def device(self, index: int) -> Iterator[None]:
        before, self.current, self.entered = self.current, index, True
        start = self.work()
        try:
            yield
        finally:
            if before != 0 and index == 0:
                self.inside += self.work() - start
            self.current = before

    def work(self) -> int:
        stats = self.stats()
        return stats.launches + len(stats.cublas_calls) + stats.allocations + stats.d2d + stats.h2d


def trained(device: str) -> None:
    """A step with every part of a training: batches, losses, optimizers, clipping, metrics."""
    picture = np.arange(3 * 8 * 8, dtype=np.uint8).reshape(8, 8, 3)
    samples = [(ToRaw()(picture), label) for label in range(4)]
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(2), nn.BatchNorm2d(4),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 5),
    ).to(device)  # fmt: skip
    optimizers = [
        minidl.optim.SGD(net.parameters(), lr=0.1, momentum=0.9),
        minidl.optim.Adam(net.parameters(), lr=0.1),
    ]
    means = RunningMeans()
    loader = DataLoader(samples, batch_size=2)
    for pictures, labels in DeviceBatches(loader, device, RawToInput(mean=[1.0, 2.0, 3.0])):
        scores = net(pictures)
        loss = nn.functional.cross_entropy(scores, labels)
        for retain in (True, False):  # the second backward adds to the gradients
            loss.backward(retain_graph=retain)
        nn.utils.clip_grad_norm_(net.parameters(), 0.1)
        nn.utils.clip_grad_value_(net.parameters(), 0.1)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=False)
        means.update(loss.detach(), *accuracy(scores, labels))
    assert len(means.read()) == 2
    state = copy.deepcopy(optimizers[0].state_dict())
    optimizers[0].load_state_dict(state)
    net.load_state_dict(net.state_dict())


USES: dict[str, Callable[[Any], Any]] = {
    "add": lambda x: x + x, "greater": lambda x: x > 0, "isnan": lambda x: x.isnan(),
    "zeros": lambda x: minidl.zeros(2, device=x.device), "tensor": minidl.tensor,
    "full": lambda x: minidl.full((2,), 1, device=x.device), "sum": lambda x: x.sum(),
    "argmax": lambda x: x.argmax(), "argmin": lambda x: x.argmin(1), "all": lambda x: x.all(),
    "any": lambda x: x.any(0), "equal": lambda x: x.equal(x), "isclose": lambda x: x.isclose(x),
    "allclose": lambda x: x.allclose(x), "median": lambda x: x.median(), "max": lambda x: x.max(1),
    "sort": lambda x: x.sort(), "topk": lambda x: x.topk(2), "unique": lambda x: x.unique(),
    "isin": lambda x: minidl.isin(x, x), "bincount": lambda x: x.long().reshape(-1).bincount(),
    "one_hot": lambda x: nn.functional.one_hot(x.long()), "nonzero": lambda x: x.nonzero(),
    "where": lambda x: minidl.where(x > 0), "masked_select": lambda x: x[x > 1],
    "positions": lambda x: x[[0, 1, 1]], "gather": lambda x: x.gather(1, x.long() % 2),
    "scatter": lambda x: x.scatter(1, x.long()[:, :1] % 2, 1.0),
    "bernoulli": lambda x: (x * 0).bernoulli(),
    "scatter_add": lambda x: x.scatter_add(1, x.long() % 2, x),
    "index_add": lambda x: x.index_add(0, x.long()[0, :2], x[:2]),
    "index_fill": lambda x: x.index_fill(0, x.long()[0, :2], 0.0),
    "assign": lambda x: x.clone().__setitem__(0, 1.0),
    "assign positions": lambda x: x.clone().__setitem__([0, 1], x[:2]),
    "assign mask": lambda x: x.clone().__setitem__(x > 1, 0.0),
    "in place": lambda x: x.clone().add_(1), "fill": lambda x: x.clone().zero_(),
    "invert": lambda x: ~x.long(), "deepcopy": copy.deepcopy, "norm": lambda x: x.norm(1),
    "normal": lambda x: x.clone().normal_(),
    "gradient": lambda x: (x.requires_grad_() * x).sum().backward(),
    "two ways": lambda x: ((y := x.requires_grad_() * 2) * y + y).sum().backward(),
    "grad": lambda x: minidl.autograd.grad((x.requires_grad_() + x).sum(), x),
    "half": lambda x: x.half().sum(), "float16 dropout": lambda x: nn.functional.dropout(x.half()),
    "training": lambda x: trained(str(x.device)),
}  # fmt: skip


@pytest.mark.parametrize("use", USES)
def test_the_gpu_of_a_tensor_is_made_current(
    use: str, gpu: str, simulator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = minidl.arange(9.0, device=gpu).reshape(3, 3)
    USES[use](x.clone())  # fills caches
    gpus = PretendedGPUs(simulator, monkeypatch)
    with asynchronous(simulator, False):  # otherwise work is counted only when waited for
        before = gpus.work()
        USES[use](x)
    assert gpus.entered
    assert gpus.inside == gpus.work() - before


def test_arrays_know_their_device() -> None:
    array = np.zeros(3)
    assert array_module(array) is np and array_module(np.float32(1)) is np
    assert device_of(array) == CPU and copy_to(array, CPU) is array
    x = minidl.zeros(3, device="cpu")
    assert x.device == CPU and not x.is_cuda
    assert x.cpu() is x and x.to("cpu") is x and x.to(CPU) is x
    assert x.to(minidl.zeros(1, dtype=minidl.float64)).dtype == np.float64


def test_arguments_of_another_dtype(device: str) -> None:
    """A float64 bias or weight with a float32 input is converted, not reinterpreted."""
    x = minidl.arange(32.0, device=device).reshape(2, 1, 4, 4)
    kernel, local = minidl.ones(3, 1, 3, 3, device=device), minidl.ones(4, 3, 9, device=device)
    three = minidl.tensor([0.5, 1.5, 2.5], device=device)
    labels = minidl.tensor([0, 2, 1, 2, 0, 1, 1, 0], device=device)
    for use in (
        lambda v: nn.functional.conv2d(x, kernel, v),
        lambda v: nn.functional.linear(x, minidl.ones(3, 4, device=device), v),
        lambda v: nn.functional.locally_connected2d(
            x, local, v.reshape(3, 1, 1).expand(3, 2, 2).contiguous(), 3
        ),
        lambda v: nn.functional.cross_entropy(x.reshape(8, 4)[:, :3], labels, v),
        lambda v: nn.functional.nll_loss(x.reshape(8, 4)[:, :3], labels, v),
    ):
        expected, found = use(three), use(three.double())
        np.testing.assert_allclose(found.tolist(), expected.tolist(), rtol=1e-6)
