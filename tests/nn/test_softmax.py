"""Softmax and log-softmax against loops, along any axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import helpers
import numpy as np
import operation
import pytest
import reference
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import DTypeError, MinidlError

CASES = [operation.Case((3, 4, 2, 5), dim=1), operation.Case((4, 5), dim=-1)]
ANY_CASE = operation.shapes(fewest_axes=1, most_axes=4, longest=4, shortest=1).flatmap(
    lambda shape: st.builds(
        operation.Case, st.just(shape), dim=st.integers(-len(shape), len(shape) - 1)
    )
)


def standard_tests(
    function: Callable[..., Any], loops: Any, loops_backward: Any, module: nn.Module
) -> type:
    return operation.standard_tests(
        function,
        loops,
        CASES,
        loops_backward=loops_backward,
        any_case=ANY_CASE,
        large=operation.Case((500, 300), dim=1),
        values=lambda shape, seed, dtype: np.asarray(helpers.values(shape, seed) * 3, dtype),
        modules=[(module, {"dim": 1})],
        torch=function.__name__,
    )


def softmax_backward(grad: Any, x: Any, dim: int) -> Any:
    y = reference.softmax(x, dim)
    return y * (grad - (grad * y).sum(dim, keepdims=True))


def log_softmax_backward(grad: Any, x: Any, dim: int) -> Any:
    return grad - reference.softmax(x, dim) * grad.sum(dim, keepdims=True)


TestSoftmax = standard_tests(
    F.softmax, lambda x, dim: reference.softmax(x, dim), softmax_backward, nn.Softmax(1)
)
TestLogSoftmax = standard_tests(
    F.log_softmax,
    lambda x, dim: reference.log_softmax(x, dim),
    log_softmax_backward,
    nn.LogSoftmax(1),
)


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


def test_softmax_errors_name_the_argument() -> None:
    for function in (F.softmax, F.log_softmax):
        with pytest.raises((MinidlError, IndexError), match="dim"):
            function(minidl.zeros(2, 3), 2)


def test_integers_are_refused() -> None:
    with pytest.raises(DTypeError, match="softmax: expected floats"):
        F.softmax(minidl.tensor([1, 2]), 0)
    assert F.softmax(minidl.tensor([1, 1]), 0, dtype=minidl.float64).tolist() == [0.5, 0.5]


# --- The kernels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [lambda x: F.softmax(x, -1), lambda x: F.softmax(x, 1), lambda x: F.log_softmax(x, -1)],
)
def test_gpu_one_launch_each_way_without_copies(function: Any, gpu: str, simulator: Any) -> None:
    x = helpers.leaf(helpers.values((3, 5, 4, 70), 0, np.float32), gpu)
    function(x).sum().backward()  # compiles
    x.grad = None
    with simulator.count() as there:
        out = function(x)
    grad = minidl.ones(out.shape, device=gpu)
    with simulator.count() as back:
        out.backward(grad)
    assert dict(there.kernels) == {"softmax_forward": 1}
    assert dict(back.kernels) == {"softmax_backward": 1}
    for used in (there, back):
        assert (used.syncs, used.h2d, used.d2h, used.d2d) == (0, 0, 0, 0)


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
