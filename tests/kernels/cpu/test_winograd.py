"""Minimal filtering against explicit loops; lowered thresholds let small shapes use it."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import helpers
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl.kernels.cpu import blocks, conv, winograd, winograd_one_axis, winograd_tiles
from minidl.kernels.windows import Geometry, plan


def layer(
    n: int, size: tuple[int, int], kernel: int, padding: tuple[int, int], channels: tuple[int, int]
) -> tuple[helpers.Array, helpers.Array, Geometry]:
    """Images and weights in float64, and the windows' geometry; `channels` counts one group's."""
    x = helpers.values((n, channels[0], *size), 1)
    weight = helpers.values((channels[1], channels[0], kernel, kernel), 2)
    return x, weight, plan("test", size, (kernel, kernel), (1, 1), (1, 1), padding)


@pytest.mark.parametrize("kernel", winograd_tiles.TILES)
def test_the_transforms_are_a_sliding_window(kernel: int) -> None:
    output, of_kernel, data = winograd_tiles.transforms(kernel, np.dtype(np.float64))
    m, t = output.shape
    assert t == m + kernel - 1
    g, d = helpers.values((kernel,), 1), helpers.values((t,), 2)
    expected = [g @ d[i : i + kernel] for i in range(m)]
    np.testing.assert_allclose(output @ ((of_kernel @ g) * (data @ d)), expected, rtol=1e-12)


@settings(max_examples=150)
@given(data=st.data())
def test_against_loops(data: Any) -> None:
    stride = data.draw(st.integers(1, 4))
    groups = data.draw(st.integers(1, 2)) if stride == 1 else 1
    # 3 or 5 blocks of stride x stride pixels, the last ones perhaps incomplete
    kernel = data.draw(st.sampled_from([3, 5])) * stride - data.draw(st.integers(0, stride - 1))
    padding = (data.draw(st.integers(0, kernel - 1)), data.draw(st.integers(0, kernel - 1)))
    size = [max(kernel - 2 * p, 1) + data.draw(st.integers(0, 9)) for p in padding]
    depth, per_group = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    layout = helpers.LAYOUTS[data.draw(st.sampled_from(sorted(helpers.LAYOUTS)))]
    x = layout(helpers.values((data.draw(st.integers(1, 11)), groups * depth, *size), 1))
    weight = layout(helpers.values((groups * per_group, depth, kernel, kernel), 2))
    bias = helpers.values((len(weight),), 3) if data.draw(st.booleans()) else None
    strides = (stride, stride)
    geometry = plan("test", (size[0], size[1]), (kernel, kernel), strides, (1, 1), padding)
    options = {"stride": strides, "padding": padding, "groups": groups}

    y = winograd.forward(x, weight, bias, geometry, groups, None)
    np.testing.assert_allclose(y, reference.conv2d(x, weight, bias, **options), atol=1e-11)
    grad = layout(helpers.values(y.shape, 4))
    dx, dweight = reference.conv2d_backward(grad, x, weight, **options)[:2]
    if stride == 1:
        found = winograd.input_gradient(grad, weight, x.shape[2:], geometry, groups)
        np.testing.assert_allclose(found, dx, atol=1e-11)
    found = winograd.weight_gradient(x, grad, weight.shape, geometry, groups)
    np.testing.assert_allclose(found, dweight, atol=1e-10)


@settings(max_examples=150)
@given(data=st.data())
def test_one_axis_against_loops(data: Any) -> None:
    kernel = (data.draw(st.sampled_from([3, 5])), data.draw(st.integers(1, 6)))
    padding = tuple(data.draw(st.integers(0, k - 1)) for k in kernel)
    size = [
        max(k - 2 * p, 1) + data.draw(st.integers(0, 9))
        for k, p in zip(kernel, padding, strict=True)
    ]
    layout = helpers.LAYOUTS[data.draw(st.sampled_from(sorted(helpers.LAYOUTS)))]
    n, depth, o = (data.draw(st.integers(1, most)) for most in (11, 3, 3))
    x = layout(helpers.values((n, depth, *size), 1))
    weight = layout(helpers.values((o, depth, *kernel), 2))
    bias = helpers.values((o,), 3) if data.draw(st.booleans()) else None
    geometry = plan("test", (size[0], size[1]), kernel, (1, 1), (1, 1), padding)
    expected = reference.conv2d(x, weight, bias, padding=padding)

    for epilogue in (None, "relu"):
        y = winograd_one_axis.forward(x, weight, bias, geometry, epilogue)
        np.testing.assert_allclose(y, np.maximum(expected, 0) if epilogue else expected, atol=1e-11)
    grad = layout(helpers.values(y.shape, 4))
    found = winograd_one_axis.weight_gradient(x, grad, weight.shape, geometry)
    _, dweight, dbias = reference.conv2d_backward(grad, x, weight, padding=padding)
    np.testing.assert_allclose(found[0], dweight, atol=1e-10)
    np.testing.assert_allclose(found[1], dbias, atol=1e-11)


# one group each of AlexNet's conv2 and conv3; images whose last tiles overhang the edge
LAYERS = {
    "conv2": (9, (27, 26), 5, (2, 2), (48, 128, 1)),
    "conv3": (64, (13, 13), 3, (1, 1), (256, 64)),
}


def amplification(kernel: int) -> float:
    """Factor by which one axis amplifies a sum's rounding errors: see the module's docstring."""
    output, of_kernel, data = winograd_tiles.transforms(kernel, np.dtype(np.float64))
    rows = np.linalg.norm(of_kernel, axis=1) * np.linalg.norm(data, axis=1)
    return float(np.sqrt((output**2 * rows**2).sum(axis=1).max()))


@pytest.mark.parametrize(("kernel", "most"), [(3, 4.7), (5, 12.3)])
def test_the_points_amplify_little(kernel: int, most: float) -> None:
    assert amplification(kernel) < most


@pytest.mark.parametrize("name", LAYERS)
def test_the_error_in_float32(name: str) -> None:
    x, weight, geometry = layer(*LAYERS[name])
    weight /= math.sqrt(weight[0].size)
    grad = helpers.values((len(x), len(weight), *geometry.out), 4)
    arrays = [a.astype(np.float32) for a in (x, weight, grad)]
    results = []
    for images, kernels, dy in ((x, weight, grad), arrays):
        results.append(
            [
                winograd.forward(images, kernels, None, geometry, 1, None),
                winograd.input_gradient(dy, kernels, x.shape[2:], geometry, 1),
                winograd.weight_gradient(images, dy, kernels.shape, geometry, 1),
            ]
        )
    # Each of a sum's c additions rounds a partial sum, which grows like √k: (eps/2)·√(Σ k/3)/√c in
    # total, and eps for the transforms themselves. Both axes amplify it.
    eps, c = np.finfo(np.float32).eps, max(weight.shape[:2])
    bound = amplification(geometry.kernel[0]) ** 2 * eps * (1 + math.sqrt(c / 24))
    for exact, found in zip(*results, strict=True):
        assert found.dtype == np.float32
        assert np.abs(found - exact).max() <= bound * np.abs(exact).max()


# Few channels: a small picture's first layer, and one whose last tiles overhang the edge
ONE_AXIS = {
    "colors": (16, (32, 32), 5, (2, 2), (3, 32)),
    "few maps": (40, (19, 21), 3, (1, 1), (16, 20)),
}


@pytest.mark.parametrize("name", ONE_AXIS)
def test_the_error_of_one_axis_in_float32(name: str) -> None:
    x, weight, geometry = layer(*ONE_AXIS[name])
    weight /= math.sqrt(weight[0].size)
    grad = helpers.values((len(x), len(weight), *geometry.out), 4)
    arrays = [a.astype(np.float32) for a in (x, weight, grad)]
    results = []
    for images, kernels, dy in ((x, weight, grad), arrays):
        y = winograd_one_axis.forward(images, kernels, None, geometry, None)
        both = winograd_one_axis.weight_gradient(images, dy, kernels.shape, geometry)
        results.append([y, *both])
    # As with both axes, but only one amplifies; the weights' sums run over a slab's windows.
    eps, windows = np.finfo(np.float32).eps, len(x) * math.prod(geometry.out)
    for exact, found, c in zip(*results, (weight[0].size, windows, windows), strict=True):
        assert found.dtype == np.float32
        bound = amplification(geometry.kernel[0]) * eps * (1 + math.sqrt(c / 24))
        assert np.abs(found - exact).max() <= bound * np.abs(exact).max()


@pytest.mark.parametrize(
    ("way", "kind"),
    [
        *((winograd, kind) for kind in LAYERS.values()),
        *((winograd_one_axis, kind) for kind in ONE_AXIS.values()),
    ],
    ids=[*LAYERS, *ONE_AXIS],
)
def test_suitable_convolutions_use_winograd(
    way: ModuleType, kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, geometry = layer(*kind)
    bias, grad = weight[:, 0, 0, 0], helpers.values((len(x), len(weight), *geometry.out), 4)
    # The weights' gradient is one lane's.
    n = -(-len(x) // conv._USUAL_LANES) if way is winograd else len(x)
    assert way.suits(geometry, n, *weight.shape[1::-1], 1)

    def all_three() -> list[helpers.Array]:
        gradients = conv.backward(grad, x, weight, geometry, 1, (True, True, True))
        return [conv.forward(x, weight, bias, geometry, 1), *gradients]  # type: ignore[list-item]

    tiles = all_three()
    monkeypatch.setattr(way, "suits", lambda *_: False)
    for found, expected in zip(tiles, all_three(), strict=True):
        assert not np.array_equal(found, expected)  # otherwise im2col ran
        np.testing.assert_allclose(found, expected, atol=1e-11 * np.abs(expected).max())


def test_lanes_of_several_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, geometry = layer(20, (9, 7), 3, (1, 1), (3, 2))
    grad = helpers.values((20, 2, *geometry.out), 4)

    def both() -> list[helpers.Array]:
        y = winograd.forward(x, weight, None, geometry, 1, None)
        one_axis = winograd_one_axis.forward(x, weight, None, geometry, None)
        of_one_axis = winograd_one_axis.weight_gradient(x, grad, weight.shape, geometry)
        both_axes = winograd.weight_gradient(x, grad, weight.shape, geometry, 1)
        return [y, both_axes, one_axis, *of_one_axis]

    whole = both()
    monkeypatch.setattr(winograd, "_SLAB", 1)
    monkeypatch.setattr(winograd, "_BLOCK", 1)
    monkeypatch.setattr(winograd_one_axis, "_SLAB", 1)
    for found, expected in zip(both(), whole, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)


# In panels; wide products in parts.
@pytest.mark.parametrize("most", [10**6, 36 * 64])
def test_products_that_blas_does_not_pack(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, geometry = layer(9, (9, 7), 3, (1, 1), (32, 64))
    grad = helpers.values((9, 64, *geometry.out), 4)

    def all_three(unpacked: bool) -> list[helpers.Array]:
        monkeypatch.setattr(blocks, "multiplies_unpacked", lambda: unpacked)
        return [
            winograd.forward(x, weight, weight[:, 0, 0, 0], geometry, 1, None),
            winograd.input_gradient(grad, weight, x.shape[2:], geometry, 1),
            winograd.weight_gradient(x, grad, weight.shape, geometry, 1),
        ]

    monkeypatch.setattr(blocks, "UNPACKED", most)
    for found, expected in zip(all_three(True), all_three(False), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-11 * np.abs(expected).max())


def test_unsuitable_shapes_use_im2col() -> None:
    good = plan("test", (27, 27), (5, 5), (1, 1), (1, 1), (2, 2))
    assert winograd.suits(good, 128, 48, 128, 1)
    assert not winograd.suits(good, 0, 48, 128, 1)
    assert not winograd.suits(good, 128, 3, 128, 1)
    assert not winograd.suits(good, 128, 48, 4, 1)
    assert not winograd.suits(good._replace(out=(2, 2)), 3, 48, 128, 1)  # too few to gain
    for changed in (
        good._replace(stride=(1, 2)),
        good._replace(dilation=(2, 1)),
        good._replace(kernel=(3, 5)),
        good._replace(kernel=(11, 11)),
        good._replace(kernel=(4, 4), stride=(4, 4)),
    ):
        assert not winograd.suits(changed, 128, 48, 128, 1)
    conv1 = plan("test", (227, 227), (11, 11), (4, 4))
    assert winograd.suits(conv1, 128, 3, 96, 1)
    assert not winograd.suits(conv1, 128, 3, 96, 2)


def test_shapes_unsuitable_for_one_axis() -> None:
    good = plan("test", (32, 32), (5, 5), (1, 1), (1, 1), (2, 2))
    assert winograd_one_axis.suits(good, 128, 3, 32, 1)
    assert not winograd_one_axis.suits(good, 128, 3, 32, 2)
    assert not winograd_one_axis.suits(good, 128, 1, 32, 1)  # strips copy less
    assert not winograd_one_axis.suits(good, 1, 3, 32, 1)  # too few to gain
    assert not winograd_one_axis.suits(good, 128, 24, 32, 1)  # not few channels
    assert not winograd_one_axis.suits(good._replace(out=(1, 32)), 128, 3, 32, 1)
    assert not winograd_one_axis.suits(good._replace(out=(0, 32)), 128, 3, 32, 1)
    for changed in (
        good._replace(stride=(1, 2)),
        good._replace(dilation=(2, 1)),
        good._replace(kernel=(4, 5)),
    ):
        assert not winograd_one_axis.suits(changed, 128, 3, 32, 1)


def test_threads_do_not_change_a_bit() -> None:
    x, weight, geometry = layer(*LAYERS["conv3"])
    arrays = [a.astype(np.float32) for a in (x, weight)]
    few, kernels, windows = layer(*ONE_AXIS["few maps"])
    arrays_one_axis = [a.astype(np.float32) for a in (few, kernels)]
    results = []
    before = minidl.get_num_threads()
    for threads in (1, 2, 5):
        minidl.set_num_threads(threads)
        y = winograd.forward(*arrays, None, geometry, 1, None)
        other = winograd_one_axis.forward(*arrays_one_axis, None, windows, None)
        results.append(
            [
                y,
                other,
                *winograd_one_axis.weight_gradient(
                    arrays_one_axis[0], other, kernels.shape, windows
                ),
                winograd.input_gradient(y, arrays[1], x.shape[2:], geometry, 1),
                winograd.weight_gradient(arrays[0], y, weight.shape, geometry, 1),
            ]
        )
    minidl.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
