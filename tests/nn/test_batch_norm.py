"""Batch normalization against explicit loops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import helpers
import numpy as np
import operation
import pytest
import reference
from operation import Case

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError

TestBatchNorm = operation.standard_tests(
    lambda x, weight=None, bias=None: F.batch_norm(x, None, None, weight, bias, training=True),
    lambda x, weight=None, bias=None: reference.batch_norm(x, None, None, weight, bias, True)[0],
    [
        Case((3, 2, 4, 5), (2,), (2,)),
        Case((3, 2, 4, 5)),
        Case((5, 3), (3,)),
        Case((4, 3, 6), (3,), (3,)),
    ],
    large=Case((37, 24, 9, 9), (24,), (24,)),
    terms=60,
    launches=({"moments": 1, "normalize": 1}, {"gradient_sums": 1, "gradients": 1}),
)


@pytest.fixture(params=operation.WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test by the kernel and by the plain code."""
    with minidl.reference() if request.param == "plain" else nullcontext():
        yield request.param


def batch_norm_arguments(channels: int, dtype: Any) -> tuple[Any, ...]:
    """running_mean, running_var, weight, bias"""
    return (
        helpers.values((channels,), 1, dtype),
        np.abs(helpers.values((channels,), 2, dtype)) + dtype.type(0.5),
        helpers.values((channels,), 3, dtype),
        helpers.values((channels,), 4, dtype),
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 4, 5), (2, 1, 1, 1), (37, 3, 9, 9)], ids=str)
def test_batch_norm(
    shape: tuple[int, ...], layout: str, dtype: Any, training: bool, way: str, device: str
) -> None:
    x = helpers.LAYOUTS[layout](helpers.values(shape, 0, dtype))
    mean, var, weight, bias = batch_norm_arguments(shape[1], dtype)
    expected, new_mean, new_var = reference.batch_norm(
        x, mean, var, weight, bias, training, momentum=0.3
    )
    running = [minidl.tensor(a, device=device) for a in (mean, var)]
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias)]
    out = F.batch_norm(leaves[0], *running, *leaves[1:], training, 0.3)
    assert out.dtype == dtype
    count = x.size // shape[1]
    # x - mean is off by eps·|x|, and 1/sqrt(var + eps) magnifies that: by 300 where var is 0.
    smallest = x.astype(np.float64).var((0, *range(2, x.ndim))).min()
    scale = 1 / np.sqrt(smallest + 1e-5) if training else 1.5
    helpers.assert_close(out, expected, 2 * (count + 8), scale)
    helpers.assert_close(running[0], new_mean, count)
    helpers.assert_close(running[1], new_var, count)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 3, 2)], ids=str)
def test_batch_norm_gradcheck(
    shape: tuple[int, ...], training: bool, way: str, device: str
) -> None:
    mean, var, weight, bias = batch_norm_arguments(shape[1], np.dtype(np.float64))

    def normalize(x: Any, weight: Any, bias: Any) -> Any:
        running = [minidl.tensor(a, device=device) for a in (mean, var)]
        return F.batch_norm(x, *running, weight, bias, training)

    leaves = [helpers.leaf(a, device) for a in (helpers.values(shape, 0), weight, bias)]
    assert minidl.gradcheck(normalize, leaves)
    assert minidl.gradcheck(lambda x: normalize(x, None, None), leaves[:1])
    if training:
        assert minidl.gradcheck(lambda x: F.batch_norm(x, None, None, training=True), leaves[:1])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_batch_norm_gradients_in_every_layout(layout: str, training: bool, device: str) -> None:
    lay = helpers.LAYOUTS[layout]
    mean, var, weight, bias = batch_norm_arguments(2, np.dtype(np.float64))
    running = [minidl.tensor(a, device=device) for a in (mean, var)]
    x, grad = helpers.values((3, 2, 2, 3), 0), lay(helpers.values((3, 2, 2, 3), 1))

    def normalize(*leaves: Any) -> Any:
        return F.batch_norm(leaves[0], *running, *leaves[1:], training, 0.0)

    leaves = [helpers.leaf(a, device) for a in (lay(x), lay(weight), bias)]
    assert minidl.gradcheck(normalize, leaves)
    # The same numbers for a gradient of any layout.
    plain, laid = (
        minidl.autograd.grad(
            normalize(*leaves), leaves, helpers.leaf(g, device, requires_grad=False)
        )
        for g in (np.array(grad, order="C"), grad)
    )
    for first, second in zip(plain, laid, strict=True):
        helpers.assert_close(second, helpers.host(first), 18)


