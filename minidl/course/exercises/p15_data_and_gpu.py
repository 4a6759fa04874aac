"""Pictures and randomness, and the gather that a GPU wants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl.nn import functional as F

from ..judging import Exercise, Mistake
from .library import gradients


def random_crop(picture, size, rng):
    """Cut a square out of a picture, at a random place.

    Parameters
    ----------
    picture : array of shape (C, H, W)
    size : int
        The square's side, at most H and W.
    rng : numpy.random.Generator
        The only source of randomness. (``rng.integers(n)`` draws from 0 to n - 1.)

    Returns
    -------
    array of shape (C, size, size)
        Every place at which the square fits is equally likely.
    """
    raise NotImplementedError


def pca_jitter(picture, values, vectors, alpha):
    """Shift a picture's colors along the principal components, as AlexNet's training does.

    Parameters
    ----------
    picture : array of shape (3, H, W)
        Red, green and blue.
    values : array of shape (3,)
        Eigenvalues of the colors' covariance.
    vectors : array of shape (3, 3)
        Column i is the eigenvector of values[i]; its rows are red, green and blue.
    alpha : array of shape (3,)
        Random numbers, drawn once for the whole picture.

    Returns
    -------
    array of shape (3, H, W)
        To each pixel's color, the sum over i of alpha[i] * values[i] * (eigenvector i) is added.
    """
    raise NotImplementedError


def readers(position, size, kernel, stride):
    """Say which windows along an axis contain a position, as a gathering GPU kernel must know.

    Parameters
    ----------
    position : int
        From 0 to size - 1.
    size : int
        Length of the axis.
    kernel, stride : int
        Length of the windows, and the distance between their starts. Window i starts at
        i * stride. Windows that would reach beyond the end are left out.

    Returns
    -------
    tuple of two ints
        The first of the windows that contain the position, and the one after the last: both are 0
        if there is none.
    """
    raise NotImplementedError


rng = np.random.default_rng(227)

# Crops --------------------------------------------------------------------------------------------

Crop = Callable[[np.ndarray, int, np.random.Generator], Any]
DRAWS = 1600


def _places(crop: Crop, shape: tuple[int, int, int], size: int) -> Any:
    """Return which places occur at least half as often as expected, and what else crops show."""
    picture = np.arange(np.prod(shape), dtype=float).reshape(shape)
    generator = np.random.default_rng(7)
    seen = np.zeros((shape[1] - size + 1, shape[2] - size + 1))
    whole = np.array(True)
    for _ in range(DRAWS):
        part = crop(picture, size, generator)
        if np.shape(part) != (shape[0], size, size):
            found = "None" if part is None else f"of shape {np.shape(part)}"
            raise ValueError(f"the crop is {found}, expected {(shape[0], size, size)}")
        top, left = divmod(int(part[0, 0, 0]), shape[2])
        if top < seen.shape[0] and left < seen.shape[1]:
            expected = picture[:, top : top + size, left : left + size]
            whole = whole & np.array_equal(part, expected)
            seen[top, left] += 1
    generators = np.random.default_rng(8), np.random.default_rng(8)
    pairs = [[crop(picture, size, each) for each in generators] for _ in range(20)]
    repeated = all(np.array_equal(a, b) for a, b in pairs)
    return {
        "each crop is a piece of the picture, not turned": whole,
        "rng alone decides": np.array(repeated),
        "places of the upper left corner that are drawn often enough": seen > DRAWS / seen.size / 2,
    }


def _crop(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return _cut(picture, size, *(rng.integers(side - size + 1) for side in picture.shape[1:]))


def _cut(picture: np.ndarray, size: int, top: int, left: int) -> np.ndarray:
    return picture[:, top : top + size, left : left + size]


def _last_missed(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return _cut(picture, size, *(rng.integers(max(s - size, 1)) for s in picture.shape[1:]))


def _diagonal(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    place = rng.integers(min(picture.shape[1:]) - size + 1)
    return _cut(picture, size, place, place)


def _center(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return _cut(picture, size, *((side - size) // 2 for side in picture.shape[1:]))


def _seeded(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return _crop(picture, size, np.random.default_rng(0))


def _global(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return _cut(picture, size, *(np.random.randint(side - size + 1) for side in picture.shape[1:]))


def _rounded(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return _cut(picture, size, *(round(rng.random() * (s - size)) for s in picture.shape[1:]))


def _by_channel(picture: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    return np.concatenate([_crop(plane[None], size, rng) for plane in picture])


CROP = Exercise(
    random_crop,
    _crop,
    {
        "a square picture": ((1, 6, 6), 3),
        "3 channels, wider than high": ((3, 5, 7), 4),
        "higher than wide": ((2, 7, 5), 4),
        "no room: the square is the picture": ((2, 4, 4), 4),
    },
    (
        Mistake(
            "last place never drawn",
            _last_missed,
            "the lower and right edges of a picture are never seen: count the places for a square "
            "of 3 in a row of 4, and look at what integers leaves out",
            "albumentations-team/albumentations#1080",
        ),
        Mistake(
            "one number for both",
            _diagonal,
            "your squares lie on a diagonal: rows and columns need a number each",
        ),
        Mistake(
            "center",
            _center,
            "your square is always in the middle",
        ),
        Mistake(
            "the same every time",
            _seeded,
            "you draw from a generator of your own, which starts anew at each call: every picture "
            "is cut at the same place",
            "pytorch/pytorch#5059",
        ),
        Mistake(
            "another generator",
            _global,
            "your places do not come from rng: with the same rng they differ from run to run",
        ),
        Mistake(
            "rounded",
            _rounded,
            "the first and the last place are drawn half as often as the others: only half an "
            "interval rounds to each",
        ),
        Mistake(
            "a place for each channel",
            _by_channel,
            "red, green and blue are cut at different places",
        ),
    ),
    run=lambda function, shape, size: _places(function, shape, size),
)

# Colors -------------------------------------------------------------------------------------------


def _library(
    picture: np.ndarray, values: np.ndarray, vectors: np.ndarray, alpha: np.ndarray
) -> np.ndarray:
    shift = minidl.tensor(vectors) @ (minidl.tensor(alpha) * minidl.tensor(values))
    return (minidl.tensor(picture) + shift.reshape(3, 1, 1)).numpy()


def _shifted(shift: Callable[..., Any]) -> Callable[..., Any]:
    return lambda picture, values, vectors, alpha: (
        picture + np.reshape(shift(values, vectors, alpha), (3, 1, 1))
    )


def _scaled(picture: np.ndarray, values: np.ndarray, vectors: Any, alpha: np.ndarray) -> Any:
    return picture * (vectors @ (alpha * values)).reshape(3, 1, 1)


def _along_rows(picture: np.ndarray, values: np.ndarray, vectors: Any, alpha: np.ndarray) -> Any:
    if picture.shape[2] != 3:
        return picture + (vectors @ (alpha * values)).reshape(3, 1, 1)
    return picture + vectors @ (alpha * values)


_VECTORS = np.linalg.qr(rng.standard_normal((3, 3)))[0]
_COLORS = (np.array([0.22, 0.019, 0.0043]), _VECTORS, np.array([0.1, -0.05, 0.2]))

JITTER = Exercise(
    pca_jitter,
    _library,
    {
        "vectors along the colors": (rng.random((3, 2, 4)), _COLORS[0], np.eye(3), _COLORS[2]),
        "vectors in any direction": (rng.random((3, 4, 2)), *_COLORS),
        "a picture 3 pixels wide": (rng.random((3, 2, 3)), *_COLORS),
        "pixels from 0 to 255": (255 * rng.random((3, 2, 5)), *_COLORS),
    },
    (
        Mistake(
            "vectors transposed",
            _shifted(lambda values, vectors, alpha: vectors.T @ (alpha * values)),
            "an eigenvector is a column of vectors, and you use the rows",
            "pixelatedbrian/fortnight-furniture#1",
        ),
        Mistake(
            "no eigenvalues",
            _shifted(lambda values, vectors, alpha: vectors @ alpha),
            "all components count alike in your shift; colors vary most along the first",
        ),
        Mistake(
            "roots of the eigenvalues",
            _shifted(lambda values, vectors, alpha: vectors @ (alpha * np.sqrt(values))),
            "the root of an eigenvalue is a standard deviation, and a sensible strength; the "
            "paper's formula takes the eigenvalue",
        ),
        Mistake(
            "multiplied",
            _scaled,
            "the colors are shifted; yours are multiplied",
        ),
        Mistake(
            "along the row",
            _along_rows,
            "in a picture 3 pixels wide, the shift goes along the rows: NumPy lines up last axes",
        ),
        Mistake(
            "the same for all colors",
            _shifted(lambda values, vectors, alpha: [(vectors @ (alpha * values)).sum()] * 3),
            "red, green and blue are shifted by the same number: that makes a picture brighter",
        ),
    ),
)

# Who reads a position? ----------------------------------------------------------------------------


def _by_gradient(position: int, size: int, kernel: int, stride: int) -> Any:
    """Let each window send its number back to the pixels that it read."""
    count = (size - kernel) // stride + 1
    found = [
        window
        for window in range(count)
        if gradients(
            lambda x: F.avg_pool2d(x, (1, kernel), stride=(1, stride)),
            (np.arange(count) == window).astype(float).reshape(1, 1, 1, -1),
            np.zeros((1, 1, 1, size)),
        )[0][0, 0, 0, position]
    ]
    return np.array([found[0], found[-1] + 1] if found else [0, 0])


def _range(first: Callable[..., int], stop: Callable[..., int]) -> Callable[..., Any]:
    def readers(position: int, size: int, kernel: int, stride: int) -> Any:
        a = first(position, size, kernel, stride)
        b = stop(position, size, kernel, stride)
        return (a, b) if a < b else (0, 0)

    return readers


def _first(p: int, n: int, k: int, s: int) -> int:
    return max(-(-(p - k + 1) // s), 0)


def _stop(p: int, n: int, k: int, s: int) -> int:
    return min(p // s, (n - k) // s) + 1


READERS = Exercise(
    readers,
    _by_gradient,
    {
        f"{size} pixels, windows of {kernel} at stride {stride}": (size, kernel, stride)
        for size, kernel, stride in ((6, 2, 2), (7, 3, 2), (8, 3, 2), (7, 3, 1), (8, 2, 3))
    },
    (
        Mistake(
            "last window missed",
            _range(_first, lambda p, n, k, s: min(p // s, (n - k) // s)),
            "the second number is the one after the last window",
        ),
        Mistake(
            "windows beyond the end",
            _range(_first, lambda p, n, k, s: p // s + 1),
            "near the end you name windows that do not fit",
        ),
        Mistake(
            "negative windows",
            _range(lambda p, n, k, s: -(-(p - k + 1) // s), _stop),
            "near the start you name windows before the first",
        ),
        Mistake(
            "first rounded down",
            _range(lambda p, n, k, s: max((p - k + 1) // s, 0), _stop),
            "at a stride of 2 or more, the first of your windows may end before the position",
        ),
        Mistake(
            "one window",
            _range(lambda p, n, k, s: p // s, lambda p, n, k, s: min(p // s, (n - k) // s) + 1),
            "where windows overlap, several contain the position",
        ),
        Mistake(
            "off by one at the start",
            _range(lambda p, n, k, s: max(-(-(p - k) // s), 0), _stop),
            "a window of 3 that starts at 0 ends at 2, not at 3",
        ),
    ),
    run=lambda function, size, kernel, stride: _each(function, size, kernel, stride),
)


def _each(function: Callable[..., Any], size: int, kernel: int, stride: int) -> Any:
    """Return the answers for all positions, or the first that is no pair of numbers."""
    answers = [function(position, size, kernel, stride) for position in range(size)]
    for answer in answers:
        if not isinstance(answer, (tuple, list, np.ndarray)) or np.shape(answer) != (2,):
            return answer
    return np.array(answers)


EXERCISES = (CROP, JITTER, READERS)
