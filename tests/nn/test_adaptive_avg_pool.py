"""Adaptive average-pool against explicit loops."""

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

TestAdaptiveAvgPool = operation.standard_tests(
    F.adaptive_avg_pool2d,
    reference.adaptive_avg_pool2d,
    [
        Case((2, 3, 9, 8), output_size=(6, 5)),
        Case((2, 2, 5, 4), output_size=(3, 2)),
        Case((2, 2, 5, 4), output_size=1),
        Case((2, 2, 5, 4), output_size=(7, 5)),
    ],
    loops_backward=lambda grad, x, output_size: reference.adaptive_avg_pool2d_backward(
        grad, x.shape
    ),
    any_case=st.builds(
        lambda shape, output_size: Case(shape, output_size=output_size),
        st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
        st.tuples(st.integers(1, 7), st.integers(1, 7)),
    ),
    large=Case((37, 24, 15, 15), output_size=6),
    terms=81,
    modules=[(nn.AdaptiveAvgPool2d((6, 5)), {"output_size": (6, 5)})],
    torch="adaptive_avg_pool2d",
    launches=({"adaptive_forward": 1}, {"adaptive_backward": 1}),
)


def test_adaptive_pool_is_the_identity_at_its_own_size(device: str) -> None:
    x = helpers.values((2, 3, 6, 6), 0)
    out = F.adaptive_avg_pool2d(minidl.tensor(x, device=device), 6)
    np.testing.assert_array_equal(helpers.host(out), x)


def test_adaptive_pool_of_none_keeps_the_size(device: str) -> None:
    x = helpers.values((2, 3, 5, 4), 0)
    out = F.adaptive_avg_pool2d(minidl.tensor(x, device=device), (None, 2))
    helpers.assert_close(out, reference.adaptive_avg_pool2d(x, (5, 2)), 4)


def test_one_image_without_a_batch_axis(device: str) -> None:
    x = helpers.values((3, 7, 7), 0)
    out = F.adaptive_avg_pool2d(minidl.tensor(x, device=device), 2)
    helpers.assert_close(out, reference.adaptive_avg_pool2d(x[None], 2)[0], 16)


def test_errors_name_the_argument() -> None:
    for match, arguments in {
        "input": (minidl.zeros(4, 4), 2),
        "floats": (minidl.zeros(1, 1, 4, 4, dtype="int64"), 2),
        "output_size": (minidl.zeros(1, 1, 4, 4), 0),
    }.items():
        with pytest.raises(MinidlError, match=match):
            F.adaptive_avg_pool2d(*arguments)
