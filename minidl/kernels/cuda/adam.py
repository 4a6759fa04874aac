"""Adam's rule (``optim/adam.py``) for all parameters of a device in one launch of ``adam.cu``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..updates import Update
from .many import ManySource

_ADAM = ManySource(
    "adam.cu",
    arrays=("param", "grad", "mean", "square", "largest"),
    numbers=("rest1", "beta2", "rest2", "eps", "step_size", "root", "decay", "shrink"),
    flags=("decoupled", "maximize"),
)


def step(updates: Sequence[Update]) -> None:
    """Change parameters and their moments in place; the numbers are those of ``Adam._rule``."""
    _ADAM.update("adam", updates, _members)


def _members(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the numbers and flags of a row, computed in Python's double precision."""
    beta1, beta2, eps, step_size, root, decay, decoupled_lr, maximize = numbers
    decoupled = decoupled_lr is not None and decay != 0
    shrink = 1 - decoupled_lr * decay if decoupled else 1.0
    rates = (1 - beta1, beta2, 1 - beta2, eps, step_size, root, decay, shrink)
    return (*rates, decoupled, maximize)
