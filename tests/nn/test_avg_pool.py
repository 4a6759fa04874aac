"""Average-pool against explicit loops."""

from __future__ import annotations

import helpers
import numpy as np
import operation
import pytest
import reference
from hypothesis import strategies as st
from operation import Case
from pools import PAPER, problems

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError

TestAvgPool = operation.standard_tests(
    F.avg_pool2d,
    reference.avg_pool2d,
    [
        Case((3, 5, 11, 9), **PAPER),
        Case((2, 2, 6, 5), kernel_size=3, stride=2, padding=1, ceil_mode=True),
        Case((2, 2, 6, 5), kernel_size=2),
        Case((2, 2, 6, 5), kernel_size=3, stride=1, padding=1, count_include_pad=False),
        Case((2, 2, 6, 5), kernel_size=(2, 3), divisor_override=5),
    ],
    loops_backward=lambda grad, x, **options: reference.avg_pool2d_backward(
        grad, x.shape, **options
    ),
    any_case=st.builds(
        lambda problem, count_include_pad, divisor_override: Case(
            problem[0],
            **problem[1],
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        ),
        problems(with_dilation=False),
        st.booleans(),
        st.sampled_from([None, None, 1, 7]),
    ),
    large=Case((37, 24, 15, 15), **PAPER),
    terms=16,
    modules=[(nn.AvgPool2d(3, 2), PAPER)],
    torch="avg_pool2d",
    launches=({"average_forward": 1}, {"average_backward": 1}),
)


@pytest.mark.parametrize(
    ("size", "floor", "ceil"), [(32, 15, 16), (16, 7, 8), (8, 3, 4), (24, 11, 12), (12, 5, 6)]
)
def test_sizes_of_the_cifar_nets(size: int, floor: int, ceil: int) -> None:
    x = minidl.zeros(1, 1, size, size)
    assert F.avg_pool2d(x, 3, 2).shape[-1] == floor
    assert F.avg_pool2d(x, 3, 2, ceil_mode=True).shape[-1] == ceil


def test_padding_counts_unless_told_otherwise(device: str) -> None:
    x = minidl.ones(1, 1, 2, 2, device=device)
    assert F.avg_pool2d(x, 2, padding=1).tolist() == [[[[0.25, 0.25], [0.25, 0.25]]]]
    out = F.avg_pool2d(x, 2, padding=1, count_include_pad=False)
    assert out.tolist() == [[[[1, 1], [1, 1]]]]


def test_the_overhang_of_ceil_mode_does_not_count(device: str) -> None:
    x = minidl.ones(1, 1, 3, 3, device=device)
    assert F.avg_pool2d(x, 2, ceil_mode=True).tolist() == [[[[1, 1], [1, 1]]]]


def test_one_image_without_a_batch_axis(device: str) -> None:
    x = helpers.values((3, 7, 7), 0)
    out = F.avg_pool2d(minidl.tensor(x, device=device), **PAPER)
    helpers.assert_close(out, reference.avg_pool2d(x[None], **PAPER)[0], 9)


def test_module(device: str) -> None:
    x = minidl.tensor(helpers.values((2, 3, 8, 9), 0), device=device)
    layer = nn.AvgPool2d(3, 2, 1, count_include_pad=False)
    out = F.avg_pool2d(x, 3, 2, 1, False, False)
    np.testing.assert_array_equal(helpers.host(layer(x)), helpers.host(out))
    assert not list(layer.parameters())


def test_errors_name_the_argument() -> None:
    x = minidl.zeros(1, 1, 4, 4)
    for match, arguments in {
        "input": (minidl.zeros(4, 4), 2),
        "floats": (minidl.zeros(1, 1, 4, 4, dtype="int64"), 2),
        "kernel_size": (x, 0),
        "kernel_size|input|smaller than the window of 5x5": (x, 5),
        "stride": (x, 2, 0),
        "padding": (x, 2, None, 2),
        "padding|-1": (x, 2, None, -1),
        "divisor_override": (x, 2, None, 0, False, True, 0),
    }.items():
        with pytest.raises(MinidlError, match=match):
            F.avg_pool2d(*arguments)
