"""Backward hooks of modules."""

from __future__ import annotations

from typing import Any

import pytest

import minidl
from minidl import Tensor, nn
from minidl.errors import AutogradError


def layer() -> nn.Linear:
    made = nn.Linear(2, 2)
    with minidl.no_grad():
        made.weight.copy_(minidl.tensor([[1.0, 2.0], [3.0, 4.0]]))
        made.bias.zero_()
    return made


def lists(grads: Any) -> list[Any]:
    return [None if grad is None else grad.tolist() for grad in grads]


def ones() -> Tensor:
    return minidl.ones(1, 2, requires_grad=True)


def test_hook_sees_the_gradients_of_inputs_and_outputs() -> None:
    linear, seen, x = layer(), [], ones()
    linear.register_full_backward_hook(lambda m, i, o: seen.append((m, lists(i), lists(o))))
    linear(linear(x)).sum().backward()
    assert seen == [
        (linear, [[[4.0, 6.0]]], [[[1.0, 1.0]]]), (linear, [[[22.0, 32.0]]], [[[4.0, 6.0]]]),
    ]  # fmt: skip
    assert x.grad.tolist() == [[22.0, 32.0]]


def test_hooks_replace_gradients() -> None:
    linear, x = layer(), ones()
    linear.register_full_backward_pre_hook(lambda module, outputs: (outputs[0] * 10,))
    linear.register_full_backward_hook(lambda module, inputs, outputs: (inputs[0] * 3,))
    linear(x).sum().backward()
    assert x.grad.tolist() == [[120.0, 180.0]] and linear.bias.grad.tolist() == [10.0, 10.0]


def test_order_and_removal() -> None:
    linear, order = layer(), []

    def note(name: str) -> Any:
        return lambda *args: order.append(name)

    linear.register_full_backward_pre_hook(note("pre 1"))
    linear.register_full_backward_pre_hook(note("pre 0"), prepend=True)
    linear.register_full_backward_hook(note("1"))
    handle = linear.register_full_backward_hook(note("0"), prepend=True)
    everywhere = nn.register_module_full_backward_hook(note("all"))
    before = nn.register_module_full_backward_pre_hook(note("all before"))
    linear(ones()).sum().backward()
    assert order == ["all before", "pre 0", "pre 1", "all", "0", "1"]
    for each in (handle, everywhere, before):
        each.remove()
    order.clear()
    linear(ones()).sum().backward()
    assert order == ["pre 0", "pre 1", "1"]


def test_nested_modules() -> None:
    net, order = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)), []
    for name, module in net.named_modules():
        module.register_full_backward_hook(lambda m, i, o, name=name: order.append(name))
    net(ones()).sum().backward()
    assert order == ["2", "1", "0", ""]
    order.clear()
    net(minidl.ones(1, 2)).sum().backward()  # nothing to wait for before the net and layer 0
    assert order == ["", "2", "1", "0"]


def test_several_inputs_and_outputs() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, n: int, y: Tensor) -> Any:
            return x * 2, n, y * 3

    two, seen = Two(), []
    two.register_full_backward_hook(lambda m, i, o: seen.append((lists(i), lists(o))))
    x, y = minidl.ones(2, requires_grad=True), minidl.ones(2)
    first, n, second = two(x, 5, y)
    assert n == 5 and not second.requires_grad
    first.sum().backward()
    assert seen[0][0][:2] == [[2.0, 2.0], None] and seen[0][1] == [[1.0, 1.0], None, None]


def test_without_gradients_nothing_happens() -> None:
    linear = layer()
    linear.register_full_backward_hook(lambda m, i, o: pytest.fail("no backward"))
    with minidl.no_grad():
        assert linear(ones()).tolist() == [[3.0, 7.0]]


def test_wrong_results_of_hooks() -> None:
    linear = layer()
    with linear.register_full_backward_hook(lambda m, i, o: (i[0], i[0])):
        y = linear(ones()).sum()
    with pytest.raises(AutogradError, match="invalid number of grad_input: a tuple of 1"):
        y.backward()
    with linear.register_full_backward_pre_hook(lambda m, o: (o[0], o[0])):
        y = linear(ones()).sum()
    with pytest.raises(AutogradError, match="invalid number of grad_output"):
        y.backward()
    with linear.register_full_backward_hook(lambda m, i, o: o):
        y = linear(minidl.ones(1, 2)).sum()
    with pytest.raises(AutogradError, match="no input requires one"):
        y.backward()


def test_output_that_is_no_tensor() -> None:
    class Named(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return {"y": x * 2}

    named, x = Named(), ones()
    named.register_full_backward_hook(lambda m, i, o: pytest.fail("can't be called"))
    with pytest.warns(UserWarning, match="returned a dict"):
        output = named(x)
    output["y"].sum().backward()
    assert x.grad.tolist() == [[2.0, 2.0]]


def test_arguments_that_share_memory_keep_their_own_requires_grad(device: str) -> None:
    x = minidl.ones(3, device=device, requires_grad=True)
    seen = []

    class Three(nn.Module):
        def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
            seen.append((a.requires_grad, b.requires_grad, c.requires_grad))
            return a.sum() + b.sum() + c.sum()

    module, loss = Three(), nn.L1Loss()
    for each in module, loss:
        each.register_full_backward_hook(lambda module, inputs, outputs: None)
    module(x, x.detach(), x)
    assert seen == [(True, False, True)]
    loss(x.detach(), x).backward()
    assert x.grad is not None
