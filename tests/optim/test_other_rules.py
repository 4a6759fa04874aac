"""RMSprop, Adadelta and Adagrad against PyTorch's numbers, recorded and live."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError
from minidl.optim import Adadelta, Adagrad, RMSprop

# The kind, its options, and the parameter after 5 steps in float64 by PyTorch 2.13.
CASES: list[tuple[Any, dict[str, Any], list[float]]] = [
    (RMSprop, {"lr": 0.1}, [0.27316041874314967, -0.5703717975305151, 1.8938110114943765]),
    (
        RMSprop,
        {"lr": 0.1, "alpha": 0.9, "weight_decay": 0.1, "maximize": True},
        [1.1766815948301592, -2.456991484444983, -0.5956231406421072],
    ),
    (
        RMSprop,
        {"lr": 0.1, "momentum": 0.9},
        [-1.657476118299174, 3.027029069919758, 1.7316562862289433],
    ),
    (
        RMSprop,
        {"lr": 0.1, "centered": True, "eps": 1e-3},
        [0.27037402861296345, -0.5622790930215271, 1.855773233846714],
    ),
    (
        RMSprop,
        {"lr": 0.1, "centered": True, "momentum": 0.5, "weight_decay": 0.2},
        [-0.35049609764103995, 0.5643610774558004, 0.6370579208764088],
    ),
    (Adadelta, {}, [0.9975519743539902, -1.9947389076335436, 0.5105367727934984]),
    (
        Adadelta,
        {"lr": 2.0, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1},
        [0.9303949756368708, -1.8095640034139122, 0.5148722209911072],
    ),
    (Adadelta, {"maximize": True}, [1.0024480256460098, -2.005261092366456, 0.48946322720650154]),
    (Adagrad, {"lr": 0.1}, [0.9271109071708327, -1.8575447202970068, 0.6384124694450254]),
    (
        Adagrad,
        {"lr": 0.1, "lr_decay": 0.3, "weight_decay": 0.1, "maximize": True},
        [1.0644343155134077, -2.1240052400008875, 0.21620293019648334],
    ),
    (
        Adagrad,
        {"lr": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-2},
        [0.9304238222853387, -1.8576531194570074, 0.5284002344277456],
    ),
]
NAMES = [f"{kind.__name__}-{number}" for number, (kind, _, _) in enumerate(CASES)]
START = np.array([1.0, -2.0, 0.5])
GRADIENTS = np.random.default_rng(3).standard_normal((5, 3)) * np.array([1.0, 10.0, 0.1])


def run(module: Any, optimizer: Any, w: Any) -> list[float]:
    for gradient in GRADIENTS:
        w.grad = module.tensor(gradient, device=w.device)
        optimizer.step()
    return w.detach().cpu().numpy().tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("kind", "options", "expected"), CASES, ids=NAMES)
def test_equals_torchs_recorded_numbers(
    kind: Any, options: dict[str, Any], expected: list[float], device: str
) -> None:
    w = minidl.nn.Parameter(minidl.tensor(START, device=device))
    found = run(minidl, kind([w], **options), w)
    # five steps of some ten roundings; 1 - 0.99 has lost 7 bits, a centered variance 3 more
    np.testing.assert_allclose(found, expected, rtol=2**14 * np.finfo(np.float64).eps)


@pytest.mark.parametrize(("kind", "options", "expected"), CASES, ids=NAMES)
def test_equals_torch(kind: Any, options: dict[str, Any], expected: list[float]) -> None:
    torch = pytest.importorskip("torch")
    w = torch.nn.Parameter(torch.tensor(START))
    found = run(torch, getattr(torch.optim, kind.__name__)([w], **options), w)
    np.testing.assert_allclose(found, expected, rtol=2**14 * np.finfo(np.float64).eps)


@pytest.mark.parametrize(("kind", "options", "expected"), CASES, ids=NAMES)
def test_continues_from_a_saved_state(
    kind: Any, options: dict[str, Any], expected: list[float]
) -> None:
    whole, first = (minidl.nn.Parameter(minidl.tensor(START)) for _ in range(2))
    run(minidl, optimizer := kind([first], **options), first)
    second = minidl.nn.Parameter(first.detach().clone())
    other = kind([second], **options)
    other.load_state_dict(optimizer.state_dict())
    run(minidl, other, second)
    optimizer = kind([whole], **options)
    run(minidl, optimizer, whole)
    run(minidl, optimizer, whole)
    assert second.tolist() == whole.tolist()
    assert set(other.state[second]) == set(optimizer.state[whole])


@pytest.mark.parametrize("kind", [RMSprop, Adadelta, Adagrad])
def test_the_state_has_torchs_names(kind: Any) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = minidl.nn.Parameter(minidl.zeros(2)), torch.nn.Parameter(torch.zeros(2))
    ours.grad, theirs.grad = minidl.ones(2), torch.ones(2)
    options = {"centered": True, "momentum": 0.5} if kind is RMSprop else {}
    a, b = kind([ours], **options), getattr(torch.optim, kind.__name__)([theirs], **options)
    a.step()
    b.step()
    assert set(a.state[ours]) == set(b.state[theirs])
    assert a.defaults == b.defaults


def test_bad_options_are_refused() -> None:
    w = minidl.nn.Parameter(minidl.zeros(1))
    for kind, options in (
        (RMSprop, {"alpha": -1.0}),
        (RMSprop, {"momentum": -1.0}),
        (RMSprop, {"differentiable": True}),
        (Adadelta, {"rho": 1.5}),
        (Adadelta, {"lr": -1.0}),
        (Adagrad, {"initial_accumulator_value": -1.0}),
        (Adagrad, {"lr_decay": -1.0}),
    ):
        with pytest.raises(ArgumentError, match=kind.__name__):
            kind([w], **options)  # type: ignore[arg-type]
