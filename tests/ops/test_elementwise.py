"""Elementwise operations against NumPy, in all layouts, with broadcasting, and their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl.errors import ArgumentError, DTypeError, ShapeError
from minidl.ops.elementwise import unbroadcast

UNARY: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "neg": (minidl.neg, np.negative), "abs": (minidl.abs, np.abs), "exp": (minidl.exp, np.exp),
    "expm1": (minidl.expm1, np.expm1), "sin": (minidl.sin, np.sin), "cos": (minidl.cos, np.cos),
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
BINARY: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (minidl.add, np.add), "sub": (minidl.sub, np.subtract), "mul": (minidl.mul, np.multiply),
    "div": (minidl.div, np.divide), "maximum": (minidl.maximum, np.maximum),
    "minimum": (minidl.minimum, np.minimum), "remainder": (minidl.remainder, np.remainder),
    "fmod": (minidl.fmod, np.fmod),
    "pow": (lambda a, b: minidl.pow(a.abs(), b), lambda a, b: np.abs(a) ** b),
    "where": (lambda a, b: minidl.where(a > b, a, b), np.maximum),
    "lerp": (lambda a, b: minidl.lerp(a, b, 0.25), lambda a, b: a + 0.25 * (b - a)),
    "add_alpha": (lambda a, b: minidl.add(a, b, alpha=3), lambda a, b: a + 3 * b),
    "sub_alpha": (lambda a, b: minidl.sub(a, b, alpha=2), lambda a, b: a - 2 * b),
    "addcmul": (lambda a, b: minidl.addcmul(a, a, b, value=2), lambda a, b: a + 2 * a * b),
    "addcdiv": (lambda a, b: minidl.addcdiv(a, a, b), lambda a, b: a + a / b),
}  # fmt: skip
COMPARE = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}  # fmt: skip
SHAPES = [(3, 4, 2, 5), (1, 3, 1, 2), (0, 3, 2, 2), (2, 1, 1, 1)]
PAIRS = [
    ((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)), ((2, 3), ()), ((), ()),
    ((0, 3), (1, 3)), ((4, 1, 3), (2, 1)), ((1,), (5,)), ((1, 1), (1,)),
]  # fmt: skip


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


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, shapes: Any, dtype: Any, device: str) -> None:
    ours, numpy = BINARY[name]
    a, b = (helpers.values(shape, seed, dtype) for seed, shape in enumerate(shapes))
    y = ours(helpers.leaf(a, device), helpers.leaf(b, device))
    assert y.dtype == dtype
    close(y, numpy(a.astype(float), b.astype(float)))


@pytest.mark.parametrize("shapes", PAIRS, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_binary_gradient(name: str, shapes: Any, device: str) -> None:
    a, b = (helpers.leaf(helpers.values(s, seed + 5), device) for seed, s in enumerate(shapes))
    assert minidl.gradcheck(BINARY[name][0], (a, b))
    assert minidl.gradcheck(lambda a: BINARY[name][0](a, b.detach()), a)


@pytest.mark.parametrize("name", BINARY)
def test_binary_with_layouts(name: str, device: str) -> None:
    ours, numpy = BINARY[name]
    a, b = helpers.values((3, 4, 2, 5), 0), helpers.values((3, 4, 2, 5), 1)
    for first in helpers.LAYOUTS.values():
        for second in helpers.LAYOUTS.values():
            x, y = first(a), second(b)
            close(ours(helpers.leaf(x, device), helpers.leaf(y, device)), numpy(x, y))


@pytest.mark.parametrize("name", COMPARE)
def test_comparisons(name: str, device: str) -> None:
    a, b = np.array([[-1.0, 0.0, 2.0]]), np.array([[0.0], [2.0], [np.nan]])
    for dtype in (np.float32, np.float64):
        ours = getattr(minidl, name)(
            helpers.leaf(a.astype(dtype), device), helpers.leaf(b.astype(dtype), device)
        )
        assert ours.dtype == bool and not ours.requires_grad
        np.testing.assert_array_equal(helpers.host(ours), COMPARE[name](a, b))
    x = minidl.arange(3, device=device)
    assert getattr(minidl, name)(x, 1).tolist() == COMPARE[name](np.arange(3), 1).tolist()


@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=4))
def test_broadcasting_is_numpys(device: str, shapes: Any) -> None:
    a, b = (helpers.values(shape, i) for i, shape in enumerate(shapes.input_shapes))
    x, y = helpers.leaf(a, device=device), helpers.leaf(b, device=device)
    result = x * y
    assert result.shape == shapes.result_shape
    np.testing.assert_array_equal(helpers.host(result), a * b)
    result.sum().backward()
    ones = np.ones(shapes.result_shape)
    close(x.grad, unbroadcast(ones * b, a.shape))
    assert x.grad.shape == a.shape and y.grad.shape == b.shape
    assert y.grad.sum().item() == pytest.approx(np.broadcast_to(a, shapes.result_shape).sum())


@given(st.integers(-5, 5), st.sampled_from(["int8", "int16", "int32", "int64"]))
def test_integers(device: str, number: int, dtype: str) -> None:
    a = np.arange(-3, 4, dtype=dtype)
    x = helpers.leaf(a, device, requires_grad=False)
    for ours, expected in (
        (x + number, a + number), (number - x, number - a), (x * number, a * number),
        (x.abs(), abs(a)),
        (x & number, a & number), (x | number, a | number), (x ^ number, a ^ number), (~x, ~a),
        (x.clamp(-1, 2), a.clip(-1, 2)), (x.sign(), np.sign(a)), (x.square(), a * a), (x**2, a**2),
    ):  # fmt: skip
        assert ours.dtype == dtype
        np.testing.assert_array_equal(helpers.host(ours), expected)
    assert (x / 2).dtype == (x + 0.5).dtype == x.exp().dtype == x.sqrt().dtype == np.float32
    if number:
        np.testing.assert_array_equal(helpers.host(x // number), a // number)
        np.testing.assert_array_equal(helpers.host(x % number), a % number)
        assert minidl.div(x, number, rounding_mode="trunc").tolist() == [int(v / number) for v in a]
        assert minidl.div(x, number, rounding_mode="floor").dtype == dtype


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


def test_ties_share_the_gradient(device: str) -> None:
    a, b = (minidl.tensor([1.0, 2.0], requires_grad=True, device=device) for _ in range(2))
    minidl.maximum(a, b).sum().backward()
    assert a.grad.tolist() == b.grad.tolist() == [0.5, 0.5]


def test_large_arrays_go_through_lanes(device: str) -> None:
    x = helpers.values((3, 1 << 16), 0, np.float32)
    y = helpers.values((3, 1 << 16), 1, np.float32)
    close(minidl.tensor(x, device=device) * minidl.tensor(y, device=device), x * y)
    close(minidl.tensor(x, device=device).exp(), np.exp(x.astype(float)))
    close(minidl.tensor(x, device=device) + minidl.tensor(y[0], device=device), x + y[0])


def test_where_and_masked_fill(device: str) -> None:
    x = minidl.tensor([[1.0, -2.0], [3.0, -4.0]], requires_grad=True, device=device)
    y = x.masked_fill(x < 0, -np.inf)
    assert y.tolist() == [[1.0, -np.inf], [3.0, -np.inf]]
    y[:, 0].sum().backward()
    assert x.grad.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    rows, columns = minidl.where(x > 0)
    assert rows.tolist() == [0, 1] and columns.tolist() == [0, 0]
    assert minidl.where(x > 0, 1, 0).dtype == np.int64
    value = minidl.tensor(5.0, requires_grad=True, device=device)
    x.masked_fill(x < 0, value).sum().backward()
    assert value.grad.item() == 2.0
    with pytest.raises(DTypeError, match="condition"):
        minidl.where(x, x, x)
    with pytest.raises(ShapeError, match="where"):
        minidl.where(x > 0, x, minidl.ones(3, device=device))


def test_numbers_that_are_not_finite(device: str) -> None:
    x = minidl.tensor([np.nan, np.inf, -np.inf, 0.0], device=device)
    assert x.isnan().tolist() == [True, False, False, False]
    assert x.isinf().tolist() == [False, True, True, False]
    assert x.isfinite().tolist() == [False, False, False, True]
    assert np.isnan(x.clamp(-1, 1)[0].item()) and np.isnan(
        minidl.maximum(x, minidl.zeros(4, device=device))[0].item()
    )


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
