"""Indexing, gathering, scattering, sorting: against NumPy, and where PyTorch differs from it."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl.errors import ArgumentError, AutogradError, DTypeError, ShapeError
from minidl.nn.functional import one_hot

SHAPE = (4, 3, 5)
INDICES: list[Any] = [
    0, -1, slice(1, 3), slice(None, None, 2), slice(None, None, -1), ..., None, (),
    (0, 1), (0, 1, 2),
    (..., 0), (slice(None), 1), (None, 0, None), (0, ..., slice(1, 4, 2)), (slice(3, 1), 0),
    [0, 2, 2], np.array([3, 0]), np.array([[0, 1], [2, 3]]), ([0, 1], [2, 0]),
    (slice(None), [0, 2, 2]),
    (..., [0, 4, 4]), ([1, 1], slice(None), [0, 2]), np.array([True, False, True, False]),
    np.arange(60).reshape(SHAPE) % 2 == 0, (slice(None), np.array([True, False, True])),
    (np.array([[1], [2]]), np.array([0, 2])), [], np.zeros(0, int), (np.int64(2), slice(None)),
    (None, [0, 1]), np.array(2), (np.arange(12).reshape(4, 3) % 5 == 0), True, (False, 0),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(INDICES)))
def test_reading_is_numpys(number: int, device: str) -> None:
    index = INDICES[number]
    for layout in ("contiguous", "transposed", "sliced"):
        a = helpers.LAYOUTS[layout](helpers.values(SHAPE, 0))
        x = helpers.leaf(a, device)
        np.testing.assert_array_equal(helpers.host(x[index]), a[index])
        assert minidl.gradcheck(lambda x: x[index] * 1, x)


@pytest.mark.parametrize("number", range(len(INDICES)))
def test_writing_is_numpys(number: int, device: str) -> None:
    index = INDICES[number]
    a = helpers.values(SHAPE, 0)
    for value in (7.0, helpers.values(a[index].shape, 2)):
        expected = a.copy()
        expected[index] = value
        x = minidl.tensor(a, device=device)
        x[index] = minidl.tensor(value, device=device) if isinstance(value, np.ndarray) else value
        np.testing.assert_array_equal(helpers.host(x), expected)


#: Where no element is named twice: what was written last has the only gradient.
ONCE = [n for n, index in enumerate(INDICES) if n not in (15, 18, 19, 20, 21)]


@pytest.mark.parametrize("number", ONCE)
def test_gradient_of_writing(number: int, device: str) -> None:
    index = INDICES[number]
    x = helpers.leaf(helpers.values(SHAPE, 0), device)
    value = helpers.leaf(np.asarray(helpers.values(x.array[index].shape, 1)), device)

    def write(x: Any, value: Any) -> Any:
        y = x * 2
        y[index] = value * 3
        return y

    assert minidl.gradcheck(write, (x, value))


def test_integers_beside_lists_are_pytorchs(device: str) -> None:
    """NumPy moves the axis of the list to the front; PyTorch leaves it where it stands."""
    a = helpers.values((2, 3, 4), 0)
    x = helpers.leaf(a, device=device)
    assert x[0, :, [1, 2]].shape == (3, 2) != a[0, :, [1, 2]].shape
    np.testing.assert_array_equal(helpers.host(x[0, :, [1, 2]]), a[0][:, [1, 2]])
    assert minidl.gradcheck(lambda x: x[0, :, [1, 2, 2]] * 1, x)
    y = minidl.zeros(2, 3, 4, device=device)
    y[0, :, [1, 2]] = minidl.arange(6, device=device).reshape(3, 2).float()
    assert y[0, 2].tolist() == [0.0, 4.0, 5.0, 0.0]


@given(st.data())
def test_any_basic_index(device: str, data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(max_dims=4, max_side=4))
    index = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    a = helpers.values(shape, 0)
    x = helpers.leaf(a, device=device)
    y = x[index]
    np.testing.assert_array_equal(helpers.host(y), a[index])
    y.sum().backward()
    expected = np.zeros(shape)
    expected[index] = 1
    np.testing.assert_array_equal(helpers.host(x.grad), expected)


@given(st.data())
def test_any_array_of_positions(device: str, data: st.DataObject) -> None:
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=4))
    index = data.draw(hnp.integer_array_indices(shape))
    a = helpers.values(shape, 0)
    x = helpers.leaf(a, device=device)
    y = x[tuple(minidl.tensor(part, device=device) for part in index)]
    np.testing.assert_array_equal(helpers.host(y), a[index])
    grad = helpers.values(y.shape, 1)
    y.backward(minidl.tensor(grad, device=device))
    expected = np.zeros(shape)
    np.add.at(expected, index, grad)
    helpers.assert_close(x.grad, expected, 64)


def test_single_elements_are_views(device: str) -> None:
    x = minidl.zeros(2, 2, device=device)
    x[0, 1].fill_(3)
    x[1][0].add_(4)
    assert x.tolist() == [[0.0, 3.0], [4.0, 0.0]]
    x[0] += 1
    x[x > 3] = 0.0
    x[:, 1] *= 2
    assert x.tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_view_on_the_tape_is_not_changed_silently(device: str) -> None:
    x = minidl.ones(3, requires_grad=True, device=device)
    y = x * 1
    with pytest.raises(AutogradError, match="view"):
        y[0].fill_(2)
    y[0] += 5
    w = minidl.tensor(2.0, requires_grad=True, device=device)
    y[1:] *= w
    y.sum().backward()
    assert y.tolist() == [6.0, 2.0, 2.0]
    assert x.grad.tolist() == [1.0, 2.0, 2.0] and w.grad.item() == 2.0


def test_bad_indices(device: str) -> None:
    x = minidl.ones(2, 3, device=device)
    for bad in (
        2,
        (0, 3),
        (0, 0, 0),
        [5],
        minidl.tensor([0.5], device=device),
        minidl.tensor([True] * 3, device=device),
        "a",
    ):
        with pytest.raises(IndexError):
            x[bad]
        with pytest.raises(IndexError):
            x[bad] = 1.0
    with pytest.raises(ArgumentError, match=r"shape \(2, 3\)"):
        x[7]
    with pytest.raises(ShapeError, match=r"\(2,\) does not fit"):
        x[0] = minidl.ones(2, device=device)


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


@given(
    hnp.arrays(np.int64, hnp.array_shapes(max_dims=3, max_side=5), elements=st.integers(-3, 3)),
    st.data(),
)
def test_sorting_is_stable(device: str, a: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-a.ndim, a.ndim - 1))
    x = helpers.leaf(a, device, requires_grad=False)
    values, where = x.sort(axis)
    np.testing.assert_array_equal(helpers.host(where), a.argsort(axis, kind="stable"))
    np.testing.assert_array_equal(helpers.host(values), np.sort(a, axis))
    down, places = x.sort(axis, descending=True)
    np.testing.assert_array_equal(helpers.host(places), (-a).argsort(axis, kind="stable"))
    k = data.draw(st.integers(0, a.shape[axis]))
    best = x.topk(k, axis)
    largest = helpers.host(down.narrow(axis, 0, k))
    np.testing.assert_array_equal(helpers.host(best.values), largest)
    np.testing.assert_array_equal(
        helpers.host(best.indices), helpers.host(places.narrow(axis, 0, k))
    )
    least = x.topk(k, axis, largest=False)
    np.testing.assert_array_equal(helpers.host(least[0]), helpers.host(values.narrow(axis, 0, k)))


def test_gradient_of_sorting(device: str) -> None:
    x = helpers.leaf(helpers.distinct((3, 4), 0), device=device)
    assert minidl.gradcheck(lambda x: x.sort(0)[0], x)
    assert minidl.gradcheck(lambda x: x.topk(2, 1)[0], x)
    with pytest.raises(ArgumentError, match="k=5"):
        x.topk(5)


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


@pytest.mark.parametrize("length", [1, 2, 3, 17, 64, 1000])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", "int64", "bool"])
def test_sorting_anything(length: int, dtype: str, device: str) -> None:
    rng = np.random.default_rng(length)
    a = rng.integers(-9, 9, (3, length)).astype(dtype)
    if a.dtype.kind == "f":
        special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -1e300]
        with np.errstate(over="ignore"):
            odd = rng.choice(special, a.shape).astype(dtype)
        a = np.where(rng.random(a.shape) < 0.4, odd, a)
    x = helpers.leaf(a, device, requires_grad=False)
    for axis in (1, 0):
        order = a.argsort(axis, kind="stable")
        np.testing.assert_array_equal(helpers.host(x.argsort(axis)), order)
        values = helpers.host(x.sort(axis)[0])
        assert values.dtype == dtype
        np.testing.assert_array_equal(values, np.take_along_axis(a, order, axis))
        reversed_ = np.flip(a.shape[axis] - 1 - np.flip(a, axis).argsort(axis, kind="stable"), axis)
        np.testing.assert_array_equal(helpers.host(x.argsort(axis, descending=True)), reversed_)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8"])
def test_writes_to_one_place_keep_their_order(dtype: str, device: str) -> None:
    """What was written last stays; sums have the bits of adding one after the other."""
    rng = np.random.default_rng(0)
    where = rng.integers(0, 5, 400)
    values = (rng.standard_normal((400, 3)) * 9).astype(dtype)
    expected = np.zeros((5, 3), dtype)
    expected[where] = values
    x = minidl.zeros(5, 3, dtype=dtype, device=device)
    x[minidl.tensor(where, device=device)] = minidl.tensor(values, device=device)
    np.testing.assert_array_equal(helpers.host(x), expected)
    expected = np.zeros((5, 3), dtype)
    np.add.at(expected, where, values)
    x = minidl.zeros(5, 3, dtype=dtype, device=device)
    rows, source = minidl.tensor(where, device=device), minidl.tensor(values, device=device)
    close = 1e-2 if dtype == "float16" else 0  # it adds up in float32 on a GPU
    np.testing.assert_allclose(helpers.host(x.index_add(0, rows, source)), expected, close, 1)
    if dtype == "float32":
        np.testing.assert_array_equal(helpers.host(x.index_add(0, rows, source)), expected)
        table = minidl.zeros(5, 3, device=device, requires_grad=True)
        table[rows].backward(source)
        np.testing.assert_array_equal(helpers.host(table.grad), expected)


def test_unique_and_isin_are_numpys(device: str) -> None:
    rng = np.random.default_rng(0)
    for a in (rng.integers(0, 3, (6, 2)), rng.choice([0.5, -0.0, 0.0, np.nan], (5, 3)),
              np.zeros((0, 2)), rng.integers(0, 2, (4, 3)).astype(bool)):  # fmt: skip
        x = helpers.leaf(a, device, requires_grad=False)
        for dim in (None, 0, 1) if a.dtype.kind != "f" else (None,):
            ours = x.unique(return_inverse=True, return_counts=True, dim=dim)
            theirs = np.unique(a, return_inverse=True, return_counts=True, axis=dim)
            for mine, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(helpers.host(mine), other)
            np.testing.assert_array_equal(helpers.host(x.unique(dim=dim)), theirs[0])
        for tested in (a[:1].copy(), a[:0].copy(), np.array([[1, 2]])):
            other = helpers.leaf(tested, device, requires_grad=False)
            np.testing.assert_array_equal(helpers.host(minidl.isin(x, other)), np.isin(a, tested))


def test_positions_of_the_host(device: str) -> None:
    x = minidl.arange(12, device=device).reshape(3, 4)
    assert x[[2, 0]][:, 0].tolist() == [8, 0] and x[np.array([1])].tolist() == [[4, 5, 6, 7]]
    assert x[np.arange(3) > 1].shape == (1, 4) and x[range(2), [3, 3]].tolist() == [3, 7]
    x[[0, 1], 0] = np.array([50, 60])
    assert x[:, 0].tolist() == [50, 60, 8] and x[0].device == minidl.device(device)
    with pytest.raises(IndexError, match=r"out of bounds for axis 0 with size 3"):
        x[[1, 3]]


def test_reading_and_writing_do_not_wait(gpu: str, simulator: Any) -> None:
    """But for positions that are on the GPU, which are looked at."""
    x = minidl.ones(4, 5, device=gpu, requires_grad=True)
    with simulator.count() as used:
        y = x[1:, ::2] + x[-1, :3]
        z = x.flip(0)
        (y.sum() + z.diagonal().sum() + x.tril().max(1)[0].sum()).backward()
    assert used.syncs == used.d2h == used.h2d == 0


def test_one_hot(device: str) -> None:
    x = minidl.tensor([[0, 2], [1, 1]], device=device)
    assert one_hot(x).tolist() == [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 0]]]
    assert one_hot(x, 5).shape == (2, 2, 5) and one_hot(x).dtype == np.int64
    for bad, count in ((x, 2), (x - 1, -1)):
        with pytest.raises(ArgumentError, match="one_hot"):
            one_hot(bad, count)
