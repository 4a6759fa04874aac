"""Bugs to plant in the backward of the plain code that the course shows: see ``mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "plain code: ReLU passes the gradient where its output is 0",
        "minidl.nn.activation:relu_backward",
        "y > 0",
        "y >= 0",
        "tests/nn/test_activation.py::TestReLU",
    ),
    (
        "relu: the gradient passes where the output is 0",
        "minidl.kernels.cpu.relu:backward",
        "cpu.blockwise(lambda y, grad, dx: cpu.keep_where(y > 0, grad, dx), y, grad, dx)",
        "cpu.blockwise(lambda y, grad, dx: cpu.keep_where(y >= 0, grad, dx), y, grad, dx)",
        "tests/nn/test_activation.py::TestReLU",
    ),
    (
        "plain code: tanh's slope lacks the square",
        "minidl.nn.activation:tanh_backward",
        "1 - y * y",
        "1 - y",
        "tests/nn/test_activation.py::TestTanh",
    ),
    (
        "plain code: the bias of a linear layer sees the first sample alone",
        "minidl.nn.linear:backward",
        "grad.sum(axis=0)",
        "grad[0]",
        "tests/nn/test_linear.py::TestLinear",
    ),
    (
        "plain code: cross-entropy's gradient lacks the truth",
        "minidl.nn.cross_entropy:backward",
        "array_module(logs).exp(logs) * q.sum(axis=1, keepdims=True) - q",
        "array_module(logs).exp(logs) * q.sum(axis=1, keepdims=True)",
        "tests/nn/test_cross_entropy.py::test_gradcheck",
    ),
    (
        "plain code: the weights' gradient of a convolution forgets the groups' order",
        "minidl.nn.conv:backward",
        "xp.matmul(dy, columns.swapaxes(1, 2))",
        "xp.matmul(dy[::-1], columns.swapaxes(1, 2))",
        "tests/course/test_showing.py::test_the_plain_code_of_a_layer_agrees",
    ),
    (
        "plain code: max-pooling hands on gradients of 1",
        "minidl.nn.max_pool:backward",
        "xp.where(is_largest, grad[:, :, None], grad.dtype.type(0))",
        "is_largest.astype(grad.dtype)",
        "tests/nn/test_max_pool.py::TestMaxPool",
    ),
    (
        "plain code: LRN's gradient has no cross term",
        "minidl.nn.response_norm:backward",
        "g * s ** (-beta) - 2 * alpha * beta / size * maps * cross",
        "g * s ** (-beta)",
        "tests/nn/test_response_norm.py::TestLocalResponseNorm",
    ),
    (
        "plain code: dropout's gradient is not scaled",
        "minidl.nn.dropout:backward",
        "grad * (mask * grad.dtype.type(scale))",
        "grad * mask",
        "tests/course/test_showing.py::test_the_plain_code_of_a_layer_agrees",
    ),
]
