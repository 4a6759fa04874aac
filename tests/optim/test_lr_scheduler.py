"""Schedules: traces by hand, bit for bit as in PyTorch, and across a save."""

from __future__ import annotations

import math
from typing import Any

import pytest

import minidl
from minidl.errors import ArgumentError, CheckpointError, DTypeError
from minidl.optim import SGD, lr_scheduler


def optimizer_at(*rates: float) -> SGD:
    return SGD([{"params": [minidl.nn.Parameter(minidl.zeros(1))], "lr": rate} for rate in rates])


def trace(scheduler: Any, steps: int) -> list[list[float]]:
    rates = [scheduler.get_last_lr()]
    for _ in range(steps):
        scheduler.step()
        rates.append(scheduler.get_last_lr())
    return rates


def sequence(module: Any, optimizer: Any) -> Any:
    warm = module.LinearLR(optimizer, start_factor=0.1, total_iters=4)
    cosine = module.CosineAnnealingLR(optimizer, T_max=6, eta_min=1e-3)
    return module.SequentialLR(
        optimizer, [warm, cosine, module.ExponentialLR(optimizer, 0.9)], [4, 9]
    )


def chain(module: Any, optimizer: Any) -> Any:
    constant, power = module.ConstantLR(optimizer, 0.1, 4), module.PolynomialLR(optimizer, 12)
    return module.ChainedScheduler([constant, power])


SCHEDULES: dict[str, Any] = {
    "step": lambda m, o: m.StepLR(o, 3),
    "step-gamma": lambda m, o: m.StepLR(o, step_size=4, gamma=0.3),
    "multi": lambda m, o: m.MultiStepLR(o, [7, 2, 5, 5], gamma=0.3),
    "exponential": lambda m, o: m.ExponentialLR(o, 0.93),
    "lambda": lambda m, o: m.LambdaLR(o, lambda epoch: 0.95**epoch),
    "lambdas": lambda m, o: m.LambdaLR(o, [lambda e: 1 / (1 + e), lambda e: 0.9**e]),
    "cosine": lambda m, o: m.CosineAnnealingLR(o, T_max=7, eta_min=1e-3),
    "cosine-1": lambda m, o: m.CosineAnnealingLR(o, 1),
    "linear": lambda m, o: m.LinearLR(o),
    "linear-down": lambda m, o: m.LinearLR(o, start_factor=0.9, end_factor=0.2, total_iters=7),
    "constant": lambda m, o: m.ConstantLR(o),
    "constant-7": lambda m, o: m.ConstantLR(o, factor=0.2, total_iters=7),
    "sequence": sequence,
    "chain": chain,
    "multiplicative": lambda m, o: m.MultiplicativeLR(o, lambda epoch: 1 - 0.1 / (1 + epoch)),
    "polynomial": lambda m, o: m.PolynomialLR(o, 12, power=2.0),
    "restarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 5),
    "restarts-2": lambda m, o: m.CosineAnnealingWarmRestarts(o, 3, T_mult=2, eta_min=1e-3),
    "one": lambda m, o: m.OneCycleLR(o, 1.0, 30),
    "one-groups": lambda m, o: m.OneCycleLR(
        o,
        [1.0, 2.0],
        epochs=5,
        steps_per_epoch=6,
        pct_start=0.4,
        anneal_strategy="linear",
        div_factor=10.0,
        final_div_factor=100.0,
        base_momentum=[0.7, 0.8],
        max_momentum=0.9,
    ),
    "one-three": lambda m, o: m.OneCycleLR(o, 1.0, 31, three_phase=True, cycle_momentum=False),
    "cyclic": lambda m, o: m.CyclicLR(o, 0.1, 1.0, step_size_up=5),
    "cyclic-2": lambda m, o: m.CyclicLR(
        o, [0.1, 0.2], [1.0, 1.5], step_size_up=4, step_size_down=7, mode="triangular2"
    ),
    "cyclic-exp": lambda m, o: m.CyclicLR(o, 0.1, 1.0, 5, mode="exp_range", gamma=0.9),
    "cyclic-own": lambda m, o: m.CyclicLR(
        o, 0.1, 1.0, 5, scale_fn=lambda x: 1 / x, cycle_momentum=False
    ),
}
schedules = pytest.mark.parametrize("make", SCHEDULES.values(), ids=SCHEDULES.keys())


def torch_optimizer(torch: Any, *rates: float) -> Any:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    optimizer = torch.optim.SGD(groups)
    optimizer.step()  # PyTorch warns when the scheduler is first
    return optimizer


