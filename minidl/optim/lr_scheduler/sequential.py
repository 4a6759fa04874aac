"""Schedules made of others: :class:`SequentialLR`, :class:`ChainedScheduler`."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from ...errors import ArgumentError
from ..optimizer import Optimizer
from .base import LRScheduler, checked
from .plateau import ReduceLROnPlateau


class _Several(LRScheduler):
    """Base of schedulers made of others."""

    _unsaved = ("optimizer", "_schedulers")

    def _check(self, optimizer: Optimizer, schedulers: list[LRScheduler]) -> None:
        name = type(self).__name__
        if not schedulers:
            raise ArgumentError(f"{name}: expected at least one scheduler")
        for index, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau):
                raise ArgumentError(f"{name}: scheduler {index} needs a metric at every step")
            if scheduler.optimizer is not optimizer:
                raise ArgumentError(f"{name}: scheduler {index} has another optimizer")
        self.optimizer = checked(optimizer)
        self._schedulers = schedulers

    def state_dict(self) -> dict[str, Any]:
        """Return everything but the optimizer; see :meth:`LRScheduler.state_dict`."""
        stages = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**super().state_dict(), "_schedulers": stages}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; see :meth:`LRScheduler.load_state_dict`."""
        stages = self._load_with("_schedulers", "schedulers", state_dict)
        for scheduler, stage in zip(self._schedulers, stages, strict=True):
            scheduler.load_state_dict(stage)


class ChainedScheduler(_Several):
    """Several schedulers at once: each changes the rates that the one before has set.

    Parameters
    ----------
    schedulers : list of LRScheduler
        On the same optimizer.
    optimizer : Optimizer, optional
        Default: that of the schedulers.

    Raises
    ------
    ArgumentError
        There are none, or a scheduler belongs to another optimizer or needs a metric.
    """

    def __init__(self, schedulers: list[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if optimizer is None and schedulers:
            optimizer = schedulers[0].optimizer
        self._check(optimizer, schedulers)  # type: ignore[arg-type]
        self._last_lr = self._rates()

    def step(self, epoch: None = None) -> None:  # type: ignore[override]
        """Let every scheduler go to its next epoch."""
        for scheduler in self._schedulers:
            scheduler.step()
        self._last_lr = self._rates()


class SequentialLR(_Several):
    """One scheduler after the other, such as a warm-up and then a cosine.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
        On the same optimizer.
    milestones : list of int
        Epochs at which the next scheduler takes over, at its epoch 0; one fewer than schedulers.
    last_epoch : int
        See :class:`LRScheduler`.

    Raises
    ------
    ArgumentError
        The numbers don't fit, or a scheduler belongs to another optimizer or needs a metric.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ) -> None:
        self._check(optimizer, schedulers)
        if len(milestones) != len(schedulers) - 1:
            raise ArgumentError(
                f"SequentialLR: {len(schedulers)} schedulers and {len(milestones)} milestones; "
                "expected one milestone fewer than schedulers"
            )
        self._milestones = milestones
        self.last_epoch = last_epoch + 1
        # Each scheduler stepped once when it was created: undo that, and start the first one again.
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
            Jumping to an epoch is not supported.

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
