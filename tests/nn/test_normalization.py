"""LRN across channels and within a map, and batch normalisation.

alpha is near 1 wherever numbers are compared: with the usual 1e-4 a window that misses a channel
changes the result by less than a tolerance would notice.
"""

from __future__ import annotations

import os
from typing import Any

import helpers
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError

NORMS: dict[str, tuple[Any, Any, Any]] = {
    "channels": (
        F.local_response_norm,
        reference.local_response_norm,
        reference.local_response_norm_backward,
    ),
    "space": (
        F.spatial_response_norm,
        reference.spatial_response_norm,
        reference.spatial_response_norm_backward,
    ),
}


def check_norm(kind: str, x: Any, device: str, **options: Any) -> None:
    norm, forward, backward = NORMS[kind]
    leaf = helpers.leaf(x, device)
    out = norm(leaf, **options)
    assert out.dtype == x.dtype
    # s is a sum of up to size (or size²) squares, and s^-beta multiplies its relative error.
    terms = options["size"] ** (2 if kind == "space" else 1) + 4
    helpers.assert_close(out, forward(x, **options), terms)
    grad = helpers.values(x.shape, 5, x.dtype)
    out.backward(minidl.tensor(grad, device=device))
    helpers.assert_close(leaf.grad, backward(grad, x, **options), 2 * terms)


constants = st.fixed_dictionaries(
    {
        "alpha": st.sampled_from([0.7, 1.0, 1.5]),
        "beta": st.sampled_from([0.75, 0.5, 1.0, 0.6]),
        "k": st.sampled_from([1.0, 2.0]),
    }
)
common: dict[str, Any] = {
    "constants": constants,
    "layout": st.sampled_from(sorted(helpers.LAYOUTS)),
    "dtype": st.sampled_from(helpers.DTYPES),
}


# ---- across channels ----


@settings(max_examples=300)
@given(
    batch=st.integers(0, 3),
    per_group=st.integers(1, 9),
    groups=st.integers(1, 3),
    space=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    size=st.integers(1, 12),
    **common,
)
def test_any_local_response_norm(
    batch: int,
    per_group: int,
    groups: int,
    space: tuple[int, int],
    size: int,
    constants: dict[str, float],
    layout: str,
    dtype: Any,
    device: str,
) -> None:
    x = helpers.LAYOUTS[layout](helpers.values((batch, per_group * groups, *space), 1, dtype))
    check_norm("channels", x, device, size=size, groups=groups, **constants)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 9, 20])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_even_and_odd_sizes(size: int, groups: int, device: str) -> None:
    x = helpers.values((2, 8, 3, 2), 0)
    check_norm("channels", x, device, size=size, alpha=0.9, beta=0.75, k=2.0, groups=groups)


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_layouts(layout: str, dtype: Any, kind: str, device: str) -> None:
    x = helpers.LAYOUTS[layout](helpers.values((2, 7, 5, 4), 0, dtype))
    check_norm(kind, x, device, size=5, alpha=1.0, beta=0.75, k=2.0)


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_gradient_of_the_output_in_any_layout(layout: str, kind: str, device: str) -> None:
    norm, _, backward = NORMS[kind]
    x = helpers.values((2, 6, 4, 5), 0)
    grad = helpers.LAYOUTS[layout](helpers.values(x.shape, 1))
    leaf = helpers.leaf(x, device)
    norm(leaf, 4, alpha=1.0).backward(helpers.leaf(grad, device, requires_grad=False))
    helpers.assert_close(leaf.grad, backward(grad, x, 4, alpha=1.0), 40)


@pytest.mark.parametrize("shape", [(3, 7), (2, 7, 3), (2, 7, 2, 1, 3)], ids=str)
def test_any_number_of_axes(shape: tuple[int, ...], device: str) -> None:
    x = helpers.values(shape, 0)
    check_norm("channels", x, device, size=4, alpha=1.0, beta=0.75, k=2.0)


def test_window_of_even_size_begins_half_before() -> None:
    """size 4 looks two channels back and one ahead: a pulse tells."""
    x = np.zeros((1, 8, 1, 1))
    x[0, 3] = 2.0
    x += 1e-3
    out = helpers.host(F.local_response_norm(minidl.tensor(x), 4, alpha=4.0, beta=1.0, k=1.0))
    divided = (out / x < 0.5).ravel()
    assert np.flatnonzero(divided).tolist() == [2, 3, 4, 5]