def test_running_variance_is_unbiased_and_the_output_is_not(way: str, device: str) -> None:
    x = minidl.tensor([[1.0], [3.0]], dtype=minidl.float64, device=device)
    mean, var = (minidl.zeros(1, dtype=minidl.float64, device=device) for _ in range(2))
    out = F.batch_norm(x, mean, var, training=True, momentum=1.0, eps=0.0)
    assert out.tolist() == [[-1.0], [1.0]]  # biased variance 1
    assert mean.tolist() == [2.0] and var.tolist() == [2.0]  # unbiased variance 2


def test_training_output_has_mean_0_and_variance_1(way: str, device: str) -> None:
    x = minidl.tensor(helpers.values((8, 3, 5, 5), 0) * 7 + 30, device=device)
    out = helpers.host(F.batch_norm(x, None, None, training=True, eps=0.0))
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(out.var((0, 2, 3)), 1, rtol=1e-12)


def test_far_from_zero_the_variance_does_not_cancel(way: str, device: str) -> None:
    """E[x²] − E[x]² in float32 would be noise here."""
    x = (helpers.values((64, 2), 0) + 4096).astype(np.float32)
    expected, _, _ = reference.batch_norm(x, None, None, training=True)
    out = F.batch_norm(minidl.tensor(x, device=device), None, None, training=True)
    # eps(float32) at 4096 is 4.9e-4 and the standard deviation about 0.6.
    np.testing.assert_allclose(helpers.host(out), expected, atol=2e-3)


def test_eval_mode_touches_nothing(way: str, device: str) -> None:
    mean, var = minidl.zeros(2, device=device), minidl.ones(2, device=device)
    F.batch_norm(minidl.randn(4, 2, 3, 3).to(device), mean, var, training=False)
    assert mean.tolist() == [0, 0] and var.tolist() == [1, 1]


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_empty_batch(shape: tuple[int, ...], training: bool, way: str, device: str) -> None:
    leaf = helpers.leaf(np.zeros(shape), device)
    mean, var, weight, bias = (helpers.leaf(np.ones(3), device, i > 1) for i in range(4))
    out = F.batch_norm(leaf, mean, var, weight, bias, training)
    out.sum().backward()
    assert out.shape == shape and leaf.grad.shape == shape
    assert weight.grad.tolist() == bias.grad.tolist() == [0, 0, 0]
    assert mean.tolist() == var.tolist() == [1, 1, 1]  # there was nothing to learn


def test_batch_norm_module(way: str, device: str) -> None:
    layer = nn.BatchNorm2d(3).to(device)
    assert list(layer.state_dict()) == [
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked",
    ]  # fmt: skip
    x = helpers.values((4, 3, 5, 5), 0, np.float32)
    mean, var = np.zeros(3), np.ones(3)
    for step in range(1, 4):
        expected, mean, var = reference.batch_norm(x * step, mean, var, training=True)
        out = layer(minidl.tensor(x * np.float32(step), device=device))
        helpers.assert_close(out, expected, 200)
    assert layer.num_batches_tracked.item() == 3
    assert layer.num_batches_tracked.dtype == np.int64
    old = {name: value for name, value in layer.state_dict().items() if "tracked" not in name}
    assert layer.load_state_dict(old).missing_keys == []  # PyTorch's older files have no count
    helpers.assert_close(layer.running_mean, mean, 100)
    helpers.assert_close(layer.running_var, var, 100, scale=3)
    layer.eval()
    expected, _, _ = reference.batch_norm(x, mean, var)
    helpers.assert_close(layer(minidl.tensor(x, device=device)), expected, 200)
    assert layer.num_batches_tracked.item() == 3


def test_cumulative_average_with_momentum_none(way: str, device: str) -> None:
    layer = nn.BatchNorm2d(1, momentum=None).double().to(device)
    for value in (1.0, 2.0, 6.0):
        layer(minidl.full((2, 1, 1, 1), value, dtype=minidl.float64, device=device))
    assert layer.running_mean.item() == pytest.approx(3.0, rel=1e-12)


