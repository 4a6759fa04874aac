"""Speed: fewer multiplications, and how to measure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl.nn import functional as F

from ..judging import Exercise, Mistake


def winograd_tile(d, g):
    """Return two outputs of a kernel of 3 numbers, by four multiplications.

    Parameters
    ----------
    d : array of shape (4,)
        Neighboring inputs.
    g : array of shape (3,)
        The kernel.

    Returns
    -------
    products : array of shape (4,)
        (d0 - d2) g0, (d1 + d2) (g0 + g1 + g2) / 2, (d2 - d1) (g0 - g1 + g2) / 2 and
        (d1 - d3) g2, in this order.
    y : array of shape (2,)
        d0 g0 + d1 g1 + d2 g2 and d1 g0 + d2 g1 + d3 g2, out of the four products by additions and
        subtractions alone.
    """
    raise NotImplementedError


def winograd_f23(x, weight):
    """Return the convolution of a picture with a 3×3 kernel, in tiles of 2×2 outputs.

    Parameters
    ----------
    x : array of shape (H, W)
        At least 3×3. H and W may be odd.
    weight : array of shape (3, 3)

    Returns
    -------
    array of shape (H - 2, W - 2)
        Entry (i, j) is the sum of x's window at (i, j), each number times the one at the same place
        of weight. A tile of 2×2 outputs reads 4×4 pixels; tiles at the right and lower edge may
        hang over it (pad x with zeros, and cut the result).
    """
    raise NotImplementedError


def multiplications(height, width, kernel, tile):
    """Return how many multiplications a convolution by Winograd's tiles needs.

    Parameters
    ----------
    height, width : int
        Of the output, one channel.
    kernel : int
        Side of the square kernel, one channel.
    tile : int
        A tile has tile × tile outputs, and needs one multiplication for each pixel that it reads.
        Tiles at the edges may hang over it, and cost as much as others.

    Returns
    -------
    int
        Without those of the transforms.
    """
    raise NotImplementedError


def gflops(images, weight_shape, out_height, out_width, times, warmup):
    """Return the speed of a convolution in billions of operations a second.

    Parameters
    ----------
    images : int
        The size of the batch.
    weight_shape : tuple of int
        (O, C / groups, K, K), as the library stores it.
    out_height, out_width : int
        Of the output.
    times : array of shape (T,)
        The seconds that each of T calls took, in the order of the calls.
    warmup : int
        The first calls, which don't count: they fill caches and reserve memory.

    Returns
    -------
    float
        A multiplication and an addition are two operations. The time of a call is the median of
        those that count.
    """
    raise NotImplementedError


rng = np.random.default_rng(1509)

# One tile -----------------------------------------------------------------------------------------


def _products(d: np.ndarray, g: np.ndarray) -> np.ndarray:
    return np.array([
        (d[0] - d[2]) * g[0], (d[1] + d[2]) * (g[0] + g[1] + g[2]) / 2,
        (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2, (d[1] - d[3]) * g[2],
    ])  # fmt: skip


def _tile(d: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    y = F.conv2d(minidl.tensor(d.reshape(1, 1, 1, 4)), minidl.tensor(g.reshape(1, 1, 1, 3)))
    return _products(d, g), y.numpy().ravel()


def _from_products(signs: list[list[int]]) -> Callable[..., Any]:
    """Return a tile whose outputs are these sums of the products."""
    return lambda d, g: (_products(d, g), np.array(signs) @ _products(d, g))


def _without_half(d: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    products = _products(d, g) * np.array([1, 2, 2, 1])
    return products, np.array([[1, 1, 1, 0], [0, 1, -1, -1]]) @ products


def _kernel_turned(d: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return _tile(d, g[::-1].copy())


TILE = Exercise(
    winograd_tile,
    _tile,
    {
        "one input is 1": (np.array([1.0, 0, 0, 0]), np.array([2.0, 3, 5])),
        "a symmetric kernel": (rng.standard_normal(4), np.array([1.0, 2, 1])),
        "random numbers": (rng.standard_normal(4), rng.standard_normal(3)),
    },
    (
        Mistake(
            "sign of the third product",
            _from_products([[1, 1, 1, 0], [0, 1, 1, -1]]),
            "the third product has a plus in the first output, but not in the second",
        ),
        Mistake(
            "sign of the last product",
            _from_products([[1, 1, 1, 0], [0, 1, -1, 1]]),
            "the last product holds -d3 g2, and the second output needs +d3 g2",
        ),
        Mistake(
            "halves lost",
            _without_half,
            "the second and third product are twice as large as asked for: the kernel's transform "
            "has a division by 2",
        ),
        Mistake(
            "kernel turned",
            _kernel_turned,
            "you read the kernel backwards: that is the convolution of mathematics",
        ),
        Mistake(
            "outputs exchanged",
            _from_products([[0, 1, -1, -1], [1, 1, 1, 0]]),
            "these are the right two outputs in the wrong order",
        ),
    ),
)

# A picture ----------------------------------------------------------------------------------------

_OUTPUT = np.array([[1.0, 1, 1, 0], [0, 1, -1, -1]])
_KERNEL = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_DATA = np.array([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])


def _direct(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return F.conv2d(minidl.tensor(x[None, None]), minidl.tensor(weight[None, None])).numpy()[0, 0]


def _tiled(
    read: int = 2,
    whole: bool = False,
    kernel: np.ndarray = _KERNEL,
    output: np.ndarray = _OUTPUT,
    square: bool = False,
) -> Callable[..., Any]:
    """Return a convolution by tiles that read every `read`-th pixel, or leave ragged ones out."""

    def winograd(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        high, wide = x.shape[0] - 2, x.shape[1] - 2
        down, across = (high + 1) // 2, (wide + 1) // 2
        padded = np.pad(x, ((0, read * down + 4), (0, read * across + 4)))
        y = np.zeros((2 * down, 2 * across))
        for i in range(high // 2 if whole else down):
            for j in range(wide // 2 if whole else across):
                if square and j >= down:
                    continue
                data = _DATA @ padded[read * i : read * i + 4, read * j : read * j + 4] @ _DATA.T
                values = data * (kernel @ weight @ kernel.T)
                y[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = output @ values @ output.T
        return y[:high, :wide]

    return winograd


def _cut(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    y = _direct(x, weight)
    return y[: len(y) // 2 * 2, : y.shape[1] // 2 * 2]


def _not_cut(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    high, wide = x.shape
    return _direct(np.pad(x, ((0, high % 2), (0, wide % 2))), weight)


def _transposed(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return _direct(x, weight.T.copy())


F23 = Exercise(
    winograd_f23,
    _direct,
    {
        "one tile": (rng.standard_normal((4, 4)), rng.standard_normal((3, 3))),
        "a symmetric kernel": (rng.standard_normal((6, 6)), np.outer([1.0, 2, 1], [1.0, 2, 1])),
        "whole tiles, wider than high": (rng.standard_normal((6, 10)), rng.standard_normal((3, 3))),
        "ragged at the right": (rng.standard_normal((6, 7)), rng.standard_normal((3, 3))),
        "ragged on both sides": (rng.standard_normal((5, 7)), rng.standard_normal((3, 3))),
    },
    (
        Mistake(
            "tiles do not overlap",
            _tiled(read=4),
            "right for one tile; your tiles read pixels that are 4 apart. How far apart are the "
            "tiles' outputs?",
            "adam-dziedzic/winograd#1",
        ),
        Mistake(
            "ragged tiles stay 0",
            _tiled(whole=True),
            "the last row or column of outputs is still 0 where it does not fill a tile",
            "andravin/wincnn#17",
        ),
        Mistake(
            "ragged edge cut off",
            _cut,
            "your result lacks a row or column where the outputs don't fill a tile",
            "andravin/wincnn#17",
        ),
        Mistake(
            "not cut",
            _not_cut,
            "your result has a row or column of the tiles that hang over the edge: cut it",
        ),
        Mistake(
            "as many tiles across as down",
            _tiled(square=True),
            "right for pictures as high as wide: you count the tiles of a row by the height",
            "apache/tvm#7068",
        ),
        Mistake(
            "kernel transposed",
            _transposed,
            "rows and columns of the kernel are exchanged: which side does each transform go on?",
        ),
        Mistake(
            "kernel turned",
            lambda x, w: _direct(x, w[::-1, ::-1].copy()),
            "the kernel is read backwards: that is the convolution of mathematics",
        ),
        Mistake(
            "halves lost",
            _tiled(kernel=_KERNEL * np.array([[1.0], [2], [2], [1]])),
            "the two middle rows of the kernel's transform have a factor of 1/2",
        ),
        Mistake(
            "sign of the last point",
            _tiled(output=_OUTPUT * np.array([1.0, 1, 1, -1])),
            "right at even rows and columns alone: look at the sign of the last product in the "
            "second output",
        ),
    ),
)

# Counting -----------------------------------------------------------------------------------------


def _count(height: int, width: int, kernel: int, tile: int) -> int:
    return math.ceil(height / tile) * math.ceil(width / tile) * (tile + kernel - 1) ** 2


MULTIPLICATIONS = Exercise(
    multiplications,
    _count,
    {
        "one tile of 4×4, kernel of 3": (4, 4, 3, 4),
        "tiles of one output": (5, 6, 3, 1),
        "whole tiles, kernel of 5": (8, 8, 5, 4),
        "AlexNet's conv3: ragged": (13, 13, 3, 4),
        "wider than high": (5, 20, 3, 2),
    },
    (
        Mistake(
            "direct",
            lambda h, w, k, t: h * w * k**2,
            "that is a convolution without tiles: each output takes its whole window",
        ),
        Mistake(
            "ragged tiles lost",
            lambda h, w, k, t: (h // t) * (w // t) * (t + k - 1) ** 2,
            "you count whole tiles alone",
            "andravin/wincnn#17",
        ),
        Mistake(
            "parts of tiles",
            lambda h, w, k, t: h * w / t**2 * (t + k - 1) ** 2,
            "half a tile costs as much as a whole one",
        ),
        Mistake(
            "one axis",
            lambda h, w, k, t: math.ceil(h / t) * math.ceil(w / t) * (t + k - 1) * k,
            "you save along one axis alone: a tile reads tile + kernel - 1 pixels along both",
        ),
        Mistake(
            "tile plus kernel",
            lambda h, w, k, t: math.ceil(h / t) * math.ceil(w / t) * (t + k) ** 2,
            "a tile reads one pixel less along each side: a single output reads kernel × kernel",
        ),
        Mistake(
            "outputs alone",
            lambda h, w, k, t: math.ceil(h / t) * math.ceil(w / t) * t**2,
            "you count a tile's outputs; it needs a product for each pixel that it reads",
        ),
        Mistake(
            "distance of kernel - 1",
            lambda h, w, k, t: (
                math.ceil(h / max(k - 1, 1)) * math.ceil(w / max(k - 1, 1)) * (t + k - 1) ** 2
            ),
            "your tiles lie kernel - 1 apart; their outputs must not overlap and are tile wide",
            "adam-dziedzic/winograd#1",
        ),
        Mistake(
            "square pictures",
            lambda h, w, k, t: math.ceil(h / t) ** 2 * (t + k - 1) ** 2,
            "your answer does not depend on width",
            "apache/tvm#7068",
        ),
    ),
)

# Measuring ----------------------------------------------------------------------------------------


def _speed(
    images: int, shape: tuple[int, ...], high: int, wide: int, times: np.ndarray, warmup: int
) -> float:
    operations = 2 * images * high * wide * minidl.zeros(shape).numel()
    return float(operations / np.median(times[warmup:]) / 1e9)


def _with(
    time: Callable[[np.ndarray, int], float] = lambda times, warmup: float(
        np.median(times[warmup:])
    ),
    factor: Callable[..., float] = lambda images, shape, high, wide: 1.0,
) -> Callable[..., Any]:
    def speed(
        images: int, shape: tuple[int, ...], high: int, wide: int, times: np.ndarray, warmup: int
    ) -> float:
        right = _speed(images, shape, high, wide, np.array([1.0]), 0)
        return right / time(times, warmup) * factor(images, shape, high, wide)

    return speed


_TIMES = np.array([0.9, 0.031, 0.020, 0.024, 0.021, 0.3])

GFLOPS = Exercise(
    gflops,
    _speed,
    {
        "1 image, 1×1 kernels, 1 call": (1, (4, 3, 1, 1), 5, 6, np.array([0.5]), 0),
        "a slow first call": (8, (16, 3, 3, 3), 12, 12, np.array([2.0, 0.1, 0.2, 0.3]), 1),
        "AlexNet's conv2: 2 groups": (128, (256, 48, 5, 5), 27, 27, _TIMES, 2),
    },
    (
        Mistake(
            "additions lost",
            _with(factor=lambda *_: 0.5),
            "a multiplication and an addition are two operations",
        ),
        Mistake(
            "warm-up counted",
            _with(lambda times, warmup: float(np.median(times))),
            "the first calls are in your median",
        ),
        Mistake(
            "mean",
            _with(lambda times, warmup: float(times[warmup:].mean())),
            "one slow call pulls the mean up; the median is asked for",
        ),
        Mistake(
            "best",
            _with(lambda times, warmup: float(times[warmup:].min())),
            "you take the fastest call; the median is asked for",
        ),
        Mistake(
            "sorted before the warm-up",
            _with(lambda times, warmup: float(np.median(np.sort(times)[warmup:]))),
            "you sort first and then leave out the fastest calls instead of the first ones",
        ),
        Mistake(
            "total",
            _with(lambda times, warmup: float(times[warmup:].sum())),
            "you divide the work of one call by the time of all of them",
        ),
        Mistake(
            "one image",
            _with(factor=lambda images, *_: 1 / images),
            "a call works on the whole batch",
        ),
        Mistake(
            "channels lost",
            _with(factor=lambda images, shape, *_: 1 / shape[1]),
            "a sum adds up the windows of all channels that a filter sees",
        ),
        Mistake(
            "side for area",
            _with(factor=lambda images, shape, *_: 1 / shape[3]),
            "a kernel has more numbers than its side is long",
        ),
    ),
)

EXERCISES = (TILE, F23, MULTIPLICATIONS, GFLOPS)
