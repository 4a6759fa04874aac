"""Changes in place: what the tape makes of them, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

import minidl
from minidl import Tensor, nn
from minidl.errors import AutogradError, DTypeError, ShapeError


def leaf(*values: float, device: str) -> Tensor:
    return minidl.tensor(list(values), dtype=minidl.float64, device=device, requires_grad=True)


def test_change_of_a_saved_argument_names_it(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    w = minidl.ones(2, dtype=minidl.float64, device=device)
    w.name = "scale"
    y = (x * w).sum()
    w.add_(1)
    with pytest.raises(AutogradError, match=r"Mul.*'scale' of shape \(2,\).*changed in place"):
        y.backward()


def test_change_of_a_saved_result(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    y = x.exp()
    z = y.sum()
    y.mul_(2)
    with pytest.raises(AutogradError, match=r"Exp.*its own result"):
        z.backward()


def test_change_through_a_view_and_through_the_base_is_seen(device: str) -> None:
    for change in ("view", "base", "detached", "item"):
        x = leaf(1.0, 2.0, 3.0, device=device)
        w = minidl.ones(3, dtype=minidl.float64, device=device)
        part = w[:2]
        y = (x[:2] * part).sum() + (x * w).sum()
        target = {"view": part, "base": w, "detached": w.detach(), "item": w[0]}[change]
        target.fill_(5)
        with pytest.raises(AutogradError, match="changed in place"):
            y.backward()


def test_change_of_something_that_is_not_needed(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    y = x + 1
    y.mul_(3)  # Add saves nothing
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_leaf_is_protected_while_recording(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    x.name = "bias"
    with pytest.raises(AutogradError, match=r"'bias'.*leaf"):
        x.add_(1)
    with pytest.raises(AutogradError, match="leaf"):
        x[0] = 5.0
    with pytest.raises(AutogradError, match="leaf"):
        x += 1
    with minidl.no_grad():
        x.add_(1)
        x[0] = 5.0
        x -= 1
    assert x.tolist() == [4.0, 2.0] and x.is_leaf and x.requires_grad


def test_in_place_operations_are_on_the_tape(device: str) -> None:
    x = leaf(1.0, 2.0, 3.0, device=device)

    def compute(x: Tensor) -> Tensor:
        y = x * 2
        y.add_(x)
        y.mul_(3).sub_(1).div_(2)
        y[1] = x[0] * 5
        y[2:] += x[:1]
        y.clamp_(min=0.5)
        return y

    assert minidl.gradcheck(compute, x)
    assert compute(x).tolist() == [4.0, 5.0, 14.0]


def test_assignment_cuts_the_gradient_of_what_it_overwrites(device: str) -> None:
    x, v = leaf(1.0, 2.0, 3.0, device=device), leaf(7.0, device=device)
    y = x * 2
    y[1:] = v
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 0.0] and v.grad.tolist() == [2.0]


def test_assignment_of_a_tracked_value_into_a_plain_tensor(device: str) -> None:
    v = leaf(7.0, 8.0, device=device)
    y = minidl.zeros(3, dtype=minidl.float64, device=device)
    y[:2] = v * 3
    (y * y).sum().backward()
    assert v.grad.tolist() == [2 * 21 * 3.0, 2 * 24 * 3.0]


def test_integers_do_not_take_floats_in_place(device: str) -> None:
    x = minidl.arange(3, device=device)
    with pytest.raises(DTypeError, match="int64"):
        x += 0.5
    with pytest.raises(ShapeError, match="in place"):
        x += minidl.arange(6, device=device).reshape(2, 3)
    assert x.tolist() == [0, 1, 2]


def test_optimizer_step_between_forward_and_backward_is_refused(device: str) -> None:
    layer = nn.Linear(3, 2).to(device)
    out = layer(layer(minidl.ones(1, 3, device=device)) @ minidl.ones(2, 3, device=device))
    with minidl.no_grad():
        layer.weight.mul_(0.9)
    with pytest.raises(AutogradError, match="weight"):
        out.sum().backward()


@pytest.mark.parametrize(
    ("read", "expected"),
    [
        (lambda w, i, m: w[i], [1, 1, 0]),
        (lambda w, i, m: w[m], [1, 0, 0]),
        (lambda w, i, m: w.gather(0, i), [1, 1, 0]),
        (lambda w, i, m: w.index_select(0, i), [1, 1, 0]),
        (lambda w, i, m: minidl.take_along_dim(w, i, 0), [1, 1, 0]),
        (lambda w, i, m: minidl.zeros(3).index_add(0, i, w[:2])[:1], [1, 0, 0]),
        (lambda w, i, m: minidl.zeros(3).scatter(0, i, w[:2])[1:], [0, 1, 0]),
        (lambda w, i, m: minidl.zeros(3).scatter_add(0, i, w[:2])[1:], [0, 1, 0]),
        (lambda w, i, m: minidl.zeros(3).index_put((i,), w[:2])[1:], [0, 1, 0]),
        (lambda w, i, m: w.index_fill(0, i, 0.0), [0, 0, 1]),
    ],
)
def test_an_index_is_changed_after_it_was_used(read: Any, expected: list[float]) -> None:
    w = minidl.tensor([3.0, 1.0, 2.0], requires_grad=True)
    index, mask = minidl.tensor([0, 1]), minidl.tensor([True, False, False])
    y = read(w, index, mask)
    index.fill_(2)
    mask.fill_(True)
    y.sum().backward()
    assert w.grad.tolist() == expected


def test_an_index_is_changed_after_a_write() -> None:
    w = minidl.ones(3, requires_grad=True)
    index, mask = minidl.tensor([0]), minidl.tensor([False, True, False])
    h = w * 2
    h[index], h[mask] = 0.0, 0.0
    index.fill_(2)
    mask.fill_(True)
    h.sum().backward()
    assert w.grad.tolist() == [0.0, 0.0, 2.0]


@pytest.mark.parametrize("name", ["max", "min", "sort", "topk", "median"])
def test_positions_that_were_returned_are_changed(name: str) -> None:
    w = minidl.tensor([3.0, 1.0, 2.0], requires_grad=True)
    values, positions = w.topk(1) if name == "topk" else getattr(w, name)(0)
    first = positions.reshape(-1)[0].item()
    positions.fill_((first + 1) % 3)
    values.reshape(-1)[0].backward()
    assert w.grad.tolist() == [float(k == first) for k in range(3)]


@pytest.mark.parametrize(
    "reduce",
    [
        lambda x: x.amin(0),
        lambda x: x.amax((0, 1)),
        lambda x: x.max(),
        lambda x: x.norm(float("inf"), dim=1),
        lambda x: x.logsumexp(1),
        lambda x: x.std(1),
        lambda x: x.norm(dim=0),
    ],
)
def test_a_reduction_without_its_axes_is_changed(reduce: Any, device: str) -> None:
    y = reduce(minidl.tensor([[1.0, 2.0], [4.0, 3.0]], device=device, requires_grad=True))
    z = y.sum()
    y.mul_(2)
    with pytest.raises(AutogradError, match="needs its own result"):
        z.backward()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda h: h.relu(), [2.0]),
        (lambda h: h.view(1, 1).mul_(3), [6.0]),
        (lambda h: h.unsqueeze_(0).mul_(3), [6.0]),
        (lambda h: h.dot(minidl.tensor([1.0], device=h.device)).mul_(3), [6.0]),
        (lambda h: h.median(0)[0].add_(1), [2.0]),
        (lambda h: (h * 1).t_().mul_(2), [4.0]),
    ],
)
def test_gradients_of_one_element_may_be_broadcast(
    change: Any, expected: list[float], device: str
) -> None:
    x = minidl.tensor([1.0], device=device, requires_grad=True)
    change(x * 2).sum().backward()  # the gradient that sum() gives can't be written to
    assert x.grad.tolist() == expected


@pytest.mark.parametrize("change", ["unsqueeze_", "squeeze_", "t_"])
def test_another_shape_outside_the_tape_keeps_the_history(change: str, device: str) -> None:
    x = minidl.tensor([[1.0], [2.0]], device=device, requires_grad=True)
    h = x * 2
    with minidl.no_grad():
        getattr(h, change)(*([0] if change == "unsqueeze_" else []))
    (h * h).sum().backward()
    assert x.grad.tolist() == [[8], [16]]


def test_a_tensor_of_another_shape_is_detached_in_place(device: str) -> None:
    x = minidl.tensor([[1.0, 2.0]], device=device, requires_grad=True)
    h = (x * 2).t_().squeeze_()
    h.detach_()
    assert not h.requires_grad and h.is_leaf
    h.add_(1)
    assert h.tolist() == [3, 5]
    with pytest.raises(AutogradError, match="a view can't be detached"):
        (x * 2)[0].squeeze_().detach_()