@schedules
@pytest.mark.filterwarnings("ignore")  # PyTorch warns of its own SequentialLR
def test_equals_torch_to_the_last_bit(make: Any) -> None:
    torch = pytest.importorskip("torch")
    ours = make(lr_scheduler, optimizer_at(0.1, 0.037))
    theirs = make(torch.optim.lr_scheduler, torch_optimizer(torch, 0.1, 0.037))
    assert trace(ours, 30) == trace(theirs, 30)
    assert [group["lr"] for group in ours.optimizer.param_groups] == ours.get_last_lr()


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name not in ("sequence", "chain")])
@pytest.mark.filterwarnings("ignore")  # PyTorch warns of step(epoch)
def test_jumps_equal_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours = SCHEDULES[name](lr_scheduler, optimizer_at(0.1, 0.037))
    theirs = SCHEDULES[name](torch.optim.lr_scheduler, torch_optimizer(torch, 0.1, 0.037))
    for epoch in (5, None, 11, 0, None):
        ours.step(epoch)
        theirs.step(epoch)
        assert ours.get_last_lr() == theirs.get_last_lr()


@schedules
@pytest.mark.filterwarnings("ignore")
def test_loads_torchs_state(make: Any) -> None:
    torch = pytest.importorskip("torch")
    theirs = make(torch.optim.lr_scheduler, torch_optimizer(torch, 0.1, 0.037))
    trace(theirs, 6)
    optimizer = optimizer_at(5.0, 5.0)
    ours = make(lr_scheduler, optimizer)
    ours.load_state_dict(theirs.state_dict())
    for group, rate in zip(optimizer.param_groups, theirs.get_last_lr(), strict=True):
        group["lr"] = rate
    assert trace(ours, 12) == trace(theirs, 12)


@schedules
def test_a_save_in_the_middle_changes_nothing(make: Any, tmp_path: Any) -> None:
    whole = trace(make(lr_scheduler, optimizer_at(0.1, 0.037)), 20)
    first = make(lr_scheduler, optimizer_at(0.1, 0.037))
    begin = trace(first, 8)
    state = {"optimizer": first.optimizer.state_dict(), "schedule": first.state_dict()}
    minidl.save(state, tmp_path / "middle")
    saved = minidl.load(tmp_path / "middle")
    second = make(lr_scheduler, optimizer_at(9.0, 9.0))
    second.optimizer.load_state_dict(saved["optimizer"])
    second.load_state_dict(saved["schedule"])
    assert begin + trace(second, 12)[1:] == whole


def test_a_schedule_continues_from_last_epoch() -> None:
    optimizer = optimizer_at(0.1, 0.037)
    with pytest.raises(ArgumentError, match="initial_lr"):
        lr_scheduler.StepLR(optimizer, 3, last_epoch=4)
    before = trace(lr_scheduler.StepLR(optimizer, 3), 5)
    lr_scheduler.StepLR(optimizer, 3, last_epoch=5)
    assert [group["lr"] for group in optimizer.param_groups] == [r * 0.1 for r in before[-1]]


def test_the_papers_three_drops_keep_the_ratio_of_weights_and_biases() -> None:
    scheduler = lr_scheduler.MultiStepLR(optimizer_at(0.01, 0.02), milestones=[23, 51, 78])
    rates = trace(scheduler, 92)
    for epochs, rate in [((0, 23), 1e-2), ((23, 51), 1e-3), ((51, 78), 1e-4), ((78, 93), 1e-5)]:
        for weights, biases in rates[slice(*epochs)]:
            assert weights == pytest.approx(rate, rel=1e-14)
            assert biases == pytest.approx(2 * rate, rel=1e-14)


def test_two_schedulers_multiply() -> None:
    optimizer = optimizer_at(1.0)
    half = lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    quarter = lr_scheduler.StepLR(optimizer, 2, gamma=0.25)
    for expected in (0.5, 0.0625, 0.03125):
        half.step()
        quarter.step()
        assert optimizer.param_groups[0]["lr"] == expected


def test_a_cosine_goes_down_and_up() -> None:
    rates = [rate for (rate,) in trace(lr_scheduler.CosineAnnealingLR(optimizer_at(1.0), 4), 8)]
    expected = [(1 + math.cos(math.pi * t / 4)) / 2 for t in range(9)]
    assert rates == pytest.approx(expected, abs=1e-12)


