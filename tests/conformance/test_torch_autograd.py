"""Hooks, partial walks and modes do what PyTorch's do: small programs, run with both libraries.

A program returns lists of Python values. Where PyTorch raises an error, minidl must raise one of
the same class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import minidl

torch = pytest.importorskip("torch")

PROGRAMS: list[Callable[[Any], Any]] = []


def program(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    PROGRAMS.append(function)
    return function


def outcome(function: Callable[[Any], Any], library: Any) -> Any:
    try:
        return function(library)
    except (RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        kinds = (RuntimeError, TypeError, ValueError, ZeroDivisionError)
        return [kind for kind in kinds if isinstance(error, kind)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_same_outcome(function: Callable[[Any], Any]) -> None:
    expected = outcome(function, torch)
    found = outcome(function, minidl)
    if isinstance(expected, list) and expected and isinstance(expected[0], type):
        assert isinstance(found, list) and set(expected) <= set(found)
    else:
        assert found == expected


def leaf(T: Any, *values: float) -> Any:
    return T.tensor(values or (1.0, 2.0), requires_grad=True)


def lists(tensors: Any) -> list[Any]:
    return [None if tensor is None else tensor.tolist() for tensor in tensors]


# --- Hooks of tensors and nodes -------------------------------------------------------------------


@program
def order_of_hooks(T: Any) -> Any:
    x, seen = leaf(T), []
    y = x * 2
    y.register_hook(lambda grad: seen.append("y1"))
    handle = y.register_hook(lambda grad: seen.append("removed"))
    y.register_hook(lambda grad: seen.append("y2"))
    handle.remove()
    x.register_hook(lambda grad: seen.append("x"))
    x.register_post_accumulate_grad_hook(lambda t: seen.append((t is x, t.grad.tolist())))
    z = y * y
    z.register_hook(lambda grad: seen.append("z"))
    z.sum().backward()
    return seen


@program
def replaced_and_retained(T: Any) -> Any:
    x = leaf(T)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda grad: grad * 10)
    x.register_hook(lambda grad: grad + 1)
    (y * y + x).sum().backward()
    return lists([x.grad, y.grad]), y.retains_grad, x.retains_grad


@program
def hooks_and_changes_in_place(T: Any) -> Any:
    x, seen = leaf(T), []
    y = x * 2
    y.register_hook(lambda grad: seen.append(("before", grad.tolist())))
    y.mul_(3)
    y.register_hook(lambda grad: seen.append(("after", grad.tolist())))
    y.sum().backward()
    return seen


@program
def hooks_of_nodes(T: Any) -> Any:
    x, seen = leaf(T), []
    y = x * 2
    y.grad_fn.register_prehook(lambda outputs: (outputs[0] * 2,))
    y.register_hook(lambda grad: seen.append(grad.tolist()))
    y.retain_grad()

    def after(inputs: Any, outputs: Any) -> Any:
        seen.append((lists(inputs)[:1], lists(outputs)))
        return (inputs[0] * 10, *inputs[1:])

    y.grad_fn.register_hook(after)
    y.sum().backward()
    return seen, lists([x.grad, y.grad])


@program
def hooks_of_the_node_of_a_leaf(T: Any) -> Any:
    x, seen = leaf(T), []
    y = x * 2
    node = y.grad_fn.next_functions[0][0]
    node.register_prehook(lambda outputs: (outputs[0] * 2,))
    node.register_hook(lambda inputs, outputs: seen.append((inputs, lists(outputs))))
    x.register_post_accumulate_grad_hook(lambda t: seen.append("accumulated"))
    y.sum().backward()
    return seen, x.grad.tolist(), node.variable is x, node is (x + 1).grad_fn.next_functions[0][0]


@program
def hooks_and_grad(T: Any) -> Any:
    x, seen = leaf(T), []
    x.register_hook(lambda grad: grad * 10)
    x.register_post_accumulate_grad_hook(lambda t: seen.append("never"))
    y = x * 3
    y.register_hook(lambda grad: grad * 5)
    return lists(T.autograd.grad(y.sum(), x, retain_graph=True)), lists(T.autograd.grad(y.sum(), y))


@program
def hook_of_another_shape(T: Any) -> Any:
    y = leaf(T) * 2
    y.register_hook(lambda grad: grad[:1])
    y.sum().backward()


@program
def hook_of_another_type(T: Any) -> Any:
    y = leaf(T) * 2
    y.register_hook(lambda grad: 3)
    y.sum().backward()


@program
def hook_that_raises(T: Any) -> Any:
    y = leaf(T) * 2
    y.register_hook(lambda grad: 1 / 0)
    y.sum().backward()


@program
def hook_without_gradient(T: Any) -> Any:
    T.ones(2).register_hook(print)


@program
def accumulate_hook_of_a_result(T: Any) -> Any:
    (leaf(T) * 2).register_post_accumulate_grad_hook(print)


@program
def hooks_with_create_graph(T: Any) -> Any:
    x = leaf(T)
    y = x * x
    y.register_hook(lambda grad: grad * x)
    (dx,) = T.autograd.grad(y.sum(), x, create_graph=True)
    return dx.tolist(), lists(T.autograd.grad(dx.sum(), x))


@program
def optimizer_in_hooks(T: Any) -> Any:
    x, y = leaf(T), leaf(T, 3.0, 4.0)

    def step(parameter: Any) -> None:
        parameter -= 0.5 * parameter.grad
        parameter.grad = None

    for parameter in (x, y):
        parameter.register_post_accumulate_grad_hook(step)
    for _ in range(3):
        (x * y).sum().backward()
    return lists([x, y, x.grad])


# --- Walks for some inputs ------------------------------------------------------------------------


@program
def backward_into_inputs(T: Any) -> Any:
    x, y = leaf(T), leaf(T, 3.0, 4.0)
    h = x * y
    z = (h * h + y).sum()
    z.backward(inputs=[h, y], retain_graph=True)
    first = lists([x.grad, y.grad, h.grad])
    z.backward(inputs=[x, x])
    return first, lists([x.grad, y.grad, h.grad])


@program
def no_inputs(T: Any) -> Any:
    leaf(T).sum().backward(inputs=[])


@program
def input_without_gradient(T: Any) -> Any:
    leaf(T).sum().backward(inputs=[T.ones(1)])


@program
def grad_frees_what_it_passed(T: Any) -> Any:
    x = leaf(T)
    a, y = x * x, x * 3
    z = y * y + a
    first = lists(T.autograd.grad(z.sum(), y))
    return first, lists(T.autograd.grad((a + y).sum(), x))


@program
def grad_through_what_was_freed(T: Any) -> Any:
    x = leaf(T)
    y = x.exp()
    y.sum().backward()
    T.autograd.grad((y * y).sum(), x)


@program
def grad_up_to_what_was_freed(T: Any) -> Any:
    x = leaf(T)
    y = x * x
    y.sum().backward()
    return lists(T.autograd.grad((y * y).sum(), y))


@program
def grad_of_many(T: Any) -> Any:
    x, unused = leaf(T), leaf(T)
    y, z = x * 3, x * x
    return (
        lists(T.autograd.grad([y.sum(), z.sum()], [x, x, y], retain_graph=True)),
        lists(T.autograd.grad(z.sum(), [x, unused], allow_unused=True, retain_graph=True)),
        lists(T.autograd.grad(z.sum(), [x, unused], materialize_grads=True)),
        lists(T.autograd.grad(y, y, T.ones(2))),
    )


@program
def grad_of_what_was_not_used(T: Any) -> Any:
    T.autograd.grad(leaf(T).sum(), leaf(T))


@program
def zeros_that_are_not_allowed(T: Any) -> Any:
    x = leaf(T)
    T.autograd.grad(x.sum(), [x], allow_unused=False, materialize_grads=True)


# --- Modes ----------------------------------------------------------------------------------------


@program
def inference_mode(T: Any) -> Any:
    x = leaf(T)
    with T.inference_mode():
        y, made, detached = x * 2, T.ones(2), x.detach()
        inside = T.is_inference_mode_enabled(), T.is_grad_enabled()
        with T.enable_grad():
            recorded = (x * 2).requires_grad
        with T.inference_mode(False):
            left = (x * 2).requires_grad
    (x + y).sum().backward()
    flags = [t.is_inference() for t in (x, y, made, detached, y[0], y * 2, y.clone())]
    return inside, recorded, left, flags, x.grad.tolist()


@program
def inference_tensor_that_is_saved(T: Any) -> Any:
    with T.inference_mode():
        y = T.ones(2)
    return leaf(T) * y


@program
def inference_tensor_that_is_changed(T: Any) -> Any:
    with T.inference_mode():
        y = T.ones(2)
    with T.no_grad():
        y.add_(1)


@program
def inference_tensor_that_requires_grad(T: Any) -> Any:
    with T.inference_mode():
        y = T.ones(2)
    y.requires_grad_()


@program
def decorated_generator(T: Any) -> Any:
    seen = []

    @T.no_grad
    def numbers() -> Any:
        try:
            sent = yield T.is_grad_enabled()
            with T.enable_grad():
                yield sent, T.is_grad_enabled()
            yield T.is_grad_enabled()
        except ValueError:
            yield "caught", T.is_grad_enabled()
        finally:
            seen.append(T.is_grad_enabled())

    generator = numbers()
    seen += [next(generator), T.is_grad_enabled(), generator.send(5), next(generator)]
    seen += [T.is_grad_enabled(), generator.throw(ValueError())]
    generator.close()
    return seen


@program
def decorated_functions(T: Any) -> Any:
    @T.set_grad_enabled(False)
    def off() -> Any:
        return T.is_grad_enabled()

    @T.inference_mode
    def infer() -> Any:
        return T.ones(1).is_inference()

    class Model:
        @T.no_grad()
        def forward(self) -> Any:
            return T.is_grad_enabled()

    return T.is_grad_enabled(), off(), infer(), Model().forward(), T.is_grad_enabled()


@program
def anomaly(T: Any) -> Any:
    with T.autograd.detect_anomaly():
        (leaf(T, 0.0, 1.0).sqrt() * 0).sum().backward()


# --- Functions and modules ------------------------------------------------------------------------


@program
def setup_context(T: Any) -> Any:
    class Cube(T.autograd.Function):  # type: ignore[misc,name-defined]
        @staticmethod
        def forward(x: Any, factor: int = 2) -> Any:
            return x * x * x * factor

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(inputs[0])
            ctx.factor = inputs[1]

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            (x,) = ctx.saved_tensors
            return grad * 3 * x * x * ctx.factor, None

    x = leaf(T)
    (dx,) = T.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
    return dx.tolist(), lists(T.autograd.grad(dx.sum(), x)), Cube.apply(x, 3).grad_fn.name()


@program
def backward_hooks_of_modules(T: Any) -> Any:
    net = T.nn.Sequential(T.nn.Linear(2, 2), T.nn.ReLU(), T.nn.Linear(2, 1))
    with T.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.5)
    seen = []
    for name, module in net.named_modules():
        module.register_full_backward_pre_hook(
            lambda m, outputs, name=name: seen.append((name, lists(outputs)))
        )
        module.register_full_backward_hook(
            lambda m, inputs, outputs, name=name: seen.append((name, lists(inputs)))
        )
    net[1].register_full_backward_hook(lambda m, inputs, outputs: (inputs[0] * 2,))
    x = T.ones(1, 2, requires_grad=True)
    net(x).sum().backward()
    net(T.ones(1, 2)).sum().backward()
    return seen, x.grad.tolist(), lists(p.grad for p in net.parameters())


@program
def backward_hook_of_the_wrong_length(T: Any) -> Any:
    layer = T.nn.Linear(2, 2)
    layer.register_full_backward_hook(lambda m, inputs, outputs: (inputs[0], inputs[0]))
    layer(T.ones(1, 2, requires_grad=True)).sum().backward()
