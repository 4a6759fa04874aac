"""Max-pool against explicit loops; padding is -inf, ties go to the first, overlaps add."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import helpers
import numpy as np
import operation
import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from operation import Case
from pools import PAPER, problems

import minidl
import minidl.nn.functional as F
from minidl import kernels, nn
from minidl.errors import MinidlError

TestMaxPool = operation.standard_tests(
    F.max_pool2d,
    lambda x, **options: reference.max_pool2d(x, **options)[0],
    [
        Case((3, 5, 11, 9), **PAPER),
        Case((2, 2, 6, 7), kernel_size=2),
        Case((2, 2, 6, 7), kernel_size=3, stride=1, padding=1),
        Case((2, 2, 6, 7), kernel_size=(2, 3), dilation=2, padding=1),
        Case((2, 2, 6, 7), kernel_size=3, stride=2, ceil_mode=True, padding=1),
    ],
    loops_backward=lambda grad, x, **options: reference.max_pool2d_backward(
        grad, reference.max_pool2d(x, **options)[1], x.shape
    ),
    large=Case((37, 24, 15, 15), **PAPER),
    values=helpers.distinct,
    modules=[(nn.MaxPool2d(3, 2), PAPER)],
    torch="max_pool2d",
    launches=({"max_forward": 1}, {"max_backward": 1}),
)


@pytest.fixture(params=operation.WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test by the kernel and by the plain code."""
    with minidl.reference() if request.param == "plain" else nullcontext():
        yield request.param


def check_max_pool(x: Any, device: str, **options: Any) -> None:
    """With and without indices, by the kernel and by the plain code."""
    with_indices(x, device, **options)
    with minidl.reference():
        with_indices(x, device, **options)


def with_indices(x: Any, device: str, **options: Any) -> None:
    expected, indices = reference.max_pool2d(x, **options)
    leaf = helpers.leaf(x, device)
    out, found = F.max_pool2d(leaf, return_indices=True, **options)
    assert out.dtype == x.dtype and found.dtype == np.int64 and not found.requires_grad
    np.testing.assert_array_equal(helpers.host(out), expected)
    np.testing.assert_array_equal(helpers.host(found), indices)
    grad = helpers.values(expected.shape, 5, x.dtype)
    out.backward(minidl.tensor(grad, device=device))
    dx = reference.max_pool2d_backward(grad, indices, x.shape)
    helpers.assert_close(leaf.grad, dx, 16)
    alone = helpers.leaf(x, device)
    again = F.max_pool2d(alone, **options)
    again.backward(minidl.tensor(grad, device=device))
    np.testing.assert_array_equal(helpers.host(again), expected)
    helpers.assert_close(alone.grad, dx, 16)


@settings(max_examples=350)
@given(
    problem=problems(with_dilation=True),
    layout=st.sampled_from(sorted(helpers.LAYOUTS)),
    dtype=st.sampled_from(helpers.DTYPES),
    levels=st.sampled_from([0, 1, 3]),
    seed=st.integers(0, 100),
)
def test_any_max_pool(
    problem: tuple[tuple[int, ...], dict[str, Any]],
    layout: str,
    dtype: Any,
    levels: int,
    seed: int,
    device: str,
) -> None:
    shape, options = problem
    if levels:  # few different numbers: ties in nearly every window
        x = np.random.default_rng(seed).integers(-levels, levels, shape).astype(dtype)
    else:
        x = helpers.values(shape, seed, dtype)
    # With dilation a window may miss the image altogether: there is no maximum to compare.
    assume(reference.max_pool2d(x, **options)[1].min(initial=0) >= 0)
    check_max_pool(helpers.LAYOUTS[layout](x), device, **options)


def test_sizes_of_the_paper() -> None:
    sizes = [55]
    for _ in range(3):
        x = minidl.zeros(1, 1, sizes[-1], sizes[-1])
        sizes.append(F.max_pool2d(x, **PAPER).shape[-1])
    assert sizes == [55, 27, 13, 6]


