"""Views: they follow the history of their base, and a change through them reaches it."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl import Tensor
from minidl.errors import AutogradError, ShapeError


def leaf(*values: float, device: str) -> Tensor:
    return minidl.tensor(list(values), dtype=minidl.float64, device=device, requires_grad=True)


@pytest.mark.parametrize("way", ["item", "copy_", "view", "rows", "chunks", "diagonal", "0-d"])
def test_writing_through_views_of_a_constant(way: str, device: str) -> None:
    w = leaf(1.0, 2.0, 3.0, device=device)
    out = minidl.zeros(3, 3, dtype=minidl.float64, device=device)
    factors = minidl.arange(9, dtype=minidl.float64, device=device).reshape(3, 3) + 1
    if way == "item":
        out[0][1] = w[1]
        expected = [0.0, 2.0, 0.0]
    elif way == "copy_":
        out[0].copy_(w)
        expected = [1.0, 2.0, 3.0]
    elif way == "view":
        out.view(-1)[:3] = w
        expected = [1.0, 2.0, 3.0]
    elif way == "rows":
        for row in out:
            row.copy_(w)
        expected = [12.0, 15.0, 18.0]
    elif way == "chunks":
        for part in out.chunk(3):
            part += w
        expected = [12.0, 15.0, 18.0]
    elif way == "diagonal":
        out.t().diagonal().copy_(w)
        expected = [1.0, 5.0, 9.0]
    else:
        out[minidl.tensor(1, device=device)].copy_(w)
        expected = [4.0, 5.0, 6.0]
    (out * factors).sum().backward()
    assert w.grad.tolist() == expected


@pytest.mark.parametrize(
    ("change", "slope"),
    [
        (lambda h: h.mul_(2), 2.0),
        (lambda h: h.zero_(), 0.0),
        (lambda h: h.fill_(3), 0.0),
        (lambda h: h.normal_(), 0.0),
        (lambda h: h.uniform_(), 0.0),
        (lambda h: h.bernoulli_(), 0.0),
        (lambda h: h.floor_(), 0.0),
        (lambda h: F.relu(h, inplace=True), 1.0),
        (lambda h: h.__setitem__(1, 0.0), 0.0),
        (lambda h: h.__ifloordiv__(2), 0.0),
        (lambda h: h.__imod__(2), 1.0),
    ],
)
@pytest.mark.parametrize(
    "view",
    [
        lambda h: h[1:], lambda h: h.reshape(3, 1)[1:], lambda h: h.view(3)[1:],
        lambda h: h.expand(2, 3)[0, 1:], lambda h: h.unsqueeze(0).t()[1:],
    ],
)  # fmt: skip
def test_a_view_made_before_follows(view: Any, change: Any, slope: float, device: str) -> None:
    w = leaf(1.0, 2.0, 3.0, device=device)
    h = w * 1
    v = view(h)
    change(h)
    assert v.tolist() == view(h).tolist()
    v.sum().backward()
    assert w.grad.tolist()[:2] == [0.0, slope]


def test_augmented_assignment_of_a_view_changes_the_base(device: str) -> None:
    h = minidl.tensor([5, 6, 7], device=device)
    v = h[:2]
    for change, expected in [
        (v.__iadd__, [7, 8]), (v.__ifloordiv__, [3, 4]), (v.__imod__, [1, 0]), (v.__ixor__, [3, 2]),
    ]:  # fmt: skip
        assert change(2) is v and h.tolist() == [*expected, 7]


def test_relu_in_place_is_relu(device: str) -> None:
    x = leaf(-1.0, 0.0, -0.0, float("nan"), 2.0, device=device)
    a, b = (x * 1).relu_(), (x * 1).relu()
    np.testing.assert_array_equal(a.tolist(), b.tolist())
    a.sum().backward()
    first, x.grad = x.grad, None
    b.sum().backward()
    assert first.tolist() == x.grad.tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


def test_retained_gradients_are_those_of_the_new_value(device: str) -> None:
    w = leaf(1.0, 2.0, 3.0, device=device)
    h = w * 1
    h.retain_grad()
    v = h[1:]
    v.retain_grad()
    h.mul_(2)
    (v * 3).sum().backward()
    assert h.grad.tolist() == [0.0, 3.0, 3.0] and v.grad.tolist() == [3.0, 3.0]
    assert w.grad.tolist() == [0.0, 6.0, 6.0]


def _change_all(v: minidl.Tensor) -> None:
    v.mul_(3)


def _change_by_itself(v: minidl.Tensor) -> None:
    v *= v


def _change_a_part(v: minidl.Tensor) -> None:
    v[:1] += 1


def _overwrite(v: minidl.Tensor) -> None:
    v.copy_(v.detach() * 2)


def _assign(v: minidl.Tensor) -> None:
    v[[1]] = 5


def _change_in_a_function(v: minidl.Tensor) -> None:
    helpers.Double.apply(v)


def _relu(v: minidl.Tensor) -> None:
    F.relu(v, inplace=True)


@pytest.mark.parametrize(
    "change",
    [
        _change_all,
        _change_by_itself,
        _change_a_part,
        _overwrite,
        _assign,
        _change_in_a_function,
        _relu,
    ],
)
def test_a_views_hooks_belong_to_its_value_before_a_change(change: Any, device: str) -> None:
    x = minidl.tensor([1.0, 2.0, 3.0], requires_grad=True, device=device)
    base = x * 1
    v = base[1:]
    read = v * 10
    seen = []
    v.register_hook(lambda grad: seen.append(grad.tolist()))
    node = v.grad_fn
    change(v)
    node.register_prehook(lambda grads: seen.append("node"))
    base.sum().backward(retain_graph=True)
    assert not seen  # as in PyTorch: the change belongs to the base
    read.sum().backward()
    assert seen == [[10.0, 10.0], "node"]


def test_a_part_changed_through_another_view_retains_no_gradient(device: str) -> None:
    x = minidl.tensor([1.0, 2.0, 3.0], requires_grad=True, device=device)
    base = x * 1
    v = base.reshape(3, 1)
    v.retain_grad()
    v.transpose(0, 1)[0, 1:2] += 1
    base.sum().backward(retain_graph=True)
    assert v.grad is None
    (v * 2).sum().backward()
    assert v.grad.tolist() == [[2.0], [2.0], [2.0]]


def test_what_pytorch_refuses(device: str) -> None:
    w = leaf(1.0, 2.0, 3.0, device=device)
    h = w * 1
    with minidl.no_grad():
        quiet = h[1:]
    with pytest.raises(AutogradError, match="leaf"):
        w[1:].mul_(2)
    with pytest.raises(AutogradError, match="no_grad"):
        quiet.mul_(2)
    with pytest.raises(AutogradError, match="expand"):
        h.detach().expand(2, 3).add_(1)
    with pytest.raises(AutogradError, match="detach"):
        h[1:].detach_()
    h.mul_(2)
    with pytest.raises(AutogradError, match="no_grad"):
        quiet * 2
    with pytest.raises(ShapeError, match="reshape"):
        minidl.ones(2, 3, device=device).t().view(6)


def test_activations_can_be_viewed(device: str) -> None:
    x = minidl.randn(2, 3, 8, 8, device=device)
    y = F.max_pool2d(F.conv2d(x, minidl.randn(4, 3, 3, 3, device=device)), 2)
    flat = y.view(y.size(0), -1)
    assert flat.tolist() == y.reshape(2, -1).tolist() == y[:].view(2, -1).tolist()


def test_a_forward_that_changes_its_argument(device: str) -> None:
    w = leaf(1.0, 2.0, 3.0, device=device)
    h = w * 1
    before = h[:2]
    helpers.Double.apply(h[1:])
    assert h.tolist() == [1.0, 4.0, 6.0]
    (h + 0).sum().backward(retain_graph=True)
    assert w.grad.tolist() == [1.0, 2.0, 2.0]
    w.grad = None
    before.sum().backward()
    assert w.grad.tolist() == [1.0, 2.0, 0.0]


@pytest.mark.parametrize("size", [3, 5000])
@pytest.mark.parametrize("change", [lambda x: x.__imul__(2), lambda x: x[::-1].sort(), None])
def test_an_undeclared_change_is_noticed(change: Any, size: int) -> None:
    class Undeclared(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            if change is not None:
                change(x)
            return x.sum()

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return None

    h = minidl.arange(size, dtype=minidl.float64).requires_grad_() * 1
    y = h * h
    Undeclared.apply(h)
    if change is None:
        y.sum().backward()
        return
    with pytest.raises(AutogradError, match="changed in place"):
        y.sum().backward()


def test_a_view_that_a_forward_cuts_out_is_not_changed(device: str) -> None:
    class Tail(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x[1:]

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            raise AssertionError

    h = leaf(1.0, 2.0, device=device) * 1
    with pytest.raises(AutogradError, match="Function"):
        Tail.apply(h).mul_(2)


def test_a_view_that_no_operation_reads_follows_its_base(device: str) -> None:
    w = minidl.ones(3, requires_grad=True, device=device)
    x = w * 1
    view = x[1:]
    x.mul_(2)
    view.backward(minidl.ones(2, device=device))
    assert w.grad.tolist() == [0, 2, 2]
    constant = minidl.zeros(3, device=device)
    view = constant[1:]
    constant += w
    assert view.requires_grad and view.grad_fn.name() == "ViewBackward0"


def pieces_of_leaves() -> dict[str, minidl.Tensor]:
    """Return leaves that are views of a tensor without a gradient."""
    leaves = {
        "reshape": minidl.arange(6.0).reshape(2, 3),
        "slice": minidl.ones(3, 2)[1:],
        "from NumPy": minidl.from_numpy(np.ones((2, 3), np.float32)).t(),
    }
    return {name: leaf.requires_grad_() for name, leaf in leaves.items()}


@pytest.mark.parametrize("name", pieces_of_leaves())
@pytest.mark.parametrize(
    "change",
    [
        lambda x: x[0].zero_(), lambda x: x.__setitem__(0, 7.0), lambda x: x[:, 0].mul_(2),
        lambda x: x[0][1].fill_(3.0), lambda x: x.unbind(0)[1].add_(1),
    ],
)  # fmt: skip
def test_a_leaf_that_is_itself_a_view_is_protected(name, change) -> None:
    x = pieces_of_leaves()[name]
    before = x.tolist()
    with pytest.raises(AutogradError, match="a view of a leaf that requires a gradient"):
        change(x)
    assert x.is_leaf and x.tolist() == before
    with minidl.no_grad():
        change(x)
    (x * 3).sum().backward()
    assert x.tolist() != before and (x.grad == 3).all()


def test_a_leaf_follows_its_base() -> None:
    base, w = minidl.arange(4.0), minidl.tensor(2.0, requires_grad=True)
    x = base[1:].requires_grad_()
    base.mul_(w)
    assert not x.is_leaf
    x[0].mul_(3)  # no leaf any more: base has a gradient
    base.sum().backward()
    assert w.grad.item() == 3 + 2 + 3
