"""Clipping of gradients: against PyTorch's documented rule, by hand."""

from __future__ import annotations

import math
from typing import Any

import helpers
import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError
from minidl.kernels.cuda.many import CHUNK
from minidl.nn.utils import clip_grad_norm_, clip_grad_value_


def parameters(device: str) -> list[minidl.Tensor]:
    made = [helpers.leaf(np.ones(shape), device) for shape in ((2, 3), (4,), (2,))]
    for parameter, seed in zip(made[:2], (1, 2), strict=True):
        parameter.grad = minidl.tensor(
            helpers.values(tuple(parameter.shape), seed), dtype=parameter.dtype, device=device
        )
    return made


def flat(tensors: list[minidl.Tensor]) -> np.ndarray:
    return np.concatenate([t.grad.cpu().numpy().ravel() for t in tensors if t.grad is not None])


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, math.inf])
def test_norm(p: float, device: str) -> None:
    made = parameters(device)
    before = flat(made)
    norm = clip_grad_norm_(made, 0.5, norm_type=p)
    expected = np.linalg.norm(before, p)
    np.testing.assert_allclose(norm.item(), expected, rtol=1e-12)
    np.testing.assert_allclose(flat(made), before * (0.5 / (expected + 1e-6)), rtol=1e-12)
    assert made[2].grad is None


def test_small_gradients_stay(device: str) -> None:
    made = parameters(device)
    before = flat(made)
    clip_grad_norm_(made, 1e6)
    np.testing.assert_array_equal(flat(made), before)


def test_value(device: str) -> None:
    made = parameters(device)
    before = flat(made)
    clip_grad_value_(made, 0.25)
    np.testing.assert_array_equal(flat(made), before.clip(-0.25, 0.25))


def test_no_gradients_and_bad_ones(device: str) -> None:
    assert clip_grad_norm_([minidl.ones(2, requires_grad=True)], 1.0).item() == 0
    x = minidl.ones(2, requires_grad=True)
    x.grad = minidl.tensor([math.nan, 1.0])
    with pytest.raises(ArgumentError, match="norm of the gradients"):
        clip_grad_norm_(x, 1.0, error_if_nonfinite=True)


# --- The kernels ----------------------------------------------------------------------------------


def many(device: str, layout: str = "contiguous") -> list[minidl.Tensor]:
    shapes = [(7, 6, 5), (CHUNK + 3,), (0,), (), (1, 9), *[(3,)] * 200]
    made = [helpers.leaf(np.zeros(shape, np.float32), device) for shape in shapes]
    for parameter, seed in zip(made, range(1000), strict=False):
        gradient = helpers.values(tuple(parameter.shape), seed, np.float32)
        if gradient.ndim:
            gradient = helpers.LAYOUTS[layout](gradient)
        parameter.grad = helpers.leaf(np.asarray(gradient), device, requires_grad=False)
    return made


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "sliced"])
@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 3.0, math.inf])
def test_many_gradients(p: float, layout: str, device: str) -> None:
    made = many(device, layout)
    before = flat(made).astype(float)
    norm = clip_grad_norm_(made, 0.5, norm_type=p)
    expected = np.linalg.norm(before, p)
    assert (norm.dtype, norm.shape) == (np.float32, ())
    np.testing.assert_allclose(norm.item(), expected, rtol=1e-5)
    np.testing.assert_allclose(flat(made), before * (0.5 / (expected + 1e-6)), rtol=2e-5)
    made = many(device, layout)
    clip_grad_value_(made, 0.25)
    np.testing.assert_array_equal(flat(made), before.clip(-0.25, 0.25).astype(np.float32))


@pytest.mark.parametrize("p", [2.0, math.inf])
def test_nan_and_infinity(p: float, device: str) -> None:
    x = minidl.ones(3, requires_grad=True, device=device)
    x.grad = minidl.tensor([1.0, math.nan, 2.0], device=device)
    assert math.isnan(clip_grad_norm_(x, 1.0, p).item())
    assert np.isnan(flat([x])).all()
    x.grad = minidl.tensor([1.0, math.inf, -math.inf], device=device)
    assert clip_grad_norm_(x, 1.0, p).item() == math.inf
    np.testing.assert_array_equal(flat([x]), [0, math.nan, math.nan])
    x.grad = minidl.tensor([math.nan, math.inf, -math.inf], device=device)
    clip_grad_value_(x, 0.5)
    np.testing.assert_array_equal(flat([x]), [math.nan, 0.5, -0.5])


def test_two_dtypes_at_once(device: str) -> None:
    made = [helpers.leaf(np.zeros(2, dtype), device) for dtype in (np.float32, np.float64)]
    for parameter in made:
        parameter.grad = minidl.full((2,), 0.5, dtype=parameter.dtype, device=device)
    clip_grad_value_(made, 0.25)
    np.testing.assert_array_equal(flat(made), 0.25)


def test_gpu_launches(gpu: str, simulator: Any) -> None:
    made = many(gpu)[:100]
    clip_grad_norm_(made, 1.0)  # compiles
    clip_grad_value_(made, 1.0)
    with simulator.count() as norm:
        clip_grad_norm_(made, 0.5)
    with simulator.count() as value:
        clip_grad_value_(made, 0.5)
    assert dict(norm.kernels) == {"powers": 1, "norm_and_factor": 1, "scale": 1}
    assert dict(value.kernels) == {"limit": 1}
    for used in (norm, value):
        assert (used.syncs, used.h2d, used.d2h, used.d2d) == (0, 0, 0, 0)


def test_scaling_counts_as_a_change(device: str) -> None:
    x = minidl.ones(3, requires_grad=True, device=device)
    x.grad = minidl.ones(3, device=device)
    before = x.grad.version[0]
    clip_grad_norm_(x, 1.0)
    assert x.grad.version[0] > before


def test_the_largest_gradient_is_a_norm_by_its_name_too() -> None:
    p = minidl.zeros(2, requires_grad=True)
    p.grad = minidl.tensor([3.0, -4.0])
    assert minidl.nn.utils.clip_grad_norm_([p], 1.0, norm_type="inf").item() == 4
