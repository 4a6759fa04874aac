"""Operations and layers in float16 give float64's results and gradients, rounded.

Each case is computed from the same numbers in both. A result may be off by half a unit in its last
place, a gradient by one, because it may follow from a rounded result; sums of products in float32
add rounding errors of the largest term.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minidl
import minidl.nn.utils
import minidl.vision
from minidl.autograd import Function

#: Half a unit in the last place, relative; the half of the smallest number.
HALF_ULP, SMALLEST = 2.0**-11, 2.0**-25

#: Expressions of tensors x, y, z (m is the library, F its functional), the range of each tensor's
#: numbers, and their shapes. t are classes, i positions, s keeps sums in float16's range.
CASES: list[tuple[str, list[tuple[float, float]], list[tuple[int, ...]]]] = [
    # ---- of one number ----
    *[(f"x.{name}()", [(-9, 9)], [(999,)]) for name in (
        "abs", "cos", "exp", "expm1", "neg", "relu", "sigmoid", "sin", "sinh", "cosh", "tanh",
        "square", "sign", "floor",
    )],
    *[(f"x.{name}()", [(2e-3, 9)], [(999,)]) for name in (
        "log", "log1p", "log2", "log10", "reciprocal", "rsqrt", "sqrt",
    )],
    *[(f"F.{name}(x)", [(-16, 16)], [(999,)]) for name in (
        "elu", "gelu", "leaky_relu", "silu", "softplus",
    )],
    ("F.gelu(x, approximate='tanh')", [(-4, 4)], [(999,)]),
    ("x.clamp(-2, 2)", [(-9, 9)], [(999,)]),
    ("x**3", [(-9, 9)], [(99,)]),
    ("x**2.5", [(0, 9)], [(99,)]),
    ("2.0**x", [(-20, 15)], [(99,)]),
    ("x * 300.0", [(-9, 9)], [(99,)]),
    ("x / 300.0", [(-9, 9)], [(99,)]),
    ("300.0 / x", [(1, 900)], [(99,)]),
    # ---- of several ----
    ("x + y", [(-9, 9), (-9, 9)], [(4, 99), (99,)]),
    ("x - y", [(-9, 9), (-9, 9)], [(4, 99), (4, 1)]),
    ("x * y", [(-9, 9), (-9, 9)], [(4, 99), (99,)]),
    ("x * y", [(-1e-4, 1e-4), (-1e-4, 1e-4)], [(999, 1), (1,)]),
    ("x / y", [(-9, 9), (1e-2, 9)], [(4, 99), (99,)]),
    ("x**y", [(0.1, 6), (-4, 4)], [(4, 99), (99,)]),
    ("m.maximum(x, y)", [(-9, 9), (-9, 9)], [(99,), (99,)]),
    ("m.minimum(x, y)", [(-9, 9), (-9, 9)], [(99,), (99,)]),
    ("m.where(x > y, x, y)", [(-9, 9), (-9, 9)], [(99,), (99,)]),
    ("m.fmod(x, y)", [(-9, 9), (1, 9)], [(99,), (99,)]),
    ("m.lerp(x, y, 0.3)", [(-9, 9), (-9, 9)], [(99,), (99,)]),
    ("m.addcmul(x, y, z, value=0.3)", [(-9, 9)] * 3, [(99,)] * 3),
    ("m.addcdiv(x, y, z, value=0.3)", [(-9, 9), (-9, 9), (1, 9)], [(99,)] * 3),
    # ---- sums ----
    ("x.sum(0)", [(-9, 9)], [(9999, 2)]),
    ("x.mean(0)", [(-60_000, 60_000)], [(9999, 2)]),
    ("x.var(0)", [(-99, 99)], [(9999, 2)]),
    ("x.std(0)", [(-60_000, 60_000)], [(9999, 2)]),
    ("x.norm(dim=0)", [(-99, 99)], [(9999, 2)]),
    ("x.norm(3, dim=0)", [(-99, 99)], [(9999, 2)]),
    ("x.norm(1, dim=0)", [(-1, 1)], [(9999, 2)]),
    ("x.logsumexp(0)", [(-9, 9)], [(9999, 2)]),
    ("x.logsumexp(0)", [(0, 60_000)], [(9999, 2)]),
    ("x.cumsum(0)", [(-9, 9)], [(999, 2)]),
    ("x.cumprod(0)", [(0.9, 1.1)], [(299, 2)]),
    ("x.prod(0)", [(0.9, 1.1)], [(299, 2)]),
    ("m.trace(x)", [(-9, 9)], [(99, 99)]),
    # ---- of some of the numbers ----
    ("x.amax(0)", [(-9, 9)], [(99, 2)]),
    ("x.max()", [(-9, 9)], [(99, 2)]),
    ("x.max(0)[0]", [(-9, 9)], [(99, 2)]),
    ("x.median()", [(-9, 9)], [(99,)]),
    ("x.median(0)[0]", [(-9, 9)], [(99, 2)]),
    ("x.sort(0)[0]", [(-9, 9)], [(99, 2)]),
    ("x.topk(5, 0)[0]", [(-9, 9)], [(99, 2)]),
    ("x[i]", [(-9, 9)], [(4, 2)]),
    ("x.gather(0, i[:, None])", [(-9, 9)], [(4, 2)]),
    ("x.index_select(0, i)", [(-9, 9)], [(4, 2)]),
    ("x.index_add(0, i, y)", [(-9, 9), (-9, 9)], [(4, 2), (40, 2)]),
    ("x.scatter_add(0, i[:, None], y)", [(-9, 9), (-9, 9)], [(4, 1), (40, 1)]),
    ("x.masked_fill(x > 0, 2.0)", [(-9, 9)], [(99,)]),
    # ---- of shapes ----
    ("m.cat([x, y, x])", [(-9, 9), (-9, 9)], [(9, 2), (3, 2)]),
    ("m.stack([x, x, x])", [(-9, 9)], [(9, 2)]),
    ("x.expand(999, 2, 3)", [(-9, 9)], [(2, 1)]),
    ("x.repeat(3, 5)", [(-9, 9)], [(2, 3)]),
    ("x.flip(0).roll(1, 0).tril()", [(-9, 9)], [(9, 9)]),
    ("x.diagonal() + m.diag(y)", [(-9, 9), (-9, 9)], [(9, 9), (9, 9)]),
    ("x.permute(1, 0).reshape(6, 3)", [(-9, 9)], [(9, 2)]),
    ("x.clone().view(3, 6)", [(-9, 9)], [(9, 2)]),
    ("x.movedim(0, 1)[:, 2:].unsqueeze(0).float().half() * 1", [(-9, 9)], [(9, 2)]),
    ("F.pad(x, (9, 9), mode='replicate')", [(-9, 9)], [(1, 2, 4)]),
    ("F.pad(x, (1, 2), mode='reflect')", [(-9, 9)], [(1, 2, 4)]),
    ("F.unfold(x, 3)", [(-9, 9)], [(1, 2, 9, 9)]),
    ("F.fold(x, (9, 9), 3)", [(-9, 9)], [(1, 18, 49)]),
    ("F.interpolate(x, scale_factor=3, mode='bilinear')", [(-9, 9)], [(1, 2, 5, 5)]),
    ("F.interpolate(x, size=7, mode='bicubic')", [(-9, 9)], [(1, 2, 5, 5)]),
    # ---- products ----
    ("x @ y", [(-9, 9), (-9, 9)], [(9, 99), (99, 3)]),
    ("x @ y", [(-9, 9), (-9, 9)], [(99, 3, 9), (9, 64)]),
    ("m.outer(x, y)", [(-9, 9), (-9, 9)], [(99,), (9,)]),
    ("m.einsum('bij,bjk->bik', x, y)", [(-9, 9), (-9, 9)], [(2, 3, 9), (2, 9, 2)]),
    ("m.addmm(x, y, z, beta=0.3, alpha=0.7)", [(-9, 9)] * 3, [(3, 2), (3, 9), (9, 2)]),
    ("F.linear(x, y, z)", [(-9, 9)] * 3, [(30, 9), (4, 9), (4,)]),
    ("F.conv2d(x, y, z, padding=1)", [(-2, 2)] * 3, [(2, 3, 7, 7), (4, 3, 3, 3), (4,)]),
    ("F.conv2d(x, y, stride=2, groups=2)", [(-2, 2)] * 2, [(2, 4, 7, 7), (4, 2, 3, 3)]),
    ("F.conv_transpose2d(x, y, z, 2, 1)", [(-2, 2)] * 3, [(2, 3, 5, 5), (3, 4, 3, 3), (4,)]),
    ("F.locally_connected2d(x, y, z, 3)", [(-2, 2)] * 3, [(2, 3, 5, 5), (9, 4, 27), (4, 3, 3)]),
    # ---- pools and normalizations ----
    ("F.max_pool2d(x, 3, 2)", [(-9, 9)], [(1, 2, 9, 9)]),
    ("F.avg_pool2d(x, 3, 2, 1)", [(-60_000, 60_000)], [(1, 2, 9, 9)]),
    ("F.avg_pool2d(x, (99, 1))", [(-60_000, 60_000)], [(1, 2, 99, 2)]),
    ("F.adaptive_avg_pool2d(x, 1)", [(-60_000, 60_000)], [(1, 2, 99, 9)]),
    ("F.local_response_norm(x, 5, 0.1)", [(-99, 99)], [(1, 9, 4, 4)]),
    ("F.spatial_response_norm(x, 3, 0.1)", [(-99, 99)], [(1, 2, 9, 9)]),
    ("F.batch_norm(x, None, None, y, z, True)", [(-99, 99)] * 3, [(99, 3, 4, 4), (3,), (3,)]),
    ("F.batch_norm(x, y, z)", [(-99, 99), (-9, 9), (1e-2, 9)], [(9, 3, 4), (3,), (3,)]),
    ("F.layer_norm(x, (99,), y, z)", [(-999, 999), (-9, 9), (-9, 9)], [(9, 99), (99,), (99,)]),
    ("F.group_norm(x, 2, y, z)", [(-999, 999), (-9, 9), (-9, 9)], [(9, 4, 9), (4,), (4,)]),
    ("F.instance_norm(x)", [(-999, 999)], [(9, 4, 99)]),
    ("m.nn.functional.dropout(x, 0.3)", [(-9, 9)], [(99,)]),
    ("F.embedding(i, x)", [(-9, 9)], [(4, 2)]),
    # ---- probabilities and losses ----
    ("F.softmax(x, 0)", [(-9, 9)], [(99, 3)]),
    ("F.softmax(x, 0)", [(-9, 9)], [(2, 99)]),
    ("F.log_softmax(x, 0)", [(-9, 9)], [(9999, 3)]),
    ("F.log_softmax(x, 0)", [(0, 60_000)], [(9999, 3)]),
    ("F.softmin(x, 1)", [(-9, 9)], [(9, 9)]),
    ("F.cross_entropy(x, t)", [(-9, 9)], [(40, 4)]),
    ("F.cross_entropy(x, t, label_smoothing=0.1, reduction='none')", [(-9, 9)], [(40, 4)]),
    ("F.cross_entropy(x, y.detach())", [(-9, 9), (0, 1)], [(40, 4), (40, 4)]),
    ("F.nll_loss(x, t)", [(-9, 9)], [(40, 4)]),
    ("F.mse_loss(x, y)", [(-99, 99), (-99, 99)], [(999,), (999,)]),
    ("F.mse_loss(x, y, reduction='none')", [(-99, 99), (-99, 99)], [(999,), (999,)]),
    ("F.l1_loss(x, y)", [(-60_000, 60_000), (-1, 1)], [(999,), (999,)]),
    ("F.smooth_l1_loss(x, y, beta=0.3)", [(-9, 9), (-9, 9)], [(999,), (999,)]),
    ("F.binary_cross_entropy(x, y.detach())", [(0.01, 0.99), (0, 1)], [(999,), (999,)]),
    ("F.binary_cross_entropy_with_logits(x, y.detach())", [(-16, 16), (0, 1)], [(999,), (999,)]),
]  # fmt: skip

#: Functions that compute nothing of their own, run only beside those above, or need other ranks.
OTHERS = {
    "AddAt", "Alias", "Assign", "BackwardHookFunction", "Cast", "Copy", "Logs", "Move",
    "GatherChannelsFunction", "NormalFunction", "Normalized", "Once", "Overwrite", "Replace",
    "RoundFunction", "ScatterRowsFunction", "Slope", "SyncBatchNormFunction",
}  # fmt: skip


def run(case: Any, dtype: Any, device: str = "cpu") -> tuple[list[Any], set[str]]:
    """Return the result and the gradients as float64, and the names of the Functions that ran."""
    expression, ranges, shapes = case
    rng = np.random.default_rng(0)
    tensors = []
    for (low, high), shape in zip(ranges, shapes, strict=True):
        array = rng.uniform(low, high, shape).astype(np.float16)
        tensors.append(minidl.tensor(array.astype(dtype), device=device, requires_grad=True))
    names = {"m": minidl, "F": minidl.nn.functional, **dict(zip("xyz", tensors, strict=False))}
    places = minidl.tensor(rng.integers(0, 4, 40), device=device)
    minidl.manual_seed(0)
    if dtype == np.float64:
        expression = expression.replace(".half()", ".double()")
    y = eval(expression, names | {"t": places, "i": places})
    assert y.dtype == dtype
    # of all sizes, but so that a sum of them fits
    grad = rng.uniform(-1, 1, tuple(y.shape)) * 2.0 ** rng.integers(-9, 4, tuple(y.shape))
    y.backward(minidl.tensor(grad.astype(np.float16).astype(dtype), device=device))
    results = [y, *(x.grad for x in tensors if x.grad is not None)]
    return [r.detach().cpu().array.astype(np.float64) for r in results], set(functions(y))


def functions(y: minidl.Tensor) -> Iterator[str]:
    nodes = [y.grad_fn]
    while nodes:
        node = nodes.pop()
        if node is not None:
            yield getattr(node, "function", type(node)).__name__
            nodes += [before for before, _ in node.next_functions]


def assert_rounded(found: Any, exact: Any, half_ulps: float, of_largest: float) -> None:
    """Compare what float16 can hold; `half_ulps` of each number, and a share of the largest."""
    fits = np.abs(exact) < 65_504
    largest = np.abs(exact[fits]).max(initial=0)
    limit = half_ulps * HALF_ULP * np.abs(exact) + SMALLEST + of_largest * largest
    error = np.where(fits, np.abs(found - exact), 0)
    worst = np.argmax(error / limit)
    assert (error <= limit).all(), (found.flat[worst], exact.flat[worst], (error / limit).max())


@pytest.mark.parametrize("case", CASES, ids=[f"{c[0]} {c[1][0]} {c[2][0]}" for c in CASES])
def test_float16_is_float64_rounded(case, device):
    found, exact = run(case, np.float16, device)[0], run(case, np.float64)[0]
    assert len(found) == len(exact)
    # A GPU rounds products before it adds biases, a batch, or the shares of windows; dropout its
    # factor.
    on_gpu = device != "cpu" and any(name in case[0] for name in ("linear", "conv", "@"))
    twice = "dropout" in case[0] or on_gpu
    of_largest = 2 * HALF_ULP if twice else 2.0**-20
    assert_rounded(found[0], exact[0], 1.02, of_largest)
    for gradients in zip(found[1:], exact[1:], strict=True):
        assert_rounded(*gradients, 2, of_largest)


def test_each_function_has_a_case():
    ran = set.union(*(run(case, np.float16)[1] for case in CASES))
    missing = {f.__name__ for f in subclasses(Function) if not f.is_foreign} - ran - OTHERS
    assert {name for name in missing if not name.startswith("_")} == set()


def subclasses(cls: Any) -> Iterator[Any]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)
