"""Binary cross-entropy against its definition, number by number."""

from __future__ import annotations

import math
from typing import Any

import helpers
import numpy as np
import operation
import pytest

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError

WEIGHT, POS_WEIGHT = np.array([0.5, 2.0, 1.0]), np.array([3.0, 0.5, 1.0])


def definition(p: Any, target: Any, weight: Any, pos_weight: Any, reduction: str) -> Any:
    def one(p: float, t: float, w: float, c: float) -> float:
        return -w * (c * t * math.log(p) + (1 - t) * math.log(1 - p))

    losses = np.vectorize(one, otypes=[float])(p, target, weight, pos_weight)
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


def of_logits(
    x: Any, t: Any, weighted: bool = False, positive: bool = False, reduction: str = "mean"
) -> Any:
    p = 1 / (1 + np.exp(-x))
    return definition(p, t, WEIGHT if weighted else 1, POS_WEIGHT if positive else 1, reduction)


def logits(
    x: Any, t: Any, weighted: bool = False, positive: bool = False, reduction: str = "mean"
) -> Any:
    weight, pos_weight = (
        minidl.tensor(values, device=x.device) if wanted else None
        for values, wanted in ((WEIGHT, weighted), (POS_WEIGHT, positive))
    )
    return F.binary_cross_entropy_with_logits(
        x, t, weight, reduction=reduction, pos_weight=pos_weight
    )


def probabilities(x: Any, t: Any, weighted: bool = False, reduction: str = "mean") -> Any:
    weight = minidl.tensor(WEIGHT, device=x.device) if weighted else None
    return F.binary_cross_entropy(x, t, weight, reduction=reduction)


def terms(x: tuple[int, ...], target: tuple[int, ...], **options: Any) -> int:
    return 40 * int(np.prod(x))


def in_unit(shape: tuple[int, ...], seed: int, dtype: Any) -> Any:
    """Numbers between 0.1 and 0.9."""
    return np.asarray(0.5 + 0.4 * helpers.values(shape, seed), dtype)


def logits_and_targets(shape: tuple[int, ...], seed: int, dtype: Any) -> Any:
    return (
        np.asarray(helpers.values(shape, 0) * 4, dtype) if seed == 0 else in_unit(shape, 1, dtype)
    )


def cases(*options: str) -> list[operation.Case]:
    first, second = operation.Case((4, 3), (4, 3), reduction="none"), operation.Case((4, 3), (4, 3))
    more = [operation.Case((2, 4, 3), (2, 4, 3), **{name: True}) for name in options]
    every = dict.fromkeys(options, True)
    return [first, second, *more, operation.Case((4, 3), (4, 3), reduction="sum", **every)]