def test_a_callables_attributes_are_saved_but_no_function_is() -> None:
    class Power:
        def __init__(self, base: float) -> None:
            self.base = base

        def __call__(self, epoch: int) -> float:
            return self.base**epoch

    first = lr_scheduler.LambdaLR(optimizer_at(1.0, 1.0), [Power(0.5), lambda epoch: 1.0])
    assert first.state_dict()["lr_lambdas"] == [{"base": 0.5}, None]
    second = lr_scheduler.LambdaLR(optimizer_at(1.0, 1.0), [Power(0.25), lambda epoch: 1.0])
    second.load_state_dict(first.state_dict())
    second.step()
    assert second.get_last_lr() == [0.5, 1.0]


# --- ReduceLROnPlateau ----------------------------------------------------------------------------


CURVE = [3.0, 2.0, 2.1, 2.0, 1.99999, 1.5, math.nan, 1.6, 1.5, 1.4999, 1.0, 1.0, 1.1, 1.2, 1.0, 1.0]
PLATEAUS: list[dict[str, Any]] = [
    {"patience": 1},
    {"patience": 0, "factor": 0.5},
    {"patience": 2, "cooldown": 2},
    {"patience": 1, "threshold": 0.2, "threshold_mode": "abs"},
    {"patience": 1, "mode": "max"},
    {"patience": 1, "mode": "max", "threshold_mode": "abs"},
    {"patience": 0, "min_lr": 1e-3},
    {"patience": 0, "min_lr": [1e-2, 1e-4]},
    {"patience": 0, "eps": 1e-2},
]


def plateau_trace(scheduler: Any, curve: list[float]) -> list[list[float]]:
    rates = []
    for metric in curve:
        scheduler.step(metric)
        rates.append(list(scheduler.get_last_lr()))
    return rates


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_plateau_equals_torch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    ours = lr_scheduler.ReduceLROnPlateau(optimizer_at(0.1, 0.02), **options)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        torch_optimizer(torch, 0.1, 0.02), **options
    )
    assert plateau_trace(ours, CURVE) == plateau_trace(theirs, CURVE)


def test_plateau_reduces_after_patience_is_over() -> None:
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer_at(1.0), factor=0.5, patience=2)
    rates = plateau_trace(scheduler, [1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.8, 0.9, 0.9, 0.9])
    assert [r for (r,) in rates] == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_plateau_across_a_save(options: dict[str, Any], tmp_path: Any) -> None:
    whole = plateau_trace(lr_scheduler.ReduceLROnPlateau(optimizer_at(0.1, 0.02), **options), CURVE)
    first = lr_scheduler.ReduceLROnPlateau(optimizer_at(0.1, 0.02), **options)
    begin = plateau_trace(first, CURVE[:7])
    minidl.save([first.optimizer.state_dict(), first.state_dict()], tmp_path / "middle")
    saved = minidl.load(tmp_path / "middle")
    second = lr_scheduler.ReduceLROnPlateau(optimizer_at(9.0, 9.0))
    second.optimizer.load_state_dict(saved[0])
    second.load_state_dict(saved[1])
    assert begin + plateau_trace(second, CURVE[7:]) == whole


def test_plateau_after_a_group_was_added() -> None:
    optimizer = optimizer_at(1.0)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    strict = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.0])
    optimizer.add_param_group({"params": minidl.nn.Parameter(minidl.zeros(1)), "lr": 2.0})
    plateau_trace(scheduler, [1.0, 1.0])
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.2]
    with pytest.raises(ArgumentError, match="min_lr"):
        plateau_trace(strict, [1.0, 1.0])


def test_plateau_takes_a_tensor() -> None:
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer_at(1.0))
    scheduler.step(minidl.tensor(0.5))
    assert scheduler.best == 0.5


@pytest.mark.filterwarnings("ignore")  # PyTorch warns of steps of the schedule alone
def test_restarts_within_an_epoch_equal_torchs() -> None:
    torch = pytest.importorskip("torch")
    ours = SCHEDULES["restarts-2"](lr_scheduler, optimizer_at(0.1, 0.037))
    theirs = SCHEDULES["restarts-2"](torch.optim.lr_scheduler, torch_optimizer(torch, 0.1, 0.037))
    for batch in range(50):
        ours.step(batch / 4)
        theirs.step(batch / 4)
        assert ours.get_last_lr() == theirs.get_last_lr()
        assert ours.last_epoch == theirs.last_epoch


# --- Errors ---------------------------------------------------------------------------------------


