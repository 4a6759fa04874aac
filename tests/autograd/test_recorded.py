"""Gradients of gradients: ``create_graph=True``, the walk that is recorded, and users' Functions.

Each layer's are checked by the standard tests, in ``tests/operation.py``.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
from helpers import host

import minidl
from minidl import nn
from minidl.autograd import Function, grad
from minidl.autograd.function import once_differentiable
from minidl.errors import AutogradError


def leaf(*values: float, device: str = "cpu") -> minidl.Tensor:
    return minidl.tensor(values, dtype=minidl.float64, device=device, requires_grad=True)


# --- The walk -------------------------------------------------------------------------------------


def test_derivatives_of_any_order(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    result = (x**4).sum()
    for expected in ([4, 32], [12, 48], [24, 48], [24, 24]):
        (gradient,) = grad(result, x, create_graph=True)
        assert gradient.tolist() == expected
        result = gradient.sum()


def test_backward_leaves_gradients_on_the_tape_and_adds_out_of_place(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    (x**3).sum().backward(create_graph=True)
    first = x.grad
    (x**2).sum().backward(create_graph=True)
    assert first.tolist() == [3.0, 12.0]
    assert x.grad.tolist() == [5.0, 16.0]
    (second,) = grad(x.grad.sum(), x)
    assert second.tolist() == [8.0, 14.0]


def test_gradients_set_to_zero_leave_the_tape(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    (x**3).sum().backward(create_graph=True)
    minidl.optim.SGD([x], lr=0.1).zero_grad(set_to_none=False)
    assert x.grad.tolist() == [0.0, 0.0]
    assert not x.grad.requires_grad


def test_the_tape_is_kept_as_the_graph_is_created(device: str) -> None:
    x = leaf(2.0, device=device)
    y = (x * x).sum()
    grad(y, x, create_graph=True)
    grad(y, x)
    with pytest.raises(AutogradError, match="freed"):
        grad(y, x)


def test_the_gradient_of_the_output_has_a_gradient(device: str) -> None:
    x, v = leaf(1.0, 2.0, device=device), leaf(3.0, 5.0, device=device)
    (gradient,) = grad(x * x, x, v, create_graph=True)
    by_x, by_v = grad(gradient.sum(), (x, v))
    assert by_x.tolist() == [6.0, 10.0]
    assert by_v.tolist() == [2.0, 4.0]


def test_a_detached_factor_is_a_constant(device: str) -> None:
    """Both tensors have one array."""
    x = leaf(1.0, 2.0, device=device)
    for product in (x * x.detach(), x.detach() * x):
        (gradient,) = grad(product.sum(), x, create_graph=True)
        assert gradient.tolist() == [1.0, 2.0]
        assert not gradient.requires_grad


def test_an_argument_that_was_changed_in_place_afterwards(device: str) -> None:
    x = leaf(2.0, 3.0, device=device)
    y = x * 1
    y.mul_(x)  # what the product needs is copied, and keeps its place on the tape
    (gradient,) = grad((y * y).sum(), x, create_graph=True)  # x⁴
    (second,) = grad(gradient.sum(), x)
    assert second.tolist() == [48.0, 108.0]


def test_a_leaf_under_other_data(device: str) -> None:
    x = leaf(2.0, device=device)
    y = (x**3).sum()
    x.data = minidl.tensor([5.0], dtype=minidl.float64, device=device)
    (gradient,) = grad(y, x, create_graph=True)
    assert gradient.tolist() == [12.0]
    assert grad(gradient.sum(), x)[0].tolist() == [12.0]


def test_inside_of_no_grad(device: str) -> None:
    x = leaf(3.0, device=device)
    y = (x**2).sum()
    with minidl.no_grad():
        (gradient,) = grad(y, x, create_graph=True)
    assert gradient.requires_grad


def test_dtypes_meet(device: str) -> None:
    x = leaf(1.0, 2.0, device=device)
    y = (x.float() * x).sum()
    (gradient,) = grad(y, x, create_graph=True)
    (second,) = grad(gradient.sum(), x)
    assert second.dtype == minidl.float64
    assert second.tolist() == [2.0, 2.0]


def test_tensors_without_axes(device: str) -> None:
    x = minidl.tensor(0.5, dtype=minidl.float64, device=device, requires_grad=True)
    (gradient,) = grad(x.exp() * x, x, create_graph=True)
    (second,) = grad(gradient, x)
    np.testing.assert_allclose(second.item(), 2.5 * np.exp(0.5), rtol=1e-15)


# --- Users' Functions -----------------------------------------------------------------------------


def second_derivative(function: Any, device: str) -> Any:
    x = leaf(0.5, -1.0, 2.0, device=device)
    (gradient,) = grad(function(x).sum(), x, create_graph=True)
    return host(grad(gradient.sum(), x)[0])


class Cube(Function):
    """In NumPy's words: an array of its own, changed in place through views."""

    @staticmethod
    def forward(ctx: Any, x: Any, factor: float) -> Any:
        ctx.x, ctx.factor = x, factor  # not saved: an attribute is known to be the argument
        return factor * x**3

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        dx = np.zeros_like(gradient)
        dx[1:] += ctx.x[1:] ** 2
        first = dx[:1]
        np.add(first, ctx.x[:1] ** 2, out=first)
        dx *= 3 * ctx.factor
        return dx * gradient, None


