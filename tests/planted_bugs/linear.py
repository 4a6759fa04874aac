"""Bugs to plant in linear layers: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "gpu: linear's warps add sums not yet written",
        "minidl/kernels/cuda/linear.cu:write_sum",
        "partial[warp][lane] = sum;\n    __syncthreads();",
        "partial[warp][lane] = sum;",
        "tests/nn/test_linear.py::TestLinear::test_against_loops",
        "gpu-shuffled",
    ),
    (
        "gpu: the bias gradient ignores ReLU's mask",
        "minidl/kernels/cuda/linear.cu:sum_rectified_rows",
        "sum += A(passed);",
        "sum += grad[i];",
        "tests/nn/test_fusion.py::test_bits",
        "gpu",
    ),
    (
        "gpu: linear reads a bias of another dtype as its input's",
        "minidl.kernels.cuda.linear:forward",
        "cupy().ascontiguousarray(bias, y.dtype)",
        "cupy().ascontiguousarray(bias)",
        "tests/test_device.py::test_arguments_of_another_dtype",
        "gpu",
    ),
    (
        "linear: the bias gradient is the mean over the batch",
        "minidl.kernels.cpu.linear:backward",
        "grad.sum(axis=0) if want[2] else None",
        "grad.mean(axis=0) if want[2] else None",
        "tests/nn/test_linear.py::TestLinear::test_gradcheck",
    ),
    (
        "one pass: an overwritten result is not noticed",
        "minidl.nn.fusion:_LinearReLUFunction.forward",
        "ctx.save_for_backward(x, weight, y)",
        "ctx.save_for_backward(x, weight, y[:])",
        "tests/nn/test_fusion.py::test_changing_the_result_in_place_is_noticed",
    ),
]
