"""minidl.training.schedules: compared with the published run's log, and with manual drops."""

from __future__ import annotations

import pytest

from minidl import nn
from minidl.optim import SGD
from minidl.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from minidl.training import schedules

STEPS = 10  # an epoch


def optimizer() -> SGD:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    return SGD(schedules.parameter_groups(model, model[0], lr=0.01, decay=5e-4), momentum=0.9)


def rates(name: str, epochs: int, at: float, **options: object) -> list[float]:
    """Return an epoch's rates of weights, conv1's weights, biases and conv1's biases."""
    scheduler = schedules.make_scheduler(optimizer(), name, epochs, STEPS, **options)  # type: ignore[arg-type]
    assert isinstance(scheduler, LambdaLR)
    scheduler.step(round(at * STEPS))
    return scheduler.get_last_lr()


def test_groups_split_the_first_layer_and_biases() -> None:
    groups = optimizer().param_groups
    assert [[tuple(p.shape) for p in group["params"]] for group in groups] == [
        [(2, 3)], [(3, 2)], [(2,)], [(3,)],
    ]  # fmt: skip
    assert [group["weight_decay"] for group in groups] == [5e-4, 5e-4, 0, 0]


# From comments in the run's layer files: epoch, rate of weights, rate of conv1's weights.
LOG = [
    (0, 1e-2, 1e-2), (22.9, 1e-2, 1e-2), (23, 1e-3, 1e-3), (50.9, 1e-3, 1e-3), (51, 1e-4, 1e-4),
    (67.9, 1e-4, 1e-4), (68, 1e-4, 1e-5), (72, 1e-4, 0), (77.9, 1e-4, 0), (78, 1e-5, 0),
    (92.9, 1e-5, 0),
]  # fmt: skip


@pytest.mark.parametrize("epoch, weights, conv1", LOG)
def test_original_is_the_published_log(epoch: float, weights: float, conv1: float) -> None:
    found = rates("original", 93, epoch)
    assert found[:2] == pytest.approx([weights, conv1], rel=1e-9)
    assert found[2] == pytest.approx(0.02 if epoch < 23 else 0.002)
    assert schedules.has_color_noise("original", epoch / 93) == (epoch < 68)
    assert rates("paper", 93, epoch)[0] == pytest.approx(weights)
    assert schedules.has_color_noise("paper", epoch / 93)


def test_original_fits_other_lengths() -> None:
    for epoch, weights, conv1 in LOG:
        found = rates("original", 186, 2 * epoch)
        assert found[:2] == pytest.approx([weights, conv1], rel=1e-9)


def test_manual_drops_are_in_epochs_whatever_the_length() -> None:
    for epochs in (60, 90):
        found = [rates("paper", epochs, at, drops=[23, 51])[0] for at in (22.9, 23, 51)]
        assert found == pytest.approx([0.01, 0.001, 0.0001])
    assert rates("plateau", 90, 23, drops=[23])[2] == pytest.approx(0.002)


def test_warmup_rises_to_the_rate() -> None:
    found = [rates("constant", 90, step / STEPS, warmup=4)[0] for step in range(7)]
    assert found == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01, 0.01, 0.01])


def test_shapes_of_the_other_schedules() -> None:
    assert [rates("step", 9, at)[0] for at in (2.9, 3, 6)] == pytest.approx([1e-2, 1e-3, 1e-4])
    assert [rates("cosine", 8, at)[0] for at in (0, 4, 8)] == pytest.approx([1e-2, 5e-3, 0])
    scheduler = schedules.make_scheduler(optimizer(), "plateau", 90, STEPS)
    assert isinstance(scheduler, ReduceLROnPlateau)
    for _ in range(5):
        scheduler.step(50.0)
    assert scheduler.get_last_lr()[0] == pytest.approx(0.001)


@pytest.mark.parametrize("name", schedules.SCHEDULES)
def test_resumed_schedules_keep_every_bit(name: str) -> None:
    def steps(scheduler: LambdaLR | ReduceLROnPlateau, count: int) -> list[list[float]]:
        found = []
        for _ in range(count):
            scheduler.step(50.0) if name == "plateau" else scheduler.step()  # type: ignore[call-arg]
            found.append(scheduler.get_last_lr())
        return found

    whole = schedules.make_scheduler(optimizer(), name, 9, STEPS, warmup=3)
    expected = steps(whole, 90)
    first_optimizer, second_optimizer = optimizer(), optimizer()
    first = schedules.make_scheduler(first_optimizer, name, 9, STEPS, warmup=3)
    found = steps(first, 37)
    second = schedules.make_scheduler(second_optimizer, name, 9, STEPS, warmup=3)
    second_optimizer.load_state_dict(first_optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert found + steps(second, 53) == expected
