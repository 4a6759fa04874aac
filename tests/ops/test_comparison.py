"""Comparisons, logic and choices: against NumPy."""

from __future__ import annotations

import helpers
import numpy as np
import pytest

import minidl
from minidl.errors import DTypeError, ShapeError

COMPARE = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}  # fmt: skip


@pytest.mark.parametrize("name", COMPARE)
def test_comparisons(name: str, device: str) -> None:
    a, b = np.array([[-1.0, 0.0, 2.0]]), np.array([[0.0], [2.0], [np.nan]])
    for dtype in (np.float32, np.float64):
        ours = getattr(minidl, name)(
            helpers.leaf(a.astype(dtype), device), helpers.leaf(b.astype(dtype), device)
        )
        assert ours.dtype == bool and not ours.requires_grad
        np.testing.assert_array_equal(helpers.host(ours), COMPARE[name](a, b))
    x = minidl.arange(3, device=device)
    assert getattr(minidl, name)(x, 1).tolist() == COMPARE[name](np.arange(3), 1).tolist()


def test_where_and_masked_fill(device: str) -> None:
    x = minidl.tensor([[1.0, -2.0], [3.0, -4.0]], requires_grad=True, device=device)
    y = x.masked_fill(x < 0, -np.inf)
    assert y.tolist() == [[1.0, -np.inf], [3.0, -np.inf]]
    y[:, 0].sum().backward()
    assert x.grad.tolist() == [[1.0, 0.0], [1.0, 0.0]]
    rows, columns = minidl.where(x > 0)
    assert rows.tolist() == [0, 1] and columns.tolist() == [0, 0]
    assert minidl.where(x > 0, 1, 0).dtype == np.int64
    value = minidl.tensor(5.0, requires_grad=True, device=device)
    x.masked_fill(x < 0, value).sum().backward()
    assert value.grad.item() == 2.0
    with pytest.raises(DTypeError, match="condition"):
        minidl.where(x, x, x)
    with pytest.raises(ShapeError, match="where"):
        minidl.where(x > 0, x, minidl.ones(3, device=device))


def test_numbers_that_are_not_finite(device: str) -> None:
    x = minidl.tensor([np.nan, np.inf, -np.inf, 0.0], device=device)
    assert x.isnan().tolist() == [True, False, False, False]
    assert x.isinf().tolist() == [False, True, True, False]
    assert x.isfinite().tolist() == [False, False, False, True]
    assert np.isnan(x.clamp(-1, 1)[0].item()) and np.isnan(
        minidl.maximum(x, minidl.zeros(4, device=device))[0].item()
    )


def test_nan_to_num_replaces_what_is_not_finite(device: str) -> None:
    x = minidl.tensor([np.nan, np.inf, -np.inf, 2.0], device=device).requires_grad_()
    largest = float(np.finfo(np.float32).max)
    y = x.nan_to_num()
    assert y.tolist() == [0.0, largest, -largest, 2.0]
    assert x.nan_to_num(1.0, posinf=3.0, neginf=-3.0).tolist() == [1.0, 3.0, -3.0, 2.0]
    y.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 0.0, 1.0]
    assert minidl.tensor([3], device=device).nan_to_num().tolist() == [3]
