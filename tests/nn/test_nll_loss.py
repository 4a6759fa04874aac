"""Negative log-likelihood against the loops of cross-entropy."""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import Any

import helpers
import losses
import numpy as np
import pytest
import reference
from losses import REDUCTIONS, class_weight, labels

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError


@pytest.mark.parametrize("way", ["kernel", "plain"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
def test_nll_loss_is_cross_entropy_without_the_softmax(
    weighted: bool, reduction: str, way: str, device: str
) -> None:
    for shape in [(4, 5), (2, 3, 2, 2)]:
        x, target = helpers.values(shape, 1), labels(shape)
        target[0] = -100
        weight = minidl.tensor(class_weight(shape), device=device) if weighted else None
        expected, _ = reference.cross_entropy(
            x, target, class_weight(shape) if weighted else None, reduction=reduction
        )
        label = minidl.tensor(target, device=device)
        with minidl.reference() if way == "plain" else nullcontext():
            logs = F.log_softmax(helpers.leaf(x, device), 1)
            helpers.assert_close(F.nll_loss(logs, label, weight, reduction=reduction), expected, 40)
            assert minidl.gradcheck(
                lambda x, label=label, weight=weight: F.nll_loss(
                    x, label, weight, reduction=reduction
                ),
                (helpers.leaf(x, device),),
            )


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_without_a_batch_and_in_float16(reduction: str, device: str) -> None:
    for shape in [(5,), (4, 5), (2, 5, 3)]:
        x = helpers.leaf(helpers.values(shape, 1, np.float16), device)
        target = minidl.tensor(labels(shape), device=device)
        loss = F.nll_loss(x, target, reduction=reduction)
        loss.sum().backward()
        wide = helpers.leaf(helpers.host(x).astype(np.float64), device)
        right = F.nll_loss(wide, target, reduction=reduction)
        right.sum().backward()
        helpers.assert_close(loss, helpers.host(right), 8)
        helpers.assert_close(x.grad, helpers.host(wide.grad), 8)


def test_labels_may_change_after_the_forward() -> None:
    gradients = []
    for change in (False, True):
        x = helpers.leaf(helpers.values((3, 4), 0))
        target = np.array([1, 0, 3])
        result = F.nll_loss(x, minidl.from_numpy(target))
        if change:  # as of a buffer that is filled with the next batch
            target[:] = 2
        result.backward()
        gradients.append(helpers.host(x.grad))
    np.testing.assert_array_equal(*gradients)


def test_the_module_is_the_function(device: str) -> None:
    x = minidl.tensor(helpers.values((4, 3), 0), device=device)
    target = minidl.tensor(labels((4, 3)), device=device)
    weight = minidl.tensor(class_weight((4, 3)), device=device)
    loss = F.nll_loss(x, target, weight, ignore_index=1, reduction="sum")
    assert nn.NLLLoss(weight, ignore_index=1, reduction="sum")(x, target).item() == loss.item()


def test_errors_name_the_argument() -> None:
    x = minidl.zeros(4, 3)
    with pytest.raises(ArgumentError, match="target holds class 3"):
        F.nll_loss(x, minidl.tensor([0, 1, 3, 0]))
    with pytest.raises(ShapeError, match="target"):
        F.nll_loss(x, minidl.tensor([0, 1]))
    with pytest.raises(DTypeError, match="class indices"):
        F.nll_loss(x, minidl.zeros(4))


# --- The kernels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gpu_launches(reduction: str, gpu: str, simulator: Any) -> None:
    for shape in [(6, 1000), (3, 4, 2, 2)]:
        x = helpers.leaf(helpers.values(shape, 0, np.float32), gpu)
        weight = minidl.tensor(class_weight(shape).astype(np.float32), device=gpu)
        target = minidl.tensor(labels(shape), device=gpu)
        add_up = {} if reduction == "none" else {"add_up": 1}
        found = losses.launches(
            simulator,
            (x,),
            lambda x=x, target=target, weight=weight: F.nll_loss(
                x, target, weight, reduction=reduction
            ),
        )
        assert found == [{"nll_forward": 1, **add_up}, {"nll_backward": 1}]


@pytest.mark.parametrize("wrong", [-1, 3, 1 << 40])
def test_gpu_a_class_that_does_not_exist_gives_nan(wrong: int, gpu: str) -> None:
    """An error would have to wait for the GPU."""
    x = helpers.leaf(helpers.values((3, 3), 0, np.float32), gpu)
    target = minidl.tensor([0, wrong, 2], device=gpu)
    weight = minidl.ones(3, device=gpu)
    for class_weights in (None, weight):
        losses = F.nll_loss(x, target, class_weights, reduction="none").tolist()
        assert [math.isnan(loss) for loss in losses] == [False, True, False]
        assert math.isnan(F.nll_loss(x, target, class_weights).item())


def test_what_does_not_count_may_be_impossible(device: str) -> None:
    x = helpers.leaf(np.array([[-np.inf, 0, 0], [-1, -2, -3]], np.float32), device)
    value = F.nll_loss(x, minidl.tensor([-100, 1], device=device))
    value.backward()
    alone = F.nll_loss(x[1:], minidl.tensor([1], device=device)).item()
    assert value.item() == pytest.approx(alone, rel=1e-6)
    assert helpers.host(x.grad)[0].tolist() == [0, 0, 0]
