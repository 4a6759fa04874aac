"""minidl.training.machine: it reports whatever state CuPy and the driver are in."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import DeviceError
from minidl.kernels import cuda
from minidl.training import machine


def lines() -> dict[str, str]:
    pairs = (line.split(": ", 1) for line in machine.report().splitlines())
    return {name: value.strip() for name, value in pairs}


def broken(error: Exception) -> Any:
    """Return a function that raises."""

    def ask(*args: Any) -> Any:
        raise error

    return ask


def stand_in(**runtime: Any) -> Any:
    """Return an object that looks like CuPy."""
    asked = {
        "runtimeGetVersion": lambda: 12090,
        "driverGetVersion": lambda: 13000,
        "getDeviceCount": lambda: 0,
        **runtime,
    }
    return lambda: SimpleNamespace(
        __version__="14.2.0", cuda=SimpleNamespace(runtime=SimpleNamespace(**asked))
    )


def test_versions_are_those_in_use() -> None:
    found = lines()
    assert found["minidl"] == minidl.__version__
    assert found["numpy"] == np.__version__
    assert found["threads"] == str(minidl.get_num_threads())
    assert found["cores"].endswith(f"of {os.cpu_count()}")


def test_the_simulated_card_is_listed(gpu: str) -> None:
    found = lines()
    assert "compute capability 9.0" in found["gpu:0"] and "GiB" in found["gpu:0"]
    assert found["CUDA runtime"].count(".") == 1


def test_without_cupy_the_command_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "cupy", broken(DeviceError("no CuPy")))
    monkeypatch.setattr(machine, "CUPY_PACKAGES", ())
    found = lines()
    assert "pip install 'cupy-cuda12x[ctk]'" in found["CuPy"]
    assert found["GPUs"] == "none without CuPy"


@pytest.mark.parametrize("error", [RuntimeError("half\nupdated"), AttributeError(), OSError("x")])
def test_a_broken_cupy(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(cuda, "cupy", broken(error))
    monkeypatch.setattr(machine, "CUPY_PACKAGES", ("numpy",))
    found = lines()
    assert type(error).__name__ in found["CuPy"] and "updated" not in found["CuPy"]
    assert "pip install --force-reinstall 'numpy[ctk]'" in found["CuPy"]


def test_two_packages_of_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "cupy", stand_in())
    monkeypatch.setattr(machine, "CUPY_PACKAGES", ("numpy", "pillow"))
    text = machine.report()
    assert "installed 2 times" in text and "pip uninstall numpy pillow" in text


def test_without_a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "cupy", stand_in())
    found = lines()
    assert found["CUDA runtime"] == "12.9"
    assert found["NVIDIA driver"] == "up to CUDA 13.0"
    assert found["GPUs"].startswith("none: check that nvidia-smi lists the card")


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = broken(RuntimeError("insufficient driver"))
    monkeypatch.setattr(cuda, "cupy", stand_in(driverGetVersion=lambda: 0, getDeviceCount=silent))
    found = lines()
    assert "nvidia.com/drivers" in found["NVIDIA driver"]
    assert "insufficient driver" in found["GPUs"]


def test_a_failing_card_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    dead = broken(RuntimeError("fell off the bus"))
    cards = stand_in(getDeviceCount=lambda: 2, getDeviceProperties=dead)
    monkeypatch.setattr(cuda, "cupy", cards)
    found = lines()
    assert "fell off the bus" in found["gpu:0"] and "fell off the bus" in found["gpu:1"]


def test_the_rest_is_reported_whatever_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_packages", broken(ValueError("odd metadata")))
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(machine, "_memory", broken(ValueError("no sysconf")))
    text = machine.report()
    assert "odd metadata" in text and "no sysconf" in text
    assert "pip install threadpoolctl" in text
