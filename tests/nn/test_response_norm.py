"""Local response normalization against explicit loops.

alpha is near 1 wherever numbers are compared: with the usual 1e-4 a window that misses a channel
changes the result by less than a tolerance would notice.
"""

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

constants = st.fixed_dictionaries(
    {
        "alpha": st.sampled_from([0.7, 1.0, 1.5]),
        "beta": st.sampled_from([0.75, 0.5, 1.0, 0.6]),
        "k": st.sampled_from([1.0, 2.0]),
    }
)

# s is a sum of up to size squares, and s^-beta multiplies its relative error.
TestLocalResponseNorm = operation.standard_tests(
    F.local_response_norm,
    reference.local_response_norm,
    [
        Case((2, 7, 5, 4), size=5, alpha=1.0, beta=0.75, k=2.0),
        Case((2, 6, 4, 5), size=4, alpha=1.0, beta=0.6, k=2.0),
        Case((3, 7), size=4, alpha=1.0),
        Case((2, 7, 3), size=3, alpha=0.9, beta=0.5),
        Case((2, 7, 2, 1, 3), size=20, alpha=1.0, beta=1.0),
        Case((2, 8, 3, 2), size=5, alpha=0.9, k=2.0, groups=2),
    ],
    loops_backward=reference.local_response_norm_backward,
    any_case=st.builds(
        lambda shape, groups, size, constants: Case(
            (shape[0], shape[1] * groups, *shape[2:]), size=size, groups=groups, **constants
        ),
        st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4)),
        st.integers(1, 3),
        st.integers(1, 12),
        constants,
    ),
    large=Case((37, 24, 9, 9), size=5, alpha=1.0, k=2.0, groups=2),
    terms=lambda x, size, **rest: size + 4,
    modules=[(nn.LocalResponseNorm(5, 1.0, k=2.0), {"size": 5, "alpha": 1.0, "k": 2.0})],
    launches=({"response_norm_forward": 1}, {"response_norm_backward_5": 1}),
)


def check_norm(x: Any, device: str, **options: Any) -> None:
    leaf = helpers.leaf(x, device)
    out = F.local_response_norm(leaf, **options)
    terms = options["size"] + 4
    helpers.assert_close(out, reference.local_response_norm(x, **options), terms)
    grad = helpers.values(x.shape, 5, x.dtype)
    out.backward(minidl.tensor(grad, device=device))
    right = reference.local_response_norm_backward(grad, x, **options)
    helpers.assert_close(leaf.grad, right, 2 * terms)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 9, 20])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_even_and_odd_sizes(size: int, groups: int, device: str) -> None:
    x = helpers.values((2, 8, 3, 2), 0)
    check_norm(x, device, size=size, alpha=0.9, beta=0.75, k=2.0, groups=groups)


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
    x = helpers.leaf(np.zeros((1, 4, 3, 3)), device)
    out = F.local_response_norm(x, 3, alpha=1.0)
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
    """It may be overwritten: dx_j is written while neighbors still need what dy_j gave."""
    x, grad = helpers.values((2, 9, 4, 3), 0), helpers.values((2, 9, 4, 3), 1)
    leaf = helpers.leaf(x, device)
    out = F.local_response_norm(leaf * 1.0, size, alpha=1.0, k=2.0) * minidl.tensor(
        grad, device=device
    )
    out.sum().backward()
    right = reference.local_response_norm_backward(grad, x, size, alpha=1.0, k=2.0)
    helpers.assert_close(leaf.grad, right, 40)


def test_numbers_whose_squares_overflow(device: str) -> None:
    x = np.full((1, 5, 3, 3), 1.0, np.float32)
    x[0, 2, 1, 1] = 1e30
    out = helpers.host(F.local_response_norm(minidl.tensor(x, device=device), 3, alpha=1.0))
    assert np.isfinite(out).all() and out[0, 2, 1, 1] == 0


def test_nan_and_infinity_stay_in_the_windows_that_see_them(device: str) -> None:
    x = np.ones((1, 7, 7, 7))
    x[0, 2, 1, 1] = np.nan
    x[0, 5, 5, 5] = np.inf
    with np.errstate(invalid="ignore"):
        right = reference.local_response_norm(x, 3, alpha=1.0)
    out = F.local_response_norm(minidl.tensor(x, device=device), 3, alpha=1.0)
    np.testing.assert_allclose(helpers.host(out), right, rtol=1e-12)


def test_module(device: str) -> None:
    x = minidl.tensor(helpers.values((2, 6, 4, 4), 0), device=device)
    for module, out in [
        (nn.LocalResponseNorm(5), F.local_response_norm(x, 5)),
        (nn.LocalResponseNorm(4, 1.0, 0.5, 2.0), F.local_response_norm(x, 4, 1.0, 0.5, 2.0)),
    ]:
        np.testing.assert_array_equal(helpers.host(module(x)), helpers.host(out))


def test_errors_name_the_argument() -> None:
    x = minidl.ones(1, 4, 3, 3)
    for match, call in {
        "input": lambda: F.local_response_norm(minidl.ones(4), 5),
        "size": lambda: F.local_response_norm(x, 0),
        "LocalResponseNorm: size": lambda: nn.LocalResponseNorm(0),
        "groups": lambda: F.local_response_norm(x, 5, groups=3),
        "floats": lambda: F.local_response_norm(x.long(), 5),
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


def test_launches_of_any_size(gpu: str, simulator: Any) -> None:
    x = helpers.as_layers_leave(helpers.values((3, 8, 6, 7), 0, np.float32), gpu)
    for _ in range(2):  # the first time kernels are compiled
        leaf = x.detach().requires_grad_()
        with simulator.count() as used:
            F.local_response_norm(leaf, 4, beta=0.6).backward(x)
    assert dict(used.kernels) == {"response_norm_forward": 1, "response_norm_backward": 1}
    assert used.d2h == used.h2d == used.d2d == used.syncs == 0
