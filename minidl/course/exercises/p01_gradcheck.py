"""Differences: the gradient that needs no formula, and what makes it wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl
from minidl.nn import functional as F

from ..judging import Exercise, Mistake
from .library import gradients


def numerical_jacobian(f, x, eps):
    """Return how each output of f changes with each input, by central differences.

    Parameters
    ----------
    f : function
        Takes an array like x and returns an array of any shape.
    x : array of any shape, of float64 or of integers
        Where to differentiate. It must be the same after the call.
    eps : float
        Step. Entry (i, j) is (f(x + eps)_i - f(x - eps)_i) / (2 eps), with the step in input j
        alone.

    Returns
    -------
    array of shape (number of outputs, number of inputs), float64
    """
    raise NotImplementedError


def relative_error(a, b):
    """Return the largest relative difference between two arrays.

    Parameters
    ----------
    a, b : arrays of the same shape
        Gradients, by formula and by differences. The error of an entry is |a - b| / (|a| + |b|);
        where both are 0 it is 0.

    Returns
    -------
    float
    """
    raise NotImplementedError


def backward_is_right(forward, backward, x, dy, eps, tolerance):
    """Say whether a backward agrees with differences of its forward.

    Parameters
    ----------
    forward : function
        Takes x and returns an array like dy.
    backward : function
        ``backward(dy, x)`` returns the gradient of the loss sum(dy * forward(x)) for x.
    x, dy : arrays of float64
    eps : float
        The step of central differences.
    tolerance : float
        Each entry of the gradient may differ by this much, and no entry by more.

    Returns
    -------
    bool
    """
    raise NotImplementedError


rng = np.random.default_rng(1986)


class Layer:
    """A function of arrays, made of one of tensors."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.function(minidl.tensor(np.array(x, float))).numpy()


# The Jacobian -------------------------------------------------------------------------------------

Function = Callable[[np.ndarray], np.ndarray]


def _by_backward(f: Layer, x: np.ndarray, eps: float) -> np.ndarray:
    x = x.astype(float)
    size = f(x).size
    rows = [gradients(f.function, row.reshape(f(x).shape), x)[0] for row in np.eye(size)]
    return np.stack([row.ravel() for row in rows])


def _steps(
    f: Function, x: np.ndarray, eps: float, down: float = 1, width: float = 2, back: bool = True
) -> np.ndarray:
    columns = []
    moved = x.astype(float)
    for j in np.ndindex(x.shape):
        old = moved[j]
        moved[j] = old + eps
        above = f(moved)
        moved[j] = old - down * eps
        columns.append((above - f(moved)).ravel() / (width * eps))
        if back:
            moved[j] = old
    return np.stack(columns, 1)


def _keeps_integers(f: Function, x: np.ndarray, eps: float) -> np.ndarray:
    columns = []
    for j in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[j], down[j] = up[j] + eps, down[j] - eps
        columns.append((f(up) - f(down)).ravel() / (2 * eps))
    return np.stack(columns, 1)


def _all_at_once(f: Function, x: np.ndarray, eps: float) -> np.ndarray:
    slope = (f(x + eps) - f(x - eps)).ravel() / (2 * eps)
    return np.repeat(slope[:, None], x.size, 1)


W = rng.standard_normal((3, 4))
SQUARES = Layer(lambda x: x * x)

JACOBIAN = Exercise(
    numerical_jacobian,
    _by_backward,
    {
        "tanh, as many outputs as inputs": (Layer(minidl.tanh), rng.standard_normal(4), 1e-4),
        "a matrix product, 3 outputs of 4 inputs": (
            Layer(lambda x: minidl.tensor(W) @ (x * x)),
            rng.standard_normal(4),
            1e-4,
        ),
        "a softmax over the rows of a matrix": (
            Layer(lambda x: F.softmax(x, dim=1)),
            rng.standard_normal((2, 3)),
            1e-4,
        ),
        "x of integers": (SQUARES, np.array([3, -2, 5]), 1e-4),
    },
    (
        Mistake(
            "one-sided",
            lambda f, x, eps: _steps(f, x, eps, down=0, width=1),
            "your error shrinks with eps, that of central differences with eps²: where does the "
            "second point lie?",
        ),
        Mistake(
            "divided by eps",
            lambda f, x, eps: _steps(f, x, eps, width=1),
            "how far apart are the two points at which you call f?",
        ),
        Mistake(
            "not restored",
            lambda f, x, eps: _steps(f, x, eps, back=False),
            "the first column is right and later ones drift: what is left of one step when the "
            "next input's turn comes?",
        ),
        Mistake(
            "transposed",
            lambda f, x, eps: _steps(f, x, eps).T,
            "your rows are inputs and your columns outputs; a square Jacobian would have hidden it",
        ),
        Mistake(
            "all inputs at once",
            _all_at_once,
            "you step in all inputs together, so every column is the same sum: move one input at "
            "a time",
        ),
        Mistake(
            "keeps integers",
            _keeps_integers,
            "right for floats; for integers think of what an integer array stores when it is "
            "given 3.0001",
            "numpy/numpy#15212",
        ),
        Mistake(
            "float32",
            lambda f, x, eps: _steps(lambda a: f(a.astype(np.float32)).astype(np.float32), x, eps),
            "the digits are those of float32: the difference of close numbers keeps few of them",
        ),
    ),
    tolerance=1e-6,
)