def test_groups_are_norms_of_split_channels(device: str) -> None:
    x = minidl.tensor(helpers.values((2, 6, 3, 3), 0), device=device)
    options = {"alpha": 1.0, "k": 2.0}
    whole = F.local_response_norm(x, 5, **options, groups=2)
    halves = [F.local_response_norm(part, 5, **options) for part in (x[:, :3], x[:, 3:])]
    np.testing.assert_array_equal(helpers.host(whole), helpers.host(minidl.cat(halves, 1)))
    crossing = F.local_response_norm(x, 5, **options)
    assert np.abs(helpers.host(crossing) - helpers.host(whole)).max() > 1e-3


def test_the_papers_formula_is_alpha_times_size(device: str) -> None:
    x = helpers.values((1, 9, 2, 2), 0) * 50
    literal = np.zeros_like(x)
    for i in range(9):
        squares = (x[:, max(0, i - 2) : min(8, i + 2) + 1] ** 2).sum(1)
        literal[:, i] = x[:, i] / (2 + 1e-4 * squares) ** 0.75
    out = F.local_response_norm(minidl.tensor(x, device=device), 5, alpha=5e-4, k=2.0)
    helpers.assert_close(out, literal, 10)


@pytest.mark.parametrize(
    ("activity", "factor"), [(1, 0.595), (10, 0.592), (50, 0.544), (100, 0.439), (200, 0.261)]
)
def test_published_size_of_the_effect(activity: float, factor: float) -> None:
    x = minidl.full((1, 5, 1, 1), float(activity), dtype=minidl.float64)
    out = F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=2.0)
    assert round(out[0, 2, 0, 0].item() / activity, 3) == factor


def test_without_activity_only_k_counts() -> None:
    x = minidl.full((1, 3, 1, 1), 1e-6, dtype=minidl.float64)
    scaled = F.local_response_norm(x, 5, k=2.0) / x
    np.testing.assert_allclose(helpers.host(scaled), 2**-0.75, rtol=1e-12)


def test_zeros_give_zeros_and_finite_gradients(device: str) -> None:
    for norm in (F.local_response_norm, F.spatial_response_norm):
        x = helpers.leaf(np.zeros((1, 4, 3, 3)), device)
        out = norm(x, 3, alpha=1.0)
        out.sum().backward()
        np.testing.assert_array_equal(helpers.host(out), 0)
        np.testing.assert_array_equal(helpers.host(x.grad), 1)


@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0, 0.3])
@pytest.mark.parametrize("size", [4, 5])
def test_gradcheck(size: int, beta: float, device: str) -> None:
    x = helpers.leaf(helpers.values((2, 6, 3, 2), 0), device)
    for groups in (1, 2):
        assert minidl.gradcheck(
            lambda x, groups=groups: F.local_response_norm(
                x, size, alpha=1.0, beta=beta, k=2.0, groups=groups
            ),
            (x,),
            rtol=1e-6,
        )


@pytest.mark.parametrize("size", [4, 5])
def test_a_gradient_that_nobody_else_holds(size: int, device: str) -> None:
    """It may be overwritten: dx_j is written while neighbours still need what dy_j gave."""
    x, grad = helpers.values((2, 9, 4, 3), 0), helpers.values((2, 9, 4, 3), 1)
    leaf = helpers.leaf(x, device)
    out = F.local_response_norm(leaf * 1.0, size, alpha=1.0, k=2.0) * minidl.tensor(
        grad, device=device
    )
    out.sum().backward()
    right = reference.local_response_norm_backward(grad, x, size, alpha=1.0, k=2.0)
    helpers.assert_close(leaf.grad, right, 40)


@pytest.mark.parametrize("kind", NORMS)
def test_numbers_whose_squares_overflow(kind: str, device: str) -> None:
    x = np.full((1, 5, 3, 3), 1.0, np.float32)
    x[0, 2, 1, 1] = 1e30
    out = helpers.host(NORMS[kind][0](minidl.tensor(x, device=device), 3, alpha=1.0))
    assert np.isfinite(out).all() and out[0, 2, 1, 1] == 0


