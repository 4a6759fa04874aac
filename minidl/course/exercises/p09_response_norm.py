"""Local response normalization, forward and backward."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.nn import functional as F
from minidl.nn import response_norm

from ..judging import Exercise, Mistake
from .library import gradients


def lrn(x, size, alpha, beta, k):
    """Divide each activation by the energy of its neighbors across channels.

    With s_i = k + alpha / size * (the sum of x_j² over the window of channel i),
    y_i = x_i / s_i^beta.

    Parameters
    ----------
    x : array of shape (N, C, H, W)
    size : int
        Channels in a window: channel i looks at i - size // 2, ..., i + (size - 1) // 2, as far as
        they exist.
    alpha, beta, k : float

    Returns
    -------
    array of shape (N, C, H, W)
    """
    raise NotImplementedError


def lrn_backward(dy, x, size, alpha, beta, k):
    """Return the gradient of the loss with respect to the input of `lrn`.

    Parameters
    ----------
    dy : array of shape (N, C, H, W)
        The gradient with respect to the output.
    x : array of shape (N, C, H, W)
    size, alpha, beta, k
        As in `lrn`.

    Returns
    -------
    array of shape (N, C, H, W)
    """
    raise NotImplementedError


def to_printed_alpha(alpha, size):
    """Convert PyTorch's alpha into the one of the paper's printed formula.

    The paper prints s_i = k + a * (sum of squares). Caffe, PyTorch and the paper's own program
    compute k + alpha / size * (sum of squares).

    Parameters
    ----------
    alpha : float
        What a program in PyTorch passes.
    size : int
        Channels in a window.

    Returns
    -------
    float
        The a that gives the same network.
    """
    raise NotImplementedError


rng = np.random.default_rng(2010)
_SMALL = rng.standard_normal((2, 3, 2, 2))
_MAPS = rng.standard_normal((1, 7, 2, 3))


def _lrn(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    return response_norm.forward(x, size, alpha, beta, k, 1)[0]


def _sums(
    values: np.ndarray, before: int, after: int, wrap: bool = False, edge: bool = False
) -> np.ndarray:
    """Return the sums over windows of channels."""
    n, c, h, w = values.shape
    total = np.zeros_like(values)
    for shift in range(-before, after + 1):
        for i in range(c):
            j = i + shift
            if wrap:
                j %= c
            if edge:
                j = min(max(j, 0), c - 1)
            if 0 <= j < c:
                total[:, i] += values[:, j]
    return total


def _formula(
    scale: Any = lambda alpha, size: alpha / size,
    window: Any = None,
    power: float = 1.0,
    squared: bool = True,
    k_inside: bool = True,
    **options: bool,
) -> Any:
    """Return lrn with a change."""
    window = window or (lambda size: (size // 2, (size - 1) // 2))

    def changed(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
        sums = scale(alpha, size) * _sums(x * x if squared else np.abs(x), *window(size), **options)
        if k_inside:
            return x * (k + sums) ** (-beta * power)
        return x / (k + sums**beta)

    return changed  # fmt: skip


def _spatial(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    return _lrn(x.swapaxes(1, 2), size, alpha, beta, k).swapaxes(1, 2)


def _own_left_out(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    sums = _sums(x * x, size // 2, (size - 1) // 2) - x * x
    return x * (k + alpha / size * sums) ** -beta


def _by_existing(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    sums, count = (_sums(a, size // 2, (size - 1) // 2) for a in (x * x, np.ones_like(x)))
    return x * (k + alpha * sums / count) ** -beta


LRN = Exercise(
    lrn,
    _lrn,
    {
        "five channels a window, seven in all": (_MAPS, 5, 0.7, 0.75, 2.0),
        "an even window": (_MAPS, 4, 0.7, 0.75, 2.0),
        "fewer channels than the window": (_SMALL, 5, 0.9, 0.75, 1.0),
        "beta = 1": (_MAPS, 3, 0.5, 1.0, 1.0),
        "alpha = 0: only k counts": (_MAPS, 5, 0.0, 0.75, 2.0),
        "AlexNet's constants": (_MAPS, 5, 1e-4, 0.75, 2.0),
    },
    (
        Mistake(
            "alpha not divided",
            _formula(scale=lambda alpha, size: alpha),
            "your sum has `size` times the weight that it should: compare alpha in your s with "
            "the docstring's",
            "BVLC/caffe#1453",
        ),
        Mistake(
            "alpha divided twice",
            _formula(scale=lambda alpha, size: alpha / size**2),
            "alpha is divided by the size once, also if you take a mean of the squares",
        ),
        Mistake(
            "window mirrored",
            _formula(window=lambda size: ((size - 1) // 2, size // 2)),
            "an even window is not symmetric: it reaches one channel further to one side; look "
            "to which",
        ),
        Mistake(
            "window one too wide",
            _formula(window=lambda size: (size // 2, size // 2)),
            "with an even size your window has one channel too many",
        ),
        Mistake(
            "window of size on either side",
            _formula(window=lambda size: (size, size)),
            "`size` is the whole window, not how far it reaches to either side",
        ),
        Mistake(
            "wraps around",
            _formula(wrap=True),
            "your window wraps around: the first channel sees the last ones; a negative index, "
            "or np.roll, does that",
        ),
        Mistake(
            "repeats the edge",
            _formula(edge=True),
            "beyond the first and the last channel there is nothing: the edge must not count twice",
        ),
        Mistake(
            "absolute values",
            _formula(squared=False),
            "the window sums squares",
        ),
        Mistake(
            "multiplies",
            _formula(power=-1.0),
            "you multiply by s^beta: activity of the neighbors must make y smaller",
        ),
        Mistake(
            "k outside the power",
            _formula(k_inside=False),
            "k belongs to s: the power beta is taken of the whole of s",
        ),
        Mistake(
            "square root instead of beta",
            lambda x, size, alpha, beta, k: _lrn(x, size, alpha, 0.5, k),
            "beta is an argument; a power of one half is another normalization",
        ),
        Mistake(
            "own channel left out",
            _own_left_out,
            "the window of channel i holds channel i itself, too",
        ),
        Mistake(
            "divided by the channels that exist",
            _by_existing,
            "at the edge fewer channels are in the window, yet alpha is divided by size there, too",
        ),
        Mistake(
            "along the rows",
            _spatial,
            "your window runs over the picture's rows: it must run over the channels of one pixel",
        ),
    ),
)


def _backward(dy: np.ndarray, x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> Any:
    return gradients(lambda x: F.local_response_norm(x, size, alpha, beta, k), dy, x)[0]


def _derived(
    sign: float = -1.0,
    mirrored: bool = True,
    factor: Any = lambda alpha, beta, size: 2 * alpha * beta / size,
    power: float = 1.0,
    own_only: bool = False,
    who: str = "x",
    direct: bool = True,
) -> Any:
    """Return lrn_backward with a change."""

    def changed(
        dy: np.ndarray, x: np.ndarray, size: int, alpha: float, beta: float, k: float
    ) -> Any:
        before, after = size // 2, (size - 1) // 2
        s = k + alpha / size * _sums(x * x, before, after)
        inner = dy * (x if who != "none" else 1) * s ** (-beta - power)
        if who == "outside":
            inner = x * s ** (-beta - power)
        if who == "s outside":
            inner = dy * x
        cross = (
            inner if own_only else _sums(inner, *((after, before) if mirrored else (before, after)))
        )
        if who == "outside":
            cross = cross * dy
        if who == "s outside":
            cross = cross * s ** (-beta - power)
        if who == "neighbors":
            cross = cross - inner
        first = dy * s**-beta if direct else 0
        return first + sign * factor(alpha, beta, size) * x * cross

    return changed  # fmt: skip


def _with_dy(x: np.ndarray, *settings: Any) -> tuple[Any, ...]:
    return (rng.standard_normal(x.shape), x, *settings)


LRN_BACKWARD = Exercise(
    lrn_backward,
    _backward,
    {
        "five channels a window, alpha near 1": _with_dy(_MAPS, 5, 0.7, 0.75, 2.0),
        "an even window": _with_dy(_MAPS, 4, 0.7, 0.75, 2.0),
        "fewer channels than the window": _with_dy(_SMALL, 5, 0.9, 0.75, 1.0),
        "beta = 1, alpha = 2": _with_dy(_MAPS, 3, 2.0, 1.0, 1.0),
        "AlexNet's constants": _with_dy(_MAPS, 5, 1e-4, 0.75, 2.0),
    },
    (
        Mistake(
            "no cross term",
            _derived(factor=lambda alpha, beta, size: 0.0),
            "you treat s as a constant; but x_m is also in the s of its neighbors and of itself. "
            "With AlexNet's alpha this is hard to see: look at the probes with a large one",
        ),
        Mistake(
            "window not mirrored",
            _derived(mirrored=False),
            "which outputs does x_m change: those that channel m looks at, or those that look at "
            "m? For an odd window they are the same",
        ),
        Mistake(
            "wrong sign",
            _derived(sign=1.0),
            "more energy makes the neighbors' outputs smaller: check the sign of the second term",
        ),
        Mistake(
            "factor 2 missing",
            _derived(factor=lambda alpha, beta, size: alpha * beta / size),
            "what is the derivative of x² ?",
        ),
        Mistake(
            "beta missing",
            _derived(factor=lambda alpha, beta, size: 2 * alpha / size),
            "the derivative of s^(-beta) has a factor in front of the power",
        ),
        Mistake(
            "alpha not divided",
            _derived(factor=lambda alpha, beta, size: 2 * alpha * beta),
            "forward divides alpha by the size; so must the backward",
        ),
        Mistake(
            "exponent not lowered",
            _derived(power=0.0),
            "the derivative of s^(-beta) has another exponent than s^(-beta)",
        ),
        Mistake(
            "own channel only",
            _derived(own_only=True),
            "you count the effect of x_m on its own output alone; its neighbors' outputs change, "
            "too",
        ),
        Mistake(
            "dy outside the sum",
            _derived(who="outside"),
            "in the sum each neighbor has its own incoming gradient: dy belongs inside",
        ),
        Mistake(
            "s outside the sum",
            _derived(who="s outside"),
            "in the sum each neighbor has an s of its own: its power belongs inside",
        ),
        Mistake(
            "own channel left out",
            _derived(who="neighbors"),
            "x_m is in its own s_m, too: the sum includes i = m, beside the direct term",
        ),
        Mistake(
            "x missing in the sum",
            _derived(who="none"),
            "y_i = x_i · s_i^(-beta): its derivative by s_i still has x_i in it, that of the "
            "neighbor",
        ),
        Mistake(
            "no direct term",
            _derived(direct=False),
            "x_m is also the numerator of y_m: that term is missing",
        ),
        Mistake(
            "forward again",
            lambda dy, x, size, alpha, beta, k: _lrn(dy, size, alpha, beta, k),
            "you normalize dy by its own energy: s comes from x",
        ),
    ),
)

TO_PRINTED_ALPHA = Exercise(
    to_printed_alpha,
    lambda alpha, size: alpha / size,
    {
        "AlexNet's size": (5e-4, 5),
        "another size": (0.3, 7),
        "size 1": (2.0, 1),
        "size 2": (3.0, 2),
    },
    (
        Mistake(
            "multiplies",
            lambda alpha, size: alpha * size,
            "that is the other way: which of the two numbers has to be the smaller one?",
            "BVLC/caffe#1453",
        ),
        Mistake(
            "same",
            lambda alpha, size: alpha,
            "the two formulas give different numbers for the same alpha",
        ),
        Mistake(
            "divides by the square",
            lambda alpha, size: alpha / size**2,
            "the size divides once: the window is one row of channels, not a square of pixels",
        ),
        Mistake(
            "divides by half the window",
            lambda alpha, size: alpha / max(size // 2, 1),
            "the sum is over all channels of the window",
        ),
    ),
)

EXERCISES = (LRN, LRN_BACKWARD, TO_PRINTED_ALPHA)
