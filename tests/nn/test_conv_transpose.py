"""ConvTranspose2d against explicit loops, PyTorch, and the convolution whose transpose it is."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import operation
import pytest
import reference
from hypothesis import strategies as st
from operation import Case

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, MinidlError, ShapeError

two = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def any_case(draw: Any) -> Case:
    groups, batch, depth, out = (draw(st.integers(1, 2)) for _ in range(4))
    kernel, stride, dilation = draw(two), draw(two), draw(two)
    extra = [draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)]
    # so that at least one pixel is left
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(draw(st.integers(0, (n - 1) // 2)) for n in reach)
    return Case(
        (batch, groups * depth, draw(st.integers(1, 4)), draw(st.integers(1, 4))),
        (groups * depth, out, *kernel),
        (groups * out,) if draw(st.booleans()) else None,
        stride=stride, padding=padding, output_padding=tuple(extra), groups=groups,
        dilation=dilation,
    )  # fmt: skip


TestConvTranspose2d = operation.standard_tests(
    F.conv_transpose2d,
    reference.conv_transpose2d,
    {
        "plain": Case((2, 3, 4, 5), (3, 4, 3, 2), (4,)),
        "stride": Case((2, 3, 4, 3), (3, 2, 3, 3), None, stride=2, padding=1),
        "output_padding": Case(
            (2, 2, 3, 3), (2, 3, 3, 3), (3,), stride=(2, 3), padding=1, output_padding=(1, 2)
        ),
        "groups": Case((2, 4, 3, 3), (4, 3, 2, 2), (6,), groups=2, stride=2),
        "dilation": Case((1, 2, 3, 4), (2, 2, 3, 2), (2,), dilation=(2, 3), padding=(1, 0)),
        "output_padding_of_dilation": Case(
            (1, 2, 3, 3), (2, 2, 2, 2), (2,), dilation=3, output_padding=2
        ),
        "stride_beyond_kernel": Case((2, 2, 3, 3), (2, 2, 1, 2), (2,), stride=3),
    },
    any_case=any_case(),
    examples=60,
    terms=lambda x, weight, *rest, **options: weight[0] * weight[2] * weight[3],
    torch="conv_transpose2d",
)


def test_it_is_the_input_gradient_of_a_convolution(device: str) -> None:
    options: dict[str, Any] = {"stride": 2, "padding": 1, "groups": 2}
    image = helpers.leaf(helpers.values((2, 4, 8, 7), 0), device)
    weight = helpers.leaf(helpers.values((6, 2, 3, 3), 1), device, requires_grad=False)
    y = F.conv2d(image, weight, **options)
    grad = minidl.tensor(helpers.values(tuple(y.shape), 2), device=device)
    y.backward(grad)
    found = F.conv_transpose2d(grad, weight, output_padding=(1, 0), **options)
    helpers.assert_close(found, helpers.host(image.grad), 27)


def test_integers() -> None:
    x, weight = minidl.tensor([[[[1, 2]]]]), minidl.tensor([[[[1, 10]]]])
    assert F.conv_transpose2d(x, weight).tolist() == [[[[1, 12, 20]]]]


def test_one_image_without_a_batch_axis() -> None:
    x, weight = minidl.randn(3, 4, 5), minidl.randn(3, 2, 3, 3)
    whole = F.conv_transpose2d(x.unsqueeze(0), weight)
    np.testing.assert_array_equal(F.conv_transpose2d(x, weight).numpy(), whole[0].numpy())


def test_module() -> None:
    layer = nn.ConvTranspose2d(4, 6, (3, 2), stride=(2, 1), padding=1, groups=2, dilation=2)
    assert layer.weight.shape == (4, 3, 3, 2) and layer.bias.shape == (6,)
    x = minidl.randn(2, 4, 5, 6)
    y = F.conv_transpose2d(x, layer.weight, layer.bias, (2, 1), 1, groups=2, dilation=2)
    np.testing.assert_array_equal(layer(x).detach().numpy(), y.detach().numpy())
    assert nn.ConvTranspose2d(4, 6, 3, bias=False).bias is None
    wide = nn.ConvTranspose2d(60, 40, 5, groups=2)
    bound = 1 / np.sqrt(20 * 25)
    for values in (wide.weight, wide.bias):
        assert np.abs(helpers.host(values)).max() <= bound
    assert helpers.host(wide.weight).std() == pytest.approx(bound / np.sqrt(3), rel=0.02)
    assert repr(layer) == (
        "ConvTranspose2d(4, 6, kernel_size=(3, 2), stride=(2, 1), padding=(1, 1), dilation=(2, 2), "
        "groups=2)"
    )
    other = repr(nn.ConvTranspose2d(1, 1, 3, 2, output_padding=1, bias=False))
    assert other.endswith("stride=(2, 2), output_padding=(1, 1), bias=False)")


@pytest.mark.parametrize("size", [(9, 9), (10, 9), (10, 10), (2, 3, 10, 9)], ids=str)
def test_output_size(size: tuple[int, ...]) -> None:
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    x = minidl.randn(2, 2, 5, 5)
    y = layer(x, output_size=size)
    assert y.shape[2:] == size[-2:]
    np.testing.assert_array_equal(y[:, :, :9, :9].detach().numpy(), layer(x).detach().numpy())


def test_an_output_size_out_of_reach() -> None:
    layer = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    for size in [(8, 9), (11, 9), (9,)]:
        with pytest.raises(ArgumentError, match="output_size"):
            layer(minidl.randn(2, 2, 5, 5), output_size=size)


def test_errors_name_the_argument() -> None:
    x, weight = minidl.zeros(1, 4, 3, 3), minidl.zeros(4, 2, 3, 3)
    for match, kind, call in [
        ("input", ShapeError, lambda: F.conv_transpose2d(x[0, 0], weight)),
        ("weight", ShapeError, lambda: F.conv_transpose2d(x, weight[0])),
        ("input", ShapeError, lambda: F.conv_transpose2d(x[:, :3], weight)),
        ("groups", ShapeError, lambda: F.conv_transpose2d(x, weight, groups=3)),
        ("bias", ShapeError, lambda: F.conv_transpose2d(x, weight, minidl.zeros(3))),
        ("float64", DTypeError, lambda: F.conv_transpose2d(x, weight.double())),
        ("stride", ArgumentError, lambda: F.conv_transpose2d(x, weight, stride=0)),
        ("padding", ArgumentError, lambda: F.conv_transpose2d(x, weight, padding=-1)),
        ("output_padding", ArgumentError, lambda: F.conv_transpose2d(x, weight, output_padding=1)),
        ("padding", ShapeError, lambda: F.conv_transpose2d(x, weight, padding=3)),
    ]:
        with pytest.raises(kind, match=match):
            call()


@pytest.mark.parametrize(
    "arguments",
    [{"in_channels": 0}, {"groups": 3}, {"kernel_size": 0}, {"padding_mode": "reflect"}],
    ids=str,
)
def test_module_errors_name_the_argument(arguments: dict[str, Any]) -> None:
    given: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "kernel_size": 3, **arguments}
    with pytest.raises(MinidlError, match="|".join(arguments)):
        nn.ConvTranspose2d(**given)
