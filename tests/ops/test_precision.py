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


@pytest.mark.parametrize("shape", [(2, 2), (1000, 2), (100_003, 2), (4, 2, 100, 100)])
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


def test_clipping_gradients_of_float16():
    p = minidl.zeros(1000).half().requires_grad_()
    p.grad = minidl.full((1000,), 300.0).half()
    norm = minidl.nn.utils.clip_grad_norm_([p], 1.0)
    assert norm.item() == pytest.approx(300 * 1000**0.5, rel=HALF_ULP)
    np.testing.assert_allclose(p.grad.array, 1000**-0.5, rtol=HALF_ULP)
