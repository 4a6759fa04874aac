"""Clues from experiments: an argument is moved or doubled, and two functions are compared.

The right answer says what must change. "Your answer ignores dy at index 2 of axis 0" leads further
than a wrong number does, and is true of any code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .comparison import same
from .diagnosis import relations

__all__ = ["clue"]

Call = Callable[[dict[str, Any]], Any]
SLICES = 60  # experiments with parts of arguments
NUMBERS = 64  # an argument that is not larger is moved number by number


def clue(given: Mapping[str, Any], mine: Call, right: Call) -> str:
    """Return in what a wrong function depends on its arguments otherwise than the right one.

    Parameters
    ----------
    given : mapping
        Arguments by name. Arrays of floats are moved.
    mine, right : callable
        Take such a mapping, and return an array or a tuple of arrays.

    Returns
    -------
    str
        Empty if nothing was found.
    """
    pair = _Pair(mine, right, dict(given))
    names = [
        name
        for name, value in given.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and value.size > 1
    ]
    if pair.comparable:
        with np.errstate(all="ignore"):
            for experiment in (_wholes, _doubled, _shifted, _slices, _factors):
                for text in experiment(pair, names):
                    return text
    return ""


class _Pair:
    """Two functions, and how a change of the arguments changes their answers."""

    def __init__(self, mine: Call, right: Call, given: dict[str, Any]) -> None:
        self.functions, self.given, self.value = (mine, right), given, 0
        answers = [_tuple(function(given)) for function in self.functions]
        self.comparable = len(answers[0]) == len(answers[1]) and all(
            isinstance(a, np.ndarray) and a.shape == b.shape and b.dtype.kind == "f"
            for a, b in zip(*answers, strict=True)
        )
        if self.comparable:
            pairs = enumerate(zip(*answers, strict=True))
            self.value = next((i for i, (a, b) in pairs if not same(a, b, 1e-9)), 0)
            self.before = [answer[self.value].astype(float) for answer in answers]

    def after(self, name: str, value: np.ndarray) -> list[np.ndarray] | None:
        """Return both answers with another value of an argument."""
        try:
            answers = [_tuple(each({**self.given, name: value})) for each in self.functions]
            found = [np.asarray(answer[self.value]).astype(float) for answer in answers]
        except (TypeError, ValueError, IndexError, ArithmeticError):
            return None
        fine = all(a.shape == b.shape for a, b in zip(found, self.before, strict=True))
        return found if fine else None

    def changed(self, name: str, value: np.ndarray) -> list[np.ndarray] | None:
        """Return which numbers of both answers change."""
        found = self.after(name, value)
        if found is None:
            return None
        limits = [1e-12 * np.abs(before).max(initial=0.0) for before in self.before]
        return [
            ~(np.abs(a - b) <= limit)
            for a, b, limit in zip(found, self.before, limits, strict=True)
        ]


def _tuple(answer: Any) -> tuple[Any, ...]:
    return answer if isinstance(answer, tuple) else (answer,)


def _moved(value: np.ndarray) -> np.ndarray:
    """Return an array a little away, by amounts that differ."""
    amounts = np.random.default_rng(0).uniform(0.5, 1, value.shape)
    return value + 0.05 * (np.abs(value).mean() or 1.0) * amounts


def _wholes(pair: _Pair, names: list[str]) -> Iterator[str]:
    for name in names:
        found = pair.changed(name, _moved(pair.given[name]))
        if found and found[1].any() and not found[0].any():
            yield f"The answer must depend on {name}; yours does not."


def _doubled(pair: _Pair, names: list[str]) -> Iterator[str]:
    for name in names:
        found = pair.after(name, 2 * pair.given[name])
        if not found:
            continue
        (mine, right), (mine_before, right_before) = found, pair.before
        for times, must in ((2, "be twice as large, too"), (1, "stay the same")):
            if same(right, times * right_before, 1e-9) and right.any():
                if not same(mine, times * mine_before, 1e-9):
                    four = same(mine, 4 * mine_before, 1e-9)
                    yours = "is 4 times as large" if four else "is not"
                    yours = "does not" if times == 1 else yours
                    yield f"With {name} twice as large the answer must {must}; yours {yours}."
                break


def _shifted(pair: _Pair, names: list[str]) -> Iterator[str]:
    for name in names:
        found = pair.after(name, pair.given[name] + 10)
        if not found or not same(found[1], pair.before[1], 1e-9):
            continue
        if not same(found[0], pair.before[0], 1e-9):
            yield f"With 10 added to all of {name} the answer must stay the same; yours does not."


def _slices(pair: _Pair, names: list[str]) -> Iterator[str]:
    """Move one index of one axis at a time."""
    others = ""
    left = SLICES
    for name in names:
        value = pair.given[name]
        moved = _moved(value)
        for axis in range(value.ndim):
            ignored, left = [], left - value.shape[axis]
            if value.shape[axis] < 2 or left < 0:
                continue
            for index in range(value.shape[axis]):
                here = (slice(None),) * axis + (index,)
                part = value.copy()
                part[here] = moved[here]
                found = pair.changed(name, part)
                if not found or np.array_equal(found[0], found[1]):
                    continue
                if found[1].any() and not found[0].any():
                    ignored.append(str(index))
                elif not others:
                    others = _entry(f"{name} at index {index} of axis {axis}", *found)
            if ignored:
                yield f"Your answer ignores {name} at index {', '.join(ignored)} of axis {axis}."
    if others:
        yield others


def _factors(pair: _Pair, names: list[str]) -> Iterator[str]:
    """For an argument that both answers are linear in: compare the numbers that multiply it."""
    wrong = np.abs(pair.before[0] - pair.before[1])
    entry = np.unravel_index(wrong.argmax(), wrong.shape)
    for name in names:
        value = pair.given[name]
        twice = pair.after(name, 2 * value)
        if value.size > NUMBERS or not twice:
            continue
        if not all(same(a, 2 * b, 1e-9) for a, b in zip(twice, pair.before, strict=True)):
            continue
        factors = np.zeros((2, *value.shape))
        for place in np.ndindex(value.shape):
            part = value.copy()
            part[place] += 1
            found = pair.after(name, part)
            if not found:
                return
            for which, after in enumerate(found):
                factors[which][place] = after[entry] - pair.before[which][entry]
        if not same(factors[0], factors[1], 1e-9):
            for text in relations(factors[0], factors[1], pair.given, 1e-9):
                where = f" in entry {tuple(map(int, entry))}" if entry else ""
                text = text.replace("the answer is", "they are").replace(
                    "right one:", "right ones:"
                )
                yield f"Compare the factors that {name} gets{where}: {text}."


def _entry(what: str, mine: np.ndarray, right: np.ndarray) -> str:
    """Return the first number of the answer that a change must reach or must not."""
    if not mine.ndim:
        return ""
    for wrong, text in (
        (mine & ~right, "{} must not change entry {} of the answer; yours changes."),
        (right & ~mine, "{} must change entry {} of the answer; yours stays."),
    ):
        if wrong.any():
            entry = tuple(map(int, np.argwhere(wrong)[0]))
            return text.format(what, entry)
    return ""
