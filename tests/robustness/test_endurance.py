"""The short forms of the trials in ``tests/robustness``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location(
    "endurance_main", Path(__file__).with_name("__main__.py")
)
assert _SPEC is not None and _SPEC.loader is not None
_MAIN = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MAIN)
TRIALS = _MAIN.trials()


@pytest.mark.parametrize("name", TRIALS)
def test_short(name: str, tmp_path: Path) -> None:
    TRIALS[name].run(TRIALS[name].SHORT, tmp_path, seed=0)
