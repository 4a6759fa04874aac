"""The judge: runs a reader's function on probes and says what is wrong with it.

An :class:`Exercise` has a stub to fill in, a reference (the library), probes, and the mistakes that
people really make. If a reader's answers equal a mistake's on all probes, the judge prints that
mistake's hint, however the reader's code looks. Otherwise it looks for something telling: a
constant factor, a transpose, a shift, an input that was changed, what the failing probes share.
"""

from __future__ import annotations

import contextlib
import inspect
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import FrameType
from typing import Any

import numpy as np

__all__ = ["Exercise", "Mistake", "Verdict", "judge"]

SECONDS = 20  # for all probes of an exercise


@dataclass(frozen=True)
class Mistake:
    """A wrong way to solve an exercise.

    Attributes
    ----------
    name : str
    function : callable
        Takes the exercise's arguments.
    hint : str
        Leads to the cause without giving the solution away.
    seen_in : str
        Where people made it in public, such as "owner/repository#12".
    """

    name: str
    function: Callable[..., Any]
    hint: str
    seen_in: str = ""


@dataclass(frozen=True, eq=False)
class Exercise:
    """A function to write.

    Attributes
    ----------
    stub : callable
        What the reader gets: signature, docstring, ``raise NotImplementedError``.
    reference : callable
        The library's answer, with the same arguments.
    probes : mapping of str to tuple, or to a callable that returns one
        Arguments, by a phrase that says what they test. Arrays are copied for each call; a
        callable makes arguments that can't be copied.
    mistakes : tuple of Mistake
        No two answer all probes alike.
    run : callable
        ``run(function, *arguments)`` returns arrays or numbers to compare. Default: a call.
    tolerance : float
        Relative to an answer's largest value.
    """

    stub: Callable[..., Any]
    reference: Callable[..., Any]
    probes: Mapping[str, Any]
    mistakes: tuple[Mistake, ...]
    run: Callable[..., Any] = field(default=lambda function, *arguments: function(*arguments))
    tolerance: float = 1e-9

    @property
    def name(self) -> str:
        """The name of the function."""
        return self.stub.__name__

    @property
    def task(self) -> str:
        """The first line of the stub's docstring."""
        return (inspect.getdoc(self.stub) or "").partition("\n")[0]


@dataclass(frozen=True)
class Verdict:
    """What the judge says.

    Attributes
    ----------
    exercise : str
    passed : bool
    message : str
    mistake : str or None
        The name of the mistake that was recognized.
    """

    exercise: str
    passed: bool
    message: str
    mistake: str | None = None


class TooSlowError(Exception):
    """The time limit is over."""


def judge(exercise: Exercise, function: Callable[..., Any]) -> Verdict:
    """Run a function on the exercise's probes.

    Parameters
    ----------
    exercise : Exercise
    function : callable

    Returns
    -------
    Verdict
    """
    right = known(exercise, exercise.reference)
    try:
        with _time_limit(SECONDS):
            got = answers(exercise, function)
    except NotImplementedError:
        return Verdict(exercise.name, False, "not written yet: replace the stub's last line")
    except TooSlowError:
        return Verdict(exercise.name, False, f"no answer after {SECONDS} s: is a loop endless?")
    failed = [probe for probe in right if not same(got[probe], right[probe], exercise.tolerance)]
    if not failed:
        return Verdict(exercise.name, True, f"right on all {len(right)} probes")
    for mistake in exercise.mistakes:
        theirs = known(exercise, mistake.function)
        if all(same(got[probe], theirs[probe], exercise.tolerance) for probe in right):
            message = f"{mistake.hint} ({_where(failed, right)})"
            return Verdict(exercise.name, False, message, mistake.name)
    message = (
        f"{_difference(got[failed[0]], right[failed[0]], failed[0])} ({_where(failed, right)})"
    )
    return Verdict(exercise.name, False, message)


