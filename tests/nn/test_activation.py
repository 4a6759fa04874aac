"""Activations: values, gradients, extremes, layouts."""

from __future__ import annotations

import math
from typing import Any

import helpers
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError

# Function, its definition on a number, and its slope.
POINTWISE: dict[str, tuple[Any, Any, Any]] = {
    "relu": (F.relu, lambda v: max(v, 0.0), lambda v: float(v > 0)),
    "tanh": (F.tanh, math.tanh, lambda v: 1 - math.tanh(v) ** 2),
    "sigmoid": (
        F.sigmoid,
        lambda v: 1 / (1 + math.exp(-v)),
        lambda v: math.exp(-v) / (1 + math.exp(-v)) ** 2,
    ),
}
MODULES = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "sigmoid": nn.Sigmoid()}


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
@pytest.mark.parametrize("name", POINTWISE)
def test_values_and_slopes(name: str, layout: str, dtype: Any, device: str) -> None:
    function, definition, slope = POINTWISE[name]
    x = helpers.LAYOUTS[layout](helpers.values((3, 4, 5, 2), 0, dtype) * dtype.type(4))
    leaf = helpers.leaf(x, device)
    out = function(leaf)
    assert out.dtype == dtype
    helpers.assert_close(out, np.vectorize(definition)(x.astype(float)), 2)
    grad = helpers.LAYOUTS[layout](helpers.values(x.shape, 1, dtype))
    out.backward(helpers.leaf(grad, device, requires_grad=False))
    helpers.assert_close(leaf.grad, grad * np.vectorize(slope)(x.astype(float)), 4)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("name", POINTWISE)
def test_gradcheck(name: str, shape: tuple[int, ...], device: str) -> None:
    assert minidl.gradcheck(POINTWISE[name][0], (helpers.leaf(helpers.values(shape, 0), device),))


@pytest.mark.parametrize("name", POINTWISE)
def test_modules_are_the_functions(name: str, device: str) -> None:
    x = minidl.tensor(helpers.values((3, 4), 0, np.float32), device=device)
    np.testing.assert_array_equal(
        helpers.host(MODULES[name](x)), helpers.host(POINTWISE[name][0](x))
    )


@pytest.mark.parametrize("name", POINTWISE)
def test_arrays_large_enough_for_lanes(name: str, device: str) -> None:
    function, _, _ = POINTWISE[name]
    x = helpers.values((37, 8, 25, 21), 0, np.float32)
    leaf = helpers.leaf(helpers.LAYOUTS["channels_last"](x), device)
    out = function(leaf)
    small = np.stack([helpers.host(function(minidl.tensor(image, device=device))) for image in x])
    np.testing.assert_array_equal(helpers.host(out), small)
    grad = helpers.values(x.shape, 1, np.float32)
    out.backward(minidl.tensor(grad, device=device))
    slope = {"relu": small > 0, "tanh": 1 - small**2, "sigmoid": small * (1 - small)}[name]
    helpers.assert_close(leaf.grad, grad.astype(float) * slope, 4)


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


