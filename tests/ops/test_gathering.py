"""Gathering and scattering along an axis: against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest

import minidl
from minidl.errors import DTypeError, IndexOutOfRange, ShapeError


def test_gather_and_scatter(device: str) -> None:
    a = helpers.values((3, 4), 0)
    x = helpers.leaf(a, device)
    index = minidl.tensor([[0, 3, 3], [1, 1, 2]], device=device)
    for dim, where in ((1, index), (-1, index), (0, index % 3)):
        expected = np.take_along_axis(
            a[: 2 if dim else 3, : 4 if dim else 3], helpers.host(where), dim
        )
        np.testing.assert_array_equal(helpers.host(x.gather(dim, where)), expected)
        assert minidl.gradcheck(lambda x, d=dim, w=where: x.gather(d, w), x)
    source = helpers.leaf(helpers.values((2, 3), 1), device)
    unique = minidl.tensor([[0, 3, 2], [1, 0, 2]], device=device)
    assert minidl.gradcheck(lambda x, s: x.scatter(1, unique, s), (x, source))
    assert minidl.gradcheck(lambda x, s: x.scatter_add(1, index, s), (x, source))
    rows = minidl.tensor([2, 0, 2], device=device)
    other = helpers.leaf(helpers.values((3, 4), 2), device)
    assert minidl.gradcheck(lambda x, o: x.index_add(0, rows, o, alpha=2), (x, other))
    assert minidl.gradcheck(lambda x: x.index_fill(1, rows, 3.0), x)
    assert minidl.gradcheck(lambda x: x.index_select(1, rows), x)
    assert minidl.gradcheck(lambda x: x.masked_select(x > 0), x)
    with pytest.raises(ShapeError, match="gather"):
        x.gather(0, rows)
    with pytest.raises(ShapeError, match="scatter"):
        x.scatter(0, rows, 1.0)
    with pytest.raises(IndexError):
        x.gather(1, index + 3)
    with pytest.raises(DTypeError, match="mask"):
        x.masked_select(index)


@pytest.mark.parametrize(
    "bad",
    [
        lambda x, at, one: x.index_add(0, at + 9, one),
        lambda x, at, one: x.index_add(0, at - 1, one),
        lambda x, at, one: x.index_add(0, at[None], one),
        lambda x, at, one: x.index_fill(0, at + 9, 1.0),
        lambda x, at, one: x.index_fill(0, at[None], 1.0),
        lambda x, at, one: x.index_put([], one),
        lambda x, at, one: x.index_put([at + 9], one, accumulate=True),
        lambda x, at, one: x.gather(0, at - 1),
        lambda x, at, one: x.scatter(0, at - 1, 1.0),
        lambda x, at, one: x.scatter_add(0, at + 9, one),
    ],
)
def test_positions_that_are_not_there(bad: Any, device: str) -> None:
    x, at = minidl.zeros(3, device=device), minidl.tensor([0], device=device)
    with pytest.raises(IndexOutOfRange):
        bad(x, at, minidl.ones(1, device=device))


def test_positions_from_the_end(device: str) -> None:
    x, at = minidl.arange(3.0, device=device), minidl.tensor([-1], device=device)
    assert minidl.take_along_dim(x, at, 0).tolist() == [2.0]
    assert minidl.take_along_dim(x, at).tolist() == [2.0]
    assert x.index_fill(0, at, 9.0).tolist() == [0.0, 1.0, 9.0]


def test_take_counts_positions_in_the_flattened_tensor(device: str) -> None:
    x = minidl.tensor([[1.0, 2.0], [3.0, 4.0]], device=device).T.requires_grad_()
    index = minidl.tensor([[1, -1], [1, 0]], device=device)
    y = x.take(index)
    assert y.tolist() == [[3.0, 4.0], [3.0, 1.0]]
    y.sum().backward()
    assert x.grad.tolist() == [[1.0, 2.0], [0.0, 1.0]]
    assert x.take(index[0, 0]).shape == ()
    with pytest.raises(IndexOutOfRange):
        x.take(index + 9)
    with pytest.raises(DTypeError, match="take"):
        x.take(x)


def test_what_index_add_adds_must_fit(device: str) -> None:
    x, index = minidl.ones(4, 2, device=device), minidl.tensor([0, 2], device=device)
    with pytest.raises(ShapeError, match=r"source of shape \(1, 1\), expected \(2, 2\)"):
        x.index_add(0, index, minidl.ones(1, 1, device=device))
    with pytest.raises(DTypeError, match="source is float64, input is float32"):
        x.index_add(0, index, minidl.ones(2, 2, dtype=minidl.float64, device=device))
