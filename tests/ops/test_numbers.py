"""Corners of numbers: zero divisors, NaN, ranges, arrays without axes, masks of bytes."""

from __future__ import annotations

import math
import operator

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, NumberError
from minidl.nn import functional as F

nan = math.nan


@pytest.mark.parametrize("divide", [operator.floordiv, operator.mod, minidl.fmod])
@pytest.mark.parametrize("zero", [0, minidl.tensor([0]), minidl.tensor([0, 1])])
def test_integers_are_not_divided_by_0(divide, zero):
    with pytest.raises(NumberError):
        divide(minidl.tensor([1, 1]), zero)
    divide(minidl.tensor([1.0, 1.0]), zero)  # floats give inf and NaN


def test_truncated_quotients_of_integers_are_exact():
    big = 2**60 + 1
    quotient = minidl.div(
        minidl.tensor([big, -7, 7]), minidl.tensor([1, 2, -2]), rounding_mode="trunc"
    )
    assert quotient.tolist() == [big, -3, -3]


def test_integers_wrap_around():
    assert (minidl.tensor([1], dtype=minidl.uint8) + 300).tolist() == [45]
    assert (minidl.tensor([2, 1, -1]) ** minidl.tensor([-1, -1, -3])).tolist() == [0, 1, -1]


@pytest.mark.parametrize(
    ("choose", "expected"),
    [
        (lambda x: x.median(), [0.5, 0, 0.5]),
        (lambda x: x.max(), [0.5, 0, 0.5]),
        (lambda x: x.min(), [0.5, 0, 0.5]),
        (lambda x: x.median(0)[0], [1, 0, 0]),
        (lambda x: x.max(0)[0], [1, 0, 0]),
        (lambda x: minidl.maximum(x, x.detach()), [1, 0.5, 1]),
    ],
)
def test_nan_is_chosen_and_gets_the_gradient(choose, expected):
    x = minidl.tensor([nan, 2.0, nan], requires_grad=True)
    y = choose(x)
    assert math.isnan(y.sum().item())
    y.sum().backward()
    assert x.grad.tolist() == expected


#: A third for each NaN, 1 for the first in each row, NaN for all elements, or no gradient.
SHARED, FIRST, LOST, NONE = [[0, 1 / 3, 0], [1 / 3, 0, 1 / 3]], [[0, 1, 0], [1, 0, 0]], "lost", None


@pytest.mark.parametrize(
    ("choose", "chosen", "gradient"),
    [
        (lambda x: x.max(), nan, SHARED),
        (lambda x: x.min(), nan, SHARED),
        (lambda x: x.median(), nan, SHARED),
        (lambda x: x.amax(), nan, LOST),
        (lambda x: x.amin((0, 1)), nan, LOST),
        (lambda x: x.amax(1), [nan, nan], LOST),
        (lambda x: x.max(1)[0], [nan, nan], FIRST),
        (lambda x: x.min(1)[0], [nan, nan], FIRST),
        (lambda x: x.median(1)[0], [nan, nan], FIRST),
        (lambda x: x.max(1)[1], [1, 0], NONE),
        (lambda x: x.min(1)[1], [1, 0], NONE),
        (lambda x: x.median(1)[1], [1, 0], NONE),
        (lambda x: x.argmax(), 1, NONE),
        (lambda x: x.argmin(1), [1, 0], NONE),
        (lambda x: x.topk(1)[0], [[nan], [nan]], FIRST),
        (lambda x: x.sort(1)[0], [[1, 3, nan], [4, nan, nan]], [[1] * 3] * 2),
        (
            lambda x: minidl.maximum(x, x.new_zeros(2, 3)),
            [[1, nan, 3], [nan, 4, nan]],
            [[1] * 3] * 2,
        ),
        (
            lambda x: minidl.minimum(x, x.new_full((2, 3), 9.0)),
            [[1, nan, 3], [nan, 4, nan]],
            [[1] * 3] * 2,
        ),
        (lambda x: x.clamp(0, 2), [[1, nan, 2], [nan, 2, nan]], [[1, 0, 0], [0, 0, 0]]),
    ],
)
def test_nan_is_every_extreme(choose, chosen, gradient, device):
    x = minidl.tensor([[1.0, nan, 3.0], [nan, 4.0, nan]], device=device, requires_grad=True)
    y = choose(x)
    np.testing.assert_array_equal(y.detach().cpu().array, chosen)
    assert y.requires_grad == (gradient is not NONE)
    if y.requires_grad:
        y.sum().backward()
        expected = np.full((2, 3), nan) if gradient is LOST else np.float32(gradient)
        np.testing.assert_array_equal(x.grad.cpu().array, expected)


def test_equal_elements_share_the_gradient_of_the_median():
    x = minidl.tensor([1.0, 2.0, 2.0, 3.0, 3.0], requires_grad=True)
    x.median().backward()
    assert x.grad.tolist() == [0, 0.5, 0.5, 0, 0]