def test_batch_norm_without_affine_or_statistics() -> None:
    layer = nn.BatchNorm2d(2, affine=False, track_running_stats=False).eval()
    assert layer.weight is None and layer.running_mean is None and not layer.state_dict()
    x = helpers.values((3, 2, 4, 4), 0, np.float32)
    expected, _, _ = reference.batch_norm(x, None, None, training=True)
    helpers.assert_close(layer(minidl.tensor(x)), expected, 100)


def test_batch_norm_errors_name_the_argument() -> None:
    x, two, three = minidl.ones(2, 3, 2, 2), minidl.ones(2), minidl.ones(3)
    for match, call in {
        "running_mean": lambda: F.batch_norm(x, two, three),
        "running_var": lambda: F.batch_norm(x, three, two),
        "weight": lambda: F.batch_norm(x, three, three, two),
        "bias": lambda: F.batch_norm(x, three, three, three, two),
        "running_mean|training": lambda: F.batch_norm(x, None, None),
        "input|variance": lambda: F.batch_norm(minidl.ones(1, 3), None, None, training=True),
        "4|input": lambda: nn.BatchNorm2d(3)(minidl.ones(2, 3)),
        "3|input": lambda: nn.BatchNorm2d(4)(x),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(9, 3, 31, 33), (20_000, 2)], ids=str)
def test_batch_norm_of_channels_with_many_numbers(
    shape: tuple[int, ...], dtype: Any, training: bool, device: str
) -> None:
    """On a GPU several blocks share a channel."""
    x, grad = helpers.values(shape, 0, dtype) + 3, helpers.values(shape, 5, dtype)
    mean, var, weight, bias = batch_norm_arguments(shape[1], dtype)
    running = [minidl.tensor(a, device=device) for a in (mean, var)]
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias)]
    out = F.batch_norm(leaves[0], *running, *leaves[1:], training, 0.3)
    out.backward(minidl.tensor(grad, device=device))
    axes = (0, *range(2, x.ndim))
    to_x = (1, -1, *[1] * (x.ndim - 2))
    a, g = x.astype(np.longdouble), grad.astype(np.longdouble)
    if training:
        mean, var = a.mean(axes), a.var(axes)
    inverse = (var.reshape(to_x) + 1e-5) ** -0.5
    normalized = (a - mean.reshape(to_x)) * inverse
    dweight, dbias = (g * normalized).sum(axes), g.sum(axes)
    dx = g
    if training:
        shared = dbias.reshape(to_x) + normalized * dweight.reshape(to_x)
        dx = g - shared / (x.size / shape[1])
    dx = dx * inverse * weight.reshape(to_x)
    # Errors of so many additions of numbers around 1, which largely cancel.
    atol = 2 * float(np.finfo(dtype).eps) * np.sqrt(x.size)
    for actual, right, scale in [
        (out, normalized * weight.reshape(to_x) + bias.reshape(to_x), 1),
        (leaves[0].grad, dx, 1),
        (leaves[1].grad, dweight, np.sqrt(x.size)),
        (leaves[2].grad, dbias, np.sqrt(x.size)),
    ]:
        np.testing.assert_allclose(helpers.host(actual), right, rtol=0, atol=scale * atol)


def test_running_statistics_that_change_before_the_backward(way: str, device: str) -> None:
    x = helpers.leaf(helpers.values((4, 2, 3, 3), 0), device)
    mean, var = (minidl.ones(2, dtype=minidl.float64, device=device) for _ in range(2))
    weight = helpers.leaf(np.ones(2), device)
    out = F.batch_norm(x, mean, var, weight, eps=0.0)
    F.batch_norm(x * 5, mean, var, training=True)
    assert var.tolist() != [1, 1]
    out.sum().backward()
    np.testing.assert_array_equal(helpers.host(x.grad), 1)
    helpers.assert_close(weight.grad, (helpers.host(x) - 1).sum((0, 2, 3)), 36)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_running_statistics_of_any_dtype_and_layout(dtype: str, way: str, device: str) -> None:
    x = minidl.tensor(helpers.values((4, 2, 3, 3), 0, np.float32), device=device)
    both = minidl.ones(2, 2, dtype=dtype, device=device)
    F.batch_norm(x, both[:, 0], both[:, 1], training=True, momentum=1.0)
    right = helpers.host(x).astype(np.float64)
    helpers.assert_close(both.float()[:, 0], right.mean((0, 2, 3)), 36)
    helpers.assert_close(both.float()[:, 1], right.var((0, 2, 3), ddof=1), 36)


