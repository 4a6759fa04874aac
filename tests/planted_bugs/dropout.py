"""Bugs to plant in dropout: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "gpu: dropout's backward forgets the scale",
        "minidl/kernels/cuda/dropout.cu:dropout_backward",
        "dx[i] = A(grad[i]) * (mask[i] ? scale : A(0));",
        "dx[i] = mask[i] ? grad[i] : T(0);",
        "tests/nn/test_dropout.py::test_mask_scale_and_gradient",
        "gpu",
    ),
    (
        "dropout: the backward uses another mask",
        "minidl.kernels.cpu.dropout:backward",
        "grad * mask",
        "grad * mask[::-1]",
        "tests/nn/test_dropout.py::test_mask_scale_and_gradient",
    ),
    (
        "dropout: kept with probability p",
        "minidl.kernels.cpu.dropout:_mask.block",
        "np.greater_equal",
        "np.less",
        "tests/nn/test_dropout.py::test_rate",
    ),
    (
        "dropout: every block of the mask equals the first",
        "minidl.kernels.cpu.dropout:_mask.block",
        "start // _WORDS_PER_COUNTER",
        "0",
        "tests/nn/test_dropout.py::test_a_large_mask_does_not_repeat",
    ),
    (
        "dropout: the paper's form does not scale when evaluating",
        "minidl.nn.dropout:plain_dropout",
        "input * (1 - p)",
        "input * 1",
        "tests/nn/test_dropout.py::test_eval_is_deterministic",
    ),
    (
        "dropout: the plain code reads the high half of a word first",
        "minidl.nn.dropout:_draw",
        "'<u8'",
        "'>u8'",
        "tests/nn/test_dropout.py::test_plain_code_draws_the_kernels_mask",
    ),
]