def test_gradients_of_powers_of_0():
    x = minidl.tensor([0.0, 0.0, 0.0], requires_grad=True)
    b = minidl.tensor([2.0, 0.0, -1.0], requires_grad=True)
    (x**b).sum().backward()
    assert b.grad.tolist() == [0, 0, -math.inf]
    b.grad = None
    (0**b).sum().backward()
    assert b.grad.tolist() == [0, 0, -math.inf]


def test_ranges():
    assert minidl.linspace(0, -10, 4, dtype=minidl.int64).tolist() == [0, -3, -6, -10]
    assert minidl.linspace(minidl.tensor(0), minidl.tensor(1), 3).tolist() == [0, 0.5, 1]
    assert minidl.arange(minidl.tensor(3.0)).dtype == minidl.float32
    assert minidl.arange(0, 3, minidl.tensor(0.5)).tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert minidl.arange(2.5, dtype=minidl.int64).tolist() == [0, 1]
    assert minidl.arange(end=2).tolist() == [0, 1]
    small = minidl.int32  # whose steps are counted before fractions are cut off
    assert minidl.arange(2.5, dtype=small).tolist() == [0, 1, 2]
    assert minidl.arange(1.9, 4.1, 1.5, dtype=small).tolist() == [1, 2]
    assert minidl.arange(0, 1, 0.25, dtype=small).tolist() == [0] * 4
    assert minidl.arange(5, 0, -1.5, dtype=minidl.int8).tolist() == [5, 4, 3, 2]
    for wrong in ((2, 0), (0, 5, -1), (0, 1, 0), (0, nan), (1, 2, nan)):
        with pytest.raises(NumberError):
            minidl.arange(*wrong)
    with pytest.raises(ArgumentError):
        minidl.linspace(0, 1, -1)
    for limits in ((0, math.inf), (nan, 1), (-math.inf, math.inf)):
        assert minidl.linspace(*limits, 3).isnan().all()
    assert minidl.linspace(math.inf, 0, 1).tolist() == [math.inf]


def test_numbers_beside_integers_must_fit():
    x = minidl.tensor([1, 9], dtype=minidl.uint8)
    for call in (
        lambda: minidl.where(x > 5, x, 300),
        lambda: minidl.where(x > 5, -300, x),
        lambda: minidl.maximum(x, 256),
        lambda: minidl.minimum(1 << 40, x.int()),
    ):
        with pytest.raises(NumberError, match="(where|maximum|minimum): .*[0-9] does not fit"):
            call()
    assert minidl.where(x > 5, x, 255).tolist() == [255, 9]
    assert minidl.where(x > 5, x, 2.5).tolist() == [2.5, 9]


@pytest.mark.parametrize("running", [minidl.cumsum, minidl.cumprod, minidl.sum, minidl.prod])
def test_dtype_is_that_of_the_computation_and_of_the_result(running):
    x = minidl.tensor([1.5, 2.5])
    assert running(x, 0, dtype=minidl.int64).dtype == minidl.int64
    assert running(minidl.tensor([1, 2]), 0, dtype=minidl.uint8).dtype == minidl.uint8
    assert running(minidl.tensor([True, True]), 0).dtype == minidl.int64


def test_sums_of_gradients_without_axes_are_arrays():
    x = minidl.tensor(1.0, requires_grad=True)
    h = x * 3
    (F.relu(h) + 2 * F.relu(h)).backward()
    assert type(x.grad.array) is np.ndarray
    assert x.grad.item() == 9


def test_an_empty_vector_in_cat_has_an_empty_gradient():
    a, b = minidl.tensor([], requires_grad=True), minidl.ones(2, 3, requires_grad=True)
    minidl.cat([a, b], 1).sum().backward()
    assert a.grad.shape == (0,)
    assert (b.grad.array == 1).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("kernel", [True, False])
def test_losses_that_ignore_every_target_have_gradient_0(loss, dtype, kernel, device):
    x = minidl.ones(2, 3, dtype=dtype, device=device).requires_grad_()
    target = minidl.full((2,), -100, device=device)
    if kernel:
        value = loss(x, target)
    else:
        with minidl.reference():
            value = loss(x, target)
    value.backward()
    assert math.isnan(value.item())
    assert (x.grad.cpu().array == 0).all()


@pytest.mark.parametrize("function", [F.softmax, F.log_softmax, F.softmin])
@pytest.mark.parametrize("ndim", [0, 1, 2, 3, 4])
def test_softmax_without_dim_warns(function, ndim):
    x = minidl.randn((2, 3, 4, 5)[:ndim])
    axis = 0 if ndim in (0, 1, 3) else 1
    with pytest.warns(UserWarning, match=f"axis {axis}"):
        y = function(x)
    assert (y.array == function(x, axis).array).all()


def test_masks_of_bytes_are_masks():
    x, mask = minidl.arange(3), minidl.tensor([1, 0, 2], dtype=minidl.uint8)
    with pytest.warns(UserWarning, match="uint8"):
        assert x[mask].tolist() == [0, 2]
    with pytest.warns(UserWarning, match="uint8"):
        assert minidl.where(mask, x, -x).tolist() == [0, -1, 2]
