"""LocallyConnected2d: a convolution whose weights differ from position to position."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import helpers
import numpy as np
import operation
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError

Problem = tuple[tuple[int, ...], int, dict[str, Any]]


@st.composite
def problems(draw: Any) -> Problem:
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = [max(1, kernel[i] - 2 * padding[i]) + draw(st.integers(0, 3)) for i in (0, 1)]
    shape = (draw(st.integers(0, 3)), draw(st.integers(1, 3)), *size)
    options = {"kernel_size": kernel, "stride": stride, "padding": padding}
    return shape, draw(st.integers(1, 3)), options


def arrays(problem: Problem, dtype: Any = np.float64) -> tuple[Any, Any, Any]:
    (n, channels, *size), out_channels, options = problem
    kernel, stride, padding = (
        reference.pair(options.get(name, default))
        for name, default in [("kernel_size", 0), ("stride", 1), ("padding", 0)]
    )
    out = [(size[i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in (0, 1)]
    weight_shape = (out[0] * out[1], out_channels, channels * kernel[0] * kernel[1])
    return (
        helpers.values((n, channels, *size), 1, dtype),
        helpers.values(weight_shape, 2, dtype),
        helpers.values((out_channels, *out), 3, dtype),
    )


@settings(max_examples=100)
@given(
    problem=problems(),
    layout=st.sampled_from(sorted(helpers.LAYOUTS)),
    dtype=st.sampled_from(helpers.DTYPES),
    with_bias=st.booleans(),
    way=st.sampled_from(operation.WAYS),
)
def test_any_shape(
    problem: Problem, layout: str, dtype: Any, with_bias: bool, way: str, device: str
) -> None:
    with minidl.reference() if way == "plain" else nullcontext():
        check_against_loops(problem, layout, dtype, with_bias, device)


def check_against_loops(
    problem: Problem, layout: str, dtype: Any, with_bias: bool, device: str
) -> None:
    x, weight, bias = arrays(problem, dtype)
    x, weight = helpers.LAYOUTS[layout](x), helpers.LAYOUTS[layout](weight)
    options = problem[2]
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias)]
    out = F.locally_connected2d(*leaves[:2], leaves[2] if with_bias else None, **options)
    expected = reference.locally_connected2d(x, weight, bias if with_bias else None, **options)
    assert out.dtype == dtype
    helpers.assert_close(out, expected, weight.shape[2])
    grad = helpers.values(expected.shape, 4, dtype)
    out.backward(minidl.tensor(grad, device=device))
    right = reference.locally_connected2d_backward(grad, x, weight, **options)
    helpers.assert_close(leaves[0].grad, right[0], 9 * problem[1])
    helpers.assert_close(leaves[1].grad, right[1], max(x.shape[0], 1))
    if with_bias:
        helpers.assert_close(leaves[2].grad, right[2], max(x.shape[0], 1))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 3},
        {"kernel_size": (2, 3), "padding": (0, 1), "stride": (2, 1)},
    ],
    ids=str,
)
def test_gradcheck(options: dict[str, Any], device: str) -> None:
    leaves = [helpers.leaf(a, device) for a in arrays(((2, 2, 4, 5), 3, options))]
    assert minidl.gradcheck(lambda *args: F.locally_connected2d(*args, **options), leaves)


def test_with_equal_weights_it_is_a_convolution(device: str) -> None:
    x, kernel, bias = (
        helpers.values(s, i) for i, s in enumerate([(2, 3, 5, 6), (4, 3, 3, 3), (4,)])
    )
    weight = np.broadcast_to(kernel.reshape(1, 4, 27), (30, 4, 27)).copy()
    biases = np.broadcast_to(bias[:, None, None], (4, 5, 6)).copy()
    out = F.locally_connected2d(
        *(minidl.tensor(a, device=device) for a in (x, weight, biases)), 3, padding=1
    )
    helpers.assert_close(out, reference.conv2d(x, kernel, bias, padding=1), 27)


@pytest.mark.parametrize("n, channels, o", [(37, 3, 4), (130, 17, 30)], ids=("whole", "in pieces"))
def test_large_batch(n: int, channels: int, o: int, device: str) -> None:
    options = {"kernel_size": 3, "padding": 1}
    x, weight, bias = arrays(((n, channels, 6, 6), o, options), np.float32)
    grad = helpers.values((n, o, 6, 6), 5, np.float32)
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias)]
    out = F.locally_connected2d(*leaves, 3, padding=1)
    out.backward(minidl.tensor(grad, device=device))
    columns = reference.unfold(x, 3, padding=1)
    wide = weight.astype(np.float64)
    expected = np.einsum("nkp,pok->nop", columns, wide, optimize=True).reshape(grad.shape) + bias
    helpers.assert_close(out, expected, 9 * channels)
    flat = grad.astype(np.float64).reshape(n, o, 36)
    right = np.einsum("nop,nkp->pok", flat, columns, optimize=True)
    helpers.assert_close(leaves[1].grad, right, n)
    helpers.assert_close(leaves[2].grad, grad.astype(np.float64).sum(0), n)
    spread = np.einsum("nop,pok->nkp", flat, wide, optimize=True)
    helpers.assert_close(leaves[0].grad, reference.fold(spread, (6, 6), 3, padding=1), 9 * o)


def test_module(device: str) -> None:
    layer = nn.LocallyConnected2d(64, 32, (6, 6), 3, padding=1)
    assert sum(p.numel() for p in layer.parameters()) == 664_704, "local3 of the 13 % CIFAR-10 net"
    layer = nn.LocallyConnected2d(2, 3, (5, 4), 3, stride=2, padding=1).to(device)
    assert layer.weight.shape == (6, 3, 18) and layer.bias.shape == (3, 3, 2)
    x = minidl.tensor(helpers.values((2, 2, 5, 4), 0, np.float32), device=device)
    out = F.locally_connected2d(x, layer.weight, layer.bias, 3, stride=2, padding=1)
    np.testing.assert_array_equal(helpers.host(layer(x)), helpers.host(out))
    assert minidl.gradcheck(layer, (helpers.leaf(helpers.values((2, 2, 5, 4), 0), device),))
    assert nn.LocallyConnected2d(2, 3, 5, 3, bias=False).bias is None


def test_errors_name_the_argument() -> None:
    x, weight, bias = (minidl.tensor(a) for a in arrays(((1, 2, 4, 4), 3, {"kernel_size": 3})))
    for match, call in {
        "input": lambda: F.locally_connected2d(x[0, 0], weight, bias, 3),
        "weight": lambda: F.locally_connected2d(x, weight[:3], bias, 3),
        "weight|kernel_size": lambda: F.locally_connected2d(x, weight, bias, 2),
        "bias": lambda: F.locally_connected2d(x, weight, bias[:2], 3),
        "stride": lambda: F.locally_connected2d(x, weight, bias, 3, stride=0),
        "padding": lambda: F.locally_connected2d(x, weight, bias, 3, padding=-1),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()


def test_float16_runs_the_plain_code(device: str) -> None:
    x, weight, bias = (a.astype(np.float16) for a in arrays(((2, 2, 4, 5), 3, {"kernel_size": 3})))
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias)]
    y = F.locally_connected2d(*leaves, 3)
    expected = reference.locally_connected2d(x, weight, bias, 3)
    assert y.dtype == np.float16
    np.testing.assert_allclose(helpers.host(y), expected, atol=0.02, rtol=0.01)
    y.sum().backward()
    right = reference.locally_connected2d_backward(np.ones_like(expected), x, weight, 3)
    for leaf, gradient in zip(leaves, right, strict=True):
        assert leaf.grad.dtype == np.float16
        np.testing.assert_allclose(helpers.host(leaf.grad), gradient, atol=0.02, rtol=0.01)


# --- The kernels ----------------------------------------------------------------------------------


def test_gpu_launches_and_products(gpu: str, simulator: Any) -> None:
    layer = nn.LocallyConnected2d(3, 4, 8, 3, padding=1).to(gpu)
    memory = minidl.cuda.cupy().ones((3, 2, 8, 8), np.float32)  # (C, N, H, W)
    x = minidl.Tensor(memory.transpose(1, 0, 2, 3)).requires_grad_()
    layer(x).sum().backward()  # compiles
    for leaf in (x, *layer.parameters()):
        leaf.grad = None
    with simulator.count() as forward:
        out = layer(x)
    grad = minidl.Tensor(minidl.cuda.cupy().zeros_like(out.array))
    with simulator.count() as backward:
        out.backward(grad)
    assert dict(forward.kernels) == {"windows": 1, "to_images": 1}
    assert dict(backward.kernels) == {
        "from_images": 2,
        "windows": 1,
        "pixels": 1,
        "sum_images": 1,
    }
    assert (len(forward.cublas_calls), len(backward.cublas_calls)) == (1, 2)
    for used in (forward, backward):
        assert (used.syncs, used.h2d, used.d2h, used.d2d) == (0, 0, 0, 0)
