"""Small programs of hooks, modes, Functions and the tape, run with PyTorch and with minidl."""

# ruff: noqa: B023, SIM, PT, N, ARG, ANN, B018, RUF, PLW, B905
# mypy: ignore-errors

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


def err(call: Callable[[], Any]) -> Any:
    """Return what a call returns, or that it raises."""
    try:
        return call()
    except Exception as error:
        return "AttributeError" if isinstance(error, AttributeError) else "an error"


def L(T: Any, *values: float) -> Any:
    """Return a leaf of float64."""
    return T.tensor(list(values), dtype=T.float64, requires_grad=True)


def Fn(T: Any, forward: Any, backward: Any) -> Any:
    """Return a Function."""
    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("F", (T.autograd.Function,), methods)


def plain(value: Any) -> Any:
    """Return a value without Tensors."""
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, (list, tuple)):
        return tuple(plain(item) for item in value)
    if hasattr(value, "detach"):
        return "tensor", tuple(value.shape), plain(value.detach().tolist())
    return value


# --- Hooks ---------------------------------------------------------------------------------------
@program
def hook_order(T):
    x = L(T, 1.0, 2.0)
    log = []
    y = x * 2
    y.register_hook(lambda g: log.append(("y1", g.tolist())) or g * 2)
    h = y.register_hook(lambda g: log.append("never"))
    y.register_hook(lambda g: log.append(("y2", g.tolist())))
    h.remove()
    x.register_hook(lambda g: log.append(("x", g.tolist())) or g + 1)
    (y * y).sum().backward()
    return log, x.grad


@program
def hook_removes_itself(T):
    x = L(T, 1.0)
    n = [0]

    def h(g):
        n[0] += 1
        hh.remove()

    hh = x.register_hook(h)
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    return n, x.grad


@program
def hook_adds_hook(T):
    x = L(T, 1.0)
    n = []

    def h(g):
        n.append(1)
        x.register_hook(lambda g: n.append(2))

    x.register_hook(h)
    (x * 2).sum().backward()
    (x * 2).sum().backward()
    return n


@program
def hook_in_backward_runs_backward(T):
    x = L(T, 2.0)
    y = L(T, 3.0)

    def h(g):
        with T.enable_grad():
            (y * y).sum().backward()

    z = x * x
    z.register_hook(h)
    z.sum().backward()
    return x.grad, y.grad


@program
def hook_records(T):
    x = L(T, 2.0)
    s = []
    y = x * x
    y.register_hook(lambda g: s.append((T.is_grad_enabled(), g.requires_grad)))
    y.sum().backward(retain_graph=True)
    y.sum().backward(create_graph=True)
    return s


@program
def hook_create_graph_replaces(T):
    x = L(T, 2.0)
    y = x * x
    y.register_hook(lambda g: g * x)
    (g,) = T.autograd.grad(y.sum(), x, create_graph=True)
    (gg,) = T.autograd.grad(g.sum(), x)
    return g, gg


@program
def post_acc_steps(T):
    x = L(T, 1.0, 2.0)

    def h(t):
        with T.no_grad():
            t -= 0.1 * t.grad
        t.grad = None

    x.register_post_accumulate_grad_hook(h)
    for _ in range(3):
        (x * x).sum().backward()
    return x, x.grad is None


@program
def node_hooks(T):
    x = L(T, 1.0, 2.0)
    w = L(T, 3.0, 4.0)
    y = x * w
    s = []
    y.grad_fn.register_prehook(
        lambda go: s.append(("pre", [g.tolist() for g in go])) or (go[0] * 2,)
    )
    y.grad_fn.register_hook(
        lambda gi, go: (
            s.append(("post", [g.tolist() for g in gi], [g.tolist() for g in go]))
            or (gi[0], gi[1] * 10)
        )
    )
    y.sum().backward()
    return s, x.grad, w.grad


@program
def node_hook_partial(T):
    x = L(T, 1.0, 2.0)
    w = L(T, 3.0, 4.0).detach()
    y = x * w
    s = []
    y.grad_fn.register_hook(lambda gi, go: s.append([g is None for g in gi]))
    y.sum().backward()
    return s


@program
def hook_in_place(T):
    x = L(T, 1.0)
    s = []
    y = x * 1
    y.register_hook(lambda g: s.append(("a", g.item())))
    y.mul_(3)
    y.register_hook(lambda g: s.append(("b", g.item())))
    y.sum().backward()
    return s


@program
def hook_modifies_grad_in_place(T):
    x = L(T, 1.0, 2.0)
    y = x * 1
    y.register_hook(lambda g: (g.mul_(2), None)[1])
    (y * 3).sum().backward()
    return x.grad


