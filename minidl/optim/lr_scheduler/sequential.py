"""Schedules one after the other: :class:`SequentialLR`."""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from ...errors import ArgumentError, CheckpointError
from ..optimizer import Optimizer
from .base import LRScheduler, checked
from .plateau import ReduceLROnPlateau


class SequentialLR(LRScheduler):
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
        self.optimizer = checked(optimizer)
        self._schedulers = schedulers
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
