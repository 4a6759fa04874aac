"""Strips of windows against explicit loops, and which convolutions they serve."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

from minidl.kernels.cpu import columns, conv, strips
from minidl.kernels.windows import plan


@settings(max_examples=150)
@given(data=st.data())
def test_against_loops(data: Any) -> None:
    kernel, stride, padding = (
        tuple(data.draw(st.integers(least, most)) for _ in "hw")
        for least, most in ((1, 4), (1, 3), (0, 2))
    )
    dilation = (data.draw(st.integers(1, 2)), 1)
    b = data.draw(st.integers(1, 4))
    out = (data.draw(st.integers(1, 4)), b * data.draw(st.integers(1, 3)))
    size = [
        max((o - 1) * s + d * (k - 1) + 1 - 2 * p, 1)
        for o, s, d, k, p in zip(out, stride, dilation, kernel, padding, strict=True)
    ]
    geometry = plan("test", (size[0], size[1]), kernel, stride, dilation, padding)
    if geometry.out[1] % b:  # a small image needed less padding
        b = 1
    layout = helpers.LAYOUTS[data.draw(st.sampled_from(sorted(helpers.LAYOUTS)))]
    n, depth, o = (data.draw(st.integers(1, 3)) for _ in range(3))
    x = layout(helpers.values((n, depth, *size), 1))
    weight = layout(helpers.values((o, depth, *kernel), 2))
    bias = helpers.values((o,), 3) if data.draw(st.booleans()) else None
    options = {"stride": stride, "padding": padding, "dilation": dilation}
    expected = reference.conv2d(x, weight, bias, **options)

    for epilogue in (None, "relu"):
        y = strips.forward(x, weight, bias, geometry, b, epilogue)
        np.testing.assert_allclose(y, np.maximum(expected, 0) if epilogue else expected, atol=1e-12)
    grad = layout(helpers.values(y.shape, 4))
    found = strips.weight_gradient(x, grad, weight.shape, geometry, b)
    _, dweight, dbias = reference.conv2d_backward(grad, x, weight, **options)
    np.testing.assert_allclose(found[0], dweight, atol=1e-12)
    np.testing.assert_allclose(found[1], dbias, atol=1e-12)


def test_few_channels_use_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    geometry = plan("test", (32, 32), (5, 5), (1, 1))  # LeNet's first layer
    x, weight = helpers.values((32, 1, 32, 32), 1), helpers.values((6, 1, 5, 5), 2)
    grad = helpers.values((32, 6, 28, 28), 4)
    widths, plain = [], columns._columns

    def seen(padded: Any, windows: Any, *more: Any) -> Any:
        widths.append(windows.kernel[1])
        return plain(padded, windows, *more)

    monkeypatch.setattr(columns, "_columns", seen)
    y = conv.forward(x, weight, weight[:, 0, 0, 0], geometry, 1)
    dweight, dbias = conv.weight_gradient(x, grad, weight.shape, geometry, 1)
    assert set(widths) == {11}  # seven windows
    np.testing.assert_allclose(y, reference.conv2d(x, weight, weight[:, 0, 0, 0]), atol=1e-12)
    _, expected, expected_bias = reference.conv2d_backward(grad, x, weight)
    np.testing.assert_allclose(dweight, expected, atol=1e-10)
    np.testing.assert_allclose(dbias, expected_bias, atol=1e-10)


def test_how_many_windows() -> None:
    good = plan("test", (32, 32), (5, 5), (1, 1))
    assert strips.best(good, 32, 1, 6, 1)[1] == 7
    assert strips.best(good, 1, 1, 6, 1)[1] == 1  # too few to make wide kernels for
    assert strips.best(good, 32, 1, 6, 2)[1] == 1  # groups
    assert strips.best(good._replace(dilation=(1, 2)), 32, 1, 6, 1)[1] == 1
    assert strips.best(good, 32, 64, 64, 1)[1] == 1  # many channels
    conv1 = plan("test", (227, 227), (11, 11), (4, 4))
    assert strips.best(conv1, 128, 3, 96, 2)[1] == 1
