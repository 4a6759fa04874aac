"""Pooling against explicit loops; padding is -inf, ties go to the first, overlaps add."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.autograd import Context
from minidl.errors import MinidlError
from minidl.nn.im2col import plan
from minidl.nn.pooling import MaxPool2dFunction

PAPER = {"kernel_size": 3, "stride": 2}


@st.composite
def problems(draw: Any, with_dilation: bool) -> tuple[tuple[int, ...], dict[str, Any]]:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if with_dilation else (1, 1)
    stride = draw(st.none() | st.tuples(st.integers(1, 4), st.integers(1, 4)))
    size = [
        max(1, dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]) + draw(st.integers(0, 5))
        for i in (0, 1)
    ]
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "ceil_mode": draw(st.booleans()),
    }
    if with_dilation:
        options["dilation"] = dilation
    return (draw(st.integers(0, 3)), draw(st.integers(1, 4)), *size), options


# ---- max pooling ----


def check_max_pool(x: Any, device: str, **options: Any) -> None:
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


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_the_papers_max_pool_in_every_layout(layout: str, dtype: Any, device: str) -> None:
    x = helpers.LAYOUTS[layout](helpers.values((3, 5, 11, 9), 0, dtype))
    check_max_pool(x, device, **PAPER)


@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_gradient_of_the_output_in_any_layout(layout: str, device: str) -> None:
    x = helpers.values((2, 3, 7, 9), 0)
    leaf = helpers.leaf(x, device)
    out = F.max_pool2d(leaf, **PAPER)
    grad = helpers.LAYOUTS[layout](helpers.values(tuple(out.shape), 1))
    out.backward(helpers.leaf(grad, device, requires_grad=False))
    _, indices = reference.max_pool2d(x, **PAPER)
    helpers.assert_close(leaf.grad, reference.max_pool2d_backward(grad, indices, x.shape), 4)


@pytest.mark.parametrize(
    "options",
    [
        PAPER,
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 1, "padding": 1},
        {"kernel_size": (2, 3), "dilation": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True, "padding": 1},
    ],
    ids=str,
)
def test_max_pool_gradcheck(options: dict[str, Any], device: str) -> None:
    x = helpers.leaf(helpers.distinct((2, 2, 6, 7), 0), device)
    assert minidl.gradcheck(lambda x: F.max_pool2d(x, **options), (x,))


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
def test_padding_is_minus_infinity(padding: Any, device: str) -> None:
    x = minidl.full((2, 3, 4, 5), -1.0, device=device)
    out = helpers.host(F.max_pool2d(x, 3, stride=2, padding=padding))
    np.testing.assert_array_equal(out, np.full(out.shape, -1.0))


def test_minus_infinity_itself(device: str) -> None:
    x = np.full((1, 1, 4, 4), -np.inf)
    check_max_pool(x, device, kernel_size=3, stride=2, padding=1)


def test_ties_go_to_exactly_one_position_the_first(device: str) -> None:
    x = helpers.leaf(np.ones((1, 2, 4, 4), np.float32), device)
    F.max_pool2d(x, 2).sum().backward()
    first = np.zeros((4, 4))
    first[::2, ::2] = 1
    np.testing.assert_array_equal(helpers.host(x.grad), np.broadcast_to(first, (1, 2, 4, 4)))


def test_positive_and_negative_zero_tie(device: str) -> None:
    x = helpers.leaf(np.array([[[[-0.0, 0.0], [0.0, -0.0]]]]), device)
    F.max_pool2d(x, 2).sum().backward()
    assert x.grad.tolist() == [[[[1, 0], [0, 0]]]]


def test_overlapping_windows_add_their_gradients(device: str) -> None:
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


def test_nan_is_not_lost(device: str) -> None:
    x = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
    x[0, 0, 0, 1] = np.nan
    leaf = helpers.leaf(x, device)
    out, indices = F.max_pool2d(leaf, 2, return_indices=True)
    assert np.isnan(helpers.host(out)[0, 0, 0, 0]) and np.isnan(helpers.host(out)).sum() == 1
    assert indices[0, 0].tolist() == [[1, 7], [13, 15]]
    out.sum().backward()
    assert helpers.host(leaf.grad)[0, 0, 0, 1] == 1


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


def test_batches_that_do_not_divide_into_lanes(device: str) -> None:
    x = helpers.values((37, 6, 9, 9), 0, np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2]
    leaf = helpers.leaf(x, device)
    out = F.max_pool2d(leaf, **PAPER)
    np.testing.assert_array_equal(helpers.host(out), windows.max((-1, -2)))
    grad = helpers.values(tuple(out.shape), 1, np.float32)
    out.backward(minidl.tensor(grad, device=device))
    flat = windows.reshape(*windows.shape[:4], 9).argmax(-1)
    n, c, y, z = np.indices(flat.shape)
    expected = np.zeros(x.shape)
    np.add.at(expected, (n, c, 2 * y + flat // 3, 2 * z + flat % 3), grad)
    helpers.assert_close(leaf.grad, expected, 4)


def test_same_bits_at_any_number_of_threads(threads: None) -> None:
    x = helpers.values((37, 24, 15, 15), 0, np.float32)
    results = []
    for count in (1, 2, 3):
        minidl.set_num_threads(count)
        for pool in (F.max_pool2d, F.avg_pool2d):
            leaf = helpers.leaf(x)
            out = pool(leaf, **PAPER)
            out.backward(minidl.tensor(helpers.values(tuple(out.shape), 1, np.float32)))
            results.append((helpers.host(out), helpers.host(leaf.grad)))
    for i, (out, grad) in enumerate(results):
        np.testing.assert_array_equal(out, results[i % 2][0])
        np.testing.assert_array_equal(grad, results[i % 2][1])


# ---- average pooling ----


def check_avg_pool(x: Any, device: str, **options: Any) -> None:
    expected = reference.avg_pool2d(x, **options)
    leaf = helpers.leaf(x, device)
    out = F.avg_pool2d(leaf, **options)
    assert out.dtype == x.dtype
    helpers.assert_close(out, expected, 16)
    grad = helpers.values(expected.shape, 5, x.dtype)
    out.backward(minidl.tensor(grad, device=device))
    helpers.assert_close(leaf.grad, reference.avg_pool2d_backward(grad, x.shape, **options), 16)


@settings(max_examples=200)
@given(
    problem=problems(with_dilation=False),
    layout=st.sampled_from(sorted(helpers.LAYOUTS)),
    dtype=st.sampled_from(helpers.DTYPES),
    count_include_pad=st.booleans(),
    divisor_override=st.sampled_from([None, None, 1, 7]),
)
def test_any_avg_pool(
    problem: tuple[tuple[int, ...], dict[str, Any]],
    layout: str,
    dtype: Any,
    count_include_pad: bool,
    divisor_override: int | None,
    device: str,
) -> None:
    shape, options = problem
    x = helpers.LAYOUTS[layout](helpers.values(shape, 1, dtype))
    options = {
        **options,
        "count_include_pad": count_include_pad,
        "divisor_override": divisor_override,
    }
    check_avg_pool(x, device, **options)


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_avg_pool_in_every_layout(layout: str, dtype: Any, device: str) -> None:
    x = helpers.LAYOUTS[layout](helpers.values((3, 5, 11, 9), 0, dtype))
    check_avg_pool(x, device, **PAPER)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        {"kernel_size": 3, "stride": 1, "padding": 1, "count_include_pad": False},
        {"kernel_size": (2, 3), "divisor_override": 5},
    ],
    ids=str,
)
def test_avg_pool_gradcheck(options: dict[str, Any], device: str) -> None:
    x = helpers.leaf(helpers.values((2, 2, 6, 5), 0), device)
    assert minidl.gradcheck(lambda x: F.avg_pool2d(x, **options), (x,))


def test_padding_counts_unless_told_otherwise(device: str) -> None:
    x = minidl.ones(1, 1, 2, 2, device=device)
    assert F.avg_pool2d(x, 2, padding=1).tolist() == [[[[0.25, 0.25], [0.25, 0.25]]]]
    out = F.avg_pool2d(x, 2, padding=1, count_include_pad=False)
    assert out.tolist() == [[[[1, 1], [1, 1]]]]


def test_the_overhang_of_ceil_mode_does_not_count(device: str) -> None:
    x = minidl.ones(1, 1, 3, 3, device=device)
    assert F.avg_pool2d(x, 2, ceil_mode=True).tolist() == [[[[1, 1], [1, 1]]]]


# ---- adaptive average pooling ----


@settings(max_examples=80)
@given(
    shape=st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    output_size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    layout=st.sampled_from(sorted(helpers.LAYOUTS)),
    dtype=st.sampled_from(helpers.DTYPES),
)
def test_any_adaptive_avg_pool(
    shape: tuple[int, ...], output_size: tuple[int, int], layout: str, dtype: Any, device: str
) -> None:
    x = helpers.LAYOUTS[layout](helpers.values(shape, 1, dtype))
    leaf = helpers.leaf(x, device)
    out = F.adaptive_avg_pool2d(leaf, output_size)
    expected = reference.adaptive_avg_pool2d(x, output_size)
    assert out.dtype == dtype
    helpers.assert_close(out, expected, 81)
    grad = helpers.values(expected.shape, 2, dtype)
    out.backward(minidl.tensor(grad, device=device))
    helpers.assert_close(leaf.grad, reference.adaptive_avg_pool2d_backward(grad, x.shape), 49)


def test_adaptive_pool_is_the_identity_at_its_own_size(device: str) -> None:
    x = helpers.values((2, 3, 6, 6), 0)
    out = F.adaptive_avg_pool2d(minidl.tensor(x, device=device), 6)
    np.testing.assert_array_equal(helpers.host(out), x)


def test_adaptive_pool_of_none_keeps_the_size(device: str) -> None:
    x = helpers.values((2, 3, 5, 4), 0)
    out = F.adaptive_avg_pool2d(minidl.tensor(x, device=device), (None, 2))
    helpers.assert_close(out, reference.adaptive_avg_pool2d(x, (5, 2)), 4)


@pytest.mark.parametrize("output_size", [1, (3, 2), (7, 5)], ids=str)
def test_adaptive_avg_pool_gradcheck(output_size: Any, device: str) -> None:
    x = helpers.leaf(helpers.values((2, 2, 5, 4), 0), device)
    assert minidl.gradcheck(lambda x: F.adaptive_avg_pool2d(x, output_size), (x,))


# ---- edges of the window's numbering, dtypes ----


@pytest.mark.parametrize("kernel_size", [(5, 51), (16, 16), (17, 16), (256, 257)], ids=str)
def test_places_in_windows_of_many_entries(kernel_size: tuple[int, int], device: str) -> None:
    """Places have one byte up to 255 entries, then two, then four."""
    height, width = kernel_size
    for place in (0, width, height * width - 1):
        image = np.zeros((1, 1, height, width), np.float32)
        image.reshape(-1)[place] = 1.0
        leaf = helpers.leaf(image, device)
        out, index = F.max_pool2d(leaf, kernel_size, return_indices=True)
        assert out.item() == 1.0 and index.item() == place
        out.sum().backward()
        np.testing.assert_array_equal(helpers.host(leaf.grad), image)


def test_the_first_nan_wins(device: str) -> None:
    image = np.full((1, 1, 3, 3), np.inf)
    image[0, 0, 1, 0] = image[0, 0, 1, 2] = image[0, 0, 2, 2] = np.nan
    leaf = helpers.leaf(image, device)
    out, index = F.max_pool2d(leaf, 3, stride=1, padding=1, return_indices=True)
    assert np.isnan(helpers.host(out)).all()
    assert index[0, 0].tolist() == [[3, 3, 5], [3, 3, 5], [3, 3, 5]]
    out.backward(minidl.ones(1, 1, 3, 3, dtype=minidl.float64, device=device))
    assert leaf.grad[0, 0].tolist() == [[0, 0, 0], [6, 0, 3], [0, 0, 0]]


def test_a_window_that_misses_the_image(device: str) -> None:
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


POOLS: dict[str, Any] = {
    "max": lambda x: F.max_pool2d(x, **PAPER),
    "average": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    "adaptive": lambda x: F.adaptive_avg_pool2d(x, (6, 5)),
}


@pytest.mark.parametrize("name", POOLS)
def test_float16(name: str, device: str) -> None:
    x = helpers.values((2, 3, 9, 8), 0, np.float16)
    leaf, wide = helpers.leaf(x, device), helpers.leaf(x.astype(np.float64), device)
    out, right = POOLS[name](leaf), POOLS[name](wide)
    assert out.dtype == np.float16
    np.testing.assert_allclose(helpers.host(out), helpers.host(right), atol=0.01)
    out.sum().backward()
    right.sum().backward()
    assert leaf.grad.dtype == np.float16
    np.testing.assert_allclose(helpers.host(leaf.grad), helpers.host(wide.grad), atol=0.01)


# ---- the GPU ----


def activation(shape: tuple[int, ...], seed: int, gpu: str, requires_grad: bool = False) -> Any:
    """Numbers as a layer leaves them on a GPU: (C, N, H, W) in memory."""
    n, c, h, w = shape
    maps = minidl.tensor(helpers.values((c, n, h, w), seed, np.float32), device=gpu)
    return maps.transpose(0, 1).detach().requires_grad_(requires_grad)


@pytest.mark.parametrize("name", POOLS)
def test_one_launch_each_way(name: str, gpu: str, simulator: Any) -> None:
    for _ in range(2):  # the first time kernels are compiled
        x = activation((3, 4, 13, 13), 0, gpu, requires_grad=True)
        with simulator.count() as forward:
            out = POOLS[name](x)
        grad = activation(tuple(out.shape), 1, gpu)
        with simulator.count() as backward:
            out.backward(grad)
    for used, kernel in ((forward, f"{name}_forward"), (backward, f"{name}_backward")):
        assert dict(used.kernels) == {kernel: 1}
        assert used.d2h == used.h2d == used.d2d == used.syncs == 0
    for result in (out, x.grad):  # ready for the next layer
        assert result.array.transpose(1, 0, 2, 3).flags.c_contiguous


@pytest.mark.parametrize("name", POOLS)
def test_an_empty_batch_starts_no_kernel(name: str, gpu: str, simulator: Any) -> None:
    x = activation((0, 4, 13, 13), 0, gpu, requires_grad=True)
    with simulator.count() as used:
        out = POOLS[name](x)
        out.backward(activation(tuple(out.shape), 1, gpu))
    assert out.shape[0] == 0 and x.grad.shape == x.shape
    assert used.launches == used.d2h == used.syncs == 0


def test_places_take_one_byte_and_only_if_wanted(gpu: str) -> None:
    x = activation((3, 4, 13, 13), 0, gpu)
    for requires_grad, images in ((False, 0), (True, 3)):
        leaf = x.detach().requires_grad_(requires_grad)
        node = Context(MaxPool2dFunction, (requires_grad, False, False))
        MaxPool2dFunction.forward(node, leaf.array, plan("", (13, 13), (3, 3), (2, 2)), False)
        (places,) = node.saved_tensors
        assert places.dtype == np.uint8 and places.shape == (images, 4, 6, 6)
        assert places.transpose(1, 0, 2, 3).flags.c_contiguous


@pytest.mark.parametrize("shape", [(2, 24, 27, 27), (3, 16, 13, 13), (2, 8, 55, 55)], ids=str)
@pytest.mark.parametrize("name", POOLS)
def test_cpu_and_gpu_agree(name: str, shape: tuple[int, ...], gpu: str) -> None:
    x = helpers.values(shape, 0, np.float32)
    results = []
    for device in ("cpu", gpu):
        leaf = helpers.leaf(x, device)
        out = POOLS[name](leaf)
        out.backward(minidl.tensor(helpers.values(tuple(out.shape), 1, np.float32), device=device))
        results.append((helpers.host(out), helpers.host(leaf.grad)))
    for cpu, other in zip(*results, strict=True):
        np.testing.assert_allclose(other, cpu, rtol=0, atol=1e-5 * np.abs(cpu).max())


# ---- shapes, modules, errors ----


def test_one_image_without_a_batch_axis(device: str) -> None:
    x = helpers.values((3, 7, 7), 0)
    leaf = helpers.leaf(x, device)
    out = F.max_pool2d(leaf, **PAPER)
    np.testing.assert_array_equal(helpers.host(out), reference.max_pool2d(x[None], **PAPER)[0][0])
    out.sum().backward()
    assert leaf.grad.shape == x.shape
    averaged = F.avg_pool2d(minidl.tensor(x, device=device), **PAPER)
    helpers.assert_close(averaged, reference.avg_pool2d(x[None], **PAPER)[0], 9)
    adapted = F.adaptive_avg_pool2d(minidl.tensor(x, device=device), 2)
    helpers.assert_close(adapted, reference.adaptive_avg_pool2d(x[None], 2)[0], 16)


def test_modules_are_the_functions(device: str) -> None:
    x = minidl.tensor(helpers.values((2, 3, 8, 9), 0), device=device)
    for module, out in [
        (nn.MaxPool2d(3, 2, 1, ceil_mode=True), F.max_pool2d(x, 3, 2, 1, ceil_mode=True)),
        (nn.MaxPool2d(2, dilation=2), F.max_pool2d(x, 2, dilation=2)),
        (nn.AvgPool2d(3, 2, 1, count_include_pad=False), F.avg_pool2d(x, 3, 2, 1, False, False)),
        (nn.AdaptiveAvgPool2d((3, 2)), F.adaptive_avg_pool2d(x, (3, 2))),
    ]:
        np.testing.assert_array_equal(helpers.host(module(x)), helpers.host(out))
        assert not list(module.parameters())
    values, indices = nn.MaxPool2d(3, 2, return_indices=True)(x)
    np.testing.assert_array_equal(
        helpers.host(x).reshape(2, 3, -1)[0, 0][helpers.host(indices)[0, 0]],
        helpers.host(values)[0, 0],
    )


def test_errors_name_the_argument() -> None:
    x = minidl.zeros(1, 1, 4, 4)
    for pool in (F.max_pool2d, F.avg_pool2d):
        for match, arguments in {
            "input": (minidl.zeros(4, 4), 2),
            "kernel_size": (x, 0),
            "kernel_size|input|smaller than the window of 5x5": (x, 5),
            "stride": (x, 2, 0),
            "padding": (x, 2, None, 2),
            "padding|-1": (x, 2, None, -1),
        }.items():
            with pytest.raises(MinidlError, match=match):
                pool(*arguments)
    with pytest.raises(MinidlError, match="dilation"):
        F.max_pool2d(x, 2, dilation=0)
    with pytest.raises(MinidlError, match="divisor_override"):
        F.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(MinidlError, match="output_size"):
        F.adaptive_avg_pool2d(x, 0)


# ---- PyTorch ----


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size", [(6, 7), (8, 5)])
def test_same_as_pytorch(size: tuple[int, int], ceil_mode: bool) -> None:
    torch = pytest.importorskip("torch")
    x = np.round(helpers.values((2, 3, *size), 0) * 3)  # ties
    for options in ({"padding": 1}, {"padding": 1, "dilation": 2}, {}):
        ours, theirs = helpers.leaf(x.copy()), torch.tensor(x, requires_grad=True)
        arguments = (3, 2)
        expected, right = torch.nn.functional.max_pool2d(
            theirs, *arguments, ceil_mode=ceil_mode, return_indices=True, **options
        )
        out, indices = F.max_pool2d(
            ours, *arguments, ceil_mode=ceil_mode, return_indices=True, **options
        )
        np.testing.assert_array_equal(helpers.host(out), expected.detach().numpy())
        np.testing.assert_array_equal(helpers.host(indices), right.numpy())
        grad = helpers.values(tuple(out.shape), 1)
        out.backward(minidl.tensor(grad))
        expected.backward(torch.tensor(grad))
        helpers.assert_close(ours.grad, theirs.grad.numpy(), 9)
    for include in (False, True):
        ours, theirs = minidl.tensor(x), torch.tensor(x)
        expected = torch.nn.functional.avg_pool2d(theirs, 3, 2, 1, ceil_mode, include)
        out = F.avg_pool2d(ours, 3, 2, 1, ceil_mode, include)
        helpers.assert_close(out, expected.numpy(), 9)
