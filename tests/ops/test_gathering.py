"""Gathering and scattering along an axis: against NumPy and PyTorch."""

from __future__ import annotations

import helpers
import numpy as np
import pytest

import minidl
from minidl.errors import DTypeError, ShapeError


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