def test_bad_arguments_are_refused() -> None:
    o = optimizer_at(1.0)
    s = lr_scheduler
    for make in (
        lambda: s.StepLR(o, 0),
        lambda: s.LinearLR(o, start_factor=0.0),
        lambda: s.LinearLR(o, end_factor=1.5),
        lambda: s.LambdaLR(o, [abs, abs]),
        lambda: s.ReduceLROnPlateau(o, factor=1.0),
        lambda: s.ReduceLROnPlateau(o, mode="least"),
        lambda: s.ReduceLROnPlateau(o, threshold_mode="least"),
        lambda: s.ReduceLROnPlateau(o, min_lr=[0.0, 0.0]),
        lambda: s.SequentialLR(o, [], []),
        lambda: s.SequentialLR(o, [s.StepLR(o, 1)], [3]),
        lambda: s.SequentialLR(o, [s.StepLR(optimizer_at(1.0), 1)], []),
        lambda: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []),
        lambda: sequence(s, o).step(3),
        lambda: s.ChainedScheduler([]),
        lambda: s.ChainedScheduler([s.StepLR(o, 1), s.StepLR(optimizer_at(1.0), 1)]),
        lambda: s.CosineAnnealingWarmRestarts(o, 0),
        lambda: s.CosineAnnealingWarmRestarts(o, 5, T_mult=1.5),  # type: ignore[arg-type]
        lambda: s.CosineAnnealingWarmRestarts(o, 5).step(-1),
    ):
        with pytest.raises(ArgumentError):
            make()
    with pytest.raises(DTypeError, match="Optimizer"):
        s.StepLR("SGD", 3)  # type: ignore[arg-type]


def test_a_state_of_another_schedule_is_refused() -> None:
    o = optimizer_at(1.0)
    step, cosine = lr_scheduler.StepLR(o, 3), lr_scheduler.CosineAnnealingLR(o, 3)
    with pytest.raises(CheckpointError, match="step_size"):
        step.load_state_dict(cosine.state_dict())
    with pytest.raises(CheckpointError, match="unexpected"):
        step.load_state_dict({**step.state_dict(), "step": 1})
    with pytest.raises(CheckpointError, match="2 functions"):
        lr_scheduler.LambdaLR(o, abs).load_state_dict({"lr_lambdas": [None, None]})
    with pytest.raises(CheckpointError, match="0 schedulers"):
        sequence(lr_scheduler, o).load_state_dict({})


# --- Momenta, and averages of weights -------------------------------------------------------------


CYCLES = [name for name in SCHEDULES if name.startswith(("one", "cyc")) and name != "one-three"]


@pytest.mark.parametrize("name", CYCLES)
@pytest.mark.filterwarnings("ignore")  # PyTorch warns of steps of the schedule alone
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_momenta_equal_torchs(name: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    traces: list[list[Any]] = []
    for library in (minidl, torch):
        params = [{"params": [library.nn.Parameter(library.zeros(1))]} for _ in range(2)]
        optimizer = getattr(library.optim, kind)(params, lr=0.1)
        optimizer.step()
        schedule = SCHEDULES[name](library.optim.lr_scheduler, optimizer)
        traces.append([])
        for _ in range(25):
            key = "momentum" if kind == "SGD" else "betas"
            traces[-1].append([group[key] for group in optimizer.param_groups])
            schedule.step()
    assert traces[0] == traces[1]
    assert len({str(momenta) for momenta in traces[0]}) > 5 or name == "cyclic-own"


def test_cycles_refuse_what_does_not_fit() -> None:
    one, adagrad = (
        lr_scheduler.OneCycleLR,
        minidl.optim.Adagrad([minidl.nn.Parameter(minidl.zeros(1))]),
    )
    for make in (
        lambda: one(optimizer_at(1.0), 1.0),
        lambda: one(optimizer_at(1.0), 1.0, 0),
        lambda: one(optimizer_at(1.0), [1.0, 2.0], 5),
        lambda: one(optimizer_at(1.0), 1.0, 5, pct_start=1.5),
        lambda: one(optimizer_at(1.0), 1.0, 5, anneal_strategy="sin"),
        lambda: one(adagrad, 1.0, 5),
        lambda: lr_scheduler.CyclicLR(optimizer_at(1.0), 0.1, 1.0, mode="square"),
        lambda: lr_scheduler.ConstantLR(optimizer_at(1.0), 1.5),
    ):
        with pytest.raises(ArgumentError):
            make()
    schedule = one(optimizer_at(1.0), 1.0, 3)
    trace(schedule, 3)
    with pytest.raises(ArgumentError, match="beyond the schedule's 3 steps"):
        schedule.step()


@pytest.mark.parametrize("period", [0, -1])
def test_a_cosine_needs_a_period(period: int) -> None:
    optimizer = SGD([minidl.nn.Parameter(minidl.ones(1))], lr=0.1)
    with pytest.raises(ArgumentError, match="T_max must be at least 1"):
        lr_scheduler.CosineAnnealingLR(optimizer, period)
