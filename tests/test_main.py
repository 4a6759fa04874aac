"""``python -m minidl``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import minidl
from minidl import __main__ as program


def test_from_the_command_line() -> None:
    root = Path(minidl.__file__).parent.parent
    result = subprocess.run(
        [sys.executable, "-m", "minidl"], cwd=root, capture_output=True, text=True, check=True
    )
    for name in ("minidl", "Python", "numpy", "BLAS", "threads", "memory", "CuPy", "GPUs"):
        assert f"\n{name}:" in "\n" + result.stdout, result.stdout
    assert not result.stderr


def test_a_reader_that_has_read_enough() -> None:
    command = [sys.executable, "-m", "minidl", "inspect", "80sec"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_an_unknown_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(["nonsense"])
    assert caught.value.code == 2
    assert "nonsense" in capsys.readouterr().err
