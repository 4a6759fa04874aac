"""Recording or not: no_grad and its relatives."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import helpers
import pytest

import minidl
from minidl import Tensor
from minidl.errors import AutogradError


def leaf(*values: float, device: str) -> Tensor:
    return minidl.tensor(list(values), dtype=minidl.float64, device=device, requires_grad=True)


def test_modes_nest_and_come_back_after_errors(device: str) -> None:
    x = leaf(1.0, device=device)
    assert minidl.is_grad_enabled()
    with minidl.no_grad():
        assert not (x * 2).requires_grad
        with minidl.enable_grad():
            assert (x * 2).requires_grad
        assert not minidl.is_grad_enabled()
    with pytest.raises(ZeroDivisionError), minidl.no_grad():
        _ = 1 / 0
    assert minidl.is_grad_enabled()
    guard = minidl.no_grad()
    with guard, guard:
        pass
    assert minidl.is_grad_enabled()


def test_modes_decorate(device: str) -> None:
    @minidl.no_grad()
    def evaluate(x: Tensor) -> Tensor:
        """Say something."""
        return x * 2 if x.sum() < 100 else evaluate(x / 2)

    assert not evaluate(leaf(500.0, device=device)).requires_grad
    assert evaluate.__name__ == "evaluate" and evaluate.__doc__ == "Say something."
    assert minidl.is_grad_enabled()


def test_set_grad_enabled() -> None:
    with minidl.set_grad_enabled(False):
        assert not minidl.is_grad_enabled()
    assert minidl.is_grad_enabled()
    minidl.set_grad_enabled(False)
    assert not minidl.is_grad_enabled()
    minidl.set_grad_enabled(True)


def test_mode_belongs_to_the_thread() -> None:
    with minidl.no_grad(), ThreadPoolExecutor(1) as pool:
        assert pool.submit(minidl.is_grad_enabled).result()


def test_nothing_is_recorded_for_tensors_without_gradient(device: str) -> None:
    y = minidl.ones(3, device=device) * 2
    assert y.grad_fn is None and y.is_leaf and not y.requires_grad
    x = leaf(1.0, device=device)
    assert (x * 2).grad_fn is not None and "Mul" in repr((x * 2).grad_fn)


def test_detach_shares_memory_but_not_the_tape(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    d = x.detach()
    assert not d.requires_grad and helpers.shares_memory(d.array, x.array)
    ((x * 3).detach() * x).sum().backward()
    assert x.grad.tolist() == [3.0, 6.0]
    y = x * 2
    y.detach_()
    assert y.is_leaf and not y.requires_grad


def test_requires_grad_of_a_result_can_not_be_unset(device: str) -> None:
    with pytest.raises(AutogradError, match="detach"):
        (leaf(1.0, device=device) * 2).requires_grad = False
