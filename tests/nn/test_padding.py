"""Padding against NumPy's, every mode, and its gradient."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import MinidlError

MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@settings(max_examples=80)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 4),
    amounts=st.tuples(*[st.integers(0, 4)] * 4),
    mode=st.sampled_from(sorted(MODES)),
    layout=st.sampled_from(sorted(helpers.LAYOUTS)),
    dtype=st.sampled_from(helpers.DTYPES),
)
def test_any_padding(
    shape: tuple[int, ...],
    amounts: tuple[int, ...],
    mode: str,
    layout: str,
    dtype: Any,
    device: str,
) -> None:
    most = {"reflect": -1, "circular": 0}.get(mode, 4)
    left, right = (min(a, shape[3] + most) for a in amounts[:2])
    top, bottom = (min(a, shape[2] + most) for a in amounts[2:])
    x = helpers.LAYOUTS[layout](helpers.values(shape, 0, dtype))
    leaf = helpers.leaf(x, device)
    out = F.pad(leaf, (left, right, top, bottom), mode=mode)
    widths = ((0, 0), (0, 0), (top, bottom), (left, right))
    np.testing.assert_array_equal(helpers.host(out), np.pad(x, widths, mode=MODES[mode]))
    assert out.dtype == dtype

    # Every pixel collects the gradients of its copies: number the pixels and count.
    grad = helpers.values(tuple(out.shape), 1, dtype)
    out.backward(minidl.tensor(grad, device=device))
    numbers = np.pad(np.arange(x.size).reshape(shape), widths, MODES[mode])
    if mode == "constant":
        inside = np.pad(np.ones(shape, bool), widths)
        numbers, grad = numbers[inside], grad[inside]
    expected = np.bincount(numbers.ravel(), grad.ravel().astype(float), x.size).reshape(shape)
    helpers.assert_close(leaf.grad, expected, 25)


@pytest.mark.parametrize("mode", MODES)
def test_gradcheck(mode: str, device: str) -> None:
    x = helpers.leaf(helpers.values((2, 2, 3, 4), 0), device)
    assert minidl.gradcheck(lambda x: F.pad(x, (2, 1, 0, 2), mode=mode), (x,))


def test_value_and_axes(device: str) -> None:
    x = minidl.tensor([[1.0, 2.0]], device=device)
    assert F.pad(x, (1, 0), value=-7.0).tolist() == [[-7, 1, 2]]
    assert F.pad(x, (0, 0, 1, 0), value=5.0).tolist() == [[5, 5], [1, 2]]


def test_negative_amounts_crop(device: str) -> None:
    x = helpers.leaf(np.arange(12.0).reshape(3, 4), device)
    out = F.pad(x, (-1, 1, 0, -2), value=9.0)
    assert out.tolist() == [[1, 2, 3, 9]]
    assert minidl.gradcheck(lambda x: F.pad(x, (-1, 1, 0, -2)), (x,))


@pytest.mark.parametrize(
    ("amounts", "mode"),
    [
        ((1,), "constant"),
        ((0, 0, 0, 0, 0, 0), "constant"),
        ((1, 1), "mirror"),
        ((3, 0), "reflect"),
        ((4, 0), "circular"),
        ((-2, -2), "replicate"),
        ((-2, -2), "constant"),
    ],
)
def test_errors(amounts: tuple[int, ...], mode: str, device: str) -> None:
    with pytest.raises(MinidlError, match="pad"):
        F.pad(minidl.zeros(2, 3, device=device), amounts, mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_same_as_pytorch(mode: str) -> None:
    torch = pytest.importorskip("torch")
    x = helpers.values((1, 2, 4, 5), 0)
    ours, theirs = helpers.leaf(x), torch.tensor(x, requires_grad=True)
    out = F.pad(ours, (1, 3, 2, 0), mode=mode)
    expected = torch.nn.functional.pad(theirs, (1, 3, 2, 0), mode=mode)
    np.testing.assert_array_equal(helpers.host(out), expected.detach().numpy())
    grad = helpers.values(tuple(out.shape), 1)
    out.backward(minidl.tensor(grad))
    expected.backward(torch.tensor(grad))
    helpers.assert_close(ours.grad, theirs.grad.numpy(), 9)


def test_layers_pad_images() -> None:
    x = minidl.tensor(helpers.values((2, 3, 4, 5), 0))
    for layer, mode in (
        (nn.ReflectionPad2d, "reflect"),
        (nn.ReplicationPad2d, "replicate"),
        (nn.CircularPad2d, "circular"),
        (nn.ZeroPad2d, "constant"),
    ):
        assert minidl.equal(layer(2)(x), F.pad(x, (2, 2, 2, 2), mode))
        assert minidl.equal(layer((1, 2, 0, 3))(x[0]), F.pad(x[0], (1, 2, 0, 3), mode))
    assert minidl.equal(nn.ConstantPad2d(1, 3.5)(x), F.pad(x, (1, 1, 1, 1), value=3.5))
    assert repr(nn.ReflectionPad2d(1)) == "ReflectionPad2d((1, 1, 1, 1))"
    with pytest.raises(MinidlError, match="one or four"):
        nn.ZeroPad2d((1, 2))
