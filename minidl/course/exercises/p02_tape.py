"""The tape: the order of the walk, and gradients of values that were used more than once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minidl

from ..judging import Exercise, Mistake
from .library import gradients


def backward(graph, output):
    """Return the derivative of the output for everything that it was computed from.

    Parameters
    ----------
    graph : dict of str to list of pairs
        For each value, the values that it was computed from, and its derivative for each:
        ``{"b": [("a", 3.0)]}`` says that b was computed from a, and db/da = 3. A value that was
        used twice is listed twice: b = a * a at a = 3 is ``{"b": [("a", 3.0), ("a", 3.0)]}``.
        The entries are in no particular order; values without an entry were given.
    output : str
        Its own derivative is 1.

    Returns
    -------
    dict of str to float
        The derivative of the output for itself and for all values that it depends on, and no
        others.
    """
    raise NotImplementedError


def unbroadcast(gradient, shape):
    """Return the gradient of an array that was broadcast.

    Parameters
    ----------
    gradient : array
        The gradient with respect to the broadcast array.
    shape : tuple of int
        The array's shape before: NumPy has put axes of length 1 in front, and has repeated axes
        of length 1.

    Returns
    -------
    array of the given shape
    """
    raise NotImplementedError


def multiply_backward(dy, a, b):
    """Return the gradients of both factors of a * b.

    Parameters
    ----------
    dy : array
        The gradient with respect to a * b.
    a, b : arrays
        Their shapes may differ: NumPy broadcasts them.

    Returns
    -------
    tuple of two arrays
        The gradients with respect to a and b, each in the shape of its factor.
    """
    raise NotImplementedError


rng = np.random.default_rng(1974)
Graph = dict[str, list[tuple[str, float]]]


# The walk -----------------------------------------------------------------------------------------


def _by_tensors(graph: Graph, output: str) -> dict[str, float]:
    """Compute the graph with tensors (each value is a sum of its inputs, times the slopes)."""
    made: dict[str, minidl.Tensor] = {}

    def make(name: str) -> minidl.Tensor:
        if name not in made:
            made[name] = minidl.tensor(1.0, dtype=minidl.float64, requires_grad=True)
            for place, (used, slope) in enumerate(graph.get(name, ())):
                term = make(used) * slope
                made[name] = term if place == 0 else made[name] + term
            made[name].retain_grad()
        return made[name]

    make(output).backward()
    return {name: value.grad.item() for name, value in made.items() if value.grad is not None}


def _order(graph: Graph, output: str) -> list[str]:
    """Return the names from the output on, each before all that it was computed from."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for used, _ in graph.get(name, ()):
                visit(used)
            order.append(name)

    visit(output)
    return order[::-1]


def _walk(
    order: Callable[[Graph, str], list[str]] = _order, add: bool = True, once: bool = False
) -> Callable[..., Any]:
    def backward(graph: Graph, output: str) -> dict[str, float]:
        found = dict.fromkeys(_order(graph, output), 0.0)
        found[output] = 1.0
        for name in order(graph, output):
            used = graph.get(name, ())
            for other, slope in dict(used).items() if once else used:
                found[other] = (found[other] if add else 0) + found[name] * slope
        return found

    return backward


def _breadth_first(graph: Graph, output: str) -> list[str]:
    order = [output]
    for name in order:
        order += [u for u, _ in dict(graph.get(name, ())).items() if u not in order]
    return order


def _depth_first(graph: Graph, output: str) -> list[str]:
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            order.append(name)
            for used, _ in graph.get(name, ()):
                visit(used)

    visit(output)
    return order


def _recursion(graph: Graph, output: str) -> dict[str, float]:
    """Pass on all that has arrived so far, at every visit."""
    found = dict.fromkeys(_order(graph, output), 0.0)
    found[output] = 1.0

    def visit(name: str) -> None:
        for used, slope in graph.get(name, ()):
            found[used] += found[name] * slope
        for used in dict.fromkeys(used for used, _ in graph.get(name, ())):
            visit(used)

    visit(output)
    return found


def _listed(graph: Graph, output: str) -> list[str]:
    reached = _order(graph, output)
    return [name for name in reversed(list(graph)) if name in reached]


