"""Response normalization within a map against explicit loops.

alpha is near 1 wherever numbers are compared, so that a window that misses a pixel shows.
"""

from __future__ import annotations

import helpers
import numpy as np
import operation
import pytest
import reference
from hypothesis import strategies as st
from operation import Case

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError

constants = st.fixed_dictionaries(
    {
        "alpha": st.sampled_from([0.7, 1.0, 1.5]),
        "beta": st.sampled_from([0.75, 0.5, 1.0, 0.6]),
        "k": st.sampled_from([1.0, 2.0]),
    }
)

# s is a sum of up to size² squares, and s^-beta multiplies its relative error.
TestSpatialResponseNorm = operation.standard_tests(
    F.spatial_response_norm,
    reference.spatial_response_norm,
    [
        Case((2, 7, 5, 4), size=3, alpha=1.0),
        Case((2, 6, 4, 5), size=4, alpha=1.0, beta=0.75, k=2.0),
        Case((2, 2, 4, 5), size=2, alpha=1.0, beta=0.6),
        Case((2, 2, 4, 5), size=5, alpha=0.9, beta=1.0, k=2.0),
    ],
    loops_backward=reference.spatial_response_norm_backward,
    any_case=st.builds(
        lambda shape, size, constants: Case(shape, size=size, **constants),
        st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 6), st.integers(1, 6)),
        st.integers(1, 7),
        constants,
    ),
    examples=60,
    terms=lambda x, size, **rest: size**2 + 4,
    modules=[(nn.SpatialResponseNorm(3, 1.0), {"size": 3, "alpha": 1.0})],
    launches=({"spatial_response_norm_forward": 1}, {"spatial_response_norm_backward": 1}),
)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_gradcheck(size: int, device: str) -> None:
    x = helpers.leaf(helpers.values((2, 2, 4, 5), 0), device)
    assert minidl.gradcheck(
        lambda x: F.spatial_response_norm(x, size, alpha=1.0, k=2.0), (x,), rtol=1e-6
    )


def test_spatial_norm_keeps_channels_apart() -> None:
    x = helpers.values((1, 3, 5, 5), 0)
    before = helpers.host(F.spatial_response_norm(minidl.tensor(x), 3, alpha=1.0))
    x[:, 1] *= 10
    after = helpers.host(F.spatial_response_norm(minidl.tensor(x), 3, alpha=1.0))
    np.testing.assert_array_equal(after[:, [0, 2]], before[:, [0, 2]])


def test_spatial_window_is_one_square_not_a_cross() -> None:
    x = np.full((1, 1, 5, 5), 1e-3)
    x[0, 0, 2, 2] = 3.0
    out = helpers.host(F.spatial_response_norm(minidl.tensor(x), 3, alpha=9.0, beta=1.0))
    divided = (out / x < 0.5)[0, 0]
    expected = np.zeros((5, 5), bool)
    expected[1:4, 1:4] = True
    np.testing.assert_array_equal(divided, expected)


def test_zeros_give_zeros_and_finite_gradients(device: str) -> None:
    x = helpers.leaf(np.zeros((1, 4, 3, 3)), device)
    out = F.spatial_response_norm(x, 3, alpha=1.0)
    out.sum().backward()
    np.testing.assert_array_equal(helpers.host(out), 0)
    np.testing.assert_array_equal(helpers.host(x.grad), 1)


def test_numbers_whose_squares_overflow(device: str) -> None:
    x = np.full((1, 5, 3, 3), 1.0, np.float32)
    x[0, 2, 1, 1] = 1e30
    out = helpers.host(F.spatial_response_norm(minidl.tensor(x, device=device), 3, alpha=1.0))
    assert np.isfinite(out).all() and out[0, 2, 1, 1] == 0


def test_nan_and_infinity_stay_in_the_windows_that_see_them(device: str) -> None:
    x = np.ones((1, 7, 7, 7))
    x[0, 2, 1, 1] = np.nan
    x[0, 5, 5, 5] = np.inf
    with np.errstate(invalid="ignore"):
        right = reference.spatial_response_norm(x, 3, alpha=1.0)
    out = F.spatial_response_norm(minidl.tensor(x, device=device), 3, alpha=1.0)
    np.testing.assert_allclose(helpers.host(out), right, rtol=1e-12)


def test_errors_name_the_argument() -> None:
    for match, call in {
        "input|shape": lambda: F.spatial_response_norm(minidl.ones(4), 3),
        "size|0": lambda: F.spatial_response_norm(minidl.ones(1, 4, 3, 3), 0),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()