def test_a_backward_in_numpy() -> None:
    found = second_derivative(lambda x: Cube.apply(x, 2.0), "cpu")
    np.testing.assert_allclose(found, 12 * np.array([0.5, -1.0, 2.0]), rtol=1e-15)


def test_numpy_functions_of_a_backward() -> None:
    class Many(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return np.sin(x)

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            (x,) = ctx.saved_tensors
            steps = np.stack([np.cos(x), np.zeros(3)])  # (2, 3)
            slope = np.concatenate([steps[:, :2], np.expand_dims(steps[:, 2], 1)], axis=1)
            slope = np.einsum("ij,j->ij", slope, np.ones(3)).sum(axis=0)
            np.add.at(slope, [0, 0], 0 * x[0])
            return np.where(np.isnan(slope), 0, gradient * slope.reshape(3, 1).T.squeeze(0))

    found = second_derivative(Many.apply, "cpu")
    np.testing.assert_allclose(found, -np.sin([0.5, -1.0, 2.0]), rtol=1e-15)


class Exponential(Function):
    """Saves neither argument nor result."""

    constant = False

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        powers = np.exp(x)
        ctx.save_for_backward(powers)
        if Exponential.constant:
            ctx.mark_non_differentiable(powers)
        return 2 * powers

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return 2 * gradient * ctx.saved_tensors[0]


def test_an_intermediate_is_refused_unless_it_is_declared(monkeypatch: Any) -> None:
    with pytest.raises(AutogradError, match="Exponential is neither an argument nor a result"):
        second_derivative(Exponential.apply, "cpu")
    monkeypatch.setattr(Exponential, "constant", True)
    x = leaf(1.0)
    (gradient,) = grad(Exponential.apply(x).sum(), x, create_graph=True)
    assert not gradient.requires_grad


def test_numbers_taken_out_of_the_tape_are_refused() -> None:
    class IntoAnArray(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            dx = np.zeros(3)
            dx[:] = 2 * ctx.saved_tensors[0] * gradient
            return dx

    class OfAFunctionWithoutGradient(IntoAnArray):
        @staticmethod
        def backward(ctx: Any, gradient: Any) -> Any:
            return np.arctan(ctx.saved_tensors[0]) * gradient

    with pytest.raises(AutogradError, match=r"np\.zeros_like\(grad\)"):
        second_derivative(IntoAnArray.apply, "cpu")
    with pytest.raises(AutogradError, match=r"numpy\.arctan"):
        second_derivative(OfAFunctionWithoutGradient.apply, "cpu")


def test_once_differentiable() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**2

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, gradient: Any) -> Any:
            assert isinstance(gradient, np.ndarray)
            return 2 * ctx.saved_tensors[0] * gradient

    x = leaf(3.0)
    y = Square.apply(x)
    (gradient,) = grad((y * 2).sum(), x, create_graph=True)
    assert gradient.tolist() == [12.0] and not gradient.requires_grad  # as in PyTorch
    (gradient,) = grad((y * y).sum(), x, create_graph=True)
    assert gradient.tolist() == [108.0]
    with pytest.raises(AutogradError, match="Square is declared once_differentiable"):
        gradient.sum().backward()


def test_silu_in_place_has_no_second_gradient() -> None:
    x = leaf(1.0, 2.0)
    (gradient,) = grad(nn.functional.silu(x * 1).sum(), x, create_graph=True)
    assert gradient.requires_grad
    with pytest.raises(AutogradError, match="inplace=True"):
        grad(nn.functional.silu(x * 1, inplace=True).sum(), x, create_graph=True)


# --- Networks -------------------------------------------------------------------------------------


def small_alexnet() -> nn.Module:
    """Every kind of layer that AlexNet has, and all pairs that are fused."""
    minidl.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=2, padding=1), nn.ReLU(), nn.LocalResponseNorm(5, 0.1, k=2.0),
        nn.MaxPool2d(3, 2), nn.Conv2d(6, 8, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 1),
        nn.Flatten(), nn.Linear(32, 10), nn.ReLU(), nn.Linear(10, 4),
    )  # fmt: skip
    return net.to(dtype=minidl.float64)


