"""Activations: their slopes, and units that are dead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl.nn import functional as F

from ..judging import Exercise, Mistake
from .library import gradients


def relu_backward(dy, x):
    """Return the gradient of the loss with respect to the input of a ReLU, max(x, 0).

    Parameters
    ----------
    dy : array
        The gradient with respect to the output.
    x : array of the same shape
        The input. At 0 the slope counts as 0.

    Returns
    -------
    array of the same shape
    """
    raise NotImplementedError


def tanh_backward(dy, y):
    """Return the gradient of the loss with respect to the input of tanh, from its output.

    Parameters
    ----------
    dy : array
        The gradient with respect to the output.
    y : array of the same shape
        The output, y = tanh(x). The input x is no longer there; you don't need it.

    Returns
    -------
    array of the same shape
    """
    raise NotImplementedError


def dead_units(x):
    """Say which units of a layer are dead for a batch.

    Parameters
    ----------
    x : array of shape (N, U)
        The inputs of U ReLUs for N samples. At 0 the slope counts as 0.

    Returns
    -------
    array of shape (U,), bool
        True for each unit that passes on no gradient for any sample of the batch.
    """
    raise NotImplementedError


rng = np.random.default_rng(2011)


# ReLU ---------------------------------------------------------------------------------------------


def _of(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda dy, x: gradients(function, dy, x)[0]


def _mask_of_dy(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Stop negative gradients, and let the others pass."""
    return dy * (dy > 0)


DY, X = rng.standard_normal((2, 3, 4))

RELU = Exercise(
    relu_backward,
    _of(F.relu),
    {
        "numbers of both signs": (DY, X),
        "negative inputs alone": (DY, -np.abs(X) - 0.1),
        "zeros, as after another ReLU": (DY, np.maximum(X, 0)),
        "dy of ones": (np.ones_like(X), X),
    },
    (
        Mistake(
            "slope 1 at 0",
            lambda dy, x: dy * (x >= 0),
            "an input of exactly 0 passes your gradient on; after another ReLU, half of the inputs "
            "are 0",
            "tensorflow/playground#19",
        ),
        Mistake(
            "mask from dy",
            _mask_of_dy,
            "which array decides what passes? You let positive gradients through; a gradient may "
            "well be negative",
            "exacity/deeplearningbook-chinese#127",
        ),
        Mistake(
            "both masks",
            lambda dy, x: dy * (dy > 0) * (x > 0),
            "you drop negative gradients, too (guided backpropagation does so, for pictures; it is "
            "not the gradient)",
        ),
        Mistake(
            "ignores dy",
            lambda dy, x: (x > 0).astype(float),
            "that is the slope; the chain rule multiplies it by the gradient that comes in",
            "haifengl/smile#528",
        ),
        Mistake(
            "times x",
            lambda dy, x: dy * np.maximum(x, 0),
            "you multiply by the ReLU's value, not by its slope",
        ),
        Mistake(
            "nothing is stopped",
            lambda dy, x: dy,
            "the gradient passes everywhere; where the output is 0, a small step in x changes "
            "nothing",
        ),
        Mistake(
            "the other half",
            lambda dy, x: dy * (x < 0),
            "you pass on what should be stopped, and stop what should pass",
        ),
    ),
)

# tanh ---------------------------------------------------------------------------------------------


def _tanh(dy: np.ndarray, y: np.ndarray) -> np.ndarray:
    return gradients(minidl.tanh, dy, np.arctanh(y))[0]


Y = np.tanh(rng.standard_normal((3, 4)))

TANH = Exercise(
    tanh_backward,
    _tanh,
    {
        "a slope of 1: y is nearly 0": (DY, 1e-3 * Y),
        "numbers of both signs": (DY, Y),
        "almost flat: y is nearly 1": (DY, 1 - 1e-3 * np.abs(Y)),
    },
    (
        Mistake(
            "takes y for x",
            lambda dy, y: dy * (1 - np.tanh(y) ** 2),
            "you apply tanh once more; y has been through it already",
            "davidrmiller/neural2d#40",
        ),
        Mistake(
            "of dy",
            lambda dy, y: 1 - np.tanh(dy) ** 2,
            "you take the slope at dy, and leave out the chain rule; where is the slope taken?",
            "yizt/numpy_neural_network#6",
        ),
        Mistake(
            "1 + y²",
            lambda dy, y: dy * (1 + y**2),
            "that is the slope of tan, which grows; tanh's goes to 0 where y nears 1",
            "gy910210/neural-network-from-scratch#2",
        ),
        Mistake(
            "not squared",
            lambda dy, y: dy * (1 - y),
            "at y = -1 tanh is flat, and your slope is 2",
        ),
        Mistake(
            "the square of the difference",
            lambda dy, y: dy * (1 - y) ** 2,
            "you square too much: the slope must be the same for y and -y",
        ),
        Mistake(
            "sigmoid's",
            lambda dy, y: dy * y * (1 - y),
            "that is the slope of the sigmoid, whose output lies between 0 and 1; at y = 0 tanh is "
            "steepest",
        ),
        Mistake(
            "ignores dy",
            lambda dy, y: 1 - y**2,
            "that is the slope; the chain rule multiplies it by the gradient that comes in",
        ),
        Mistake(
            "1 - x²",
            lambda dy, y: dy * (1 - np.arctanh(y) ** 2),
            "you found x again and then used it as if it were y: the formula is in terms of the "
            "output",
        ),
    ),
)

# Dead units ---------------------------------------------------------------------------------------


def _dead(x: np.ndarray) -> np.ndarray:
    return np.all(gradients(F.relu, np.ones_like(x), x)[0] == 0, axis=0)


MIXED = rng.standard_normal((4, 5))
MIXED[:, 1] = -np.abs(MIXED[:, 1])
MIXED[:, 3] = [-9.0, 1, 2, -1]  # alive, though its mean is negative
MIXED[0, 4], MIXED[1, 0] = -0.5, 0.5
SQUARE = np.array([[-1.0, -1, -2], [2, -1, 1], [3, -3, 1]])
AT_ZERO = np.array([[0.0, -1, 1, 0], [0, -2, 1, 2], [-1, 0, 1, 0]])

DEAD = Exercise(
    dead_units,
    _dead,
    {
        "4 samples, 5 units": (MIXED,),
        "as many samples as units": (SQUARE,),
        "inputs of exactly 0": (AT_ZERO,),
        "a batch of 1": (np.array([[-1.0, 2, 0]]),),
    },
    (
        Mistake(
            "once is enough",
            lambda x: (x <= 0).any(0),
            "a unit that is silent for one sample may learn from another: dead means silent for "
            "all",
        ),
        Mistake(
            "by sample",
            lambda x: (x <= 0).all(1),
            "you say which samples find no unit alive; the question is about units",
        ),
        Mistake(
            "0 is alive",
            lambda x: (x < 0).all(0),
            "at an input of exactly 0 the slope counts as 0, too",
        ),
        Mistake(
            "by the mean",
            lambda x: x.mean(0) <= 0,
            "a unit whose mean is negative may still pass on a gradient for a sample",
        ),
        Mistake(
            "the living",
            lambda x: (x > 0).any(0),
            "True and False are exchanged: you mark the living",
        ),
        Mistake(
            "by the first sample",
            lambda x: x[0] <= 0,
            "you look at one sample",
        ),
    ),
)

EXERCISES = (RELU, TANH, DEAD)