# The relative error -------------------------------------------------------------------------------


def _errors(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    size = np.abs(a) + np.abs(b)
    return np.divide(np.abs(a - b), size, out=np.zeros(a.shape), where=size > 0)


def _no_case_for_zero(a: np.ndarray, b: np.ndarray) -> Any:
    return np.max(np.abs(a - b) / (np.abs(a) + np.abs(b)))


GRADIENT = rng.standard_normal((2, 3))

RELATIVE_ERROR = Exercise(
    relative_error,
    lambda a, b: _errors(a, b).max(),
    {
        "numbers that nearly agree": (GRADIENT, GRADIENT * (1 + 1e-3)),
        "the largest difference is negative": (np.array([1.0, 2.0, 3]), np.array([1.1, 4.0, 2.9])),
        "opposite signs": (np.array([1.0, -2.0]), np.array([1.0, 2.5])),
        "small numbers that disagree, large ones that agree": (
            np.array([1e6, 2e-6]),
            np.array([1e6 + 1, 1e-6]),
        ),
        "zeros in both": (np.array([0.0, 1.0, 0.0]), np.array([0.0, 1.5, 0.0])),
    },
    (
        Mistake(
            "absolute",
            lambda a, b: np.abs(a - b).max(),
            "that is the absolute error: 1 is much for a gradient of 1e-6 and nothing for 1e6",
        ),
        Mistake(
            "mean",
            lambda a, b: _errors(a, b).mean(),
            "the mean lets one wrong entry drown among many right ones",
        ),
        Mistake(
            "0 / 0",
            _no_case_for_zero,
            "two zeros agree, yet 0 / 0 is NaN; after a ReLU or a max-pool most gradients are 0",
        ),
        Mistake(
            "no absolute value",
            lambda a, b: np.max(
                np.divide(a - b, np.abs(a) + np.abs(b), out=np.zeros(a.shape), where=a != b)
            ),
            "a difference of -2 is no smaller than one of 0.1",
        ),
        Mistake(
            "signs cancel below",
            lambda a, b: np.max(
                np.divide(np.abs(a - b), np.abs(a + b), out=np.zeros(a.shape), where=a != b)
            ),
            "where a and b have opposite signs, a + b says little about how large they are",
        ),
        Mistake(
            "of the norms",
            lambda a, b: np.abs(a - b).max() / (np.abs(a) + np.abs(b)).max(),
            "you divide by the largest entry of all: a small entry that is all wrong disappears "
            "behind it",
        ),
    ),
)

# The check ----------------------------------------------------------------------------------------


def _numeric(forward: Function, x: np.ndarray, dy: np.ndarray, eps: float) -> np.ndarray:
    return (dy.ravel() @ _steps(forward, x, eps)).reshape(x.shape)


def _is_right(forward, backward, x, dy, eps, tolerance) -> bool:
    error = np.abs(backward(dy, x) - _numeric(forward, x, dy, eps))
    return bool(np.all(error <= tolerance))


def _check(judge: Callable[..., Any], ones: bool = False) -> Callable[..., Any]:
    def check(forward, backward, x, dy, eps, tolerance):
        dy = np.ones_like(dy) if ones else dy
        return bool(judge(backward(dy, x), _numeric(forward, x, dy, eps), tolerance))

    return check


def _one_sided(forward, backward, x, dy, eps, tolerance):
    slopes = (dy.ravel() @ _steps(forward, x, eps, down=0, width=1)).reshape(x.shape)
    return bool(np.all(np.abs(backward(dy, x) - slopes) <= tolerance))


def _elementwise(forward, backward, x, dy, eps, tolerance):
    slopes = dy * (forward(x + eps) - forward(x - eps)) / (2 * eps)
    return bool(np.all(np.abs(backward(dy, x) - slopes) <= tolerance))


def _tanh(wrong: Callable[[np.ndarray], np.ndarray] = lambda dx: dx) -> Callable[..., Any]:
    return lambda dy, x: wrong(dy * (1 - np.tanh(x) ** 2))


def _last_wrong(dx: np.ndarray) -> np.ndarray:
    return np.where(np.arange(dx.size).reshape(dx.shape) == dx.size - 1, dx + 2e-4, dx)


def _exchanged(dx: np.ndarray) -> np.ndarray:
    dx = dx.copy()
    dx[0] += 0.1
    dx[1] -= 0.1
    return dx


def _hole(dx: np.ndarray) -> np.ndarray:
    return np.where(np.arange(dx.size) == 2, np.nan, dx)


X, DY = rng.standard_normal(6), rng.standard_normal(6)
_REST = (X, DY, 1e-5, 1e-4)


def _matrix(wrong: Callable[[np.ndarray], np.ndarray] = lambda dx: dx) -> tuple[Any, ...]:
    """Return W·x and its backward, with the gradient made wrong."""
    return (lambda x: W @ x), (lambda dy, x: wrong(W.T @ dy)), X[:4], DY[:3], 1e-5, 1e-4


def _steep(wrong: float = 0) -> tuple[Any, ...]:
    """Return 100·x³ and its backward: an error of 1e-3 is small beside the gradient."""
    x = np.array([1.0, -2.0, 3.0, 2.5])
    return (
        lambda x: 100 * x**3,
        lambda dy, x: 300 * x**2 * dy + wrong,
        x,
        DY[:4],
        1e-5,
        1e-4,
    )


BACKWARD_IS_RIGHT = Exercise(
    backward_is_right,
    _is_right,
    {
        "a right backward": (np.tanh, _tanh(), *_REST),
        "a backward that ignores dy": (np.tanh, lambda dy, x: 1 - np.tanh(x) ** 2, *_REST),
        "the last entry is wrong": (np.tanh, _tanh(_last_wrong), *_REST),
        "two errors that cancel in the sum": (np.tanh, _tanh(_exchanged), *_REST),
        "everything is too small": (np.tanh, _tanh(lambda dx: dx - 0.1), *_REST),
        "a NaN in the gradient": (np.tanh, _tanh(_hole), *_REST),
        "a matrix, 3 outputs of 4 inputs": _matrix(),
        "a large gradient": _steep(),
        "a small error of a large gradient": _steep(1e-3),
    },
    (
        Mistake(
            "a loss that is the sum",
            _check(lambda dx, right, tolerance: np.all(np.abs(dx - right) <= tolerance), ones=True),
            "you let a backward pass that ignores dy: if dy is all ones, no one can tell",
            "HomericIntelligence/Odyssey#2018",
        ),
        Mistake(
            "first entry only",
            _check(lambda dx, right, tolerance: abs(dx[0] - right[0]) <= tolerance),
            "you look at one entry; a bug at an edge is in the last",
        ),
        Mistake(
            "sum of the errors",
            _check(lambda dx, right, tolerance: abs((dx - right).sum()) <= tolerance),
            "errors of opposite signs cancel in your sum",
        ),
        Mistake(
            "mean error",
            _check(lambda dx, right, tolerance: np.abs(dx - right).mean() <= tolerance),
            "the mean lets one wrong entry pass: no entry may differ by more",
        ),
        Mistake(
            "no absolute value",
            _check(lambda dx, right, tolerance: np.all(dx - right <= tolerance)),
            "too small a gradient is as wrong as too large a one",
        ),
        Mistake(
            "NaN passes",
            _check(lambda dx, right, tolerance: not np.any(np.abs(dx - right) > tolerance)),
            "every comparison with NaN is false: 'none is too large' is true of NaN, 'each is "
            "small enough' is not",
        ),
        Mistake(
            "relative",
            _check(lambda dx, right, tol: np.all(np.abs(dx - right) <= tol + tol * np.abs(right))),
            "the tolerance is absolute: yours grows with the gradient (as np.allclose's rtol does)",
        ),
        Mistake(
            "one-sided",
            _one_sided,
            "you reject a right backward: a one-sided difference is off by eps times the "
            "curvature, and a steep function shows it",
        ),
        Mistake(
            "one number for one",
            _elementwise,
            "you step in all of x at once, as if each output came from one input alone",
        ),
    ),
)

EXERCISES = (JACOBIAN, RELATIVE_ERROR, BACKWARD_IS_RIGHT)
