"""What the tape keeps alive, and when it lets go."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import minidl
from minidl import Tensor


def leaf(*values: float, device: str) -> Tensor:
    return minidl.tensor(list(values), dtype=minidl.float64, device=device, requires_grad=True)


class Remember(minidl.autograd.Function):
    """Notes when the array that it saved is freed."""

    alive: list[Any] = []
    counts: list[int] = []

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        saved = x * 2
        Remember.alive.append(weakref.ref(saved))
        ctx.save_for_backward(saved)
        return saved + 1

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        Remember.counts.append(sum(ref() is not None for ref in Remember.alive))
        return grad


def test_saved_arrays_are_freed_while_walking_back(device: str) -> None:
    Remember.alive, Remember.counts = [], []
    x = leaf(*range(8), device=device)
    y = x
    for _ in range(5):
        y = Remember.apply(y)
    gc.disable()
    try:
        y.sum().backward()
        assert Remember.counts == [5, 4, 3, 2, 1]
        assert not any(ref() is not None for ref in Remember.alive)
    finally:
        gc.enable()


def test_intermediate_results_die_with_the_last_reference(device: str) -> None:
    gc.disable()
    try:
        x = leaf(1.0, 2.0, device=device)
        refs = []
        y = x
        for _ in range(4):
            y = y.exp()
            refs.append(weakref.ref(y.array))
        loss = y.sum()
        del y
        assert all(ref() is not None for ref in refs)  # Exp needs its result
        loss.backward()
        assert not any(ref() is not None for ref in refs)
        refs.clear()
        y = x + 1
        refs.append(weakref.ref(y.array))
        z = (y + 1).sum()  # Add needs nothing
        del y
        assert refs[0]() is None
        z.backward()
    finally:
        gc.enable()


def test_forward_without_gradient_keeps_nothing(device: str) -> None:
    gc.disable()
    try:
        y = minidl.ones(3, device=device).exp()
        ref = weakref.ref(y.array)
        z = y * y
        del y
        assert ref() is None and z.shape == (3,)
    finally:
        gc.enable()


def test_long_chains_are_no_recursion(device: str) -> None:
    x = leaf(1.0, device=device)
    y = x
    for _ in range(10_000):
        y = y + 0.001
    y.backward()
    assert x.grad.item() == 1.0
    y = x
    for _ in range(10_000):
        y = y * 1.0
    del y  # freeing the tape without walking it


def test_wide_graphs(device: str) -> None:
    x = leaf(1.0, device=device)
    minidl.stack([x * i for i in range(500)]).sum().backward()
    assert x.grad.item() == sum(range(500))
