"""The linter and the type checker, as part of the test suite."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "command", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=" ".join
)
def test_is_clean(command: list[str]) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_import_needs_only_numpy() -> None:
    """``import minidl`` imports nothing heavy and starts no thread."""
    program = (
        "import sys, threading, minidl\n"
        "heavy = {'cupy', 'PIL', 'tqdm', 'safetensors', 'threadpoolctl', 'matplotlib', 'scipy',\n"
        "         'multiprocessing', 'concurrent.futures', 'torch'} & set(sys.modules)\n"
        "print(sorted(heavy), threading.active_count())"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[] 1"
