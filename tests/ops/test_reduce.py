"""Reductions against NumPy: any axes, layouts, empty and size-1 axes, and their gradients."""

from __future__ import annotations

import math
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


def logsumexp(x: Any, axis: Any, keepdims: bool) -> Any:
    return np.log(np.exp(x).sum(axis=axis, keepdims=keepdims))


Both = tuple[Callable[..., Any], Callable[..., Any]]
REDUCTIONS: dict[str, Both] = {
    "sum": (minidl.sum, np.sum), "mean": (minidl.mean, np.mean),
    "amax": (minidl.amax, np.max), "amin": (minidl.amin, np.min),
    "var": (lambda x, d, k: x.var(d, False, k), np.var),
    "var1": (lambda x, d, k: x.var(d, keepdim=k),
             lambda x, axis, keepdims: np.var(x, axis=axis, ddof=1, keepdims=keepdims)),
    "std": (lambda x, d, k: x.std(d, correction=0, keepdim=k), np.std),
    "norm": (lambda x, d, k: x.norm(dim=d, keepdim=k),
             lambda x, axis, keepdims: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims))),
    "norm1": (lambda x, d, k: x.norm(1, d, k),
              lambda x, axis, keepdims: np.abs(x).sum(axis=axis, keepdims=keepdims)),
    "norm3": (lambda x, d, k: x.norm(3, d, k),
              lambda x, axis, keepdims: np.cbrt((np.abs(x) ** 3).sum(axis, keepdims=keepdims))),
    "norminf": (lambda x, d, k: x.norm(math.inf, d, k),
                lambda x, axis, keepdims: np.abs(x).max(axis=axis, keepdims=keepdims)),
    "logsumexp": (minidl.logsumexp, logsumexp),
}  # fmt: skip
ONE_AXIS: dict[str, Both] = {
    "prod": (minidl.prod, np.prod),
    "max": (lambda x, d, k: x.max(d, k)[0], np.max),
    "min": (lambda x, d, k: x.min(d, k)[0], np.min),
}
AXES = [0, 1, -1, (0, 2), (1, 2, 3), [3, 0], (-1, -3)]


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str, layout: str, dtype: Any, device: str) -> None:
    ours, numpy = REDUCTIONS[name]
    x = helpers.LAYOUTS[layout](helpers.values((3, 4, 2, 5), 0, dtype))
    for axes in AXES:
        for keep in (False, True):
            result = ours(helpers.leaf(x, device), axes, keep)
            np_axes = tuple(axes) if isinstance(axes, list) else axes
            assert result.dtype == dtype
            helpers.assert_close(result, numpy(x.astype(float), axis=np_axes, keepdims=keep), 120)


@pytest.mark.parametrize("name", [*REDUCTIONS, *ONE_AXIS])
def test_gradients(name: str, device: str) -> None:
    ours = {**REDUCTIONS, **ONE_AXIS}[name][0]
    x = helpers.leaf(helpers.distinct((3, 4, 2), 1) * 0.3 + 0.01, device)
    for axes in (0, -1) if name in ONE_AXIS else (0, -1, (0, 2), (0, 1, 2)):
        for keep in (False, True):
            assert minidl.gradcheck(lambda x, a=axes, k=keep: ours(x, a, k), x)


@pytest.mark.parametrize("layout", helpers.LAYOUTS)
@pytest.mark.parametrize("name", ONE_AXIS)
def test_over_one_axis(name: str, layout: str, device: str) -> None:
    ours, numpy = ONE_AXIS[name]
    x = helpers.LAYOUTS[layout](helpers.values((3, 4, 2, 5), 0))
    for axis in (0, 2, -1):
        helpers.assert_close(ours(helpers.leaf(x, device), axis, False), numpy(x, axis=axis), 9)
        kept = ours(helpers.leaf(x, device), axis, True)
        helpers.assert_close(kept, numpy(x, axis=axis, keepdims=True), 9)


