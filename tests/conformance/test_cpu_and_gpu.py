"""Every operation gives the same on a GPU as on the CPU: to 1e-5 of the largest number, in float32.

The operations' own tests compare both devices with references. This table is complete: a
``Function`` without a row here is a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import helpers
import numpy as np
import pytest

import minidl
import minidl.nn.functional as F
from minidl.autograd import Function
from minidl.nn import (
    BatchNorm2d,
    Conv2d,
    Linear,
    LocalResponseNorm,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
)

IMAGES, MAPS = (3, 4, 9, 8), (2, 12, 7, 6)
LABELS = minidl.tensor([2, 0, 1])

#: Operations with the shapes of their inputs; a module is made on the device.
CASES: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
    "+ - * /": (lambda x, y: (x + y) * x / (y * y + 1) - y, ((3, 4), (4,))),
    "**": (lambda x, y: (x * x + 0.5) ** y, ((3, 4), (4,))),
    "maximum, minimum": (lambda x, y: x.maximum(y) * 2 + x.minimum(y), ((3, 4), (4,))),
    "%": (lambda x: x % 0.3, ((3, 4),)),
    "neg, abs, clamp": (lambda x: (-x).abs().clamp(0.1, 0.7), ((3, 4),)),
    "exp, log": (lambda x: (x.exp() + 1).log() + x.abs().log1p() + x.expm1(), ((3, 4),)),
    "sqrt, sin, cos": (lambda x: (x * x + 1).sqrt() + x.sin() * x.cos(), ((3, 4),)),
    "sinh": (lambda x: x.sinh(), ((3, 4),)),
    "round": (lambda x: x + (3 * x).round(), ((3, 4),)),
    "where": (lambda x, y: minidl.where(x > 0, x, y), ((3, 4), (3, 4))),
    "reshape, permute, expand": (
        lambda x: x.reshape(4, 3).T.unsqueeze(1).expand(3, 2, 4), ((12,),)),
    "clone, cast": (lambda x: x.clone().double().float(), ((3, 4),)),
    "move": (lambda x: x.cpu().to(x.device), ((3, 4),)),
    "cat, flip, roll": (lambda x, y: minidl.cat([x, y.flip(0).roll(1, 1)]), ((3, 4), (2, 4))),
    "triangle, diagonal": (
        lambda x: x.tril() + x.triu(1) * 2 + x.diagonal(), ((4, 4),)),
    "sum, mean, var, std": (
        lambda x: x.sum(0) + x.mean(1).sum() + x.var(0) + x.std(0), ((5, 4),)),
    "norm": (lambda x: x.norm(), ((5, 4),)),
    "max, min": (lambda x: x.max() + x.min() + x.max(0)[0] + x.amax(0), ((5, 4),)),
    "prod, cumsum, cumprod": (lambda x: x.prod(0) + x.cumsum(0) + x.cumprod(0), ((5, 4),)),
    "logsumexp": (lambda x: x.logsumexp(1), ((5, 4),)),
    "indexing": (lambda x: x[1:, ::2].sum() + x[[0, 2, 2]] + x[x > 0].sum(), ((5, 4),)),
    "assigning": (lambda x, y: _assigned(x, y), ((5, 4), (4,))),
    "gather, index_add": (
        lambda x: x.gather(1, _places(x)) + x.index_add(0, _rows(x), x), ((5, 4),)),
    "matmul": (lambda x, y: x @ y, ((2, 5, 4), (4, 3))),
    "relu, tanh, sigmoid": (lambda x: x.relu() + x.tanh() * x.sigmoid(), ((5, 4),)),
    "rectifiers": (
        lambda x: F.leaky_relu(x) + F.elu(x) + F.silu(x) + F.softplus(x), ((5, 4),)),
    "gelu": (lambda x: F.gelu(x) + F.gelu(x, "tanh"), ((5, 4),)),
    "softmax": (lambda x: F.softmax(x, 1) + F.log_softmax(x, 0), ((5, 4),)),
    "unfold, fold": (
        lambda x: F.fold(F.unfold(x, 3, padding=1, stride=2), (9, 8), 3, padding=1, stride=2),
        (IMAGES,)),
    "pad": (lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"), (IMAGES,)),
    "conv2d": (
        lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, groups=2),
        (IMAGES, (6, 2, 3, 3), (6,))),
    "conv_transpose2d": (
        lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, groups=2),
        (IMAGES, (4, 3, 3, 2), (6,))),
    "locally_connected2d": (
        lambda x, w, b: F.locally_connected2d(x, w, b, 3), (IMAGES, (7 * 6, 6, 36), (6, 7, 6))),
    "linear": (F.linear, ((5, 4), (3, 4), (3,))),
    "dropout": (lambda x: _seeded(F.dropout, x) + _seeded(F.plain_dropout, x), ((50, 40),)),
    "cross_entropy": (lambda x: F.cross_entropy(x, LABELS.to(x.device)), ((3, 4),)),
    "nll_loss": (lambda x: F.nll_loss(x, LABELS.to(x.device)), ((3, 4),)),
    "mse_loss": (F.mse_loss, ((3, 4), (3, 4))),
    "l1_loss, smooth_l1_loss": (
        lambda x, y: F.l1_loss(x, y) + F.smooth_l1_loss(x, y, beta=0.5), ((3, 4), (3, 4))),
    "binary_cross_entropy": (
        lambda x, y: F.binary_cross_entropy_with_logits(x, y.sigmoid())
        + F.binary_cross_entropy(x.sigmoid(), y.sigmoid()), ((3, 4), (3, 4))),
    "local_response_norm": (
        lambda x: F.local_response_norm(x, 5, alpha=1.0, k=2.0, groups=2), (MAPS,)),
    "spatial_response_norm": (lambda x: F.spatial_response_norm(x, 5, alpha=1.0), (MAPS,)),
    "batch_norm": (BatchNorm2d(12), (MAPS,)),
    "group_norm, layer_norm": (
        lambda x, w, b: F.group_norm(x, 3, w, b) + F.layer_norm(x, (7, 6)), (MAPS, (12,), (12,))),
    "embedding": (lambda x: F.embedding(LABELS.to(x.device), x), ((5, 4),)),
    "interpolation": (lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"), (MAPS,)),
    "the median": (lambda x: x.median() * x, ((5, 4),)),
    "scattering": (lambda x, y: x.scatter(1, _places(x), y), ((5, 4), (5, 4))),
    "a changed view": (lambda x: _changed_view(x), (MAPS,)),
    "pools": (
        lambda x: F.max_pool2d(x, 3, 2).sum() + F.avg_pool2d(x, 3, 2)
        + F.adaptive_avg_pool2d(x, 2).sum(), (MAPS,)),
    "ReLU with its neighbors": (
        Sequential(
            Conv2d(12, 6, 3), ReLU(), LocalResponseNorm(5, alpha=1.0), Conv2d(6, 6, 3, padding=1),
            ReLU(), Conv2d(6, 6, 3, padding=1), ReLU(), MaxPool2d(2), minidl.nn.Flatten(),
            Linear(24, 5), ReLU(),
        ), (MAPS,)),
}  # fmt: skip


def _changed_view(x: Any) -> Any:
    z = x * 2
    z[1].mul_(x[0])
    return z


def _assigned(x: Any, y: Any) -> Any:
    z = x * 2
    z[1] = y
    return z


def _places(x: Any) -> Any:
    return minidl.tensor([[0, 1, 1, 3]] * 5, device=x.device)


def _rows(x: Any) -> Any:
    return minidl.tensor([0, 1, 1, 3, 4], device=x.device)


def _seeded(dropout: Callable[..., Any], x: Any) -> Any:
    minidl.manual_seed(3)
    return dropout(x, 0.4)


def results(name: str, device: str) -> list[np.ndarray]:
    """Return the output and the gradients of all inputs and parameters."""
    function, shapes = CASES[name]
    leaves = [
        helpers.leaf(helpers.values(shape, number, np.float32), device)
        for number, shape in enumerate(shapes)
    ]
    if isinstance(function, Module):
        minidl.manual_seed(1)
        for module in function.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        function.to(device).zero_grad()
        parameters = list(function.parameters())
    else:
        parameters = []
    out = function(*leaves)
    out.backward(minidl.from_numpy(helpers.values(tuple(out.shape), 9, np.float32)).to(device))
    grads = [tensor.grad for tensor in (*leaves, *parameters)]
    return [helpers.host(tensor) for tensor in (out, *grads)]


@pytest.mark.parametrize("name", CASES)
def test_same_numbers(name: str, gpu: str) -> None:
    for own, right in zip(results(name, gpu), results(name, "cpu"), strict=True):
        assert own.dtype == right.dtype and own.shape == right.shape
        assert np.abs(own - right).max() <= 1e-5 * np.abs(right).max()


def test_the_masks_of_dropout_have_the_same_bits(gpu: str) -> None:
    for own, right in zip(results("dropout", gpu), results("dropout", "cpu"), strict=True):
        np.testing.assert_array_equal(own == 0, right == 0)


def _functions(kind: type = Function) -> Iterator[type]:
    for child in kind.__subclasses__():
        several = child.__module__ in ("minidl.nn.exchange", "minidl.nn.sync_batch_norm")
        if child.__module__.startswith("minidl.") and not several:  # those need several processes
            yield child
        yield from _functions(child)


def test_no_operation_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    apply = Function.__dict__["apply"].__func__

    def noted(kind: type, *args: Any) -> Any:
        seen.add(kind)
        return apply(kind, *args)

    monkeypatch.setattr(Function, "apply", classmethod(noted))
    for name in CASES:
        results(name, "cpu")
    # those without a forward belong to gradients of gradients
    kinds = {kind for kind in _functions() if kind.forward is not Function.forward}
    missing = {kind.__name__ for kind in kinds - seen}
    # nothing moves from the CPU to the CPU; the others are put on the tape without apply
    assert missing == {"Move", "NormalFunction", "Replace", "BackwardHookFunction"}
