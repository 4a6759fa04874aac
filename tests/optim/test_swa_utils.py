"""Averages of weights: by hand, and as PyTorch has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError

AVERAGES: dict[str, Any] = {
    "equal": lambda utils: {},
    "equal-each": lambda utils: {"avg_fn": utils.get_swa_avg_fn()},
    "exponential": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)},
    "exponential-each": lambda utils: {"avg_fn": utils.get_ema_avg_fn(0.9), "use_buffers": True},
}


def run(library: Any, options: Any) -> list[np.ndarray]:
    """Average five models, each the last plus noise, and refresh the statistics."""
    nn, utils = library.nn, library.optim.swa_utils
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    averaged = utils.AveragedModel(model, **options(utils))
    for _ in range(5):
        with library.no_grad():
            for value in (*model.parameters(), model[1].running_mean):
                noise = rng.standard_normal(tuple(value.shape)).astype(np.float32)
                value.copy_(library.tensor(noise))
        averaged.update_parameters(model)
    before = averaged.module[1].running_mean.clone()
    assert averaged.n_averaged == 5
    batches = [library.tensor(rng.standard_normal((8, 3)).astype(np.float32)) for _ in range(3)]
    averaged.eval()
    utils.update_bn([(batch, None) for batch in batches], averaged)
    assert not averaged.training and averaged.module[1].momentum == 0.1
    results = [*averaged.parameters(), *averaged.buffers(), before, averaged(batches[0])]
    return [result.detach().numpy() for result in results]


@pytest.mark.parametrize("options", AVERAGES.values(), ids=AVERAGES.keys())
def test_equals_torch(options: Any) -> None:
    torch = pytest.importorskip("torch")
    torch.optim.swa_utils  # noqa: B018
    eps = float(np.finfo(np.float32).eps)
    for found, expected in zip(run(minidl, options), run(torch, options), strict=True):
        np.testing.assert_allclose(found, expected, rtol=64 * eps, atol=64 * eps)


def test_bad_options_are_refused() -> None:
    utils = minidl.optim.swa_utils
    with pytest.raises(ArgumentError, match="decay"):
        utils.get_ema_avg_fn(1.5)
    with pytest.raises(ArgumentError, match="not both"):
        utils.AveragedModel(
            minidl.nn.Linear(1, 1), avg_fn=lambda *a: a[0], multi_avg_fn=lambda *a: None
        )