@given(
    hnp.arrays(
        np.float64, hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4),
        elements=st.floats(-100, 100, width=32),
    ),
    st.data(),
)  # fmt: skip
def test_axes_are_numpys(device: str, x: np.ndarray, data: st.DataObject) -> None:
    axes = data.draw(hnp.valid_tuple_axes(x.ndim, min_size=1))
    keep = data.draw(st.booleans())
    leaf = helpers.leaf(x, device=device)
    helpers.assert_close(leaf.sum(axes, keep), x.sum(axis=axes, keepdims=keep), x.size, 100)
    helpers.assert_close(leaf.mean(axes, keep), x.mean(axis=axes, keepdims=keep), x.size, 100)
    np.testing.assert_array_equal(
        helpers.host(leaf.amax(axes, keep)), x.max(axis=axes, keepdims=keep)
    )
    assert leaf.any(axes).tolist() == x.any(axis=axes).tolist()
    assert leaf.all(axes, keep).tolist() == x.all(axis=axes, keepdims=keep).tolist()
    axis = axes[0]
    values, where = leaf.max(axis)
    np.testing.assert_array_equal(helpers.host(where), x.argmax(axis=axis))
    assert not where.requires_grad and where.dtype == np.int64
    values.sum().backward()
    assert leaf.grad.sum().item() == values.numel()
    assert leaf.argmin(axis, True).tolist() == np.expand_dims(x.argmin(axis=axis), axis).tolist()


def test_all_axes_by_default(device: str) -> None:
    a = helpers.values((3, 4), 0)
    x = helpers.leaf(a, device, requires_grad=False)
    for result in (x.sum(), x.mean(), x.max(), x.min(), x.prod(), x.var(), x.norm(), x.median()):
        assert result.shape == ()
    helpers.assert_close(x.sum(), a.sum(), 12)
    assert x.argmax().item() == a.argmax() and x.sum(()).shape == () and x.sum([]).shape == ()
    assert x.argmax(keepdim=True).shape == (1, 1)


def test_tensors_without_axes(device: str) -> None:
    x = minidl.tensor(-3.0, requires_grad=True, device=device)
    for result in (x.sum(), x.mean(), x.max(), x.amin(), x.prod(), x.norm(), x.cumsum(0), x.sum(0),
                   x.max(0)[0], x.logsumexp(0), x.sum(-1), x.mean(0, True), x.sort()[0],
                   x.flatten().sum()):  # fmt: skip
        assert abs(result.item()) == 3.0 and result.requires_grad
    assert x.argmax().item() == 0 and x.max(0)[1].item() == 0


def test_first_of_equal_extremes(device: str) -> None:
    x = minidl.tensor([[2.0, 5.0, 5.0], [1.0, 1.0, 0.0]], requires_grad=True, device=device)
    assert x.max(1)[1].tolist() == [1, 0] and x.argmax(1).tolist() == [1, 0]
    x.max(1)[0].sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    x.grad = None
    x.amax(1).sum().backward()
    assert x.grad.tolist() == [[0.0, 0.5, 0.5], [0.5, 0.5, 0.0]]
    assert np.isnan(minidl.tensor([1.0, np.nan], device=device).max().item())


def test_empty_axes(device: str) -> None:
    x = minidl.zeros(0, 3, device=device)
    assert x.sum(0).tolist() == [0.0] * 3 and x.sum().item() == 0.0 and x.sum(1).shape == (0,)
    assert np.isnan(x.mean().item()) and x.prod().item() == 1.0 and x.amax(1).shape == (0,)
    assert x.logsumexp(0).tolist() == [-np.inf] * 3 and x.all().item() and not x.any().item()
    for call in (x.max, x.argmax, lambda: x.max(0), lambda: x.amin(0), lambda: x.argmin(0)):
        with pytest.raises(ShapeError, match=r"no elements.*\(0, 3\)"):
            call()


def test_variance_of_one_element(device: str) -> None:
    x = minidl.tensor([3.0], requires_grad=True, device=device)
    y = x.var()
    assert np.isnan(y.item())
    y.backward()
    assert np.isnan(x.grad.item())
    assert x.var(unbiased=False).item() == 0.0 == x.var(correction=0).item()


def test_norm_and_std_have_a_gradient_at_zero(device: str) -> None:
    for function in (minidl.norm, minidl.std):
        x = minidl.zeros(3, requires_grad=True, device=device)
        function(x).backward()
        assert x.grad.tolist() == [0.0, 0.0, 0.0]


