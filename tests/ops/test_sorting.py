"""Sorting, topk, median, unique: against NumPy."""

from __future__ import annotations

import helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl.errors import ArgumentError


@given(
    hnp.arrays(np.int64, hnp.array_shapes(max_dims=3, max_side=5), elements=st.integers(-3, 3)),
    st.data(),
)
def test_sorting_is_stable(device: str, a: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    x = helpers.leaf(a, device, requires_grad=False)
    values, where = x.sort(axis)
    np.testing.assert_array_equal(helpers.host(where), a.argsort(axis, kind="stable"))
    np.testing.assert_array_equal(helpers.host(values), np.sort(a, axis))
    down, places = x.sort(axis, descending=True)
    np.testing.assert_array_equal(helpers.host(places), (-a).argsort(axis, kind="stable"))
    k = data.draw(st.integers(0, a.shape[axis]))
    best = x.topk(k, axis)
    largest = helpers.host(down.narrow(axis, 0, k))
    np.testing.assert_array_equal(helpers.host(best.values), largest)
    np.testing.assert_array_equal(
        helpers.host(best.indices), helpers.host(places.narrow(axis, 0, k))
    )
    least = x.topk(k, axis, largest=False)
    np.testing.assert_array_equal(helpers.host(least[0]), helpers.host(values.narrow(axis, 0, k)))


def test_gradient_of_sorting(device: str) -> None:
    x = helpers.leaf(helpers.distinct((3, 4), 0), device=device)
    assert minidl.gradcheck(lambda x: x.sort(0)[0], x)
    assert minidl.gradcheck(lambda x: x.topk(2, 1)[0], x)
    with pytest.raises(ArgumentError, match="k=5"):
        x.topk(5)


@pytest.mark.parametrize("length", [1, 2, 3, 17, 64, 1000])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64", "bool"])
def test_sorting_anything(length: int, dtype: str, device: str) -> None:
    rng = np.random.default_rng(length)
    a = rng.integers(-9, 9, (3, length)).astype(dtype)
    if a.dtype.kind == "f":
        special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -1e300]
        with np.errstate(over="ignore"):
            odd = rng.choice(special, a.shape).astype(dtype)
        a = np.where(rng.random(a.shape) < 0.4, odd, a)
    x = helpers.leaf(a, device, requires_grad=False)
    for axis in (1, 0):
        order = a.argsort(axis, kind="stable")
        np.testing.assert_array_equal(helpers.host(x.argsort(axis)), order)
        values = helpers.host(x.sort(axis)[0])
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, np.take_along_axis(a, order, axis))
        reversed_ = np.flip(a.shape[axis] - 1 - np.flip(a, axis).argsort(axis, kind="stable"), axis)
        np.testing.assert_array_equal(helpers.host(x.argsort(axis, descending=True)), reversed_)


def test_unique_and_isin_are_numpys(device: str) -> None:
    rng = np.random.default_rng(0)
    for a in (rng.integers(0, 3, (6, 2)), rng.choice([0.5, -0.0, 0.0, np.nan], (5, 3)),
              np.zeros((0, 2)), rng.integers(0, 2, (4, 3)).astype(bool)):  # fmt: skip
        x = helpers.leaf(a, device, requires_grad=False)
        for dim in (None, 0, 1) if a.dtype.kind != "f" else (None,):
            ours = x.unique(return_inverse=True, return_counts=True, dim=dim)
            theirs = np.unique(a, return_inverse=True, return_counts=True, axis=dim)
            for mine, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(helpers.host(mine), other)
            np.testing.assert_array_equal(helpers.host(x.unique(dim=dim)), theirs[0])
        for tested in (a[:1].copy(), a[:0].copy(), np.array([[1, 2]])):
            other = helpers.leaf(tested, device, requires_grad=False)
            np.testing.assert_array_equal(helpers.host(minidl.isin(x, other)), np.isin(a, tested))
