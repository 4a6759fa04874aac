"""Adam and AdamW against a float64 reference and against PyTorch."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError
from minidl.optim import Adam, AdamW

CASES = list(product((Adam, AdamW), (0.0, 0.1), (False, True), (False, True)))


def run(optimizer: Any, w: Any, gradients: Any) -> Any:
    for gradient in gradients:
        w.grad = minidl.tensor(gradient, dtype=w.dtype, device=w.device)
        optimizer.step()
    return w.detach().cpu().numpy()


def reference(
    kind: Any, w: Any, gradients: Any, decay: float, amsgrad: bool, maximize: bool
) -> Any:
    m = s = largest = np.zeros_like(w)
    for t, gradient in enumerate(gradients, 1):
        g = -gradient if maximize else gradient
        if kind is AdamW:
            w = w - 0.1 * decay * w
        else:
            g = g + decay * w
        m = 0.9 * m + 0.1 * g
        s = 0.999 * s + 0.001 * g * g
        largest = np.maximum(largest, s)
        corrected = (largest if amsgrad else s) / (1 - 0.999**t)
        w = w - 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(corrected) + 1e-8)
    return w


@pytest.mark.parametrize(("kind", "decay", "amsgrad", "maximize"), CASES)
def test_every_combination_of_options(
    kind: Any, decay: float, amsgrad: bool, maximize: bool, device: str
) -> None:
    rng = np.random.default_rng(1)
    start = rng.standard_normal((3, 2))
    gradients = rng.standard_normal((6, 3, 2)) * np.array([3, 1, 0.3, 1, 0.1, 2])[:, None, None]
    w = minidl.nn.Parameter(minidl.tensor(start, dtype=minidl.float64, device=device))
    optimizer = kind([w], lr=0.1, weight_decay=decay, amsgrad=amsgrad, maximize=maximize)
    expected = reference(kind, start, gradients, decay, amsgrad, maximize)
    # 1 - 0.999 has lost 10 bits: the moments' relative error is 2**10 of an eps
    tolerance = 2**12 * np.finfo(np.float64).eps
    np.testing.assert_allclose(
        run(optimizer, w, gradients), expected, rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize(("kind", "decay", "amsgrad", "maximize"), CASES)
def test_equals_torch(kind: Any, decay: float, amsgrad: bool, maximize: bool, device: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    start = rng.standard_normal((3, 2)).astype(np.float32)
    gradients = rng.standard_normal((5, 3, 2)).astype(np.float32)
    options = {"lr": 0.1, "weight_decay": decay, "amsgrad": amsgrad, "maximize": maximize}
    w = minidl.nn.Parameter(minidl.tensor(start, device=device))
    found = run(kind([w], **options), w, gradients)
    theirs = torch.nn.Parameter(torch.tensor(start))
    optimizer = getattr(torch.optim, kind.__name__)([theirs], **options)
    for gradient in gradients:
        theirs.grad = torch.tensor(gradient)
        optimizer.step()
    eps = float(np.finfo(np.float32).eps)
    np.testing.assert_allclose(found, theirs.detach().numpy(), rtol=32 * eps, atol=32 * eps)


def test_the_first_step_is_the_rate_whatever_the_gradient(device: str) -> None:
    for size in (1e-3, 1.0, 1e4):
        w = minidl.nn.Parameter(minidl.tensor([0.0], dtype=minidl.float64, device=device))
        assert run(Adam([w], lr=0.5, eps=0.0), w, [[size]])[0] == pytest.approx(-0.5, rel=1e-12)


def test_the_step_counter_is_a_tensor_on_the_cpu(device: str) -> None:
    w = minidl.nn.Parameter(minidl.tensor([0.0], device=device))
    optimizer = Adam([w])
    run(optimizer, w, [[1.0], [1.0]])
    assert optimizer.state[w]["step"].item() == 2.0
    assert str(optimizer.state[w]["step"].device) == "cpu"


def test_a_step_saved_as_a_number_is_accepted(device: str) -> None:
    w = minidl.nn.Parameter(minidl.tensor([0.0], device=device))
    optimizer = Adam([w])
    run(optimizer, w, [[1.0]])
    state = optimizer.state_dict()
    state["state"][0]["step"] = 1
    other = Adam([w])
    other.load_state_dict(state)
    run(other, w, [[1.0]])
    assert other.state[w]["step"].item() == 2.0


def test_bad_options_are_refused() -> None:
    w = minidl.nn.Parameter(minidl.zeros(1))
    for options in (
        {"lr": -1.0},
        {"eps": -1e-8},
        {"weight_decay": -1.0},
        {"betas": (1.0, 0.9)},
        {"betas": (0.9, -0.1)},
        {"betas": (0.9,)},
        {"differentiable": True},
    ):
        with pytest.raises(ArgumentError, match="AdamW"):
            AdamW([w], **options)  # type: ignore[arg-type]
