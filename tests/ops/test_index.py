"""``x[index]`` and ``x[index] = y``: against NumPy, and where PyTorch differs from it."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import minidl
from minidl.errors import ArgumentError, DTypeError, ShapeError

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
ONCE = [n for n, index in enumerate(INDICES) if n not in (15, 18, 19, 20, 21)]


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


def test_view_on_the_tape_is_changed(device: str) -> None:
    x = minidl.ones(3, requires_grad=True, device=device)
    y = x * 1
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
        {},
    ):
        with pytest.raises(IndexError):
            x[bad]
    with pytest.raises(TypeError, match="index"):
        x["a"]
        with pytest.raises(IndexError):
            x[bad] = 1.0
    with pytest.raises(ArgumentError, match=r"shape \(2, 3\)"):
        x[7]
    with pytest.raises(ShapeError, match=r"\(2,\) does not fit"):
        x[0] = minidl.ones(2, device=device)


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


def test_leading_axes_of_length_1_of_a_value_do_not_count(device: str) -> None:
    x = minidl.zeros(2, 3, device=device)
    x[[0, 1]] = minidl.ones(1, 1, 2, 3, device=device)
    x[:, 1] = minidl.full((1, 1, 2), 5.0, device=device)
    assert helpers.host(x).tolist() == [[1, 5, 1], [1, 5, 1]]


def test_a_tuple_inside_an_index_is_a_list(device: str) -> None:
    x = minidl.arange(6, device=device).reshape(2, 3)
    assert helpers.host(x[(0,),]).tolist() == [[0, 1, 2]]
    assert helpers.host(x[:, (2, 0)]).tolist() == [[2, 0], [5, 3]]


@pytest.mark.parametrize("recorded", [False, True])
def test_what_is_no_tensor_is_converted_once(recorded: bool, device: str) -> None:
    x = minidl.zeros(2, 3, dtype=minidl.float64, device=device, requires_grad=recorded)
    x = x * 1
    x[:, 0] = [0.1, 2.0]  # not by way of float32
    x[[0, 1], [1, 2]] = (0.7, 8.0)
    x[0, 2] = [3.0]
    x[1, :2] = [[4.0, 5.0]]
    assert x.tolist() == [[0.1, 0.7, 3.0], [4.0, 5.0, 8.0]]
    for wrong in (None, "1.5", ["1", "2", "3"], 1j):
        with pytest.raises(DTypeError):
            x[0] = wrong
    with pytest.raises(ShapeError, match=r"\(2,\) does not fit shape \(3,\)"):
        x[0] = [1.0, 2.0]
    half = x.half()
    half[0], half[1, 0] = 1e300, -70_000  # unlike fill_, as in PyTorch
    assert half[:, 0].tolist() == [np.inf, -np.inf]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_an_empty_mask_must_fit(shape: tuple[int, ...], device: str) -> None:
    x = minidl.ones(2, 3, device=device)
    mask = minidl.zeros(shape, dtype=minidl.bool, device=device)
    for call in (lambda: x[mask], lambda: x.__setitem__(mask, 5)):
        with pytest.raises(IndexError, match="a mask of shape .* does not fit axis 0"):
            call()
    assert x[:, :0][minidl.zeros(2, 0, dtype=minidl.bool, device=device)].shape == (0,)
