"""Precision: overflow, cancellation, and sums of many small numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl

from ..judging import Exercise, Mistake


def stable_norm(x):
    """Return the Euclidean norm, the root of the sum of the squares.

    Parameters
    ----------
    x : array of any shape, float64
        Numbers as large as 1e200 and as small as 1e-200 occur, and arrays of zeros.

    Returns
    -------
    float
        Finite, and right to the last digits.
    """
    raise NotImplementedError


def variance(x):
    """Return the variance, the mean of the squared distances from the mean.

    Parameters
    ----------
    x : array of shape (N,), float64
        The mean may be a billion times the standard deviation.

    Returns
    -------
    float
    """
    raise NotImplementedError


def mean_of_halves(x):
    """Return the mean of many numbers of 16 bits.

    Parameters
    ----------
    x : array of shape (N,), float16
        float16 holds about 3 digits, and nothing above 65504.

    Returns
    -------
    float
        To at least 9 digits.
    """
    raise NotImplementedError


rng = np.random.default_rng(754)

# The norm -----------------------------------------------------------------------------------------


def _norm(x: np.ndarray) -> float:
    """Scale by a power of 2, which loses no digit, and let the library take the norm."""
    exponent = int(np.frexp(np.abs(x).max())[1])
    return float(np.ldexp(minidl.tensor(np.ldexp(x, -exponent)).norm().item(), exponent))


def _scaled(scale: Callable[[np.ndarray], Any], back: bool = True) -> Callable[..., Any]:
    def norm(x: np.ndarray) -> Any:
        s = scale(x)
        return (s if back else 1) * np.sqrt(((x / s) ** 2).sum())

    return norm


def _guarded(scale: Callable[[np.ndarray], Any], back: bool = True) -> Callable[..., Any]:
    return lambda x: _scaled(scale, back)(x) if x.any() else 0.0


NORM = Exercise(
    stable_norm,
    _norm,
    {
        "usual numbers": (rng.standard_normal((2, 3)),),
        "numbers near 1e200": (1e200 * rng.standard_normal(4),),
        "numbers near 1e-200": (1e-200 * rng.standard_normal(4),),
        "zeros": (np.zeros(3),),
        "a large negative number": (np.array([-1e200, 1.0, -3e199]),),
        "negative numbers alone": (np.array([-3.0, -4.0]),),
    },
    (
        Mistake(
            "squares at once",
            lambda x: np.sqrt((x * x).sum()),
            "the square of 1e200 is more than a float can hold, and that of 1e-200 is 0, while the "
            "norm itself would fit: change the numbers' size before you square them",
            "numpy/numpy#19097",
        ),
        Mistake(
            "0 / 0",
            _scaled(lambda x: np.abs(x).max()),
            "right but for zeros: you divide by the largest number, and it is 0",
            "dbuenzli/gg#9",
        ),
        Mistake(
            "largest without its sign",
            _guarded(lambda x: x.max() if x.max() else 1.0),
            "a large negative number is not the maximum: what do you divide by?",
        ),
        Mistake(
            "not scaled back",
            _guarded(lambda x: np.abs(x).max(), back=False),
            "you divided by the largest number, and did not undo it",
        ),
        Mistake(
            "sum of absolute values",
            lambda x: np.abs(x).sum(),
            "that is another norm, the sum of the absolute values",
        ),
        Mistake(
            "a fixed factor",
            lambda x: 1e100 * np.sqrt(((x / 1e100) ** 2).sum()),
            "a fixed factor helps the large numbers and loses the small ones: take it from x",
        ),
    ),
)

# The variance -------------------------------------------------------------------------------------

FAR = 2.0**30 + np.array([0.0, 1, 0, 1])


def _variance(x: np.ndarray) -> float:
    return minidl.tensor(x).var(correction=0).item()


VARIANCE = Exercise(
    variance,
    _variance,
    {
        "mean near 0": (rng.standard_normal(6),),
        "mean of 3": (3 + rng.standard_normal(6),),
        "a mean that is a billion times as large": (FAR,),
        "one number": (np.array([2.0]),),
    },
    (
        Mistake(
            "mean of squares less square of mean",
            lambda x: (x * x).mean() - x.mean() ** 2,
            "right on paper; where the mean is large, both terms agree in all digits that a float "
            "has, and nothing is left: take the mean away before you square",
            "dimforge/nalgebra#1236",
        ),
        Mistake(
            "N - 1",
            lambda x: ((x - x.mean()) ** 2).sum() / (x.size - 1),
            "you divide by N - 1, as for a sample; for one number that is 0",
        ),
        Mistake(
            "standard deviation",
            lambda x: np.sqrt(((x - x.mean()) ** 2).mean()),
            "that is the root of it",
        ),
        Mistake(
            "mean square",
            lambda x: (x * x).mean(),
            "you take the distances from 0 instead of the mean",
        ),
        Mistake(
            "absolute distances",
            lambda x: np.abs(x - x.mean()).mean(),
            "the distances are to be squared",
        ),
        Mistake(
            "in float32",
            lambda x: np.float64(np.float32(x).var()),
            "float32 holds 7 digits: a billion and a billion and 1 are the same",
            "k2-fsa/sherpa-onnx#3862",
        ),
    ),
)

# Halves -------------------------------------------------------------------------------------------


def _mean(x: np.ndarray) -> float:
    return minidl.tensor(x).double().mean().item()


def _one_by_one(x: np.ndarray) -> float:
    total = np.float16(0)
    for number in x:
        total = np.float16(total + number)
    return float(total) / x.size


def _divided_first(x: np.ndarray) -> float:
    return float((x / np.float16(x.size)).astype(np.float64).sum())


HALVES = Exercise(
    mean_of_halves,
    _mean,
    {
        "2 numbers": (np.array([1.0, 1.0009765625], np.float16),),
        "4096 ones": (np.ones(4096, np.float16),),
        "3 large numbers": (np.array([60000, 50000, 40000], np.float16),),
        "1000 numbers": (rng.standard_normal(1000).astype(np.float16),),
        "4099 ones": (np.ones(4099, np.float16),),
    },
    (
        Mistake(
            "one by one in float16",
            _one_by_one,
            "at 2048 your sum stops growing: in float16 the next number is 2050, and 1 is too "
            "small a step",
            "numpy/numpy#22208",
        ),
        Mistake(
            "sum in float16",
            lambda x: float(x.sum()) / x.size,
            "the sum is more than float16 can hold, or loses digits, though the mean would fit",
            "pytorch/pytorch#91597",
        ),
        Mistake(
            "answer in float16",
            lambda x: float(x.mean()),
            "the sum is good, and the answer was rounded to float16's 3 digits: x.mean() returns "
            "x's dtype",
        ),
        Mistake(
            "divided first, in float16",
            _divided_first,
            "dividing first avoids the overflow and rounds every number: each quotient is a "
            "float16",
        ),
        Mistake(
            "divided by a length in float16",
            lambda x: float(x.astype(np.float64).sum() / np.float64(np.float16(x.size))),
            "the sum is good; but look at what the length 4099 becomes in float16",
        ),
        Mistake(
            "sum",
            lambda x: float(x.astype(np.float64).sum()),
            "that is the sum",
        ),
    ),
)

EXERCISES = (NORM, VARIANCE, HALVES)
