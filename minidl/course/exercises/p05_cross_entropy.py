"""Softmax and cross-entropy: the loss of a classifier, and its simple gradient."""

from __future__ import annotations

from typing import Any

import numpy as np

import minidl
from minidl.nn import functional as F

from ..judging import Exercise, Mistake
from .library import gradients


def log_softmax(z):
    """Return the logarithm of the softmax of each row.

    Parameters
    ----------
    z : array of shape (N, C)
        Scores (logits) of N samples for C classes, of any size: 1000 and -1000 occur.

    Returns
    -------
    array of shape (N, C)
        log(exp(z[n, c]) / sum over k of exp(z[n, k])), always finite.
    """
    raise NotImplementedError


def cross_entropy(z, target):
    """Return the cross-entropy of scores and true classes, the mean over a batch.

    Parameters
    ----------
    z : array of shape (N, C)
        Scores of N samples for C classes, of any size: 1000 and -1000 occur.
    target : array of shape (N,), int
        The true classes, from 0 to C - 1.

    Returns
    -------
    float
        The mean over the samples of -log(softmax(z[n])[target[n]]).
    """
    raise NotImplementedError


def cross_entropy_backward(z, target):
    """Return the gradient of the cross-entropy with respect to the scores.

    Parameters
    ----------
    z : array of shape (N, C)
        Scores of N samples for C classes, of any size: 1000 and -1000 occur.
    target : array of shape (N,), int
        The true classes. The loss is the mean over the batch.

    Returns
    -------
    array of shape (N, C)
    """
    raise NotImplementedError


rng = np.random.default_rng(1989)
Z = rng.standard_normal((3, 4))
TARGET = np.array([2, 0, 3])
FAR_APART = np.array([[1000.0, 999, 998], [-1000, -1001, -1003]])


