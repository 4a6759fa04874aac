"""Conv2d against explicit loops: every parameter, layout and dtype, forward and backward."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import helpers
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import zeros

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import ArgumentError, MinidlError, ShapeError
from minidl.kernels.cpu import blocks as cpu_blocks
from minidl.kernels.cpu import columns as cpu_columns
from minidl.kernels.cuda import conv as cuda_conv
from minidl.kernels.windows import plan
from minidl.nn import conv as conv_page
from minidl.vision.models import alexnet


def run(
    x: Any, weight: Any, bias: Any, grad: Any, device: str = "cpu", **options: Any
) -> tuple[Any, list[Any]]:
    """The output and the gradients of input, weight and bias."""
    leaves = [helpers.leaf(a, device) for a in (x, weight, bias) if a is not None]
    out = F.conv2d(*leaves, **options)
    out.backward(minidl.tensor(grad, dtype=out.dtype, device=device))
    return out, [leaf.grad for leaf in leaves]


def check_against_loops(
    x: Any, weight: Any, bias: Any, device: str = "cpu", **options: Any
) -> None:
    expected = reference.conv2d(x, weight, bias, **options)
    grad = helpers.values(expected.shape, seed=9, dtype=x.dtype)
    out, grads = run(x, weight, bias, grad, device, **options)
    assert out.dtype == x.dtype
    terms = int(np.prod(weight.shape[1:]))
    helpers.assert_close(out, expected, terms)
    wanted = reference.conv2d_backward(grad, x, weight, **options)
    counts = (
        terms * weight.shape[0],
        max(int(np.prod(expected.shape)) // max(weight.shape[0], 1), 1),
        max(int(np.prod(expected.shape)), 1),
    )
    for found, right, count in zip(grads, wanted, counts, strict=False):
        assert found.dtype == x.dtype
        helpers.assert_close(found, right, count)


# ---- hypothesis over everything ----


@st.composite
def problems(draw: Any) -> dict[str, Any]:
    groups = draw(st.integers(1, 3))
    per_group, out_per_group = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    padding: Any = draw(
        st.one_of(
            st.sampled_from(["same", "valid"]), st.tuples(st.integers(0, 3), st.integers(0, 3))
        )
    )
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    if padding == "same":
        stride = (1, 1)
    pads = reference.conv_padding(padding, kernel, dilation)
    smallest = [max(1, dilation[i] * (kernel[i] - 1) + 1 - sum(pads[i])) for i in (0, 1)]
    size = [smallest[i] + draw(st.integers(0, 5)) for i in (0, 1)]
    return {
        "x_shape": (draw(st.integers(0, 3)), groups * per_group, *size),
        "w_shape": (groups * out_per_group, per_group, *kernel),
        "bias": draw(st.booleans()),
        "dtype": draw(st.sampled_from(helpers.DTYPES)),
        "x_layout": draw(st.sampled_from(sorted(helpers.LAYOUTS))),
        "w_layout": draw(st.sampled_from(sorted(helpers.LAYOUTS))),
        "seed": draw(st.integers(0, 100)),
        "options": {
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "groups": groups,
            "ceil_mode": padding != "same" and draw(st.booleans()),
        },
    }


@settings(max_examples=450)
@given(problem=problems())
def test_any_convolution(problem: dict[str, Any], device: str) -> None:
    x = helpers.values(problem["x_shape"], problem["seed"], problem["dtype"])
    weight = helpers.values(problem["w_shape"], problem["seed"] + 1, problem["dtype"])
    bias = helpers.values(weight.shape[:1], 3, problem["dtype"]) if problem["bias"] else None
    x = helpers.LAYOUTS[problem["x_layout"]](x)
    weight = helpers.LAYOUTS[problem["w_layout"]](weight)
    check_against_loops(x, weight, bias, device, **problem["options"])


# ---- named cases ----

CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = {
    "plain": ((2, 3, 6, 5), (4, 3, 3, 2), {}),
    "1x1": ((2, 3, 4, 4), (4, 3, 1, 1), {}),
    "1x1_stride": ((2, 3, 5, 5), (4, 3, 1, 1), {"stride": 2}),
    "kernel_covers_the_image": ((2, 3, 4, 5), (4, 3, 4, 5), {}),
    "conv1_of_alexnet": ((1, 3, 23, 23), (4, 3, 11, 11), {"stride": 4}),
    "conv1_ceil": ((1, 3, 20, 20), (4, 3, 11, 11), {"stride": 4, "ceil_mode": True}),
    "conv2_of_alexnet": ((2, 4, 7, 7), (6, 2, 5, 5), {"padding": 2, "groups": 2}),
    "conv3_of_alexnet": ((2, 4, 6, 6), (6, 4, 3, 3), {"padding": 1}),
    "depthwise": ((2, 4, 5, 5), (8, 1, 3, 3), {"padding": 1, "groups": 4}),
    "inexact_stride": ((2, 2, 8, 9), (3, 2, 3, 3), {"stride": 3}),
    "inexact_stride_ceil": ((2, 2, 8, 9), (3, 2, 3, 3), {"stride": 3, "ceil_mode": True}),
    "stride_beyond_kernel": ((2, 2, 9, 9), (3, 2, 2, 2), {"stride": 4}),
    "stride_beyond_kernel_ceil": (
        (2, 2, 8, 8), (3, 2, 2, 2), {"stride": 5, "ceil_mode": True},
    ),
    "dilation": ((2, 2, 9, 8), (3, 2, 3, 3), {"dilation": (2, 3), "padding": (2, 1)}),
    "dilation_and_stride": ((2, 2, 9, 9), (3, 2, 3, 2), {"dilation": 2, "stride": 2}),
    "padding_beyond_kernel": ((2, 2, 3, 3), (3, 2, 2, 2), {"padding": 3}),
    "same_even_kernel": ((2, 2, 5, 5), (3, 2, 4, 2), {"padding": "same"}),
    "same_dilated": ((2, 2, 6, 6), (3, 2, 2, 3), {"padding": "same", "dilation": (3, 2)}),
    "image_of_one_pixel": ((2, 3, 1, 1), (4, 3, 3, 3), {"padding": 1}),
    "one_channel": ((2, 1, 4, 4), (1, 1, 2, 2), {}),
    "empty_batch": ((0, 3, 5, 5), (4, 3, 3, 3), {"padding": 1}),
}  # fmt: skip


@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_against_loops(case: str, dtype: Any, device: str) -> None:
    x_shape, w_shape, options = CASES[case]
    x, weight = helpers.values(x_shape, 1, dtype), helpers.values(w_shape, 2, dtype)
    check_against_loops(x, weight, helpers.values(w_shape[:1], 3, dtype), device, **options)
    check_against_loops(x, weight, None, device, **options)


@pytest.mark.parametrize("images", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 3])
def test_a_few_images_are_cut_into_bands(
    images: int, stride: int, padding: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_blocks, "SMALL_PRODUCT", 1)
    x, weight = helpers.values((images, 2, 41, 23), 1), helpers.values((3, 2, 4, 3), 2)
    check_against_loops(x, weight, None, device, stride=stride, padding=padding)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("options", [{"padding": 1}, {"stride": 2}, {"dilation": 2, "padding": 2}])
def test_fewer_windows_than_kernels(
    options: dict[str, Any], with_bias: bool, groups: int, device: str
) -> None:
    x, weight = helpers.values((2, 6, 3, 4), 1), helpers.values((50, 6 // groups, 2, 3), 2)
    bias = helpers.values((50,), 3) if with_bias else None
    check_against_loops(x, weight, bias, device, groups=groups, **options)


@pytest.mark.parametrize("case", ["plain", "conv2_of_alexnet", "conv1_ceil", "1x1"])
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_memory_layouts(layout: str, dtype: Any, case: str, device: str) -> None:
    x_shape, w_shape, options = CASES[case]
    lay = helpers.LAYOUTS[layout]
    x, weight = lay(helpers.values(x_shape, 1, dtype)), helpers.values(w_shape, 2, dtype)
    check_against_loops(x, weight, lay(helpers.values(w_shape[:1], 3, dtype)), device, **options)
    check_against_loops(
        np.ascontiguousarray(x), lay(weight), helpers.values(w_shape[:1], 3, dtype), **options
    )


@pytest.mark.parametrize("layout", helpers.LAYOUTS)
def test_gradient_of_the_output_in_any_layout(layout: str, device: str) -> None:
    x, weight = helpers.values((2, 4, 5, 6), 1), helpers.values((4, 2, 3, 3), 2)
    options: dict[str, Any] = {"padding": 1, "groups": 2}
    grad = helpers.LAYOUTS[layout](helpers.values((2, 4, 5, 6), 3))
    leaves = [helpers.leaf(x, device), helpers.leaf(weight, device)]
    F.conv2d(*leaves, **options).backward(helpers.leaf(grad, device, requires_grad=False))
    dx, dw, _ = reference.conv2d_backward(grad, x, weight, **options)
    helpers.assert_close(leaves[0].grad, dx, 18)
    helpers.assert_close(leaves[1].grad, dw, 60)


@pytest.mark.parametrize("case", CASES)
def test_gradcheck(case: str, device: str) -> None:
    x_shape, w_shape, options = CASES[case]
    leaves = [
        helpers.leaf(helpers.values(shape, i), device)
        for i, shape in enumerate([x_shape, w_shape, w_shape[:1]])
    ]
    assert minidl.gradcheck(lambda *args: F.conv2d(*args, **options), leaves)


@pytest.mark.parametrize("wanted", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1)], ids=str)
def test_only_the_gradients_asked_for(wanted: tuple[int, ...]) -> None:
    arrays = [helpers.values(s, i) for i, s in enumerate([(2, 3, 5, 5), (4, 3, 3, 3), (4,)])]
    leaves = [helpers.leaf(a, requires_grad=bool(w)) for a, w in zip(arrays, wanted, strict=True)]
    F.conv2d(*leaves, padding=1).backward(minidl.tensor(helpers.values((2, 4, 5, 5), 7)))
    right = reference.conv2d_backward(helpers.values((2, 4, 5, 5), 7), *arrays[:2], padding=1)
    for leaf, gradient, want in zip(leaves, right, wanted, strict=True):
        if want:
            helpers.assert_close(leaf.grad, gradient, 60)
        else:
            assert leaf.grad is None


def test_a_frozen_weight_costs_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("minidl.kernels.cpu.conv.weight_gradient")
    bias = minidl.zeros(4, requires_grad=True)
    y = F.conv2d(minidl.ones(2, 3, 5, 5), minidl.ones(4, 3, 3, 3), bias)
    y.backward(minidl.ones(*y.shape))
    assert bias.grad.numpy().tolist() == [18.0] * 4  # 2 images, 3 × 3 places


def test_no_gradient_leaves_no_tape() -> None:
    x, weight = helpers.values((1, 2, 4, 4), 0), helpers.values((2, 2, 3, 3), 1)
    out = F.conv2d(helpers.leaf(x, requires_grad=False), helpers.leaf(weight, requires_grad=False))
    assert not out.requires_grad and out.is_leaf
    with minidl.no_grad():
        assert not F.conv2d(helpers.leaf(x), helpers.leaf(weight)).requires_grad


def test_one_image_without_a_batch_axis(device: str) -> None:
    x, weight = helpers.values((3, 5, 6), 0), helpers.values((4, 3, 3, 3), 1)
    leaf = helpers.leaf(x, device)
    out = F.conv2d(leaf, helpers.leaf(weight, device), padding=1)
    helpers.assert_close(out, reference.conv2d(x[None], weight, padding=1)[0], 27)
    out.sum().backward()
    right = reference.conv2d_backward(np.ones((1, 4, 5, 6)), x[None], weight, padding=1)[0]
    helpers.assert_close(leaf.grad, right[0], 36)


def test_arguments_are_not_written_to(device: str) -> None:
    arrays = [helpers.values(s, i) for i, s in enumerate([(3, 4, 6, 6), (4, 2, 3, 3), (4,)])]
    grad = helpers.values((3, 4, 6, 6), 5)
    copies = [a.copy() for a in (*arrays, grad)]
    run(*arrays, grad, device, padding=1, groups=2)
    for array, copy in zip((*arrays, grad), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


# ---- large batches: lanes and pieces of the engine ----


@pytest.mark.parametrize("batch", [1, 7, 8, 9, 37])
@pytest.mark.parametrize("dtype", helpers.DTYPES, ids=str)
def test_batches_that_do_not_divide_into_lanes(
    batch: int, dtype: Any, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu_blocks, "SMALL_PRODUCT", 1)
    x, weight = helpers.values((batch, 4, 9, 9), 1, dtype), helpers.values((6, 2, 3, 3), 2, dtype)
    bias, grad = helpers.values((6,), 3, dtype), helpers.values((batch, 6, 9, 9), 4, dtype)
    out, (dx, dw, db) = run(x, weight, bias, grad, device, padding=1, groups=2)
    wide = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(wide, (3, 3), axis=(2, 3))
    windows = windows.reshape(batch, 2, 2, 9, 9, 3, 3)
    kernels = weight.astype(np.float64).reshape(2, 3, 2, 3, 3)
    grads = grad.astype(np.float64).reshape(batch, 2, 3, 9, 9)
    expected = np.einsum("ngcyxij,gocij->ngoyx", windows, kernels).reshape(out.shape)
    helpers.assert_close(out, expected + bias.astype(np.float64)[:, None, None], 18)
    right = np.einsum("ngcyxij,ngoyx->gocij", windows, grads).reshape(weight.shape)
    helpers.assert_close(dw, right, batch * 81)
    helpers.assert_close(db, grad.astype(np.float64).sum((0, 2, 3)), batch * 81)
    spread = np.zeros((batch, 2, 2, 11, 11))
    for i in range(3):
        for j in range(3):
            spread[:, :, :, i : i + 9, j : j + 9] += np.einsum(
                "ngoyx,goc->ngcyx", grads, kernels[:, :, :, i, j]
            )
    helpers.assert_close(dx, spread[..., 1:-1, 1:-1].reshape(x.shape), 27)


OPTIONS = [{"padding": 1}, {"stride": 2}, {"groups": 2}, {"dilation": 2}]


def check_with_a_block_of(
    numbers: int, options: dict[str, Any], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Convolve 33 images, the columns of one of which are up to 1080 numbers, and compare."""
    monkeypatch.setattr(cpu_columns, "COLUMN_BLOCK", numbers)
    monkeypatch.setattr(cuda_conv, "COLUMN_BYTES", 8 * numbers)
    x = helpers.values((33, 4, 6, 5), 1)
    weight = helpers.values((4, 4 // options.get("groups", 1), 3, 3), 2)
    bias = helpers.values((4,), 3)
    whole = [reference.conv2d(x, weight, bias, **options)]
    grad = helpers.values(whole[0].shape, 4)
    whole += reference.conv2d_backward(grad, x, weight, **options)
    out, grads = run(x, weight, bias, grad, device, **options)
    for found, expected in zip((out, *grads), whole, strict=True):
        helpers.assert_close(found, expected, 33 * 30)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_lanes_of_several_runs(
    options: dict[str, Any], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lane whose columns do not fit its buffer takes its images run by run."""
    check_with_a_block_of(3000, options, device, monkeypatch)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_bands_of_an_image(
    options: dict[str, Any], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the columns of one image do not fit, its rows take turns (on a GPU, the kernel's)."""
    check_with_a_block_of(30, options, device, monkeypatch)


@pytest.mark.parametrize(("budget", "parts"), [(1 << 20, [9, 9]), (1, [3, 3] * 3)])
def test_weight_gradients_are_added_up_in_parts(
    budget: int, parts: list[int], gpu: str, simulator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs of windows for each group; of all images at a time, or of one."""
    monkeypatch.setattr(cuda_conv, "COLUMN_BYTES", budget)
    monkeypatch.setattr(cuda_conv, "_LEAST_TERMS", 16)
    x, weight, bias = (
        helpers.values(shape, seed, np.float32)
        for seed, shape in enumerate([(3, 2, 6, 8), (4, 1, 3, 3), (4,)])
    )
    with simulator.count() as used:
        check_against_loops(x, weight, bias, gpu, padding=1, groups=2)
    assert [call[4] for call in used.cublas_calls if "Batched" in call[0]] == parts


def test_a_card_is_filled_by_weight_gradients_of_the_paper() -> None:
    """128 tiles of 128 x 128, or the next lower number that divides the windows."""
    tiles = []
    with zeros():
        layers = [layer for layer in alexnet("paper").modules() if isinstance(layer, nn.Conv2d)]
    for layer, size in zip(layers, (227, 27, 13, 13, 13), strict=True):
        geometry = plan("", (size, size), layer.kernel_size, layer.stride, (1, 1), layer.padding)
        shape = (layer.in_channels, 128, size, size)
        columns = cuda_conv.Columns(shape, np.dtype(np.float32), geometry, layer.groups)
        kernels = layer.out_channels // layer.groups
        tiles.append(columns.parts(kernels) * -(-kernels // 128) * -(-columns.rows // 128))
    assert min(tiles) >= 90 and max(tiles) <= 128, tiles


def test_columns_of_later_images_take_the_memory_of_the_first(
    gpu: str, simulator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = minidl.ones(8, 4, 32, 32, device=gpu, requires_grad=True)
    weight = minidl.ones(4, 4, 3, 3, device=gpu, requires_grad=True)
    columns = 2 * 40 * 30 * 30 * 4  # of two images
    monkeypatch.setattr(cuda_conv, "COLUMN_BYTES", columns)
    with simulator.count() as forward:
        y = F.conv2d(x, weight)
    assert forward.peak_bytes - forward.current_bytes < 1.5 * columns
    y = y.sum()
    with simulator.count() as backward:
        y.backward()
    assert backward.kernels["im2col"] == 4
    # beside them the gradients of x and y are there
    assert backward.peak_bytes - backward.current_bytes < 1.5 * columns + 8 * 4 * 32 * 32 * 4


def test_the_padding_is_zero_whatever_was_computed_before(device: str) -> None:
    """Buffers are used again and again: the border must not keep old numbers."""
    weight = minidl.ones(1, 1, 3, 3, device=device)
    for size, padding in [(12, 0), (6, 3), (9, 1), (4, 4), (5, 2)]:
        F.conv2d(minidl.full((3, 2, 12, 12), 1e6), minidl.ones(2, 1, 3, 3), groups=2, padding=2)
        ones = np.ones((3, 1, size, size), np.float32)
        out = F.conv2d(minidl.tensor(ones, device=device), weight, padding=padding)
        helpers.assert_close(out, reference.conv2d(ones, np.ones((1, 1, 3, 3)), padding=padding), 9)


@pytest.mark.parametrize(
    "options", [{"padding": 2, "groups": 2}, {"stride": 4}, {"stride": 2}], ids=str
)
def test_same_bits_at_any_number_of_threads(options: dict[str, Any], threads: None) -> None:
    x = helpers.values((13, 8, 15, 15), 1, np.float32)
    weight = helpers.values((16, 8 // options.get("groups", 1), 5, 5), 2, np.float32)
    bias = helpers.values((16,), 3, np.float32)
    shape = F.conv2d(minidl.tensor(x), minidl.tensor(weight), **options).shape
    grad = helpers.values(tuple(shape), 4, np.float32)
    results = []
    for count in (1, 2, 3, 1):
        minidl.set_num_threads(count)
        out, grads = run(x, weight, bias, grad, **options)
        results.append([helpers.host(t) for t in (out, *grads)])
    for other in results[1:]:
        for first, second in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(first, second)


# ---- facts of the paper's network ----


def test_groups_are_convolutions_of_split_channels(device: str) -> None:
    x, weight, bias = (
        minidl.tensor(helpers.values(s, i), device=device)
        for i, s in enumerate([(2, 4, 6, 6), (6, 2, 3, 3), (6,)])
    )
    whole = F.conv2d(x, weight, bias, padding=1, groups=2)
    halves = [
        F.conv2d(x[:, :2], weight[:3], bias[:3], padding=1),
        F.conv2d(x[:, 2:], weight[3:], bias[3:], padding=1),
    ]
    helpers.assert_close(whole, helpers.host(minidl.cat(halves, 1)), 18)


@pytest.mark.parametrize(
    ("channels", "parameters"),
    [((96, 256, 5, 2), 307_456), ((384, 384, 3, 2), 663_936), ((384, 256, 3, 2), 442_624)],
)
def test_parameter_counts_of_the_paper(channels: tuple[int, ...], parameters: int) -> None:
    a, b, kernel, groups = channels
    layer = nn.Conv2d(a, b, kernel, groups=groups)
    assert sum(p.numel() for p in layer.parameters()) == parameters


@pytest.mark.parametrize(
    ("size", "options", "expected"),
    [
        (224, {"ceil_mode": True}, 55),
        (224, {}, 54),
        (227, {}, 55),
        (224, {"padding": 2}, 55),
    ],
)
def test_three_ways_to_55(size: int, options: dict[str, Any], expected: int) -> None:
    x, weight = minidl.zeros(1, 1, size, size), minidl.zeros(1, 1, 11, 11)
    assert F.conv2d(x, weight, stride=4, **options).shape == (1, 1, expected, expected)


def test_ceil_mode_equals_explicit_zeros_on_the_right_and_bottom(device: str) -> None:
    x, weight = helpers.values((1, 2, 20, 24), 0), helpers.values((3, 2, 11, 11), 1)
    wide = np.pad(x, ((0, 0), (0, 0), (0, 3), (0, 3)))
    x, weight, wide = (minidl.tensor(a, device=device) for a in (x, weight, wide))
    ceil = F.conv2d(x, weight, stride=4, ceil_mode=True)
    explicit = F.conv2d(wide, weight, stride=4)
    assert ceil.shape == (1, 3, 4, 5)
    helpers.assert_close(ceil, helpers.host(explicit), 242)


# ---- the module ----


def test_module_is_the_function(device: str) -> None:
    layer = nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=1, groups=2)
    layer = layer.to(device)
    assert layer.weight.shape == (6, 2, 3, 2) and layer.bias.shape == (6,)
    assert layer.weight.dtype == np.float32 and layer.weight.requires_grad
    x = minidl.tensor(helpers.values((2, 4, 6, 5), 0, np.float32), device=device)
    out = F.conv2d(x, layer.weight, layer.bias, stride=(2, 1), padding=(1, 0), groups=2)
    np.testing.assert_array_equal(helpers.host(layer(x)), helpers.host(out))


def test_module_gradcheck() -> None:
    x = helpers.leaf(helpers.values((2, 4, 5, 5), 0))
    assert minidl.gradcheck(nn.Conv2d(4, 6, 3, padding=1, groups=2), (x,))
    assert minidl.gradcheck(nn.Conv2d(4, 2, 3, stride=2, bias=False, ceil_mode=True), (x,))


def test_module_without_bias() -> None:
    layer = nn.Conv2d(2, 3, 3, bias=False)
    assert layer.bias is None and list(layer.state_dict()) == ["weight"]


def test_initialization_is_within_pytorchs_bound() -> None:
    layer = nn.Conv2d(8, 64, 5, groups=2)
    bound = 1 / np.sqrt(4 * 25)
    for values in (layer.weight, layer.bias):
        assert np.abs(helpers.host(values)).max() <= bound
    spread = helpers.host(layer.weight).std() / (bound / np.sqrt(3))
    assert 0.95 < spread < 1.05


MODES = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@pytest.mark.parametrize("mode", MODES)
def test_padding_mode(mode: str, device: str) -> None:
    layer = nn.Conv2d(2, 3, 3, padding=(2, 1), padding_mode=mode).double().to(device)
    x = helpers.values((2, 2, 5, 4), 0)
    wide = np.pad(x, ((0, 0), (0, 0), (2, 2), (1, 1)), mode=MODES[mode])
    weight, bias = helpers.host(layer.weight), helpers.host(layer.bias)
    helpers.assert_close(
        layer(minidl.tensor(x, device=device)), reference.conv2d(wide, weight, bias), 18
    )
    assert minidl.gradcheck(layer, (helpers.leaf(x, device),))


# ---- bad arguments ----


def bad(match: str, x: Any = (1, 4, 5, 5), weight: Any = (4, 4, 3, 3), **options: Any) -> None:
    bias = options.pop("bias", None)
    with pytest.raises(MinidlError, match=match):
        F.conv2d(
            minidl.zeros(*x),
            minidl.zeros(*weight),
            None if bias is None else minidl.zeros(*bias),
            **options,
        )


def test_errors_name_the_argument() -> None:
    bad("input", x=(4, 4))
    bad("weight", weight=(4, 4, 3))
    bad("weight|input", weight=(4, 3, 3, 3))
    bad("groups", groups=3, weight=(4, 1, 3, 3))
    bad("groups", groups=0)
    bad("bias", bias=(3,))
    bad("stride", stride=0)
    bad("stride", stride=(1, 2, 3))
    bad("padding", padding=-1)
    bad("padding", padding="full")
    bad("padding|stride", padding="same", stride=2)
    bad("dilation", dilation=0)
    bad("image of 2x2 .* smaller than the window of 3x3", x=(1, 4, 2, 2))


def test_error_for_a_kernel_larger_than_the_image_is_a_shape_error() -> None:
    with pytest.raises(ShapeError):
        F.conv2d(minidl.zeros(1, 1, 3, 3), minidl.zeros(1, 1, 5, 5))


def test_mixed_dtypes_are_refused() -> None:
    with pytest.raises(MinidlError, match="dtype|float64"):
        F.conv2d(minidl.zeros(1, 1, 3, 3), minidl.zeros(1, 1, 3, 3, dtype=minidl.float64))


@pytest.mark.parametrize(
    "arguments",
    [
        {"in_channels": 0},
        {"groups": 3},
        {"kernel_size": 0},
        {"stride": 0},
        {"padding": "full"},
        {"padding": "same", "stride": 2},
        {"padding_mode": "mirror"},
        {"dilation": 0},
    ],
    ids=str,
)
def test_module_errors_name_the_argument(arguments: dict[str, Any]) -> None:
    given: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "kernel_size": 3, **arguments}
    with pytest.raises(ArgumentError, match="|".join(arguments)):
        nn.Conv2d(**given)


# ---- PyTorch ----


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("case", [c for c in CASES if "ceil" not in c])
def test_same_as_pytorch(case: str) -> None:
    torch = pytest.importorskip("torch")
    x_shape, w_shape, options = CASES[case]
    arrays = [helpers.values(s, i) for i, s in enumerate([x_shape, w_shape, w_shape[:1]])]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    expected = torch.nn.functional.conv2d(*theirs, **options)
    grad = helpers.values(tuple(expected.shape), 7)
    expected.backward(torch.tensor(grad))
    out, grads = run(*arrays, grad, **options)
    helpers.assert_close(out, expected.detach().numpy(), 400)
    for found, right in zip(grads, theirs, strict=True):
        helpers.assert_close(found, right.grad.numpy(), 400)


@pytest.mark.parametrize("relu", [False, True])
def test_float16(relu: bool, device: str) -> None:
    """Every layer takes it, on either device; sums of products are rounded as the device does."""
    x, weight, bias = (
        helpers.leaf(helpers.values(shape, seed, np.float16), device)
        for seed, shape in enumerate([(2, 3, 6, 5), (4, 3, 3, 3), (4,)])
    )
    conv = nn.Conv2d(3, 4, 3)
    conv.weight, conv.bias = nn.Parameter(weight.detach()), nn.Parameter(bias.detach())
    y = nn.Sequential(conv, *([nn.ReLU()] if relu else []))(x)
    numbers = [helpers.host(array).astype(np.float64) for array in (x, weight, bias)]
    expected = reference.conv2d(*numbers)
    expected = np.maximum(expected, 0) if relu else expected
    assert y.dtype == np.float16
    np.testing.assert_allclose(helpers.host(y), expected, atol=0.05, rtol=0.02)
    y.sum().backward()
    dy = (expected > 0) if relu else np.ones_like(expected)
    for gradient, whole in zip(
        (x.grad, conv.weight.grad, conv.bias.grad),
        reference.conv2d_backward(dy.astype(np.float64), *numbers[:2]),
        strict=True,
    ):
        assert gradient.dtype == np.float16
        np.testing.assert_allclose(helpers.host(gradient), whole, atol=0.2, rtol=0.05)


# ---- the plain code ----


@settings(max_examples=100)
@given(problem=problems())
def test_the_plain_code(problem: dict[str, Any], device: str) -> None:
    """It equals the loops, and the kernels equal it."""
    x, weight = (
        helpers.values(problem[shape], seed, problem["dtype"])
        for seed, shape in enumerate(["x_shape", "w_shape"])
    )
    bias = helpers.values(weight.shape[:1], 3, problem["dtype"]) if problem["bias"] else None
    with minidl.reference():
        check_against_loops(x, weight, bias, device, **problem["options"])


def test_integers_and_on_a_cpu_float16_run_the_plain_code(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[Any] = []
    plain = conv_page.forward

    def noted(x: Any, *rest: Any) -> Any:
        ran.append(x.dtype)
        return plain(x, *rest)

    monkeypatch.setattr(conv_page, "forward", noted)
    for dtype in (minidl.float16, minidl.int64, minidl.float32):
        y = F.conv2d(
            minidl.ones(1, 2, 3, 3, device=device, dtype=dtype),
            minidl.full((1, 2, 2, 2), 3, device=device, dtype=dtype),
        )
        assert y.dtype == dtype and y.tolist() == [[[[24, 24], [24, 24]]]]
    plain_half = [np.float32] if device == "cpu" else []  # it computes float16 in float32
    assert ran == [*plain_half, np.int64]


def test_few_frames_between_the_module_and_numpy() -> None:
    """Whoever steps through a convolution in a debugger soon gets to the arrays."""
    conv, x = nn.Conv2d(4, 6, 3, padding=1, groups=2), minidl.randn(2, 4, 5, 5)
    stacks: list[list[Any]] = []

    def note(frame: Any, event: str, function: Any) -> None:
        """Keep the frames above NumPy, when it is called."""
        if event == "call":
            found = "numpy" in frame.f_code.co_filename
        else:
            module = getattr(function, "__module__", None) or ""
            found = module.startswith("numpy") or isinstance(
                getattr(function, "__self__", None), np.ndarray
            )
        stack = []
        while frame is not None and frame.f_code is not nn.Module.__call__.__code__:
            if "numpy" not in frame.f_code.co_filename:
                stack.append(frame.f_code)
            frame = frame.f_back
        if found and frame is not None:
            stacks.append(stack)

    with minidl.reference(), minidl.no_grad():
        sys.setprofile(note)
        try:
            conv(x)
        finally:
            sys.setprofile(None)
    names = [[code.co_name for code in stack] for stack in stacks]
    assert any("im2col" in stack for stack in names)
    deepest = max(stacks, key=len)
    assert len(deepest) <= 8, [code.co_qualname for code in deepest]
    for stack in stacks:
        assert len({code.co_filename for code in stack}) <= 3, stack


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_padding_by_name_in_every_mode(mode: str, padding: str) -> None:
    layer = nn.Conv2d(2, 3, (4, 3), padding=padding, padding_mode=mode, dilation=(1, 2))
    x = minidl.randn(1, 2, 7, 8)
    if padding == "same":  # of the 3 and 4 pixels, the odd one comes after
        x_padded = nn.functional.pad(x, (2, 2, 1, 2), mode=mode)
    else:
        x_padded = x
    expected = nn.functional.conv2d(x_padded, layer.weight, layer.bias, dilation=(1, 2))
    np.testing.assert_array_equal(layer(x).detach().numpy(), expected.detach().numpy())
    assert padding == "valid" or layer(x).shape[2:] == x.shape[2:]


@pytest.mark.parametrize("kernels", [2, 50])  # more windows than kernels, and fewer
def test_no_channels(kernels: int, device: str) -> None:
    x, weight = minidl.ones(1, 0, 4, 3, device=device), minidl.ones(kernels, 0, 3, 3, device=device)
    y = F.conv2d(x, weight, minidl.ones(kernels, device=device), padding=1)
    np.testing.assert_array_equal(y.cpu().numpy(), np.ones((1, kernels, 4, 3)))


def test_an_empty_kernel(device: str) -> None:
    x, weight = minidl.ones(1, 1, 3, 3, device=device), minidl.ones(1, 1, 0, 3, device=device)
    with pytest.raises(ShapeError, match="conv2d: a kernel of 0x3 is empty"):
        F.conv2d(x, weight, padding=1)
    with pytest.raises(ShapeError):
        F.conv_transpose2d(x, weight)
