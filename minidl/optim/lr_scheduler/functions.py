"""Schedules that are a function of the epoch: steps, lines, curves."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from types import FunctionType
from typing import Any

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .base import LRScheduler, checked


class LambdaLR(LRScheduler):
    """Initial rates times a function of the epoch.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    lr_lambda : callable or list of callable
        From the epoch to a factor; one for all groups, or one each.

    Raises
    ------
    ArgumentError
        The number of functions is not the number of groups.

    Notes
    -----
    Functions are not saved: pass the same ones again before loading. The attributes of callable
    objects are saved.

    Examples
    --------
    >>> import minidl
    >>> optimizer = minidl.optim.SGD([minidl.nn.Parameter(minidl.zeros(1))], lr=1.0)
    >>> scheduler = minidl.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    _unsaved = ("optimizer", "lr_lambdas")

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        count = len(checked(optimizer).param_groups)
        given = lr_lambda if isinstance(lr_lambda, Sequence) else [lr_lambda] * count
        self.lr_lambdas = list(given)
        if len(self.lr_lambdas) != count:
            raise ArgumentError(
                f"{type(self).__name__}: got {len(self.lr_lambdas)} functions, expected {count}"
            )
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        factors = [function(self.last_epoch) for function in self.lr_lambdas]
        return [base * factor for base, factor in zip(self.base_lrs, factors, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer; see :meth:`LRScheduler.state_dict`."""
        attributes = [
            None if isinstance(function, FunctionType) else deepcopy(vars(function))
            for function in self.lr_lambdas
        ]
        return {**super().state_dict(), "lr_lambdas": attributes}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; see :meth:`LRScheduler.load_state_dict`."""
        attributes = self._load_with("lr_lambdas", "functions", state_dict)
        for function, saved in zip(self.lr_lambdas, attributes, strict=True):
            if saved is not None:
                vars(function).update(deepcopy(saved))


class MultiplicativeLR(LambdaLR):
    """Each rate is the one before times a function of the epoch, from epoch 1 on.

    Parameters, errors and notes are those of :class:`LambdaLR`.
    """

    _first_lr = LRScheduler._rates  # as they are

    def get_lr(self) -> list[float]:
        factors = [function(self.last_epoch) for function in self.lr_lambdas]
        return [rate * factor for rate, factor in zip(self._rates(), factors, strict=True)]


class StepLR(LRScheduler):
    """Rates are multiplied by `gamma` every `step_size` epochs.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    step_size : int
        At least 1.
    gamma : float
        Default 0.1.

    Raises
    ------
    ArgumentError
        `step_size` is not positive.

    Examples
    --------
    Caffe's AlexNet: a tenth every 100,000 of 450,000 iterations, with ``step()`` in each iteration.

    >>> import minidl
    >>> optimizer = minidl.optim.SGD([minidl.nn.Parameter(minidl.zeros(1))], lr=0.01)
    >>> scheduler = minidl.optim.lr_scheduler.StepLR(optimizer, step_size=100_000)
    >>> scheduler.get_last_lr()
    [0.01]
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if step_size < 1:
            raise ArgumentError(f"StepLR: step_size must be at least 1, got {step_size}")
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0 or self.last_epoch % self.step_size != 0:
            return self._rates()
        return [rate * self.gamma for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """Rates are multiplied by `gamma` at the start of each epoch in `milestones`.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    milestones : iterable of int
        Epochs, in any order; duplicates count twice.
    gamma : float
        Default 0.1.

    Examples
    --------
    The three drops of the paper's published run, at epochs 23, 51 and 78 of 93:

    >>> import minidl
    >>> optimizer = minidl.optim.SGD([minidl.nn.Parameter(minidl.zeros(1))], lr=0.01)
    >>> scheduler = minidl.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[23, 51, 78])
    >>> for epoch in range(23):
    ...     scheduler.step()
    >>> scheduler.get_last_lr()
    [0.001]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Iterable[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        self.milestones = Counter(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch not in self.milestones:
            return self._rates()
        return [rate * self.gamma ** self.milestones[self.last_epoch] for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        drops = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base * self.gamma**drops for base in self.base_lrs]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; see :meth:`LRScheduler.load_state_dict`."""
        super().load_state_dict(state_dict)
        self.milestones = Counter(self.milestones)  # files return a plain dict


class ExponentialLR(LRScheduler):
    """Rates are multiplied by `gamma` every epoch.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    gamma : float
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    _first_lr = LRScheduler._rates  # as they are

    def get_lr(self) -> list[float]:
        return [rate * self.gamma for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class ConstantLR(LRScheduler):
    """Rates are the initial ones times `factor` until epoch `total_iters`.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    factor : float
        In [0, 1]. Default 1/3.
    total_iters : int
        Number of epochs with smaller rates. Default 5.

    Raises
    ------
    ArgumentError
        `factor` is out of its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        factor: float = 1.0 / 3,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0.0 <= factor <= 1.0:
            raise ArgumentError(f"ConstantLR: factor must be in [0, 1], got {factor}")
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.factor for rate in self._rates()]
        if self.last_epoch != self.total_iters:
            return self._rates()
        return [rate * (1.0 / self.factor) for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        done = self.last_epoch >= self.total_iters
        return [base * (self.factor + done * (1 - self.factor)) for base in self.base_lrs]


class LinearLR(LRScheduler):
    """Rates change linearly from one fraction of the initial rates to another: a warm-up.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    start_factor : float
        In (0, 1]. Default 1/3.
    end_factor : float
        In [0, 1]. Default 1.
    total_iters : int
        Number of epochs until `end_factor` is reached. Default 5.

    Raises
    ------
    ArgumentError
        A factor is out of its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        if not 0.0 < start_factor <= 1.0:
            raise ArgumentError(f"LinearLR: start_factor must be in (0, 1], got {start_factor}")
        if not 0.0 <= end_factor <= 1.0:
            raise ArgumentError(f"LinearLR: end_factor must be in [0, 1], got {end_factor}")
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def _first_lr(self) -> list[float]:
        return self.get_lr() if self.last_epoch == 0 else self._rates()

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [rate * self.start_factor for rate in self._rates()]
        if self.last_epoch > self.total_iters:
            return self._rates()
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return [rate * (1.0 + rise / before) for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        rise = self.end_factor - self.start_factor
        done = min(self.total_iters, self.last_epoch)
        fraction = self.start_factor + rise * done / self.total_iters
        return [base * fraction for base in self.base_lrs]


class PolynomialLR(LRScheduler):
    """Rates fall to 0 at epoch `total_iters`, like a power of the epochs left.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    total_iters : int
        Number of epochs until the rates are 0. Default 5.
    power : float
        Default 1: a line.
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ) -> None:
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    _first_lr = LRScheduler._rates  # as they are

    def get_lr(self) -> list[float]:
        if self.last_epoch > self.total_iters:
            return self._rates()
        now, before = (1.0 - t / self.total_iters for t in (self.last_epoch, self.last_epoch - 1))
        return [rate * (now / before) ** self.power for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        left = 1.0 - min(self.total_iters, self.last_epoch) / self.total_iters
        return [base * left**self.power for base in self.base_lrs]


class CosineAnnealingLR(LRScheduler):
    r"""Rates follow half a cosine from the initial rate down to `eta_min`, and back up afterwards.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    T_max : int
        Number of epochs from the initial to the lowest rate.
    eta_min : float
        The lowest rate. Default 0.

    Notes
    -----
    :math:`\eta_t = \eta_{min} + (\eta_0 - \eta_{min}) (1 + \cos(\pi t / T_{max})) / 2`
    (Loshchilov and Hutter, "SGDR", ICLR 2017), computed from the previous rate.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_max < 1:
            raise ArgumentError(f"CosineAnnealingLR: T_max must be at least 1, got {T_max}")
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    _first_lr = LRScheduler._rates  # as they are

    def get_lr(self) -> list[float]:
        t, low, period = self.last_epoch, self.eta_min, self.T_max
        if self._step_count == 1 and t > 0:
            return self._lr_at_epoch()
        if (t - 1 - period) % (2 * period) == 0:  # at the bottom the ratio below is 0 / 0
            return [
                rate + (base - low) * (1 - math.cos(math.pi / period)) / 2
                for base, rate in zip(self.base_lrs, self._rates(), strict=True)
            ]
        now = 1 + math.cos(math.pi * t / period)
        before = 1 + math.cos(math.pi * (t - 1) / period)
        return [now / before * (rate - low) + low for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        height = 1 + math.cos(math.pi * self.last_epoch / self.T_max)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Rates follow half a cosine down to `eta_min`, jump back, and start again, often more slowly.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`LRScheduler`.
    T_0 : int
        Number of epochs of the first curve.
    T_mult : int
        How many times longer each curve is than the one before. Default 1.
    eta_min : float
        The lowest rate. Default 0.

    Raises
    ------
    ArgumentError
        `T_0` or `T_mult` is not an integer of at least 1; in ``step()``: a negative epoch.

    Notes
    -----
    ``step(epoch + i / batches)`` after each batch i makes the curve smooth. Loshchilov and Hutter,
    "SGDR", ICLR 2017.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        for name, value in (("T_0", T_0), ("T_mult", T_mult)):
            if not isinstance(value, int) or value < 1:
                raise ArgumentError(
                    f"CosineAnnealingWarmRestarts: {name} must be an integer of at least 1, got "
                    f"{value!r}"
                )
        self.T_0 = self.T_i = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        self.T_cur: float = last_epoch
        super().__init__(optimizer, last_epoch)

    def _advance(self, epoch: float | None, initial: bool = False) -> None:
        if epoch is None and self.last_epoch >= 0:
            epoch = self.last_epoch + 1
            self.T_cur += 1
            if self.T_cur >= self.T_i:
                self.T_cur, self.T_i = self.T_cur % self.T_i, self.T_i * self.T_mult
        else:
            epoch, factor = epoch or 0, self.T_mult
            if epoch < 0:
                raise ArgumentError(f"CosineAnnealingWarmRestarts: epoch {epoch} is negative")
            if factor == 1:
                self.T_cur = epoch % self.T_0
            else:
                restarts = int(math.log(epoch / self.T_0 * (factor - 1) + 1, factor))
                self.T_i = self.T_0 * factor**restarts
                self.T_cur = epoch - self.T_0 * (factor**restarts - 1) / (factor - 1)
        self.last_epoch = math.floor(epoch)
        self._set(self.get_lr())

    def get_lr(self) -> list[float]:
        height = 1 + math.cos(math.pi * self.T_cur / self.T_i)
        return [self.eta_min + (base - self.eta_min) * height / 2 for base in self.base_lrs]
