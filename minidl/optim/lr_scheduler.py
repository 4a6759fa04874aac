"""Learning-rate schedules: rules that set ``group["lr"]`` of an optimizer's parameter groups.

Call ``scheduler.step()`` after an epoch's (or a step's) ``optimizer.step()`` calls. The numbers are
PyTorch's to the last bit: most schedules compute a rate from the rate before it, so that several
schedulers on one optimizer multiply, and a rate that somebody changes by hand stays changed.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from types import FunctionType
from typing import Any, SupportsFloat

from ..errors import ArgumentError, CheckpointError, DTypeError
from .optimizer import Optimizer

#: Entries of PyTorch's scheduler state that mean nothing here.
_PYTORCH_ONLY = {"_get_lr_called_within_step", "_is_initial", "verbose", "mode_worse"}


class LRScheduler:
    """Base class: a schedule over epochs 0, 1, 2, ... (or steps: whatever ``step()`` counts).

    A schedule of your own implements :meth:`get_lr`.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        The epoch before the next one. Default -1: start; the groups' rates become their
        ``"initial_lr"``. Otherwise the groups must have an ``"initial_lr"``.

    Raises
    ------
    DTypeError
        `optimizer` is not an Optimizer.
    ArgumentError
        `last_epoch` is not -1 and a group has no ``"initial_lr"``.

    Examples
    --------
    >>> import minidl
    >>> from minidl.optim.lr_scheduler import LRScheduler
    >>> class Harmonic(LRScheduler):
    ...     def get_lr(self):
    ...         return [base / (1 + self.last_epoch) for base in self.base_lrs]
    >>> optimizer = minidl.optim.SGD([minidl.nn.Parameter(minidl.zeros(1))], lr=1.0)
    >>> scheduler = Harmonic(optimizer)
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    #: Attributes that stay out of the state.
    _unsaved: tuple[str, ...] = ("optimizer",)

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self.optimizer = _checked(optimizer)
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ArgumentError(
                    f"{type(self).__name__}: last_epoch={last_epoch} continues a schedule, but "
                    f"parameter group {index} has no 'initial_lr': load the optimizer's state first"
                )
        self.base_lrs = [group["initial_lr"] for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._start()

    def _start(self) -> None:
        self._step_count = 0
        self._advance(None, initial=True)

    def get_last_lr(self) -> list[float]:
        """Return the rates that the last step set, one a parameter group."""
        return self._last_lr

    def get_lr(self) -> list[float]:
        """Compute the rates of epoch ``self.last_epoch``. Called by :meth:`step`; don't call it.

        Returns
        -------
        list of float
            One a parameter group.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement get_lr()")

    def _first_lr(self) -> list[float]:
        """Compute the rates at the schedule's start."""
        return self.get_lr()

    def _lr_at_epoch(self) -> list[float]:
        """Compute the rates of epoch ``self.last_epoch`` from the initial ones alone."""
        return self.get_lr()

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch and set its rates.

        Parameters
        ----------
        epoch : int, optional
            Go to this epoch instead.
        """
        self._advance(epoch)

    def _advance(self, epoch: int | None, initial: bool = False) -> None:
        self._step_count += 1
        if epoch is None:
            self.last_epoch += 1
            self._set(self._first_lr() if initial else self.get_lr())
        else:
            self.last_epoch = epoch
            self._set(self._lr_at_epoch())

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = self._rates()

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer, as numbers, strings, lists and dicts."""
        return {
            key: deepcopy(value) for key, value in vars(self).items() if key not in self._unsaved
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what :meth:`state_dict` returned. Load the optimizer's state as well.

        Parameters
        ----------
        state_dict : dict
            minidl's or PyTorch's.

        Raises
        ------
        CheckpointError
            It is the state of another kind of schedule.
        """
        own = {key for key in vars(self) if key not in self._unsaved}
        given = set(state_dict) - _PYTORCH_ONLY
        if own != given:
            raise CheckpointError(
                f"{type(self).__name__}.load_state_dict: this is not its state: missing "
                f"{sorted(own - given)}, unexpected {sorted(given - own)}"
            )
        vars(self).update({key: deepcopy(state_dict[key]) for key in own})


class LambdaLR(LRScheduler):
    """Rates are the initial ones times a function of the epoch.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable or list of callable
        From epoch to factor; one for all groups, or one each.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ArgumentError
        The number of functions is not the number of groups.

    Notes
    -----
    A function can't be saved: give the same one again before loading. The attributes of a callable
    object are saved.

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
        count = len(_checked(optimizer).param_groups)
        self.lr_lambdas = (
            list(lr_lambda) if isinstance(lr_lambda, Sequence) else [lr_lambda] * count
        )
        if len(self.lr_lambdas) != count:
            raise ArgumentError(f"LambdaLR: got {len(self.lr_lambdas)} functions, expected {count}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """Compute the rates of epoch ``self.last_epoch``."""
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
        rest = dict(state_dict)
        attributes = rest.pop("lr_lambdas", [])
        if len(attributes) != len(self.lr_lambdas):
            raise CheckpointError(
                f"LambdaLR.load_state_dict: the state has {len(attributes)} functions, expected "
                f"{len(self.lr_lambdas)}"
            )
        super().load_state_dict(rest)
        for function, saved in zip(self.lr_lambdas, attributes, strict=True):
            if saved is not None:
                vars(function).update(deepcopy(saved))


class StepLR(LRScheduler):
    """Rates are multiplied by `gamma` every `step_size` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
        At least 1.
    gamma : float
        Default 0.1.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ArgumentError
        `step_size` is not positive.

    Examples
    --------
    Caffe's AlexNet: a tenth every 100,000 of 450,000 iterations, one ``step()`` an iteration.

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
        """Compute the rates of epoch ``self.last_epoch``."""
        if self.last_epoch == 0 or self.last_epoch % self.step_size != 0:
            return self._rates()
        return [rate * self.gamma for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        return [base * self.gamma ** (self.last_epoch // self.step_size) for base in self.base_lrs]


class MultiStepLR(LRScheduler):
    """Rates are multiplied by `gamma` at the start of each epoch in `milestones`.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : iterable of int
        Epochs, in any order; one that stands there twice counts twice.
    gamma : float
        Default 0.1.
    last_epoch : int
        See :class:`LRScheduler`.

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
        """Compute the rates of epoch ``self.last_epoch``."""
        if self.last_epoch not in self.milestones:
            return self._rates()
        return [rate * self.gamma ** self.milestones[self.last_epoch] for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        drops = bisect_right(sorted(self.milestones.elements()), self.last_epoch)
        return [base * self.gamma**drops for base in self.base_lrs]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; see :meth:`LRScheduler.load_state_dict`."""
        super().load_state_dict(state_dict)
        self.milestones = Counter(self.milestones)  # a file gives a plain dict back


class ExponentialLR(LRScheduler):
    """Rates are multiplied by `gamma` every epoch.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
    last_epoch : int
        See :class:`LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def _first_lr(self) -> list[float]:
        return self._rates()

    def get_lr(self) -> list[float]:
        """Compute the rates of epoch ``self.last_epoch``."""
        return [rate * self.gamma for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        return [base * self.gamma**self.last_epoch for base in self.base_lrs]


class LinearLR(LRScheduler):
    """Rates go in a straight line from a share of the initial ones to another: a warm-up.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float
        In (0, 1]. Default 1/3.
    end_factor : float
        In [0, 1]. Default 1.
    total_iters : int
        After how many epochs `end_factor` is reached. Default 5.
    last_epoch : int
        See :class:`LRScheduler`.

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
        """Compute the rates of epoch ``self.last_epoch``."""
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
        return [
            base * (self.start_factor + rise * done / self.total_iters) for base in self.base_lrs
        ]


class CosineAnnealingLR(LRScheduler):
    r"""Rates follow half a cosine from the initial one down to `eta_min`, and back up after it.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        Epochs from the top to the bottom.
    eta_min : float
        The lowest rate. Default 0.
    last_epoch : int
        See :class:`LRScheduler`.

    Notes
    -----
    :math:`\eta_t = \eta_{min} + (\eta_0 - \eta_{min}) (1 + \cos(\pi t / T_{max})) / 2`
    (Loshchilov and Hutter, "SGDR", ICLR 2017), computed from the rate before.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def _first_lr(self) -> list[float]:
        return self._rates()

    def get_lr(self) -> list[float]:
        """Compute the rates of epoch ``self.last_epoch``."""
        t, low, period = self.last_epoch, self.eta_min, self.T_max
        if self._step_count == 1 and t > 0:
            return [
                low + (base - low) * (1 + math.cos(t * math.pi / period)) / 2
                for base in self.base_lrs
            ]
        if (t - 1 - period) % (2 * period) == 0:  # at the bottom the ratio below is 0 / 0
            return [
                rate + (base - low) * (1 - math.cos(math.pi / period)) / 2
                for base, rate in zip(self.base_lrs, self._rates(), strict=True)
            ]
        now = 1 + math.cos(math.pi * t / period)
        before = 1 + math.cos(math.pi * (t - 1) / period)
        return [now / before * (rate - low) + low for rate in self._rates()]

    def _lr_at_epoch(self) -> list[float]:
        t, low = self.last_epoch, self.eta_min
        return [
            low + (base - low) * (1 + math.cos(math.pi * t / self.T_max)) / 2
            for base in self.base_lrs
        ]


class SequentialLR(LRScheduler):
    """One scheduler after the other, such as a warm-up and then a cosine.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
        On the same optimizer.
    milestones : list of int
        At which epochs the next scheduler takes over, from its epoch 0; one fewer than schedulers.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ArgumentError
        The numbers don't fit, or a scheduler belongs to another optimizer or needs a metric.
    """

    _unsaved = ("optimizer", "_schedulers")

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                f"SequentialLR: {len(schedulers)} schedulers and {len(milestones)} milestones; "
                "expected one milestone fewer than schedulers"
            )
        for index, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ArgumentError(f"SequentialLR: scheduler {index} needs a metric at every step")
            if scheduler.optimizer is not optimizer:
                raise ArgumentError(f"SequentialLR: scheduler {index} has another optimizer")
        self.optimizer = _checked(optimizer)
        self._schedulers = schedulers
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        # Making the schedulers stepped each of them once: undo that, and start the first again.
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self._step_back()
        first = schedulers[bisect_right(milestones, 0)]
        first._start()
        self._last_lr = first.get_last_lr()

    def _step_back(self) -> None:
        for scheduler in self._schedulers:
            if isinstance(scheduler, SequentialLR):
                scheduler._step_back()
            else:
                scheduler.last_epoch -= 1

    def _start(self) -> None:  # as one stage of another SequentialLR
        self.step()

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch and set its rates.

        Parameters
        ----------
        epoch : None
            Stages can't be jumped over.

        Raises
        ------
        ArgumentError
            `epoch` is given.
        """
        if epoch is not None:
            raise ArgumentError("SequentialLR.step: epoch is not supported")
        self.last_epoch += 1
        index = bisect_right(self._milestones, self.last_epoch)
        scheduler = self._schedulers[index]
        starts = index > 0 and self._milestones[index - 1] == self.last_epoch
        scheduler.step(0 if starts else None)
        self._last_lr = scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer; see :meth:`LRScheduler.state_dict`."""
        stages = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**super().state_dict(), "_schedulers": stages}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; see :meth:`LRScheduler.load_state_dict`."""
        rest = dict(state_dict)
        stages = rest.pop("_schedulers", [])
        if len(stages) != len(self._schedulers):
            raise CheckpointError(
                f"SequentialLR.load_state_dict: the state has {len(stages)} schedulers, expected "
                f"{len(self._schedulers)}"
            )
        super().load_state_dict(rest)
        for scheduler, stage in zip(self._schedulers, stages, strict=True):
            scheduler.load_state_dict(stage)


class ReduceLROnPlateau(LRScheduler):
    """Rates are multiplied by `factor` when a metric has stopped getting better.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether a smaller or a larger metric is better. Default "min".
    factor : float
        Below 1. Default 0.1.
    patience : int
        How many epochs in a row without getting better are borne; the next one reduces. Default 10.
    threshold : float
        By how much a metric must beat the best to count as better. Default 1e-4.
    threshold_mode : {"rel", "abs"}
        Whether `threshold` is a share of the best metric or a difference. Default "rel".
    cooldown : int
        For how many epochs after a reduction no epoch counts as bad. Default 0.
    min_lr : float or list of float
        Lowest rate, of all groups or of each. Default 0.
    eps : float
        A smaller change of the rate is left out. Default 1e-8.

    Raises
    ------
    ArgumentError
        An option is out of its range, or `min_lr` does not fit the groups.

    Notes
    -----
    The paper's rule: "divide the learning rate by 10 when the validation error rate stopped
    improving"; it did so three times before the end.

    Examples
    --------
    >>> import minidl
    >>> optimizer = minidl.optim.SGD([minidl.nn.Parameter(minidl.zeros(1))], lr=1.0)
    >>> scheduler = minidl.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> for error in [3.0, 2.0, 2.0, 2.0]:
    ...     scheduler.step(error)
    >>> scheduler.get_last_lr()
    [0.5]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
    ) -> None:
        where = "ReduceLROnPlateau"
        if factor >= 1.0:
            raise ArgumentError(f"{where}: factor must be below 1, got {factor}")
        if mode not in ("min", "max"):
            raise ArgumentError(f"{where}: mode must be 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise ArgumentError(
                f"{where}: threshold_mode must be 'rel' or 'abs', got {threshold_mode!r}"
            )
        count = len(_checked(optimizer).param_groups)
        self.optimizer = optimizer
        self.default_min_lr = None if isinstance(min_lr, Sequence) else min_lr
        self.min_lrs = list(min_lr) if isinstance(min_lr, Sequence) else [min_lr] * count
        if len(self.min_lrs) != count:
            raise ArgumentError(f"{where}: got {len(self.min_lrs)} min_lr, expected {count}")
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.eps = eps
        self.last_epoch = 0
        self.best = math.inf if mode == "min" else -math.inf
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._last_lr = self._rates()

    def step(self, metrics: SupportsFloat, epoch: int | None = None) -> None:  # type: ignore[override]
        """Look at an epoch's metric, and reduce the rates when patience is over.

        Parameters
        ----------
        metrics : float or Tensor
            Such as the validation error. NaN counts as bad.
        epoch : int, optional
            The epoch's number. Default: one more than the last.
        """
        metric = float(metrics)
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        if self._is_better(metric):
            self.best = metric
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = self._rates()

    @property
    def in_cooldown(self) -> bool:
        """Whether bad epochs don't count now."""
        return self.cooldown_counter > 0

    def _is_better(self, metric: float) -> bool:
        if self.threshold_mode == "rel":
            margin = 1.0 - self.threshold if self.mode == "min" else self.threshold + 1.0
            bar = self.best * margin
        else:
            bar = self.best - self.threshold if self.mode == "min" else self.best + self.threshold
        return metric < bar if self.mode == "min" else metric > bar

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(self.min_lrs) != len(groups):  # a group was added since
            if self.default_min_lr is None:
                raise ArgumentError(
                    f"ReduceLROnPlateau: {len(self.min_lrs)} min_lr for {len(groups)} parameter "
                    "groups; add one to `min_lrs` for each group added"
                )
            self.min_lrs = [self.default_min_lr] * len(groups)
        for group, lowest in zip(groups, self.min_lrs, strict=True):
            old = float(group["lr"])
            new = max(old * self.factor, lowest)
            if old - new > self.eps:
                group["lr"] = new


def _checked(optimizer: Optimizer) -> Optimizer:
    if not isinstance(optimizer, Optimizer):
        raise DTypeError(f"expected an Optimizer, got {type(optimizer).__name__}")
    return optimizer