# --- Inputs --------------------------------------------------------------------------------------
@program
def inputs_mixed(T):
    x = L(T, 1.0)
    w = L(T, 2.0)
    y = x * w
    (y * y).sum().backward(inputs=[y, w])
    return x.grad is None, w.grad, y.grad


@program
def grad_twice_root(T):
    x = L(T, 1.0, 2.0)
    y = x * x
    return T.autograd.grad([y.sum(), y.sum()], [x, x])


@program
def grad_of_root(T):
    x = L(T, 1.0, 2.0)
    y = x * x
    s = y.sum()
    return T.autograd.grad(s, [s, y, x])


@program
def grad_intermediate_frees_no_more(T):
    x = L(T, 1.0, 2.0)
    y = x.exp()
    z = y.exp().sum()
    g = T.autograd.grad(z, y)
    y.sum().backward()
    return g, x.grad


@program
def retain_false_after_true(T):
    x = L(T, 1.0, 2.0)
    z = x.exp().sum()
    z.backward(retain_graph=True)
    z.backward()
    return x.grad, err(lambda: z.backward())


@program
def modes_gen(T):
    s = []

    @T.no_grad()
    def g():
        s.append(T.is_grad_enabled())
        v = yield 1
        s.append((v, T.is_grad_enabled()))
        try:
            yield 2
        except ValueError:
            s.append(T.is_grad_enabled())
        return 5

    it = g()
    next(it)
    s.append(T.is_grad_enabled())
    it.send("v")
    try:
        it.throw(ValueError())
    except StopIteration as e:
        s.append(e.value)
    return s, T.is_grad_enabled()


@program
def modes_deco(T):
    @T.no_grad
    def f():
        return T.is_grad_enabled()

    @T.enable_grad()
    def g():
        return T.is_grad_enabled()

    @T.set_grad_enabled(False)
    def h():
        return T.is_grad_enabled(), g()

    @T.inference_mode
    def i():
        return T.is_grad_enabled(), T.is_inference_mode_enabled()

    @T.inference_mode(False)
    def j():
        return T.is_grad_enabled(), T.is_inference_mode_enabled()

    with T.no_grad():
        k = j()
    return f(), g(), h(), i(), j(), k, T.is_grad_enabled(), f.__name__


@program
def inference(T):
    x = L(T, 1.0, 2.0)
    with T.inference_mode():
        y = x * 2
        z = y + 1
        y.add_(1)
        v = x[0]
    return (
        y.requires_grad,
        y.is_inference(),
        z.is_inference(),
        v.is_inference(),
        err(lambda: y.add_(1)),
        err(lambda: y * x),
        (y.clone() * x).sum().requires_grad,
        err(lambda: y.requires_grad_()),
        err(lambda: (y + x).requires_grad),
        err(lambda: setattr(y, "requires_grad", False)),
        err(lambda: y[0].add_(1)),
        err(lambda: y.detach().is_inference()),
        err(lambda: y.sum().is_inference()),
    )


@program
def inference_leaf(T):
    w = L(T, 1.0)
    with T.inference_mode():
        w.add_(1)
        q = T.ones(2)
        m = T.nn.Linear(2, 1)
    return (
        w,
        q.is_inference(),
        m.weight.is_inference(),
        m.weight.requires_grad,
        err(lambda: m(T.ones(1, 2)).sum().backward()),
    )


@program
def setup_ctx_save(T):
    class F(T.autograd.Function):
        @staticmethod
        def forward(x, y):
            return x * y, x + y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs, output[0])

        @staticmethod
        def backward(ctx, g, h):
            x, y, o = ctx.saved_tensors
            return g * y + h, g * x + h

    x = L(T, 1.0, 2.0)
    y = L(T, 3.0, 4.0)
    a, b = F.apply(x, y)
    (a * 2 + b).sum().backward()
    return x.grad, y.grad, a.grad_fn is b.grad_fn