@pytest.mark.parametrize("kind", NORMS)
def test_nan_and_infinity_stay_in_the_windows_that_see_them(kind: str, device: str) -> None:
    x = np.ones((1, 7, 7, 7))
    x[0, 2, 1, 1] = np.nan
    x[0, 5, 5, 5] = np.inf
    with np.errstate(invalid="ignore"):
        right = NORMS[kind][1](x, 3, alpha=1.0)
    out = NORMS[kind][0](minidl.tensor(x, device=device), 3, alpha=1.0)
    np.testing.assert_allclose(helpers.host(out), right, rtol=1e-12)


# ---- within a map ----


@settings(max_examples=120)
@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 2), st.integers(1, 6), st.integers(1, 6)),
    size=st.integers(1, 7),
    **common,
)
def test_any_spatial_response_norm(
    shape: tuple[int, ...],
    size: int,
    constants: dict[str, float],
    layout: str,
    dtype: Any,
    device: str,
) -> None:
    x = helpers.LAYOUTS[layout](helpers.values(shape, 1, dtype))
    check_norm("space", x, device, size=size, **constants)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_spatial_gradcheck(size: int, device: str) -> None:
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


# ---- both norms at the engine's boundaries, as modules, and with bad arguments ----


def test_batches_that_do_not_divide_into_lanes(device: str) -> None:
    x = helpers.values((37, 8, 9, 9), 0, np.float32)
    grad = helpers.values(x.shape, 1, np.float32)
    leaf = helpers.leaf(x, device)
    out = F.local_response_norm(leaf, 5, alpha=1.0, k=2.0, groups=2)
    out.backward(minidl.tensor(grad, device=device))
    a, g = x.astype(np.float64), grad.astype(np.float64)
    window = np.array(
        [[j in reference.lrn_window(i, 8, 5, 2) for j in range(8)] for i in range(8)], float
    )
    s = 2 + 0.2 * np.einsum("ij,njyx->niyx", window, a * a)
    helpers.assert_close(out, a * s**-0.75, 10)
    right = g * s**-0.75 - 2 * 0.2 * 0.75 * a * np.einsum("ij,niyx->njyx", window, g * a * s**-1.75)
    helpers.assert_close(leaf.grad, right, 20)


@pytest.mark.parametrize(
    "norm",
    [
        lambda x: F.local_response_norm(x, 5, alpha=1.0),
        lambda x: F.spatial_response_norm(x, 5, alpha=1.0),
        lambda x: F.batch_norm(x, None, None, training=True),
    ],
    ids=["channels", "space", "batch"],
)
def test_same_bits_at_any_number_of_threads(norm: Any, threads: None) -> None:
    x = helpers.values((13, 48, 15, 15), 0, np.float32)
    results = []
    for count in (1, 2, 3):
        minidl.set_num_threads(count)
        leaf = helpers.leaf(x)
        out = norm(leaf)
        out.backward(minidl.tensor(helpers.values(x.shape, 1, np.float32)))
        results.append((helpers.host(out), helpers.host(leaf.grad)))
    for out, grad in results[1:]:
        np.testing.assert_array_equal(out, results[0][0])
        np.testing.assert_array_equal(grad, results[0][1])


def test_modules_are_the_functions(device: str) -> None:
    x = minidl.tensor(helpers.values((2, 6, 4, 4), 0), device=device)
    for module, out in [
        (nn.LocalResponseNorm(5), F.local_response_norm(x, 5)),
        (nn.LocalResponseNorm(4, 1.0, 0.5, 2.0), F.local_response_norm(x, 4, 1.0, 0.5, 2.0)),
        (nn.SpatialResponseNorm(3, 1.0, 0.5, 2.0), F.spatial_response_norm(x, 3, 1.0, 0.5, 2.0)),
    ]:
        np.testing.assert_array_equal(helpers.host(module(x)), helpers.host(out))


