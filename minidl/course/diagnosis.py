"""What is telling about a wrong answer: a factor, a transpose, an argument in the wrong place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from .comparison import ChangedInputError, numeric, same

__all__ = ["Finding", "difference", "relations"]


class Finding(NamedTuple):
    """A sentence, and how telling it is: 2, 1 (perhaps by chance), or 0 (the numbers differ)."""

    text: str
    telling: int = 2

    def under(self, name: str) -> Finding:
        """Return the finding as one about a part of the answer."""
        return Finding(f"{name}: {self.text}", self.telling)


def difference(
    got: Any, right: Any, given: Mapping[str, Any], tolerance: float = 1e-9, file: str = ""
) -> Finding:
    """Return the most telling difference between an answer and the right one.

    Parameters
    ----------
    got, right : array, tuple, dict or exception
    given : mapping
        The arguments, by name.
    tolerance : float
        Of the exercise.
    file : str
        Where the reader's function is: errors name a line of it.
    """
    if isinstance(got, Exception) and not isinstance(right, Exception):
        return Finding(_exception(got, file))
    if isinstance(right, Exception):
        return Finding(f"expected {type(right).__name__}, got {_kind(got)}")
    if isinstance(right, tuple):
        return _values(got, right, given, tolerance)
    if isinstance(right, dict):
        return _entries(got, right, given, tolerance)
    if not isinstance(got, np.ndarray) or not numeric(got):
        return Finding(f"the answer is {_kind(got)}; expected an array of shape {right.shape}")
    if got.shape != right.shape:
        turned = got.T.shape == right.shape and got.ndim > 1
        hint = ": is it transposed?" if turned else ""
        return Finding(f"the answer has shape {got.shape}, expected {right.shape}{hint}")
    if got.dtype.kind != right.dtype.kind and "b" in got.dtype.kind + right.dtype.kind:
        return Finding(f"the answer has the dtype {got.dtype}, expected {right.dtype}")
    if right.dtype.kind == "b":
        return _yes_or_no(got, right)
    for test, text in (
        (np.isnan, "NaN: look for 0 / 0, inf - inf, or the logarithm of a negative number"),
        (np.isinf, "infinities: look for an overflow of exp, or a division by 0"),
    ):
        if test(got).any() and not test(right).any():
            return Finding(f"the answer has {text}", telling=1)
    largest = float(np.abs(right.astype(float)).max(initial=0.0))
    if got.dtype in (np.float32, np.float16) and np.allclose(got, right, 0, 1e-2 * largest):
        return Finding(f"the answer is {got.dtype}: compute in the input's dtype, {right.dtype}")
    if got.dtype.kind in "iu" and right.dtype.kind == "f" and (abs(got - right) <= 1).all():
        return Finding(f"the answer is {got.dtype}, which has no digits behind the point")
    numbers = got.astype(float), right.astype(float)
    with np.errstate(all="ignore"):
        if same(*numbers, 1e3 * tolerance):
            cause = "a small number added, or sums in low precision?"
            return Finding(f"only the first digits are right: {cause}", telling=1)
        for text in relations(*numbers, given, tolerance):
            return Finding(text)
        for text in _along(*numbers, tolerance):
            return Finding(text, telling=1)
        return Finding(_worst(got, right, tolerance) + _lines(*numbers), telling=0)


def _values(
    got: Any, right: tuple[Any, ...], given: Mapping[str, Any], tolerance: float
) -> Finding:
    if not isinstance(got, tuple) or len(got) != len(right):
        kind = f"{len(got)} values" if isinstance(got, tuple) else _kind(got)
        return Finding(f"the answer is {kind}; expected {len(right)} values")
    for first in range(len(right)):
        for second in range(first):
            pairs = (first, second), (second, first)
            if all(same(got[a], right[b], tolerance) for a, b in pairs) and not any(
                same(got[a], right[a], tolerance) for a in (first, second)
            ):
                return Finding(f"values {second + 1} and {first + 1} are exchanged")
    place = next(i for i in range(len(right)) if not same(got[i], right[i], tolerance))
    name = f"value {place + 1} of {len(right)}"
    return difference(got[place], right[place], given, tolerance).under(name)


def _entries(
    got: Any, right: dict[Any, Any], given: Mapping[str, Any], tolerance: float
) -> Finding:
    if not isinstance(got, dict):
        return Finding(f"the answer is {_kind(got)}; expected a dict")
    for names, what in ((right.keys() - got, "missing"), (got.keys() - right, "not expected")):
        if names:
            return Finding(f"in the dict, {', '.join(sorted(map(repr, names)))}: {what}")
    wrong = next(key for key in right if not same(got[key], right[key], tolerance))
    numbers = isinstance(got[wrong], np.ndarray) and right[wrong].dtype.kind != "b"
    if numbers and got[wrong].ndim == right[wrong].ndim == 0:
        return Finding(f"entry {wrong!r} is {_pair(got[wrong], right[wrong])}", telling=0)
    return difference(got[wrong], right[wrong], given, tolerance).under(f"entry {wrong!r}")


def _exception(error: Exception, file: str) -> str:
    if isinstance(error, ChangedInputError):
        return f"your function changes its argument {error.args[0]}: work on a copy"
    line, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = f" in line {trace.tb_lineno}"
        trace = trace.tb_next
    return f"{type(error).__name__}{line}: {error}"


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a dict"
    if value is None:
        return "None: does the function end without return?"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, tuple):
        return f"a tuple or list of {len(value)}"
    return f"of type {type(value).__name__}"


def _yes_or_no(got: np.ndarray, right: np.ndarray) -> Finding:
    wrong = got != right
    if not right.ndim:
        return Finding(f"the answer is {got}, expected {right}", telling=0)
    if wrong.all():
        return Finding(f"all {right.size} answers are the opposite of the right ones")
    count = f"{int(wrong.sum())} of {right.size} answers are wrong, {_places(wrong)}"
    index = tuple(map(int, np.argwhere(wrong)[0]))
    text = f"{count}; entry {index} is {got[index]}, expected {right[index]}"
    return Finding(text, telling=0)


def relations(
    got: np.ndarray, right: np.ndarray, given: Mapping[str, Any], tolerance: float
) -> Iterator[str]:
    """Yield how all of a wrong answer relates to the right one, or to an argument."""
    smallest = tolerance * np.abs(right).max(initial=1e-300)

    def close(a: Any, b: Any) -> bool:
        return bool(np.allclose(a, b, rtol=tolerance, atol=smallest))

    if not got.size:
        return
    if not got.any():
        yield "all of the answer is 0"
    significant = np.count_nonzero(np.abs(right) > 1e3 * smallest)
    if got.any() and (significant > 1 or (right.any() and got.size == 1)):
        peak = np.unravel_index(np.abs(right).argmax(), right.shape)
        factor = float(got[peak] / right[peak])
        cause = "the sign is wrong" if abs(factor + 1) < 1e-6 else _factor(factor, given)
        if (got.size > 1 or "sign" in cause or "here" in cause) and close(got, factor * right):
            yield f"the answer is {factor:.6g} times the right one: {cause}"
    offset = float((got - right).flat[0])
    if got.size > 1 and offset and close(got, right + offset):
        yield f"every number is too large by {offset:.6g}: a constant is added or missing"
    yield from _arguments(got, right, given, close)
    if close(np.abs(got), np.abs(right)):
        yield "the numbers are right but for the sign of some"
    if close(got, right**2):
        yield "the answer is the square of the right one"
    if close(got**2, right):
        yield "the answer is the square root of the right one"
    yield from _moved(got, right, close)


def _arguments(
    got: np.ndarray, right: np.ndarray, given: Mapping[str, Any], close: Callable[..., bool]
) -> Iterator[str]:
    """Yield how an argument makes the difference: as a factor, or as a term."""
    for name, value in given.items():
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.size < 2:
            continue
        try:
            if np.broadcast_shapes(value.shape, right.shape) != right.shape:
                continue
        except ValueError:
            continue
        if close(got, value):
            yield f"the answer is {name}, as it was given"
        elif np.ptp(value) and close(got * value, right):
            yield f"a factor is missing: {name}"
        elif np.ptp(value) and close(got, right * value):
            yield f"there is a factor too much: {name}"
        elif value.any():
            top = np.unravel_index(np.abs(value).argmax(), value.shape)
            missing = np.broadcast_to(value, right.shape)
            place = np.unravel_index(np.abs(missing).argmax(), right.shape)
            times = float((got - right)[place] / value[top])
            if abs(times) > 1e-6 and close(got - right, times * missing):
                side = "large" if times > 0 else "small"
                yield f"every number is too {side} by {abs(times):.6g} times {name}"


def _moved(got: np.ndarray, right: np.ndarray, close: Callable[..., bool]) -> Iterator[str]:
    """Yield where the right numbers have gone."""
    for axis in range(got.ndim):
        for step in (-1, 1):
            if right.shape[axis] > 1 and close(got, np.roll(right, step, axis)):
                yield f"the numbers are right, but shifted by one along axis {axis}"
        if right.shape[axis] > 1 and close(got, np.flip(right, axis)):
            yield f"the numbers are right, but in reverse order along axis {axis}"
    if got.ndim > 1 and min(got.shape[-2:]) > 1 and close(got, np.flip(right, (-2, -1))):
        yield "the numbers are right, but turned by 180° in the last two axes"
    for first in range(got.ndim):
        for second in range(first + 1, got.ndim):
            turned = right.swapaxes(first, second)
            if turned.shape == got.shape and close(got, turned):
                yield f"axes {first} and {second} are exchanged"
    if got.ndim and close(np.sort(got, axis=None), np.sort(right, axis=None)):
        yield "these are the right numbers in wrong places: check the indices or a reshape"


def _along(got: np.ndarray, right: np.ndarray, tolerance: float) -> Iterator[str]:
    """Yield what wrong numbers, or those along an axis, have in common."""
    smallest = tolerance * np.abs(right).max(initial=1e-300)

    def close(a: Any, b: Any) -> bool:
        return bool(np.allclose(a, b, rtol=tolerance, atol=smallest))

    wrong = np.abs(got - right) > smallest
    if got.ndim and 0 < wrong.mean() < 0.5 and not got[wrong].any():
        yield f"{int(wrong.sum())} of {got.size} numbers are still 0, {_places(wrong)}"
    for axis in range(got.ndim):
        if got.shape[axis] < 2:
            continue
        error = got - right
        if close(got, got.take([0], axis)) and not close(right, right.take([0], axis)):
            yield f"the answer is the same all along axis {axis}; the right one differs there"
        if close(got, right.cumsum(axis)):
            yield f"running sums along axis {axis}: is something not set to 0 again?"
        if close(error, error.take([0], axis)):
            yield (
                f"the error is the same all along axis {axis}: a term that this axis does not "
                f"change, such as a bias, is missing or wrong"
            )


def _lines(got: np.ndarray, right: np.ndarray) -> str:
    """Return along which axis each line is a multiple of the right one."""
    for axis in range(got.ndim if got.ndim > 1 else 0):
        factors = (got * right).sum(axis, keepdims=True) / (right**2).sum(axis, keepdims=True)
        enough = ((right != 0).sum(axis) > 2).any()
        if enough and factors.all() and np.allclose(got, factors * right, rtol=1e-9):
            shown = f"{factors.flat[0]:.4g}, {factors.flat[-1]:.4g}, ..."
            return f"; each line along axis {axis} is a multiple of the right one, by {shown}"
    return ""


def _factor(factor: float, given: Mapping[str, Any]) -> str:
    size = abs(factor)
    for power, text in (
        (1, "{} times too much"),
        (-1, "too small by {}"),
        (2, "too large by the root of {}"),
        (-2, "too small by the root of {}"),
    ):
        number = size**power if 1e-4 < size < 1e4 else 0.0
        if abs(number - round(number)) < 1e-6 and 1 < round(number) < 10_000:
            return text.format(round(number)) + _length(round(number), given)
    return "a constant factor is missing or applied twice"


def _length(number: int, given: Mapping[str, Any]) -> str:
    """Return what has a length of that size among the arguments."""
    found = []
    for name, value in given.items():
        if isinstance(value, np.ndarray):
            found += [f"axis {a} of {name}" for a, n in enumerate(value.shape) if n == number]
            found += [f"the size of {name}"] if value.size == number and value.ndim > 1 else []
        elif isinstance(value, int) and not isinstance(value, bool):
            found += [name] if value == number else []
            found += [f"{name}²"] if value**2 == number and value > 1 else []
    return f" (of that length here: {', '.join(found[:4])})" if found else ""


def _places(wrong: np.ndarray) -> str:
    """Return where the wrong numbers lie, if an axis tells it."""
    for axis in range(wrong.ndim):
        others = tuple(a for a in range(wrong.ndim) if a != axis)
        places = np.flatnonzero(wrong.any(axis=others))
        if len(places) < wrong.shape[axis]:
            shown = ", ".join(map(str, places[:4])) + (", ..." if len(places) > 4 else "")
            return f"all at index {shown} of axis {axis}"
    return "spread over all axes"


def _pair(got: Any, right: Any) -> str:
    """Return two numbers with as many digits as it takes to see that they differ."""
    for digits in (6, 12, 17):
        mine, theirs = f"{got:.{digits}g}", f"{right:.{digits}g}"
        if mine != theirs:
            break
    return f"{mine}, expected {theirs}"


def _worst(got: np.ndarray, right: np.ndarray, tolerance: float) -> str:
    error = np.abs(got.astype(float) - right.astype(float))
    worst = np.unravel_index(error.argmax(), error.shape)
    index = f"entry {tuple(map(int, worst))}" if right.ndim else "the answer"
    wrong = error > tolerance * np.abs(right.astype(float)).max()
    share = f"; {int(wrong.sum())} of {right.size} numbers are wrong, {_places(wrong)}"
    share = share if right.size > 1 else ""
    return f"{index} is {_pair(got[worst], right[worst])}{share}"