def penalty(net: nn.Module, x: minidl.Tensor) -> minidl.Tensor:
    """How far the gradient of each picture is from length 1."""
    (gradient,) = grad(net(x).sum(), x, create_graph=True)
    return ((gradient.flatten(1).norm(dim=1) - 1) ** 2).mean()


@pytest.mark.parametrize("way", ["kernel", "plain"])
def test_gradient_penalty(way: str, device: str) -> None:
    net, eps = small_alexnet().to(device), 1e-6
    x = minidl.randn(2, 3, 21, 21, dtype=minidl.float64).to(device).requires_grad_()
    directions = [minidl.randn(*p.shape, dtype=minidl.float64).to(device) for p in net.parameters()]
    with minidl.reference() if way == "plain" else nullcontext():
        penalty(net, x).backward()
        pairs = zip(net.parameters(), directions, strict=True)
        found = sum((p.grad * d).sum().item() for p, d in pairs if p.grad is not None)
        sides = []
        for step in (eps, -2 * eps):  # to one side, and from there to the other
            with minidl.no_grad():
                for parameter, direction in zip(net.parameters(), directions, strict=True):
                    parameter.add_(direction, alpha=step)
            sides.append(penalty(net, x).item())
    np.testing.assert_allclose(found, (sides[0] - sides[1]) / (2 * eps), rtol=1e-6)


def test_hessian_vector_product_is_symmetric(device: str) -> None:
    """uᵀHv = vᵀHu, which holds for the second derivatives of a loss and hardly by accident."""
    net = small_alexnet().to(device)
    x, target = minidl.randn(3, 3, 21, 21, dtype=minidl.float64), minidl.tensor([0, 3, 1])
    parameters = list(net.parameters())
    u, v = (
        [minidl.randn(*p.shape, dtype=minidl.float64).to(device) for p in parameters]
        for _ in range(2)
    )
    loss = nn.functional.cross_entropy(net(x.to(device)), target.to(device))
    gradients = grad(loss, parameters, create_graph=True)
    u_hessian, v_hessian = (grad(gradients, parameters, w, retain_graph=True) for w in (u, v))
    one, other = (
        sum((a * b).sum().item() for a, b in zip(*pair, strict=True))
        for pair in ((u_hessian, v), (v_hessian, u))
    )
    assert abs(one) > 1e-3
    np.testing.assert_allclose(one, other, rtol=1e-10)


def test_a_gradient_through_a_step_of_descent(device: str) -> None:
    """Of a loss after a step, by the weight before: ``(1 - r·f'')·f'`` there, by hand."""
    w, rate = leaf(1.5, device=device), 0.1
    (inner,) = grad((w**4).sum(), w, create_graph=True)
    moved = w - rate * inner
    (moved**4).sum().backward()
    step = 1.5 - rate * 4 * 1.5**3
    expected = 4 * step**3 * (1 - rate * 12 * 1.5**2)
    np.testing.assert_allclose(w.grad.item(), expected, rtol=1e-14)
