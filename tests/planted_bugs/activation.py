"""Bugs to plant in activations: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, what takes its place, the tests that must go red[, where they run].
BUGS = [
    (
        "gpu: relu's gradient is a product, so that 0 times infinity gets through",
        "minidl/kernels/cuda/relu.cu:relu_backward",
        "dx[i] = y[i] > 0 ? grad[i] : T(0);",
        "dx[i] = grad[i] * (y[i] > 0);",
        "tests/nn/test_activation.py::test_relu_blocks_infinite_and_nan_gradients",
        "gpu",
    ),
    (
        "softmax: the maximum is not taken off first",
        "minidl.nn.activation:log_softmax_array",
        "x.max(axis=axis, keepdims=True)",
        "0",
        "tests/nn/test_activation.py::test_softmax_of_large_numbers",
    ),
    (
        "one pass: NaN is lost on the way through ReLU",
        "minidl.kernels.cpu.relu:rectify",
        "np.maximum(x, zeros[:x.size], out=y)",
        "np.fmax(x, zeros[:x.size], out=y)",
        "tests/nn/test_fusion.py::test_nan_and_infinity",
    ),
    (
        "one pass: the end of a block is left as it is",
        "minidl.kernels.cpu.relu:rectify",
        "np.maximum(x[whole:], zeros[:x.size - whole], out=y[whole:])",
        "y[whole:] = x[whole:]",
        "tests/nn/test_fusion.py::test_bits",
    ),
]
