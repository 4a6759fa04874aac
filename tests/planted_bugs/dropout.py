"""Bugs to plant in dropout: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, what takes its place, the tests that must go red[, where they run].
BUGS = [
    (
        "gpu: dropout's backward forgets the scale",
        "minidl.nn.dropout:cuda.dropout_backward",
        "dx[i] = grad[i] * (mask[i] ? scale : T(0));",
        "dx[i] = mask[i] ? grad[i] : T(0);",
        "tests/nn/test_dropout.py::test_mask_scale_and_gradient",
        "gpu",
    ),
    (
        "gpu: float16's dropout draws on the host",
        "minidl.nn.dropout:_forward_numpy",
        "_forward_cuda(xp.zeros(x.shape, np.float32), key, p, 1.0, False)[1].view(np.bool_)",
        "xp.asarray(_mask_numpy(key, x.shape, p))",
        "tests/nn/test_dropout.py::test_gpu_draws_without_the_host",
        "gpu",
    ),
    (
        "dropout: another mask in the backward",
        "minidl.nn.dropout:_backward_numpy",
        "grad * factor",
        "grad * factor[::-1]",
        "tests/nn/test_dropout.py::test_mask_scale_and_gradient",
    ),
    (
        "dropout: kept with probability p",
        "minidl.nn.dropout:_mask_numpy.block",
        "np.greater_equal",
        "np.less",
        "tests/nn/test_dropout.py::test_rate",
    ),
    (
        "dropout: every block of the mask is the first",
        "minidl.nn.dropout:_mask_numpy.block",
        "start // _WORDS_PER_COUNTER",
        "0",
        "tests/nn/test_dropout.py::test_a_large_mask_does_not_repeat",
    ),
    (
        "dropout: the plain form does not scale at test",
        "minidl.nn.dropout:plain_dropout",
        "input * (1 - p)",
        "input * 1",
        "tests/nn/test_dropout.py::test_eval_is_deterministic",
    ),
]
