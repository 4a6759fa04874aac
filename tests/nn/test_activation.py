"""ReLU, tanh and sigmoid: values, gradients, extremes, layouts."""

from __future__ import annotations

import math
from typing import Any

import helpers
import numpy as np
import operation
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn


def standard_tests(function: Any, definition: Any, slope: Any, module: nn.Module) -> type:
    """The tests of a function that is defined on a number, with its slope there."""

    def backward(grad: Any, x: Any) -> Any:
        return grad * np.vectorize(slope, otypes=[float])(x)

    return operation.standard_tests(
        function,
        np.vectorize(definition, otypes=[float]),
        [operation.Case((3, 4, 5, 2))],
        loops_backward=backward,
        any_case=operation.st.builds(operation.Case, operation.shapes()),
        large=operation.Case((37, 8, 25, 21)),
        values=lambda shape, seed, dtype: np.asarray(helpers.values(shape, seed) * 4, dtype),
        modules=[(module, {})],
        torch=function.__name__,
    )


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


TestReLU = standard_tests(F.relu, lambda v: max(v, 0.0), lambda v: float(v > 0), nn.ReLU())
TestTanh = standard_tests(F.tanh, math.tanh, lambda v: 1 - math.tanh(v) ** 2, nn.Tanh())
TestSigmoid = standard_tests(
    F.sigmoid, logistic, lambda v: logistic(v) * logistic(-v), nn.Sigmoid()
)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("function", [F.relu, F.tanh, F.sigmoid])
def test_gradcheck(function: Any, shape: tuple[int, ...], device: str) -> None:
    assert minidl.gradcheck(function, (helpers.leaf(helpers.values(shape, 0), device),))


@pytest.mark.parametrize("function", [F.relu, F.tanh, F.sigmoid])
def test_arrays_large_enough_for_lanes(function: Any, device: str) -> None:
    x = helpers.values((37, 8, 25, 21), 0, np.float32)
    leaf = helpers.leaf(helpers.LAYOUTS["channels_last"](x), device)
    out = function(leaf)
    small = np.stack([helpers.host(function(minidl.tensor(image, device=device))) for image in x])
    np.testing.assert_array_equal(helpers.host(out), small)


def test_relu_has_slope_0_at_0(device: str) -> None:
    x = helpers.leaf(np.array([-1.0, -0.0, 0.0, 2.0]), device)
    F.relu(x).sum().backward()
    assert x.grad.tolist() == [0, 0, 0, 1]


def test_relu_keeps_nan(device: str) -> None:
    out = helpers.host(F.relu(minidl.tensor([math.nan, -1.0, 1.0], device=device)))
    assert math.isnan(out[0]) and out[1:].tolist() == [0, 1]


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
def test_sigmoid_saturates_without_overflow(dtype: Any, device: str) -> None:
    x = helpers.leaf(np.array([-1e4, -100.0, 100.0, 1e4], dtype), device)
    out = F.sigmoid(x)
    np.testing.assert_allclose(helpers.host(out), [0, 0, 1, 1], atol=1e-40)
    out.sum().backward()
    np.testing.assert_allclose(helpers.host(x.grad), 0, atol=1e-40)


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
def test_sigmoid_of_negative_numbers_keeps_its_relative_precision(dtype: Any, device: str) -> None:
    """log(sigmoid(-30)) is -30, not -inf: (1 + tanh(x/2)) / 2 would cancel to 0."""
    x = np.array([-5.0, -20.0, -30.0, -80.0], dtype)
    out = helpers.host(F.sigmoid(minidl.tensor(x, device=device)))
    expected = np.exp(x.astype(float)) / (1 + np.exp(x.astype(float)))
    np.testing.assert_allclose(out, expected, rtol=8 * np.finfo(dtype).eps)


def test_relu_blocks_infinite_and_nan_gradients(device: str) -> None:
    """A dead unit passes 0 on, not 0·inf."""
    x = helpers.leaf(np.array([-1.0, -1.0, 0.0, 2.0]), device)
    F.relu(x).backward(minidl.tensor([math.inf, math.nan, math.inf, math.inf], device=device))
    assert x.grad.tolist() == [0, 0, 0, math.inf]


def test_inplace_is_accepted(device: str) -> None:
    x = minidl.tensor([-1.0, 2.0], device=device)
    assert nn.ReLU(inplace=True)(x).tolist() == [0, 2]
    assert F.relu(minidl.tensor([-1.0, 2.0]), inplace=True).tolist() == [0, 2]


def test_inplace_relu_after_an_operation_has_the_right_gradient(device: str) -> None:
    x = helpers.leaf(helpers.values((4, 5), 0), device)
    assert minidl.gradcheck(lambda x: F.relu(x + 0.25, inplace=True) * 2, (x,))


# --- The kernels ----------------------------------------------------------------------------------

KERNELS: dict[str, tuple[Any, dict[str, int], dict[str, int]]] = {
    "relu": (F.relu, {"relu_forward": 1}, {"relu_backward": 1}),
    "tanh": (F.tanh, {"tanh_forward": 1}, {"tanh_backward": 1}),
    "sigmoid": (F.sigmoid, {"sigmoid_forward": 1}, {"sigmoid_backward": 1}),
}


@pytest.mark.parametrize("name", KERNELS)
def test_gpu_one_launch_each_way_without_copies(name: str, gpu: str, simulator: Any) -> None:
    function, forward, backward = KERNELS[name]
    x = helpers.leaf(helpers.values((3, 5, 4, 70), 0, np.float32), gpu)
    function(x).sum().backward()  # compiles
    x.grad = None
    with simulator.count() as there:
        out = function(x)
    grad = minidl.ones(out.shape, device=gpu)
    with simulator.count() as back:
        out.backward(grad)
    assert (dict(there.kernels), dict(back.kernels)) == (forward, backward)
    for used in (there, back):
        assert (used.syncs, used.h2d, used.d2h, used.d2d) == (0, 0, 0, 0)


@pytest.mark.parametrize("function", [F.relu, F.sigmoid, F.tanh])
def test_gpu_keeps_the_layout_of_images(function: Any, gpu: str) -> None:
    xp = minidl.cuda.cupy()
    memory = xp.asarray(helpers.values((5, 3, 4, 7), 0, np.float32))
    x = minidl.Tensor(memory.transpose(1, 0, 2, 3)).requires_grad_()
    out = function(x)
    out.backward(minidl.Tensor(xp.ones(out.shape, np.float32)))
    for array in (out.array, x.grad.array):
        assert array.transpose(1, 0, 2, 3).flags.c_contiguous


@pytest.mark.parametrize("layout", [name for name in helpers.LAYOUTS if name != "expanded"])
def test_relu_overwrites_any_layout(layout: str, device: str) -> None:
    x = helpers.values((4, 5, 6, 3), 0, np.float32)
    tensor = helpers.leaf(helpers.LAYOUTS[layout](x.copy()), device, requires_grad=False)
    memory = tensor.array
    assert F.relu(tensor, inplace=True).array is memory
    np.testing.assert_array_equal(helpers.host(tensor), x.clip(0))