# ---- softmax ----


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    dim=st.integers(0, 3),
    negative=st.booleans(),
    dtype=st.sampled_from(helpers.DTYPES),
    layout=st.sampled_from(sorted(helpers.LAYOUTS)),
)
def test_any_softmax(
    shape: list[int], dim: int, negative: bool, dtype: Any, layout: str, device: str
) -> None:
    dim = dim % len(shape) - (len(shape) if negative else 0)
    x = helpers.values(tuple(shape), 0, dtype) * dtype.type(3)
    if len(shape) == 4:
        x = helpers.LAYOUTS[layout](x)
    expected = reference.softmax(x, dim)
    helpers.assert_close(F.softmax(helpers.leaf(x, device), dim), expected, 8)
    helpers.assert_close(
        F.log_softmax(helpers.leaf(x, device), dim), reference.log_softmax(x, dim), 8
    )
    grad = helpers.values(x.shape, 1, dtype).astype(float)
    for function, right in [
        (F.softmax, expected * (grad - (grad * expected).sum(dim, keepdims=True))),
        (F.log_softmax, grad - expected * grad.sum(dim, keepdims=True)),
    ]:
        leaf = helpers.leaf(x, device)
        function(leaf, dim).backward(minidl.tensor(grad, dtype=dtype, device=device))
        helpers.assert_close(leaf.grad, right, 16)


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_gradcheck(function: Any, dim: int, device: str) -> None:
    x = helpers.leaf(helpers.values((3, 4, 2), 0), device)
    assert minidl.gradcheck(lambda x: function(x, dim), (x,), atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
def test_softmax_of_large_numbers(dtype: Any, device: str) -> None:
    x = minidl.tensor(np.array([[1000.0, 0.0, -1000.0]], dtype), device=device)
    assert F.softmax(x, 1).tolist() == [[1, 0, 0]]
    assert F.log_softmax(x, 1).tolist() == [[0, -1000, -2000]]


def test_softmax_of_an_empty_batch() -> None:
    assert F.softmax(minidl.zeros(0, 3), 1).shape == (0, 3)
    assert F.log_softmax(minidl.zeros(0, 3), 1).shape == (0, 3)


def test_softmax_modules() -> None:
    x = minidl.tensor(helpers.values((3, 4), 0))
    assert nn.Softmax(dim=0)(x).tolist() == F.softmax(x, 0).tolist()
    assert nn.LogSoftmax(dim=1)(x).tolist() == F.log_softmax(x, 1).tolist()


def test_softmax_errors_name_the_argument() -> None:
    for function in (F.softmax, F.log_softmax):
        with pytest.raises((MinidlError, IndexError), match="dim"):
            function(minidl.zeros(2, 3), 2)


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "softmax", "log_softmax"])
def test_same_as_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    x = helpers.values((4, 5), 0) * 5
    arguments = (1,) if "softmax" in name else ()
    ours, theirs = helpers.leaf(x), torch.tensor(x, requires_grad=True)
    out = getattr(F, name)(ours, *arguments)
    expected = getattr(torch, name)(theirs, *arguments)
    grad = helpers.values(x.shape, 1)
    out.backward(minidl.tensor(grad))
    expected.backward(torch.tensor(grad))
    helpers.assert_close(out, expected.detach().numpy(), 10)
    helpers.assert_close(ours.grad, theirs.grad.numpy(), 20)


# --- The kernels ----------------------------------------------------------------------------------

KERNELS: dict[str, tuple[Any, dict[str, int], dict[str, int]]] = {
    "relu": (F.relu, {"relu_forward": 1}, {"relu_backward": 1}),
    "tanh": (F.tanh, {"tanh_forward": 1}, {"tanh_backward": 1}),
    "sigmoid": (F.sigmoid, {"sigmoid_forward": 1}, {"sigmoid_backward": 1}),
    "softmax": (F.softmax, {"softmax_forward": 1}, {"softmax_backward": 1}),
    "softmax 1": (lambda x: F.softmax(x, 1), {"softmax_forward": 1}, {"softmax_backward": 1}),
    "log_softmax": (F.log_softmax, {"softmax_forward": 1}, {"softmax_backward": 1}),
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


@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 100, 1000])
@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
def test_rows_of_any_length_along_any_axis(dim: int, length: int, device: str) -> None:
    shape = [2, 3, 2]
    shape[dim] = length
    x = helpers.values(tuple(shape), 0, np.float32) * np.float32(5)
    grad = helpers.values(tuple(shape), 1, np.float32)
    shifted = np.exp(x.astype(float) - x.max(dim, keepdims=True))
    right = shifted / shifted.sum(dim, keepdims=True)
    leaf = helpers.leaf(x, device)
    out = F.softmax(leaf, dim)
    helpers.assert_close(out, right, 50)
    out.backward(minidl.tensor(grad, device=device))
    helpers.assert_close(
        leaf.grad, right * (grad - (grad * right).sum(dim, keepdims=True)), 4 * length
    )
    leaf.grad = None
    out = F.log_softmax(leaf, dim)
    helpers.assert_close(out, np.log(right), 50)
    out.backward(minidl.tensor(grad, device=device))
    helpers.assert_close(leaf.grad, grad - right * grad.sum(dim, keepdims=True), 4 * length)
