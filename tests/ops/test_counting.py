"""nonzero, bincount, one_hot: against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError
from minidl.nn.functional import one_hot


def test_counting_and_finding(device: str) -> None:
    x = minidl.tensor([3, 0, 3, 1], device=device)
    assert x.bincount().tolist() == [1, 1, 0, 2] and x.bincount(minlength=6).numel() == 6
    weights = minidl.tensor([0.5, 1.0, 0.25, 2.0], device=device)
    assert x.bincount(weights).tolist() == [1.0, 2.0, 0.0, 0.75]
    assert x.unique().tolist() == [0, 1, 3]
    assert [t.tolist() for t in x.unique(return_inverse=True, return_counts=True)] == [
        [0, 1, 3], [2, 0, 2, 1], [1, 1, 2],
    ]  # fmt: skip
    assert x.nonzero().tolist() == [[0], [2], [3]]
    assert [t.tolist() for t in x.reshape(2, 2).nonzero(as_tuple=True)] == [[0, 1, 1], [0, 0, 1]]
    assert minidl.isin(x, minidl.tensor([0, 1], device=device)).tolist() == [
        False,
        True,
        False,
        True,
    ]
    assert minidl.tensor(3, device=device).nonzero().shape == (1, 0)
    assert x.take_along_dim(minidl.tensor([0, 3], device=device)).tolist() == [3, 1]
    assert minidl.trace(minidl.eye(3, device=device)).item() == 3.0


def test_one_hot(device: str) -> None:
    x = minidl.tensor([[0, 2], [1, 1]], device=device)
    assert one_hot(x).tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 0]]]
    assert one_hot(x, 5).shape == (2, 2, 5) and one_hot(x).dtype == np.int64
    for bad, count in ((x, 2), (x - 1, -1)):
        with pytest.raises(ArgumentError, match="one_hot"):
            one_hot(bad, count)