@pytest.mark.parametrize(
    ("size", "floor", "ceil"), [(32, 15, 16), (16, 7, 8), (8, 3, 4), (24, 11, 12), (12, 5, 6)]
)
def test_sizes_of_the_cifar_nets(size: int, floor: int, ceil: int) -> None:
    x = minidl.zeros(1, 1, size, size)
    for pool in (F.max_pool2d, F.avg_pool2d):
        assert pool(x, 3, 2).shape[-1] == floor
        assert pool(x, 3, 2, ceil_mode=True).shape[-1] == ceil


def test_ceil_mode_never_starts_a_window_in_the_right_padding() -> None:
    x = minidl.tensor(helpers.values((1, 1, 4, 4), 0))
    # Rounding up would add a window at 6 - 1 (stride 3) and at 5 - 1 (stride 5), beyond the image.
    for stride, windows in [(3, 2), (5, 1), (2, 3)]:
        out = F.max_pool2d(x, 2, stride=stride, padding=1, ceil_mode=True)
        assert out.shape == (1, 1, windows, windows)
        assert np.isfinite(helpers.host(out)).all()


@pytest.mark.parametrize("padding", [1, (1, 0), (0, 1)])
def test_padding_is_minus_infinity(padding: Any, way: str, device: str) -> None:
    x = minidl.full((2, 3, 4, 5), -1.0, device=device)
    out = helpers.host(F.max_pool2d(x, 3, stride=2, padding=padding))
    np.testing.assert_array_equal(out, np.full(out.shape, -1.0))


@pytest.mark.parametrize("kernel_size", [2, 3])
def test_minus_infinity_itself(kernel_size: int, device: str) -> None:
    x = np.full((1, 1, 4, 4), -np.inf)
    check_max_pool(x, device, kernel_size=kernel_size, stride=2, padding=1)


@pytest.mark.parametrize("stride", [1, 2])
def test_ties_go_to_exactly_one_position_the_first(stride: int, way: str, device: str) -> None:
    x = helpers.leaf(np.ones((1, 2, 4, 4), np.float32), device)
    F.max_pool2d(x, 2, stride).sum().backward()
    first = np.zeros((4, 4))
    first[:3:stride, :3:stride] = 1
    np.testing.assert_array_equal(helpers.host(x.grad), np.broadcast_to(first, (1, 2, 4, 4)))


@pytest.mark.parametrize("stride", [1, 2])
def test_of_two_maxima_the_one_in_the_first_row_counts(stride: int, way: str, device: str) -> None:
    x = helpers.leaf(np.array([[[[0.0, 1.0], [1.0, 0.0]]]]), device)
    F.max_pool2d(x, 2, stride).sum().backward()
    assert x.grad.tolist() == [[[[0, 1], [0, 0]]]]


def test_positive_and_negative_zero_tie(way: str, device: str) -> None:
    x = helpers.leaf(np.array([[[[-0.0, 0.0], [0.0, -0.0]]]]), device)
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[[1, 0], [0, 0]]]]


def test_overlapping_windows_add_their_gradients(way: str, device: str) -> None:
    image = np.zeros((1, 1, 5, 5), np.float32)
    image[0, 0, 2, 2] = 1.0  # in all four windows
    x = helpers.leaf(image, device)
    out = F.max_pool2d(x, **PAPER)
    out.backward(minidl.tensor([[[[1.0, 2.0], [4.0, 8.0]]]], device=device))
    expected = np.zeros((5, 5))
    expected[2, 2] = 15.0
    np.testing.assert_array_equal(helpers.host(x.grad)[0, 0], expected)


def test_gradient_is_conserved(device: str) -> None:
    x = helpers.leaf(helpers.values((5, 4, 13, 11), 0), device)
    out = F.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True)
    grad = helpers.values(tuple(out.shape), 1)
    out.backward(minidl.tensor(grad, device=device))
    helpers.assert_close(helpers.host(x.grad).sum((2, 3)), grad.sum((2, 3)), 50)


