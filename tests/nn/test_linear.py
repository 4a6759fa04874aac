"""Linear against explicit loops."""

from __future__ import annotations

from typing import Any

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

TestLinear = operation.standard_tests(
    F.linear,
    reference.linear,
    [
        Case((6, 4), (5, 4), (5,)),
        Case((6, 4), (5, 4)),
        Case((3,), (5, 3), (5,)),
        Case((2, 5, 3), (5, 3), (5,)),
        Case((2, 3, 2, 3), (5, 3)),
        Case((37, 1), (5, 1), (5,)),
    ],
    any_case=st.builds(
        lambda rows, outs, ins: Case((*rows, ins), (outs, ins), (outs,)),
        operation.shapes(most_axes=3),
        st.integers(1, 70),
        st.integers(1, 40),
    ),
    examples=40,
    large=Case((37, 700), (900, 700), (900,)),
    terms=lambda x, *rest: x[-1],
    torch="linear",
)


@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_flattened_images_of_any_layout(layout: str, device: str) -> None:
    """Flatten reads in NCHW order whatever the memory's order: fc6 depends on it."""
    x = helpers.LAYOUTS[layout](helpers.values((3, 4, 2, 2), 0))
    weight = helpers.values((5, 16), 1)
    flat = nn.Flatten()(helpers.leaf(x, device))
    np.testing.assert_array_equal(helpers.host(flat), np.array(x, order="C").reshape(3, 16))
    out = F.linear(flat, helpers.leaf(weight, device))
    helpers.assert_close(out, np.array(x, order="C").reshape(3, 16) @ weight.T, 16)
    assert minidl.gradcheck(
        lambda x, w: F.linear(nn.Flatten()(x), w),
        (helpers.leaf(x, device), helpers.leaf(weight, device)),
    )


def test_module(device: str) -> None:
    layer = nn.Linear(4, 3).to(device)
    assert layer.weight.shape == (3, 4) and layer.bias.shape == (3,)
    x = minidl.tensor(helpers.values((2, 4), 0, np.float32), device=device)
    assert layer(x).tolist() == F.linear(x, layer.weight, layer.bias).tolist()
    assert nn.Linear(4, 3, bias=False).bias is None
    assert minidl.gradcheck(layer, (helpers.leaf(helpers.values((2, 4), 0), device),))


def test_parameter_counts_of_the_paper() -> None:
    counts = [(i + 1) * o for i, o in [(9216, 4096), (4096, 4096), (4096, 1000)]]
    assert counts == [37_752_832, 16_781_312, 4_097_000]
    layer = nn.Linear(4096, 1000)
    assert sum(p.numel() for p in layer.parameters()) == counts[2]


def test_initialization_is_within_pytorchs_bound() -> None:
    layer = nn.Linear(100, 300)
    for values in (layer.weight, layer.bias):
        assert np.abs(helpers.host(values)).max() <= 0.1
    assert helpers.host(layer.weight).std() == pytest.approx(0.1 / np.sqrt(3), rel=0.02)


def test_errors_name_the_argument() -> None:
    x, weight = minidl.zeros(2, 3), minidl.zeros(4, 3)
    for match, call in {
        "input|weight": lambda: F.linear(minidl.zeros(2, 4), weight),
        "weight": lambda: F.linear(x, minidl.zeros(2, 2, 3)),
        "bias": lambda: F.linear(x, weight, minidl.zeros(3)),
        "dtype|float64": lambda: F.linear(x, weight.double()),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()


# --- The kernels ----------------------------------------------------------------------------------


def test_gpu_launches_and_products(gpu: str, simulator: Any) -> None:
    leaves = [
        helpers.leaf(helpers.values(shape, i, np.float32), gpu)
        for i, shape in enumerate([(7, 30), (50, 30), (50,)])
    ]
    F.linear(*leaves).sum().backward()  # compiles
    for leaf in leaves:
        leaf.grad = None
    with simulator.count() as forward:
        out = F.linear(*leaves)
    grad = minidl.ones(7, 50, device=gpu)
    with simulator.count() as backward:
        out.backward(grad)
    assert (dict(forward.kernels), len(forward.cublas_calls)) == ({"add_bias": 1}, 1)
    assert (dict(backward.kernels), len(backward.cublas_calls)) == ({"sum_rows": 1}, 2)
    for used in (forward, backward):
        assert (used.syncs, used.h2d, used.d2h, used.d2d) == (0, 0, 0, 0)
    with simulator.count() as without_bias:
        F.linear(*leaves[:2])
    assert (without_bias.launches, len(without_bias.cublas_calls)) == (0, 1)


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 300])
@pytest.mark.parametrize("columns", [1, 31, 32, 33, 100])
def test_the_bias_gradient_adds_up_rows(rows: int, columns: int, device: str) -> None:
    bias = helpers.leaf(np.zeros(columns, np.float32), device)
    out = F.linear(
        minidl.zeros(rows, 2, device=device), minidl.zeros(columns, 2, device=device), bias
    )
    grad = helpers.values((rows, columns), 3, np.float32)
    out.backward(minidl.tensor(grad, device=device))
    helpers.assert_close(bias.grad, grad.astype(float).sum(0), rows)


def test_no_features_at_all() -> None:
    with pytest.warns(UserWarning, match=r"shape \(3, 0\) has no elements"):
        layer = nn.Linear(0, 3)
    assert layer(minidl.ones(2, 0)).tolist() == [[0, 0, 0]] * 2