@program
def fn_materialize(T):
    s = []

    def fw(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2, x * 3

    def bw(ctx, a, b):
        s.append((a is None, b is None))
        return (0 if a is None else a * 2) + (0 if b is None else b * 3)

    F = Fn(T, fw, bw)
    x = L(T, 1.0)
    F.apply(x)[0].sum().backward()
    F.apply(x)[1].sum().backward()
    return s, x.grad


@program
def fn_too_many(T):
    r = []
    for b in (
        lambda ctx, g: (g, None),
        lambda ctx, g: (g, g),
        lambda ctx, g: (g, None, None),
        lambda ctx, g: None,
        lambda ctx, g: (),
        lambda ctx, g: [g],
    ):
        F = Fn(T, lambda ctx, x: x * 1, b)
        x = L(T, 1.0)
        r.append((err(lambda: F.apply(x).sum().backward()), x.grad))
    return r


@program
def fn_bad_shape(T):
    r = []
    for b in (lambda ctx, g: g.sum(), lambda ctx, g: g.reshape(1, 2), lambda ctx, g: g[:1]):
        F = Fn(T, lambda ctx, x: x * 1, b)
        x = L(T, 1.0, 2.0)
        r.append((err(lambda: F.apply(x).sum().backward()), x.grad))
    return r


@program
def fn_nondiff(T):
    def fw(ctx, x):
        i = x > 1
        m = x * 2
        ctx.mark_non_differentiable(m)
        return x * 3, m, i

    F = Fn(T, fw, lambda ctx, g, h, k: g * 3)
    x = L(T, 1.0, 2.0)
    a, m, i = F.apply(x)
    a.sum().backward()
    return a.requires_grad, m.requires_grad, i.requires_grad, m.grad_fn is None, m.is_leaf, x.grad


@program
def fn_dirty_view(T):
    def fw(ctx, x):
        x *= 2
        ctx.mark_dirty(x)
        return x

    F = Fn(T, fw, lambda ctx, g: g * 2)
    x = L(T, 1.0, 2.0, 3.0)
    y = x * 1
    F.apply(y[1:])
    y.sum().backward()
    return x.grad, y


@program
def fn_saves_nothing_twice(T):
    F = Fn(T, lambda ctx, x: x * 2, lambda ctx, g: g * 2)
    x = L(T, 1.0)
    y = F.apply(x)
    y.backward(T.ones(1, dtype=T.float64))
    return err(lambda: y.backward(T.ones(1, dtype=T.float64))), x.grad


@program
def fn_once(T):
    once = T.autograd.function.once_differentiable
    F = Fn(T, lambda ctx, x: x * x, once(lambda ctx, g: g * 2))
    x = L(T, 3.0)
    (g,) = T.autograd.grad(F.apply(x).sum(), x, create_graph=True)
    h = L(T, 1.0)
    y = F.apply(x)
    (g2,) = T.autograd.grad(y, x, h, create_graph=True)
    return g, g2.requires_grad, err(lambda: g2.sum().backward())


@program
def fn_node_attrs(T):
    def fw(ctx, x):
        ctx.save_for_backward(x)
        ctx.q = 5
        return x * 2

    F = Fn(T, fw, lambda ctx, g: g * 2)
    y = F.apply(L(T, 1.0))
    n = y.grad_fn
    r = n.q, n.saved_tensors[0].tolist(), n.needs_input_grad
    y.sum().backward()
    return r, err(lambda: n.saved_tensors), n.q, err(lambda: n.zzz)


@program
def fn_reentrant(T):
    def fw(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    def bw(ctx, g):
        (x,) = ctx.saved_tensors
        with T.enable_grad():
            z = T.tensor(x.tolist(), dtype=T.float64, requires_grad=True)
            (z * z).sum().backward()
        return g * (z.grad if isinstance(x, T.Tensor) else z.grad.numpy())

    F = Fn(T, fw, bw)
    x = L(T, 3.0)
    F.apply(x).sum().backward()
    return x.grad


# --- Tape ----------------------------------------------------------------------------------------
@program
def data_change(T):
    x = L(T, 1.0, 2.0)
    y = x.exp()
    y.data.zero_()
    y.sum().backward()
    return x.grad


@program
def module_hooks(T):
    m = T.nn.Sequential(T.nn.Linear(2, 2), T.nn.ReLU()).double()
    s = []
    for q in m.parameters():
        q.data = T.ones_like(q)
    m[0].register_full_backward_hook(
        lambda m, gi, go: s.append(
            ("L", [None if g is None else g.tolist() for g in gi], [g.tolist() for g in go])
        )
    )
    m[1].register_full_backward_pre_hook(lambda m, go: (go[0] * 2,))
    m.register_forward_hook(lambda m, a, o: o * 3)
    m.register_forward_pre_hook(lambda m, a: (a[0] + 1,))
    x = L(T, 1.0, 2.0).reshape(1, 2)
    m(x).sum().backward()
    m(x.detach()).sum().backward()
    return s, m[0].weight.grad


@program
def requires_grad_toggle(T):
    x = L(T, 1.0)
    y = x * 2
    x.requires_grad_(False)
    z = x * 2
    return y.requires_grad, z.requires_grad, err(lambda: y.sum().backward()), x.grad


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda function: function.__name__)
def test_a_program_does_the_same_as_in_pytorch(function: Callable[[Any], Any]) -> None:
    assert plain(function(minidl)) == plain(function(torch))
