"""Clipping of gradients: against PyTorch's documented rule, by hand."""

from __future__ import annotations

import math

import helpers
import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError
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
