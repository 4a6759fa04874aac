"""Functions of the user's: what they are given, and what they may return."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import pytest

import minidl
from minidl import Tensor, nn
from minidl.autograd import Function
from minidl.autograd.function import once_differentiable
from minidl.errors import AutogradError, ShapeError


def leaf(*values: float, device: str) -> Tensor:
    return minidl.tensor(list(values), dtype=minidl.float64, device=device, requires_grad=True)


class MinMax(minidl.autograd.Function):
    """Two outputs, an argument without gradient, and an index."""

    @staticmethod
    def forward(ctx: Any, x: Any, scale: float) -> Any:
        where = x.argmax()
        ctx.save_for_backward(x)
        ctx.where, ctx.scale = where, scale
        index = where.reshape(())
        ctx.mark_non_differentiable(index)
        return x.max() * scale, x * scale, index

    @staticmethod
    def backward(ctx: Any, largest: Any, scaled: Any, index: Any) -> Any:
        dx = scaled * ctx.scale
        dx = dx + 0.0
        dx[ctx.where] += largest * ctx.scale
        return dx, None


def test_function_with_several_outputs(device: str) -> None:
    x = leaf(1.0, 5.0, 2.0, device=device)
    top, scaled, index = MinMax.apply(x, 3.0)
    assert top.requires_grad and not index.requires_grad and index.item() == 1
    top.backward(retain_graph=True)  # the missing gradient of `scaled` comes as zeros
    assert x.grad.tolist() == [0.0, 3.0, 0.0]
    x.grad = None
    (top + scaled.sum()).backward()
    assert x.grad.tolist() == [3.0, 6.0, 3.0]
    assert minidl.gradcheck(lambda x: MinMax.apply(x, 2.0)[:2], x)


def test_needs_input_grad_says_what_will_be_used(device: str) -> None:
    seen = []

    class Product(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, a: Any, b: Any, c: int) -> Any:
            seen.append(ctx.needs_input_grad)
            return a * b * c

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            seen.append(ctx.needs_input_grad)
            return (grad * 0 + 1 if ctx.needs_input_grad[0] else None), None, None

    Product.apply(leaf(1.0, device=device), minidl.ones(1, device=device), 2).backward()
    assert seen == [(True, False, False)] * 2


def test_materialize_grads_can_be_switched_off(device: str) -> None:
    class Two(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.set_materialize_grads(False)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx: Any, a: Any, b: Any) -> Any:
            assert b is None
            return a

    Two.apply(leaf(1.0, device=device))[0].backward()


def test_arrays_reach_forward_and_backward(device: str) -> None:
    kind = type(minidl.zeros(1, device=device).array)

    class Checks(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, text: str, items: list[int]) -> Any:
            assert type(x) is kind and text == "t" and items == [1]
            ctx.save_for_backward(x, None)
            return x + 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            x, nothing = ctx.saved_tensors
            assert type(grad) is type(x) is kind and nothing is None
            return grad, None, None

    Checks.apply(leaf(1.0, device=device), "t", [1]).backward()


@pytest.mark.parametrize(
    ("result", "match"),
    [
        ((np.ones(2), np.ones(2)), "returned 2 gradients"),
        (np.ones(3), r"shape \(3,\) for argument 0, whose shape is \(2,\)"),
        (1.0, "expected an array"),
        (minidl.ones(2), "expected an array"),
    ],
)
def test_wrong_results_of_backward(result: Any, match: str, device: str) -> None:
    wrong = result
    if device != "cpu" and isinstance(result, np.ndarray):
        wrong = minidl.tensor(result, device=device).array

    class Wrong(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return wrong

    with pytest.raises((AutogradError, ShapeError), match=match):
        Wrong.apply(leaf(1.0, 2.0, device=device)).sum().backward()


def test_forward_that_returns_its_argument(device: str) -> None:
    class Same(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return -grad

    x = leaf(1.0, 2.0, device=device)
    y = Same.apply(x * 1)
    w = Same.apply(minidl.ones(2, dtype=minidl.float64, device=device))
    z = (y * w).sum()
    z.backward(retain_graph=True)
    assert x.grad.tolist() == [-1.0, -1.0]
    w.add_(1)
    with pytest.raises(AutogradError, match="changed in place"):
        z.backward()

    h = x * 1
    y = Same.apply(h)
    with pytest.raises(AutogradError, match="made inside a Function"):
        y.mul_(2)
    h.mul_(3)
    with pytest.raises(AutogradError, match="made inside a Function.*base was changed"):
        y.sum()


def test_a_changed_argument_that_is_not_returned(device: str) -> None:
    class Dirty(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            x *= 2
            ctx.mark_dirty(x)
            return x + 1

    with pytest.raises(AutogradError, match="Dirty: an argument .* mark_dirty is not returned"):
        Dirty.apply(leaf(1.0, 2.0, device=device) * 1)


def test_function_that_changes_its_argument(device: str) -> None:
    x = leaf(1.0, 0.0, device=device)
    y = x * 3
    before = y.version[0]
    z = helpers.Double.apply(y)
    assert z is y and z.version[0] == before + 1 and z.tolist() == [6.0, 0.0]
    z.sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]


def test_abstract_methods_say_what_is_missing(device: str) -> None:
    with pytest.raises(NotImplementedError, match="forward"):
        minidl.autograd.Function.apply(leaf(1.0, device=device))


def test_backward_inside_a_backward(device: str) -> None:
    """A Function may differentiate something of its own on the way back."""

    class Inner(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            inner = minidl.tensor(x, requires_grad=True, device=device)
            (slope,) = minidl.autograd.grad((inner**3).sum(), inner)
            return grad * slope.array

    assert minidl.gradcheck(Inner.apply, leaf(1.0, 2.0, device=device))


# --- A forward without ctx ------------------------------------------------------------------------


class Scale(minidl.autograd.Function):
    """Has its ``setup_context`` apart."""

    @staticmethod
    def forward(x: Any, factor: float = 2.0) -> Any:
        return x * factor, x > 1

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, ctx.factor = inputs
        result, mask = output
        ctx.save_for_backward(x, result)
        ctx.mark_non_differentiable(mask)

    @staticmethod
    def backward(ctx: Any, grad: Any, of_mask: Any) -> Any:
        x, result = ctx.saved_tensors
        assert (result == x * ctx.factor).all() and ctx.needs_input_grad == (True, False)
        return grad * ctx.factor, None


def test_setup_context(device: str) -> None:
    x = leaf(1.0, 3.0, device=device)
    y, mask = Scale.apply(x, 3.0)
    assert y.grad_fn.name() == "ScaleBackward" and mask.tolist() == [False, True]
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    for y, _ in (Scale.apply(x), Scale.apply(x, factor=2.0)):
        x.grad = None
        y.sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]


def test_setup_context_of_a_subclass(device: str) -> None:
    class Doubled(Scale):
        @staticmethod
        def backward(ctx: Any, grad: Any, of_mask: Any) -> Any:
            return 2 * grad * ctx.factor, None

    x = leaf(1.0, 3.0, device=device)
    Doubled.apply(x)[0].sum().backward()
    assert x.grad.tolist() == [4.0, 4.0]


def test_backward_may_return_more_nones(device: str) -> None:
    class More(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * 2, None, None

    x = leaf(1.0, device=device)
    More.apply(x).backward()
    assert x.grad.item() == 2.0


def test_once_differentiable(device: str) -> None:
    """Its gradients are constants, or refuse to be differentiated if the one it gets depends."""

    class Square(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * grad

    x = leaf(1.0, 2.0, device=device)
    (dx,) = minidl.autograd.grad(Square.apply(x).sum(), x, create_graph=True)
    assert dx.tolist() == [2.0, 4.0] and not dx.requires_grad
    y = Square.apply(x)
    (dx,) = minidl.autograd.grad((y * y).sum(), x, create_graph=True)
    with pytest.raises(AutogradError, match="once_differentiable"):
        dx.sum().backward()


LAYERS = {
    "linear": (lambda: nn.Linear(3, 2), (4, 3)),
    "linear, relu": (lambda: nn.Sequential(nn.Linear(3, 2), nn.ReLU()), (4, 3)),
    "conv": (lambda: nn.Conv2d(3, 2, 3), (2, 3, 5, 5)),
    "conv, relu": (lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()), (2, 3, 5, 5)),
    "transposed conv": (lambda: nn.ConvTranspose2d(3, 2, 3), (2, 3, 5, 5)),
    "unshared conv": (lambda: nn.LocallyConnected2d(3, 2, 5, 3), (2, 3, 5, 5)),
    "batch norm": (lambda: nn.BatchNorm2d(3), (2, 3, 5, 5)),
    "group norm": (lambda: nn.GroupNorm(3, 3), (2, 3, 5, 5)),
    "layer norm": (lambda: nn.LayerNorm(5), (2, 3, 5, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_changed_weight_is_refused_only_where_a_gradient_needs_it(name: str, device: str) -> None:
    make, shape = LAYERS[name]
    layer, x = make().to(device), minidl.randn(*shape).to(device)
    weight = layer.weight if hasattr(layer, "weight") else layer[0].weight
    layer(x).sum().backward()
    expected, weight.grad = weight.grad.cpu().numpy(), None

    out = layer(x).sum()
    with minidl.no_grad():
        weight.mul_(2)
    out.backward()  # dL/dw needs x alone
    assert (weight.grad.cpu().numpy() == expected).all()

    out = layer(x.requires_grad_()).sum()
    with minidl.no_grad():
        weight.mul_(2)
    with pytest.raises(AutogradError, match="changed in place"):
        out.backward()


def test_a_changed_input_is_refused_only_where_a_gradient_needs_it(device: str) -> None:
    x, weight = minidl.randn(4, 3).to(device), minidl.randn(3, 2, requires_grad=True).to(device)
    for read in (False, True):
        matrix = weight.detach().requires_grad_(read)
        y = x.clone().requires_grad_()
        z = y * 1
        out = (z @ matrix).sum()
        z.zero_()
        if read:
            with pytest.raises(AutogradError, match="changed in place"):
                out.backward()
        else:
            out.backward()
            assert (y.grad == matrix.sum(1).expand(4, 3)).all()


# --- Results of all kinds -------------------------------------------------------------------------


class Mixed(minidl.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Any, scale: float) -> Any:
        ctx.scale = scale
        ctx.save_for_backward(x, None)
        return None, x * scale, "text", 3, x + 1, [x]

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        ctx.seen.append([grad is None for grad in grads])
        return grads[1] * ctx.scale + grads[4], None


@pytest.mark.parametrize("create_graph", [False, True])
def test_results_that_are_no_arrays_stay_as_they_are(create_graph: bool, device: str) -> None:
    x = minidl.ones(3, device=device, requires_grad=True)
    nothing, scaled, text, number, _, items = Mixed.apply(x, 2.0)
    assert (nothing, text, number, type(items)) == (None, "text", 3, list)
    scaled.grad_fn.context.seen = seen = []
    scaled.sum().backward(create_graph=create_graph)
    assert x.grad.tolist() == [2.0, 2.0, 2.0]
    assert seen == [[True, False, True, True, False, True]]  # zeros for the unused array


def test_the_node_shows_what_its_context_holds(device: str) -> None:
    x = minidl.ones(3, device=device, requires_grad=True)
    node = Mixed.apply(x, 2.0)[1].grad_fn
    assert node.scale == 2.0
    saved, nothing = node.saved_tensors
    assert isinstance(saved, Tensor)
    assert saved.tolist() == [1.0, 1.0, 1.0]
    assert nothing is None
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        (x * 2).grad_fn.other  # noqa: B018
    node.free()
    assert node.scale == 2.0
    with pytest.raises(AutogradError, match="were freed"):
        node.saved_tensors  # noqa: B018


def test_an_array_returned_twice_is_one_tensor(device: str) -> None:
    class Twice(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = x * 2
            return y, y

        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            return first * 2 + second * 2

    x = minidl.ones(3, device=device, requires_grad=True)
    first, second = Twice.apply(x)
    assert first is second
    (first + second).sum().backward()
    assert x.grad.tolist() == [4.0, 4.0, 4.0]


def test_two_arguments_with_one_memory_keep_their_own_marks(device: str) -> None:
    class Pass(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            ctx.mark_non_differentiable(y)
            return x, y

        @staticmethod
        def backward(ctx: Any, first: Any, second: Any) -> Any:
            return first, None

    x = minidl.ones(3, device=device, requires_grad=True)
    first, second = Pass.apply(x, x.detach())
    assert (first.requires_grad, second.requires_grad) == (True, False)


def test_a_returned_tensor_and_a_called_function_are_explained() -> None:
    class Wrong(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return Tensor(x)

    with pytest.raises(AutogradError, match="must return arrays"):
        Wrong.apply(minidl.ones(3))
    with pytest.raises(AutogradError, match=r"use Wrong.apply"):
        Wrong()(minidl.ones(3))


# --- A second walk, and gradients of other shapes -------------------------------------------------


def test_methods_of_tensors_are_explained() -> None:
    class Positive(Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.clamp(min=0)

    with pytest.raises(AttributeError) as caught:
        Positive.apply(minidl.ones(2))
    assert "get arrays, not Tensors" in caught.value.__notes__[0]


def test_a_function_that_saved_nothing_can_be_walked_again(device: str) -> None:
    class Attribute(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.factor = 3.0
            return x * 3.0

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * ctx.factor

    x = minidl.ones(2, device=device, requires_grad=True)
    y = Attribute.apply(x.view(1, 2) + x).sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [12.0, 12.0]
    z = y.exp()
    z.backward()
    with pytest.raises(AutogradError, match="retain_graph"):
        z.backward()


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_of_a_broadcast_argument_is_summed(create_graph: bool, device: str) -> None:
    class Add(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, y: Any) -> Any:
            return x + y

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad, grad

    x = minidl.ones(3, 2, device=device, requires_grad=True)
    for shape in (2,), (3, 1), (1, 1), ():
        y = minidl.ones(shape, device=device, requires_grad=True)
        out = Add.apply(x, y)
        (out * out).sum().backward(create_graph=create_graph)
        assert (y.grad == 24.0 / y.numel()).all()
        assert y.grad.shape == shape


def test_a_gradient_that_can_not_be_summed_is_refused(device: str) -> None:
    class First(minidl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad[:1]

    with pytest.raises(ShapeError, match=r"shape \(1,\) for argument 0"):
        First.apply(minidl.ones(2, device=device, requires_grad=True)).sum().backward()
