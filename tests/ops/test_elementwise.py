"""Functions of one number: against NumPy, with gradients by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import helpers
import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, DTypeError, ShapeError

UNARY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "neg": (minidl.neg, np.negative), "abs": (minidl.abs, np.abs), "exp": (minidl.exp, np.exp),
    "expm1": (minidl.expm1, np.expm1), "sin": (minidl.sin, np.sin), "cos": (minidl.cos, np.cos),
    "sinh": (minidl.sinh, np.sinh), "cosh": (minidl.cosh, np.cosh),
    "square": (minidl.square, np.square), "reciprocal": (minidl.reciprocal, np.reciprocal),
    "log": (lambda x: (x.abs()).log(), lambda x: np.log(np.abs(x))),
    "log2": (lambda x: (x.abs()).log2(), lambda x: np.log2(np.abs(x))),
    "log10": (lambda x: (x.abs()).log10(), lambda x: np.log10(np.abs(x))),
    "log1p": (lambda x: (x.abs()).log1p(), lambda x: np.log1p(np.abs(x))),
    "sqrt": (lambda x: (x.abs()).sqrt(), lambda x: np.sqrt(np.abs(x))),
    "rsqrt": (lambda x: (x.abs()).rsqrt(), lambda x: np.abs(x) ** -0.5),
    "clamp": (lambda x: x.clamp(-0.5, 0.4), lambda x: np.clip(x, -0.5, 0.4)),
    "clamp_min": (lambda x: x.clamp_min(0.1), lambda x: np.maximum(x, 0.1)),
    "pow2": (lambda x: x**2, lambda x: x**2), "pow3": (lambda x: x**3, lambda x: x**3),
    "pow-1": (lambda x: x**-1, lambda x: 1 / x), "2pow": (lambda x: 2**x, lambda x: 2.0**x),
    "pow.5": (lambda x: x.abs() ** 0.5, lambda x: np.abs(x) ** 0.5),
    "sign": (minidl.sign, np.sign), "floor": (minidl.floor, np.floor),
    "ceil": (minidl.ceil, np.ceil), "trunc": (minidl.trunc, np.trunc),
    "round": (minidl.round, np.round),
    "round2": (lambda x: minidl.round(x, decimals=2), lambda x: np.round(x, 2)),
}  # fmt: skip
SHAPES = [(3, 4, 2, 5), (1, 3, 1, 2), (0, 3, 2, 2), (2, 1, 1, 1)]


def close(actual: Any, expected: Any) -> None:
    helpers.assert_close(actual, expected, 50)


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, layout: str, dtype: Any, device: str) -> None:
    ours, numpy = UNARY[name]
    for seed, shape in enumerate(SHAPES):
        x = helpers.LAYOUTS[layout](helpers.values(shape, seed, dtype))
        y = ours(helpers.leaf(x, device))
        assert y.dtype == dtype
        close(y, numpy(x.astype(float)))


@pytest.mark.parametrize("name", UNARY)
def test_unary_gradient(name: str, device: str) -> None:
    for shape in [(2, 3), (1,), (), (0, 2)]:
        x = helpers.leaf(np.asarray(helpers.values(shape, 1) * 0.77), device)
        assert minidl.gradcheck(UNARY[name][0], x)


def test_infinite_gradients_stay_where_they_belong(device: str) -> None:
    x = minidl.tensor([-1.0, 0.0, 2.0], requires_grad=True, device=device)
    minidl.where(x > 0, x.log(), minidl.zeros(3, device=device)).sum().backward()
    # log's slope at 0 is infinite, but no gradient reaches it
    assert x.grad.tolist()[2] == 0.5
    y = minidl.tensor([1.0, 5.0], requires_grad=True, device=device)
    y.clamp(max=2.0).backward(minidl.tensor([1.0, np.inf], device=device))
    assert y.grad.tolist() == [1.0, 0.0]
    z = minidl.tensor([0.0, 2.0], requires_grad=True, device=device)
    (z**0).sum().backward()
    assert z.grad.tolist() == [0.0, 0.0]


def test_errors(device: str) -> None:
    x = minidl.ones(2, 3, device=device)
    with pytest.raises(ShapeError, match=r"add: shapes \(2, 3\) and \(2,\)"):
        x + minidl.ones(2, device=device)
    for bad in ("a", object(), None):
        with pytest.raises(DTypeError, match="expected a tensor or a number"):
            x + bad
    with pytest.raises(ArgumentError, match="clamp"):
        x.clamp()
    with pytest.raises(ArgumentError, match="negative powers"):
        minidl.arange(3, device=device) ** -1
    with pytest.raises(ArgumentError, match="rounding_mode"):
        minidl.div(x, 2, rounding_mode="up")
    with pytest.raises(DTypeError, match="bool"):
        (x > 0) - (x > 1)
