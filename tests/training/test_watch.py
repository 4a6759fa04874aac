"""minidl.training.watch: errors name what is not finite; a flat loss is noticed."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minidl
from minidl import nn
from minidl.nn.functional import cross_entropy
from minidl.optim import SGD
from minidl.training.watch import FiniteCheck, FlatLoss, NotFiniteError


class Root(nn.Module):
    """A layer whose output is NaN for a negative number."""

    def forward(self, x: minidl.Tensor) -> minidl.Tensor:
        return x.sqrt()


class Training:
    """A network of two layers, and one training step on the device under test."""

    def __init__(self, device: str, layer: nn.Module) -> None:
        minidl.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 4), layer, nn.Linear(4, 2)).to(device)
        self.images = minidl.randn(5, 3).to(device)
        self.labels = minidl.tensor([0, 1, 0, 1, 1]).to(device)
        self.optimizer = SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.check = FiniteCheck(self.model)

    def loss(self) -> minidl.Tensor:
        return cross_entropy(self.model(self.images), self.labels)

    def backward(self) -> None:
        self.optimizer.zero_grad()
        self.loss().backward()


@pytest.fixture
def training(device: str) -> Training:
    return Training(device, nn.ReLU())


def test_finite_numbers_pass(training: Training) -> None:
    for step in (1, 2):
        training.check.loss(training.loss(), training.images, step)
        training.backward()
        training.optimizer.step()
        training.check.parameters(step)


@pytest.mark.parametrize("value, kind", [(math.nan, "nan"), (math.inf, "inf")])
def test_broken_batch_is_named(training: Training, value: float, kind: str) -> None:
    training.images[1, 2] = value
    with pytest.raises(
        NotFiniteError, match=rf"^the loss is nan in step 3: the batch has 1 {kind}$"
    ):
        training.check.loss(math.nan, training.images, 3)


def test_broken_parameter_is_named(training: Training) -> None:
    training.model[2].bias.data[1] = math.inf
    with pytest.raises(NotFiniteError, match=r"the parameter 2\.bias has 1 inf$"):
        training.check.loss(training.loss(), training.images, 3)


def test_broken_layer_is_named(device: str) -> None:
    training = Training(device, Root())
    loss = training.loss()
    with pytest.raises(NotFiniteError, match=r"the output of 1 \(Root\) has \d+ nan$"):
        training.check.loss(loss, training.images, 3)
    assert not training.model[1]._forward_hooks


def test_a_loss_that_becomes_nan_by_itself(training: Training) -> None:
    with pytest.raises(NotFiniteError, match="the output of every layer is finite"):
        training.check.loss(math.inf, training.images, 3)


@pytest.mark.parametrize("value, kind", [(math.nan, "nan"), (-math.inf, "inf")])
def test_broken_gradient_is_named_in_the_step_that_uses_it(
    training: Training, value: float, kind: str
) -> None:
    training.backward()
    training.model[0].weight.grad.array[2, :2] = value
    training.optimizer.step()
    message = rf"^the gradient of 0\.weight has 2 {kind} in step 17$"
    with pytest.raises(NotFiniteError, match=message):
        training.check.parameters(17)


def test_the_gradient_nearest_to_the_loss_is_named(training: Training) -> None:
    training.backward()
    for layer in (0, 2):
        training.model[layer].weight.grad.array[0, 0] = math.nan
    training.optimizer.step()
    with pytest.raises(NotFiniteError, match=r"the gradient of 2\.weight has"):
        training.check.parameters(17)
    training.check.summed = True
    with pytest.raises(NotFiniteError, match=r"of 2\.weight, the sum of all ranks', has"):
        training.check.parameters(17)


def test_a_step_that_is_too_large(training: Training) -> None:
    training.backward()
    training.model[0].weight.grad.array[:] = 1e20
    training.optimizer.param_groups[0]["lr"] = 1e30
    training.optimizer.step()
    with pytest.raises(NotFiniteError, match="whose gradients are finite: the step was too large"):
        training.check.parameters(17)


def test_an_overflowing_sum_is_no_alarm(training: Training) -> None:
    training.model[0].weight.data[:] = 3e38
    training.check.parameters(1)


def test_every_part_of_a_large_parameter_is_checked() -> None:
    model = nn.Linear(1500, 1000, bias=False)  # more than one piece
    for place in (0, 700_000, 1_499_999):
        model.weight.data.array.reshape(-1)[place] = np.nan
        with pytest.raises(NotFiniteError, match="weight has 1 nan"):
            FiniteCheck(model).parameters(1)
        model.weight.data.array.reshape(-1)[place] = 0


def test_flat_loss_gives_its_hint_once() -> None:
    flat = FlatLoss(1000)
    assert [flat.update([6.95]) for _ in range(2000)].index(True) == 1999
    assert "ln(classes) = 6.908" in flat.hint
    assert not flat.update([6.9] * 5000)


@pytest.mark.parametrize("losses", [[6.8] * 4000, [7.1] * 4000, [6.9] * 1400 + [6.5] * 600])
def test_a_loss_that_moves_is_not_flat(losses: list[float]) -> None:
    assert not FlatLoss(1000).update(losses)


def test_flat_loss_resumes_from_its_state() -> None:
    first, second = FlatLoss(10), FlatLoss(10)
    first.update([2.3] * 1800)
    second.load_state_dict(first.state_dict())
    assert not second.update([2.3] * 199) and second.update([2.3])
    first.load_state_dict(second.state_dict())
    assert not first.update([2.3] * 1000)
