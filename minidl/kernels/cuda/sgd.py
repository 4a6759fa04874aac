"""SGD's rule (``optim/sgd.py``) for all parameters of a device in one launch of ``sgd.cu``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..updates import Update
from .many import ManySource

_SGD = ManySource(
    "sgd.cu",
    arrays=("param", "grad", "state"),
    numbers=("rate", "momentum", "undamped", "decay", "decay_rate"),
    flags=("nesterov", "maximize", "in_velocity", "first_step"),
)


def step(updates: Sequence[Update]) -> None:
    """Change parameters and their momentum in place; the numbers are those of ``SGD._rule``."""
    _SGD.update("sgd", updates, _members)


def _members(numbers: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the numbers and flags of a row, computed in Python's double precision."""
    lr, momentum, dampening, decay, nesterov, maximize, in_velocity, first = numbers
    in_velocity = in_velocity and momentum != 0
    rates = (lr, momentum, 1 - dampening, decay, decay * lr)
    return (*rates, nesterov, maximize, in_velocity, first)
