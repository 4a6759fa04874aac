"""The linear layer: y = x·Wᵀ + b, and where each gradient comes from."""

from __future__ import annotations

from typing import Any

import numpy as np

import minidl
from minidl.nn import functional as F

from ..judging import Exercise, Mistake
from .library import gradients


def linear(x, weight, bias):
    """Return the outputs of a linear layer.

    Parameters
    ----------
    x : array of shape (N, I)
        A batch of N inputs.
    weight : array of shape (O, I)
        Row o holds the weights of output o.
    bias : array of shape (O,)

    Returns
    -------
    array of shape (N, O)
        Entry (n, o) is the sum over i of x[n, i] * weight[o, i], plus bias[o].
    """
    raise NotImplementedError


def linear_backward(dy, x, weight):
    """Return the gradients of a linear layer.

    Parameters
    ----------
    dy : array of shape (N, O)
        The gradient with respect to the outputs.
    x : array of shape (N, I)
    weight : array of shape (O, I)

    Returns
    -------
    tuple of three arrays
        The gradients with respect to x (N, I), weight (O, I) and the bias (O,).
    """
    raise NotImplementedError


def weight_gradients(dy, x):
    """Return what each sample of a batch contributes to the gradient of the weight.

    Parameters
    ----------
    dy : array of shape (N, O)
        The gradient with respect to the outputs.
    x : array of shape (N, I)

    Returns
    -------
    array of shape (N, O, I)
        Their sum over the samples is the gradient with respect to the weight.
    """
    raise NotImplementedError


rng = np.random.default_rng(1958)


