"""Helpers of the tests of losses: targets, weights, and the launches of a loss on a GPU."""

from __future__ import annotations

from typing import Any

import helpers
import numpy as np
import reference

import minidl

REDUCTIONS = ["mean", "sum", "none"]


def labels(shape: tuple[int, ...], seed: int = 0) -> Any:
    """Class indices for logits of this shape."""
    classes = shape[0] if len(shape) == 1 else shape[1]
    where = () if len(shape) == 1 else (shape[0], *shape[2:])
    return np.asarray(np.random.default_rng(seed).integers(0, classes, where))


def probabilities(shape: tuple[int, ...], seed: int = 0) -> Any:
    return reference.softmax(helpers.values(shape, seed) * 3, 0 if len(shape) == 1 else 1)


def class_weight(shape: tuple[int, ...]) -> Any:
    classes = shape[0] if len(shape) == 1 else shape[1]
    return np.random.default_rng(7).uniform(0.2, 2.0, classes)


def launches(simulator: Any, leaves: Any, function: Any, seed: Any = None) -> list[dict[str, int]]:
    """Return the launches of forward and backward; neither may copy or wait."""
    function().sum().backward()  # compiles
    for leaf in leaves:
        leaf.grad = None
    with simulator.count() as forward:
        loss = function()
    seed = minidl.ones(loss.shape, device=leaves[0].device)
    with simulator.count() as backward:
        loss.backward(seed)
    for used in (forward, backward):
        assert (used.syncs, used.h2d, used.d2h, used.d2d) == (0, 0, 0, 0)
    return [dict(forward.kernels), dict(backward.kernels)]
