"""Layers that a Sequential fuses give what they give one by one, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl
from minidl.nn import (
    Conv2d,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    fusion,
)

#: Layers, and the shape of their input.
NETS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "conv": (lambda: [Conv2d(3, 8, 3, padding=1), ReLU()], (2, 3, 7, 6)),
    "conv without bias": (lambda: [Conv2d(3, 5, 3, stride=2, bias=False), ReLU()], (2, 3, 9, 8)),
    "conv of many channels": (lambda: [Conv2d(32, 48, 3, padding=1), ReLU()], (16, 32, 13, 13)),
    "conv in groups": (lambda: [Conv2d(64, 64, 5, padding=2, groups=2), ReLU()], (9, 64, 9, 9)),
    "conv of one image": (lambda: [Conv2d(32, 32, 3, padding=1), ReLU(True)], (1, 32, 40, 41)),
    "conv of few windows": (lambda: [Conv2d(3, 40, 3), ReLU(True)], (1, 3, 6, 7)),
    "conv of an image without batch": (lambda: [Conv2d(3, 4, 3), ReLU()], (3, 8, 8)),
    "linear": (lambda: [Linear(7, 5), ReLU()], (4, 7)),
    "linear without bias": (lambda: [Linear(7, 5, bias=False), ReLU(inplace=True)], (4, 7)),
    "linear of more axes": (lambda: [Linear(7, 40), ReLU()], (2, 3, 7)),
    "pool": (lambda: [Conv2d(2, 4, 1), ReLU(), MaxPool2d(3, 2)], (2, 2, 9, 9)),
    "pool with padding": (
        lambda: [Conv2d(2, 4, 1), ReLU(True), MaxPool2d(3, 2, padding=1, ceil_mode=True)],
        (2, 2, 8, 9),
    ),
    "pool of an image without batch": (lambda: [Conv2d(2, 4, 1), ReLU(), MaxPool2d(2)], (2, 8, 8)),
    "norm": (lambda: [Conv2d(2, 12, 1), ReLU(), LocalResponseNorm(5, alpha=1.0)], (2, 2, 5, 6)),
    "norm in groups": (
        lambda: [Conv2d(2, 12, 1), ReLU(True), LocalResponseNorm(5, 0.9, k=2.0, groups=2)],
        (2, 2, 5, 6),
    ),
    "norm of another size": (
        lambda: [Conv2d(2, 6, 1), ReLU(), LocalResponseNorm(4, 0.8, beta=0.6)],
        (2, 2, 5, 6),
    ),
    "three in a row": (
        lambda: [Conv2d(3, 8, 3), ReLU(), Conv2d(8, 8, 3), ReLU(), MaxPool2d(2), ReLU()],
        (2, 3, 12, 12),
    ),
}


def results(net: Any, images: minidl.Tensor, call: Any) -> list[np.ndarray]:
    """Return the output and all gradients."""
    x = images.detach().clone().requires_grad_()
    net.zero_grad()
    y = call(x)
    grad = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    y.backward(minidl.from_numpy(grad).to(images.device))
    found = [y, x.grad, *(parameter.grad for parameter in net.parameters())]
    return [tensor.numpy(force=True) for tensor in found]


def one_by_one(net: Sequential, x: minidl.Tensor) -> minidl.Tensor:
    for layer in net:
        x = layer(x)
    return x


@pytest.mark.parametrize("name", NETS)
def test_bits(name: str, device: str) -> None:
    make, shape = NETS[name]
    minidl.manual_seed(0)
    net = Sequential(*make()).to(device)
    images = minidl.randn(*shape).to(device)
    together = results(net, images, net)
    apart = results(net, images, lambda x: one_by_one(net, x))
    for number, (a, b) in enumerate(zip(together, apart, strict=True)):
        # -0 and 0 are one: the two orders may differ in it
        np.testing.assert_array_equal(a, b, err_msg=f"{name}, result {number}")
    assert (together[0] >= 0).all() and (together[0] == 0).any()


@pytest.mark.parametrize("name", ["conv", "linear", "pool", "norm"])
def test_nan_and_infinity(name: str, device: str) -> None:
    make, shape = NETS[name]
    minidl.manual_seed(0)
    net = Sequential(*make()).to(device)
    images = minidl.randn(*shape)
    images.array.reshape(-1)[::37] = np.nan
    images.array.reshape(-1)[5::41] = -np.inf
    images = images.to(device)
    together = results(net, images, net)
    apart = results(net, images, lambda x: one_by_one(net, x))
    assert np.isnan(together[0]).any()
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_array_equal(a, b)


@settings(deadline=None, max_examples=30)
@given(
    size=st.integers(1, 9),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    ceil_mode=st.booleans(),
    seed=st.integers(0, 99),
)
def test_pool_first_with_ties(
    size: int, kernel: int, stride: int, ceil_mode: bool, seed: int
) -> None:
    """Small whole numbers: many windows have their largest more than once, or no positive one."""
    rng = np.random.default_rng(seed)
    pool = MaxPool2d(min(kernel, size), stride, ceil_mode=ceil_mode)
    net = Sequential(minidl.nn.Identity(), ReLU(), pool)
    images = minidl.from_numpy(rng.integers(-2, 2, (2, 2, size, size)).astype(np.float32))
    together = results(net, images, net)
    apart = results(net, images, lambda x: one_by_one(net, x))
    for a, b in zip(together, apart, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def fused(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pairs that are done as one, by the names of their layers."""
    done: list[str] = []

    def noted(both: fusion.Both, kinds: tuple[type[Module], ...]) -> fusion.Both:
        def run(first: Any, second: Any, input: Any) -> Any:
            done.append("+".join(kind.__name__ for kind in kinds))
            return both(first, second, input)

        return run

    for kinds, both in dict(fusion.PAIRS).items():
        monkeypatch.setitem(fusion.PAIRS, kinds, noted(both, kinds))
    return done