def test_nan_is_not_lost(way: str, device: str) -> None:
    x = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    x[0, 0, 0, 1] = np.nan
    leaf = helpers.leaf(x, device)
    out, indices = F.max_pool2d(leaf, 2, return_indices=True)
    assert np.isnan(helpers.host(out)[0, 0, 0, 0]) and np.isnan(helpers.host(out)).sum() == 1
    assert indices[0, 0].tolist() == [[1, 7], [13, 15]]
    out.sum().backward()
    assert helpers.host(leaf.grad)[0, 0, 0, 1] == 1


def test_the_first_nan_wins(way: str, device: str) -> None:
    image = np.full((1, 1, 3, 3), np.inf)
    image[0, 0, 1, 0] = image[0, 0, 1, 2] = image[0, 0, 2, 2] = np.nan
    leaf = helpers.leaf(image, device)
    out, index = F.max_pool2d(leaf, 3, stride=1, padding=1, return_indices=True)
    assert np.isnan(helpers.host(out)).all()
    assert index[0, 0].tolist() == [[3, 3, 5], [3, 3, 5], [3, 3, 5]]
    out.backward(minidl.ones(1, 1, 3, 3, dtype=minidl.float64, device=device))
    assert leaf.grad[0, 0].tolist() == [[0, 0, 0], [6, 0, 3], [0, 0, 0]]


def test_depth_stays_and_channels_are_independent(device: str) -> None:
    x = helpers.values((2, 5, 9, 9), 0)
    before = helpers.host(F.max_pool2d(minidl.tensor(x, device=device), **PAPER))
    assert before.shape == (2, 5, 4, 4)
    x[:, 3] = 100.0
    after = helpers.host(F.max_pool2d(minidl.tensor(x, device=device), **PAPER))
    np.testing.assert_array_equal(np.delete(after, 3, 1), np.delete(before, 3, 1))
    assert (after[:, 3] == 100).all()


def test_a_small_shift_inside_the_window_changes_nothing() -> None:
    image = np.zeros((1, 1, 6, 6), np.float32)
    image[0, 0, 0, 0] = image[0, 0, 3, 3] = 1.0
    shifted = np.zeros_like(image)
    shifted[0, 0, 1, 1] = shifted[0, 0, 4, 4] = 1.0
    first, second = (F.max_pool2d(minidl.tensor(a), 3).tolist() for a in (image, shifted))
    assert first == second


@pytest.mark.parametrize("kernel_size", [(5, 51), (16, 16), (17, 16), (256, 257)], ids=str)
def test_places_in_windows_of_many_entries(kernel_size: tuple[int, int], device: str) -> None:
    """Places have one byte up to 255 entries, then two, then four."""
    height, width = kernel_size
    last = height * width - 1
    for place in (0, width, last) if height < 256 else (last,):  # the largest takes long
        image = np.zeros((1, 1, height, width), np.float32)
        image.reshape(-1)[place] = 1.0
        leaf = helpers.leaf(image, device)
        out, index = F.max_pool2d(leaf, kernel_size, return_indices=True)
        assert out.item() == 1.0 and index.item() == place
        out.sum().backward()
        np.testing.assert_array_equal(helpers.host(leaf.grad), image)


def test_a_window_that_misses_the_image(way: str, device: str) -> None:
    """Dilated, its four entries stand around the only pixel: no maximum, no gradient."""
    leaf = helpers.leaf(np.ones((2, 1, 1, 1)), device)
    out = F.max_pool2d(leaf, 2, padding=1, dilation=2)
    np.testing.assert_array_equal(helpers.host(out), np.full((2, 1, 1, 1), -np.inf))
    out.sum().backward()
    np.testing.assert_array_equal(helpers.host(leaf.grad), 0)


