"""Arithmetic on two tensors, broadcast: against NumPy, with gradients by differences."""

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
from minidl.ops.operands import unbroadcast

BINARY: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "add": (minidl.add, np.add), "sub": (minidl.sub, np.subtract), "mul": (minidl.mul, np.multiply),
    "div": (minidl.div, np.divide), "maximum": (minidl.maximum, np.maximum),
    "minimum": (minidl.minimum, np.minimum), "remainder": (minidl.remainder, np.remainder),
    "fmod": (minidl.fmod, np.fmod),
    "pow": (lambda a, b: minidl.pow(a.abs(), b), lambda a, b: np.abs(a) ** b),
    "where": (lambda a, b: minidl.where(a > b, a, b), np.maximum),
    "lerp": (lambda a, b: minidl.lerp(a, b, 0.25), lambda a, b: a + 0.25 * (b - a)),
    "lerp_far": (lambda a, b: minidl.lerp(a, b, 0.75), lambda a, b: a + 0.75 * (b - a)),
    "lerp_tensor": (lambda a, b: minidl.lerp(a, b, abs(b)), lambda a, b: a + abs(b) * (b - a)),
    "add_alpha": (lambda a, b: minidl.add(a, b, alpha=3), lambda a, b: a + 3 * b),
    "sub_alpha": (lambda a, b: minidl.sub(a, b, alpha=2), lambda a, b: a - 2 * b),
    "addcmul": (lambda a, b: minidl.addcmul(a, a, b, value=2), lambda a, b: a + 2 * a * b),
    "addcdiv": (lambda a, b: minidl.addcdiv(a, a, b), lambda a, b: a + a / b),
}  # fmt: skip
PAIRS = [
    ((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 3)), ((2, 3), ()), ((), ()),
    ((0, 3), (1, 3)), ((4, 1, 3), (2, 1)), ((1,), (5,)), ((1, 1), (1,)),
]  # fmt: skip


def close(actual: Any, expected: Any) -> None:
    helpers.assert_close(actual, expected, 50)


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


def test_lerp_reaches_both_ends_exactly(device: str) -> None:
    begin = minidl.tensor([1e8, 1.0], device=device)
    end = minidl.tensor([1.0, 1e-9], device=device)
    for weight in (1.0, minidl.ones(2, device=device)):
        assert minidl.lerp(begin, end, weight).tolist() == end.tolist()
        assert minidl.lerp(begin, end, 0 * weight).tolist() == begin.tolist()
