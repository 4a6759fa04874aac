"""``agree``, which pages call, can fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl.course import agree
from minidl.errors import GradcheckError

X = np.linspace(-1, 2, 6)


class Doubled(minidl.autograd.Function):
    """The identity, with twice its gradient."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.copy()

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return 2 * grad


def test_right_functions_agree() -> None:
    assert agree(minidl.tanh, X)
    assert agree(lambda x, y: x * y, X, X[::-1].copy())


@pytest.mark.parametrize("what", ["result", "gradient 1"])
def test_a_difference_is_an_error(what: str) -> None:
    calls: list[int] = []

    def changing(x: Any) -> Any:
        calls.append(1)
        y = x if len(calls) == 1 else 3 * x
        return y if what == "result" else y - y.detach()

    with pytest.raises(GradcheckError, match=what):
        agree(changing, X)


def test_a_wrong_gradient_is_an_error() -> None:
    with pytest.raises(GradcheckError, match="wrong gradient"):
        agree(Doubled.apply, X)
    assert agree(Doubled.apply, X, differences=False)