def batch(n: int, o: int, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return dy, x and weight."""
    return rng.standard_normal((n, o)), rng.standard_normal((n, i)), rng.standard_normal((o, i))


# Forward ------------------------------------------------------------------------------------------


def _linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    return F.linear(*map(minidl.tensor, (x, weight, bias))).numpy()


def _of_batch(n: int, o: int, i: int, bias: float = 1) -> tuple[np.ndarray, ...]:
    dy, x, weight = batch(n, o, i)
    return x, weight, dy[0] * bias


def _bias_by_sample(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    if len(x) != len(bias):
        return x @ weight.T + bias
    return x @ weight.T + bias[:, None]


LINEAR = Exercise(
    linear,
    _linear,
    {
        "as many inputs as outputs": _of_batch(2, 3, 3),
        "4 inputs, 3 outputs": _of_batch(2, 3, 4),
        "as many samples as outputs": _of_batch(3, 3, 2),
        "a batch of 1": _of_batch(1, 2, 3),
    },
    (
        Mistake(
            "weight not transposed",
            lambda x, weight, bias: x @ weight + bias,
            "a row of weight belongs to an output, and you use it as an input's: a square weight "
            "only hides the error",
        ),
        Mistake(
            "no bias",
            lambda x, weight, bias: x @ weight.T,
            "something does not depend on x at all, and is missing",
        ),
        Mistake(
            "bias subtracted",
            lambda x, weight, bias: x @ weight.T - bias,
            "look at the sign of the part that does not depend on x",
        ),
        Mistake(
            "bias by sample",
            _bias_by_sample,
            "where there are as many samples as outputs, the bias goes down the samples: NumPy "
            "lines up last axes unless it is told otherwise",
        ),
        Mistake(
            "bias weighted",
            lambda x, weight, bias: (x + 1) @ weight.T,
            "your constant part is the sum of a row of weights; the bias is added as it is",
        ),
    ),
)

# Backward -----------------------------------------------------------------------------------------


def _backward(dy: np.ndarray, x: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, ...]:
    return gradients(F.linear, dy, x, weight, np.zeros(len(weight)))


def _with(**wrong: Any) -> Any:
    """Return a backward with one gradient computed in another way."""
    parts = {
        "x": lambda dy, x, w: dy @ w,
        "weight": lambda dy, x, w: dy.T @ x,
        "bias": lambda dy, x, w: dy.sum(0),
        **wrong,
    }
    return lambda dy, x, w: tuple(part(dy, x, w) for part in parts.values())


LINEAR_BACKWARD = Exercise(
    linear_backward,
    _backward,
    {
        "a batch of 1": batch(1, 3, 4),
        "as many inputs as outputs": batch(4, 3, 3),
        "4 samples, 3 outputs, 5 inputs": batch(4, 3, 5),
        "as many samples as outputs": batch(3, 3, 2),
    },
    (
        Mistake(
            "x's gradient by the transpose",
            _with(x=lambda dy, x, w: dy @ w.T),
            "the gradient of x: in which direction does the weight carry it back? Write down what "
            "x[n, i] is multiplied by, and sum over the outputs",
        ),
        Mistake(
            "weight's gradient transposed",
            _with(weight=lambda dy, x, w: x.T @ dy),
            "the gradient of weight has rows for inputs and columns for outputs; weight itself has "
            "it the other way round",
        ),
        Mistake(
            "bias of one sample",
            _with(bias=lambda dy, x, w: dy[0]),
            "every sample moves the bias, yours comes from the first: a batch of 1 hides it",
        ),
        Mistake(
            "bias not summed",
            _with(bias=lambda dy, x, w: dy),
            "the gradient of the bias still has an axis for the samples: all of them used the same "
            "bias",
            "mlpack/mlpack#3679",
        ),
        Mistake(
            "bias summed over everything",
            _with(bias=lambda dy, x, w: np.full(dy.shape[1], dy.sum())),
            "all entries of the bias' gradient are equal: you add up the outputs, too",
            "rasbt/stat453-deep-learning-ss21#5",
        ),
        Mistake(
            "bias is the mean",
            _with(bias=lambda dy, x, w: dy.mean(0)),
            "the bias' gradient is the batch's mean, and the weight's its sum: the loss has taken "
            "the mean already, in dy",
        ),
        Mistake(
            "mean over the batch",
            _with(weight=lambda dy, x, w: dy.T @ x / len(x), bias=lambda dy, x, w: dy.mean(0)),
            "you divide by the size of the batch; if the loss is a mean, dy already has that "
            "factor",
        ),
        Mistake(
            "weight's gradient ignores x",
            _with(weight=lambda dy, x, w: dy.T @ np.ones_like(x)),
            "the gradient of weight is the same for all inputs: a weight counts for as much as the "
            "number that it is multiplied by",
        ),
    ),
)

# Samples ------------------------------------------------------------------------------------------


def _each(dy: np.ndarray, x: np.ndarray) -> np.ndarray:
    weight = np.zeros((dy.shape[1], x.shape[1]))
    return np.stack([_backward(dy[n : n + 1], x[n : n + 1], weight)[1] for n in range(len(x))])


def _samples(n: int, o: int, i: int) -> tuple[np.ndarray, np.ndarray]:
    return batch(n, o, i)[:2]


WEIGHT_GRADIENTS = Exercise(
    weight_gradients,
    _each,
    {
        "a batch of 1": _samples(1, 3, 4),
        "as many inputs as outputs": _samples(2, 3, 3),
        "4 samples, 3 outputs, 5 inputs": _samples(4, 3, 5),
    },
    (
        Mistake(
            "all samples get the sum",
            lambda dy, x: np.stack([dy.T @ x] * len(x)),
            "all samples came out alike: each is the gradient of the whole batch",
        ),
        Mistake(
            "the mean's share",
            lambda dy, x: dy[:, :, None] * x[:, None] / len(x),
            "their sum is to be the gradient; yours add up to its mean over the batch",
        ),
        Mistake(
            "transposed",
            lambda dy, x: dy[:, None] * x[:, :, None],
            "the last two axes are exchanged: rows belong to outputs",
        ),
        Mistake(
            "products of different samples",
            lambda dy, x: dy[:, :, None] * x[::-1, None],
            "a sample's dy is multiplied by another sample's x",
        ),
        Mistake(
            "sum and not product",
            lambda dy, x: dy[:, :, None] + x[:, None],
            "entry (o, i) is the sum of dy and x; how does the output change when weight[o, i] "
            "grows by a little, and the loss with it?",
        ),
    ),
)

EXERCISES = (LINEAR, LINEAR_BACKWARD, WEIGHT_GRADIENTS)