def test_errors_name_the_argument() -> None:
    x = minidl.ones(1, 4, 3, 3)
    for match, call in {
        "input": lambda: F.local_response_norm(minidl.ones(4), 5),
        "size": lambda: F.local_response_norm(x, 0),
        "groups": lambda: F.local_response_norm(x, 5, groups=3),
        "input|shape": lambda: F.spatial_response_norm(minidl.ones(4), 3),
        "size|0": lambda: F.spatial_response_norm(x, 0),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_same_as_pytorch(size: int) -> None:
    torch = pytest.importorskip("torch")
    x = helpers.values((2, 7, 4, 3), 0)
    ours, theirs = helpers.leaf(x), torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.local_response_norm(theirs, size, 0.9, 0.75, 2.0)
    out = F.local_response_norm(ours, size, 0.9, 0.75, 2.0)
    grad = helpers.values(x.shape, 1)
    out.backward(minidl.tensor(grad))
    expected.backward(torch.tensor(grad))
    helpers.assert_close(out, expected.detach().numpy(), 12)
    helpers.assert_close(ours.grad, theirs.grad.numpy(), 24)


# ---- batch normalisation ----


def batch_norm_arguments(channels: int, dtype: Any) -> tuple[Any, ...]:
    """running_mean, running_var, weight, bias"""
    return (
        helpers.values((channels,), 1, dtype),
        np.abs(helpers.values((channels,), 2, dtype)) + dtype.type(0.5),
        helpers.values((channels,), 3, dtype),
        helpers.values((channels,), 4, dtype),
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
@pytest.mark.parametrize("shape", [(4, 3), (3, 2, 4, 5), (2, 1, 1, 1), (37, 3, 9, 9)], ids=str)
def test_batch_norm(
    shape: tuple[int, ...], layout: str, dtype: Any, training: bool, device: str
) -> None:
    x = helpers.LAYOUTS[layout](helpers.values(shape, 0, dtype))
    mean, var, weight, bias = batch_norm_arguments(shape[1], dtype)
    expected, new_mean, new_var = reference.batch_norm(
        x, mean, var, weight, bias, training, momentum=0.3
    )
    running = [minidl.tensor(a, device=device) for a in (mean, var)]
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias)]
    out = F.batch_norm(leaves[0], *running, *leaves[1:], training, 0.3)
    assert out.dtype == dtype
    count = x.size // shape[1]
    # x - mean is off by eps·|x|, and 1/sqrt(var + eps) magnifies that: by 300 where var is 0.
    smallest = x.astype(np.float64).var((0, *range(2, x.ndim))).min()
    scale = 1 / np.sqrt(smallest + 1e-5) if training else 1.5
    helpers.assert_close(out, expected, 2 * (count + 8), scale)
    helpers.assert_close(running[0], new_mean, count)
    helpers.assert_close(running[1], new_var, count)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(5, 3), (3, 2, 3, 2)], ids=str)
def test_batch_norm_gradcheck(shape: tuple[int, ...], training: bool, device: str) -> None:
    mean, var, weight, bias = batch_norm_arguments(shape[1], np.dtype(np.float64))

    def normalize(x: Any, weight: Any, bias: Any) -> Any:
        running = [minidl.tensor(a, device=device) for a in (mean, var)]
        return F.batch_norm(x, *running, weight, bias, training)

    leaves = [helpers.leaf(a, device) for a in (helpers.values(shape, 0), weight, bias)]
    assert minidl.gradcheck(normalize, leaves)
    assert minidl.gradcheck(lambda x: normalize(x, None, None), leaves[:1])
    if training:
        assert minidl.gradcheck(lambda x: F.batch_norm(x, None, None, training=True), leaves[:1])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_batch_norm_gradients_in_every_layout(layout: str, training: bool, device: str) -> None:
    lay = helpers.LAYOUTS[layout]
    mean, var, weight, bias = batch_norm_arguments(2, np.dtype(np.float64))
    running = [minidl.tensor(a, device=device) for a in (mean, var)]
    x, grad = helpers.values((3, 2, 2, 3), 0), lay(helpers.values((3, 2, 2, 3), 1))

    def normalize(*leaves: Any) -> Any:
        return F.batch_norm(leaves[0], *running, *leaves[1:], training, 0.0)

    leaves = [helpers.leaf(a, device) for a in (lay(x), lay(weight), bias)]
    assert minidl.gradcheck(normalize, leaves)
    # The same numbers for a gradient of any layout.
    plain, laid = (
        minidl.autograd.grad(
            normalize(*leaves), leaves, helpers.leaf(g, device, requires_grad=False)
        )
        for g in (np.array(grad, order="C"), grad)
    )
    for first, second in zip(plain, laid, strict=True):
        helpers.assert_close(second, helpers.host(first), 18)


