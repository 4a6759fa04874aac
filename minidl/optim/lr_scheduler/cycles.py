"""Schedules that go up and down: :class:`OneCycleLR`, :class:`CyclicLR`.

Both may move the momentum (SGD's, or Adam's β₁) the other way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

from ...errors import ArgumentError
from ..optimizer import Group, Optimizer
from .base import LRScheduler, checked


def for_groups(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """Return one value for each parameter group."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ArgumentError(f"{name}: got {len(value)} values, expected {count}, one a group")
    return list(value)


def check_strategy(where: str, strategy: Any) -> None:
    """Raise an ArgumentError unless `strategy` is one."""
    if strategy not in ("cos", "linear"):
        raise ArgumentError(f"{where}: anneal_strategy is 'cos' or 'linear', not {strategy!r}")


def _has_betas(where: str, optimizer: Optimizer) -> bool:
    """Return whether the momentum is β₁ of ``"betas"``; raise if there is no momentum at all."""
    if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
        raise ArgumentError(
            f"{where}: cycle_momentum=True needs an optimizer with momentum or betas, and "
            f"{type(optimizer).__name__} has none; pass cycle_momentum=False"
        )
    return "betas" in optimizer.defaults


def _set_momentum(group: Group, value: float) -> None:
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class OneCycleLR(LRScheduler):
    """Rates rise to `max_lr` and fall to nearly 0, once; call ``step()`` after every batch.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    max_lr : float or list of float
        The highest rate; one for all groups, or one each.
    total_steps : int, optional
        Number of steps; or give the next two.
    epochs, steps_per_epoch : int, optional
        Their product is the number of steps.
    pct_start : float
        Fraction of the steps in which rates rise, in [0, 1]. Default 0.3.
    anneal_strategy : {"cos", "linear"}
        Default "cos".
    cycle_momentum : bool
        Move the momentum from `max_momentum` to `base_momentum` and back. Default True.
    base_momentum, max_momentum : float or list of float
        Default 0.85 and 0.95.
    div_factor : float
        The first rate is ``max_lr / div_factor``. Default 25.
    final_div_factor : float
        The last rate is the first divided by this. Default 1e4.
    three_phase : bool
        Fall to the first rate as slowly as the rates rose, then to the last. Default False.

    Raises
    ------
    ArgumentError
        An argument is out of its range, or the optimizer has no momentum to cycle; in ``step()``:
        more steps than `total_steps`.

    Notes
    -----
    Smith and Topin, "Super-Convergence", arXiv 1708.07120; two phases as fastai has them.

    Examples
    --------
    >>> import minidl
    >>> optimizer = minidl.optim.SGD([minidl.nn.Parameter(minidl.zeros(1))], momentum=0.9)
    >>> scheduler = minidl.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=10)
    >>> scheduler.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [1.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | Sequence[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.85,
        max_momentum: float | Sequence[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        checked(optimizer)
        if total_steps is None:
            if epochs is None or steps_per_epoch is None:
                raise ArgumentError(
                    "OneCycleLR: give total_steps, or both epochs and steps_per_epoch"
                )
            total_steps = epochs * steps_per_epoch
        if not isinstance(total_steps, int) or total_steps <= 0:
            raise ArgumentError(f"OneCycleLR: expected 1 step or more, got {total_steps}")
        if not isinstance(pct_start, float) or not 0 <= pct_start <= 1:
            raise ArgumentError(f"OneCycleLR: pct_start must be in [0, 1], got {pct_start}")
        check_strategy("OneCycleLR", anneal_strategy)
        self.total_steps = total_steps
        self._anneal_func_type = anneal_strategy
        # Where a phase ends, and the options of a group that it goes from and to.
        rise = float(pct_start * total_steps)
        ends: list[tuple[Any, ...]]
        ends = [(rise - 1, "initial_lr", "max_lr", "max_momentum", "base_momentum")]
        if three_phase:
            ends += [(2 * rise - 2, "max_lr", "initial_lr", "base_momentum", "max_momentum")]
            ends += [(total_steps - 1, "initial_lr", "min_lr", "max_momentum", "max_momentum")]
        else:
            ends += [(total_steps - 1, "max_lr", "min_lr", "base_momentum", "max_momentum")]
        keys = ("end_step", "start_lr", "end_lr", "start_momentum", "end_momentum")
        self._schedule_phases = [dict(zip(keys, end, strict=True)) for end in ends]
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _has_betas("OneCycleLR", optimizer)
        if last_epoch == -1:
            highest = for_groups("OneCycleLR: max_lr", optimizer, max_lr)
            most = for_groups("OneCycleLR: max_momentum", optimizer, max_momentum)
            least = for_groups("OneCycleLR: base_momentum", optimizer, base_momentum)
            for index, group in enumerate(optimizer.param_groups):
                group["initial_lr"] = highest[index] / div_factor
                group["max_lr"] = highest[index]
                group["min_lr"] = group["initial_lr"] / final_div_factor
                if cycle_momentum:
                    group["max_momentum"], group["base_momentum"] = most[index], least[index]
                    _set_momentum(group, most[index])
        super().__init__(optimizer, last_epoch)

    def _between(self, start: float, end: float, done: float) -> float:
        """Return the value on the way from `start` to `end`, of which a fraction is `done`."""
        if self._anneal_func_type == "linear":
            return (end - start) * done + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * done) + 1)

    def get_lr(self) -> list[float]:
        """Compute the rates of step ``self.last_epoch``, and set the momenta."""
        step, start = self.last_epoch, 0.0
        if step > self.total_steps:
            raise ArgumentError(
                f"OneCycleLR: step {step} is beyond the schedule's {self.total_steps} steps"
            )
        for phase in self._schedule_phases:
            if step <= phase["end_step"] or phase is self._schedule_phases[-1]:
                break
            start = phase["end_step"]
        done = (step - start) / (phase["end_step"] - start)
        for group in self.optimizer.param_groups if self.cycle_momentum else ():
            ends = group[phase["start_momentum"]], group[phase["end_momentum"]]
            _set_momentum(group, self._between(*ends, done))
        return [
            self._between(group[phase["start_lr"]], group[phase["end_lr"]], done)
            for group in self.optimizer.param_groups
        ]


class CyclicLR(LRScheduler):
    """Rates go up and down between two bounds; call ``step()`` after every batch.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    base_lr, max_lr : float or list of float
        The bounds; one for all groups, or one each.
    step_size_up : int
        Number of steps from `base_lr` to `max_lr`. Default 2000.
    step_size_down : int, optional
        Number of steps back. Default: `step_size_up`.
    mode : {"triangular", "triangular2", "exp_range"}
        The height stays, is halved in every cycle, or shrinks by `gamma` in every step. Default
        "triangular".
    gamma : float
        Default 1.
    scale_fn : callable, optional
        The height's factor, instead of `mode`: a function of the cycle (1, 2, ...) or of the step.
    scale_mode : {"cycle", "iterations"}
        What `scale_fn` takes. Default "cycle".
    cycle_momentum : bool
        Move the momentum between its bounds the other way. Default True.
    base_momentum, max_momentum : float or list of float
        Default 0.8 and 0.9.

    Raises
    ------
    ArgumentError
        `mode` is none of the three, or the optimizer has no momentum to cycle.

    Notes
    -----
    Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186.

    Examples
    --------
    >>> import minidl
    >>> optimizer = minidl.optim.SGD([minidl.nn.Parameter(minidl.zeros(1))], momentum=0.9)
    >>> scheduler = minidl.optim.lr_scheduler.CyclicLR(optimizer, 0.25, 0.75, step_size_up=2)
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    _unsaved = ("optimizer", "_scale_fn_custom")

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: float | Sequence[float],
        max_lr: float | Sequence[float],
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: float | Sequence[float] = 0.8,
        max_momentum: float | Sequence[float] = 0.9,
        last_epoch: int = -1,
    ) -> None:
        checked(optimizer)
        modes = {"triangular": "cycle", "triangular2": "cycle", "exp_range": "iterations"}
        if scale_fn is None and mode not in modes:
            raise ArgumentError(f"CyclicLR: mode is one of {list(modes)}, not {mode!r}")
        base_lrs = for_groups("CyclicLR: base_lr", optimizer, base_lr)
        self.max_lrs = for_groups("CyclicLR: max_lr", optimizer, max_lr)
        up = float(step_size_up)
        self.total_size = up + (up if step_size_down is None else float(step_size_down))
        self.step_ratio = up / self.total_size
        self.mode, self.gamma, self._scale_fn_custom = mode, gamma, scale_fn
        self.scale_mode = modes[mode] if scale_fn is None else scale_mode
        self.cycle_momentum = cycle_momentum
        if cycle_momentum:
            self.use_beta1 = _has_betas("CyclicLR", optimizer)
            self.base_momentums = for_groups("CyclicLR: base_momentum", optimizer, base_momentum)
            self.max_momentums = for_groups("CyclicLR: max_momentum", optimizer, max_momentum)
        if last_epoch == -1:
            for index, group in enumerate(optimizer.param_groups):
                group["lr"] = base_lrs[index]
                if cycle_momentum:
                    group["max_momentum"] = self.max_momentums[index]
                    group["base_momentum"] = self.base_momentums[index]
                    _set_momentum(group, self.max_momentums[index])
        super().__init__(optimizer, last_epoch)
        self.base_lrs = base_lrs

    def scale_fn(self, x: float) -> float:
        """Return the factor of the height in cycle, or step, `x`."""
        if self._scale_fn_custom is not None:
            return self._scale_fn_custom(x)
        if self.mode == "triangular2":
            return 1 / (2.0 ** (x - 1))
        return self.gamma**x if self.mode == "exp_range" else 1.0

    def get_lr(self) -> list[float]:
        """Compute the rates of step ``self.last_epoch``, and set the momenta."""
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        ratio = self.step_ratio
        height = x / ratio if x <= ratio else (x - 1) / (ratio - 1)
        scale = self.scale_fn(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.cycle_momentum:
            bounds = zip(self.base_momentums, self.max_momentums, strict=True)
            for group, (low, high) in zip(self.optimizer.param_groups, bounds, strict=True):
                _set_momentum(group, high - (high - low) * height * scale)
        bounds = zip(self.base_lrs, self.max_lrs, strict=True)
        return [low + (high - low) * height * scale for low, high in bounds]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer; of `scale_fn`, a callable object's attributes."""
        custom = self._scale_fn_custom
        saved = None if custom is None or isinstance(custom, FunctionType) else dict(vars(custom))
        return {**super().state_dict(), "_scale_fn_custom": saved}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; see :meth:`LRScheduler.load_state_dict`."""
        rest = dict(state_dict)
        saved = rest.pop("_scale_fn_custom", None)
        super().load_state_dict(rest)
        if saved is not None:
            vars(self._scale_fn_custom).update(saved)