def softmax(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
    """Return exp(z) / sum, computed safely."""
    e = np.exp(z - z.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_sum(z: np.ndarray, shift: Any, axis: int | None = 1) -> np.ndarray:
    """Return log(sum(exp(z))), with a shift against overflow."""
    return shift + np.log(np.exp(z - shift).sum(axis, keepdims=True))


# log_softmax --------------------------------------------------------------------------------------


def _library(z: np.ndarray) -> np.ndarray:
    return F.log_softmax(minidl.tensor(z), dim=1).numpy()


LOG_SOFTMAX = Exercise(
    log_softmax,
    _library,
    {
        "scores near 0": (Z,),
        "as many samples as classes": (rng.standard_normal((3, 3)),),
        "large scores": (np.array([[1000.0, 999, 998], [1000, 1001, 1003]]),),
        "very negative scores": (np.array([[-1000.0, -999, -1002], [-900, -901, -902]]),),
        "rows that lie far apart": (FAR_APART,),
        "a class without hope": (np.array([[0.0, -1000], [3, 1]]),),
        "one score far above the others": (np.array([[2000.0, 0, 1, -1]]),),
    },
    (
        Mistake(
            "no shift",
            lambda z: z - log_sum(z, 0.0),
            "exp(1000) is more than a float can hold, and exp(-1000) is 0: the softmax does not "
            "change if all scores of a row do by the same amount",
            "tenstorrent/tt-metal#12661",
        ),
        Mistake(
            "largest of the whole array",
            lambda z: z - log_sum(z, z.max()),
            "right as long as the rows are alike: with another row's largest score taken away, "
            "all of a row may become exp(-2000) = 0",
            "manassharma07/crysx_nn#7",
        ),
        Mistake(
            "0 in the maximum",
            lambda z: z - log_sum(z, np.maximum(z.max(1, keepdims=True), 0)),
            "large scores are safe, very negative ones are not: what is the maximum of a row of "
            "negative scores?",
            "FluxML/NNlib.jl#43",
        ),
        Mistake(
            "mean taken away",
            lambda z: z - log_sum(z, z.mean(1, keepdims=True)),
            "without the mean some scores still lie above 0, and exp of the largest may overflow",
        ),
        Mistake(
            "logarithm of a softmax",
            lambda z: np.log(softmax(z)),
            "a softmax that has become 0 has no logarithm: take the logarithm of the quotient on "
            "paper first",
        ),
        Mistake(
            "over the batch",
            lambda z: z - log_sum(z, z.max(0), 0),
            "your columns add up to 1, and the rows should: a sample's classes compete, not the "
            "samples",
        ),
        Mistake(
            "over everything",
            lambda z: z - log_sum(z, z.max(), None),
            "all of the array shares one sum: each row has a softmax of its own",
        ),
        Mistake(
            "softmax",
            softmax,
            "that is the softmax itself; its logarithm is wanted",
        ),
        Mistake(
            "shift not undone",
            lambda z: z - np.log(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True)),
            "you took the largest score away in the sum and left it in the scores (or the other "
            "way round)",
        ),
        Mistake(
            "mean for sum",
            lambda z: z - log_sum(z, z.max(1, keepdims=True)) + np.log(z.shape[1]),
            "exp of a row of your answer adds up to the number of classes: you take a mean where "
            "the sum belongs",
        ),
    ),
)

# The loss -----------------------------------------------------------------------------------------


def _loss(z: np.ndarray, target: np.ndarray) -> float:
    return F.cross_entropy(minidl.tensor(z), minidl.tensor(target)).item()


def _picked(z: np.ndarray, target: np.ndarray) -> np.ndarray:
    return _library(z)[np.arange(len(z)), target]


def _square_picked(z: np.ndarray, target: np.ndarray) -> float:
    return -_library(z)[:, target].mean()


_PROBES = {
    "a batch of 1": (Z[:1], TARGET[:1]),
    "3 samples, 4 classes": (Z, TARGET),
    "as many samples as classes": (rng.standard_normal((3, 3)), np.array([1, 1, 2])),
    "large scores, rows that lie far apart": (FAR_APART, np.array([2, 1])),
    "sure and wrong": (np.array([[1000.0, 0], [0, 1]]), np.array([1, 1])),
}

CROSS_ENTROPY = Exercise(
    cross_entropy,
    _loss,
    _PROBES,
    (
        Mistake(
            "sum",
            lambda z, target: -_picked(z, target).sum(),
            "the loss grows with the size of the batch: it is to be a mean",
        ),
        Mistake(
            "divided by the classes, too",
            lambda z, target: -_picked(z, target).sum() / z.size,
            "you take the mean over all N·C entries; a sample counts once",
        ),
        Mistake(
            "sign",
            lambda z, target: _picked(z, target).mean(),
            "your loss is negative, and gets smaller the worse the scores are",
        ),
        Mistake(
            "logarithm of a softmax",
            lambda z, target: -np.log(softmax(z)[np.arange(len(z)), target]).mean(),
            "sure and wrong gives an infinite loss: softmax became 0 before the logarithm was "
            "taken",
            "chainer/chainer#584",
        ),
        Mistake(
            "saved by a small number",
            lambda z, target: -np.log(softmax(z)[np.arange(len(z)), target] + 1e-9).mean(),
            "a small number added before the logarithm hides the infinity, and puts a ceiling on "
            "the loss: there, nothing is learned any more",
            "apache/mxnet#4594",
        ),
        Mistake(
            "all pairs",
            _square_picked,
            "z[:, target] pairs each sample with the classes of all samples; a batch of 1 hides it",
        ),
        Mistake(
            "the score alone",
            lambda z, target: -z[np.arange(len(z)), target].mean(),
            "the scores of the other classes don't count in your loss",
        ),
        Mistake(
            "probability",
            lambda z, target: -np.exp(_picked(z, target)).mean(),
            "the logarithm is missing: you average the probabilities",
        ),
        Mistake(
            "base 2",
            lambda z, target: -_picked(z, target).mean() / np.log(2),
            "bits instead of nats: the logarithm is the natural one",
        ),
    ),
)

# Its gradient -------------------------------------------------------------------------------------


def _gradient(z: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the library's gradient of the mean."""
    return gradients(lambda z: F.cross_entropy(z, minidl.tensor(target)), np.array(1.0), z)[0]


def _one_hot(z: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.eye(z.shape[1])[target]


def _diagonal(z: np.ndarray, target: np.ndarray) -> np.ndarray:
    return _one_hot(z, target) * (softmax(z) - 1) / len(z)


def _unshifted(z: np.ndarray, target: np.ndarray) -> np.ndarray:
    e = np.exp(z)
    return (e / e.sum(1, keepdims=True) - _one_hot(z, target)) / len(z)


def _all_rows(z: np.ndarray, target: np.ndarray) -> np.ndarray:
    dz = softmax(z)
    dz[:, target] -= 1
    return dz / len(z)


CE_BACKWARD = Exercise(
    cross_entropy_backward,
    _gradient,
    _PROBES,
    (
        Mistake(
            "not divided",
            lambda z, target: softmax(z) - _one_hot(z, target),
            "the loss is a mean over the batch, and your gradient is that of the sum; a batch of 1 "
            "hides it",
            "jxgu1016/MNIST_center_loss_pytorch#9",
        ),
        Mistake(
            "divided twice",
            lambda z, target: (softmax(z) - _one_hot(z, target)) / len(z) ** 2,
            "you divide by the size of the batch more than once",
            "tech-srl/code2seq#9",
        ),
        Mistake(
            "divided by the classes",
            lambda z, target: (softmax(z) - _one_hot(z, target)) / z.size,
            "the mean is over the samples, not over all N·C entries",
        ),
        Mistake(
            "sign",
            lambda z, target: (_one_hot(z, target) - softmax(z)) / len(z),
            "a step against your gradient makes the true class less likely",
        ),
        Mistake(
            "true class alone",
            _diagonal,
            "a row of the gradient adds up to 0: what one class wins the others lose, and yours "
            "get nothing",
        ),
        Mistake(
            "softmax alone",
            lambda z, target: softmax(z) / len(z),
            "your gradient does not depend on the true class",
        ),
        Mistake(
            "all pairs",
            _all_rows,
            "dz[:, target] is every row at all of the batch's classes; a batch of 1 hides it",
        ),
        Mistake(
            "no shift",
            _unshifted,
            "right for small scores; exp(1000) is more than a float can hold",
        ),
        Mistake(
            "gradient of the probabilities",
            lambda z, target: -_one_hot(z, target) / softmax(z) / len(z),
            "that is the gradient with respect to the softmax's output; one more step leads back "
            "to the scores",
        ),
    ),
)

EXERCISES = (LOG_SOFTMAX, CROSS_ENTROPY, CE_BACKWARD)
