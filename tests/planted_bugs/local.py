"""Bugs to plant in locally connected layers: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "local: the bias gradient is that of one image",
        "minidl.kernels.cpu.local:backward",
        "grads.sum(axis=3)",
        "grads[..., 0]",
        "tests/nn/test_local.py::test_large_batch",
    ),
    (
        "local: a run of positions gets the biases of the first ones",
        "minidl.kernels.cpu.local:forward.lane",
        "bias.transpose(1, 2, 0)[run]",
        "bias.transpose(1, 2, 0)[: run[0].stop - run[0].start, : run[1].stop - run[1].start]",
        "tests/nn/test_local.py::test_large_batch",
    ),
    (
        "local: all pieces of the input's gradient take the first channels' weights",
        "minidl.kernels.cpu.local:_input_gradient.lane",
        "weights[:, :, :, some]",
        "weights[:, :, :, :depth]",
        "tests/nn/test_local.py::test_large_batch",
    ),
]
