"""A layer of your own: Softplus, its gradient, and counting a network's parameters."""

from __future__ import annotations

import numpy as np

import minidl
from minidl import nn
from minidl.nn import functional as F

from ..judging import Exercise, Mistake
from .library import gradients


def softplus(x):
    """Return a smooth ReLU, log(1 + exp(x)).

    Parameters
    ----------
    x : array of any shape
        Numbers of any size: 1000 and -1000 occur.

    Returns
    -------
    array of the same shape
        Always finite, and with all digits even where it is tiny.
    """
    raise NotImplementedError


def softplus_backward(dy, x):
    """Return the gradient of the loss with respect to the input of softplus, log(1 + exp(x)).

    Parameters
    ----------
    dy : array
        The gradient with respect to the output.
    x : array of the same shape
        The input. Numbers of any size occur.

    Returns
    -------
    array of the same shape
    """
    raise NotImplementedError


def conv_parameters(channels, filters, kernel, groups, bias):
    """Return how many numbers a convolution learns.

    Parameters
    ----------
    channels, filters : int
        Of the input, and of the output.
    kernel : int
        Side of the square kernels.
    groups : int
        Each filter sees channels / groups channels.
    bias : bool
        Whether each filter adds a number of its own.

    Returns
    -------
    int
    """
    raise NotImplementedError


rng = np.random.default_rng(2001)


def _softplus(x: minidl.Tensor) -> minidl.Tensor:
    """Compute log(1 + exp(x)) as the loss of scores -x for a target of 1."""
    return F.binary_cross_entropy_with_logits(-x, minidl.ones_like(x), reduction="none")


# Softplus -----------------------------------------------------------------------------------------

_TINY = np.array([-40.0, -50, -60])

SOFTPLUS = Exercise(
    softplus,
    lambda x: _softplus(minidl.tensor(x)).numpy(),
    {
        "numbers near 0": (rng.standard_normal((2, 3)),),
        "large numbers": (np.array([1000.0, 800]),),
        "very negative numbers": (np.array([-1000.0, -800, 1]),),
        "answers that are tiny": (_TINY,),
    },
    (
        Mistake(
            "as written",
            lambda x: np.log(1 + np.exp(x)),
            "exp(1000) is more than a float can hold, though the answer is about 1000; and 1 plus "
            "a tiny number is 1",
            "apache/tvm#1768",
        ),
        Mistake(
            "log1p alone",
            lambda x: np.log1p(np.exp(x)),
            "tiny answers are right; exp(1000) is still more than a float can hold: which of x and "
            "-x may be given to exp?",
        ),
        Mistake(
            "shifted, without log1p",
            lambda x: np.maximum(x, 0) + np.log(1 + np.exp(-np.abs(x))),
            "no overflow any more; but 1 plus a tiny number is 1, and its logarithm 0: NumPy has a "
            "function for log(1 + t)",
            "rushter/MLAlgorithms#30",
        ),
        Mistake(
            "cut off",
            lambda x: np.log1p(np.exp(np.minimum(x, 20))),
            "what you give to exp is cut off, and with it the answer: it should go on growing",
        ),
        Mistake(
            "ReLU",
            lambda x: np.maximum(x, 0),
            "that is the ReLU, which has a corner at 0",
        ),
        Mistake(
            "of -x",
            lambda x: np.maximum(-x, 0) + np.log1p(np.exp(-np.abs(x))),
            "yours falls where it should grow: the sign of x",
        ),
    ),
)

# Its gradient -------------------------------------------------------------------------------------


def _sigmoid(x: np.ndarray) -> np.ndarray:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e))


DY, X = rng.standard_normal((2, 3, 4))

SOFTPLUS_BACKWARD = Exercise(
    softplus_backward,
    lambda dy, x: gradients(_softplus, dy, x)[0],
    {
        "numbers near 0": (DY, X),
        "large numbers": (DY[0], np.array([1000.0, 800, -1, 900])),
        "very negative numbers": (DY[1], np.array([-1000.0, -800, 1, -900])),
        "dy of ones": (np.ones(4), X[0]),
    },
    (
        Mistake(
            "inf / inf",
            lambda dy, x: dy * np.exp(x) / (1 + np.exp(x)),
            "right for small x; where exp(x) is infinite you divide infinity by infinity",
            "tracel-ai/burn#5373",
        ),
        Mistake(
            "slope of the ReLU",
            lambda dy, x: dy * (x > 0),
            "your slope jumps at 0; softplus is smooth, and its slope at 0 is between the two",
        ),
        Mistake(
            "ignores dy",
            lambda dy, x: _sigmoid(x),
            "that is the slope; the chain rule multiplies it by the gradient that comes in",
        ),
        Mistake(
            "of -x",
            lambda dy, x: dy * _sigmoid(-x),
            "your slope falls where it should grow: for large x softplus is nearly x. (The "
            "derivative of the logarithm is 1 / (1 + exp(x)); what is inside of it "
            "depends on x, too.)",
        ),
        Mistake(
            "slope of the sigmoid",
            lambda dy, x: dy * _sigmoid(x) * (1 - _sigmoid(x)),
            "you took the derivative once too often",
        ),
    ),
)

# Parameters ---------------------------------------------------------------------------------------


def _count(channels: int, filters: int, kernel: int, groups: int, bias: bool) -> int:
    layer = nn.Conv2d(channels, filters, kernel, groups=groups, bias=bias)
    return sum(parameter.numel() for parameter in layer.parameters())


PARAMETERS = Exercise(
    conv_parameters,
    _count,
    {
        "AlexNet's conv1": (3, 96, 11, 1, True),
        "AlexNet's conv2, in 2 groups": (96, 256, 5, 2, True),
        "no bias": (4, 6, 3, 1, False),
        "a group for each channel": (6, 12, 3, 6, True),
    },
    (
        Mistake(
            "groups ignored",
            lambda c, f, k, g, b: f * c * k * k + b * f,
            "with groups a filter does not see all channels: that is how 60,965,224 parameters "
            "become more",
        ),
        Mistake(
            "divided by groups twice",
            lambda c, f, k, g, b: f // g * (c // g) * k * k + b * f,
            "that is one group; how many are there?",
        ),
        Mistake(
            "bias forgotten",
            lambda c, f, k, g, b: f * (c // g) * k * k,
            "your answer does not depend on bias",
        ),
        Mistake(
            "bias always",
            lambda c, f, k, g, b: f * (c // g) * k * k + f,
            "you count a bias where there is none",
        ),
        Mistake(
            "one bias",
            lambda c, f, k, g, b: f * (c // g) * k * k + b,
            "each filter has a bias of its own",
        ),
        Mistake(
            "bias of each channel",
            lambda c, f, k, g, b: f * (c // g) * k * k + b * c,
            "a bias is added to each output channel; you count the input's",
        ),
        Mistake(
            "kernel once",
            lambda c, f, k, g, b: f * (c // g) * k + b * f,
            "a kernel has more numbers than its side is long",
        ),
    ),
)

EXERCISES = (SOFTPLUS, SOFTPLUS_BACKWARD, PARAMETERS)
