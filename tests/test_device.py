"""Devices: their names, what they are equal to, and errors where there is no GPU."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import minidl
from minidl.device import CPU, array_module, check_one_device, copy_to, device_of
from minidl.errors import DeviceError

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
def test_a_gpu_that_is_not_there_says_what_to_do(spec: str) -> None:
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


def test_one_device_is_demanded(gpu: str) -> None:
    here, there = minidl.ones(2, device=gpu).array, np.ones(2)
    check_one_device("add", a=here, b=here, c=3.0, d=None)
    with pytest.raises(DeviceError, match=r"add: .* a on gpu:0, b on cpu; move them with \.to"):
        check_one_device("add", a=here, b=there)


def test_the_gpu_of_a_tensor_is_made_current(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several GPUs, on which a test can't count: the second is only pretended."""
    entered = []

    class Pretended(contextlib.nullcontext[None]):
        def __init__(self, index: int) -> None:
            super().__init__()
            entered.append(index)

    x = minidl.ones(2, device=gpu, requires_grad=True)
    cuda = minidl.cuda.cupy().cuda
    monkeypatch.setattr(cuda.runtime, "getDevice", lambda: 1)
    monkeypatch.setattr(cuda, "Device", Pretended)
    for use in (
        lambda: x + x, lambda: x > 0, lambda: x.isnan(), lambda: minidl.zeros(2, device=gpu),
        lambda: minidl.full((2,), 1, device=gpu),
    ):  # fmt: skip
        entered.clear()
        use()
        assert entered and set(entered) == {0}
    y = (x * 1).sum()
    entered.clear()
    y.backward()
    assert len(entered) >= 2  # the sum's and the product's


def test_arrays_know_their_device() -> None:
    array = np.zeros(3)
    assert array_module(array) is np and array_module(np.float32(1)) is np
    assert device_of(array) == CPU and copy_to(array, CPU) is array
    x = minidl.zeros(3, device="cpu")
    assert x.device == CPU and not x.is_cuda
    assert x.cpu() is x and x.to("cpu") is x and x.to(CPU) is x
    assert x.to(minidl.zeros(1, dtype=minidl.float64)).dtype == np.float64
