"""SGD: PyTorch's rule and the paper's, both against a reference in plain Python numbers."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, CheckpointError
from minidl.optim import SGD

EPS = np.finfo(np.float64).eps


def parameter(values: Any, device: str, dtype: Any = minidl.float64) -> Any:
    return minidl.nn.Parameter(minidl.tensor(values, dtype=dtype, device=device))


def descend(optimizer: Any, param: Any, gradients: list[Any]) -> list[Any]:
    """Step with each gradient in turn; return the parameter after every step."""
    path = []
    for gradient in gradients:
        param.grad = minidl.tensor(gradient, dtype=param.dtype, device=param.device)
        optimizer.step()
        path.append(param.detach().cpu().numpy().copy())
    return path


def test_three_steps_of_the_paper_by_hand(device: str) -> None:
    # Powers of two, so that every number below is exact in binary.
    w = parameter([1.0], device)
    optimizer = SGD([w], lr=0.5, momentum=0.5, weight_decay=0.25, rate_in_velocity=True)
    path = descend(optimizer, w, [[1.0], [-2.0], [0.5]])
    # v1 = 0      - 0.125 * 1      - 0.5 * 1    = -0.625     w1 = 0.375
    # v2 = -0.3125 - 0.125 * 0.375 + 0.5 * 2    = 0.640625   w2 = 1.015625
    # v3 = 0.3203125 - 0.125 * 1.015625 - 0.25  = -0.056640625
    assert [p[0] for p in path] == [0.375, 1.015625, 0.958984375]


def test_the_papers_settings_follow_its_formula(device: str) -> None:
    """v <- 0.9 v - 0.0005 eps w - eps g; w <- w + v, with a rate that drops to a tenth."""
    gradients = np.random.default_rng(1).standard_normal((6, 5))
    start = np.random.default_rng(2).standard_normal(5)
    w = parameter(start, device)
    optimizer = SGD([w], lr=0.01, momentum=0.9, weight_decay=0.0005, rate_in_velocity=True)
    expected, v = start.copy(), np.zeros(5)
    for step, gradient in enumerate(gradients):
        rate = 0.01 if step < 3 else 0.001
        optimizer.param_groups[0]["lr"] = rate
        (found,) = descend(optimizer, w, [gradient])
        v = 0.9 * v - 0.0005 * rate * expected - rate * gradient
        expected = expected + v
        np.testing.assert_allclose(found, expected, rtol=8 * EPS, atol=8 * EPS)


def test_both_rules_agree_while_the_rate_is_constant_and_part_after_it_changes(device: str) -> None:
    gradients = list(np.random.default_rng(3).standard_normal((8, 4)))
    options: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    ours, papers = parameter(np.ones(4), device), parameter(np.ones(4), device)
    first = SGD([ours], **options)
    second = SGD([papers], **options, rate_in_velocity=True)
    for a, b in zip(
        descend(first, ours, gradients), descend(second, papers, gradients), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=64 * EPS, atol=64 * EPS)
    first.param_groups[0]["lr"] = second.param_groups[0]["lr"] = 0.01
    (a,), (b,) = (descend(o, p, [np.zeros(4)]) for o, p in ((first, ours), (second, papers)))
    # the paper's velocity still has the old rate's speed
    assert np.all(np.abs(a - b) > 1e-3)


def reference(w: Any, gradients: Any, options: dict[str, Any]) -> Any:
    lr, momentum, dampening = options["lr"], options["momentum"], options["dampening"]
    buffer = None
    for gradient in gradients:
        g = (-gradient if options["maximize"] else gradient) + options["weight_decay"] * w
        if momentum:
            buffer = g if buffer is None else momentum * buffer + (1 - dampening) * g
            g = g + momentum * buffer if options["nesterov"] else buffer
        w = w - lr * g
    return w


CASES = [
    {
        "lr": 0.1,
        "momentum": momentum,
        "dampening": dampening,
        "weight_decay": decay,
        "nesterov": nesterov,
        "maximize": maximize,
    }
    for momentum, dampening, decay, nesterov, maximize in product(
        (0, 0.9), (0, 0.5), (0, 0.1), (False, True), (False, True)
    )
    if not (nesterov and (momentum == 0 or dampening != 0))
]


@pytest.mark.parametrize("options", CASES, ids=str)
def test_every_combination_of_options(options: dict[str, Any], device: str) -> None:
    rng = np.random.default_rng(4)
    start, gradients = rng.standard_normal((3, 2)), list(rng.standard_normal((4, 3, 2)))
    w = parameter(start, device)
    found = descend(SGD([w], **options), w, gradients)[-1]
    np.testing.assert_allclose(
        found, reference(start, gradients, options), rtol=16 * EPS, atol=16 * EPS
    )


@pytest.mark.parametrize("options", CASES, ids=str)
def test_equals_torch(options: dict[str, Any], device: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    start = rng.standard_normal((3, 2)).astype(np.float32)
    gradients = list(rng.standard_normal((5, 3, 2)).astype(np.float32))
    w = parameter(start, device, minidl.float32)
    found = descend(SGD([w], **options), w, gradients)[-1]
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = torch.optim.SGD([theirs], **options)
    for gradient in gradients:
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
    eps = float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(found, theirs.detach().numpy(), rtol=16 * eps, atol=16 * eps)


def test_maximize_turns_the_gradient_around_in_the_papers_rule(device: str) -> None:
    gradients = list(np.random.default_rng(6).standard_normal((3, 4)))
    up, down = parameter(np.ones(4), device), parameter(np.ones(4), device)
    options: dict[str, Any] = {
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 0.1,
        "rate_in_velocity": True,
    }
    a = descend(SGD([up], **options, maximize=True), up, gradients)[-1]
    b = descend(SGD([down], **options), down, [-g for g in gradients])[-1]
    np.testing.assert_array_equal(a, b)


def test_the_velocity_outlives_the_gradient(device: str) -> None:
    w = parameter([0.0], device)
    path = descend(SGD([w], lr=1.0, momentum=0.5), w, [[1.0], [0.0], [0.0]])
    steps = [a[0] - b[0] for a, b in pairwise(path)]
    assert steps == [0.5, 0.25]


def test_bad_options_are_refused() -> None:
    w = minidl.nn.Parameter(minidl.zeros(1))
    for options in (
        {"lr": -1.0},
        {"lr": float("nan")},
        {"lr": "0.1"},
        {"lr": None},
        {"momentum": -0.1},
        {"weight_decay": -1e-4},
        {"nesterov": True},
        {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
        {"rate_in_velocity": True, "nesterov": True, "momentum": 0.9},
        {"rate_in_velocity": True, "momentum": 0.9, "dampening": 0.1},
        {"differentiable": True},
    ):
        with pytest.raises(ArgumentError, match="SGD"):
            SGD([w], **options)  # type: ignore[arg-type]


def test_a_state_of_pytorchs_rule_brings_its_rule(device: str) -> None:
    """A file without 'rate_in_velocity' comes from PyTorch, whose buffer is not a velocity."""
    w = parameter([1.0], device)
    old = SGD([w], lr=0.5, momentum=0.5)
    descend(old, w, [[1.0]])
    state = old.state_dict()
    for group in state["param_groups"]:
        del group["rate_in_velocity"]
    new = SGD([w], lr=0.5, momentum=0.5, rate_in_velocity=True)
    new.load_state_dict(state)
    assert new.param_groups[0]["rate_in_velocity"] is False
    assert descend(new, w, [[0.0]])[0][0] == 0.25


def test_loads_torchs_state(device: str) -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([theirs], lr=0.1, momentum=0.9)
    theirs.grad = torch.tensor([1.0, 2.0, 3.0])
    optimizer.step()
    buffer = minidl.tensor(theirs.grad.numpy())  # what their first step makes it
    state = {**optimizer.state_dict(), "state": {0: {"momentum_buffer": buffer}}}
    w = parameter(theirs.detach().numpy(), device, minidl.float32)
    ours = SGD([w], lr=7.0)
    ours.load_state_dict(state)
    (found,) = descend(ours, w, [np.zeros(3)])
    theirs.grad = torch.zeros(3)
    optimizer.step()
    eps = float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(found, theirs.detach().numpy(), rtol=2 * eps)


def test_something_else_is_no_state() -> None:
    optimizer = SGD([minidl.nn.Parameter(minidl.zeros(1))])
    with pytest.raises(CheckpointError, match="SGD"):
        optimizer.load_state_dict({"weight": 1})
