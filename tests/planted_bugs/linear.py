"""Bugs to plant in linear layers: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, what takes its place, the tests that must go red[, where they run].
BUGS = [
    (
        "gpu: linear's warps add up what the others have not written yet",
        "minidl.nn.linear:cuda.write_sum",
        "partial[warp][lane] = sum;\n    __syncthreads();",
        "partial[warp][lane] = sum;",
        "tests/nn/test_linear.py::TestLinear::test_against_loops",
        "gpu-shuffled",
    ),
    (
        "gpu: the bias' gradient counts what ReLU held back",
        "minidl.nn.linear:cuda.sum_rectified_rows",
        "sum += passed;",
        "sum += grad[i];",
        "tests/nn/test_one_pass.py::test_bits",
        "gpu",
    ),
    (
        "gpu: linear reads a bias of another dtype as its own",
        "minidl.nn.linear:_forward_cuda",
        "cuda.cupy().ascontiguousarray(bias, y.dtype)",
        "cuda.cupy().ascontiguousarray(bias)",
        "tests/test_device.py::test_arguments_of_another_dtype",
        "gpu",
    ),
    (
        "linear: the bias gradient is the mean over the batch",
        "minidl.nn.linear:LinearFunction.backward",
        "dy.sum(axis=0) if need_bias else None",
        "dy.mean(axis=0) if need_bias else None",
        "tests/nn/test_linear.py::TestLinear::test_gradcheck",
    ),
    (
        "one pass: an overwritten result is not noticed",
        "minidl.nn.linear:LinearFunction.forward",
        "y if relu else None",
        "y[:] if relu else None",
        "tests/nn/test_one_pass.py::test_changing_the_result_in_place_is_noticed",
    ),
]
