r"""Averages of a model's weights over its training: :class:`AveragedModel`, :class:`SWALR`.

After update n = 0, 1, 2, ... with the model's weights w the averages ŵ are::

    equal average (Izmailov et al., 2018)     ŵ ← ŵ + (w − ŵ)/(n + 1)
    exponential average                       ŵ ← d·ŵ + (1 − d)·w
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from typing import Any

from ..autograd import no_grad
from ..device import Device
from ..errors import ArgumentError
from ..missing import attributes
from ..nn.batch_norm import _BatchNorm
from ..nn.module import Module
from ..tensor import Tensor, int64, tensor
from .lr_scheduler.base import LRScheduler, checked
from .lr_scheduler.cycles import check_strategy, for_groups
from .optimizer import Optimizer

__all__ = [
    "SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn",
    "get_swa_multi_avg_fn", "update_bn",
]  # fmt: skip

Average = Callable[[Tensor, Tensor, Any], Tensor]


def get_swa_avg_fn() -> Average:
    """Return ``average(averaged, current, number)``, the equal average of one tensor."""

    def average(averaged: Tensor, current: Tensor, number: Any) -> Tensor:
        with no_grad():
            return averaged + (current - averaged) / (number + 1)

    return average


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """Return ``average(averaged, current, number)``, the exponential average of one tensor.

    Parameters
    ----------
    decay : float
        d, in [0, 1]. Default 0.999.

    Raises
    ------
    ArgumentError
        `decay` is out of its range.
    """
    if not 0.0 <= decay <= 1.0:
        raise ArgumentError(f"decay must be in [0, 1], got {decay}")

    def average(averaged: Tensor, current: Tensor, number: Any) -> Tensor:
        with no_grad():
            return decay * averaged + (1 - decay) * current

    return average


def _of_lists(average: Average) -> Callable[..., None]:
    def averages(averaged: list[Tensor], current: list[Tensor], number: Any) -> None:
        with no_grad():
            for old, new in zip(averaged, current, strict=True):
                old.copy_(average(old, new, number))

    return averages


def get_swa_multi_avg_fn() -> Callable[..., None]:
    """Return ``average(averaged, current, number)``, which changes a list of tensors in place."""
    return _of_lists(get_swa_avg_fn())


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[..., None]:
    """Return the exponential average of a list of tensors, in place; see :func:`get_ema_avg_fn`."""
    return _of_lists(get_ema_avg_fn(decay))


class AveragedModel(Module):
    """A copy of a model whose weights are averages of the model's.

    Parameters
    ----------
    model : Module
        Copied, as ``module``.
    device : str or Device, optional
        Where the averages are. Default: where the model is.
    avg_fn : callable, optional
        ``avg_fn(averaged, current, number)`` returns the new average of one tensor. Default: the
        equal average.
    multi_avg_fn : callable, optional
        The same for lists of tensors, in place.
    use_buffers : bool
        Average buffers, too, instead of copying them. Default False.

    Raises
    ------
    ArgumentError
        Both functions are given.

    Examples
    --------
    >>> import minidl
    >>> from minidl.optim.swa_utils import AveragedModel
    >>> model = minidl.nn.Linear(1, 1, bias=False)
    >>> averaged = AveragedModel(model)
    >>> for value in (1.0, 2.0):
    ...     _ = model.weight.data.fill_(value)
    ...     averaged.update_parameters(model)
    >>> averaged.module.weight.item()
    1.5
    """

    def __init__(
        self,
        model: Module,
        device: str | Device | None = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Callable[..., None] | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise ArgumentError("AveragedModel: give avg_fn or multi_avg_fn, not both")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, dtype=int64, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the averaged model returns."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: Module) -> None:
        """Add the weights of `model` to the averages; the first time, copy them."""
        pairs: list[tuple[Tensor, Tensor]]
        pairs = [*zip(self.module.parameters(), model.parameters(), strict=True)]
        copied = [*zip(self.module.buffers(), model.buffers(), strict=True)]
        if self.use_buffers:
            pairs, copied = [*pairs, *copied], []
        averaged = [old.detach() for old, _ in pairs]
        current = [new.detach().to(old.device) for old, new in pairs]
        with no_grad():
            if self.n_averaged == 0:
                copied += zip(averaged, current, strict=True)
            else:
                average = self.multi_avg_fn or _of_lists(self.avg_fn or get_swa_avg_fn())
                average(averaged, current, self.n_averaged)
            for old, new in copied:
                old.copy_(new)
            self.n_averaged += 1


def update_bn(loader: Iterable[Any], model: Module, device: str | Device | None = None) -> None:
    """Compute the running statistics of batch normalizations again, from one pass over data.

    Parameters
    ----------
    loader : iterable of Tensor, or of lists that begin with one
        Batches of input.
    model : Module
    device : str or Device, optional
        Where batches go first. Default: they stay.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    was_training = model.training
    model.train()
    for layer in layers:
        layer.running_mean.zero_()
        layer.running_var.fill_(1)
        layer.num_batches_tracked.zero_()
        layer.momentum = None  # the average of all batches
    with no_grad():
        for batch in loader:
            images = batch[0] if isinstance(batch, (list, tuple)) else batch
            model(images if device is None else images.to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """Rates change from what they are to `swa_lr`, and stay there while weights are averaged.

    Parameters
    ----------
    optimizer, last_epoch
        See :class:`minidl.optim.lr_scheduler.LRScheduler`.
    swa_lr : float or list of float
        The rate at the end; one for all groups, or one each.
    anneal_epochs : int
        Number of epochs until then. Default 10.
    anneal_strategy : {"cos", "linear"}
        Default "cos".

    Raises
    ------
    ArgumentError
        An argument is out of its range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        swa_lr: float | Sequence[float],
        anneal_epochs: int = 10,
        anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ) -> None:
        check_strategy("SWALR", anneal_strategy)
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ArgumentError(f"SWALR: anneal_epochs must be at least 0, got {anneal_epochs}")
        rates = for_groups("SWALR: swa_lr", checked(optimizer), swa_lr)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["swa_lr"] = rate
        self.anneal_epochs = anneal_epochs
        self._anneal_strategy = anneal_strategy
        super().__init__(optimizer, last_epoch)

    def _done(self, step: int) -> float:
        """Return how much of the way is done in `step`, from 0 to 1."""
        t = max(0, min(1, step / max(1, self.anneal_epochs)))
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[float]:
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before, now = self._done(step - 1), self._done(step)
        rates = []
        for group in self.optimizer.param_groups:
            rate, last = group["lr"], group["swa_lr"]
            start = last if before == 1 else (rate - before * last) / (1 - before)
            rates.append(last * now + start * (1 - now))
        return rates


__getattr__ = attributes(globals())
