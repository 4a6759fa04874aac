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


RATES: dict[str, Any] = {
    "cosine": {"swa_lr": 0.05},
    "line": {"swa_lr": [0.05, 0.3], "anneal_epochs": 4, "anneal_strategy": "linear"},
    "at once": {"swa_lr": 0.05, "anneal_epochs": 0},
}


def rates(library: Any, options: Any) -> list[list[float]]:
    """The rates of an exponential schedule, and then of SWALR, which is saved and loaded."""
    parameters = [library.nn.Parameter(library.zeros(1)) for _ in range(2)]
    optimizer = library.optim.SGD(
        [{"params": [p], "lr": r} for p, r in zip(parameters, (0.1, 0.2), strict=True)]
    )
    schedulers = library.optim.lr_scheduler, library.optim.swa_utils
    before = schedulers[0].ExponentialLR(optimizer, 0.9)
    found = []
    for _ in range(3):
        optimizer.step()
        before.step()
    after = schedulers[1].SWALR(optimizer, **options)
    for epoch in range(12):
        optimizer.step()
        after.step()
        found.append(after.get_last_lr())
        if epoch == 2:
            state = after.state_dict()
            after = schedulers[1].SWALR(optimizer, **options)
            after.load_state_dict(state)
    return found


@pytest.mark.parametrize("options", RATES.values(), ids=RATES.keys())
def test_rates_equal_torchs(options: Any) -> None:
    torch = pytest.importorskip("torch")
    torch.optim.swa_utils  # noqa: B018
    assert rates(minidl, options) == rates(torch, options)


def test_bad_options_of_rates_are_refused() -> None:
    optimizer = minidl.optim.SGD([minidl.nn.Parameter(minidl.zeros(1))])
    for options in ({"anneal_strategy": "up"}, {"anneal_epochs": -1}, {"swa_lr": [1.0, 2.0]}):
        with pytest.raises(ArgumentError):
            minidl.optim.swa_utils.SWALR(optimizer, **{"swa_lr": 0.1, **options})
