"""The machine and the versions in use: what a bug report and a run's report need to say.

:func:`report` covers versions, BLAS, threads, memory, CuPy and the GPUs. For whatever is missing it
gives the command that installs it. It never fails: a question without an answer becomes a line of
the report. :func:`versions` is the short form that a checkpoint keeps.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import metadata
from typing import Any

import numpy as np

from ..kernels import cuda
from ..kernels.cpu import get_num_threads
from ..version import __version__

__all__ = ["report", "versions"]

#: The packages that minidl works with, by pip's names, and their purposes.
PACKAGES = {
    "numpy": "everything",
    "pillow": "reading pictures",
    "safetensors": "checkpoints",
    "threadpoolctl": "the threads of BLAS",
    "tqdm": "progress bars",
    "matplotlib": "curves and filters, optional",
    "tensorboardX": "TensorBoard, optional",
    "scipy": "ImageNet's meta.mat, optional",
}

#: CuPy has one package for each major version of CUDA. Two of them installed together break CuPy.
CUPY_PACKAGES = ("cupy-cuda12x", "cupy-cuda13x", "cupy-cuda11x", "cupy", "cupy-rocm-7-0")

Line = tuple[str, str]


def versions() -> dict[str, str]:
    """Return what the last bits of a result depend on: the versions and the kind of machine.

    Examples
    --------
    >>> list(versions())
    ['minidl', 'numpy', 'python', 'platform']
    """
    return {
        "minidl": __version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def report(gpu: bool = True) -> str:
    """Return the report of the machine, one ``name: value`` a line.

    Parameters
    ----------
    gpu : bool, default True
        Include CuPy and the GPUs, which imports CuPy.
    """
    lines: list[Line] = []
    for part in (_system, _packages, _blas, _cores, *((_cupy, _devices) if gpu else ())):
        try:
            for line in part():  # one by one, to keep the lines before an error
                lines.append(line)
        except Exception as error:  # a report with a gap is worth more than none
            lines.append(
                (getattr(part, "__name__", "?").strip("_"), f"can't be asked: {_short(error)}")
            )
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name + ':':{width + 1}} {value}" for name, value in lines)


def _short(error: BaseException) -> str:
    """Return an error's type and the first line of its text."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _try(ask: Callable[[], object]) -> str:
    """Return the answer as text, or the reason why there is none."""
    try:
        return str(ask())
    except Exception as error:
        return f"unknown ({_short(error)})"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# --- The CPU --------------------------------------------------------------------------------------


def _system() -> Iterator[Line]:
    yield "minidl", __version__
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "executable", sys.executable
    yield "system", platform.platform()
    yield "processor", _try(_processor)


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _packages() -> Iterator[Line]:
    for name, purpose in PACKAGES.items():
        version = _version(name)
        yield name, version or f"missing ({purpose}): pip install {name}"


def _blas() -> Iterator[Line]:
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError as error:
        yield "BLAS", f"unknown without threadpoolctl ({_short(error)}): pip install threadpoolctl"
        return
    pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
    for pool in pools:
        kernels = pool.get("architecture")
        yield (
            "BLAS",
            f"{pool['internal_api']} {pool['version']}, "
            + (f"kernels for {kernels}, " if kernels else "")
            + f"{pool['num_threads']} threads ({pool.get('threading_layer', 'own')})",
        )
    if not pools:
        yield "BLAS", "none that threadpoolctl knows: its threads can't be limited"


def _cores() -> Iterator[Line]:
    yield "threads", _try(get_num_threads)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cores", f"{usable} usable of {os.cpu_count()}"
    yield "memory", _try(_memory)
    variables = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith(("OMP_", "OPENBLAS_", "MKL_", "CUPY_", "CUDA_", "NVIDIA_TF32"))
    ]
    yield "environment", " ".join(variables) or "no variable that steers BLAS, OpenMP or CUDA"


def _memory() -> str:
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = (os.sysconf(f"SC_{what}_PAGES") * page / 2**30 for what in ("PHYS", "AVPHYS"))
    return f"{total:.1f} GiB, {free:.1f} GiB of it free"


# --- The GPU --------------------------------------------------------------------------------------


def _cuda_version(number: int) -> str:
    """Return CUDA's version number, such as 12090, as "12.9"."""
    return f"{number // 1000}.{number % 1000 // 10}" if number else "none"


def _cupy() -> Iterator[Line]:
    found = [f"{name} {_version(name)}" for name in CUPY_PACKAGES if _version(name)]
    if len(found) > 1:
        names = " ".join(line.split()[0] for line in found)
        yield (
            "CuPy",
            f"installed {len(found)} times ({', '.join(found)}), which breaks it: "
            f"pip uninstall {names}, then install one of them",
        )
    try:
        xp = cuda.cupy()
    except Exception as error:  # a broken installation raises anything
        cause = error.__cause__ or error
        if found:
            name = found[0].split()[0]
            repair = f"pip install --force-reinstall '{name}[ctk]'"
            yield "CuPy", f"{found[0]} is installed but can't be loaded ({_short(cause)}): {repair}"
        else:
            yield "CuPy", f"missing (the GPU): {cuda.HOW_TO_INSTALL}"
        return
    yield "CuPy", f"{_try(lambda: xp.__version__)} ({', '.join(found) or 'not from a package'})"
    runtime = xp.cuda.runtime
    yield "CUDA runtime", _try(lambda: _cuda_version(runtime.runtimeGetVersion()))
    driver = _try(lambda: _cuda_version(runtime.driverGetVersion()))
    if driver == "none" or driver.startswith("unknown"):
        driver += ": install NVIDIA's driver from https://www.nvidia.com/drivers, then nvidia-smi"
    else:
        driver = f"up to CUDA {driver}"
    yield "NVIDIA driver", driver
    yield "NVRTC", _nvrtc()


def _nvrtc() -> str:
    """Return the version of NVRTC, which compiles the kernels."""
    try:
        nvrtc = importlib.import_module("cupy_backends.cuda.libs.nvrtc")
        return ".".join(map(str, nvrtc.getVersion()))
    except Exception as error:
        return f"missing ({_short(error)}), kernels can't be compiled: {cuda.HOW_TO_INSTALL}"


def _devices() -> Iterator[Line]:
    try:
        xp = cuda.cupy()
    except Exception:
        yield "GPUs", "none without CuPy"
        return
    try:
        count = int(xp.cuda.runtime.getDeviceCount())
    except Exception as error:
        yield "GPUs", f"none answers ({_short(error)}): check that nvidia-smi lists the card"
        return
    if count == 0:
        yield "GPUs", "none: check that nvidia-smi lists the card, and CUDA_VISIBLE_DEVICES"
    for index in range(count):
        yield f"gpu:{index}", _try(partial(_device, xp, index))


def _device(xp: Any, index: int) -> str:
    """Describe a card: its name, memory, compute capability and number of multiprocessors."""
    runtime = xp.cuda.runtime
    properties = runtime.getDeviceProperties(index)
    name = properties["name"]
    name = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    with xp.cuda.Device(index):
        free, total = runtime.memGetInfo()
    return (
        f"{name}, {total / 2**30:.1f} GiB, {free / 2**30:.1f} GiB of it free, compute capability "
        f"{properties['major']}.{properties['minor']}, "
        f"{properties['multiProcessorCount']} multiprocessors"
    )
