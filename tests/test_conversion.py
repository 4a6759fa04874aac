"""Python's numbers become arrays: exactly, or with an error."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
from minidl.errors import NumberError


@pytest.mark.parametrize("make", [minidl.tensor, minidl.as_tensor])
@pytest.mark.parametrize("value", [0.1, [0.1], [[0.1, 1e300]]])
def test_floats_reach_float64_exactly(make, value):
    array = make(value, dtype=minidl.float64).array
    assert (array == np.array(value, np.float64)).all()


def test_other_ways_to_float64_are_exact():
    like = minidl.zeros(1, dtype=minidl.float64)
    assert like.new_tensor([0.1]).item() == 0.1
    assert like.new_full((1,), 0.1).item() == 0.1
    assert minidl.full((1,), 0.1, dtype=minidl.float64).item() == 0.1
    assert like.fill_(0.1).item() == 0.1


@pytest.mark.parametrize("value", [16777217.0, 2**53 + 1, -(2**63), 2**63 - 1])
def test_integers_are_exact(value):
    assert minidl.tensor([value], dtype=minidl.int64).item() == int(value)
    assert minidl.tensor([value, 0.5], dtype=minidl.int64).tolist() == [int(value), 0]


def test_tensors_and_numpys_numbers_in_lists_keep_their_dtypes():
    wide = minidl.tensor(0.1, dtype=minidl.float64)
    assert minidl.tensor([wide, 1.0]).dtype == minidl.float64
    assert minidl.tensor([1.0, wide]).tolist() == [1.0, 0.1]
    assert minidl.tensor([np.float16(0.5), np.float16(1)]).dtype == minidl.float16
    assert minidl.tensor([minidl.tensor(1, dtype=minidl.uint8)]).dtype == minidl.uint8
    assert minidl.tensor([np.float32(0.5), 1]).dtype == minidl.float32


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (300, "uint8"), (-300, "uint8"), (300.5, "uint8"), (128, "int8"),
        (math.inf, "int32"), (math.nan, "int64"), (math.nan, "uint8"),
        (1e20, "int64"), (2**63, "int64"), (2**40, "int32"),
    ],
)  # fmt: skip
def test_numbers_that_do_not_fit_are_refused(value, dtype):
    for make in (
        lambda: minidl.tensor([value], dtype=dtype),
        lambda: minidl.as_tensor(value, dtype=dtype),
        lambda: minidl.full((1,), value, dtype=dtype),
        lambda: minidl.zeros(1, dtype=dtype).fill_(value),
        lambda: minidl.zeros(1, dtype=dtype).__setitem__(0, value),
        lambda: minidl.zeros(1, dtype=dtype).masked_fill(minidl.tensor([True]), value),
    ):
        with pytest.raises(NumberError):
            make()


def test_integers_beyond_64_bits_need_floats():
    with pytest.raises(NumberError):
        minidl.tensor(2**63)
    assert minidl.tensor(2**70, dtype=minidl.float64).item() == 2.0**70


def test_fractions_are_cut_off_and_negative_bytes_wrap():
    assert minidl.tensor([1.7, -1.7], dtype=minidl.int64).tolist() == [1, -1]
    assert minidl.tensor([-1], dtype=minidl.uint8).tolist() == [255]
    assert minidl.tensor(np.array([300]), dtype=minidl.uint8).tolist() == [44]  # a cast, as NumPy's


def test_masked_fill_keeps_the_dtype():
    mask = minidl.tensor([True, False])
    half = minidl.zeros(2).half()
    assert half.masked_fill(mask, -math.inf).tolist() == [-math.inf, 0]
    with pytest.raises(NumberError):
        half.masked_fill(mask, -1e9)
    with pytest.raises(NumberError):
        minidl.zeros(2).masked_fill(mask, 1e40)
    assert minidl.zeros(2, dtype=minidl.int64).masked_fill(mask, 1.5).tolist() == [1, 0]
