"""Dropout, forward and backward, in today's form and in that of 2012."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..judging import Exercise, Mistake


def dropout(x, u, p, training):
    """Drop activations at random, in today's form ("inverted" dropout).

    Parameters
    ----------
    x : array of any shape
    u : array of x's shape
        Random numbers, uniform from 0 to 1. An activation is dropped where u < p.
    p : float
        Probability of dropping.
    training : bool
        At test nothing is dropped. In training the kept activations are scaled so that the mean of
        the output over many draws is x.

    Returns
    -------
    array of x's shape
    """
    raise NotImplementedError


def dropout_backward(dy, x, u, p):
    """Return the gradient of the loss with respect to the input of `dropout` in training.

    Parameters
    ----------
    dy : array of x's shape
        The gradient with respect to the output.
    x : array of any shape
        The input. Some of its numbers may be 0, as after a ReLU.
    u : array of x's shape
        The random numbers of the forward pass.
    p : float

    Returns
    -------
    array of x's shape
    """
    raise NotImplementedError


def plain_to_inverted(weight, bias, p):
    """Convert the layer behind a dropout of 2012 for today's dropout.

    In 2012 training dropped activations without scaling, and at test all activations were
    multiplied by 1 - p. Today's dropout scales in training and does nothing at test. The layer
    behind it, y = weight @ a + bias, was trained with the old form. Return what makes a network
    with today's dropout give the same results, in training and at test.

    Parameters
    ----------
    weight : array of shape (outputs, inputs)
    bias : array of shape (outputs,)
    p : float

    Returns
    -------
    weight : array of shape (outputs, inputs)
    bias : array of shape (outputs,)
    """
    raise NotImplementedError


rng = np.random.default_rng(2012)


def _relu(*shape: int) -> np.ndarray:
    return np.maximum(rng.standard_normal(shape), 0)


def _uniform(*shape: int) -> np.ndarray:
    return rng.random(shape)


def _dropout(x: np.ndarray, u: np.ndarray, p: float, training: bool) -> np.ndarray:
    return np.where(u >= p, x, 0) / (1 - p) if training else x


def _changed(
    scale: Any = lambda p: 1 / (1 - p), test: Any = lambda x, p: x, keep: Any = lambda u, p: u >= p
) -> Any:
    def changed(x: np.ndarray, u: np.ndarray, p: float, training: bool) -> np.ndarray:
        return x * keep(u, p) * scale(p) if training else test(x, p)

    return changed


def _whole_rows(x: np.ndarray, u: np.ndarray, p: float, training: bool) -> np.ndarray:
    return _dropout(x, np.broadcast_to(u[:, :1], x.shape), p, training)


_X, _U = rng.standard_normal((4, 6)), _uniform(4, 6)

DROPOUT = Exercise(
    dropout,
    _dropout,
    {
        "training, p = 0.5": (_X, _U, 0.5, True),
        "training, p = 0.2": (_X, _U, 0.2, True),
        "training, p = 0": (_X, _U, 0.0, True),
        "training, some u equal to p": (_X, np.where(_U < 0.3, 0.25, _U), 0.25, True),
        "test, p = 0.5": (_X, _U, 0.5, False),
        "test, p = 0.2": (_X, _U, 0.2, False),
    },
    (
        Mistake(
            "scaled by 1 / p",
            _changed(lambda p: 1 / p if p else 1.0),
            "which share of the activations is kept? At p = 0.5 both answers look alike",
            "Theano/theanets#123",
        ),
        Mistake(
            "drops at u = p, too",
            _changed(keep=lambda u, p: u > p),
            "a border case: with p = 0 even a u of exactly 0 must drop nothing",
        ),
        Mistake(
            "not scaled",
            _changed(lambda p: 1.0),
            "with a share p missing, the sum over the next layer's inputs gets smaller on average; "
            "what makes up for it?",
        ),
        Mistake(
            "form of 2012",
            _changed(lambda p: 1.0, lambda x, p: x * (1 - p)),
            "that is the dropout of 2012: unscaled in training, scaled at test. Here the test does "
            "nothing",
        ),
        Mistake(
            "keeps with probability p",
            _changed(keep=lambda u, p: u < p),
            "you keep what should be dropped: p is the probability of dropping",
        ),
        Mistake(
            "keeps and scales with p",
            _changed(lambda p: 1 / p if p else 1.0, keep=lambda u, p: u < p),
            "you take p for the share that is kept, twice over: look at p = 0.2",
        ),
        Mistake(
            "drops at test",
            lambda x, u, p, training: _dropout(x, u, p, True),
            "at test nothing may be left to chance: `training` is ignored",
        ),
        Mistake(
            "scaled at test, too",
            _changed(test=lambda x, p: x * (1 - p)),
            "training is scaled already; if the test is as well, the two no longer match",
        ),
        Mistake(
            "scaled by 1 - p",
            _changed(lambda p: 1 - p),
            "the kept activations must become larger, not smaller",
        ),
        Mistake(
            "one number for a row",
            _whole_rows,
            "all activations of a row live or die together: each has a random number of its own",
        ),
    ),
)


def _dropout_backward(dy: np.ndarray, x: np.ndarray, u: np.ndarray, p: float) -> np.ndarray:
    return np.where(u >= p, dy, 0) / (1 - p)


def _with_dy(x: np.ndarray, p: float) -> tuple[Any, ...]:
    return rng.standard_normal(x.shape), x, _uniform(*x.shape), p


DROPOUT_BACKWARD = Exercise(
    dropout_backward,
    _dropout_backward,
    {
        "p = 0.5": _with_dy(rng.standard_normal((3, 5)), 0.5),
        "p = 0.2": _with_dy(rng.standard_normal((3, 5)), 0.2),
        "p = 0.8, maps": _with_dy(rng.standard_normal((2, 3, 4, 4)), 0.8),
        "zeros after a ReLU": _with_dy(_relu(4, 6), 0.3),
    },
    (
        Mistake(
            "no mask",
            lambda dy, x, u, p: dy / (1 - p),
            "a dropped activation did not reach the loss: what is its gradient?",
            "ddbourgin/numpy-ml#94",
        ),
        Mistake(
            "no scale",
            lambda dy, x, u, p: dy * (u >= p),
            "the forward pass multiplied what it kept by a number; the backward pass must, too",
        ),
        Mistake(
            "a new mask",
            lambda dy, x, u, p: dy * (np.random.default_rng(0).random(dy.shape) >= p) / (1 - p),
            "the mask is not the forward's: dropped in the forward pass must mean dropped in the "
            "backward pass",
        ),
        Mistake(
            "mask from the output",
            lambda dy, x, u, p: dy * (x * (u >= p) != 0) / (1 - p),
            "an output is 0 not only where it was dropped: after a ReLU the input itself may be 0, "
            "and such an activation still has a gradient here",
            "kaldi-asr/kaldi#3890",
        ),
        Mistake(
            "kept and dropped exchanged",
            lambda dy, x, u, p: dy * (u < p) / (1 - p),
            "your gradient flows exactly where nothing was kept",
        ),
        Mistake(
            "scaled by 1 / p",
            lambda dy, x, u, p: dy * (u >= p) / p,
            "the forward pass divides by the share that is kept",
        ),
        Mistake(
            "times x",
            lambda dy, x, u, p: dy * x * (u >= p) / (1 - p),
            "the output is the input times a constant; the derivative is that constant",
        ),
    ),
)

_LAYER = (rng.standard_normal((3, 5)), rng.standard_normal(3))
CONVERT = Exercise(
    plain_to_inverted,
    lambda weight, bias, p: (weight * (1 - p), bias),
    {"p = 0.5": (*_LAYER, 0.5), "p = 0.2": (*_LAYER, 0.2), "p = 0": (*_LAYER, 0.0)},
    (
        Mistake(
            "divides",
            lambda weight, bias, p: (weight / (1 - p), bias),
            "at test the old network's activations were made smaller; today's are not. Must the "
            "weights become smaller or larger?",
        ),
        Mistake(
            "bias, too",
            lambda weight, bias, p: (weight * (1 - p), bias * (1 - p)),
            "the bias does not come through the dropout",
        ),
        Mistake(
            "times p",
            lambda weight, bias, p: (weight * p, bias),
            "the factor of 2012 is the share that is kept",
        ),
        Mistake(
            "nothing",
            lambda weight, bias, p: (weight, bias),
            "compare the two networks at test: the old one multiplies its activations, the new "
            "one does not",
        ),
    ),
)

EXERCISES = (DROPOUT, DROPOUT_BACKWARD, CONVERT)
