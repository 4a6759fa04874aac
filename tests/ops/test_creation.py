"""New tensors: their values, dtypes and shapes, as PyTorch makes them."""

from __future__ import annotations

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, DTypeError


@pytest.mark.parametrize("name", ["zeros", "ones", "empty", "rand", "randn"])
def test_sizes_and_options(name: str, device: str) -> None:
    make = getattr(minidl, name)
    for shape in ((2, 3), (0, 4), ()):
        assert make(*shape).shape == shape == make(shape).shape == make(list(shape)).shape
        assert make(*shape).dtype == np.float32 and not make(*shape).requires_grad
    for dtype in (minidl.float16, minidl.float64):
        x = make(2, dtype=dtype, device="cpu", requires_grad=True)
        assert x.dtype == dtype and x.requires_grad and x.is_leaf
    assert make(minidl.ones(2, 3, device=device).shape).shape == (2, 3)


def test_constants(device: str) -> None:
    assert minidl.zeros(2, device=device).tolist() == [0.0, 0.0] and minidl.ones(
        2, dtype=minidl.int32, device=device
    ).tolist() == [1, 1]
    assert (
        minidl.full((2,), 2.5, device=device).dtype == np.float32
        and minidl.full((2,), 3, device=device).dtype == np.int64
    )
    assert minidl.full((), True, device=device).dtype == bool and minidl.full(
        2, 1.0, device=device
    ).shape == (2,)
    assert minidl.eye(2, 3, device=device).tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_like_another(device: str) -> None:
    x = minidl.zeros(2, 3, dtype=minidl.float64, device=device)
    for name in ("zeros_like", "ones_like", "empty_like", "rand_like", "randn_like"):
        y = getattr(minidl, name)(x)
        assert y.shape == (2, 3) and y.dtype == np.float64 and y.device == x.device
    assert minidl.zeros_like(x, dtype=minidl.int64).dtype == np.int64
    assert minidl.full_like(x, 3).tolist() == [[3.0] * 3] * 2
    assert minidl.ones_like(x, requires_grad=True).requires_grad


def test_ranges(device: str) -> None:
    assert (
        minidl.arange(4, device=device).tolist() == [0, 1, 2, 3]
        and minidl.arange(4, device=device).dtype == np.int64
    )
    assert minidl.arange(1, 6, 2, device=device).tolist() == [1, 3, 5] and minidl.arange(
        3, 0, -1, device=device
    ).tolist() == [
        3,
        2,
        1,
    ]
    assert (
        minidl.arange(0, 1, 0.25, device=device).dtype == np.float32
        and minidl.arange(3.0, device=device).dtype == np.float32
    )
    assert (
        minidl.arange(3, dtype=minidl.float64, device=device).dtype == np.float64
        and minidl.arange(0, device=device).numel() == 0
    )
    assert minidl.linspace(0, 1, 5, device=device).tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert minidl.linspace(3, 4, 1, device=device).tolist() == [3.0]
    with pytest.raises(ArgumentError, match="step"):
        minidl.arange(0, 5, 0, device=device)
    for call in (lambda: minidl.linspace("a", 1, 3), lambda: minidl.arange("a")):
        with pytest.raises(DTypeError, match="expected a number, got 'a'"):
            call()
    with pytest.raises(DTypeError, match="lengths"):
        minidl.linspace(0, 1, 2.5)  # type: ignore[arg-type]


def test_ranges_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for arguments in ((10,), (2, 7), (0, 1, 0.1), (1, 0, -0.3), (0.5, 3), (5, 5), (-3, 3, 2)):
        ours, theirs = minidl.arange(*arguments), torch.arange(*arguments)
        assert ours.numpy().dtype == theirs.numpy().dtype
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6, atol=1e-7)


def test_random_shapes(device: str) -> None:
    assert (
        minidl.randint(5, (2, 3), device=device).shape == (2, 3)
        and minidl.randint(2, 5, (4,), device=device).dtype == np.int64
    )
    assert minidl.randint(0, 2, (3,), dtype=minidl.uint8, device=device).dtype == np.uint8
    assert minidl.normal(0.0, 1.0, (2, 2), device=device).shape == (2, 2)
    assert minidl.normal(minidl.zeros(3, device=device), 1.0, device=device).shape == (3,)
    assert (
        minidl.randperm(0, device=device).numel() == 0
        and minidl.randperm(3, device=device).dtype == np.int64
    )
    p = minidl.tensor([0.0, 1.0], requires_grad=True, device=device)
    assert minidl.bernoulli(p.detach()).tolist() == [0.0, 1.0]
