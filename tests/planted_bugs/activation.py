"""Bugs to plant in activations: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "gpu: relu's gradient is a product: 0 times infinity is NaN",
        "minidl/kernels/cuda/relu.cu:relu_backward",
        "dx[i] = y[i] > 0 ? grad[i] : T(0);",
        "dx[i] = grad[i] * (y[i] > 0);",
        "tests/nn/test_activation.py::test_relu_blocks_infinite_and_nan_gradients",
        "gpu",
    ),
    (
        "softmax: the maximum is not subtracted first",
        "minidl.nn.softmax:log_softmax_forward",
        "x.max(axis=axis, keepdims=True)",
        "0",
        "tests/nn/test_softmax.py::test_softmax_of_large_numbers",
    ),
    (
        "one pass: ReLU loses NaN",
        "minidl.kernels.cpu.relu:rectify",
        "np.maximum(x, zeros[:x.size], out=y)",
        "np.fmax(x, zeros[:x.size], out=y)",
        "tests/nn/test_fusion.py::test_nan_and_infinity",
    ),
    (
        "one pass: the end of a block is not rectified",
        "minidl.kernels.cpu.relu:rectify",
        "np.maximum(x[whole:], zeros[:x.size - whole], out=y[whole:])",
        "y[whole:] = x[whole:]",
        "tests/nn/test_fusion.py::test_bits",
    ),
    (
        "elu: the slope lacks alpha",
        "minidl.nn.rectifiers:elu_forward",
        "alpha * xp.exp(low)",
        "xp.exp(low)",
        "tests/nn/test_rectifiers.py::TestELU",
    ),
    (
        "gelu: the lower tail is a difference of numbers close to 1",
        "minidl.nn.gelu:normal",
        "xp.where(x > 0, 1 - tail, tail)",
        "1 - xp.where(x > 0, tail, 1 - tail)",
        "tests/nn/test_gelu.py::test_the_normal_distribution_is_off_by_one_rounding",
    ),
]
