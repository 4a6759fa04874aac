"""Attributes of tensors that are checked when they are set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import AutogradError, DTypeError


@pytest.mark.parametrize(
    ("attribute", "value", "error"),
    [
        ("grad", 1.0, DTypeError),
        ("grad", np.zeros(3, np.float32), DTypeError),
        ("grad", minidl.zeros(2), AutogradError),
        ("grad", minidl.zeros(1, 3), AutogradError),
        ("grad", minidl.zeros(3, dtype=minidl.float64), AutogradError),
        ("data", 1.0, DTypeError),
        ("data", None, DTypeError),
        ("data", np.zeros(3), DTypeError),
        ("data", minidl.zeros(3, dtype=minidl.int64), AutogradError),
        ("requires_grad", 1, AutogradError),
        ("requires_grad", None, AutogradError),
        ("grad_fn", None, AttributeError),
        ("_version", 1, AttributeError),
    ],
)
def test_what_does_not_fit_is_refused(attribute: str, value: Any, error: type[Exception]) -> None:
    x = minidl.zeros(3, requires_grad=True)
    with pytest.raises(error, match=f"{attribute}|no setter"):
        setattr(x, attribute, value)


def test_a_tensor_is_not_its_own_gradient() -> None:
    x = minidl.zeros(3)
    with pytest.raises(AutogradError, match="own gradient"):
        x.grad = x


@pytest.mark.parametrize("value", [True, False])
def test_requires_grad_of_a_result_is_not_set(value: bool) -> None:
    y = minidl.zeros(3, requires_grad=True) * 2
    with pytest.raises(AutogradError, match="only leaves"):
        y.requires_grad = value
    assert y.requires_grad_() is y


def test_data_takes_another_shape_and_dtype() -> None:
    x = minidl.zeros(3, requires_grad=True)
    x.data = minidl.ones(2, dtype=minidl.float64)
    (x * 2).sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    assert x.grad.dtype == minidl.float64


def test_a_deleted_gradient_is_none() -> None:
    x = minidl.zeros(3, requires_grad=True)
    x.sum().backward()
    del x.grad
    assert x.grad is None


def test_version_base_and_output_number() -> None:
    x = minidl.zeros(2, 3)
    view = x[0]
    assert (x._version, view._version) == (0, 0)
    view.add_(1)
    assert (x._version, view._version) == (1, 1)
    assert view._base is x
    assert x._base is None

    class Both(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2, x * 3

        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            return first * 2 + second * 3

    first, second = Both.apply(x.requires_grad_())
    assert (x.output_nr, first.output_nr, second.output_nr) == (0, 0, 1)
