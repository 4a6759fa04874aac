"""Several ranks in one training run: who writes, what they agree on, how they end.

``--parallel data`` gives each rank a share of every batch (see :class:`minidl.nn.buckets.Reducer`);
"towers" and "hybrid" cut the network into *shards*, too. Rank 0 alone prints and writes. After each
step, the ranks meet: each contributes its loss, so that all have the same means, and a signal to
one of them ends all at the same step.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from .. import distributed
from ..distributed import ReduceOp, world
from ..errors import ArgumentError
from ..kernels.cpu import get_num_threads
from ..nn import Module
from ..nn.buckets import Reducer
from ..tensor import Tensor
from .log import RunLog

__all__ = ["SCHEMES", "Silence", "Team", "check_same", "cores_of_rank", "first_rank_decides",
    "join"]  # fmt: skip

SCHEMES = ("data", "towers", "hybrid")

T = TypeVar("T")


def join(scheme: str | None) -> None:
    """Join the other ranks, and silence all but the first.

    Parameters
    ----------
    scheme : str or None
        The value of ``--parallel``.

    Raises
    ------
    ArgumentError
        There are several ranks, and no scheme.
    DistributedError
        There is a scheme, and no MPI.
    """
    if scheme is None:
        if world.launched() > 1:
            raise ArgumentError(
                f"{world.launched()} processes were started, which would all write the same run: "
                f"add --parallel {' or '.join(SCHEMES)}, or start one"
            )
        return
    here = world.initialize(required=True)
    if here.rank:
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def first_rank_decides(decide: Callable[[], T]) -> T:
    """Return on all ranks what a function returns on rank 0, where alone it is called."""
    if distributed.get_world_size() == 1:
        return decide()
    decided = [decide() if distributed.get_rank() == 0 else None]
    distributed.broadcast_object_list(decided)
    return decided[0]  # type: ignore[return-value]


def check_same(mine: Mapping[str, Any], advice: str) -> None:
    """Check that all ranks have the same; all ranks call this.

    Parameters
    ----------
    mine : mapping of str to object
        What this rank has, by names for the message. Objects that can be pickled.
    advice : str
        What to do about a difference.

    Raises
    ------
    ArgumentError
        A rank has something else than rank 0.
    """
    if distributed.get_world_size() == 1:
        return
    every: list[Any] = []
    distributed.all_gather_object(every, dict(mine))
    for rank, other in enumerate(every):
        for name in sorted({*every[0], *other}):
            first, found = (having.get(name) for having in (every[0], other))
            if first != found:
                raise ArgumentError(
                    f"rank {rank} has {name} {found}, but rank 0 has {first}: {advice}"
                )


def cores_of_rank() -> int | None:
    """Return how many threads a rank should compute with; None if it is alone.

    Ranks that may run on the same cores share them.
    """
    if distributed.get_world_size() == 1:
        return None
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    mine = os.uname().nodename if hasattr(os, "uname") else "", cores
    every: list[Any] = []
    distributed.all_gather_object(every, mine)
    return max(1, get_num_threads() // every.count(mine))


class Team:
    """This rank's part in a run of several.

    Parameters
    ----------
    model : Module
        If it was cut, its attribute ``shards`` says how: an object such as
        :class:`minidl.vision.models.shards.Shards`.
    scheme : str
        One of ``SCHEMES``.
    size_of : callable
        From the number of a batch to the number of its samples on all ranks.

    Attributes
    ----------
    leads : bool
        Whether this is rank 0.
    """

    def __init__(self, model: Module, scheme: str, size_of: Callable[[int], int]) -> None:
        self.here = world.current()
        self.leads = self.here.rank == 0
        self.shards: Any = getattr(model, "shards", None)
        self.reducer: Reducer | None = None
        if scheme == "data":
            self.reducer = Reducer(model)
        elif scheme == "hybrid":
            assert self.shards is not None
            replicated = self.shards.replicated()
            self.reducer = Reducer(model, parameters=replicated, average=False)
        self._size_of = size_of
        self._count = 0
        self._steps = self._samples = 0

    def counted(self, batches: Iterable[T], start: int) -> Iterator[T]:
        """Yield batches; tell the reducer how many samples all ranks have of each."""
        self._steps = self._samples = 0
        self.here.traffic.clear()
        for number, batch in enumerate(batches, start=start):
            total = self._count = self._size_of(number)
            if self.shards is not None:
                self.shards.total = total
            if self.reducer is not None:
                self.reducer.total = total
                self._count = len(range(self.here.rank, total, self.here.size))
            self._steps, self._samples = self._steps + 1, self._samples + total
            yield batch

    def meet(self, loss: Tensor, top1: Tensor, due: bool) -> tuple[Tensor, Tensor, int, bool]:
        """Return the means of all ranks, the number of samples, and whether rank 0 is to save."""
        count = self._count
        own = np.array([float(loss) * count, float(top1) * count, count, due and self.leads])
        if not count or (self.reducer is None and not self.leads):  # towers: all have the same
            own[:3] = 0
        distributed.all_reduce(Tensor(own))
        total = int(own[2])
        means = [Tensor(np.asarray(value / total, np.float32)) for value in own[:2]]
        return means[0].to(loss.device), means[1].to(top1.device), total, bool(own[3])

    def whole(self, state: dict[str, Any], optimizer: Any) -> dict[str, Any]:
        """Return the states of model and optimizer as one device would have them, on all ranks."""
        if self.shards is None:
            return state
        together = {"model": self.shards.whole(state["model"])}
        if "optimizer" in state:
            together["optimizer"] = self.shards.whole_optimizer(optimizer, state["optimizer"])
        return {**state, **together}

    def piece(self, state: dict[str, Any], optimizer: Any) -> dict[str, Any]:
        """Return the states of this rank's part of model and optimizer."""
        if self.shards is None:
            return state
        optimizers = self.shards.piece_of_optimizer(optimizer, state["optimizer"])
        return {**state, "model": self.shards.piece(state["model"]), "optimizer": optimizers}

    def drawing(self, run: Any, draw: Callable[..., None]) -> Callable[..., None]:
        """Return a run's ``draw`` for all ranks: rank 0 draws, with the whole network."""

        def together(**more: Any) -> None:
            whole = self.whole({"model": run.model.state_dict()}, None)["model"]
            if not self.leads:
                return
            model = run.model
            if self.shards is not None:
                run.model = self.shards.twin.to(next(model.parameters()).device)
                run.model.load_state_dict(whole)
            try:
                draw(**more)
            finally:
                run.model = model

        return together

    def traffic(self) -> str:
        """Say how many bytes this rank has sent in a step, and how many the formulas give."""
        steps, sent = max(self._steps, 1), self.here.traffic
        if self.shards is not None:
            formula = self.shards.formula(self._samples / steps)
        else:
            assert self.reducer is not None
            count = sum(p.array.nbytes for p in self.reducer.module.parameters())
            formula = {"gradients": 2 * count * (self.here.size - 1) / self.here.size}
        if self.reducer is not None and self.reducer.uses_nccl:
            formula.pop("gradients")  # which NCCL does not count
        parts = [
            f"{name} {sent.get(name, 0) / steps / 1e6:.3f} ({expected / 1e6:.3f})"
            for name, expected in formula.items()
        ]
        return f"MB sent in a step by rank {self.here.rank} (by the formula): " + ", ".join(parts)

    def agree(self, signal: int) -> int:
        """Return the signal that any rank has received, on all ranks."""
        number = Tensor(np.array([signal]))
        distributed.all_reduce(number, ReduceOp.MAX)
        return int(number)


class Silence(RunLog):
    """The log of a rank that writes none."""

    def __init__(self) -> None:
        self.path, self._board = os.devnull, None  # type: ignore[assignment]

    def write(self, kind: str, step: int, **values: float | str) -> None:
        """Do nothing."""
