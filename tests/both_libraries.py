"""What programs share that run with minidl's modules and with PyTorch's, and must agree."""

from __future__ import annotations

from typing import Any

import numpy as np


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    """Data for a program."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def labels(count: int, classes: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, classes, count)


def fill(m: Any, model: Any, seed: int = 0) -> Any:
    """Give a model weights that are the same in both libraries."""
    rng = np.random.default_rng(seed)
    with m.torch.no_grad():
        for parameter in model.parameters():
            bound = 1 / max(np.prod(parameter.shape[1:]), 1) ** 0.5
            values = rng.uniform(-bound, bound, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(m.torch.from_numpy(values))
    return model


def flat(results: Any) -> list[float]:
    """All numbers of a program's results in a row."""
    if hasattr(results, "detach"):
        results = results.detach().numpy()
    if isinstance(results, np.ndarray):
        return [float(x) for x in results.reshape(-1)]
    if isinstance(results, (list, tuple)):
        return [x for item in results for x in flat(item)]
    return [float(results)]
