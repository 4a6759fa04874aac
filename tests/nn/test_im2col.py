"""unfold and fold: positions, sums of shared pixels, and that one is the other's transpose."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import helpers
import numpy as np
import operation
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
import minidl.nn.functional as F
from minidl.errors import MinidlError


@st.composite
def problems(draw: Any) -> tuple[tuple[int, ...], dict[str, Any]]:
    two = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, dilation, stride = draw(two), draw(two), draw(two)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    size = [
        max(1, dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]) + draw(st.integers(0, 4))
        for i in (0, 1)
    ]
    shape = (draw(st.integers(0, 3)), draw(st.integers(1, 3)), *size)
    options = {
        "kernel_size": kernel,
        "dilation": dilation,
        "padding": padding,
        "stride": stride,
    }
    return shape, options


@settings(max_examples=150)
@given(
    problem=problems(),
    layout=st.sampled_from(sorted(helpers.LAYOUTS)),
    dtype=st.sampled_from(helpers.DTYPES),
    way=st.sampled_from(operation.WAYS),
)
def test_any_unfold_and_fold(
    problem: tuple[tuple[int, ...], dict[str, Any]], layout: str, dtype: Any, way: str, device: str
) -> None:
    with minidl.reference() if way == "plain" else nullcontext():
        check_unfold_and_fold(problem, layout, dtype, device)


def check_unfold_and_fold(
    problem: tuple[tuple[int, ...], dict[str, Any]], layout: str, dtype: Any, device: str
) -> None:
    shape, options = problem
    x = helpers.LAYOUTS[layout](helpers.values(shape, 1, dtype))
    leaf = helpers.leaf(x, device)
    columns = F.unfold(leaf, **options)
    expected = reference.unfold(x, **options)
    assert columns.dtype == dtype
    np.testing.assert_array_equal(helpers.host(columns), expected.astype(dtype))

    # The gradient of unfold is fold, and the other way round.
    grad = helpers.LAYOUTS[layout](helpers.values(expected.shape, 2, dtype))
    columns.backward(helpers.leaf(grad, device, requires_grad=False))
    folded = reference.fold(grad, shape[2:], **options)
    helpers.assert_close(leaf.grad, folded, 9)

    leaf = helpers.leaf(grad, device)
    out = F.fold(leaf, shape[2:], **options)
    helpers.assert_close(out, folded, 9)
    out.backward(minidl.tensor(np.array(x), device=device))
    np.testing.assert_array_equal(helpers.host(leaf.grad), expected.astype(dtype))


def test_overlapping_windows_add(device: str) -> None:
    columns = minidl.ones(1, 4, 4, device=device)  # 2x2 windows on 3x3 pixels
    counts = [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert F.fold(columns, (3, 3), 2).tolist() == [[counts]]


def test_rows_are_channel_then_kernel_row_then_kernel_column(device: str) -> None:
    x = minidl.arange(18, device=device).float().reshape(1, 2, 3, 3)
    columns = F.unfold(x, 2)
    assert columns.shape == (1, 8, 4)
    assert columns[0, :, 0].tolist() == [0, 1, 3, 4, 9, 10, 12, 13]
    assert columns[0, 0].tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2}], ids=str)
def test_gradcheck(options: dict[str, Any], device: str) -> None:
    x = helpers.leaf(helpers.values((2, 2, 5, 4), 0), device)
    assert minidl.gradcheck(lambda x: F.unfold(x, 2, **options), (x,))
    columns = helpers.leaf(
        helpers.values(reference.unfold(np.zeros((2, 2, 5, 4)), 2, **options).shape, 1), device
    )
    assert minidl.gradcheck(lambda c: F.fold(c, (5, 4), 2, **options), (columns,))


def test_convolution_is_unfold_and_a_product(device: str) -> None:
    x, weight = helpers.values((2, 3, 6, 5), 0), helpers.values((4, 3, 3, 2), 1)
    columns = F.unfold(minidl.tensor(x, device=device), (3, 2), padding=1, stride=2)
    out = minidl.tensor(weight.reshape(4, -1), device=device) @ columns
    expected = reference.conv2d(x, weight, padding=1, stride=2)
    helpers.assert_close(out.reshape(*expected.shape), expected, 18)


def test_errors_name_the_argument(device: str) -> None:
    x, columns = minidl.zeros(1, 2, 4, 4, device=device), minidl.zeros(1, 8, 9, device=device)
    for match, call in {
        "input": lambda: F.unfold(minidl.zeros(4, 4, device=device), 2),
        "image of 4x4 .* smaller than the window of 5x5": lambda: F.unfold(x, 5),
        "kernel_size": lambda: F.unfold(x, 0),
        "stride": lambda: F.unfold(x, 2, stride=0),
        "padding": lambda: F.unfold(x, 2, padding=-1),
        "dilation": lambda: F.unfold(x, 2, dilation=0),
        "output_size|input": lambda: F.fold(columns, (5, 4), 2),
        "input|kernel": lambda: F.fold(minidl.zeros(1, 7, 9, device=device), (4, 4), 2),
    }.items():
        with pytest.raises(MinidlError, match=match):
            call()


@pytest.mark.parametrize(
    "options", [{}, {"stride": (2, 1), "padding": (1, 2)}, {"dilation": (1, 2)}], ids=str
)
def test_same_as_pytorch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    x = helpers.values((2, 3, 6, 5), 0)
    theirs = torch.nn.functional.unfold(torch.tensor(x), (3, 2), **options)
    ours = F.unfold(minidl.tensor(x), (3, 2), **options)
    np.testing.assert_array_equal(helpers.host(ours), theirs.numpy())
    back = torch.nn.functional.fold(theirs, (6, 5), (3, 2), **options)
    helpers.assert_close(F.fold(ours, (6, 5), (3, 2), **options), back.numpy(), 6)


def test_images_without_a_batch(device: str) -> None:
    x = minidl.arange(48.0, device=device).reshape(3, 4, 4)
    columns = F.unfold(x, 2)
    assert columns.shape == (12, 9) and columns.tolist() == F.unfold(x[None], 2)[0].tolist()
    back = F.fold(columns, (4, 4), 2)
    assert back.shape == (3, 4, 4)
    assert back.tolist() == F.fold(columns[None], (4, 4), 2)[0].tolist()
