"""Layers that learn the number of their inputs from the first one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.errors import ArgumentError, ShapeError


@pytest.mark.parametrize(
    "lazy, ordinary, shape",
    [
        (nn.LazyLinear(5), nn.Linear(3, 5), (2, 3)),
        (nn.LazyLinear(5, bias=False), nn.Linear(3, 5, bias=False), (2, 4, 3)),
        (nn.LazyConv2d(4, 3, padding=1), nn.Conv2d(6, 4, 3, padding=1), (2, 6, 8, 8)),
        (nn.LazyConv2d(4, 3, 1, 1, 1, 2), nn.Conv2d(6, 4, 3, 1, 1, 1, 2), (6, 8, 8)),
        (nn.LazyConvTranspose2d(4, 3), nn.ConvTranspose2d(6, 4, 3), (2, 6, 4, 4)),
        (nn.LazyBatchNorm1d(), nn.BatchNorm1d(3), (5, 3)),
        (nn.LazyBatchNorm2d(affine=False), nn.BatchNorm2d(6, affine=False), (2, 6, 4, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_lazy_layer_becomes_the_ordinary_one(lazy: Any, ordinary: Any, shape: Any) -> None:
    assert all(parameter.shape == (0,) or parameter.ndim == 0 for parameter in lazy.parameters())
    before = list(lazy.parameters())
    out = lazy(minidl.randn(*shape))
    assert type(lazy) is type(ordinary) and repr(lazy) == repr(ordinary)
    assert all(a is b for a, b in zip(before, lazy.parameters(), strict=True))
    ordinary.load_state_dict(lazy.state_dict())
    x = minidl.randn(*shape)
    np.testing.assert_array_equal(lazy(x).detach().numpy(), ordinary(x).detach().numpy())
    assert out.shape == lazy(x).shape


def test_a_lazy_layer_shows_that_it_waits() -> None:
    assert repr(nn.LazyLinear(11)) == "LazyLinear(in_features=0, out_features=11, bias=True)"
    assert repr(nn.LazyConv2d(4, 3, groups=2)) == (
        "LazyConv2d(0, 4, kernel_size=(3, 3), stride=(1, 1), groups=2)"
    )


def test_making_a_lazy_layer_draws_no_random_numbers() -> None:
    minidl.manual_seed(0)
    expected = minidl.rand(2).tolist()
    minidl.manual_seed(0)
    for layer in (nn.LazyLinear, nn.LazyBatchNorm2d):
        layer(3)
    nn.LazyConv2d(3, 2)
    nn.LazyConvTranspose2d(3, 2)
    assert minidl.rand(2).tolist() == expected


def test_an_optimizer_made_before_goes_on(device: str) -> None:
    net = nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    net.to(device).double()
    optimizer = minidl.optim.SGD(net.parameters(), 0.1)
    x = minidl.randn(2, 3, 6, 6, dtype=minidl.float64, device=device)
    net(x).sum().backward()
    weight = net[3].weight.detach().clone()
    optimizer.step()
    assert weight.dtype == np.float64 and weight.device == x.device
    assert not minidl.equal(weight, net[3].weight)


def test_wrong_arguments_and_inputs() -> None:
    with pytest.raises(ArgumentError):
        nn.LazyConv2d(4, 0)
    with pytest.raises(ShapeError, match="too few axes"):
        nn.LazyConv2d(4, 3)(minidl.randn(4, 4))
    with pytest.raises(ArgumentError, match="divisible by groups=2"):
        nn.LazyConv2d(4, 3, groups=2)(minidl.randn(1, 3, 4, 4))


def test_a_state_dict_before_the_first_input() -> None:
    source = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    x = minidl.randn(2, 3, 4, 4)
    source(x)
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(2))
    before = list(lazy.parameters())
    lazy.load_state_dict(source.state_dict())
    assert all(a is b for a, b in zip(before, lazy.parameters(), strict=True))
    assert minidl.equal(lazy.eval()(x), source.eval()(x))
    assert type(lazy[3]) is nn.Linear
    assert lazy[1].num_batches_tracked.item() == 1

    wrong = nn.LazyLinear(2)
    wrong.load_state_dict(source[3].state_dict())
    with pytest.raises(ShapeError, match=r"does not fit the weight of shape \(2, 16\)"):
        wrong(minidl.ones(1, 5))
