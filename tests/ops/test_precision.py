"""float16 is added up wide: results are float64's, rounded once."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.nn import functional as F

#: Half a unit in the last place of float16.
HALF_ULP = 2.0**-11

LENGTHS = [1, 7, 1000, 100_003, 1_000_000]

REDUCTIONS = {
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(0),
    "norm": lambda x: x.norm(dim=0),
    "cubic norm": lambda x: x.norm(3, dim=0),
    "var": lambda x: x.var(0, correction=0),
    "std": lambda x: x.std(0, correction=0),
    "logsumexp": lambda x: x.logsumexp(0),
    "mse": lambda x: F.mse_loss(x, x * 0),
    "l1": lambda x: F.l1_loss(x, x * 0),
    "cross entropy": lambda x: F.cross_entropy(
        x, minidl.zeros(len(x), dtype=minidl.int64, device=x.device)
    ),
    "nll": lambda x: F.nll_loss(-x, minidl.zeros(len(x), dtype=minidl.int64, device=x.device)),
    "average pool": lambda x: F.avg_pool2d(x.T[None, :, :, None], (len(x), 1)),
    "adaptive pool": lambda x: F.adaptive_avg_pool2d(x.T[None, :, :, None], 1),
    "last of softmax": lambda x: F.softmax(x, 0)[-1],
    "matmul": lambda x: x.T @ x,
    "linear": lambda x: F.linear(x.T, x.T),
}


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reduction_is_that_of_float64(name, length, device):
    generator = np.random.default_rng(length)
    scale = 3
    if name in ("sum", "matmul", "linear"):  # the result fits
        scale = min(3, 60_000 / length) if name == "sum" else min(3, (60_000 / length) ** 0.5)
    numbers = (generator.random((length, 2)) * scale).astype(np.float16)
    found = REDUCTIONS[name](minidl.tensor(numbers, device=device)).cpu()
    expected = REDUCTIONS[name](minidl.tensor(numbers.astype(np.float64)))
    assert found.dtype == minidl.float16
    # besides the rounding: products and norms go by way of float32
    tolerance = HALF_ULP + length**0.5 * 2.0**-24
    np.testing.assert_allclose(
        found.array.astype(np.float64), expected.array, tolerance, atol=2.0**-25
    )


@pytest.mark.parametrize("shape", [(2, 2), (1000, 2), (1_000_000, 2), (4, 2, 100, 100)])
def test_batch_norm_is_that_of_float64(shape, device):
    numbers = (np.random.default_rng(1).random(shape) * 60_000).astype(np.float16)
    wide = minidl.tensor(numbers.astype(np.float64), requires_grad=True)
    half = minidl.tensor(numbers, device=device, requires_grad=True)
    results = [F.batch_norm(x, None, None, training=True) for x in (half, wide)]
    np.testing.assert_allclose(
        results[0].detach().cpu().array.astype(np.float64), results[1].detach().array,
        HALF_ULP, atol=2.0**-25,
    )  # fmt: skip
    for x, y in zip((half, wide), results, strict=True):
        (y * y * x.detach().to(y.dtype) / 60_000).sum().backward()
    # the incoming gradient is rounded to float16 several times before it arrives
    limit = 16 * HALF_ULP * abs(wide.grad.array).max() + 2.0**-24
    assert abs(half.grad.cpu().array - wide.grad.array).max() <= limit


@pytest.mark.parametrize("norm", ["layer", "group", "instance"])
def test_other_norms_are_those_of_float64(norm, device):
    numbers = (np.random.default_rng(1).random((2, 4, 1000)) * 60_000).astype(np.float16)
    run = {
        "layer": lambda x: F.layer_norm(x, (1000,)),
        "group": lambda x: F.group_norm(x, 2),
        "instance": lambda x: F.instance_norm(x),
    }[norm]
    found = run(minidl.tensor(numbers, device=device)).cpu().array.astype(np.float64)
    expected = run(minidl.tensor(numbers.astype(np.float64))).array
    np.testing.assert_allclose(found, expected, HALF_ULP, atol=2.0**-25)


def test_what_fits_does_not_overflow():
    assert minidl.ones(100_000).half().mean().item() == 1
    assert minidl.ones(4096, 2).half().sum(0).tolist() == [4096, 4096]
    assert minidl.ones(4096).half().cumsum(0)[-1].item() == 4096
    assert minidl.tensor([300.0, 400.0]).half().norm().item() == 500
    small, large = minidl.tensor([-60_000.0]).half(), minidl.tensor([60_000.0]).half()
    assert minidl.lerp(small, large, 0.5).item() == 0
    assert minidl.tensor([1e20, 3e20]).std().item() == pytest.approx(2**0.5 * 1e20, rel=1e-6)


def test_long_columns_of_float32_are_exact_enough():
    total = minidl.full((1_000_000, 2), 0.1).sum(0)
    exact = 1_000_000 * float(np.float32(0.1))
    assert abs(total.array / exact - 1).max() <= 2.0**-23


@pytest.mark.parametrize("gradient", [False, True])
def test_python_numbers_may_be_too_large_for_float16(gradient):
    x = minidl.tensor(0.25).half().requires_grad_(gradient)
    y = x * 65536.0
    assert (y.dtype, y.item()) == (minidl.float16, 16384)
    assert (65536.0 / minidl.tensor([8.0]).half()).item() == 8192
    if gradient:
        y.backward(minidl.tensor(0.25).half())
        assert x.grad.item() == 16384


def test_single_float32_beside_float16(device):
    x = minidl.tensor([0.25, 3.0], device=device).half()
    large, tenth = (minidl.tensor(v, device=device) for v in (65536.0, 0.1))
    results = [(x * tenth).tolist(), (large / (x * 4)).tolist()]
    expected = [[0.024993896484375, 0.300048828125], [np.inf, 5460.0]]
    if device == "cpu":  # on a GPU the number is rounded first
        assert results == expected
        assert (x * large).tolist() == [16384, np.inf]
    assert all(y.dtype == minidl.float16 for y in (x * tenth, large / x, x**tenth))
    # a remainder jumps: there the number is rounded, as in PyTorch
    assert (x % tenth.cpu().item()).tolist() == [0.050048828125, 0.000732421875]


ELEMENTWISE = {
    "silu": (F.silu, -14, 14),
    "softplus": (F.softplus, -14, 24),
    "elu": (F.elu, -14, 14),
    "sigmoid": (minidl.sigmoid, -14, 14),
    "gelu": (F.gelu, -3, 14),
    "rsqrt": (minidl.rsqrt, 0.01, 100),
}


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_steps_in_between_are_not_rounded(name, device):
    function, low, high = ELEMENTWISE[name]
    numbers = (np.random.default_rng(3).random(2000) * (high - low) + low).astype(np.float16)
    half = minidl.tensor(numbers, device=device, requires_grad=True)
    wide = minidl.tensor(numbers.astype(np.float64), requires_grad=True)
    y, exact = function(half), function(wide)
    assert y.dtype == minidl.float16
    found = y.detach().cpu().array.astype(np.float64)
    np.testing.assert_allclose(found, exact.detach().array, 1.02 * HALF_ULP, atol=2.0**-25)
    y.sum().backward()
    exact.sum().backward()
    # a gradient may follow from the rounded result
    error = abs(half.grad.cpu().array - wide.grad.array).max()
    assert error <= 3 * HALF_ULP * abs(wide.grad.array).max()


@pytest.mark.parametrize("name", ["add", "addcmul", "addcdiv", "addmm", "baddbmm"])
def test_products_and_sums_are_rounded_once(name, device):
    rng = np.random.default_rng(4)
    arguments = {
        "add": [(99,), (99,)], "addcmul": [(99,)] * 3, "addcdiv": [(99,)] * 3,
        "addmm": [(4,), (9, 50), (50, 4)], "baddbmm": [(2, 3, 4), (2, 3, 50), (2, 50, 4)],
    }[name]  # fmt: skip
    arrays = [(rng.random(shape) + 0.5).astype(np.float16) for shape in arguments]
    option = {"value": 0.3} if name.startswith("addc") else {"alpha": 0.3}
    function = getattr(minidl, name)
    found = function(*(minidl.tensor(a, device=device) for a in arrays), **option).cpu()
    exact = function(*(minidl.tensor(a.astype(np.float64)) for a in arrays), **option).array
    assert found.dtype == minidl.float16
    np.testing.assert_allclose(found.array.astype(np.float64), exact, 1.02 * HALF_ULP)


#: Sums of many numbers into few places: what is read many times, and what it is read from.
READS = {
    "index": lambda x, i: x[i],
    "index_select": lambda x, i: x.index_select(0, i),
    "gather": lambda x, i: x.gather(0, i[:, None].expand(-1, 2)),
    "embedding": lambda x, i: F.embedding(i, x),
    "repeat_interleave": lambda x, i: x.repeat_interleave(len(i) // 3, 0),
    "expand": lambda x, i: x[:1].expand(len(i), 2),
    "replicate": lambda x, i: F.pad(x.T[None], (len(i), 0), mode="replicate"),
    "mean": lambda x, i: x.mean(0, keepdim=True).expand(len(i), 2),
    "amax": lambda x, i: x.amax(0, keepdim=True).expand(len(i), 2),
    "unfold": lambda x, i: F.unfold(x[None, None].repeat(1, 1, 20, 20), 7),
}


@pytest.mark.parametrize("name", READS)
def test_gradients_are_added_up_wide(name, device):
    count = 300 if name in ("replicate", "unfold") else 200_001
    rng = np.random.default_rng(5)
    numbers, index = rng.random((3, 2)).astype(np.float16), rng.integers(0, 3, count)
    gradients = []
    for dtype in (np.float16, np.float64):
        x = minidl.tensor(numbers.astype(dtype), device=device, requires_grad=True)
        y = READS[name](x, minidl.tensor(index, device=device))
        grad = np.random.default_rng(6).random(tuple(y.shape)) * min(1, 60_000 / count)
        y.backward(minidl.tensor(grad.astype(np.float16).astype(dtype), device=device))
        gradients.append(x.grad.cpu().array.astype(np.float64))
    np.testing.assert_allclose(*gradients, 2.1 * HALF_ULP, atol=2.0**-24)


@pytest.mark.parametrize("name", ["index_add", "scatter_add"])
def test_additions_at_positions_are_wide(name, device):
    rng = np.random.default_rng(5)
    values, index = (rng.random(200_001) * 0.3).astype(np.float16), rng.integers(0, 3, 200_001)
    x = minidl.zeros(3, dtype=minidl.float16, device=device)
    found = getattr(x, name)(
        0, minidl.tensor(index, device=device), minidl.tensor(values, device=device)
    )
    exact = np.bincount(index, values.astype(np.float64))
    np.testing.assert_allclose(found.cpu().array.astype(np.float64), exact, 1.02 * HALF_ULP)


@pytest.mark.parametrize("name", ["mean", "max", "amax"])
def test_a_million_numbers_share_a_gradient(name, device):
    x = minidl.ones(1_000_000, dtype=minidl.float16, device=device, requires_grad=True)
    function = {"mean": lambda: x.mean(), "max": lambda: x.max(), "amax": lambda: x.amax(0)}[name]
    function().backward(minidl.tensor(60_000.0, device=device).half())
    np.testing.assert_allclose(x.grad.cpu().array.astype(np.float64), 0.06, HALF_ULP)


def test_running_sums_that_cancel_are_those_of_float64(device):
    numbers = (np.random.default_rng(8).random(100_003) - 0.5).astype(np.float16)
    half = minidl.tensor(numbers, device=device, requires_grad=True)
    y = half.cumsum(0)
    exact = np.cumsum(numbers.astype(np.float64))
    found = y.detach().cpu().array.astype(np.float64)
    np.testing.assert_allclose(found, exact, HALF_ULP, atol=2.0**-25)
    grad = (numbers[::-1] / 4).copy()
    y.backward(minidl.tensor(grad, device=device))
    exact = np.cumsum(grad[::-1].astype(np.float64))[::-1]
    np.testing.assert_allclose(
        half.grad.cpu().array.astype(np.float64), exact, HALF_ULP, atol=2.0**-25
    )


@pytest.mark.parametrize("name", ["prod", "cumprod"])
def test_products_and_their_gradients_are_wide(name, device):
    numbers = np.random.default_rng(7).uniform(0.97, 1.03, 1000).astype(np.float16)
    half = minidl.tensor(numbers, device=device, requires_grad=True)
    wide = minidl.tensor(numbers.astype(np.float64), requires_grad=True)
    results = [getattr(minidl, name)(x, 0) for x in (half, wide)]
    found = results[0].detach().cpu().array.astype(np.float64)
    np.testing.assert_allclose(found, results[1].detach().array, 1.1 * HALF_ULP)
    for y in results:
        (y.sum() / 1000).backward()
    np.testing.assert_allclose(
        half.grad.cpu().array.astype(np.float64), wide.grad.array, 4 * HALF_ULP, atol=2.0**-24
    )


def test_clipping_gradients_of_float16():
    p = minidl.zeros(1000).half().requires_grad_()
    p.grad = minidl.full((1000,), 300.0).half()
    norm = minidl.nn.utils.clip_grad_norm_([p], 1.0)
    assert norm.item() == pytest.approx(300 * 1000**0.5, rel=HALF_ULP)
    np.testing.assert_allclose(p.grad.array, 1000**-0.5, rtol=HALF_ULP)