@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64"])
def test_max_pool_of_integers(dtype: str, device: str) -> None:
    x = np.random.default_rng(0).integers(0, 5, (2, 3, 6, 7)).astype(dtype)
    expected, indices = reference.max_pool2d(x, 3, stride=2, padding=1)
    out, found = F.max_pool2d(
        minidl.tensor(x, device=device), 3, stride=2, padding=1, return_indices=True
    )
    assert out.dtype == dtype
    np.testing.assert_array_equal(helpers.host(out), expected)
    np.testing.assert_array_equal(helpers.host(found), indices)


def test_one_image_without_a_batch_axis(device: str) -> None:
    x = helpers.values((3, 7, 7), 0)
    leaf = helpers.leaf(x, device)
    out, indices = F.max_pool2d(leaf, return_indices=True, **PAPER)
    expected, right = (a[0] for a in reference.max_pool2d(x[None], **PAPER))
    np.testing.assert_array_equal(helpers.host(out), expected)
    np.testing.assert_array_equal(helpers.host(indices), right)
    out.sum().backward()
    assert leaf.grad.shape == x.shape


def test_module(device: str) -> None:
    x = minidl.tensor(helpers.values((2, 3, 8, 9), 0), device=device)
    for layer, out in [
        (nn.MaxPool2d(3, 2, 1, ceil_mode=True), F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
        (nn.MaxPool2d(2, dilation=2), F.max_pool2d(x, 2, dilation=2)),
    ]:
        np.testing.assert_array_equal(helpers.host(layer(x)), helpers.host(out))
        assert not list(layer.parameters())
    values, indices = nn.MaxPool2d(3, 2, return_indices=True)(x)
    np.testing.assert_array_equal(
        helpers.host(x).reshape(2, 3, -1)[0, 0][helpers.host(indices)[0, 0]],
        helpers.host(values)[0, 0],
    )


def test_errors_name_the_argument() -> None:
    x = minidl.zeros(1, 1, 4, 4)
    for match, arguments in {
        "input": (minidl.zeros(4, 4), 2),
        "kernel_size": (x, 0),
        "kernel_size|input|smaller than the window of 5x5": (x, 5),
        "stride": (x, 2, 0),
        "padding": (x, 2, None, 2),
        "padding|-1": (x, 2, None, -1),
        "dilation": (x, 2, None, 0, 0),
    }.items():
        with pytest.raises(MinidlError, match=match):
            F.max_pool2d(*arguments)


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size", [(6, 7), (8, 5)])
def test_ties_as_in_pytorch(size: tuple[int, int], ceil_mode: bool) -> None:
    torch = pytest.importorskip("torch")
    x = np.round(helpers.values((2, 3, *size), 0) * 3)
    for more in ({"padding": 1}, {"padding": 1, "dilation": 2}, {}):
        options = {**PAPER, **more, "ceil_mode": ceil_mode, "return_indices": True}
        out, indices = F.max_pool2d(minidl.tensor(x), **options)
        right, right_indices = torch.nn.functional.max_pool2d(torch.tensor(x), **options)
        np.testing.assert_array_equal(helpers.host(out), right.numpy())
        np.testing.assert_array_equal(helpers.host(indices), right_indices.numpy())


def test_places_take_one_byte_and_only_if_wanted(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = helpers.leaf(helpers.values((3, 4, 13, 13), 0, np.float32), device)
    kernel, found = kernels.of("max_pool", x.array), []
    run = kernel.forward
    monkeypatch.setattr(kernel, "forward", lambda *args: found.append(run(*args)) or found[-1])
    F.max_pool2d(x, **PAPER)
    F.max_pool2d(x.detach(), **PAPER)
    assert [places.dtype for _, places in found] == [np.uint8, np.uint8]
    assert [places.shape for _, places in found] == [(3, 4, 6, 6), (0, 4, 6, 6)]
    y, places = found[0]  # one order in memory
    assert [s // y.itemsize for s in y.strides] == list(places.strides)
