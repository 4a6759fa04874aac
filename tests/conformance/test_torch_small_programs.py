"""Small programs of in-place changes, numbers, hooks and modes give what PyTorch gave.

``torch_small_programs.json`` holds each program, in which ``T`` is the library, and what became of
the list ``R``, or the kinds of exception that PyTorch raised. After adding a program with an
outcome of null, run ``python tests/conformance/test_torch_small_programs.py`` to record it.
"""

from __future__ import annotations

import builtins
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl

FILE = Path(__file__).with_name("torch_small_programs.json")
PROGRAMS: list[list[Any]] = json.loads(FILE.read_text())
KINDS = ("IndexError", "KeyError", "TypeError", "ValueError", "RuntimeError")


def plain(value: Any) -> Any:
    """Return a result as JSON has it."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if not hasattr(value, "detach"):
        is_plain = value is None or isinstance(value, (str, bool, int, float))
        return value if is_plain else str(value).replace("torch.", "")
    dtype = str(value.dtype).replace("torch.", "")
    return [dtype, list(value.shape), value.detach().tolist(), value.requires_grad]


def outcome(library: Any, program: str) -> Any:
    """Return the results of a program, or the kinds of the exception that it raised."""
    results: list[Any] = []
    names = {
        "T": library, "F": library.nn.functional, "nn": library.nn, "np": np, "math": math,
        "Function": library.autograd.Function, "R": results,
    }  # fmt: skip
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(program, names)
    except Exception as error:
        return {"raises": [k for k in KINDS if isinstance(error, getattr(builtins, k))]}
    return [plain(result) for result in results]


def assert_alike(ours: Any, theirs: Any, rtol: float = 1e-5) -> None:
    """Compare results; float16 may differ in its last bit."""
    if isinstance(theirs, list):
        rtol = 2e-3 if theirs[:1] == ["float16"] else rtol
        assert isinstance(ours, list) and len(ours) == len(theirs), (ours, theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_alike(a, b, rtol)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, rel=rtol, abs=1e-7, nan_ok=True)
    else:
        assert type(ours) is type(theirs) and ours == theirs


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_outcome_is_pytorchs(number: int) -> None:
    program, expected = PROGRAMS[number]
    ours = outcome(minidl, program)
    if isinstance(expected, dict):
        assert isinstance(ours, dict), ours
        assert set(expected["raises"]) <= set(ours["raises"])
    else:
        assert_alike(ours, expected)


def record() -> None:
    """Record the outcomes that PyTorch gives."""
    import torch

    for entry in PROGRAMS:
        entry[1] = outcome(torch, entry[0])
    FILE.write_text("[\n" + ",\n".join(json.dumps(entry) for entry in PROGRAMS) + "\n]\n")


if __name__ == "__main__":
    record()