def _everything(graph: Graph, output: str) -> dict[str, float]:
    others = [*graph, *(used for pairs in graph.values() for used, _ in pairs)]
    return {**dict.fromkeys(others, 0.0), **_walk()(graph, output)}


BACKWARD = Exercise(
    backward,
    _by_tensors,
    {
        "a chain": ({"d": [("c", 2.0)], "c": [("b", 3.0)], "b": [("a", 5.0)]}, "d"),
        "b = a + a": ({"b": [("a", 1.0), ("a", 1.0)]}, "b"),
        "two ways of the same length": (
            {
                "a": [("x", 11.0)],
                "b": [("a", 2.0)],
                "c": [("a", 3.0)],
                "d": [("b", 5.0), ("c", 7.0)],
            },
            "d",
        ),
        "a sum that is used again": (
            {
                "b": [("a", 2.0)],
                "c": [("a", 3.0), ("b", 4.0)],
                "d": [("c", 5.0), ("b", 6.0)],
                "e": [("d", 7.0)],
            },
            "e",
        ),
        "a short way and a long one": (
            {
                "e": [("a", 2.0), ("d", 3.0)],
                "a": [("x", 11.0)],
                "d": [("c", 5.0)],
                "c": [("a", 7.0)],
            },
            "e",
        ),
        "values that the output does not need": (
            {"b": [("a", 2.0)], "c": [("b", 3.0)], "d": [("b", 5.0), ("z", 1.0)]},
            "c",
        ),
    },
    (
        Mistake(
            "overwrites",
            _walk(add=False),
            "a value that is used in two places gets a gradient from each: what becomes of the "
            "first when the second arrives?",
            "karpathy/nn-zero-to-hero#52",
        ),
        Mistake(
            "recursion without order",
            _recursion,
            "some values pass on their gradient more than once, and what came first is counted "
            "again: a value may pass on its gradient only when all of it has arrived",
            "karpathy/micrograd#64",
        ),
        Mistake(
            "each value once, on the first visit",
            _walk(_depth_first),
            "you visit each value once, but some too early: another path still brings them "
            "gradient after they have passed theirs on",
            "lucasdelimanogueira/PyNorch#90",
        ),
        Mistake(
            "breadth first",
            _walk(_breadth_first),
            "you go by the distance from the output; a value reached by a short way and by a long "
            "one passes on its gradient before the long way has arrived",
        ),
        Mistake(
            "the dictionary's order",
            _walk(_listed),
            "you rely on the order of the entries in graph; they may come in any",
        ),
        Mistake(
            "repeated inputs once",
            _walk(once=True),
            "b = a + a uses a twice: a set or a dict of the inputs keeps it once",
        ),
        Mistake(
            "values that were not needed",
            _everything,
            "you return derivatives for values on which the output does not depend",
        ),
    ),
)

# Broadcasting -------------------------------------------------------------------------------------


def _by_adding(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Let the library broadcast an array of that shape to the gradient's, and go back."""
    return gradients(
        lambda a: a + minidl.zeros(gradient.shape, dtype=minidl.float64), gradient, np.zeros(shape)
    )[0]


def _summed(gradient: np.ndarray, shape: tuple[int, ...], reduce: Any = np.sum) -> np.ndarray:
    extra = gradient.ndim - len(shape)
    axes = (*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1))
    return reduce(gradient, axis=axes, keepdims=True).reshape(shape)


