"""A classifier's run from its first step to its report, across interruptions: :class:`Run`.

The training loop itself stays in the program, in a subclass::

    class MyRun(training.Run):
        def train_epoch(self):
            with self.progress(self.loader) as batches:
                for images, labels in batches:
                    self.optimizer.zero_grad()
                    with self.autocast():
                        logits = self.model(images)
                        loss = cross_entropy(logits, labels)
                    self.check_loss(loss, images)
                    self.scaler.scale(loss).backward()
                    self.scaler.step(self.optimizer)
                    self.scaler.update()
                    self.end_step(images, loss, *accuracy(logits, labels))
            return batches.speed

This page does the rest: after each step, after each epoch, after a signal and at the end.
:mod:`minidl.training.state` saves and loads checkpoints.
``examples/alexnet_imagenet.py`` is a whole program.
"""

from __future__ import annotations

import shlex
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from .. import distributed
from ..amp import GradScaler, autocast
from ..distributed import world
from ..errors import DataError
from ..nn import Module
from ..optim import Optimizer
from ..optim.lr_scheduler import LambdaLR
from ..tensor import Tensor
from . import report
from .leniency import Leniency
from .log import RunLog
from .means import RunningMeans
from .parallel import Silence, Team
from .program import UNSAVED
from .progress import Progress
from .signals import Interrupted, Interruption
from .state import RunState

__all__ = ["Run", "describe"]

#: Steps between two entries of the log. A GPU's losses are read as rarely, because reading waits
#: for the GPU; so a GPU may go on for that long after NaN, but never as far as a checkpoint.
LOG_EVERY = 20


