"""LRN across channels and within a map, and batch normalisation.

alpha is near 1 wherever numbers are compared: with the usual 1e-4 a window that misses a channel
changes the result by less than a tolerance would notice.
"""

from __future__ import annotations

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
def test_empty_batch_in_eval_mode(shape: tuple[int, ...], device: str) -> None:
    leaf = helpers.leaf(np.zeros(shape), device)
    mean, var = (minidl.ones(3, dtype=minidl.float64, device=device) for _ in range(2))
    out = F.batch_norm(leaf, mean, var)
    out.sum().backward()
    assert out.shape == shape and leaf.grad.shape == shape


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


def test_cumulative_average_with_momentum_none() -> None:
    layer = nn.BatchNorm2d(1, momentum=None).double()
    for value in (1.0, 2.0, 6.0):
        layer(minidl.full((2, 1, 1, 1), value, dtype=minidl.float64))
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
