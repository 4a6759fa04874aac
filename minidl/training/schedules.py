"""Schedules of whole runs: the learning rate as a function of how much of the run is done.

A schedule maps the fraction of the run that is done, 0 to 1, to a factor of the initial rate, so
that it fits any number of epochs. :func:`make_scheduler` applies it to an optimizer whose groups
:func:`parameter_groups` makes. The first layer has groups of its own, because ``"original"`` treats
it differently.

**The log of the published run** of AlexNet, 93 epochs long (comments in its layer files): the rate
was divided by 10 in epochs 23, 51 and 78. The rate of conv1 was divided once more in epoch 68 and
became 0 in epoch 72. The color noise ended in epoch 68. Biases ended at a tenth of their rate, so
theirs was divided once. ``"paper"`` leaves out what the paper does not mention.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from ..nn import Module
from ..optim import Optimizer, param_groups
from ..optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from ..optim.optimizer import Group

__all__ = ["SCHEDULES", "has_color_noise", "make_scheduler", "parameter_groups"]

_EPOCHS = 93
_DROPS = tuple(epoch / _EPOCHS for epoch in (23, 51, 78))
_FIRST_DROPS, _FIRST_STOPS = 68 / _EPOCHS, 72 / _EPOCHS
_NOISE_ENDS = 68 / _EPOCHS


def _drops(at: Sequence[float], done: float) -> float:
    return 0.1 ** sum(done >= drop for drop in at)


def _original(group: Group, done: float) -> float:
    factor = _drops(_DROPS[:1] if group["bias"] else _DROPS, done)
    if not group["first_layer"] or done < _FIRST_DROPS:
        return factor
    return 0.1 * factor if done < _FIRST_STOPS else 0.0


#: Functions from the fraction of the run that is done to the factor of the rate.
_FACTORS: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "step": lambda done: 0.1 ** int(3 * done),
    "cosine": lambda done: (1 + math.cos(math.pi * min(done, 1.0))) / 2,
    "paper": partial(_drops, _DROPS),
}

#: The names that :func:`make_scheduler` knows.
SCHEDULES = (*_FACTORS, "original", "plateau")


def parameter_groups(model: Module, first_layer: Module, lr: float, decay: float) -> list[Group]:
    """Return four parameter groups: weights and biases, each with the first layer's apart.

    Parameters
    ----------
    model : Module
    first_layer : Module
        A part of the model: AlexNet's conv1.
    lr : float
        Learning rate of weights; biases have twice this rate.
    decay : float
        Decay of weights; biases have none.

    Returns
    -------
    list of dict
        Groups for :class:`~minidl.optim.SGD`. The keys ``"bias"`` and ``"first_layer"`` tell them
        apart.

    Examples
    --------
    >>> import minidl
    >>> model = minidl.nn.Sequential(minidl.nn.Linear(2, 3), minidl.nn.Linear(3, 2))
    >>> groups = parameter_groups(model, model[0], lr=0.01, decay=5e-4)
    >>> [(group["first_layer"], group["bias"], group["lr"]) for group in groups]
    [(False, False, 0.01), (True, False, 0.01), (False, True, 0.02), (True, True, 0.02)]
    """
    first = {id(parameter) for parameter in first_layer.parameters()}
    return [
        {
            **group,
            "params": [param for param in group["params"] if (id(param) in first) == is_first],
            "bias": bool(is_bias),
            "first_layer": is_first,
        }
        for is_bias, group in enumerate(param_groups(model, lr, decay, bias_lr_multiplier=2))
        for is_first in (False, True)
    ]


def make_scheduler(
    optimizer: Optimizer,
    name: str,
    epochs: int,
    steps_per_epoch: int,
    warmup: int = 0,
    drops: Sequence[float] | None = None,
) -> LambdaLR | ReduceLROnPlateau:
    """Return the schedule of a run.

    Parameters
    ----------
    optimizer : Optimizer
        With the groups of :func:`parameter_groups`.
    name : str
        One of ``SCHEDULES``. "constant"; "step": divided by 10 after each third of the run;
        "cosine"; "paper" and "original": see the top of this page; "plateau": divided by 10 when
        the validation error has not fallen for 4 epochs.
    epochs, steps_per_epoch : int
        The length of the run.
    warmup : int, default 0
        Number of steps in which the rate rises from 0.
    drops : sequence of float, optional
        Epochs at which the rate is divided by 10. They replace the schedule that `name` names.

    Returns
    -------
    LambdaLR or ReduceLROnPlateau
        Call ``step()`` of the first after each batch, and ``step(error)`` of the second after each
        epoch.

    Examples
    --------
    >>> import minidl
    >>> model = minidl.nn.Linear(2, 2)
    >>> groups = parameter_groups(minidl.nn.Sequential(model), model, lr=0.01, decay=0.0)
    >>> optimizer = minidl.optim.SGD(groups)
    >>> schedule = make_scheduler(optimizer, "constant", 90, steps_per_epoch=10, drops=[23, 51])
    >>> schedule.step(229), schedule.get_last_lr()[0], schedule.step(230), schedule.get_last_lr()[0]
    (None, 0.01, None, 0.001)
    """
    if name == "plateau" and drops is None:
        return ReduceLROnPlateau(optimizer, factor=0.1, patience=3)

    def of_group(group: Group) -> Callable[[int], float]:
        factor = partial(_original, group) if name == "original" else _FACTORS.get(name)
        if drops is not None:
            factor = partial(_drops, [drop / epochs for drop in drops])
        assert factor is not None
        steps = epochs * steps_per_epoch
        return lambda step: min(1.0, (step + 1) / (warmup + 1)) * factor(step / steps)

    return LambdaLR(optimizer, [of_group(group) for group in optimizer.param_groups])


def has_color_noise(name: str, done: float) -> bool:
    """Return whether a schedule still has color noise when this fraction of the run is done.

    Parameters
    ----------
    name : str
        One of ``SCHEDULES``.
    done : float
        Fraction of the run that is done, 0 to 1.

    Examples
    --------
    >>> has_color_noise("original", 67 / 93), has_color_noise("original", 68 / 93)
    (True, False)
    """
    return name != "original" or done < _NOISE_ENDS
