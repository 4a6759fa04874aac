"""Max-pooling and average pooling, forward and backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import minidl
from minidl.nn import functional as F

from ..judging import Exercise, Mistake
from .library import gradients


def maxpool(x, kernel, stride):
    """Return the largest value of each window.

    Parameters
    ----------
    x : array of shape (N, C, H, W)
    kernel, stride : int
        Size of the square windows, and the distance between them. Windows that would reach beyond
        the edge are left out.

    Returns
    -------
    array of shape (N, C, (H - kernel) // stride + 1, (W - kernel) // stride + 1)
    """
    raise NotImplementedError


def maxpool_backward(dy, x, kernel, stride):
    """Return the gradient of the loss with respect to the input of max-pooling.

    Parameters
    ----------
    dy : array of shape (N, C, OH, OW)
        The gradient with respect to the output.
    x : array of shape (N, C, H, W)
        The input. If a window's largest value occurs more than once in it, only the first place
        (row by row) counts.
    kernel, stride : int

    Returns
    -------
    array of shape (N, C, H, W)
    """
    raise NotImplementedError


def avgpool_backward(dy, x, kernel, stride):
    """Return the gradient of the loss with respect to the input of average pooling.

    Parameters
    ----------
    dy : array of shape (N, C, OH, OW)
        The gradient with respect to the output, the mean of each window.
    x : array of shape (N, C, H, W)
        The input.
    kernel, stride : int

    Returns
    -------
    array of shape (N, C, H, W)
    """
    raise NotImplementedError


rng = np.random.default_rng(2012)


def picture(n: int, c: int, h: int, w: int) -> np.ndarray:
    """Return an input without two equal values, half of them negative."""
    x = rng.permutation(n * c * h * w).astype(float).reshape(n, c, h, w)
    return x - x.size / 2 + 0.25


def with_gradient(x: np.ndarray, kernel: int, stride: int) -> tuple[Any, ...]:
    """Return the arguments of a backward."""
    sizes = [(side - kernel) // stride + 1 for side in x.shape[2:]]
    return rng.standard_normal((*x.shape[:2], *sizes)), x, kernel, stride


def after_relu() -> np.ndarray:
    """Return an input with two windows of nothing but zeros."""
    x = np.maximum(picture(1, 2, 7, 7), 0)
    x[..., :5, :3] = 0
    return x


def windows(shape: tuple[int, ...], kernel: int, stride: int) -> Iterator[tuple[Any, Any]]:
    """Yield the index of each output, and of its window."""
    n, c, h, w = shape
    for i in range((h - kernel) // stride + 1):
        for j in range((w - kernel) // stride + 1):
            top, left = i * stride, j * stride
            rows, columns = slice(top, top + kernel), slice(left, left + kernel)
            yield (slice(None), slice(None), i, j), (slice(None), slice(None), rows, columns)


# Forward ------------------------------------------------------------------------------------------


def _maxpool(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    return F.max_pool2d(minidl.tensor(x), kernel, stride).numpy()


def _pooled(reduce: Callable[..., Any]) -> Callable[..., Any]:
    def pool(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
        n, c, h, w = x.shape
        y = np.empty((n, c, (h - kernel) // stride + 1, (w - kernel) // stride + 1))
        for output, window in windows(x.shape, kernel, stride):
            y[output] = reduce(x[window])
        return y

    return pool


def _ceil(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    return F.max_pool2d(minidl.tensor(x), kernel, stride, ceil_mode=True).numpy()


MAXPOOL = Exercise(
    maxpool,
    _maxpool,
    {
        "windows side by side, 2×2 at stride 2": (picture(1, 1, 6, 6), 2, 2),
        "overlapping windows, 3×3 at stride 2": (picture(1, 1, 7, 7), 3, 2),
        "a batch of 2 with 3 channels, higher than wide": (picture(2, 3, 9, 7), 3, 2),
        "an edge that no window reaches": (picture(1, 1, 6, 8), 3, 2),
        "negative numbers alone": (-1 - np.abs(picture(1, 1, 5, 5)), 3, 1),
    },
    (
        Mistake(
            "starts from 0",
            _pooled(lambda window: window.max((2, 3), initial=0)),
            "a window of negative numbers has a largest value, too: begin with the window's first "
            "number, not with 0",
        ),
        Mistake(
            "largest over channels",
            _pooled(lambda window: window.max((1, 2, 3))[:, None]),
            "all channels came out alike: the maximum is taken within each channel",
        ),
        Mistake(
            "largest over the batch",
            _pooled(lambda window: window.max((0, 2, 3))[None]),
            "all pictures of the batch came out alike: the maximum is taken within each picture",
        ),
        Mistake(
            "mean",
            _pooled(lambda window: window.mean((2, 3))),
            "these are the windows' means: that is average pooling",
        ),
        Mistake(
            "rounds up",
            _ceil,
            "your output has a row or column for a window that reaches beyond the edge: the size "
            "is rounded down here",
        ),
        Mistake(
            "absolute values",
            _pooled(lambda window: np.abs(window).max((2, 3))),
            "you compare absolute values: -5 is smaller than 1",
        ),
    ),
)

# Backward -----------------------------------------------------------------------------------------


def _maxpool_backward(dy: np.ndarray, x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    return gradients(lambda x: F.max_pool2d(x, kernel, stride), dy, x)[0]


def _scattered(
    choose: Callable[[np.ndarray], np.ndarray], add: bool = True, use_dy: bool = True
) -> Callable[..., Any]:
    """Return a backward that sends dy to the chosen places of each window (a mask)."""

    def backward(dy: np.ndarray, x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
        dx = np.zeros_like(x)
        for output, window in windows(x.shape, kernel, stride):
            mask = choose(x[window])
            sent = mask * (dy[output][..., None, None] if use_dy else 1.0)
            dx[window] = dx[window] + sent if add else np.where(mask, sent, dx[window])
        return dx

    return backward


def first(window: np.ndarray) -> np.ndarray:
    """Return where the first largest number is."""
    flat = window.reshape(*window.shape[:2], -1)
    return (np.arange(flat.shape[-1]) == flat.argmax(-1)[..., None]).reshape(window.shape)


def last(window: np.ndarray) -> np.ndarray:
    """Return where the last largest number is."""
    return first(window[..., ::-1, ::-1])[..., ::-1, ::-1]


def ties(window: np.ndarray) -> np.ndarray:
    """Return where the largest number is, everywhere."""
    return window == window.max((2, 3), keepdims=True)


def shared(window: np.ndarray) -> np.ndarray:
    """Return the parts of the places with the largest number."""
    return ties(window) / ties(window).sum((2, 3), keepdims=True)


def everywhere(window: np.ndarray) -> np.ndarray:
    """Return all places of a window."""
    return np.ones(window.shape)


def _mean_of_wins(dy: np.ndarray, x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    total = _scattered(first)(dy, x, kernel, stride)
    return total / np.maximum(_scattered(first, use_dy=False)(dy, x, kernel, stride), 1)


_BACKWARD = {
    "windows side by side, 2×2 at stride 2": with_gradient(picture(1, 1, 6, 6), 2, 2),
    "overlapping windows, 3×3 at stride 2": with_gradient(picture(1, 1, 7, 7), 3, 2),
    "a batch of 2 with 3 channels, higher than wide": with_gradient(picture(2, 3, 9, 7), 3, 2),
    "an edge that no window reaches": with_gradient(picture(1, 1, 6, 8), 3, 2),
    "ties: zeros after a ReLU": with_gradient(after_relu(), 3, 2),
}

MAXPOOL_BACKWARD = Exercise(
    maxpool_backward,
    _maxpool_backward,
    _BACKWARD,
    (
        Mistake(
            "overwrites",
            _scattered(first, add=False),
            "where windows overlap, a pixel that wins several of them collects all their "
            "gradients: look at what happens to the first when the second arrives",
            "FluxML/NNlib.jl#205",
        ),
        Mistake(
            "all ties",
            _scattered(ties),
            "every place that equals the maximum got the gradient: only the first counts, and "
            "after a ReLU whole windows are 0",
        ),
        Mistake(
            "all ties, overwrites",
            _scattered(ties, add=False),
            "two mistakes: overlapping windows overwrite each other's gradients, and every place "
            "that equals the maximum gets it",
            "riccardoandreoni0/CNN-from-scratch#1",
        ),
        Mistake(
            "shares ties",
            _scattered(shared),
            "tied places share the gradient; here the first takes all of it",
        ),
        Mistake(
            "last of ties",
            _scattered(last),
            "of several largest numbers you take the last: the first counts",
        ),
        Mistake(
            "ignores dy",
            _scattered(first, use_dy=False),
            "you marked the winners; each passes on the gradient that comes in, not 1",
        ),
        Mistake(
            "average",
            lambda dy, x, k, s: _scattered(everywhere)(dy, x, k, s) / k**2,
            "that is the gradient of average pooling: a window has one winner",
        ),
        Mistake(
            "whole window",
            _scattered(everywhere),
            "all pixels of a window get its gradient: only the winner moves the maximum",
        ),
        Mistake(
            "mean of wins",
            _mean_of_wins,
            "a pixel that won several windows gets the mean of their gradients; how does the loss "
            "change if it grows a little?",
        ),
    ),
)


def _avgpool_backward(dy: np.ndarray, x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    return gradients(lambda x: F.avg_pool2d(x, kernel, stride), dy, x)[0]


def _spread(divide_by: Callable[[int, int], float], add: bool = True) -> Callable[..., Any]:
    def backward(dy: np.ndarray, x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
        return _scattered(everywhere, add)(dy, x, kernel, stride) / divide_by(kernel, stride)

    return backward


AVGPOOL_BACKWARD = Exercise(
    avgpool_backward,
    _avgpool_backward,
    {name: given for name, given in _BACKWARD.items() if "ties" not in name},
    (
        Mistake(
            "not divided",
            _spread(lambda k, s: 1),
            "each pixel is one of several numbers in the mean: what is its share?",
        ),
        Mistake(
            "divided by the side",
            _spread(lambda k, s: k),
            "a window has more pixels than its side is long",
        ),
        Mistake(
            "divided by the stride",
            _spread(lambda k, s: s**2),
            "the mean is over the window: its size is kernel, not stride, and where windows "
            "overlap the two differ",
        ),
        Mistake(
            "overwrites",
            _spread(lambda k, s: k**2, add=False),
            "where windows overlap, a pixel is in several means: its gradients add up",
        ),
        Mistake(
            "maximum",
            _maxpool_backward,
            "that is the gradient of max-pooling: in a mean every pixel counts",
        ),
    ),
)

EXERCISES = (MAXPOOL, MAXPOOL_BACKWARD, AVGPOOL_BACKWARD)