def test_running_variance_is_unbiased_and_the_output_is_not(device: str) -> None:
    x = minidl.tensor([[1.0], [3.0]], dtype=minidl.float64, device=device)
    mean, var = (minidl.zeros(1, dtype=minidl.float64, device=device) for _ in range(2))
    out = F.batch_norm(x, mean, var, training=True, momentum=1.0, eps=0.0)
    assert out.tolist() == [[-1.0], [1.0]]  # biased variance 1
    assert mean.tolist() == [2.0] and var.tolist() == [2.0]  # unbiased variance 2


def test_training_output_has_mean_0_and_variance_1(device: str) -> None:
    x = minidl.tensor(helpers.values((8, 3, 5, 5), 0) * 7 + 30, device=device)
    out = helpers.host(F.batch_norm(x, None, None, training=True, eps=0.0))
    np.testing.assert_allclose(out.mean((0, 2, 3)), 0, atol=1e-12)
    np.testing.assert_allclose(out.var((0, 2, 3)), 1, rtol=1e-12)


def test_far_from_zero_the_variance_does_not_cancel(device: str) -> None:
    """E[x²] − E[x]² in float32 would be noise here."""
    x = (helpers.values((64, 2), 0) + 4096).astype(np.float32)
    expected, _, _ = reference.batch_norm(x, None, None, training=True)
    out = F.batch_norm(minidl.tensor(x, device=device), None, None, training=True)
    # eps(float32) at 4096 is 4.9e-4 and the standard deviation about 0.6.
    np.testing.assert_allclose(helpers.host(out), expected, atol=2e-3)


def test_eval_mode_touches_nothing(device: str) -> None:
    mean, var = minidl.zeros(2, device=device), minidl.ones(2, device=device)
    F.batch_norm(minidl.randn(4, 2, 3, 3).to(device), mean, var, training=False)
    assert mean.tolist() == [0, 0] and var.tolist() == [1, 1]


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2, 2)], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_empty_batch(shape: tuple[int, ...], training: bool, device: str) -> None:
    leaf = helpers.leaf(np.zeros(shape), device)
    mean, var, weight, bias = (helpers.leaf(np.ones(3), device, i > 1) for i in range(4))
    out = F.batch_norm(leaf, mean, var, weight, bias, training)
    out.sum().backward()
    assert out.shape == shape and leaf.grad.shape == shape
    assert weight.grad.tolist() == bias.grad.tolist() == [0, 0, 0]
    assert mean.tolist() == var.tolist() == [1, 1, 1]  # there was nothing to learn


def test_batch_norm_module(device: str) -> None:
    layer = nn.BatchNorm2d(3).to(device)
    assert list(layer.state_dict()) == [
        "weight", "bias", "running_mean", "running_var", "num_batches_tracked",
    ]  # fmt: skip
    x = helpers.values((4, 3, 5, 5), 0, np.float32)
    mean, var = np.zeros(3), np.ones(3)
    for step in range(1, 4):
        expected, mean, var = reference.batch_norm(x * step, mean, var, training=True)
        out = layer(minidl.tensor(x * np.float32(step), device=device))
        helpers.assert_close(out, expected, 200)
    assert layer.num_batches_tracked.item() == 3
    assert layer.num_batches_tracked.dtype == np.int64
    helpers.assert_close(layer.running_mean, mean, 100)
    helpers.assert_close(layer.running_var, var, 100, scale=3)
    layer.eval()
    expected, _, _ = reference.batch_norm(x, mean, var)
    helpers.assert_close(layer(minidl.tensor(x, device=device)), expected, 200)
    assert layer.num_batches_tracked.item() == 3


def test_cumulative_average_with_momentum_none(device: str) -> None:
    layer = nn.BatchNorm2d(1, momentum=None).double().to(device)
    for value in (1.0, 2.0, 6.0):
        layer(minidl.full((2, 1, 1, 1), value, dtype=minidl.float64, device=device))
    assert layer.running_mean.item() == pytest.approx(3.0, rel=1e-12)


def test_batch_norm_without_affine_or_statistics() -> None:
    layer = nn.BatchNorm2d(2, affine=False, track_running_stats=False).eval()
    assert layer.weight is None and layer.running_mean is None and not layer.state_dict()
    x = helpers.values((3, 2, 4, 4), 0, np.float32)
    expected, _, _ = reference.batch_norm(x, None, None, training=True)
    helpers.assert_close(layer(minidl.tensor(x)), expected, 100)


