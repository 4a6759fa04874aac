"""Bugs to plant in batch normalization: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "gpu: batch norm's threads add before others have written",
        "minidl/kernels/cuda/batch_norm.cu:of_block",
        "for (int half = BLOCK / 2; half > 0; half /= 2) {\n        __syncthreads();",
        "__syncthreads();\n    for (int half = BLOCK / 2; half > 0; half /= 2) {",
        "tests/nn/test_batch_norm.py::test_batch_norm",
        "gpu-shuffled",
    ),
    (
        "gpu: batch norm's running variance is biased",
        "minidl/kernels/cuda/batch_norm.cu:normalize",
        "all.squares / max(count - 1, 1LL)",
        "all.squares / max(count, 1LL)",
        "tests/nn/test_batch_norm.py::test_running_variance_is_unbiased_and_the_output_is_not",
        "gpu",
    ),
    (
        "batch norm: the running variance is biased",
        "minidl.kernels.cpu.batch_norm:forward",
        "count / max(count - 1, 1)",
        "1.0",
        "tests/nn/test_batch_norm.py::test_running_variance_is_unbiased_and_the_output_is_not",
    ),
    (
        "batch norm: the output's variance is unbiased",
        "minidl.kernels.cpu.batch_norm:forward",
        "cpu.sum_rows(_map_images(square, rows)) / x.dtype.type(count)",
        "cpu.sum_rows(_map_images(square, rows)) / x.dtype.type(count - 1)",
        "tests/nn/test_batch_norm.py::test_running_variance_is_unbiased_and_the_output_is_not",
    ),
    (
        "batch norm: the mean's part of the gradient is dropped",
        "minidl.kernels.cpu.batch_norm:backward.input_gradient",
        "out -= dbias / n",
        "out -= 0 * dbias / n",
        "tests/nn/test_batch_norm.py::test_batch_norm_gradcheck",
    ),
    (
        "batch norm: the plain code's running variance is biased",
        "minidl.nn.batch_norm:statistics",
        "n / max(n - 1, 1)",
        "1.0",
        "tests/nn/test_batch_norm.py::test_running_variance_is_unbiased_and_the_output_is_not",
    ),
    (
        "group norm: the gradient through the variance is dropped",
        "minidl.nn.group_norm:backward",
        "a - through_mean - through_var",
        "a - through_mean",
        "tests/nn/test_group_norm.py::TestGroupNorm::test_gradcheck",
    ),
]
