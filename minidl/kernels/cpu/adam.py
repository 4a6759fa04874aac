"""Adam's rule (``optim/adam.py``) with every result in place, one cache-sized piece at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...device import Array
from ..updates import Update
from . import many
from .memory import scratch


def step(updates: Sequence[Update]) -> None:
    """Change parameters and their moments in place; the numbers are those of ``Adam._rule``."""
    many.update(_rule, updates)


def _rule(param: Array, grad: Array, state: tuple[Array, ...], numbers: tuple[Any, ...]) -> None:
    beta1, beta2, eps, step_size, root, decay, decoupled_lr, maximize = numbers
    work, other = scratch("optim", (2, *param.shape), param.dtype)
    mean, square, *largest = state

    if maximize:
        grad = np.negative(grad, out=work)
    if decay and decoupled_lr is not None:
        np.multiply(param, 1 - decoupled_lr * decay, out=param)
    elif decay:
        np.multiply(param, decay, out=other)
        grad = np.add(grad, other, out=work)

    np.subtract(grad, mean, out=other)  # m ← m + (1 − β₁)·(g − m)
    np.multiply(other, 1 - beta1, out=other)
    np.add(mean, other, out=mean)

    np.multiply(grad, grad, out=other)  # s ← β₂·s + (1 − β₂)·g²
    np.multiply(other, 1 - beta2, out=other)
    np.multiply(square, beta2, out=square)
    np.add(square, other, out=square)
    if largest:
        square = np.maximum(largest[0], square, out=largest[0])

    np.sqrt(square, out=other)  # √s/√(1 − β₂ᵗ) + δ
    np.divide(other, root, out=other)
    np.add(other, eps, out=other)
    np.divide(mean, other, out=work)
    np.multiply(work, step_size, out=work)
    np.subtract(param, work, out=param)