def test_batch_norm_errors_name_the_argument() -> None:
    x, two, three = minidl.ones(2, 3, 2, 2), minidl.ones(2), minidl.ones(3)
    for match, call in {
        "running_mean": lambda: F.batch_norm(x, two, three),
        "running_var": lambda: F.batch_norm(x, three, two),
        "weight": lambda: F.batch_norm(x, three, three, two),
        "bias": lambda: F.batch_norm(x, three, three, three, two),
        "running_mean|training": lambda: F.batch_norm(x, None, None),
        "input|value": lambda: F.batch_norm(minidl.ones(1, 3), None, None, training=True),
        "4|input": lambda: nn.BatchNorm2d(3)(minidl.ones(2, 3)),
        "3|input": lambda: nn.BatchNorm2d(4)(x),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(9, 3, 31, 33), (20_000, 2)], ids=str)
def test_batch_norm_of_channels_with_many_numbers(
    shape: tuple[int, ...], dtype: Any, training: bool, device: str
) -> None:
    """On a GPU several blocks share a channel."""
    x, grad = helpers.values(shape, 0, dtype) + 3, helpers.values(shape, 5, dtype)
    mean, var, weight, bias = batch_norm_arguments(shape[1], dtype)
    running = [minidl.tensor(a, device=device) for a in (mean, var)]
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias)]
    out = F.batch_norm(leaves[0], *running, *leaves[1:], training, 0.3)
    out.backward(minidl.tensor(grad, device=device))
    axes = (0, *range(2, x.ndim))
    to_x = (1, -1, *[1] * (x.ndim - 2))
    a, g = x.astype(np.longdouble), grad.astype(np.longdouble)
    if training:
        mean, var = a.mean(axes), a.var(axes)
    inverse = (var.reshape(to_x) + 1e-5) ** -0.5
    normalized = (a - mean.reshape(to_x)) * inverse
    dweight, dbias = (g * normalized).sum(axes), g.sum(axes)
    dx = g
    if training:
        shared = dbias.reshape(to_x) + normalized * dweight.reshape(to_x)
        dx = g - shared / (x.size / shape[1])
    dx = dx * inverse * weight.reshape(to_x)
    # Errors of so many additions of numbers around 1, which largely cancel.
    atol = 2 * float(np.finfo(dtype).eps) * np.sqrt(x.size)
    for actual, right, scale in [
        (out, normalized * weight.reshape(to_x) + bias.reshape(to_x), 1),
        (leaves[0].grad, dx, 1),
        (leaves[1].grad, dweight, np.sqrt(x.size)),
        (leaves[2].grad, dbias, np.sqrt(x.size)),
    ]:
        np.testing.assert_allclose(helpers.host(actual), right, rtol=0, atol=scale * atol)


def test_running_statistics_that_change_before_the_backward(device: str) -> None:
    x = helpers.leaf(helpers.values((4, 2, 3, 3), 0), device)
    mean, var = (minidl.ones(2, dtype=minidl.float64, device=device) for _ in range(2))
    weight = helpers.leaf(np.ones(2), device)
    out = F.batch_norm(x, mean, var, weight, eps=0.0)
    F.batch_norm(x * 5, mean, var, training=True)
    assert var.tolist() != [1, 1]
    out.sum().backward()
    np.testing.assert_array_equal(helpers.host(x.grad), 1)
    helpers.assert_close(weight.grad, (helpers.host(x) - 1).sum((0, 2, 3)), 36)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_running_statistics_of_any_dtype_and_layout(dtype: str, device: str) -> None:
    x = minidl.tensor(helpers.values((4, 2, 3, 3), 0, np.float32), device=device)
    both = minidl.ones(2, 2, dtype=dtype, device=device)
    F.batch_norm(x, both[:, 0], both[:, 1], training=True, momentum=1.0)
    right = helpers.host(x).astype(np.float64)
    helpers.assert_close(both.float()[:, 0], right.mean((0, 2, 3)), 36)
    helpers.assert_close(both.float()[:, 1], right.var((0, 2, 3), ddof=1), 36)


