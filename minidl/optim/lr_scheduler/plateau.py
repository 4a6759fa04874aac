"""A schedule that follows a metric: :class:`ReduceLROnPlateau`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import SupportsFloat

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .base import LRScheduler, checked


class ReduceLROnPlateau(LRScheduler):
    """Rates are multiplied by `factor` when a metric has stopped improving.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether a smaller or a larger metric is better. Default "min".
    factor : float
        Below 1. Default 0.1.
    patience : int
        Number of consecutive epochs without improvement that are tolerated; the next one reduces
        the rates. Default 10.
    threshold : float
        Smallest improvement over the best metric that counts. Default 1e-4.
    threshold_mode : {"rel", "abs"}
        Whether `threshold` is a fraction of the best metric or a difference. Default "rel".
    cooldown : int
        Number of epochs after a reduction in which no epoch counts as bad. Default 0.
    min_lr : float or list of float
        Lowest rate, for all groups or for each. Default 0.
    eps : float
        Smaller changes of the rate are ignored. Default 1e-8.

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
        count = len(checked(optimizer).param_groups)
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
        """Take an epoch's metric, and reduce the rates if patience has run out.

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
        """Whether bad epochs currently don't count."""
        return self.cooldown_counter > 0

    def _is_better(self, metric: float) -> bool:
        least = self.threshold if self.mode == "min" else -self.threshold
        bar = self.best * (1.0 - least) if self.threshold_mode == "rel" else self.best - least
        return metric < bar if self.mode == "min" else metric > bar

    def _reduce(self) -> None:
        groups = self.optimizer.param_groups
        if len(self.min_lrs) != len(groups):  # a group was added meanwhile
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
