"""Arguments at the edge of what operations take: refused in a sentence, or computed, as PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.errors import MinidlError
from minidl.nn import functional as F

X = minidl.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
BYTES = minidl.tensor([[200, 100], [1, 2]], dtype=minidl.uint8)
TRUE, NUMBER = minidl.tensor([True, False]), minidl.tensor(2.0)
FIRST, FLOATS = minidl.tensor([0]), minidl.tensor([0.0])

REFUSED = {
    "a float as an axis": (lambda: X.unsqueeze(1.0), TypeError),
    "floats as axes": (lambda: X.sum((0.0, 1.0)), TypeError),
    "a fraction of a part": (lambda: X.narrow(0, 0.5, 1), TypeError),
    "a float tensor as a start": (lambda: X.narrow(0, NUMBER, 1), TypeError),
    "a fraction of a cut": (lambda: X.split(1.5), TypeError),
    "a fraction of a shift": (lambda: X.roll(0.5, 0), TypeError),
    "a fraction of a shift in a list": (lambda: X.roll((1, 0.5), (0, 1)), TypeError),
    "a fraction of a diagonal": (lambda: X.tril(0.5), TypeError),
    "a fraction of a class": (lambda: F.one_hot(FIRST, 2.5), TypeError),
    "a fraction of a bound": (lambda: minidl.randint(0, 2.5, (2,)), TypeError),
    "a fraction of a pixel": (lambda: F.pad(X, (1.0, 1)), TypeError),
    "a fraction of a bin": (lambda: F.adaptive_avg_pool2d(X[None], 2.0), TypeError),
    "an integer of 65 bits": (lambda: BYTES + 2**64, RuntimeError),
    "a product with 71 bits": (lambda: FIRST * 2**70, RuntimeError),
    "a negative deviation in place": (lambda: minidl.zeros(2).normal_(0, -1), RuntimeError),
    "a range in reverse": (lambda: minidl.zeros(2).uniform_(2, 1), RuntimeError),
    "probabilities to ignore": (
        lambda: F.cross_entropy(X, X.softmax(1), ignore_index=1),
        RuntimeError,
    ),
    "the one axis of a number, twice": (lambda: NUMBER.sum((0, 0)), RuntimeError),
    "an axis of a number": (lambda: NUMBER.cumsum(5), IndexError),
    "an axis of the position in a number": (lambda: NUMBER.argmax(5), IndexError),
    "a number, cut": (lambda: NUMBER.split(1), RuntimeError),
    "a number in chunks": (lambda: NUMBER.chunk(2), RuntimeError),
    "a number taken apart": (lambda: NUMBER.unbind(), IndexError),
    "a part outside": (lambda: X.narrow(0, 1, 2), RuntimeError),
    "an axis to roll": (lambda: NUMBER.roll(1, 0), IndexError),
    "shifts without axes": (lambda: X.roll((1, 2), 0), RuntimeError),
    "the length of a missing axis": (lambda: X.size(2), IndexError),
    "the stride of a missing axis": (lambda: X.stride(2), IndexError),
    "negative repetitions": (lambda: X.repeat(1, -1), RuntimeError),
    "a tensor in place of a list": (lambda: minidl.cat(X), TypeError),
    "a number in a list": (lambda: minidl.stack([X, 1.0]), TypeError),
    "a triangle of a vector": (lambda: X[0].tril(), RuntimeError),
    "a diagonal of a number": (lambda: NUMBER.diag(), RuntimeError),
    "a trace of a batch": (lambda: X[None].trace(), RuntimeError),
    "the difference of truth values": (lambda: TRUE - TRUE, RuntimeError),
    "the difference of a truth value": (lambda: X - True, RuntimeError),
    "negative powers of bytes": (lambda: BYTES**-1, RuntimeError),
    "equality with a number": (lambda: NUMBER.equal(2.0), TypeError),
    "fewer counts than none": (lambda: FIRST.bincount(minlength=-1), RuntimeError),
    "rows of positions": (lambda: X.index_select(0, FIRST[None]), IndexError),
    "negative positions": (lambda: X.index_select(0, FIRST - 1), IndexError),
    "floats as positions": (lambda: X[0].gather(0, FLOATS), RuntimeError),
    "scattering another dtype": (lambda: X[0].scatter_add(0, FIRST, FIRST), RuntimeError),
    "scattering a large number": (lambda: BYTES[0].scatter(0, FIRST, 300), RuntimeError),
    "filling with a vector": (lambda: X.clone().fill_(FLOATS), RuntimeError),
    "distinct slices of a number": (lambda: NUMBER.unique(dim=0), IndexError),
    "a grid of nothing": (lambda: minidl.meshgrid(), RuntimeError),
    "a grid of two dtypes": (lambda: minidl.meshgrid(X[0], FIRST), RuntimeError),
    "an outer product of matrices": (lambda: minidl.outer(X, X), RuntimeError),
    "the diagonal of two lengths": (lambda: minidl.einsum("ii", X), RuntimeError),
    "dots that are no axes": (lambda: minidl.einsum("i.", X), RuntimeError),
    "a probability above 1": (lambda: minidl.bernoulli(X), RuntimeError),
    "a probability below 0": (lambda: X.clone().bernoulli_(-0.5), RuntimeError),
    "a negative deviation": (lambda: minidl.normal(0.0, -X), RuntimeError),
    "positions drawn from a number": (lambda: NUMBER.multinomial(1), RuntimeError),
    "integers that bytes don't hold": (
        lambda: minidl.randint(0, 257, (2,), dtype=minidl.uint8),
        RuntimeError,
    ),
    "too large integers in place": (lambda: BYTES.clone().random_(0, 257), RuntimeError),
    "no integers to draw": (lambda: X.clone().random_(3, 3), RuntimeError),
    "a softmax over a missing axis": (lambda: X.softmax(2), IndexError),
    "a margin of bytes": (lambda: F.pad(BYTES, (1, 1), value=300), RuntimeError),
    "a fraction of a size": (lambda: F.interpolate(X[None], size=2.5), TypeError),
    "an enormous size": (lambda: F.interpolate(X[None], scale_factor=1e20), RuntimeError),
    "a fraction of a length": (lambda: X.reshape(2.0, 3.0), TypeError),
    "a fraction of a window": (lambda: F.max_pool2d(X[None], 1.5), TypeError),
    "putting another dtype": (lambda: X.index_put((FIRST,), FIRST), RuntimeError),
    "the loss of no classes": (
        lambda: F.cross_entropy(minidl.zeros(2, 0), minidl.zeros(2, 0)),
        RuntimeError,
    ),
    "the loss of integers": (lambda: F.mse_loss(BYTES, BYTES), RuntimeError),
    "a product in another dtype": (
        lambda: minidl.mm(X, X.T, out=minidl.zeros(2, 2, dtype=minidl.float64)),
        RuntimeError,
    ),
    "floats in integers": (
        lambda: minidl.exp(X, out=minidl.zeros(2, 3, dtype=minidl.int64)),
        RuntimeError,
    ),
    "two dtypes of a sum": (
        lambda: minidl.sum(X, dtype=minidl.float64, out=minidl.zeros(())),
        RuntimeError,
    ),
}


@pytest.mark.parametrize("call, error", REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused(call, error):
    with pytest.raises(error) as caught:
        call()
    assert isinstance(caught.value, MinidlError)


def of(dtype, *numbers):
    return minidl.tensor(list(numbers), dtype=dtype)


INT8 = minidl.int8
COMPUTED = {
    "powers of negative integers": (
        lambda: minidl.tensor([-1, -1, 2, 2]) ** minidl.tensor([-3, -2, -1, 3]),
        of(minidl.int64, -1, 1, 0, 8),
    ),
    "powers of a number": (lambda: 2 ** of(INT8, -128, -1, 3), of(INT8, 0, 0, 8)),
    "quotients of two kinds of integers": (
        lambda: minidl.tensor(200, dtype=minidl.uint8) / of(INT8, 1, -4),
        of(minidl.float32, 200, -50),
    ),
    "no integers divided by 0": (lambda: FIRST[:0] // 0, FIRST[:0]),
    "truth values with alpha": (lambda: TRUE.add(TRUE, alpha=2), TRUE),
    "a list of lists": (lambda: X[[[0, 1], [1, 0]]], of(minidl.float32, 2, 4)),
    "a position of a number": (lambda: NUMBER.index_select(0, FIRST), NUMBER),
    "a position without axes": (lambda: X[0].index_select(0, FIRST[0]), X[0, :1]),
    "a number at positions": (lambda: NUMBER.gather(0, FIRST), of(minidl.float32, 2)),
    "a number, scattered to": (lambda: NUMBER.scatter(0, FIRST, 3), minidl.tensor(3.0)),
    "a number, added to": (lambda: NUMBER.scatter_add(0, FIRST[0], NUMBER), minidl.tensor(4.0)),
    "filled positions": (lambda: TRUE.index_fill(0, FIRST[0], 0), minidl.tensor([False, False])),
    "chunks of nothing": (lambda: minidl.stack(X[:0, 0].chunk(2)), minidl.zeros(2, 0)),
    "numbers side by side": (lambda: minidl.hstack([NUMBER, NUMBER]), of(minidl.float32, 2, 2)),
    "a sum in the dtype of out": (
        lambda: minidl.sum(BYTES, 0, out=of(minidl.uint8, 0, 0)),
        of(minidl.uint8, 201, 102),
    ),
    "where a number is": (lambda: minidl.where(NUMBER > 0)[0], of(minidl.int64, 0)),
    "a number in a vector": (lambda: minidl.isin(2, X[0]), minidl.tensor(True)),
    "other numbers": (
        lambda: minidl.isin(X[0], 2, invert=True),
        minidl.tensor([True, False, True]),
    ),
    "a copy with channels last": (
        lambda: X.reshape(1, 3, 2, 1).clone(memory_format=minidl.channels_last),
        X.reshape(1, 3, 2, 1),
    ),
    "a number as value=": (
        lambda: X[0].scatter(0, index=FIRST, value=7),
        of(minidl.float32, 7, 2, 3),
    ),
    "zeros of another dtype": (
        lambda: minidl.zeros_like(X[0], dtype=INT8, memory_format=None),
        of(INT8, 0, 0, 0),
    ),
    "a new constant": (lambda: X.new_full((2,), 3, dtype=INT8), of(INT8, 3, 3)),
    "certain draws": (lambda: minidl.bernoulli(X[0], 1.0), of(minidl.float32, 1, 1, 1)),
    "numbers put where others are": (
        lambda: X.index_put([FIRST, FIRST], minidl.tensor([7.0])),
        of(minidl.float32, 7, 2, 3, 4, 5, 6).reshape(2, 3),
    ),
    "numbers added at one place": (
        lambda: X[0].clone().index_put_((FIRST.repeat(2),), X[0, :2], accumulate=True),
        of(minidl.float32, 4, 2, 3),
    ),
    "the loss of nothing": (lambda: F.mse_loss(X[:0], X[:0]), minidl.tensor(float("nan"))),
    "one output without its axis": (
        lambda: F.linear(X, X[0], NUMBER),
        of(minidl.float32, 16, 34),
    ),
    "a larger result than out": (
        lambda: minidl.eq(X, 2, out=minidl.zeros(0)),
        of(minidl.float32, 0, 1, 0, 0, 0, 0).reshape(2, 3),
    ),
}


@pytest.mark.parametrize("call, expected", COMPUTED.values(), ids=COMPUTED)
def test_what_fits_is_computed(call, expected):
    result = call()
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.numpy(), expected.numpy(), strict=True)


@pytest.mark.parametrize("change", ["eq_", "logical_and_", "ge_"])
def test_a_comparison_in_place_ends_the_gradient(change):
    w = minidl.tensor([1.0, 2.0], requires_grad=True)
    x = w * 1
    getattr(x, change)(minidl.tensor([1.0, 1.0]))
    (x * 3).sum().backward()
    assert w.grad.tolist() == [0, 0]


def test_the_median_of_nothing_has_an_empty_gradient():
    x = minidl.zeros(0, requires_grad=True)
    x.median().backward()
    assert x.grad.shape == (0,)


def test_integers_are_drawn_up_to_what_the_dtype_holds():
    assert set(minidl.zeros(100, dtype=bool).random_().tolist()) == {True, False}
    assert 2**23 < minidl.zeros(1000).random_().max() < 2**24
    assert set(minidl.zeros(100).random_(2).tolist()) == {0, 1}


def test_each_element_has_its_own_probability():
    assert minidl.zeros(2, 3).bernoulli_(minidl.tensor([0.0, 1.0, 0.0])).tolist() == [[0, 1, 0]] * 2


@pytest.mark.parametrize("loss", [F.mse_loss, F.l1_loss, F.smooth_l1_loss])
def test_a_loss_of_two_dtypes_has_the_wider_one(loss, device):
    x = minidl.tensor([1.0, 2.0], dtype=minidl.float16, device=device, requires_grad=True)
    y = loss(x, minidl.tensor([1.0, 4.0], device=device))
    y.backward()
    assert (y.dtype, x.grad.dtype) == (minidl.float32, minidl.float16)
    assert loss(minidl.tensor([1, 2]), minidl.ones(2).half()).dtype == minidl.float16


def test_a_bound_that_is_reached_gets_no_gradient():
    x, low, high = (minidl.tensor(v, requires_grad=True) for v in ([1.0, 2.0, 5.0],) * 3)
    minidl.clamp(x, low - minidl.tensor([0.0, -1.0, 0.0]), high).sum().backward()
    assert x.grad.tolist() == [1, 0, 1] and low.grad.tolist() == [0, 0, 0]
    assert high.grad.tolist() == [0, 1, 0]


def test_values_that_do_not_fit_an_index_are_refused_in_a_sentence():
    x, w = minidl.zeros(2, 3), minidl.zeros(2, 3, requires_grad=True) * 1
    for target in (x, w):
        for index in (0, slice(None), Ellipsis, x == 0, [0, 1]):
            with pytest.raises(MinidlError, match="does not fit"):
                target[index] = minidl.ones(7, 7)


def test_random_numbers_like_a_tensor_may_have_another_dtype_and_a_gradient():
    x = minidl.rand_like(FIRST, dtype=minidl.float64, requires_grad=True)
    assert (x.shape, x.dtype, x.requires_grad) == ((1,), minidl.float64, True)
    assert minidl.randperm(3, dtype=minidl.int32).dtype == minidl.int32
    assert X.new_tensor([1.0], requires_grad=True).requires_grad


def test_memory_with_channels_last_is_known_as_such(device):
    x = minidl.zeros(1, 2, 3, 4, device=device).contiguous(memory_format=minidl.channels_last)
    assert not x.is_contiguous() and x.is_contiguous(memory_format=minidl.channels_last)
