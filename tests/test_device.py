"""Devices: their names, what they are equal to, and errors where there is no GPU."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.device import CPU, array_module, copy_to, device_of
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


def test_arrays_know_their_device() -> None:
    array = np.zeros(3)
    assert array_module(array) is np and array_module(np.float32(1)) is np
    assert device_of(array) == CPU and copy_to(array, CPU) is array
    x = minidl.zeros(3, device="cpu")
    assert x.device == CPU and not x.is_cuda
    assert x.cpu() is x and x.to("cpu") is x and x.to(CPU) is x
    assert x.to(minidl.zeros(1, dtype=minidl.float64)).dtype == np.float64