def test_only_one_running_statistic(device: str) -> None:
    x = minidl.tensor(helpers.values((4, 2, 3, 3), 0), device=device)
    whole = [minidl.zeros(2, dtype=minidl.float64, device=device) for _ in range(2)]
    parts = [minidl.zeros(2, dtype=minidl.float64, device=device) for _ in range(2)]
    F.batch_norm(x, *whole, training=True)
    F.batch_norm(x, parts[0], None, training=True)
    F.batch_norm(x, None, parts[1], training=True)
    assert parts[0].tolist() == whole[0].tolist() and parts[1].tolist() == whole[1].tolist()


# ---- float16, and the GPU ----

LAYERS: dict[str, Any] = {
    "channels": lambda x: F.local_response_norm(x, 5, alpha=1.0, k=2.0, groups=2),
    "channels, any size": lambda x: F.local_response_norm(x, 4, alpha=1.0, beta=0.6, k=2.0),
    "space": lambda x: F.spatial_response_norm(x, 3, alpha=1.0),
    "batch": lambda x: F.batch_norm(x, None, None, training=True),
}


@pytest.mark.parametrize("name", LAYERS)
def test_float16(name: str, device: str) -> None:
    x = helpers.values((2, 6, 4, 5), 0, np.float16)
    leaf, wide = helpers.leaf(x, device), helpers.leaf(x.astype(np.float64), device)
    grad = helpers.values(x.shape, 1, np.float16)
    out, right = LAYERS[name](leaf), LAYERS[name](wide)
    assert out.dtype == np.float16
    np.testing.assert_allclose(helpers.host(out), helpers.host(right), atol=0.01)
    out.backward(minidl.tensor(grad, device=device))
    right.backward(minidl.tensor(grad.astype(np.float64), device=device))
    assert leaf.grad.dtype == np.float16
    np.testing.assert_allclose(helpers.host(leaf.grad), helpers.host(wide.grad), atol=0.02)


def activation(shape: tuple[int, ...], seed: int, gpu: str, requires_grad: bool = False) -> Any:
    """Numbers as a layer leaves them on a GPU: (C, N, H, W) in memory."""
    n, c, h, w = shape
    maps = minidl.tensor(helpers.values((c, n, h, w), seed, np.float32), device=gpu)
    return maps.transpose(0, 1).detach().requires_grad_(requires_grad)


@pytest.mark.parametrize("name", LAYERS)
def test_a_gradient_that_is_still_held_stays_as_it_is(name: str, device: str) -> None:
    shape = (3, 6, 4, 5)
    if device == "cpu":  # in the order of the device's memory, so that it could be overwritten
        grad = minidl.tensor(helpers.values((3, 4, 5, 6), 1, np.float32)).permute(0, 3, 1, 2)
    else:
        grad = activation(shape, 1, device)
    before = helpers.host(grad).copy()
    LAYERS[name](helpers.leaf(helpers.values(shape, 0, np.float32), device)).backward(grad)
    np.testing.assert_array_equal(helpers.host(grad), before)


