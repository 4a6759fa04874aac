"""Every CUDA source of the library compiles with NVRTC for every supported GPU.

This needs the compiler (``nvidia-cuda-nvrtc``) and CuPy, which calls it, but no GPU. The
operations' own tests check the results (``pytest --device=gpu-simulated``).
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cupy_on_cpu import nvrtc_check

import minidl
from minidl import kernels
from minidl.kernels import cuda

ROOT = Path(minidl.__file__).parent.parent

#: Turing, Ampere (data center, desktop), Ada, Hopper, Blackwell (data center, desktop); the oldest,
#: the newest and one between unless EVERY_ARCHITECTURE is set, as CI does.
ARCHITECTURES = (
    (75, 80, 86, 89, 90, 100, 120) if "EVERY_ARCHITECTURE" in os.environ else (75, 90, 120)
)
OPTIONS = ("-std=c++14",)  # as in Source.launch

#: The kernels with indices for huge arrays, for sm_90.
WIDE = -90


def all_modules() -> list[ModuleType]:
    found = pkgutil.walk_packages(minidl.__path__, "minidl.")
    return [
        importlib.import_module(module.name) for module in found if "__main__" not in module.name
    ]


def file_of(module: ModuleType) -> Path:
    assert module.__file__ is not None
    return Path(module.__file__).relative_to(ROOT)


def names_made_in(module: ModuleType) -> list[str]:
    text = (ROOT / file_of(module)).read_text(encoding="utf-8")
    return re.findall(r"^(\w+) = (?:cuda\.)?(?:Many)?Source\(", text, re.MULTILINE)


def find_sources() -> dict[str, cuda.Source]:
    """Return the sources of all modules by file name."""
    modules = all_modules()
    found: dict[str, cuda.Source] = {}
    for source in cuda.sources:
        homes = [
            (module, name)
            for module in modules
            for name, value in vars(module).items()
            if source is value or source is getattr(value, "source", None)  # of a ManySource
        ]
        if homes:  # otherwise it belongs to a test
            # If several files have the source, choose the one that makes it.
            makers = [home for home in homes if home[1] in names_made_in(home[0])]
            module, name = (makers or homes)[0]
            file = str(file_of(module))
            found[file if file not in found else f"{file}:{name}"] = source
    return found


SOURCES = find_sources()
ALL = pytest.mark.parametrize("file", SOURCES)
DTYPES = pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])


def is_for(dtype: str, file: str) -> bool:
    """Return whether the kernels of a file compute with numbers of `dtype`."""
    name = Path(file).stem
    return name in {*kernels.HALF, "cast"} if dtype == "float16" else name != "cast"


@pytest.fixture(scope="module")
def supported() -> tuple[int, ...]:
    try:
        return nvrtc_check.supported_architectures()
    except Exception as error:  # CuPy is missing, or does not find the library
        pytest.skip(f"needs NVRTC (nvidia-cuda-nvrtc) and CuPy: {error}")


@pytest.fixture(scope="module")
def summaries(supported: tuple[int, ...]) -> dict[tuple[str, str, int], dict[str, Any]]:
    keys = [
        (file, dtype, architecture)
        for file in SOURCES
        for dtype in ("float16", "float32", "float64")
        for architecture in (*ARCHITECTURES, WIDE)
        if abs(architecture) in supported and is_for(dtype, file)
    ]
    calls = [
        (SOURCES[file].source(dtype, "int" if arch > 0 else "long long"), abs(arch), OPTIONS)
        for file, dtype, arch in keys
    ]
    return dict(zip(keys, nvrtc_check.in_parallel(nvrtc_check.summary, calls), strict=True))


@pytest.mark.parametrize("architecture", (*ARCHITECTURES, WIDE))
@DTYPES
@ALL
def test_compiles_into_registers(
    file: str, dtype: str, architecture: int, summaries: dict[tuple[str, str, int], dict[str, Any]]
) -> None:
    key = (file, dtype, architecture)
    if not is_for(dtype, file):
        pytest.skip("no kernel of this dtype")
    if key not in summaries:
        pytest.skip(f"this NVRTC does not know sm_{architecture}")
    summary = summaries[key]
    where = f"{file}, {dtype}, sm_{architecture}"
    assert "error" not in summary, f"{where}: NVRTC rejects it:\n{summary['error']}"
    assert summary["reports"], f"{where}: there is no kernel in the source"
    for report in summary["reports"]:
        kernel = f"{where}: kernel {report['kernel']}"
        spilled = report["spill_store_bytes"] + report["spill_load_bytes"]
        assert spilled == 0, f"{kernel} has too few registers and spills {spilled} bytes"
        own = report["stack_bytes"]
        assert own == 0, f"{kernel} keeps {own} bytes per thread in memory, not in registers"


@ALL
def test_float32_is_not_computed_in_float64(file: str, supported: tuple[int, ...]) -> None:
    calls = [(source.source("float32"), 90, OPTIONS) for source in SOURCES.values()]
    answers = dict(
        zip(SOURCES, nvrtc_check.in_parallel(nvrtc_check.double_instructions, calls), strict=True)
    )
    found = answers[file]
    assert not found, f"{file}: {len(found)} float64 instructions; the first is {found[0]}"


def test_the_sources_are_found() -> None:
    """The tests above must not pass for lack of sources."""
    modules = [
        importlib.import_module(f"minidl.{name}")
        for name in ("kernels.cuda.conv", "kernels.cuda.sgd")
    ]
    assert all(str(file_of(module)) in SOURCES for module in modules)
    assert len(SOURCES) == sum(len(names_made_in(module)) for module in all_modules())


def test_a_bad_kernel_is_found(supported: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """g++ accepts headers that NVRTC lacks, and float64 literals, which are slow on a GPU."""
    monkeypatch.setattr(cuda, "sources", [])
    with_header = '#include <cmath>\nextern "C" __global__ void k(T* x) { *x = std::sqrt(*x); }'
    summary = nvrtc_check.summary(cuda.Source(with_header).source("float32"), 90, OPTIONS)
    assert "cmath" in summary["error"]
    doubled = cuda.Source('extern "C" __global__ void k(T* x) { *x *= 0.1; }')
    assert nvrtc_check.double_instructions(doubled.source("float32"), 90, OPTIONS)
    assert nvrtc_check.double_instructions(doubled.source("float64"), 90, OPTIONS)
