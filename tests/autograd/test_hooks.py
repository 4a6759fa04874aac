"""Hooks of tensors, leaves and nodes, and how the tape can be looked at."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from typing import Any

import pytest

import minidl
from minidl import Tensor
from minidl.errors import ArgumentError, AutogradError, DTypeError, ShapeError


def leaf(*values: float, device: str) -> Tensor:
    return minidl.tensor(list(values), dtype=minidl.float64, device=device, requires_grad=True)


# --- Tensors --------------------------------------------------------------------------------------


def test_hook_replaces_the_gradient_of_a_result(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda grad: grad * 10)
    y.sum().backward()
    assert x.grad.tolist() == [30.0, 30.0]
    assert y.grad.tolist() == [10.0, 10.0]  # retain_grad sees what hooks made of it


def test_hooks_run_in_order_until_they_are_removed(device: str) -> None:
    x, seen = leaf(1.0, device=device), []
    y = x * 3
    y.register_hook(lambda grad: seen.append("first"))
    handle = y.register_hook(lambda grad: seen.append("second"))
    y.register_hook(lambda grad: seen.append("third"))
    y.backward(retain_graph=True)
    handle.remove()
    handle.remove()
    y.backward(retain_graph=True)
    with y.register_hook(lambda grad: seen.append("fourth")):
        y.backward(retain_graph=True)
    y.backward()
    assert seen == [
        "first", "second", "third", "first", "third", "first", "third", "fourth", "first", "third",
    ]  # fmt: skip


def test_hook_of_a_leaf_sees_the_whole_gradient_once(device: str) -> None:
    x, seen = leaf(1.0, 2.0, device=device), []
    x.register_hook(lambda grad: seen.append(grad.tolist()))
    x.register_hook(lambda grad: grad * 2)
    (x * 3 + x * x).sum().backward()
    assert seen == [[5.0, 7.0]] and x.grad.tolist() == [10.0, 14.0]
    (x * 3).sum().backward()
    assert seen[1:] == [[3.0, 3.0]] and x.grad.tolist() == [16.0, 20.0]


def test_leaf_is_complete_before_earlier_nodes_run(device: str) -> None:
    """An optimizer in hooks frees each gradient while the walk goes on."""
    x, seen = leaf(1.0, device=device), []
    w1, w2 = leaf(2.0, device=device), leaf(3.0, device=device)
    for name, w in (("w1", w1), ("w2", w2)):
        w.register_post_accumulate_grad_hook(
            lambda w, name=name: seen.append((name, w.grad.item()))
        )
    hidden = x * w1
    hidden.register_hook(lambda grad: seen.append(("hidden", grad.item())))
    (hidden * w2).sum().backward()
    assert seen == [("w2", 2.0), ("hidden", 3.0), ("w1", 3.0)]


def test_hooks_see_the_gradient_of_their_own_version(device: str) -> None:
    x, seen = leaf(1.0, 2.0, device=device), []
    y = x * 2
    y.register_hook(lambda grad: seen.append(("before", grad.tolist())))
    y.mul_(3)
    y.register_hook(lambda grad: seen.append(("after", grad.tolist())))
    y.sum().backward()
    assert seen == [("after", [1.0, 1.0]), ("before", [3.0, 3.0])]


def test_what_a_hook_keeps_is_not_overwritten(device: str) -> None:
    x, kept = leaf(-1.0, 2.0, device=device), []
    y = (x * 1).relu()
    y.register_hook(kept.append)
    x.register_hook(kept.append)
    (y * leaf(5.0, 6.0, device=device)).sum().backward()
    x.grad.zero_()
    assert [grad.tolist() for grad in kept] == [[5.0, 6.0], [0.0, 6.0]]


def test_hooks_record_nothing(device: str) -> None:
    x, seen = leaf(1.0, device=device), []
    y = x * 2
    y.register_hook(lambda grad: seen.append((grad * x).requires_grad))
    y.backward()
    assert seen == [False] and minidl.is_grad_enabled()
    y = x * 2
    y.register_hook(lambda grad: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        y.backward()
    assert minidl.is_grad_enabled()


def test_post_accumulate_hook_may_update_the_leaf(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)

    def step(parameter: Tensor) -> None:
        parameter -= 0.5 * parameter.grad
        parameter.grad = None

    x.register_post_accumulate_grad_hook(step)
    (x * 4).sum().backward()
    assert x.tolist() == [-1.0, 0.0] and x.grad is None


@pytest.mark.parametrize(
    ("hook", "error"),
    [
        (lambda grad: 3, DTypeError),
        (lambda grad: grad[:1], ShapeError),
        (lambda grad: grad.float(), DTypeError),
    ],
)
def test_hook_that_returns_something_else(hook: Any, error: type[Exception], device: str) -> None:
    y = leaf(1.0, 2.0, device=device) * 2
    y.register_hook(hook)
    with pytest.raises(error, match="hook '<lambda>'"):
        y.sum().backward()


def test_tensors_that_can_not_have_hooks(device: str) -> None:
    constant = minidl.ones(2, device=device)
    for register in (constant.register_hook, constant.register_post_accumulate_grad_hook):
        with pytest.raises(AutogradError, match="require"):
            register(print)
    with pytest.raises(AutogradError, match="leaf"):
        (leaf(1.0, device=device) * 2).register_post_accumulate_grad_hook(print)
    with pytest.raises(AutogradError, match="retain_grad"):
        constant.retain_grad()


def test_retains_grad(device: str) -> None:
    x = leaf(1.0, device=device)
    y = x * 2
    assert not y.retains_grad
    for tensor in (x, y):
        tensor.retain_grad()
    assert y.retains_grad and not x.retains_grad and not y.detach().retains_grad


def test_copies_have_no_hooks(device: str) -> None:
    x = leaf(1.0, device=device)
    x.register_hook(lambda grad: grad * 2)
    for copied in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        (copied * 3).backward()
        assert copied.grad.item() == 3.0


def test_hooked_leaf_dies_with_its_last_reference(device: str) -> None:
    gc.disable()
    try:
        x = leaf(1.0, device=device)
        x.register_hook(lambda grad: grad * 2)
        (x * 2).backward()
        dead = weakref.ref(x)
        del x
        assert dead() is None
    finally:
        gc.enable()


# --- Nodes ----------------------------------------------------------------------------------------


def test_hooks_of_a_node(device: str) -> None:
    x, seen = leaf(1.0, 2.0, device=device), []
    y = x * 2
    y.register_hook(lambda grad: seen.append(("tensor", grad.tolist())))
    y.retain_grad()
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))

    def after(inputs: Any, outputs: Any) -> Any:
        seen.append(("after", inputs[0].tolist(), inputs[1], outputs[0].tolist()))
        return inputs[0] * 10, None

    handle = y.grad_fn.register_hook(after)
    y.sum().backward(retain_graph=True)
    assert seen == [("tensor", [1.0, 1.0]), ("after", [4.0, 4.0], None, [2.0, 2.0])]
    assert x.grad.tolist() == [40.0, 40.0] and y.grad.tolist() == [1.0, 1.0]
    handle.remove()
    y.sum().backward()
    assert x.grad.tolist() == [44.0, 44.0]


def test_hooks_of_the_node_of_a_leaf(device: str) -> None:
    x, seen = leaf(1.0, device=device), []
    y = x * 2
    node = y.grad_fn.next_functions[0][0]
    node.register_prehook(lambda outputs: (outputs[0] * 2,))
    node.register_hook(lambda inputs, outputs: seen.append((inputs, outputs[0].item())))
    x.register_post_accumulate_grad_hook(lambda leaf: seen.append("accumulated"))
    y.backward()
    assert seen == ["accumulated", ((), 4.0)] and x.grad.item() == 4.0


def test_node_hook_with_a_wrong_number_of_gradients(device: str) -> None:
    y = leaf(1.0, device=device) * 2
    y.grad_fn.register_prehook(lambda outputs: outputs * 2)
    with pytest.raises(ArgumentError, match="returned 2 gradients; expected 1"):
        y.backward()


class Twice(minidl.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return grad * 2


def test_names_and_next_functions(device: str) -> None:
    x, constant = leaf(1.0, device=device), minidl.ones(1, device=device)
    y = constant * Twice.apply(x)
    node = y.sum().grad_fn
    assert node.name() == "SumBackward0" and repr(node) == "<SumBackward0>"
    ((multiplication, index),) = node.next_functions
    assert multiplication is y.grad_fn and index == 0
    (nothing, (twice, _)) = multiplication.next_functions
    assert nothing == (None, 0) and twice.name() == "TwiceBackward"
    ((end, _),) = twice.next_functions
    assert type(end) is minidl.autograd.AccumulateGrad and end.name() == "AccumulateGrad"
    assert end.variable is x and end.next_functions == ()
    assert (x + 1).grad_fn.next_functions[0][0] is end
    y.backward()
    assert y.grad_fn.next_functions[1][0] is twice  # the way stays after the walk


# --- Gradients of gradients -----------------------------------------------------------------------


def test_what_hooks_do_is_recorded_with_create_graph(device: str) -> None:
    x, modes = leaf(1.0, 2.0, device=device), []
    y = x * x
    y.register_hook(lambda grad: modes.append(minidl.is_grad_enabled()))
    y.register_hook(lambda grad: grad * x)
    (dx,) = minidl.autograd.grad(y.sum(), x, create_graph=True)
    assert dx.tolist() == [2.0, 8.0] and modes == [True]
    assert minidl.autograd.grad(dx.sum(), x)[0].tolist() == [4.0, 8.0]
    x.register_hook(lambda grad: grad * grad)
    (x * x).sum().backward(create_graph=True)
    assert x.grad.tolist() == [4.0, 16.0]
    assert minidl.autograd.grad(x.grad.sum(), x)[0].tolist() == [64.0, 256.0]


def test_inputs_with_create_graph(device: str) -> None:
    x, y = leaf(1.0, 2.0, device=device), leaf(3.0, 4.0, device=device)
    (x * x * y).sum().backward(create_graph=True, inputs=[x])
    assert y.grad is None
    assert minidl.autograd.grad(x.grad.sum(), y)[0].tolist() == [2.0, 4.0]


# --- Hooks of PyTorch's own tests -----------------------------------------------------------------


def test_a_leafs_hooks_run_around_the_accumulation(device: str) -> None:
    x = leaf(1.0, device=device)
    node = (x * 1).grad_fn.next_functions[0][0]
    x.register_hook(lambda grad: grad - 2)
    node.register_prehook(lambda grads: (grads[0] / 5,))
    x.register_post_accumulate_grad_hook(lambda leaf: leaf.grad.add_(0.5) and None)

    def last(_: Any, grads: Any) -> None:
        x.grad = grads[0] * 10  # grads[0] is the memory of x.grad

    node.register_hook(last)
    x.sum().backward()
    assert x.grad.tolist() == pytest.approx([3.0])


@pytest.mark.parametrize("value", [1, minidl.ones(1)])
def test_a_hook_after_accumulation_returns_none(value: Any, device: str) -> None:
    x = leaf(1.0, device=device)
    x.register_post_accumulate_grad_hook(lambda leaf: value)
    with pytest.raises(AutogradError, match="must return None"):
        x.sum().backward()


def test_backward_with_inputs_runs_the_prehooks_of_their_nodes(device: str) -> None:
    x, log = leaf(1.0, device=device), []
    y = x * 1
    y.grad_fn.register_prehook(lambda grads: log.append("node") or (grads[0] * 2,))
    y.register_hook(lambda grad: log.append("tensor") or grad * 3)
    y.sum().backward(inputs=(y,))
    assert (log, y.grad.tolist()) == (["tensor", "node"], [3.0])
    minidl.autograd.grad(y.sum(), y)
    assert log == ["tensor", "node", "tensor"]