def test_neighbors_are_done_as_one(fused: list[str]) -> None:
    Sequential(Linear(3, 3), ReLU(), Linear(3, 3))(minidl.randn(2, 3))
    assert fused == ["Linear+ReLU"]


def test_the_later_pair_wins(fused: list[str]) -> None:
    Sequential(Conv2d(2, 6, 3), ReLU(), LocalResponseNorm(3))(minidl.randn(1, 2, 5, 5))
    assert fused == ["ReLU+LocalResponseNorm"]


def test_the_switch_and_reference(fused: list[str]) -> None:
    net, x = Sequential(Linear(3, 3), ReLU()), minidl.randn(2, 3)
    fusion.set_fusion(False)
    try:
        apart = net(x)
    finally:
        fusion.set_fusion(True)
    with minidl.reference():
        net(x)
    assert fused == []
    np.testing.assert_array_equal(net(x).numpy(force=True), apart.numpy(force=True))
    assert fused == ["Linear+ReLU"]


@pytest.mark.parametrize("name", ["conv", "linear", "pool", "norm"])
@minidl.no_grad()
def test_dtypes_without_kernels(name: str, device: str) -> None:
    make, shape = NETS[name]
    net = Sequential(*make()).half().to(device)
    images = minidl.randn(*shape).half().to(device)
    apart = one_by_one(net, images)
    np.testing.assert_array_equal(net(images).numpy(force=True), apart.numpy(force=True))


@pytest.mark.parametrize("method", ["forward", "__call__"])
def test_replaced_methods_see_every_layer(
    method: str, fused: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a tracer would that patches the class."""
    seen: list[str] = []
    kind = ReLU if method == "forward" else Module
    own = getattr(kind, method)

    def noted(self: Module, *args: Any) -> Any:
        seen.append(type(self).__name__)
        return own(self, *args)

    monkeypatch.setattr(kind, method, noted)
    Sequential(Linear(3, 3), ReLU())(minidl.randn(2, 3))
    assert fused == [] and seen[-1] == "ReLU"


@minidl.no_grad()
@pytest.mark.parametrize("position", [0, 1])
def test_hooks_see_what_is_between(position: int) -> None:
    net = Sequential(Linear(3, 4), ReLU())
    seen: list[Any] = []
    net[position].register_forward_hook(lambda module, args, output: seen.append((args, output)))
    x = minidl.randn(2, 3)
    y = net(x)
    ((args, output),) = seen
    between = net[0](x).numpy()
    np.testing.assert_array_equal((output if position == 0 else args[0]).numpy(), between)
    np.testing.assert_array_equal(y.numpy(), np.maximum(between, 0))


@minidl.no_grad()
def test_subclasses_are_called() -> None:
    class Leaky(ReLU):
        def forward(self, input: Any) -> Any:
            return input * 0.5

    class Doubled(Linear):
        def forward(self, input: Any) -> Any:
            return super().forward(input) * 2

    x = minidl.randn(2, 3)
    layer = Linear(3, 4)
    np.testing.assert_array_equal(
        Sequential(layer, Leaky())(x).numpy(), layer(x).numpy() * np.float32(0.5)
    )
    twice = Doubled(3, 4)
    np.testing.assert_array_equal(Sequential(twice, ReLU())(x).numpy(), twice(x).relu().numpy())


@minidl.no_grad()
def test_a_forward_of_ones_own_is_called() -> None:
    relu: Module = ReLU()
    relu.forward = lambda x: x + 1  # type: ignore[method-assign]
    layer = Linear(3, 4)
    x = minidl.randn(2, 3)
    np.testing.assert_array_equal(Sequential(layer, relu)(x).numpy(), (layer(x) + 1).numpy())


@pytest.mark.parametrize("inplace", [False, True])
def test_the_callers_array_is_overwritten_if_asked_for(inplace: bool) -> None:
    x = minidl.from_numpy(np.array([[[[-1.0, 2.0], [3.0, -4.0]]]], np.float32))
    y = Sequential(ReLU(inplace), MaxPool2d(2))(x)
    assert y.item() == 3
    assert (x.array.min() == 0) == inplace


def test_indices() -> None:
    x = minidl.from_numpy(np.array([[[[-1.0, -2.0], [-3.0, -4.0]]]], np.float32))
    net = Sequential(minidl.nn.Identity(), ReLU(), MaxPool2d(2, return_indices=True))
    y, places = net(x)
    assert y.item() == 0 and places.item() == 0


def test_changing_the_result_in_place_is_noticed() -> None:
    net = Sequential(Linear(3, 4), ReLU())
    y = net(minidl.randn(2, 3))
    y *= 2
    with pytest.raises(minidl.errors.AutogradError, match="changed in place"):
        y.sum().backward()


def test_gradcheck() -> None:
    net = Sequential(
        Conv2d(2, 6, 3, dtype=minidl.float64), ReLU(), LocalResponseNorm(5, alpha=1.0),
        MaxPool2d(2), minidl.nn.Flatten(), Linear(24, 5, dtype=minidl.float64), ReLU(),
    )  # fmt: skip
    assert minidl.gradcheck(net, (minidl.randn(2, 2, 6, 6, dtype=minidl.float64),))