TestBCEWithLogits = operation.standard_tests(
    logits,
    of_logits,
    cases("weighted", "positive"),
    batched=2,
    values=logits_and_targets,
    terms=terms,
    modules=[
        (nn.BCEWithLogitsLoss(reduction="none"), {"reduction": "none"}),
        (nn.BCEWithLogitsLoss(), {}),
    ],
)
TestBCE = operation.standard_tests(
    probabilities,
    lambda p, t, weighted=False, reduction="mean": definition(
        p, t, WEIGHT if weighted else 1, 1, reduction
    ),
    cases("weighted"),
    batched=2,
    values=in_unit,
    terms=terms,
    modules=[(nn.BCELoss(reduction="none"), {"reduction": "none"}), (nn.BCELoss(), {})],
)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_same_as_pytorch(weighted: bool, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional
    x, target = helpers.values((5, 3), 0) * 20, in_unit((5, 3), 1, np.float64)
    target[0] = [0, 1, 1]
    p = 1 / (1 + np.exp(-x))
    p[1] = [0, 1, 0.5]
    weight, pos_weight = (WEIGHT, POS_WEIGHT) if weighted else (None, None)

    def tensors(make: Any) -> list[Any]:
        return [None if a is None else make(a) for a in (weight, pos_weight)]

    for input, is_logits in ((x, True), (p, False)):
        mine, their = (
            [make(input, requires_grad=True), make(target, requires_grad=True)]
            for make in (minidl.tensor, torch.tensor)
        )
        (w, c), (their_w, their_c) = tensors(minidl.tensor), tensors(torch.tensor)
        if is_logits:
            loss = F.binary_cross_entropy_with_logits(*mine, w, reduction=reduction, pos_weight=c)
            right = theirs.binary_cross_entropy_with_logits(
                *their, their_w, reduction=reduction, pos_weight=their_c
            )
        else:
            loss = F.binary_cross_entropy(*mine, w, reduction=reduction)
            right = theirs.binary_cross_entropy(*their, their_w, reduction=reduction)
        helpers.assert_close(loss, right.detach().numpy(), 40)
        loss.sum().backward()
        right.sum().backward()
        np.testing.assert_allclose(helpers.host(mine[0].grad), their[0].grad.numpy(), 1e-8, 1e-14)
        if is_logits:
            np.testing.assert_allclose(
                helpers.host(mine[1].grad), their[1].grad.numpy(), 1e-9, 1e-14
            )


@pytest.mark.parametrize("dtype", [np.float16, *helpers.DTYPES], ids=str)
def test_large_logits(dtype: Any, device: str) -> None:
    x = helpers.leaf(np.array([-1000, 1000, -1000, 1000], dtype), device)
    target = minidl.tensor(np.array([0, 1, 1, 0], dtype), device=device)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        losses = F.binary_cross_entropy_with_logits(x, target, reduction="none")
        losses.sum().backward()
    assert losses.tolist() == [0, 0, 1000, 1000]
    assert x.grad.tolist() == [0, 0, -1, 1]


@pytest.mark.parametrize("dtype", [np.float16, *helpers.DTYPES], ids=str)
def test_wrong_certainty_has_the_loss_100(dtype: Any, device: str) -> None:
    p = helpers.leaf(np.array([0, 1, 0, 1], dtype), device)
    target = minidl.tensor(np.array([0, 1, 1, 0], dtype), device=device)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        losses = F.binary_cross_entropy(p, target, reduction="none")
    assert losses.tolist() == [0, 0, 100, 100]


def test_integer_targets_and_weights_that_broadcast(device: str) -> None:
    x = minidl.tensor(helpers.values((2, 3, 4), 0, np.float32), device=device)
    target = minidl.tensor((helpers.values((2, 3, 4), 1) > 0).astype(np.int64), device=device)
    weight = minidl.tensor(helpers.values((3, 1), 2) + 1.5, device=device)
    loss = F.binary_cross_entropy_with_logits(x, target, weight, reduction="none")
    alone = F.binary_cross_entropy_with_logits(x, target.float(), reduction="none")
    assert loss.dtype == np.float32
    np.testing.assert_allclose(
        helpers.host(loss), helpers.host(alone) * helpers.host(weight), rtol=1e-6
    )


def test_weights_are_buffers() -> None:
    module = nn.BCEWithLogitsLoss(minidl.ones(3), pos_weight=minidl.ones(3))
    assert list(module.state_dict()) == ["weight", "pos_weight"]
    assert list(nn.BCELoss().state_dict()) == []


def test_errors_name_the_argument() -> None:
    x = minidl.full((4, 3), 0.5)
    for function in (F.binary_cross_entropy, F.binary_cross_entropy_with_logits):
        name = function.__name__
        with pytest.raises(ShapeError, match=f"{name}: input has shape"):
            function(x, minidl.zeros(4))
        with pytest.raises(ArgumentError, match=f"{name}: reduction"):
            function(x, x, reduction="average")
        with pytest.raises(ShapeError, match=f"{name}: weight of shape .4,. does not broadcast"):
            function(x, x, minidl.ones(4))
        with pytest.raises(DTypeError, match=f"{name}: input must be floats"):
            function(minidl.tensor([1]), minidl.tensor([1]))
    with pytest.raises(ShapeError, match="pos_weight"):
        F.binary_cross_entropy_with_logits(x, x, pos_weight=minidl.ones(2, 4, 3))
    with pytest.raises(ArgumentError, match="expected 0 to 1"):
        F.binary_cross_entropy(x + 1, x)
    with pytest.raises(ArgumentError, match="expected 0 to 1"):
        F.binary_cross_entropy(x + float("nan"), x)


def test_weights_are_changed_after_they_were_used() -> None:
    for given in ({"weight": None}, {"pos_weight": None}):
        x, w = minidl.zeros(3, requires_grad=True), minidl.tensor([1.0, 2.0, 3.0])
        loss = minidl.nn.functional.binary_cross_entropy_with_logits(
            x, minidl.ones(3), **dict.fromkeys(given, w), reduction="sum"
        )
        w.zero_()
        loss.backward()
        assert x.grad.tolist() == [-0.5, -1.0, -1.5]


def test_targets_are_from_0_to_1() -> None:
    with pytest.raises(ArgumentError, match="target holds 3.0 to 3.0: expected 0 to 1"):
        F.binary_cross_entropy(minidl.tensor([0.5]), minidl.tensor([3.0]))
