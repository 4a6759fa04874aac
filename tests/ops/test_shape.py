"""Rearranging: against NumPy in all layouts, with gradients; what shares memory and what not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
import minidl.nn.functional as F
from minidl.errors import ArgumentError, ShapeError

CASES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "reshape": (lambda x: x.reshape(4, -1), lambda a: a.reshape(4, -1)),
    "view": (lambda x: x.view((6, 20)), lambda a: a.reshape(6, 20)),
    "flatten": (lambda x: x.flatten(1), lambda a: a.reshape(3, -1)),
    "flatten_inner": (lambda x: x.flatten(1, 2), lambda a: a.reshape(3, 8, 5)),
    "unflatten": (lambda x: x.unflatten(1, (2, -1)), lambda a: a.reshape(3, 2, 2, 2, 5)),
    "permute": (lambda x: x.permute(3, 0, 2, 1), lambda a: a.transpose(3, 0, 2, 1)),
    "permute_tuple": (lambda x: x.permute((0, -1, 1, 2)), lambda a: a.transpose(0, 3, 1, 2)),
    "transpose": (lambda x: x.transpose(-1, 0), lambda a: a.swapaxes(-1, 0)),
    "T": (lambda x: x.T, lambda a: a.T), "mT": (lambda x: x.mT, lambda a: a.swapaxes(2, 3)),
    "t": (lambda x: x[0, :, 0].t(), lambda a: a[0, :, 0].T),
    "movedim": (lambda x: x.movedim(1, -1), lambda a: np.moveaxis(a, 1, -1)),
    "movedims": (lambda x: x.movedim((0, 1), (2, 0)), lambda a: np.moveaxis(a, (0, 1), (2, 0))),
    "squeeze": (lambda x: x[:1, :, :1].squeeze(), lambda a: a[:1, :, :1].squeeze()),
    "squeeze_dim": (lambda x: x[:1, :, :1].squeeze(2), lambda a: a[:1, :, :1].squeeze(2)),
    "squeeze_long": (lambda x: x.squeeze(1), lambda a: a),
    "unsqueeze": (lambda x: x.unsqueeze(-1).unsqueeze(0), lambda a: a[None, ..., None]),
    "expand": (lambda x: x[:, :1].expand(2, 3, 7, -1, 5),
               lambda a: np.broadcast_to(a[:, :1], (2, 3, 7, 2, 5))),
    "broadcast_to": (lambda x: x[:1].broadcast_to((3, 4, 2, 5)),
                     lambda a: np.broadcast_to(a[:1], (3, 4, 2, 5))),
    "broadcast_to_lengths": (lambda x: x[:1].broadcast_to(3, 4, 2, 5),
                             lambda a: np.broadcast_to(a[:1], (3, 4, 2, 5))),
    "repeat": (lambda x: x.repeat(2, 1, 3, 1, 1), lambda a: np.tile(a, (2, 1, 3, 1, 1))),
    "tile": (lambda x: x.tile((2, 1)), lambda a: np.tile(a, (2, 1))),
    "repeat_interleave": (lambda x: x.repeat_interleave(3, 1), lambda a: a.repeat(3, 1)),
    "repeat_counts": (lambda x: x.repeat_interleave(minidl.tensor([2, 0, 1]), 0),
                      lambda a: a.repeat([2, 0, 1], 0)),
    "cat": (lambda x: minidl.cat([x, x[:, :1], x], 1),
            lambda a: np.concatenate([a, a[:, :1], a], 1)),
    "stack": (lambda x: minidl.stack([x, x * 2], -1), lambda a: np.stack([a, a * 2], -1)),
    "hstack": (lambda x: minidl.hstack([x, x]), lambda a: np.hstack([a, a])),
    "vstack": (lambda x: minidl.vstack([x, x]), lambda a: np.vstack([a, a])),
    "split": (lambda x: x.split(3, 1)[1], lambda a: a[:, 3:]),
    "split_sizes": (lambda x: x.split([1, 0, 2])[2], lambda a: a[1:]),
    "chunk": (lambda x: x.chunk(2, 3)[0], lambda a: a[..., :3]),
    "unbind": (lambda x: x.unbind(2)[1], lambda a: a[:, :, 1]),
    "narrow": (lambda x: x.narrow(3, -3, 2), lambda a: a[..., 2:4]),
    "select": (lambda x: x.select(1, -1), lambda a: a[:, -1]),
    "flip": (lambda x: x.flip(0, 2), lambda a: np.flip(a, (0, 2))),
    "roll": (lambda x: x.roll(2, 1), lambda a: np.roll(a, 2, 1)),
    "rolls": (lambda x: x.roll((1, -2), (0, 3)), lambda a: np.roll(a, (1, -2), (0, 3))),
    "roll_flat": (lambda x: x.roll(7), lambda a: np.roll(a, 7)),
    "tril": (lambda x: x.tril(1), lambda a: np.tril(a, 1)),
    "triu": (lambda x: x.triu(-1), lambda a: np.triu(a, -1)),
    "clone": (lambda x: x.clone(), lambda a: a),
    "contiguous": (lambda x: x.contiguous(), lambda a: a),
    "meshgrid": (lambda x: minidl.meshgrid(x[0, 0, 0], x[:, 0, 0, 0])[1],
                 lambda a: np.meshgrid(a[0, 0, 0], a[:, 0, 0, 0], indexing="ij")[1]),
    "diagonal": (lambda x: x.diagonal(1, 1, 3), lambda a: a.diagonal(1, 1, 3)),
    "diag": (lambda x: x[0, :, 0, 0].diag(-2), lambda a: np.diag(a[0, :, 0, 0], -2)),
    "diag_of": (lambda x: x[0, :, 0].diag(1), lambda a: np.diag(a[0, :, 0], 1)),
}  # fmt: skip


@pytest.mark.parametrize("layout", helpers.LAYOUTS)
@pytest.mark.parametrize("name", CASES)
def test_against_numpy(name: str, layout: str, device: str) -> None:
    ours, numpy = CASES[name]
    for dtype in (np.float32, np.int64):
        a = (
            helpers.LAYOUTS[layout]((helpers.values((3, 4, 2, 5), 0) * 100).astype(dtype))
            if layout != "sliced" or dtype == np.float32
            else np.arange(120).reshape(3, 4, 2, 5)
        )
        result = ours(helpers.leaf(a, device, requires_grad=False))
        assert result.dtype == dtype
        np.testing.assert_array_equal(helpers.host(result), numpy(a))


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str, device: str) -> None:
    x = helpers.leaf(helpers.values((3, 4, 2, 5), 0), device)
    assert minidl.gradcheck(CASES[name][0], x)


VIEWS = ["view", "flatten", "permute", "transpose", "T", "movedim", "unsqueeze", "squeeze", "split",
         "chunk", "unbind", "narrow", "select", "unflatten", "squeeze_long"]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_memory(name: str, device: str) -> None:
    x = helpers.leaf(helpers.values((3, 4, 2, 5), 0), device, requires_grad=False)
    result = CASES[name][0](x)
    if name in VIEWS:
        assert helpers.shares_memory(result.array, x.array)
        before = x.version[0]
        result.zero_()
        assert x.version[0] > before and (x == 0).any()
    elif name in ("cat", "stack", "repeat", "flip", "roll", "tril", "clone", "repeat_interleave"):
        assert not helpers.shares_memory(result.array, x.array)


@given(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=4, max_side=4), elements=st.floats(-9, 9)),
    st.data(),
)
def test_permutations(device: str, a: np.ndarray, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(a.ndim)))
    x = helpers.leaf(a, device=device)
    y = x.permute(order)
    np.testing.assert_array_equal(helpers.host(y), a.transpose(order))
    grad = np.arange(float(a.size)).reshape(y.shape)
    y.backward(minidl.tensor(grad, device=device))
    np.testing.assert_array_equal(helpers.host(x.grad), grad.transpose(np.argsort(order)))
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    np.testing.assert_array_equal(helpers.host(x.flip(axis)), np.flip(a, axis))
    size = data.draw(st.integers(1, 4))
    pieces = x.split(size, axis)
    assert minidl.equal(minidl.cat(pieces, axis), x) and len(pieces) == -(-a.shape[axis] // size)


def test_empty_tensors(device: str) -> None:
    x = minidl.zeros(0, 3, device=device)
    assert x.reshape(3, 0).shape == (3, 0) and x.flatten().shape == (0,)
    assert x.flatten(1).shape == (0, 3) and minidl.cat(
        [x, minidl.ones(2, 3, device=device)]
    ).shape == (2, 3)
    assert x.split(2)[0].shape == (0, 3) and x.repeat(2, 2).shape == (0, 6)
    assert minidl.zeros(0, 3, 2, 2, device=device).flatten(1).shape == (0, 12)


def test_cat_takes_pytorchs_odd_cases(device: str) -> None:
    x = minidl.ones(2, 3, device=device)
    assert minidl.cat([minidl.tensor([], device=device), x]).shape == (2, 3)
    assert minidl.cat((x, x.long())).dtype == np.float32  # not NumPy's float64
    assert (
        minidl.cat([minidl.arange(2, device=device), minidl.tensor([True], device=device)]).dtype
        == np.int64
    )
    assert minidl.cat([x], dim=-1).shape == (2, 3)


def test_errors(device: str) -> None:
    x = minidl.ones(2, 3, device=device)
    for error, match, call in [
        (ShapeError, r"6 elements of shape \(2, 3\).*\(4, -1\)", lambda: x.reshape(4, -1)),
        (ShapeError, "expand", lambda: x.expand(4, 3)),
        (ShapeError, r"cat: shapes", lambda: minidl.cat([x, minidl.ones(2, 2, device=device)])),
        (ShapeError, r"cat: shapes", lambda: minidl.cat([x, minidl.ones(3, device=device)])),
        (ShapeError, "stack", lambda: minidl.stack([x, x.T])),
        (ShapeError, "t: expected at most 2", lambda: minidl.ones(1, 2, 3, device=device).t()),
        (ArgumentError, "cat", lambda: minidl.cat([])),
        (ArgumentError, "stack", lambda: minidl.stack([])),
        (ArgumentError, "permute", lambda: x.permute(0, 0)),
        (ArgumentError, "dim 2 is out of range", lambda: x.transpose(0, 2)),
        (ArgumentError, "dim -4 is out of range", lambda: x.unsqueeze(-4)),
        (ArgumentError, "split", lambda: x.split([1, 3], 1)),
        (ArgumentError, "narrow", lambda: x.narrow(0, 1, 2)),
        (ArgumentError, "repeat", lambda: x.repeat(2)),
        (ArgumentError, "indexing", lambda: minidl.meshgrid(x[0], indexing="ab")),
    ]:
        with pytest.raises(error, match=match):
            call()


def test_tile_takes_numbers_and_a_tuple() -> None:
    x = minidl.arange(2)
    assert x.tile(2).tolist() == x.tile((2,)).tolist() == [0, 1, 0, 1]
    assert x.tile(2, 1).shape == (2, 2)


def test_what_can_not_be_joined_or_flipped() -> None:
    for join in (minidl.cat, minidl.stack):
        with pytest.raises(TypeError, match="expected Tensors, got ndarray"):
            join([np.ones(2), np.ones(2)])
    with pytest.raises(ShapeError, match="no axes"):
        minidl.cat([minidl.tensor(1.0), minidl.tensor(2.0)])
    with pytest.raises(ArgumentError, match="axis|axes|twice"):
        minidl.ones(2, 2).flip(0, -2)


@pytest.mark.parametrize(
    ("shape", "make"),
    [
        ((1,), lambda x: x.repeat(3)),
        ((2,), lambda x: x.repeat(1)),
        ((2, 1), lambda x: x.repeat(1, 3)),
        ((2,), lambda x: minidl.tile(x, (1, 1))),
        ((1, 2), lambda x: x.repeat_interleave(2, 0)),
        ((2,), lambda x: x.repeat_interleave(1)),
        ((2, 2), lambda x: x.diag()),
        ((1, 1, 2, 2), lambda x: F.pixel_shuffle(x, 1)),
        ((1, 1, 2, 2), lambda x: F.pixel_unshuffle(x, 1)),
    ],
)
def test_results_that_are_no_views_have_their_own_memory(
    shape: tuple[int, ...], make: Any, device: str
) -> None:
    x = minidl.ones(shape, device=device)
    y = make(x)
    x.add_(1)
    assert set(y.flatten().tolist()) == {1.0}
    y[:1] = 5.0
    assert set(x.flatten().tolist()) == {2.0}


@pytest.mark.parametrize(
    "name", "sum mean cumsum argmax std amax all logsumexp prod squeeze median softmax".split()
)
def test_an_axis_may_be_one_of_numpys_integers(name: str, device: str) -> None:
    x = minidl.tensor([[1.0, 2.0], [4.0, 3.0]], device=device)
    found, expected = (getattr(x, name)(axis) for axis in (np.int64(1), 1))
    if name == "median":
        found, expected = found[0], expected[0]
    assert found.tolist() == expected.tolist()


def test_numbers_of_pieces_may_be_numpys_integers_or_tensors() -> None:
    x = minidl.arange(4)
    assert [part.tolist() for part in x.chunk(minidl.tensor(2))] == [[0, 1], [2, 3]]
    assert [part.tolist() for part in x.split(np.int32(3))] == [[0, 1, 2], [3]]


def test_reversed() -> None:
    assert reversed(minidl.tensor([[1, 2], [3, 4]])).tolist() == [[3, 4], [1, 2]]
    assert reversed(minidl.tensor(3)).item() == 3