def _first(gradient: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    return gradient[tuple(slice(0, 1) if i in axis else slice(None) for i in range(gradient.ndim))]


def _leading_axes(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return gradient.sum(tuple(range(gradient.ndim - len(shape))))


def _length_one(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    extra = gradient.ndim - len(shape)
    return gradient.sum(tuple(extra + i for i, n in enumerate(shape) if n == 1), keepdims=True)


def _from_the_left(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and i < gradient.ndim)
    extra = tuple(range(len(shape), gradient.ndim))
    return gradient.sum(axes, keepdims=True).sum(extra)


def _drops_axes(gradient: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    extra = gradient.ndim - len(shape)
    return gradient.sum((*range(extra), *(extra + i for i, n in enumerate(shape) if n == 1)))


UNBROADCAST = Exercise(
    unbroadcast,
    _by_adding,
    {
        "the same shape": (rng.standard_normal((3, 4)), (3, 4)),
        "(4,) to (3, 4): a bias": (rng.standard_normal((3, 4)), (4,)),
        "(3, 1) to (3, 4)": (rng.standard_normal((3, 4)), (3, 1)),
        "(1, 4) to (2, 4)": (rng.standard_normal((2, 4)), (1, 4)),
        "() to (2, 3): a number": (rng.standard_normal((2, 3)), ()),
        "(3, 1) to (2, 3, 3)": (rng.standard_normal((2, 3, 3)), (3, 1)),
        "(1, 5) to (1, 5): nothing was repeated": (rng.standard_normal((1, 5)), (1, 5)),
    },
    (
        Mistake(
            "returned as it is",
            lambda gradient, shape: gradient,
            "an array that was repeated gets a gradient from each of its copies: yours still has "
            "the shape after broadcasting",
            "deeplearning4j/nd4j#2424",
        ),
        Mistake(
            "leading axes only",
            _leading_axes,
            "the axes in front are summed; an axis of length 1 that was repeated is not",
            "pytorch/pytorch#1787",
        ),
        Mistake(
            "axes of length 1 only",
            _length_one,
            "the repeated axes of length 1 are summed; the axes that NumPy put in front are not",
        ),
        Mistake(
            "counted from the left",
            _from_the_left,
            "NumPy lines shapes up at their last axes, so that new ones come in front: your axes "
            "are counted from the first",
            "HomericIntelligence/Odyssey#2080",
        ),
        Mistake(
            "axes dropped",
            _drops_axes,
            "the numbers are right, but axes of length 1 are gone: the answer must have the shape "
            "before broadcasting",
        ),
        Mistake(
            "mean",
            lambda gradient, shape: _summed(gradient, shape, np.mean),
            "you take the mean over the copies: if the array grows by a little, all of its copies "
            "grow by that much",
        ),
        Mistake(
            "one copy",
            lambda gradient, shape: _summed(gradient, shape, _first),
            "you take the gradient of one copy; each of them moves the loss",
        ),
    ),
)

# A product ----------------------------------------------------------------------------------------


def _by_multiplying(dy: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    return gradients(lambda a, b: a * b, dy, a, b)


MULTIPLY = Exercise(
    multiply_backward,
    _by_multiplying,
    {
        "equal shapes": tuple(rng.standard_normal((3, 2, 3))),
        "(2, 3) times (3,)": tuple(map(rng.standard_normal, ((2, 3), (2, 3), (3,)))),
        "(2, 1) times (1, 3)": tuple(map(rng.standard_normal, ((2, 3), (2, 1), (1, 3)))),
        "a zero among the factors": (
            rng.standard_normal(3),
            np.array([1.0, 0, 2]),
            np.array([0.0, 3, 5]),
        ),
    },
    (
        Mistake(
            "own factor",
            lambda dy, a, b: (_summed(dy * a, a.shape), _summed(dy * b, b.shape)),
            "each gradient is multiplied by its own factor: which number does a small step in a "
            "get multiplied by?",
        ),
        Mistake(
            "ignores dy",
            lambda dy, a, b: (_summed(b + 0 * dy, a.shape), _summed(a + 0 * dy, b.shape)),
            "these are the slopes of the product alone: the chain rule multiplies them by what "
            "comes in",
        ),
        Mistake(
            "rule of a sum",
            lambda dy, a, b: (_summed(dy, a.shape), _summed(dy, b.shape)),
            "that is the gradient of a + b",
        ),
        Mistake(
            "not summed",
            lambda dy, a, b: (dy * b, dy * a),
            "right where the shapes are equal; where a factor was broadcast, the gradients of its "
            "copies are not added up",
            "tenstorrent/tt-metal#40008",
        ),
        Mistake(
            "by division",
            lambda dy, a, b: (_summed(dy * a * b / a, a.shape), _summed(dy * a * b / b, b.shape)),
            "you divide the product by a factor: what if that factor is 0?",
        ),
        Mistake(
            "summed before multiplying",
            lambda dy, a, b: (
                _summed(dy, a.shape) * _summed(b + 0 * dy, a.shape),
                _summed(dy, b.shape) * _summed(a + 0 * dy, b.shape),
            ),
            "you add up before multiplying: each copy has a factor of its own, so that the sum of "
            "products is not the product of sums",
        ),
    ),
)

EXERCISES = (BACKWARD, UNBROADCAST, MULTIPLY)
