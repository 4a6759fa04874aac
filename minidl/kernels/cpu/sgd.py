"""SGD's rule (``optim/sgd.py``) with every result in place, one cache-sized piece at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...device import Array
from ..updates import Update
from . import many
from .memory import scratch


def step(updates: Sequence[Update]) -> None:
    """Change parameters and their momentum in place; the numbers are those of ``SGD._rule``."""
    many.update(_rule, updates)


def _rule(param: Array, grad: Array, state: tuple[Array, ...], numbers: tuple[Any, ...]) -> None:
    lr, momentum, dampening, decay, nesterov, maximize, in_velocity, first = numbers
    work = scratch("optim", param.shape, param.dtype)
    other = scratch("optim.other", param.shape, param.dtype) if dampening or nesterov else work

    if in_velocity and momentum:  # v ← m·v − λ·ε·w − ε·g;  w ← w + v
        (velocity,) = state
        np.multiply(velocity, momentum, out=velocity)
        if decay:
            np.multiply(param, decay * lr, out=work)
            np.subtract(velocity, work, out=velocity)
        np.multiply(grad, -lr if maximize else lr, out=work)
        np.subtract(velocity, work, out=velocity)
        np.add(param, velocity, out=param)
        return

    if decay:  # g ← ±g + λ·w
        np.multiply(param, decay, out=work)
        (np.subtract if maximize else np.add)(work, grad, out=work)
        grad = work
    elif maximize:
        grad = np.negative(grad, out=work)
    if momentum:  # b ← m·b + (1 − d)·g
        (buffer,) = state
        if first:
            buffer[...] = grad
        else:
            np.multiply(buffer, momentum, out=buffer)
            more = np.multiply(grad, 1 - dampening, out=other) if dampening else grad
            np.add(buffer, more, out=buffer)
        if nesterov:
            np.multiply(buffer, momentum, out=other)
            grad = np.add(grad, other, out=work)
        else:
            grad = buffer
    np.multiply(grad, lr, out=work)
    np.subtract(param, work, out=param)
