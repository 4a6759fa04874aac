"""MSE, L1 and smooth L1 against their definitions, number by number."""

from __future__ import annotations

from typing import Any

import helpers
import losses
import numpy as np
import operation
import pytest
from losses import REDUCTIONS

import minidl
import minidl.nn.functional as F
from minidl import nn
from minidl.errors import ArgumentError, DTypeError, ShapeError


def reduced(losses: Any, reduction: str) -> Any:
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


def mse(x: Any, target: Any, reduction: str = "mean") -> Any:
    return reduced((x - target) ** 2, reduction)


def l1(x: Any, target: Any, reduction: str = "mean") -> Any:
    return reduced(np.abs(x - target), reduction)


def smooth_l1(x: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    def one(d: float) -> float:
        return d * d / (2 * beta) if abs(d) < beta else abs(d) - beta / 2

    return reduced(np.vectorize(one, otypes=[float])(x - target), reduction)


def cases(*options: dict[str, Any]) -> list[operation.Case]:
    both = (2, 3, 4, 5), (2, 3, 4, 5)
    reductions = [operation.Case(*both, reduction=reduction) for reduction in ("none", "sum")]
    return [
        *reductions,
        operation.Case(*both),
        *(operation.Case((4, 3), (4, 3), **o) for o in options),
    ]


def standard_tests(function: Any, loops: Any, module: Any, *options: dict[str, Any]) -> type:
    return operation.standard_tests(
        function,
        loops,
        cases(*options),
        any_case=operation.shapes().map(
            lambda shape: operation.Case(shape, shape, reduction="none")
        ),
        examples=30,
        batched=2,
        terms=lambda x, target, reduction="mean", **_: 8 if reduction == "none" else 8 * np.prod(x),
        modules=[
            (module(reduction="none"), {"reduction": "none"}),
            (module(), {"reduction": "mean"}),
        ],
        torch=function.__name__,
    )


TestMSELoss = standard_tests(F.mse_loss, mse, nn.MSELoss)
TestL1Loss = standard_tests(F.l1_loss, l1, nn.L1Loss)
TestSmoothL1Loss = standard_tests(
    F.smooth_l1_loss, smooth_l1, nn.SmoothL1Loss, {"beta": 0.25}, {"beta": 0.0}, {"beta": 2}
)


def test_l1_has_slope_0_at_0(device: str) -> None:
    x = helpers.leaf(np.array([-1.0, 0.0, 2.0]), device)
    for function in (F.l1_loss, lambda x, t, reduction: F.smooth_l1_loss(x, t, beta=0.0)):
        x.grad = None
        function(x, minidl.zeros(3, dtype=x.dtype, device=device), reduction="sum").backward()
        assert np.sign(helpers.host(x.grad)).tolist() == [-1, 0, 1]


def test_smooth_l1_has_pytorchs_arguments() -> None:
    x, target = minidl.tensor([0.0, 3.0]), minidl.tensor([1.0, 0.0])
    expected = F.smooth_l1_loss(x, target, reduction="sum", beta=0.5).item()
    assert nn.SmoothL1Loss(None, None, "sum", 0.5)(x, target).item() == expected
    assert expected == (1 - 0.25) + (3 - 0.25)


@pytest.mark.parametrize("function", [F.mse_loss, F.l1_loss, F.smooth_l1_loss])
def test_errors_name_the_argument(function: Any) -> None:
    x = minidl.zeros(4, 3)
    with pytest.raises(ShapeError, match=f"{function.__name__}: input has shape .4, 3., target"):
        function(x, minidl.zeros(4, 4))
    with pytest.raises(ArgumentError, match="reduction"):
        function(x, x, reduction="average")
    with pytest.raises(DTypeError, match="target must be a Tensor"):
        function(x, np.zeros((4, 3), np.float32))
    with pytest.raises(ArgumentError, match="beta"):
        F.smooth_l1_loss(x, x, beta=-1.0)


@pytest.mark.parametrize("function", [F.mse_loss, F.l1_loss])
def test_weights(function: Any, device: str) -> None:
    x, target, weight = (minidl.tensor(helpers.values((3, 4), s), device=device) for s in range(3))
    losses = helpers.host(function(x, target, reduction="none"))
    w = abs(helpers.host(weight))
    expected = {"none": losses * w, "sum": (losses * w).sum(), "mean": (losses * w).sum() / w.sum()}
    for reduction, value in expected.items():
        found = function(x, target, reduction=reduction, weight=weight.abs())
        helpers.assert_close(helpers.host(found), value)
    with pytest.raises(ShapeError):
        function(x, target, weight=weight[0])


def test_deprecated_arguments_choose_the_reduction() -> None:
    x, target = minidl.tensor([1.0, 2.0]), minidl.tensor([0.0, 0.0])
    assert F.mse_loss(x, target, size_average=False).item() == 5
    assert F.mse_loss(x, target, True, True).item() == 2.5
    assert F.mse_loss(x, target, reduce=False).tolist() == [1, 4]
    assert nn.L1Loss(size_average=False)(x, target).item() == 3
    assert F.binary_cross_entropy(x / 2, target, None, False).shape == ()
    assert nn.CrossEntropyLoss(reduce=False)(x[None], minidl.tensor([0])).shape == (1,)


def test_a_changed_input_is_noticed(device: str) -> None:
    x = helpers.leaf(helpers.values((3, 4), 0), device)
    y = x * 1
    loss = F.mse_loss(y, minidl.zeros(3, 4, dtype=minidl.float64, device=device))
    if device == "cpu":
        return  # the CPU keeps the difference, not its input
    with minidl.no_grad():
        y.add_(1)
    with pytest.raises(RuntimeError, match="in place"):
        loss.backward()


# --- The kernels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gpu_launches(reduction: str, gpu: str, simulator: Any) -> None:
    for shape in [(6, 1000), (3, 4, 2, 2)]:
        x, target = (helpers.leaf(helpers.values(shape, i, np.float32), gpu) for i in (0, 1))
        add_up = {} if reduction == "none" else {"add_up": 1}
        found = losses.launches(
            simulator,
            (x, target),
            lambda x=x, target=target: F.mse_loss(x, target, reduction=reduction),
        )
        assert found == [{"mse_forward": 1, **add_up}, {"mse_backward": 1}]


@pytest.mark.parametrize("count", [1, 255, 256, 257, 5000])
def test_the_mean_of_many_numbers(count: int, device: str) -> None:
    y = helpers.values((count, 300), 1, np.float32)[:, ::3]
    other = helpers.values((count, 100), 2, np.float32)
    leaf = helpers.leaf(y, device)
    loss = F.mse_loss(leaf, minidl.tensor(other, device=device))
    difference = y.astype(float) - other
    assert loss.item() == pytest.approx((difference**2).mean(), rel=1e-6)
    loss.backward()
    helpers.assert_close(leaf.grad, 2 * difference / difference.size, 2)
