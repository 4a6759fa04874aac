"""Wrong backwards of many kinds are caught, right ones pass, and kinks are named as such."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import helpers
import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.autograd import Function, gradcheck
from minidl.errors import GradcheckError
from minidl.nn import functional as F

Make = Callable[..., Any]


def function(forward: Make, backward: Make) -> Any:
    """A differentiable operation of ``forward(ctx, *arrays)`` and ``backward(ctx, *grads)``."""
    made = type("Planted", (Function,), {
        "forward": staticmethod(forward), "backward": staticmethod(backward)
    })  # fmt: skip
    return made.apply


def saving(compute: Make) -> Make:
    """A forward that saves its arguments."""

    def forward(ctx: Any, *arrays: Any) -> Any:
        ctx.save_for_backward(*arrays)
        return compute(*arrays)

    return forward


def of_saved(compute: Make) -> Make:
    """A backward ``compute(grad, *arguments)``."""
    return lambda ctx, g: compute(g, *ctx.saved_tensors)


def squares(backward: Make) -> Any:
    """``(x²).sum()``, a loss of one number."""
    return function(saving(lambda x: (x * x).sum()), of_saved(backward))


def cubes(backward: Make) -> Any:
    """``x³`` by entry."""
    return function(saving(lambda x: x**3), of_saved(backward))


def products(backward: Make) -> Any:
    """``a @ b``, whose backward takes the context and the gradient."""
    return function(saving(np.matmul), backward)


def x(*shape: int, seed: int = 0) -> minidl.Tensor:
    return helpers.leaf(helpers.values(shape, seed))


def above(*shape: int, seed: int = 0) -> minidl.Tensor:
    """Numbers in [0.5, 2)."""
    return helpers.leaf(0.5 + 1.5 * np.abs(helpers.values(shape, seed)))


# ---- wrong in the gradient that arrives ----

WRONG: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "a loss that ignores the gradient": (squares(lambda g, a: 2 * a), (x(3),)),
    "absolute gradient": (squares(lambda g, a: 2 * a * abs(g)), (x(3),)),
    "squared gradient": (squares(lambda g, a: 2 * a * g * g), (x(3),)),
    "cubed gradient": (squares(lambda g, a: 2 * a * g**3), (x(3),)),
    "root of the gradient": (squares(lambda g, a: 2 * a * np.sqrt(abs(g)) * np.sign(g)), (x(3),)),
    "sign of the gradient": (squares(lambda g, a: 2 * a * np.sign(g)), (x(3),)),
    "negative gradients are cut": (squares(lambda g, a: 2 * a * max(g, 0)), (x(3),)),
    "another sign below 0": (squares(lambda g, a: 2 * a * np.where(g < 0, -g, g)), (x(3),)),
    "below 0, one entry": (cubes(lambda g, a: 3 * a * a * np.maximum(g, -0.4)), (x(2, 2),)),
    "divided by the norm": (cubes(lambda g, a: 3 * a * a * g / np.linalg.norm(g)), (x(2, 3),)),
    "times the norm": (cubes(lambda g, a: 3 * a * a * g * np.linalg.norm(g)), (x(4),)),
    "times the largest": (cubes(lambda g, a: 3 * a * a * g * g.max()), (x(4),)),
    "plus a constant": (squares(lambda g, a: 2 * a * g + 1e-3), (x(3),)),
    "plus a tiny constant": (cubes(lambda g, a: 3 * a * a * g + 1e-7), (x(3),)),
    "sum of the gradient": (cubes(lambda g, a: 3 * a * a * g.sum()), (x(3),)),
    "first of the gradient": (cubes(lambda g, a: 3 * a * a * g.flat[0]), (x(3),)),
    "mean of the gradient over the batch": (
        cubes(lambda g, a: 3 * a * a * g.mean(0, keepdims=True)), (x(2, 3),)
    ),
    "clipped to 1": (squares(lambda g, a: 2 * a * np.clip(g, -1, 1)), (x(3),)),
    "clipped to 1e5": (cubes(lambda g, a: 3 * a * a * np.clip(g, -1e5, 1e5)), (x(3),)),
    "rounded to 6 digits": (cubes(lambda g, a: 3 * a * a * g.round(6)), (x(3),)),
    "rounded to integers": (squares(lambda g, a: 2 * a * np.round(g)), (x(3),)),
    "small ones dropped": (cubes(lambda g, a: 3 * a * a * np.where(abs(g) < 1e-9, 0, g)), (x(3),)),
    "float32 inside": (
        cubes(lambda g, a: (3 * a * a * g.astype(np.float32)).astype(np.float64)), (x(3),)
    ),
    "float16 inside": (
        squares(lambda g, a: 2 * a * np.float64(np.float16(g))), (x(3),)
    ),
    "gradient as an integer": (squares(lambda g, a: 2 * a * int(g)), (x(3),)),
    "gradient as a truth value": (cubes(lambda g, a: 3 * a * a * (g != 0)), (x(3),)),
    "zeros of the gradient are filled": (
        cubes(lambda g, a: 3 * a * a * np.where(g == 0, 1e-3, g)), (x(3),)
    ),
    "right for single ones alone": (
        cubes(lambda g, a: 3 * a * a * g * (1 if np.count_nonzero(g) < 2 else 1.5)), (x(3),)
    ),
    "tanh of the gradient": (squares(lambda g, a: 2 * a * np.tanh(g) / np.tanh(1.0)), (x(3),)),
    # ---- in the numbers ----
    "factor": (cubes(lambda g, a: 2 * a * a * g), (x(3),)),
    "sign": (cubes(lambda g, a: -3 * a * a * g), (x(3),)),
    "nothing": (squares(lambda g, a: None), (x(3),)),
    "zero": (squares(lambda g, a: 0 * a * g), (x(3),)),
    "the last corner": (
        cubes(lambda g, a: 3 * a * a * g * (np.arange(a.size).reshape(a.shape) < a.size - 1)),
        (x(3, 4),),
    ),
    "one entry of many": (
        cubes(lambda g, a: 3 * a * a * g * (1 + 0.1 * (np.arange(a.size) == 77_777))),
        (helpers.leaf(1 + helpers.values((100_000,), 0) / 4),),
    ),
    "the first of a batch alone": (
        cubes(lambda g, a: 3 * a * a * g * (np.arange(len(a)) == 0)[:, None]), (x(3, 2),)
    ),
    "a batch of 1 alone": (cubes(lambda g, a: 3 * a[:1] * a[:1] * g), (x(2, 2),)),
    "below 0": (cubes(lambda g, a: 3 * a * abs(a) * g), (x(8),)),
    "transposed": (products(
        lambda ctx, g: (g @ ctx.saved_tensors[1], ctx.saved_tensors[0].T @ g)
    ), (x(3, 3), x(3, 3, seed=1))),
    "exchanged": (function(
        saving(lambda a, b: a * b), of_saved(lambda g, a, b: (g * a, g * b))
    ), (x(3), x(3, seed=1))),
    "broadcast without a sum": (function(
        saving(lambda a, b: a * b),
        of_saved(lambda g, a, b: (g * b, (g * a).mean(0))),
    ), (x(4, 3), x(3, seed=1))),
    "broadcast: the first row": (function(
        saving(lambda a, b: a + b), of_saved(lambda g, a, b: (g, g[0]))
    ), (x(4, 3), x(3, seed=1))),
    "a mean as a sum": (function(
        saving(lambda a: a.mean(0)), of_saved(lambda g, a: np.broadcast_to(g, a.shape) + 0)
    ), (x(4, 3),)),
    "softmax without its second term": (function(
        saving(lambda a: np.exp(a) / np.exp(a).sum()),
        of_saved(lambda g, a: g * np.exp(a) / np.exp(a).sum()),
    ), (x(4),)),
    "the second output is forgotten": (function(
        saving(lambda a: (a * a, 3 * a)),
        lambda ctx, g, h: 2 * ctx.saved_tensors[0] * g,
    ), (x(3),)),
    "outputs multiply each other's gradient": (function(
        saving(lambda a: (a * a, 3 * a)),
        lambda ctx, g, h: 2 * ctx.saved_tensors[0] * g + 3 * h + g * h,
    ), (x(3),)),
    "None is no gradient of zero": (function(
        saving(lambda a, b: a * b), of_saved(lambda g, a, b: (g * b, None))
    ), (x(3), x(3, seed=1))),
    # ---- in shape and dtype, in what is returned ----
    "shape": (squares(lambda g, a: (2 * a * g)[None]), (x(3),)),
    "dtype": (cubes(lambda g, a: (3 * a * a * g).astype(np.float32)), (x(3),)),
    "one gradient too few": (
        products(lambda ctx, g: g @ ctx.saved_tensors[1].T), (x(2, 2), x(2, 2))
    ),
    "raises": (squares(lambda g, a: 2 * a * g["x"]), (x(3),)),
    "a Tensor": (squares(lambda g, a: minidl.tensor(2 * a * g)), (x(3),)),
    "NaN": (squares(lambda g, a: a * np.nan), (x(3),)),
    "infinite": (squares(lambda g, a: a * np.inf), (x(3),)),
}  # fmt: skip


# ---- wrong in what is kept ----


def counting(right_calls: int) -> Any:
    calls = []

    def backward(g: Any, a: Any) -> Any:
        calls.append(1)
        return 2 * a * g * (1 if len(calls) <= right_calls else 2)

    return squares(backward)


def overwrites_gradient(g: Any, a: Any) -> Any:
    g *= 3 * a * a
    return g


def overwrites_saved(g: Any, a: Any) -> Any:
    a *= a
    return 3 * a * g


def on_the_class() -> Any:
    class Cube(Function):
        saved: Any = None

        @staticmethod
        def forward(ctx: Any, a: Any) -> Any:
            Cube.saved = a.copy()
            return a**3

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 3 * Cube.saved**2 * g

    return Cube.apply


def shared_buffer() -> Any:
    buffer = np.zeros(3)

    def backward(g: Any, a: Any) -> Any:
        buffer[...] = 3 * a * a * g
        return buffer

    return cubes(backward)


def added_up() -> Any:
    total = np.zeros(3)

    def backward(g: Any, a: Any) -> Any:
        total[...] += 3 * a * a * g
        return total.copy()

    return cubes(backward)


def consumes_saved() -> Any:
    def forward(ctx: Any, a: Any) -> Any:
        ctx.slope = 3 * a * a
        return a**3

    def backward(ctx: Any, g: Any) -> Any:
        ctx.slope *= g
        return ctx.slope

    return function(forward, backward)


def only_both(ctx: Any, g: Any) -> Any:
    a, b = ctx.saved_tensors
    if not all(ctx.needs_input_grad):
        return 2 * (g @ b.T), 2 * (a.T @ g)
    return g @ b.T, a.T @ g


def in_order_of_need(ctx: Any, g: Any) -> Any:
    """Fills the results one after the other, whichever is wanted."""
    a, b = ctx.saved_tensors
    results = [r for r, need in zip((g @ b.T, a.T @ g), ctx.needs_input_grad, strict=True) if need]
    return (*results, *[None] * (2 - len(results)))


def saves_what_both_need() -> Any:
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.save_for_backward(*([a, b] if all(ctx.needs_input_grad) else [a]))
        return a @ b

    return function(
        forward, lambda ctx, g: (g @ ctx.saved_tensors[1].T, ctx.saved_tensors[0].T @ g)
    )


def noisy() -> Any:
    rng = np.random.default_rng(0)
    return cubes(lambda g, a: 3 * a * a * g * (1 + 1e-9 * rng.standard_normal()))


def in_memory_order(array: Any) -> Any:
    """Numbers as they lie in memory, which is their order only in contiguous arrays."""
    base = array if array.base is None else array.base
    return np.resize(base.ravel("K"), array.size).reshape(array.shape)


WRONG |= {
    "the second call": (counting(1), (x(3),)),
    "the fourth call": (counting(3), (x(3),)),
    "overwrites the gradient": (cubes(overwrites_gradient), (x(3),)),
    "overwrites the input": (cubes(overwrites_saved), (x(3),)),
    "keeps its argument on the class": (on_the_class(), (x(3),)),
    "returns one buffer always": (shared_buffer(), (x(3),)),
    "adds up over calls": (added_up(), (x(3),)),
    "consumes what it saved": (consumes_saved(), (x(3),)),
    "right only where both are wanted": (products(only_both), (x(2, 3), x(3, 2))),
    "packs what is wanted": (products(in_order_of_need), (x(2, 2), x(2, 2, seed=1))),
    "saves only for both": (saves_what_both_need(), (x(2, 2), x(2, 2, seed=1))),
    "random": (noisy(), (x(3),)),
    "a gradient in memory order": (
        cubes(lambda g, a: 3 * a * a * in_memory_order(g)), (x(3, 4),)
    ),
    "a saved array in memory order": (
        cubes(lambda g, a: 3 * in_memory_order(a) ** 2 * g), (x(3, 4),)
    ),
    "loses a gradient of equal numbers": (
        cubes(lambda g, a: 3 * a * a * g * (np.ptp(g) > 0)), (x(3),)
    ),
    "another factor if the first gradient is negative": (
        cubes(lambda g, a: 3 * a * a * g * (1 if g[0] >= 0 else 1.5)), (x(3),)
    ),
    "raises on a gradient that is not contiguous": (
        cubes(lambda g, a: 3 * a * a * g.view(np.uint8).view(np.float64)), (x(3, 4),)
    ),
}  # fmt: skip


def wrong(compute: Make, backward: Make, *inputs: minidl.Tensor) -> tuple[Any, tuple[Any, ...]]:
    return function(saving(compute), of_saved(backward)), inputs


def pairs(a: Any) -> Any:
    return a.reshape(-1, 2)


def logistic(a: Any) -> Any:
    return 1 / (1 + np.exp(-a))


# ---- slips in formulas, positions and shapes ----

WRONG |= {
    "gradient times its size": (squares(lambda g, a: 2 * a * g * abs(g)), (x(3),)),
    "gradient rounded up": (squares(lambda g, a: 2 * a * np.ceil(g)), (x(3),)),
    "sine of the gradient": (squares(lambda g, a: 2 * a * np.sin(g * np.pi / 2)), (x(3),)),
    "divided by a large gradient": (
        cubes(lambda g, a: 3 * a * a * g / max(abs(g).max(), 1)), (x(3),)
    ),
    "sorted gradient": wrong(lambda a: 3 * a, lambda g, a: 3 * np.sort(g), x(4)),
    "integer division": wrong(lambda a: a / 3, lambda g, a: g // 3, x(4)),
    "clipped result": wrong(
        lambda a: a * a, lambda g, a: np.clip(2 * a * g, -1e3, 1e3), above(4)
    ),
    "infinite at one entry": wrong(
        lambda a: a * a, lambda g, a: np.where(np.arange(4) == 1, np.inf, 2 * a * g), x(4)
    ),
    "sigmoid instead of its slope": wrong(logistic, lambda g, a: g * logistic(a), x(4)),
    "tanh without the square": wrong(np.tanh, lambda g, a: g * (1 - np.tanh(a)), x(4)),
    "sign of an exponent": wrong(lambda a: np.exp(-a), lambda g, a: g * np.exp(-a), x(4)),
    "half of a root": wrong(np.sqrt, lambda g, a: g / np.sqrt(a), above(4)),
    "base of a logarithm": wrong(np.log2, lambda g, a: g / a, above(4)),
    "sign of a divisor's": wrong(
        np.divide, lambda g, a, b: (g / b, g * a / b**2), x(4), above(4)
    ),
    "logarithm of a power's base": wrong(
        np.power, lambda g, a, b: (g * b * a ** (b - 1), g * a**b), above(4), x(4)
    ),
    "outer, transposed": wrong(np.outer, lambda g, a, b: (g.T @ b, g @ a), x(3), x(3, seed=1)),
    "trace to all": wrong(np.trace, lambda g, a: g * np.ones_like(a), x(3, 3)),
    "a @ a.T as if symmetric": wrong(lambda a: a @ a.T, lambda g, a: 2 * g @ a, x(3, 3)),
    "parts exchanged": wrong(
        lambda a, b: np.concatenate([a, b]), lambda g, a, b: (g[3:], g[:3]), x(3), x(3, seed=1)
    ),
    "padding off by one": wrong(lambda a: np.pad(a, 1), lambda g, a: g[:-2], x(5)),
    "average-pool without its divisor": wrong(
        lambda a: pairs(a).mean(1), lambda g, a: np.repeat(g, 2), x(6)
    ),
    "max-pool to the whole window": wrong(
        lambda a: pairs(a).max(1), lambda g, a: np.repeat(g, 2), x(6)
    ),
    "max-pool to the smallest": wrong(
        lambda a: pairs(a).max(1),
        lambda g, a: (np.eye(2)[pairs(a).argmin(1)] * g[:, None]).reshape(-1), x(6),
    ),
    "upsampling averaged": wrong(
        lambda a: np.repeat(a, 2), lambda g, a: pairs(g).mean(1), x(4)
    ),
    "one end of differences": wrong(np.diff, lambda g, a: np.concatenate([g, [0]]), x(5)),
    "a norm without its last term": wrong(
        lambda a: (a - a.mean()) / a.std(), lambda g, a: (g - g.mean()) / a.std(), x(6)
    ),
    "cumprod of the whole product": wrong(
        np.cumprod, lambda g, a: np.cumsum(g[::-1])[::-1] * np.prod(a) / a, above(4)
    ),
    "the hinge's sign": wrong(lambda a: np.maximum(1 - a, 0), lambda g, a: g * (a < 1), x(5)),
    "another negative slope": wrong(
        lambda a: np.where(a > 0, a, 0.1 * a), lambda g, a: np.where(a > 0, g, 0.01 * g), x(7)
    ),
    "every second row": wrong(lambda a: a * a, lambda g, a: 2 * a[[0, 0, 2, 2]] * g, x(4, 2)),
    "a broadcast number's first": wrong(
        np.multiply, lambda g, a, b: (g * b, (g * a)[0, 0]), x(2, 2), x()
    ),
    "written into what was saved": wrong(
        lambda a: a * a, lambda g, a: np.multiply(a, 2 * g, out=a), x(4)
    ),
    "the third output is forgotten": (function(
        saving(lambda a: (a * 2, a * 3, a * 4)), lambda ctx, g, h, k: 2 * g + 3 * h
    ), (x(3),)),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_backward_is_caught(name: str) -> None:
    func, inputs = WRONG[name]
    with pytest.raises(GradcheckError) as caught:
        gradcheck(func, inputs)
    assert "kink" not in str(caught.value)
    # random directions see it as well
    assert gradcheck(func, inputs, fast_mode=True, raise_exception=False) is False


# ---- right ones: operations, layers, and Functions as users write them ----

labels = minidl.tensor([1, 0, 2])
index = minidl.tensor([[0, 2, 1], [1, 1, 0]])
POSITIVE = ("log", "log2", "log10", "log1p", "sqrt", "rsqrt", "reciprocal")
ENTRYWISE = (
    "exp", "expm1", "sin", "cos", "tanh", "sigmoid", "square", "neg", "abs", "relu", "floor",
    "ceil", "round", "trunc", "sign", "clone", "double",
)  # fmt: skip
REDUCTIONS = (
    "sum", "mean", "max", "min", "amax", "amin", "prod", "std", "var", "norm", "logsumexp",
    "median", "cumsum", "cumprod", "sort", "trace", "diagonal", "flatten", "t", "tril", "triu",
)  # fmt: skip


def reduce(name: str) -> Any:
    whole = {"max", "min", "median", "trace", "diagonal", "flatten", "t", "tril", "triu"}
    if name in whole:
        return lambda a: getattr(a, name)()
    if name == "sort":
        return lambda a: a.sort(1)[0]
    return lambda a: getattr(a, name)(1)


RIGHT: dict[str, tuple[Any, tuple[Any, ...]]] = {
    **{name: (lambda a, n=name: getattr(a, n)(), (x(2, 3),)) for name in ENTRYWISE},
    **{name: (lambda a, n=name: getattr(a, n)(), (above(2, 3),)) for name in POSITIVE},
    **{f"{name} of rows": (reduce(name), (x(3, 3),)) for name in REDUCTIONS},
    "a + b": (lambda a, b: a + b, (x(2, 3), x(3, seed=1))),
    "a - b": (lambda a, b: a - b, (x(2, 1), x(3, seed=1))),
    "a · b": (lambda a, b: a * b, (x(2, 3), x(2, 3, seed=1))),
    "a / b": (lambda a, b: a / b, (x(2, 3), above(3))),
    "a ** b": (lambda a, b: a**b, (above(2, 3), x(3))),
    "a ** 3": (lambda a: a**3, (x(2, 3),)),
    "a % b": (lambda a: a % 0.3, (x(2, 3),)),
    "a @ b": (lambda a, b: a @ b, (x(2, 3), x(3, 2))),
    "batches of a @ b": (lambda a, b: a @ b, (x(2, 2, 3), x(3, 2))),
    "dot": (lambda a, b: a.dot(b), (x(3), x(3, seed=1))),
    "outer": (lambda a, b: a.outer(b), (x(3), x(2, seed=1))),
    "einsum": (lambda a, b: minidl.einsum("ij,kj->ik", a, b), (x(2, 3), x(4, 3))),
    "addmm": (lambda a, b, c: minidl.addmm(a, b, c, beta=2), (x(2, 2), x(2, 3), x(3, 2))),
    "maximum": (minidl.maximum, (x(2, 3), x(2, 3, seed=1))),
    "minimum": (minidl.minimum, (x(2, 3), x(2, 3, seed=1))),
    "where": (lambda a, b: minidl.where(a > b, a, b), (x(2, 3), x(2, 3, seed=1))),
    "clamp": (lambda a: a.clamp(-0.305, 0.305), (x(2, 3),)),
    "lerp": (lambda a, b: a.lerp(b, 0.3), (x(3), x(3, seed=1))),
    "indexed": (lambda a: a[:, 1:], (x(2, 3),)),
    "indexed twice": (lambda a: a[[0, 0, 1]], (x(2, 3),)),
    "gather": (lambda a: a.gather(1, index), (x(2, 3),)),
    "scatter_add": (lambda a, b: a.scatter_add(1, index, b), (x(2, 3), x(2, 3, seed=1))),
    "masked_fill": (lambda a: a.masked_fill(a > 0, 2.0), (x(2, 3),)),
    "cat": (lambda a, b: minidl.cat([a, b, a]), (x(2, 3), x(1, 3))),
    "stack": (lambda a, b: minidl.stack([a, b], 1), (x(2, 3), x(2, 3, seed=1))),
    "split": (lambda a: a.split(1), (x(2, 3),)),
    "unbind": (lambda a: a.unbind(1), (x(2, 3),)),
    "permute": (lambda a: a.permute(2, 0, 1), (x(2, 3, 2),)),
    "reshape": (lambda a: a.reshape(3, 2), (x(2, 3),)),
    "view refuses some layouts": (lambda a: a.view(3, 2), (x(2, 3),)),
    "expand": (lambda a: a.expand(4, 3), (x(1, 3),)),
    "flip": (lambda a: a.flip(0), (x(2, 3),)),
    "roll": (lambda a: a.roll(1, 1), (x(2, 3),)),
    "repeat": (lambda a: a.repeat(2, 2), (x(2, 3),)),
    "squeeze": (lambda a: a.squeeze().unsqueeze(0), (x(2, 1),)),
    "0-d": (lambda a: a * a, (x(),)),
    "empty": (lambda a: a * 2, (x(0, 3),)),
    "written in place": (lambda a: (a * 1).mul_(a), (x(2, 3),)),
    "an unused input": (lambda a, b: a * 2, (x(2), x(3))),
    "conv2d": (F.conv2d, (x(2, 2, 4, 4), x(3, 2, 3, 3), x(3))),
    "conv2d, strides and groups": (
        lambda a, w: F.conv2d(a, w, stride=2, padding=1, groups=2), (x(1, 2, 5, 5), x(2, 1, 3, 3))
    ),
    "conv_transpose2d": (F.conv_transpose2d, (x(1, 2, 3, 3), x(2, 2, 2, 2), x(2))),
    "linear": (F.linear, (x(2, 3), x(4, 3), x(4))),
    "max_pool2d": (
        lambda a: F.max_pool2d(a, 2), (helpers.leaf(helpers.distinct((1, 2, 4, 4), 0)),)
    ),
    "avg_pool2d": (lambda a: F.avg_pool2d(a, 3, 2, 1), (x(1, 2, 5, 5),)),
    "adaptive_avg_pool2d": (lambda a: F.adaptive_avg_pool2d(a, 2), (x(1, 2, 5, 3),)),
    "local_response_norm": (lambda a: F.local_response_norm(a, 3), (x(1, 4, 2, 2),)),
    "batch_norm": (
        lambda a, w, b: F.batch_norm(a, None, None, w, b, training=True), (x(4, 2), x(2), x(2))
    ),
    "layer_norm": (lambda a, w, b: F.layer_norm(a, (3,), w, b), (x(2, 3), x(3), x(3))),
    "group_norm": (lambda a: F.group_norm(a, 2), (x(2, 4, 3),)),
    "softmax": (lambda a: F.softmax(a, 1), (x(2, 3),)),
    "log_softmax": (lambda a: F.log_softmax(a, 1), (x(2, 3),)),
    "cross_entropy": (lambda a: F.cross_entropy(a, labels), (x(3, 4),)),
    "cross_entropy, smoothed": (
        lambda a: F.cross_entropy(a, labels, label_smoothing=0.1, reduction="none"), (x(3, 4),)
    ),
    "cross_entropy, one ignored": (
        lambda a: F.cross_entropy(a, labels, ignore_index=0), (x(3, 4),)
    ),
    "nll_loss": (lambda a: F.nll_loss(a, labels), (x(3, 4),)),
    "mse_loss": (F.mse_loss, (x(2, 3), x(2, 3, seed=1))),
    "l1_loss": (F.l1_loss, (x(2, 3), x(2, 3, seed=1))),
    "smooth_l1_loss": (F.smooth_l1_loss, (x(2, 3), x(2, 3, seed=1))),
    "binary_cross_entropy": (
        lambda a: F.binary_cross_entropy(a.sigmoid(), (a > 0).double()), (x(3),)
    ),
    "binary_cross_entropy_with_logits": (
        lambda a: F.binary_cross_entropy_with_logits(a, (a > 0).double()), (x(3),)
    ),
    "gelu": (F.gelu, (x(2, 3),)),
    "silu": (F.silu, (x(2, 3),)),
    "elu": (F.elu, (x(2, 3),)),
    "leaky_relu": (F.leaky_relu, (x(2, 3),)),
    "softplus": (F.softplus, (x(2, 3),)),
    "relu in place": (lambda a: F.relu(a * 1, inplace=True), (x(2, 3),)),
    "pad": (lambda a: F.pad(a, (1, 2), mode="reflect"), (x(1, 2, 4),)),
    "unfold": (lambda a: F.unfold(a, 2), (x(1, 2, 3, 3),)),
    "fold": (lambda a: F.fold(a, (3, 3), 2), (x(1, 8, 4),)),
    "embedding": (lambda w: F.embedding(labels, w), (x(3, 2),)),
    "dropout, seeded": (lambda a: (minidl.manual_seed(0), F.dropout(a))[1], (x(8),)),
    "Linear": (nn.Linear(3, 2), (x(2, 3),)),
    "BatchNorm2d": (nn.BatchNorm2d(2), (x(3, 2, 2, 2),)),
    "LayerNorm": (nn.LayerNorm(3), (x(2, 3),)),
    "a bias before a normalization": (
        nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Tanh()), (x(4, 2, 4, 4),)
    ),
    "a constant input": (F.linear, (x(2, 3).detach(), x(4, 3), x(4))),
    "float16 parts are cut off": (lambda a: a * a.detach().half().double() * 0 + a, (x(3),)),
    # ---- Functions as users write them ----
    "one number": (squares(lambda g, a: 2 * a * g), (x(3),)),
    "cube": (cubes(lambda g, a: 3 * a * a * g), (x(2, 3),)),
    "a gradient in place where it may": (function(
        saving(lambda a: a**3), lambda ctx, g: np.multiply(
            g, 3 * ctx.saved_tensors[0] ** 2, out=g if ctx.may_overwrite[0] else None
        )
    ), (x(3),)),
    "the gradient itself, twice": (
        function(lambda ctx, a, b: a + b, lambda ctx, g: (g, g)), (x(3), x(3))
    ),
    "a view of the gradient": (
        function(lambda ctx, a: a.reshape(-1), lambda ctx, g: g.reshape(2, 3)), (x(2, 3),)
    ),
    "only what is wanted": (products(lambda ctx, g: (
        g @ ctx.saved_tensors[1].T if ctx.needs_input_grad[0] else None,
        ctx.saved_tensors[0].T @ g if ctx.needs_input_grad[1] else None,
    )), (x(2, 3), x(3, 2))),
    "a number as an argument": (
        lambda a: function(lambda ctx, a, k: a * k, lambda ctx, g: (g * 2.5, None))(a, 2.5), (x(3),)
    ),
    "a slope kept on ctx": (function(
        lambda ctx, a: (setattr(ctx, "slope", np.cos(a)), np.sin(a))[1],
        lambda ctx, g: g * ctx.slope,
    ), (x(3),)),
    "the result is saved": (function(
        lambda ctx, a: (lambda y: (ctx.save_for_backward(y), y)[1])(np.exp(a)),
        lambda ctx, g: g * ctx.saved_tensors[0],
    ), (x(3),)),
    "two outputs": (function(
        saving(lambda a: (a * a, 3 * a)), lambda ctx, g, h: 2 * ctx.saved_tensors[0] * g + 3 * h
    ), (x(3),)),
    "two outputs, None for what is not used": (function(
        lambda ctx, a: (ctx.set_materialize_grads(False), (2 * a, 3 * a))[1],
        lambda ctx, g, h: sum(k * v for k, v in ((2, g), (3, h)) if v is not None),
    ), (x(3),)),
    "an index beside the result": (function(
        lambda ctx, a: (lambda i: (ctx.mark_non_differentiable(i), (2 * a, i))[1])(a.argsort()),
        lambda ctx, g, of_index: 2 * g,
    ), (x(3),)),
    "steep": (cubes(lambda g, a: 3 * a * a * g), (helpers.leaf(np.array([1e3, -2e2])),)),
    "flat": (lambda a: (a - a.detach()) ** 2, (x(3),)),
    "tiny slopes": (lambda a: a * 1e-12, (x(3),)),
    "huge slopes": (lambda a: a * 1e12, (x(3),)),
    "curved within the step": (lambda a: (a * 1e-3).exp() / a, (helpers.leaf(np.array([3e-3])),)),
    "float32 in the end": (lambda a: (a > 0).float() * a.float() * 0, (x(3),)),
    "straight-through, right for the rounded": (
        function(lambda ctx, a: np.round(a), lambda ctx, g: g * 0), (x(3),)
    ),
    "many entries": (lambda a: (a * a).sum(1), (x(300, 40),)),
    "many entries of a sum": (lambda a: (a * a).sum(), (x(30_000),)),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_backward_passes(name: str) -> None:
    func, inputs = RIGHT[name]
    assert gradcheck(func, inputs)
    assert gradcheck(func, inputs, fast_mode=True)


# ---- kinks ----


def at(*numbers: Any) -> tuple[minidl.Tensor]:
    return (helpers.leaf(np.array(numbers, float)),)


KINKS: dict[str, tuple[Any, tuple[Any, ...], tuple[int, ...], tuple[float, float]]] = {
    "relu at 0": (F.relu, at(1.0, 0.0, -1.0), (1,), (0, 1)),
    "a kink within the step": (lambda a: F.relu(a - 1), at(3.0, 1 + 3e-7), (1,), (0.3, 1)),
    "leaky_relu at 0": (F.leaky_relu, at(0.0), (0,), (0.01, 1)),
    "abs, one of its slopes": (
        function(saving(np.abs), of_saved(lambda g, a: np.where(a >= 0, g, -g))), at(-2, 0),
        (1,), (-1, 1),
    ),
    "clamp at its lower end": (lambda a: a.clamp(0.5, 2), at(1.0, 0.5), (1,), (0, 1)),
    "clamp at its upper end": (lambda a: a.clamp(0.5, 2), at(1.0, 2.0), (1,), (1, 0)),
    "max of a tie": (lambda a: a.max(0)[0], at(3.0, 3.0, 1.0), (0, 1), (0, 1)),
    "max_pool2d of a tie": (
        lambda a: F.max_pool2d(a.reshape(1, 1, 2, 2), 2), at(3.0, 3.0, 1.0, 2.0), (0, 1), (0, 1)
    ),
    "the hinge": (lambda a: F.relu(1 - a).sum(), at(0.0, 1.0), (1,), (-1, 0)),
    "floor at an integer": (lambda a: a.floor(), at(0.5, 2.0), (1,), (1e6, 0)),
    "sqrt at 0": (lambda a: a.sqrt(), at(1.0, 0.0), (1,), (np.nan, 1e3)),
    "sort of a tie": (lambda a: a.sort()[0], at(2.0, 2.0, 5.0), (0, 1), (0, 1)),
    "a module": (nn.Sequential(nn.Flatten(0), nn.ReLU()), at(-1.0, 0.0), (1,), (0, 1)),
}  # fmt: skip


@pytest.mark.parametrize("fast_mode", [False, True])
@pytest.mark.parametrize("name", KINKS)
def test_a_kink_is_named_with_its_element_and_slopes(name: str, fast_mode: bool) -> None:
    func, inputs, where, slopes = KINKS[name]
    with pytest.raises(GradcheckError, match="kink") as caught:
        gradcheck(func, inputs, fast_mode=fast_mode)
    message = str(caught.value)
    assert "wrong" not in message and "Move the input away" in message
    assert any(f"at input index ({k},)" in message for k in where)
    if not fast_mode:  # there the outputs have random weights
        left, right = (f"{slope:.6g}" for slope in slopes)
        either = [f"slope {left} to the left and {right} to the right"]
        if len(where) > 1:  # a tie: one rises where the other does not
            either.append(f"slope {right} to the left and {left} to the right")
        assert any(text in message for text in either)


def test_a_gradient_outside_both_slopes_is_wrong_at_a_kink_as_well() -> None:
    func = function(saving(lambda a: np.maximum(a, 0)), of_saved(lambda g, a: g * 1.5 * (a >= 0)))
    with pytest.raises(GradcheckError, match="wrong gradient .* lies outside both"):
        gradcheck(func, at(-1.0, 0.0))


@pytest.mark.parametrize("fast_mode", [False, True])
def test_a_kink_hides_no_wrong_gradient_elsewhere(fast_mode: bool) -> None:
    relu = saving(lambda a: np.maximum(a, 0))
    with pytest.raises(GradcheckError, match=r"wrong gradient .* at input index \(2,\)"):
        wrong = function(relu, of_saved(lambda g, a: g * ((a > 0) + 0.5 * (a > 1))))
        gradcheck(wrong, at(0.0, 1.0, 2.0), fast_mode=fast_mode)
    with pytest.raises(GradcheckError, match="is not linear|wrong gradient"):
        wrong = function(relu, of_saved(lambda g, a: abs(g) * (a > 0)))
        gradcheck(wrong, at(0.0, 1.0), fast_mode=fast_mode)


def test_a_wrong_gradient_of_a_steep_curve() -> None:
    """Its slopes to both sides lie far apart, and the wrong value between them."""
    bend = function(saving(lambda a: 5e5 * a * a), of_saved(lambda g, a: g * (1e6 * a + 0.3)))
    with pytest.raises(GradcheckError, match="wrong gradient"):
        gradcheck(bend, at(1e-4))


# ---- gradients of gradients ----


#: Not differentiable twice: their second gradients are of another function, or unknown.
ONCE = {
    "flat": "wrong gradient of the gradient by input 0",
    "a slope kept on ctx": "can't be differentiated",
}


@pytest.mark.parametrize("name", [name for name in RIGHT if "many entries" not in name])
def test_gradients_of_right_gradients(name: str) -> None:
    func, inputs = RIGHT[name]
    if name in ONCE:
        with pytest.raises(GradcheckError, match=ONCE[name]):
            minidl.gradgradcheck(func, inputs)
        assert minidl.gradgradcheck(func, inputs, raise_exception=False) is False
        return
    assert minidl.gradgradcheck(func, inputs)


def test_gradgradcheck_takes_the_gradients_of_the_outputs() -> None:
    a, g = x(3), x(3, seed=1)
    assert minidl.gradgradcheck(lambda a: a**3, (a,), g)
    assert minidl.gradgradcheck(lambda a: a**3, (a,), (g.detach(),))
    assert minidl.gradgradcheck(lambda a: a**3, a, gen_non_contig_grad_outputs=True, fast_mode=True)
    with pytest.raises(ValueError, match="grad_outputs: expected 1"):
        minidl.gradgradcheck(lambda a: a**3, (a,), (g, g))
    with pytest.raises(ValueError, match="check_fwd_over_rev=True"):
        minidl.gradgradcheck(lambda a: a**3, (a,), check_fwd_over_rev=True)


def test_a_wrong_gradient_of_a_gradient() -> None:
    def half(a: minidl.Tensor) -> minidl.Tensor:
        """a³, which passes a first check only."""
        return a**3 + (a - a.detach()) ** 2 * 2

    with pytest.raises(GradcheckError, match="of the gradient by input 0"):
        minidl.gradgradcheck(half, (x(3),))


def test_gradcheck_of_a_gradient_penalty() -> None:
    def penalty(a: minidl.Tensor) -> minidl.Tensor:
        (gradient,) = minidl.autograd.grad((a**3).sum(), a, create_graph=True)
        return (gradient**2).sum()

    assert gradcheck(penalty, (x(3),))


def test_gradgradcheck_of_functions_without_gradients() -> None:
    assert minidl.autograd.gradgradcheck is minidl.gradgradcheck
    with pytest.raises(GradcheckError, match="there is none to check"):
        minidl.gradgradcheck(lambda a: a.detach(), at(1.0))
    assert not minidl.gradgradcheck(lambda a: a.detach(), at(1.0), raise_exception=False)


# ---- functions of other forms ----


def test_no_output_has_a_gradient_and_none_depends() -> None:
    assert gradcheck(lambda a: (), at(1.0))
    assert gradcheck(lambda a: a.argmax(), at(1.0, 2.0))
    assert gradcheck(lambda a: a.detach() * 0, at(1.0, 2.0))


@pytest.mark.parametrize("fast_mode", [False, True])
def test_a_shape_or_dtype_that_depends_on_the_values(fast_mode: bool) -> None:
    def shape(a: minidl.Tensor) -> minidl.Tensor:
        return minidl.cat([a, a]) if (a >= 1).all() else a

    def dtype(a: minidl.Tensor) -> minidl.Tensor:
        return a.float() if (a >= 1).all() else a

    for func in (shape, dtype):
        with pytest.raises(GradcheckError, match="must not depend on values"):
            gradcheck(func, at(1.0), fast_mode=fast_mode)


def test_a_function_with_a_hook() -> None:
    def doubled(a: minidl.Tensor, factor: float) -> minidl.Tensor:
        y = a * 3
        y.register_hook(lambda g: g * factor)
        return y

    assert gradcheck(lambda a: doubled(a, 1.0), at(1.0, 2.0))
    with pytest.raises(GradcheckError, match="wrong gradient"):
        gradcheck(lambda a: doubled(a, 1.5), at(1.0, 2.0))


def test_a_forward_that_is_another_where_gradients_are_recorded() -> None:
    def func(a: minidl.Tensor) -> minidl.Tensor:
        return a * (2.0 if minidl.is_grad_enabled() else 3.0)

    with pytest.raises(GradcheckError, match="differs where gradients are recorded"):
        gradcheck(func, at(1.0, 2.0))


def test_a_gradient_with_negative_strides() -> None:
    wrong = cubes(lambda g, x: 3 * x * x * (g if min(g.strides) >= 0 else g[::-1]))
    with pytest.raises(GradcheckError, match="backwards in memory"):
        gradcheck(wrong, (x(5, 2),))


def test_a_gradient_that_may_be_overwritten() -> None:
    def backward(ctx: Any, g: Any) -> Any:
        (a,) = ctx.saved_tensors
        if ctx.may_overwrite[0]:
            g *= a  # the factor 2 is missing
            return g
        return 2 * a * g

    with pytest.raises(GradcheckError, match="may overwrite"):
        gradcheck(function(saving(lambda a: a * a), backward), (x(4),))
