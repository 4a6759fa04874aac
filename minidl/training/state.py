"""The contents of a run's checkpoint, and how a run resumes from it: :class:`RunState`.

A checkpoint is a dict of

- the states of the run's parts: "model", "optimizer", "scheduler", "means" (the training loss and
  accuracy of this epoch), "flat" (see :class:`~minidl.training.watch.FlatLoss`), and the program's
  own, such as "pictures";
- "rng", the state of the random numbers;
- "options", the settings;
- "progress", the numbers of finished epochs, of finished batches in this epoch, and of all steps;
- "history", one entry for each finished epoch;
- "versions", on which the last bits of the results depend.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from ..distributed import world
from ..errors import ArgumentError
from ..nn import Module
from ..optim import Optimizer
from ..optim.lr_scheduler import LambdaLR
from ..random import get_rng_state, set_rng_state
from .checkpoints import Checkpoints
from .machine import versions
from .means import RunningMeans
from .parallel import Team
from .watch import FiniteCheck, FlatLoss

__all__ = ["RunState"]


class RunState:
    """The state of a run: everything that decides how it goes on.

    The base class of :class:`~minidl.training.Run`, which describes the parameters.

    Attributes
    ----------
    epoch, batch, step : int
        Number of finished epochs, of finished batches in this epoch, and of steps in all.
    means : RunningMeans
        The training loss and accuracy of this epoch.
    history : list of dict
        One entry for each finished epoch; see :func:`minidl.training.report.write`.
    is_saved : bool
        Whether the latest attempt to save succeeded.
    saved_at : float
        ``time.monotonic()`` of that attempt.
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, scheduler: Any, options: Any, **parts: Any
    ) -> None:
        self.model, self.optimizer, self.scheduler = model, optimizer, scheduler
        self.options, self._more_parts = options, parts
        self.epoch = self.batch = self.step = 0
        self.means = RunningMeans()
        self.history: list[dict[str, float]] = []
        self.finite, self.flat = FiniteCheck(model), FlatLoss(len(options.classes))
        self.checkpoints = Checkpoints(options.output)
        self.team: Team | None = None  # if there are several ranks
        self.is_saved, self.saved_at = False, time.monotonic()

    @property
    def leads(self) -> bool:
        """Whether this rank writes the run's files: the first one does."""
        return self.team is None or self.team.leads

    def whole(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return states as one device would have them; all ranks call this together."""
        return state if self.team is None else self.team.whole(state, self.optimizer)

    def parts(self) -> dict[str, Any]:
        """Return the objects whose states a checkpoint contains, by their names in it."""
        return {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler,
                "means": self.means, "flat": self.flat, **self._more_parts}  # fmt: skip

    def save(self, best: bool = False) -> bool:
        """Save everything that the run needs to resume from here as if nothing had happened.

        Returns
        -------
        bool
            Whether it is on the disk; see :meth:`minidl.training.Checkpoints.save`.

        Raises
        ------
        NotFiniteError
            If a parameter is not finite. Broken weights are never saved.
        """
        self.finite.parameters(self.step)
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state = self.whole(state)
        state |= {"rng": get_rng_state(), "options": vars(self.options)}
        state |= {"progress": [self.epoch, self.batch, self.step], "history": self.history}
        state["versions"] = versions()
        self.saved_at = time.monotonic()
        without = ["optimizer"] if getattr(self.options, "save_weights", False) else []
        if self.leads:
            with world.current().patience():
                self.is_saved = self.checkpoints.save(state, best, best_without=without)
        else:
            self.is_saved = True
        return self.is_saved

    def load(self, state: dict[str, Any]) -> None:
        """Go back to where :meth:`save` was called.

        Raises
        ------
        ArgumentError
            If the run is past its last epoch, which the settings have made fewer.
        DataError
            If the pictures are not those of the run.
        """
        (self.epoch, self.batch, self.step), self.history = state["progress"], state["history"]
        if self.epoch + (self.batch > 0) > self.options.epochs:
            raise ArgumentError(
                f"--epochs {self.options.epochs}: the run is in epoch {self.epoch + 1} already, "
                f"after step {self.step}"
            )
        self.is_saved = True
        parts, before, now = self.parts(), state["options"], vars(self.options)
        new_rates = any(before[key] != now[key] for key in ("epochs", "lr_drop_at"))
        if new_rates and isinstance(self.scheduler, LambdaLR):
            del parts["scheduler"]
        own = state if self.team is None else self.team.piece(state, self.optimizer)
        if "scaler" not in own:  # so far the run has been on a CPU, without one
            parts.pop("scaler", None)
        for name, part in parts.items():
            part.load_state_dict(own[name])
        if "scheduler" not in parts:
            self.scheduler.step(self.step)
        set_rng_state(state["rng"])
        if state["versions"] != (present := versions()):
            print(f"warning: the run began with {state['versions']}, not with {present}: the last "
                  "digits will differ", file=sys.stderr)  # fmt: skip
