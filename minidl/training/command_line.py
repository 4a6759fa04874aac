"""The command lines of training programs."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Callable

__all__ = ["at_least"]


def at_least(least: float) -> Callable[[str], float]:
    """Return a type for argparse: finite numbers of at least `least`; integers if it is an int.

    Examples
    --------
    >>> at_least(1)("12"), at_least(0.0)("12")
    (12, 12.0)
    """

    def read(text: str) -> float:
        try:
            number = type(least)(text)
        except ValueError:
            number = math.nan
        if not least <= number < math.inf:
            kind = "a whole number" if isinstance(least, int) else "a number"
            raise ArgumentTypeError(f"expected {kind} of {least} or more, got {text!r}")
        return number

    return read
