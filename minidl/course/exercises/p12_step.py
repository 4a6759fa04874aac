"""The update: momentum, weight decay, in PyTorch's form and in the paper's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl

from ..judging import Exercise, Mistake


def sgd_torch(w, grads, rates, momentum, decay):
    """Take several steps of SGD with momentum in PyTorch's form.

    The velocity starts as 0. In each step, g is the gradient plus decay * w, the velocity becomes
    momentum * velocity + g, and w moves by -rate * velocity.

    Parameters
    ----------
    w : array of any shape
        The weights before the first step.
    grads : list of arrays of w's shape
        The loss's gradient in each step.
    rates : list of float
        The learning rate in each step.
    momentum, decay : float

    Returns
    -------
    array of w's shape
        The weights after the last step.
    """
    raise NotImplementedError


def sgd_paper(w, grads, rates, momentum, decay):
    """Take several steps in the form of the AlexNet paper, with the rate inside the velocity.

    The velocity starts as 0. In each step it becomes
    momentum * velocity - decay * rate * w - rate * gradient, and w moves by the velocity.

    Parameters
    ----------
    w : array of any shape
        The weights before the first step.
    grads : list of arrays of w's shape
        The loss's gradient in each step.
    rates : list of float
        The learning rate in each step.
    momentum, decay : float

    Returns
    -------
    array of w's shape
        The weights after the last step.
    """
    raise NotImplementedError


def drops(errors, rate, patience):
    """Return the learning rate of each epoch, divided by 10 when the error stops falling.

    This is what the paper's authors did by hand.

    Parameters
    ----------
    errors : list of float
        The validation error after each epoch.
    rate : float
        The learning rate of the first epoch.
    patience : int
        After this many epochs in a row without an error below the lowest so far, the next epoch's
        rate is a tenth, and the counting begins anew.

    Returns
    -------
    list of float
        The rate in each epoch: as many numbers as `errors`.
    """
    raise NotImplementedError


rng = np.random.default_rng(9)


def _steps(
    in_velocity: bool = False,
    decay_twice: bool = False,
    no_decay: bool = False,
    damped: bool = False,
    lost: bool = False,
    nesterov: bool = False,
    up: bool = False,
    decay_late: bool = False,
    first_rate: bool = False,
    decay_of_rate: bool = False,
) -> Callable[..., Any]:
    """Return an optimizer with a change."""

    def run(w: Any, grads: Any, rates: Any, momentum: float, decay: float) -> Any:
        v = np.zeros_like(w)
        for g, rate in zip(grads, rates, strict=True):
            rate = rates[0] if first_rate else rate
            if not (no_decay or decay_late):
                g = g + decay * w
            if decay_twice:
                g = g + decay * w
            if damped:
                g = (1 - momentum) * g
            if lost:
                v = np.zeros_like(w)
            v = momentum * v + (rate * g if in_velocity else g)
            moved = momentum * v + (rate * g if in_velocity else g) if nesterov else v
            moved = moved if in_velocity else rate * moved
            before = w
            w = w + moved if up else w - moved
            if decay_late:
                w = w - (decay * before if decay_of_rate else rate * decay * before)
        return w

    return run  # fmt: skip


def _library(in_velocity: bool) -> Callable[..., Any]:
    def run(w: Any, grads: Any, rates: Any, momentum: float, decay: float) -> Any:
        parameter = minidl.nn.Parameter(minidl.tensor(w))
        optimizer = minidl.optim.SGD(
            [parameter], rates[0], momentum, weight_decay=decay, rate_in_velocity=in_velocity
        )
        for g, rate in zip(grads, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate
            parameter.grad = minidl.tensor(g)
            optimizer.step()
        return parameter.detach().numpy()

    return run


def _given(steps: int, rates: list[float], momentum: float, decay: float) -> tuple[Any, ...]:
    w = rng.standard_normal((3, 2))
    return w, [rng.standard_normal((3, 2)) for _ in range(steps)], rates, momentum, decay


_PROBES = {
    "one step": _given(1, [0.1], 0.9, 0.0),
    "three steps, constant rate": _given(3, [0.1] * 3, 0.9, 0.0),
    "three steps, rate divided by 10": _given(3, [0.1, 0.1, 0.01], 0.9, 0.0),
    "weight decay": _given(3, [0.1, 0.1, 0.1], 0.9, 0.2),
    "weight decay and a falling rate": _given(4, [0.2, 0.1, 0.05, 0.05], 0.8, 0.3),
    "no momentum": _given(2, [0.1, 0.2], 0.0, 0.1),
}
_COMMON = (
    Mistake(
        "uphill",
        _steps(up=True),
        "the loss grows along its gradient: check the sign of the step",
    ),
    Mistake(
        "velocity lost",
        _steps(lost=True),
        "after the first step your velocity still is 0: it must live on from step to step",
    ),
    Mistake(
        "gradient damped",
        _steps(damped=True),
        "you weight the new gradient with 1 - momentum, as Adam does; this form adds it in full",
    ),
    Mistake(
        "Nesterov",
        _steps(nesterov=True),
        "you look ahead by another step of the momentum: that is Nesterov's form",
    ),
    Mistake(
        "decay forgotten",
        _steps(no_decay=True),
        "where does the weight decay go? Nothing pulls the weights towards 0",
    ),
    Mistake(
        "decay twice",
        _steps(decay_twice=True),
        "the decay acts twice: once in the gradient, once more elsewhere",
    ),
)

SGD_TORCH = Exercise(
    sgd_torch,
    _library(False),
    _PROBES,
    (
        *_COMMON,
        Mistake(
            "rate inside the velocity",
            _steps(in_velocity=True),
            "your velocity contains the rate; as long as the rate is constant nobody can tell, but "
            "after a drop old gradients keep their old rate",
            "pytorch/pytorch#1099",
        ),
        Mistake(
            "decay outside the velocity",
            _steps(decay_late=True),
            "the decay is part of g, so the momentum collects it, too; applied to the weights "
            "alone it is another method (AdamW's)",
        ),
        Mistake(
            "first rate for ever",
            _steps(first_rate=True),
            "you take the first rate in every step",
        ),
    ),
)

SGD_PAPER = Exercise(
    sgd_paper,
    _library(True),
    _PROBES,
    (
        *(Mistake(m.name, function, m.hint) for m, function in zip(
            _COMMON,
            (
                _steps(in_velocity=True, up=True), _steps(in_velocity=True, lost=True),
                _steps(in_velocity=True, damped=True), _steps(in_velocity=True, nesterov=True),
                _steps(in_velocity=True, no_decay=True), _steps(in_velocity=True, decay_twice=True),
            ),
            strict=True,
        )),
        Mistake(
            "rate outside the velocity",
            _steps(),
            "your velocity does not contain the rate; after a drop old gradients must keep the "
            "rate that they came with",
            "pytorch/pytorch#1099",
        ),
        Mistake(
            "decay without the rate",
            _steps(in_velocity=True, decay_late=True, decay_of_rate=True),
            "the decay is multiplied by the rate, and it goes through the velocity",
        ),
        Mistake(
            "decay outside the velocity",
            _steps(in_velocity=True, decay_late=True),
            "the decay must go into the velocity, not straight into the weights",
        ),
        Mistake(
            "first rate for ever",
            _steps(in_velocity=True, first_rate=True),
            "you take the first rate in every step",
        ),
    ),
)  # fmt: skip


def _drops(
    strict: bool = True,
    reset: bool = True,
    in_a_row: bool = True,
    early: int = 0,
    previous: bool = False,
    this_epoch: bool = False,
    factor: float = 10.0,
) -> Callable[..., Any]:
    """Return a schedule with a change."""

    def run(errors: Any, rate: float, patience: int) -> Any:
        best, waited, rates = np.inf, 0, []
        for error in errors:
            rates.append(rate)
            if (error < best) if strict else (error <= best):
                best, waited = error, 0 if in_a_row else waited
            else:
                waited += 1
            if previous:
                best = error
            if waited == patience - early:
                rate /= factor
                if reset:
                    waited = 0
                if this_epoch:
                    rates[-1] = rate
        return rates

    return run  # fmt: skip


DROPS = Exercise(
    drops,
    _drops(),
    {
        "falls, then stays": ([60.0, 50.0, 45.0, 45.5, 46.0, 44.0], 0.1, 2),
        "two drops": ([60.0, 50.0, 51.0, 52.0, 53.0, 54.0, 49.0], 0.1, 2),
        "equal errors": ([60.0, 60.0, 60.0, 60.0, 60.0], 0.1, 2),
        "up and down": ([50.0, 55.0, 54.0, 53.0, 52.0, 51.0], 1.0, 3),
        "always better": ([50.0, 40.0, 30.0], 0.1, 1),
        "patience of 1": ([50.0, 51.0, 49.0, 52.0], 0.1, 1),
        "every other epoch better": ([60.0, 50.0, 51.0, 49.0, 50.0, 48.0, 49.0], 0.1, 2),
    },
    (
        Mistake(
            "equal counts as better",
            _drops(strict=False),
            "an error that is only as low as the lowest has not improved",
        ),
        Mistake(
            "compares with the epoch before",
            _drops(previous=True),
            "you compare with the epoch before; an error that jumps up and comes slowly down again "
            "then looks like progress: compare with the lowest",
        ),
        Mistake(
            "not in a row",
            _drops(in_a_row=False),
            "an epoch that improves ends the row: what happens to your count then?",
        ),
        Mistake(
            "no new count",
            _drops(reset=False),
            "after a drop the counting begins anew; yours never drops a second time",
        ),
        Mistake(
            "an epoch too early",
            _drops(early=1),
            "you drop one epoch too early: count the epochs without improvement up to `patience`",
        ),
        Mistake(
            "an epoch too late",
            _drops(early=-1),
            "you wait one epoch longer than `patience`",
        ),
        Mistake(
            "drops in the same epoch",
            _drops(this_epoch=True),
            "the epoch whose error you see is over: the new rate holds from the next one on",
        ),
        Mistake(
            "halves",
            _drops(factor=2.0),
            "the rate becomes a tenth",
        ),
    ),
)

EXERCISES = (SGD_TORCH, SGD_PAPER, DROPS)