def answers(exercise: Exercise, function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's answer to each probe: an array, a tuple of arrays, or its exception.

    Raises
    ------
    NotImplementedError, TooSlowError
        From the function.
    """
    found: dict[str, Any] = {}
    for probe, arguments in exercise.probes.items():
        given = arguments() if callable(arguments) else tuple(map(_copy, arguments))
        before = tuple(map(_copy, given))
        try:
            with warnings.catch_warnings():  # the answer tells
                warnings.simplefilter("ignore")
                found[probe] = _plain(exercise.run(function, *given))
        except (NotImplementedError, TooSlowError):
            raise
        except Exception as error:
            found[probe] = error
        changed = [
            name
            for name, old, new in zip(inspect.signature(exercise.stub).parameters, before, given,
                                      strict=False)
            if isinstance(old, np.ndarray) and not np.array_equal(old, new, equal_nan=True)
        ]  # fmt: skip
        if changed and not isinstance(found[probe], Exception):
            found[probe] = ChangedInputError(changed[0])
    return found


@cache
def known(exercise: Exercise, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the answers of the reference or of a mistake, which don't change."""
    return answers(exercise, function)


class ChangedInputError(Exception):
    """The function wrote into an array that it was given."""


def same(a: Any, b: Any, tolerance: float) -> bool:
    """Return whether two answers are equal: in kind, shape and values."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], tolerance) for key in b)
    if isinstance(a, Exception) or isinstance(b, Exception):
        return type(a) is type(b) and (not isinstance(a, ChangedInputError) or a.args == b.args)
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray) or a.shape != b.shape:
        return False
    if not _numeric(a) or not _numeric(b):
        return bool(np.array_equal(a, b))
    largest = float(np.max(np.abs(b), initial=0.0, where=np.isfinite(b)))
    with np.errstate(all="ignore"):
        return bool(np.allclose(a, b, rtol=0, atol=tolerance * largest, equal_nan=True))


def _numeric(array: np.ndarray) -> bool:
    return array.dtype.kind in "fiub"


def _copy(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _plain(value: Any) -> Any:
    """Return an answer as an array, or a tuple or dict of them; anything else as it is."""
    if isinstance(value, (tuple, list)) and any(isinstance(part, np.ndarray) for part in value):
        return tuple(map(_plain, value))
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if hasattr(value, "detach"):
        value = value.detach().numpy()
    if isinstance(value, (np.ndarray, np.generic, float, int, list)):
        array = np.asarray(value)
        return array if array.dtype.kind in "fiubU" else value
    return value


def _where(failed: list[str], right: Mapping[str, Any]) -> str:
    """Return which probes failed, and which did not."""
    fine = [probe for probe in right if probe not in failed]
    text = f"wrong on: {'; '.join(failed)}"
    return text + (f". Right on: {'; '.join(fine)}" if fine else "")


def _difference(got: Any, right: Any, probe: str) -> str:
    """Return the most telling difference between an answer and the right one."""
    if isinstance(right, tuple):
        if not isinstance(got, tuple) or len(got) != len(right):
            kind = f"{len(got)} values" if isinstance(got, tuple) else _kind(got)
            return _exception(got) or f"the answer is {kind}; expected {len(right)} values"
        for place, (mine, theirs) in enumerate(zip(got, right, strict=True), 1):
            if not same(mine, theirs, 1e-9):
                return f"value {place} of {len(right)}: {_difference(mine, theirs, probe)}"
    if isinstance(right, dict):
        return _exception(got) or _entries(got, right, probe)
    if isinstance(right, Exception):
        return f"expected {type(right).__name__} for the probe '{probe}', got {_kind(got)}"
    if said := _exception(got):
        return said
    if not isinstance(got, np.ndarray) or not _numeric(got):
        return f"the answer is {_kind(got)}; expected an array of shape {right.shape}"
    if got.shape != right.shape:
        turned = got.T.shape == right.shape and got.ndim > 1
        hint = ": is it transposed?" if turned else ""
        return f"the answer has shape {got.shape}, expected {right.shape}{hint}"
    if right.dtype.kind == "b":
        wrong = got != right
        if not right.ndim:
            return f"the answer is {got}, expected {right}"
        count = f"{int(wrong.sum())} of {right.size} answers are wrong, {_places(wrong)}"
        index = tuple(map(int, np.argwhere(wrong)[0]))
        return f"{count}; entry {index} is {got[index]}, expected {right[index]}"
    if np.isnan(got).any() and not np.isnan(right).any():
        return (
            "the answer has NaN: look for 0 / 0, inf - inf, or the logarithm of a negative number"
        )
    if np.isinf(got).any() and not np.isinf(right).any():
        return "the answer has infinities: look for an overflow of exp, or a division by 0"
    largest = float(np.abs(right.astype(float)).max(initial=0.0))
    if got.dtype in (np.float32, np.float16) and np.allclose(got, right, 0, 1e-2 * largest):
        return f"the answer is {got.dtype}: compute in the input's dtype, {right.dtype}"
    return _relation(got.astype(float), right.astype(float)) or _worst(got, right)


def _entries(got: Any, right: dict[Any, Any], probe: str) -> str:
    if not isinstance(got, dict):
        return f"the answer is {_kind(got)}; expected a dict"
    for names, what in ((right.keys() - got, "missing"), (got.keys() - right, "not expected")):
        if names:
            return f"in the dict, {', '.join(sorted(map(repr, names)))}: {what}"
    wrong = next(key for key in right if not same(got[key], right[key], 1e-9))
    if isinstance(got[wrong], np.ndarray) and got[wrong].ndim == right[wrong].ndim == 0:
        return f"entry {wrong!r} is {got[wrong]:.6g}, expected {right[wrong]:.6g}"
    return f"entry {wrong!r}: {_difference(got[wrong], right[wrong], probe)}"


def _exception(got: Any) -> str:
    if isinstance(got, ChangedInputError):
        return f"your function changes its argument {got.args[0]}: work on a copy"
    if isinstance(got, Exception):
        line = ""
        trace = got.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
            if "minidl" not in trace.tb_frame.f_code.co_filename:
                line = f" in line {trace.tb_lineno}"
        return f"{type(got).__name__}{line}: {got}"
    return ""


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a dict"
    if value is None:
        return "None: does the function end without return?"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    return f"of type {type(value).__name__}"


def _relation(got: np.ndarray, right: np.ndarray) -> str:
    """Return how all of a wrong answer relates to the right one, or nothing."""

    def close(a: np.ndarray, b: np.ndarray) -> bool:
        return bool(np.allclose(a, b, rtol=1e-6, atol=1e-9 * np.abs(right).max(initial=1e-300)))

    if not got.size:
        return ""
    if not got.any():
        return "all of the answer is 0"
    if right.any():
        peak = np.unravel_index(np.abs(right).argmax(), right.shape)
        factor = float(got[peak] / right[peak])
        if (got.size > 1 or round(factor, 6) == -1) and close(got, factor * right):
            what = "the sign is wrong" if abs(factor + 1) < 1e-6 else _factor(factor)
            return f"the answer is {factor:.6g} times the right one: {what}"
    offset = float((got - right).flat[0])
    if got.size > 1 and offset and close(got, right + offset):
        return f"every number is too large by {offset:.6g}: a constant is added or missing"
    for axis in range(got.ndim):
        for step in (-1, 1):
            if right.shape[axis] > 1 and close(got, np.roll(right, step, axis)):
                return f"the numbers are right, but shifted by one along axis {axis}"
        if right.shape[axis] > 1 and close(got, np.flip(right, axis)):
            return f"the numbers are right, but in reverse order along axis {axis}"
    for first in range(got.ndim):
        for second in range(first + 1, got.ndim):
            turned = right.swapaxes(first, second)
            if turned.shape == got.shape and close(got, turned):
                return f"axes {first} and {second} are exchanged"
    if got.ndim and close(np.sort(got, axis=None), np.sort(right, axis=None)):
        return "these are the right numbers in wrong places: check the indices or a reshape"
    wrong = ~np.isclose(got, right, rtol=1e-6, atol=1e-9 * np.abs(right).max(initial=1e-300))
    if got.ndim and 0 < wrong.mean() < 0.5 and not got[wrong].any():
        return f"{int(wrong.sum())} of {got.size} numbers are still 0, {_places(wrong)}"
    return ""


def _factor(factor: float) -> str:
    for numerator, text in ((factor, "{} times too much"), (1 / factor, "too small by {}")):
        if abs(numerator - round(numerator)) < 1e-6 and 1 < round(numerator) < 10_000:
            size = text.format(round(numerator))
            return f"{size} (is there a length of that size: the batch, the window, a row?)"
    return "a constant factor is missing or applied twice"


def _places(wrong: np.ndarray) -> str:
    """Return where the wrong numbers lie, if an axis tells it."""
    for axis in range(wrong.ndim):
        others = tuple(a for a in range(wrong.ndim) if a != axis)
        places = np.flatnonzero(wrong.any(axis=others))
        if len(places) < wrong.shape[axis]:
            shown = ", ".join(map(str, places[:4])) + (", ..." if len(places) > 4 else "")
            return f"all at index {shown} of axis {axis}"
    return "spread over all axes"


def _worst(got: np.ndarray, right: np.ndarray) -> str:
    error = np.abs(got.astype(float) - right.astype(float))
    worst = np.unravel_index(error.argmax(), error.shape)
    index = f"entry {tuple(map(int, worst))}" if right.ndim else "the answer"
    largest = np.abs(right.astype(float)).max()
    wrong = error > 1e-9 * largest
    share = f"; {int(wrong.sum())} of {right.size} numbers are wrong, {_places(wrong)}"
    share = share if right.size > 1 else ""
    return f"{index} is {got[worst]:.6g}, expected {right[worst]:.6g}{share}"


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TooSlowError in the block after some time (not on Windows, nor in another thread)."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlowError

    try:
        before = signal.signal(signal.SIGALRM, stop)
    except (AttributeError, ValueError):
        yield
        return
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
