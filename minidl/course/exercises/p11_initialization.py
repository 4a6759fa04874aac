"""Initial values: how large, and what happens to the signal layer by layer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import minidl
from minidl.nn import functional as F
from minidl.nn import init

from ..judging import Exercise, Mistake


def he_std(channels, filters, kernel, groups):
    """Return the standard deviation of He's initial weights for a convolution before a ReLU.

    Parameters
    ----------
    channels, filters : int
        Of the input, and of the output.
    kernel : int
        Side of the square kernels.
    groups : int
        Each filter sees channels / groups channels.

    Returns
    -------
    float
        With variance 2 / n, where n is the number of inputs that a sum adds up, the signal keeps
        its size on its way forward.
    """
    raise NotImplementedError


def xavier_bound(inputs, outputs):
    """Return the bound of Xavier's uniform initial weights for a linear layer.

    Parameters
    ----------
    inputs, outputs : int
        Of the layer.

    Returns
    -------
    float
        The b for which numbers drawn evenly from -b to b have variance 2 / (inputs + outputs).
        (The variance of such numbers is b² / 3.)
    """
    raise NotImplementedError


def signal(x, weights):
    """Return how large the signal is after each layer of a network.

    Parameters
    ----------
    x : array of shape (N, I)
        A batch.
    weights : list of arrays of shape (outputs, inputs)
        Of linear layers without bias, each followed by a ReLU.

    Returns
    -------
    array of shape (number of layers,)
        The root of the mean of the squares of each ReLU's outputs.
    """
    raise NotImplementedError


rng = np.random.default_rng(2015)

# He -----------------------------------------------------------------------------------------------


def _he(channels: int, filters: int, kernel: int, groups: int) -> float:
    """Ask the library for its uniform numbers' bound, from a tensor of this shape."""
    weight = minidl.zeros(filters, channels // groups, kernel, kernel)
    return init.calculate_gain("relu") / math.sqrt(weight[0].numel())


HE = Exercise(
    he_std,
    _he,
    {
        "as many filters as channels": (16, 16, 3, 1),
        "AlexNet's conv1": (3, 96, 11, 1),
        "1×1 kernels": (8, 2, 1, 1),
        "AlexNet's conv2, in 2 groups": (96, 256, 5, 2),
    },
    (
        Mistake(
            "by outputs",
            lambda c, f, k, g: math.sqrt(2 / (f // g * k * k)),
            "you count where a number goes, which keeps the gradient's size on its way back; count "
            "what a sum adds up",
            "ClementPinard/FlowNetPytorch#19",
        ),
        Mistake(
            "variance",
            lambda c, f, k, g: 2 / (c // g * k * k),
            "that is the variance; the standard deviation is asked for",
        ),
        Mistake(
            "no 2",
            lambda c, f, k, g: math.sqrt(1 / (c // g * k * k)),
            "a ReLU sets half of the sums to 0: the other half must make up for it",
            "LBANN/lbann#316",
        ),
        Mistake(
            "groups ignored",
            lambda c, f, k, g: math.sqrt(2 / (c * k * k)),
            "with groups a filter does not see all channels",
            "keras-team/keras#11773",
        ),
        Mistake(
            "kernel once",
            lambda c, f, k, g: math.sqrt(2 / (c // g * k)),
            "a kernel has more numbers than its side is long",
        ),
        Mistake(
            "kernel ignored",
            lambda c, f, k, g: math.sqrt(2 / (c // g)),
            "each of the sums adds up a whole window of every channel",
        ),
        Mistake(
            "mean of both",
            lambda c, f, k, g: math.sqrt(4 / ((c // g + f // g) * k * k)),
            "you take the mean of inputs and outputs, as Xavier's does",
        ),
    ),
)

# Xavier -------------------------------------------------------------------------------------------


def _xavier(inputs: int, outputs: int) -> float:
    return math.sqrt(3) * math.sqrt(2 / sum(init._calculate_fan_in_and_fan_out(
        minidl.zeros(outputs, inputs))))  # fmt: skip


XAVIER = Exercise(
    xavier_bound,
    _xavier,
    {
        "as many outputs as inputs": (64, 64),
        "more inputs": (9216, 4096),
        "more outputs": (2, 10),
    },
    (
        Mistake(
            "standard deviation",
            lambda i, o: math.sqrt(2 / (i + o)),
            "that is the standard deviation: numbers drawn evenly up to a bound have a smaller one "
            "than the bound",
            "pytorch/pytorch#6950",
        ),
        Mistake(
            "brackets",
            lambda i, o: math.sqrt(6 / i + o),
            "look at what is divided by what: a bound above 1 is no initial weight",
            "mlverse/torch#555",
        ),
        Mistake("inputs alone", lambda i, o: math.sqrt(3 / i), "the outputs don't count in yours"),
        Mistake(
            "no root",
            lambda i, o: 6 / (i + o),
            "that is the square of the bound",
        ),
        Mistake(
            "width for bound",
            lambda i, o: math.sqrt(24 / (i + o)),
            "from -b to b it is 2 b: your b is the whole width",
        ),
    ),
)

# The signal ---------------------------------------------------------------------------------------


def _signal(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    sizes, y = [], minidl.tensor(x)
    for weight in weights:
        y = F.relu(F.linear(y, minidl.tensor(weight)))
        sizes.append((y * y).mean().sqrt().item())
    return np.array(sizes)


def _through(
    after: Any = lambda y: np.maximum(y, 0),
    size: Any = lambda y: np.sqrt((y * y).mean()),
    product: Any = lambda y, w: y @ w.T,
    fed: bool = True,
) -> Any:
    def signal(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
        sizes, y = [], x
        for weight in weights:
            y = after(product(y if fed else x, weight))
            sizes.append(size(y))
        return np.array(sizes)

    return signal


def _before_relu(x: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    sizes, y = [], x
    for weight in weights:
        z = y @ weight.T
        sizes.append(np.sqrt((z * z).mean()))
        y = np.maximum(z, 0)
    return np.array(sizes)


SIGNAL = Exercise(
    signal,
    _signal,
    {
        "1 layer": (rng.standard_normal((5, 4)), [rng.standard_normal((4, 4))]),
        "3 square layers": (rng.standard_normal((5, 4)), list(rng.standard_normal((3, 4, 4)))),
        "weights that are too small": (
            rng.standard_normal((5, 8)),
            list(0.1 * rng.standard_normal((4, 8, 8))),
        ),
    },
    (
        Mistake(
            "no ReLU",
            _through(after=lambda y: y),
            "negative sums pass on in yours",
        ),
        Mistake(
            "before the ReLU",
            _before_relu,
            "you measure the sums; the ReLU's outputs are asked for",
        ),
        Mistake(
            "standard deviation",
            _through(size=np.std),
            "a ReLU's outputs have a mean that is not 0; the standard deviation takes it away, the "
            "root of the mean square does not",
        ),
        Mistake(
            "mean of absolute values",
            _through(size=lambda y: np.abs(y).mean()),
            "you take the mean of the numbers themselves: square, mean, root, in this order",
        ),
        Mistake(
            "no root",
            _through(size=lambda y: (y * y).mean()),
            "these are the mean squares",
        ),
        Mistake(
            "weights not transposed",
            _through(product=lambda y, w: y @ w),
            "a row of a weight belongs to an output; square weights hide it",
        ),
        Mistake(
            "each layer from x",
            _through(fed=False),
            "the second layer reads what the first one puts out, and yours reads x",
        ),
    ),
    run=lambda function, x, weights: function(x, [w.copy() for w in weights]),
)

EXERCISES = (HE, XAVIER, SIGNAL)
