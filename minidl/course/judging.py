"""The judge: runs a reader's function on probes and says what is wrong with it.

An :class:`Exercise` has a stub to fill in, a reference (the library), probes, and the mistakes that
people really make. If a reader's answers equal a mistake's on all probes, the judge prints that
mistake's hint, however the reader's code looks. Otherwise it looks for something telling: a
constant factor, a transpose (:mod:`.diagnosis`), an argument that the answer ignores
(:mod:`.clues`), an input that was changed, what the failing probes share.
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

from .clues import clue
from .comparison import ChangedInputError, same
from .diagnosis import difference

__all__ = ["Exercise", "Mistake", "Verdict", "judge"]

SECONDS = 20  # for all probes of an exercise
CLUE_SECONDS = 2


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
    with np.errstate(all="ignore"), warnings.catch_warnings():  # infinities in an answer
        warnings.simplefilter("ignore")
        told = _explained(exercise, function, got, failed)
    return Verdict(exercise.name, False, f"{told} ({_where(failed, right)})")


def _explained(
    exercise: Exercise, function: Callable[..., Any], got: dict[str, Any], failed: list[str]
) -> str:
    """Return what is telling about the wrong answers, from the first probe that shows it."""
    right = known(exercise, exercise.reference)
    file = getattr(getattr(function, "__code__", None), "co_filename", "")
    findings = [
        difference(got[probe], right[probe], _arguments(exercise, probe), exercise.tolerance, file)
        for probe in failed
    ]
    text = findings[0].text
    if findings[0].telling:
        return text
    for probe, finding in zip(failed, findings, strict=True):
        if finding.telling > 1:
            return f"on '{probe}', {finding.text}"

    def call(each: Callable[..., Any]) -> Callable[[dict[str, Any]], Any]:
        def run(given: dict[str, Any]) -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _plain(exercise.run(each, *map(_copy, _nested(given).values())))

        return run

    with contextlib.suppress(Exception), _time_limit(CLUE_SECONDS):
        for probe in failed:
            given = _flat(_arguments(exercise, probe))
            if found := clue(given, call(function), call(exercise.reference)):
                return f"{text}. {found if probe == failed[0] else f'On {probe!r}: {found}'}"
    return text


def _flat(given: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with each array of a list under a name of its own."""
    flat = {}
    for name, value in given.items():
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            flat.update({f"{name}[{place}]": part for place, part in enumerate(value)})
        else:
            flat[name] = value
    return flat


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Return arguments with their lists put together again."""
    given: dict[str, Any] = {}
    for name, value in flat.items():
        whole, bracket, _ = name.partition("[")
        if bracket:
            given.setdefault(whole, []).append(value)
        else:
            given[name] = value
    return given


def _arguments(exercise: Exercise, probe: str) -> dict[str, Any]:
    """Return a probe's arguments by name."""
    given = exercise.probes[probe]
    given = given() if callable(given) else tuple(map(_copy, given))
    return dict(zip(inspect.signature(exercise.stub).parameters, given, strict=False))


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
            if not _unchanged(old, new)
        ]  # fmt: skip
        if changed and not isinstance(found[probe], Exception):
            found[probe] = ChangedInputError(changed[0])
    return found


@cache
def known(exercise: Exercise, function: Callable[..., Any]) -> dict[str, Any]:
    """Return the answers of the reference or of a mistake, which don't change."""
    return answers(exercise, function)


def _copy(value: Any) -> Any:
    if isinstance(value, list):
        return [_copy(part) for part in value]
    return value.copy() if isinstance(value, np.ndarray) else value


def _unchanged(old: Any, new: Any) -> bool:
    """Return whether an argument is what it was: an array, or a list of them."""
    if isinstance(old, list):
        return len(old) == len(new) and all(map(_unchanged, old, new))
    return not isinstance(old, np.ndarray) or np.array_equal(old, new, equal_nan=True)


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
