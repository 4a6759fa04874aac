"""Bugs to plant in locally connected layers: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "local: the bias gradient is that of one image",
        "minidl.kernels.cpu.local:backward",
        "grad.sum(axis=0)",
        "grad[0]",
        "tests/nn/test_local.py::test_large_batch",
    ),
]