LAUNCHES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "channels": ({"response_norm_forward": 1}, {"response_norm_backward_5": 1}),
    "channels, any size": ({"response_norm_forward": 1}, {"response_norm_backward": 1}),
    "space": ({"spatial_response_norm_forward": 1}, {"spatial_response_norm_backward": 1}),
    "batch": ({"moments": 1, "normalize": 1}, {"gradient_sums": 1, "gradients": 1}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_launches(name: str, gpu: str, simulator: Any) -> None:
    shape = (3, 8, 6, 7)
    for _ in range(2):  # the first time kernels are compiled
        x, grad = activation(shape, 0, gpu, requires_grad=True), activation(shape, 1, gpu)
        with simulator.count() as forward:
            out = LAYERS[name](x)
        with simulator.count() as backward:
            out.backward(grad)
    for used, kernels in zip((forward, backward), LAUNCHES[name], strict=True):
        assert dict(used.kernels) == kernels
        assert used.d2h == used.h2d == used.d2d == used.syncs == 0
    for result in (out, x.grad):  # ready for the next layer
        assert result.array.transpose(1, 0, 2, 3).flags.c_contiguous


@pytest.mark.parametrize("momentum", [0.1, None])
def test_launches_of_the_batch_norm_module(
    momentum: float | None, gpu: str, simulator: Any
) -> None:
    layer = nn.BatchNorm2d(8, momentum=momentum).to(gpu)
    x, grad = activation((3, 8, 6, 7), 0, gpu, True), activation((3, 8, 6, 7), 1, gpu)
    layer(x)
    with simulator.count() as training:
        out = layer(x)
    assert training.kernels["moments"] == training.kernels["normalize"] == 1
    assert training.launches == 3  # the third one counts the batches
    out.backward(grad)
    layer.zero_grad()
    x.grad = None
    out = layer(x)
    with simulator.count() as backward:
        out.backward(grad)
    assert dict(backward.kernels) == {"gradient_sums": 1, "gradients": 1}
    layer.eval()
    with simulator.count() as evaluating:
        layer(x)
    assert dict(evaluating.kernels) == {"normalize": 1}
    for used in (training, backward, evaluating):
        assert used.d2h == used.h2d == used.d2d == used.syncs == 0
    assert layer.num_batches_tracked.item() == 3


@pytest.mark.parametrize("shape", [(2, 24, 27, 27), (3, 16, 13, 13), (40, 2, 17, 19)], ids=str)
@pytest.mark.parametrize("name", LAYERS)
def test_cpu_and_gpu_agree(name: str, shape: tuple[int, ...], gpu: str) -> None:
    x, grad = helpers.values(shape, 0, np.float32), helpers.values(shape, 1, np.float32)
    results = []
    for device in ("cpu", gpu):
        leaf = helpers.leaf(x, device)
        out = LAYERS[name](leaf)
        out.backward(minidl.tensor(grad, device=device))
        results.append((helpers.host(out), helpers.host(leaf.grad)))
    for cpu, other in zip(*results, strict=True):
        np.testing.assert_allclose(other, cpu, rtol=0, atol=1e-5 * np.abs(cpu).max())


def test_batch_norm_in_more_blocks_than_numbers(gpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then some blocks find an empty run."""
    x, grad = helpers.values((100, 3, 3, 1), 0), helpers.values((100, 3, 3, 1), 1)
    results = []
    for run in (1, 7, 10_000):
        monkeypatch.setattr("minidl.nn.normalization._RUN_CUDA", run)
        leaf = helpers.leaf(x, gpu)
        out = F.batch_norm(leaf, None, None, training=True)
        out.backward(minidl.tensor(grad, device=gpu))
        results.append((helpers.host(out), helpers.host(leaf.grad)))
    for out, dx in results[1:]:
        np.testing.assert_allclose(out, results[0][0], rtol=0, atol=1e-13)
        np.testing.assert_allclose(dx, results[0][1], rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", LAYERS)
def test_same_bits_in_any_order_of_threads(name: str, gpu: str, simulator: Any) -> None:
    usual = os.environ.get("CUPY_ON_CPU_ORDER", "forward")
    x, grad = helpers.values((9, 2, 31, 33), 0, np.float32), helpers.values((9, 2, 31, 33), 1)
    results = []
    try:
        for order in simulator.THREAD_ORDERS:
            simulator.set_thread_order(order)
            leaf = helpers.leaf(x, gpu)
            out = LAYERS[name](leaf)
            out.backward(minidl.tensor(grad.astype(np.float32), device=gpu))
            results.append((helpers.host(out), helpers.host(leaf.grad)))
    finally:
        simulator.set_thread_order(usual)
    for out, dx in results[1:]:
        np.testing.assert_array_equal(out, results[0][0])
        np.testing.assert_array_equal(dx, results[0][1])


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_same_as_pytorch(training: bool) -> None:
    torch = pytest.importorskip("torch")
    x = helpers.values((3, 2, 4, 5), 0)
    arguments = batch_norm_arguments(2, np.dtype(np.float64))
    ours = [helpers.leaf(x), *(minidl.tensor(a) for a in arguments)]
    theirs = [torch.tensor(x, requires_grad=True), *(torch.tensor(a) for a in arguments)]
    out = F.batch_norm(*ours, training)
    expected = torch.nn.functional.batch_norm(*theirs, training)
    grad = helpers.values(x.shape, 1)
    out.backward(minidl.tensor(grad))
    expected.backward(torch.tensor(grad))
    helpers.assert_close(out, expected.detach().numpy(), 100)
    helpers.assert_close(ours[0].grad, theirs[0].grad.numpy(), 200)
    for mine, right in zip(ours[1:3], theirs[1:3], strict=True):
        helpers.assert_close(mine, right.numpy(), 100)
