"""GELU against its definition with ``math.erf``, and the precision of the normal distribution."""

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
from minidl.errors import ArgumentError, DTypeError
from minidl.nn.gelu import normal


def gelu(x: Any, approximate: str = "none") -> Any:
    def one(v: float) -> float:
        if approximate == "none":
            return v * math.erfc(-v / math.sqrt(2)) / 2
        return v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) / 2

    return np.vectorize(one, otypes=[float])(x)


TestGELU = operation.standard_tests(
    F.gelu,
    gelu,
    [operation.Case((3, 4, 5, 2)), operation.Case((2, 3, 4), approximate="tanh")],
    any_case=operation.st.builds(operation.Case, operation.shapes()),
    examples=30,
    values=lambda shape, seed, dtype: np.asarray(helpers.values(shape, seed) * 5, dtype),
    modules=[(nn.GELU(), {}), (nn.GELU("tanh"), {"approximate": "tanh"})],
    torch="gelu",
)


@pytest.mark.parametrize(
    ("dtype", "absolute", "relative"), [(np.float64, 2.3e-16, 2e-15), (np.float32, 2e-7, 2e-6)]
)
def test_the_normal_distribution_is_off_by_one_rounding(
    dtype: Any, absolute: float, relative: float
) -> None:
    """And the lower tail, where (1 + erf)/2 would cancel, keeps its relative precision."""
    x = np.linspace(-12, 12, 20001).astype(dtype)
    found, density = normal(x)
    right = np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x.tolist()])
    assert np.abs(found - right).max() <= absolute
    tail = (x > -5) & (x < 0)
    assert np.abs(found[tail] / right[tail] - 1).max() <= relative
    exact = np.exp(-(x.astype(float) ** 2) / 2) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(density, exact, atol=absolute)


@pytest.mark.parametrize("approximate", ["none", "tanh"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_large_numbers(dtype: Any, approximate: str, device: str) -> None:
    large = np.finfo(dtype).max
    x = helpers.leaf(np.array([-large, -100, 0, 100, large], dtype), device)
    with np.errstate(over="raise", invalid="raise"):
        out = F.gelu(x, approximate)
        out.backward(minidl.ones(5, dtype=out.dtype, device=device))
    assert out.tolist() == [0, 0, 0, 100, large]
    np.testing.assert_allclose(helpers.host(x.grad), [0, 0, 0.5, 1, 1], atol=np.finfo(dtype).eps)


def test_nan_stays(device: str) -> None:
    out = helpers.host(F.gelu(minidl.tensor([math.nan, 1.0], device=device)))
    assert np.isnan(out).tolist() == [True, False]


def test_errors_name_the_argument() -> None:
    with pytest.raises(ArgumentError, match="approximate"):
        F.gelu(minidl.zeros(2), approximate="erf")
    with pytest.raises(DTypeError, match="expected floats"):
        F.gelu(minidl.tensor([1, 2]))


def test_repr_is_that_of_pytorch() -> None:
    assert repr(nn.GELU("tanh")) == "GELU(approximate='tanh')"