class Run(RunState, ABC):
    """The training of a classifier, from epoch to epoch.

    A subclass defines :meth:`train_epoch`, :meth:`validate` and :meth:`finish`, and may define
    :meth:`draw`.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
    scheduler : LambdaLR or ReduceLROnPlateau
        Such as :func:`~minidl.training.schedules.make_scheduler` returns.
    options : argparse.Namespace
        The run's settings. Used here: ``classes`` (their names), ``epochs``, ``lr_drop_at``,
        ``output`` (the run's folder, which exists), ``save_minutes`` and perhaps ``save_weights``
        and ``amp``.
    batches : int
        Number of batches in an epoch.
    **parts : object
        Further objects with ``state_dict`` and ``load_state_dict`` that a checkpoint contains.

    Attributes
    ----------
    log : RunLog
        While :meth:`train` runs.
    scaler : GradScaler
        Of the losses, if ``options.amp`` asks for mixed precision.
    on_cpu : bool
        Whether the model is on the CPU, where reading a loss waits for nothing.
    """

    #: Further advice for the user when the data is at fault; it follows "fix the problem below".
    data_advice = ""
    #: The words of the command that resumes the run. Default: the program with ``--resume``.
    go_on: Sequence[str] = ()

    log: RunLog
    interruption: Interruption
    _progress: Progress

    def __init__(
        self, model: Module, optimizer: Optimizer, scheduler: Any, options: Any, batches: int,
        **parts: Any,
    ) -> None:  # fmt: skip
        self.on_cpu = next(model.parameters()).device.type == "cpu"
        self.scaler = GradScaler(enabled=getattr(options, "amp", False) and not self.on_cpu)
        if self.scaler.is_enabled():
            parts["scaler"] = self.scaler
        super().__init__(model, optimizer, scheduler, options, **parts)
        self.batches = batches
        if distributed.get_world_size() > 1:
            self.team = Team(model, options.parallel, parts["pictures"].size_of)
            self.draw = self.team.drawing(self, self.draw)  # type: ignore[method-assign]
            self.finite.traces = not (self.team.shards or list(model.buffers()))
            self.finite.summed = self.team.reducer is not None
        self.leniency = Leniency()

    # --- Defined by a program ---------------------------------------------------------------------

    @abstractmethod
    def train_epoch(self) -> float:
        """Train for an epoch, from ``self.batch`` on; return the number of samples per second."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Return the validation scores: "loss", "top1" and "top5"."""

    @abstractmethod
    def finish(self) -> None:
        """Report on the run after its last epoch; see :meth:`write_report`."""

    def draw(self) -> None:
        """Draw figures, after each epoch."""

    # --- The way through the epochs ---------------------------------------------------------------

    def train(self, interruption: Interruption) -> int:
        """Train until the last epoch is over or a signal arrives.

        Returns
        -------
        int
            The program's exit status.

        Raises
        ------
        DataError
            If the data is at fault. Like after a signal, a checkpoint is written first.
        NotFiniteError
            If a number becomes NaN or infinite. Nothing is saved then.
        """
        self.interruption = interruption
        interruption.waits = True  # for the end of a step
        interruption.agree = None if self.team is None else self.team.agree
        after = self.step or None
        with RunLog(self.options.output, after) if self.leads else Silence() as self.log:
            try:
                while self.epoch < self.options.epochs:
                    speed = self.train_epoch()
                    if self.team is not None:
                        print(self.team.traffic())
                    self.end_epoch(self.validate(), speed)
                self.finish()
            except Interrupted:  # between two steps, like a DataError
                self._say_how_to_go_on("to go on")
                distributed.barrier()  # a launcher ends all ranks when one has ended with a status
                return interruption.status
            except DataError:
                if self.team is not None:  # the other ranks are in the middle of a step
                    raise
                self._say_how_to_go_on(f"to go on, fix the problem below{self.data_advice}")
                raise
        return 0 if self.is_saved else UNSAVED

    def _say_how_to_go_on(self, what: str) -> None:
        done = f"saved after step {self.step}" if self.save() else "stopped, NOT saved"
        again = self.go_on or [sys.argv[0], "--resume", self.options.output]
        command = shlex.join(["python", *again])
        print(f"\n{done}; {what}: {command}", file=sys.stderr)

    def progress(self, batches: Iterable[Any]) -> Progress:
        """Return the batches of an epoch under a progress bar."""
        if self.team is not None:
            batches = self.team.counted(batches, self.batch)
        title = f"epoch {self.epoch + 1}/{self.options.epochs}"
        self._progress = Progress(batches, title, self.batches, self.batch)
        return self._progress

    def autocast(self) -> autocast:
        """Return a context for the forward and the loss: mixed precision, if the run has it."""
        return autocast("cuda", enabled=getattr(self.options, "amp", False))

    def check_loss(self, loss: Tensor, images: Tensor) -> None:
        """Check that a step's loss is finite; on a GPU, :meth:`end_step` does it later."""
        if self.on_cpu:
            self.finite.loss(loss, images, self.step + 1)

    def end_step(self, images: Tensor, loss: Tensor, top1: Tensor) -> None:
        """Do what is due after an update: count, move the rate, read losses, log, stop, save.

        Parameters
        ----------
        images : Tensor
            The batch, whose first axis counts the samples.
        loss, top1 : Tensor
            The batch's mean loss and its accuracy in percent.

        Raises
        ------
        Interrupted
            If a signal has arrived.
        NotFiniteError
            If losses were read or a checkpoint is due, and a number is not finite.
        """
        due, count = time.monotonic() - self.saved_at >= 60 * self.options.save_minutes, len(images)
        if self.team is not None:
            if not self.on_cpu:  # later, NaN is in the mean of all ranks, and can't be told apart
                self.finite.loss(loss, images, self.step + 1)
            loss, top1, count, due = self.team.meet(loss, top1, due)
        if isinstance(self.scheduler, LambdaLR):
            self.scheduler.step()
        self.means.update(loss, top1, weight=count)
        self.batch += 1
        self.step += 1
        self._progress.update(count)
        last = self.batch == self.batches or self.interruption.requested
        if self.step % (1 if self.on_cpu else LOG_EVERY) == 0 or last:
            losses = self.read_losses(images)
            speed, share = self._progress.speed, self._progress.waiting.share
            self._progress.show(
                f"loss {self.means.values()[0]:.3f}, {speed:.0f}/s, {share:.0%} waiting for data"
            )
            if self.step % LOG_EVERY == 0:
                numbers = {"images_per_second": speed, "data_share": share}
                self.log.write("step", self.step, loss=losses[-1], lr=self.rate(), **numbers)
        self.interruption.check()
        if due:
            self.save()

    def read_losses(self, images: Tensor) -> list[float]:
        """Fetch the losses since the last reading, and check that every number is finite."""
        losses = [row[0] for row in self.means.read()]
        for step, loss in enumerate(losses, start=self.step - len(losses) + 1):
            self.finite.loss(loss, images, step)
        self.finite.parameters(self.step)
        if self.flat.update(losses):
            print(f"\nhint: {self.flat.hint}", file=sys.stderr)
        return losses

    def rate(self) -> float:
        """Return the learning rate of the first group: the weights'."""
        return float(self.optimizer.param_groups[0]["lr"])

    def end_epoch(self, scores: dict[str, float], speed: float) -> None:
        """Record and print an epoch's scores, move the rate, save, and draw."""
        loss, top1 = self.means.values()
        score = scores["top1"], -scores["loss"]
        is_best = all(score > _score(line) for line in self.history)
        self.epoch, self.batch, self.means = self.epoch + 1, 0, RunningMeans()
        line = {"epoch": self.epoch, "train_loss": loss, "train_top1": top1}
        line |= {"val_loss": scores["loss"], "top1": scores["top1"], "top5": scores["top5"]}
        self.history.append(line)
        self.log.write("epoch", self.step, **line, lr=self.rate(), images_per_second=speed)
        print(
            f"epoch {self.epoch}/{self.options.epochs}: loss {loss:.3f}, "
            f"validation {describe(scores)}, {speed:.1f} images/s",
            flush=True,
        )
        if not isinstance(self.scheduler, LambdaLR):
            self.scheduler.step(100 - scores["top1"])
        self.save(best=is_best)
        with self.leniency.writing("the figures"), world.current().patience():
            self.draw()

    def last_scores(self) -> dict[str, float]:
        """Return the validation scores of the last epoch."""
        last = self.history[-1]
        return {"loss": last["val_loss"], "top1": last["top1"], "top5": last["top5"]}

    def write_report(self, final: dict[str, dict[str, float]], **more: Any) -> None:
        """Write ``report.md`` and ``report.json``, and print the final and the best scores.

        Parameters
        ----------
        final : dict
            See :func:`minidl.training.report.write`.
        **more : object
            Settings beside those of ``self.options``.
        """
        if self.leads:
            with self.leniency.writing("the report"):
                report.write(
                    self.options.output, settings={**vars(self.options), **more},
                    history=self.history, final=final,
                )  # fmt: skip
        for name, scores in final.items():
            print(f"final, {name}: {describe(scores)}")
        best = max(self.history, key=_score)
        print("best: top-1 {top1:.2f} % after epoch {epoch}".format(**best))


def _score(line: dict[str, float]) -> tuple[float, float]:
    """Return what the best epoch has most of: top-1 accuracy; if equal, the smaller loss."""
    return line["top1"], -line["val_loss"]


def describe(scores: dict[str, float]) -> str:
    """Return scores in words.

    Examples
    --------
    >>> describe({"loss": 1.875, "top1": 57.125, "top5": 80.25})
    'loss 1.875, top-1 57.12 %, top-5 80.25 %'
    """
    return "loss {loss:.3f}, top-1 {top1:.2f} %, top-5 {top5:.2f} %".format(**scores)