def test_dtypes(device: str) -> None:
    x = minidl.tensor([[True, False], [True, True]], device=device)
    assert x.sum().item() == 3 and x.sum().dtype == np.int64 and x.sum(0).tolist() == [2, 1]
    small = minidl.full((300,), 100, dtype=minidl.uint8, device=device)
    assert small.sum().item() == 30_000 and small.cumsum(0)[-1].item() == 30_000
    assert x.sum(dtype=minidl.float32).dtype == np.float32
    assert small.mean(dtype=minidl.float64).item() == 100.0
    with pytest.raises(DTypeError, match="mean"):
        small.mean()
    half = minidl.ones(5000, dtype=minidl.float16, device=device)
    assert half.sum().dtype == np.float16 and half.mean().item() == 1.0


def test_products_and_running_sums(device: str) -> None:
    a = helpers.values((3, 4), 0)
    a[1, 2] = 0.0
    x = helpers.leaf(a, device=device)
    assert minidl.gradcheck(lambda x: x.prod(1), x) and minidl.gradcheck(lambda x: x.prod(), x)
    for name in ("cumsum", "cumprod"):
        for axis in (0, 1, -1):
            helpers.assert_close(getattr(x, name)(axis), getattr(np, name)(a, axis=axis), 4)
            assert minidl.gradcheck(lambda x, n=name, d=axis: getattr(x, n)(d), x)


def test_one_axis_where_one_is_expected(device: str) -> None:
    x = minidl.ones(2, 3, device=device)
    for name in ("prod", "cumsum", "cumprod", "argmax", "argmin", "max", "min"):
        with pytest.raises(DTypeError, match=f"{name}: dim must be an integer"):
            getattr(x, name)((0, 1))
    with pytest.raises(DTypeError, match="prod: keepdim needs a dim"):
        x.prod(keepdim=True)
    variance, mean = minidl.var_mean(x * minidl.arange(3, device=device), 1, False, True)
    assert variance.shape == mean.shape == (2, 1)
    assert variance.tolist() == [[pytest.approx(2 / 3)]] * 2


def test_median_is_the_lower_one(device: str) -> None:
    x = minidl.tensor(
        [[3.0, 1.0, 2.0, 9.0], [5.0, 5.0, 0.0, 7.0]], requires_grad=True, device=device
    )
    values, where = x.median(1)
    assert values.tolist() == [2.0, 5.0] and where.tolist() == [2, 0]
    values.sum().backward()
    assert x.grad.tolist() == [[0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 0.0, 0.0]]


def test_logsumexp_of_large_numbers(device: str) -> None:
    x = minidl.tensor([1000.0, 1000.0], dtype=minidl.float64, requires_grad=True, device=device)
    y = x.logsumexp(0)
    assert y.item() == pytest.approx(1000 + math.log(2))
    y.backward()
    assert x.grad.tolist() == pytest.approx([0.5, 0.5])
    assert minidl.tensor([-np.inf, -np.inf], device=device).logsumexp(0).item() == -np.inf
    assert minidl.tensor([np.inf, 0.0], device=device).logsumexp(0).item() == np.inf


def test_comparing_tensors(device: str) -> None:
    x = minidl.tensor([1.0, 2.0], device=device)
    assert (
        x.equal(x.clone()) and not x.equal(x + 1) and not x.equal(minidl.ones(2, 2, device=device))
    )
    assert x.allclose(x + 1e-7) and not x.allclose(x + 1e-3)
    assert x.isclose(minidl.tensor([1.0, 3.0], device=device)).tolist() == [True, False]
    assert minidl.count_nonzero(minidl.tensor([[0, 2], [3, 4]], device=device), 1).tolist() == [
        1,
        2,
    ]
    variance, mean = minidl.var_mean(minidl.tensor([1.0, 3.0], device=device), correction=0)
    assert variance.item() == 1.0 and mean.item() == 2.0


def test_errors(device: str) -> None:
    x = minidl.ones(2, 3, device=device)
    for dim in (2, -3, (0, 5)):
        with pytest.raises(ArgumentError, match="dim .* out of range"):
            x.sum(dim)
        with pytest.raises(ArgumentError, match="out of range"):
            x.amax(dim)


def test_nansum_takes_nan_for_0(device: str) -> None:
    x = minidl.tensor([[np.nan, 1.0], [2.0, 4.0]], device=device).requires_grad_()
    assert x.nansum(1).tolist() == [1.0, 6.0]
    assert x.nansum(0, keepdim=True).shape == (1, 2)
    x.nansum().backward()
    assert x.grad.tolist() == [[0.0, 1.0], [1.0, 1.0]]
    assert minidl.tensor([True, True], device=device).nansum().item() == 2