def test_only_one_running_statistic(way: str, device: str) -> None:
    x = minidl.tensor(helpers.values((4, 2, 3, 3), 0), device=device)
    whole = [minidl.zeros(2, dtype=minidl.float64, device=device) for _ in range(2)]
    parts = [minidl.zeros(2, dtype=minidl.float64, device=device) for _ in range(2)]
    F.batch_norm(x, *whole, training=True)
    F.batch_norm(x, parts[0], None, training=True)
    F.batch_norm(x, None, parts[1], training=True)
    assert parts[0].tolist() == whole[0].tolist() and parts[1].tolist() == whole[1].tolist()


@pytest.mark.parametrize("momentum", [0.1, None])
def test_launches_of_the_batch_norm_module(
    momentum: float | None, gpu: str, simulator: Any
) -> None:
    layer = nn.BatchNorm2d(8, momentum=momentum).to(gpu)
    arrays = (helpers.values((3, 8, 6, 7), seed, np.float32) for seed in (0, 1))
    x, grad = (helpers.as_layers_leave(array, gpu) for array in arrays)
    x.requires_grad_()
    layer(x)
    with simulator.count() as training:
        out = layer(x)
    assert training.kernels["moments"] == training.kernels["normalize"] == 1
    assert training.launches == 3  # the third one counts the batches
    out.backward(grad)
    layer.zero_grad()
    x.grad = None
    out = layer(x)
    with simulator.count() as backward:
        out.backward(grad)
    assert dict(backward.kernels) == {"gradient_sums": 1, "gradients": 1}
    layer.eval()
    with simulator.count() as evaluating:
        layer(x)
    assert dict(evaluating.kernels) == {"normalize": 1}
    for used in (training, backward, evaluating):
        assert used.d2h == used.h2d == used.d2d == used.syncs == 0
    assert layer.num_batches_tracked.item() == 3


def test_batch_norm_in_more_blocks_than_numbers(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then some blocks find an empty run."""
    x, grad = helpers.values((100, 3, 3, 1), 0), helpers.values((100, 3, 3, 1), 1)
    results = []
    for run in (1, 7, 10_000):
        monkeypatch.setattr("minidl.kernels.cuda.batch_norm._RUN", run)
        leaf = helpers.leaf(x, gpu)
        out = F.batch_norm(leaf, None, None, training=True)
        out.backward(minidl.tensor(grad, device=gpu))
        results.append((helpers.host(out), helpers.host(leaf.grad)))
    for out, dx in results[1:]:
        np.testing.assert_allclose(out, results[0][0], rtol=0, atol=1e-13)
        np.testing.assert_allclose(dx, results[0][1], rtol=0, atol=1e-13)


def test_same_bits_in_any_order_of_threads(gpu: str, simulator: Any) -> None:
    usual = os.environ.get("CUPY_ON_CPU_ORDER", "forward")
    x, grad = (helpers.values((9, 2, 31, 33), seed, np.float32) for seed in (0, 1))
    results = []
    try:
        for order in simulator.THREAD_ORDERS:
            simulator.set_thread_order(order)
            leaf = helpers.leaf(x, gpu)
            out = F.batch_norm(leaf, None, None, training=True)
            out.backward(minidl.tensor(grad, device=gpu))
            results.append((helpers.host(out), helpers.host(leaf.grad)))
    finally:
        simulator.set_thread_order(usual)
    for out, dx in results[1:]:
        np.testing.assert_array_equal(out, results[0][0])
        np.testing.assert_array_equal(dx, results[0][1])


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_same_as_pytorch(training: bool) -> None:
    torch = pytest.importorskip("torch")
    x = helpers.values((3, 2, 4, 5), 0)
    arguments = batch_norm_arguments(2, np.dtype(np.float64))
    ours = [helpers.leaf(x), *(minidl.tensor(a) for a in arguments)]
    theirs = [torch.tensor(x, requires_grad=True), *(torch.tensor(a) for a in arguments)]
    out = F.batch_norm(*ours, training)
    expected = torch.nn.functional.batch_norm(*theirs, training)
    grad = helpers.values(x.shape, 1)
    out.backward(minidl.tensor(grad))
    expected.backward(torch.tensor(grad))
    helpers.assert_close(out, expected.detach().numpy(), 100)
    helpers.assert_close(ours[0].grad, theirs[0].grad.numpy(), 200)
    for mine, right in zip(ours[1:3], theirs[1:3], strict=True):
        helpers.assert_close(mine, right.numpy(), 100)
