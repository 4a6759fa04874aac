"""What the pages show of the library and of the judge: sources, checks, which probe finds what."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np

import minidl

from ..errors import GradcheckError
from .exercises import exercises
from .judging import known, same

__all__ = ["Markdown", "agree", "source", "table"]


class Markdown(str):
    """Text that a notebook shows as Markdown."""

    def _repr_markdown_(self) -> str:
        return str(self)


def source(function: Callable[..., Any]) -> Markdown:
    """Return a function's own source, for a page.

    Examples
    --------
    >>> from minidl.nn.linear import plain_linear  # doctest: +SKIP
    >>> source(plain_linear)  # doctest: +SKIP
    """
    code = textwrap.dedent(inspect.getsource(function)).rstrip()
    return Markdown(f"```python\n{code}\n```")


def agree(function: Callable[..., Any], *arrays: np.ndarray, differences: bool = True) -> bool:
    """Run a function of the library with its kernel and with the plain code, and compare.

    Parameters
    ----------
    function : callable
        Takes as many tensors as there are arrays, and returns one.
    *arrays : array, float64
    differences : bool, default True
        Whether :func:`minidl.gradcheck` is asked, too; it is slow for more than some 100 numbers.

    Returns
    -------
    bool
        True.

    Raises
    ------
    GradcheckError
        The results, or the gradients of one of the arrays, differ.

    Examples
    --------
    >>> import numpy as np
    >>> agree(minidl.tanh, np.linspace(-2, 2, 5))
    True
    """

    def results() -> list[np.ndarray]:
        tensors = [minidl.tensor(array, requires_grad=True) for array in arrays]
        y = function(*tensors)
        dy = np.random.default_rng(0).standard_normal(tuple(y.shape))
        gradients = minidl.autograd.grad(y, tensors, minidl.tensor(dy))
        return [tensor.detach().numpy() for tensor in (y, *gradients)]

    fast = results()
    with minidl.reference():
        plain = results()
    for number, (one, other) in enumerate(zip(fast, plain, strict=True)):
        if not same(one, other, 1e-9):
            what = f"gradient {number}" if number else "result"
            raise GradcheckError(f"the {what} of the kernel is not the plain code's")
    if differences:
        minidl.gradcheck(function, [minidl.tensor(a, requires_grad=True) for a in arrays])
    return True


def table(page: str) -> Markdown:
    """Return which probe finds which mistake, for the end of a page."""
    parts = []
    for exercise in exercises(page):
        right = known(exercise, exercise.reference)
        probes = list(right)
        lines = [f"**`{exercise.name}`**", "", "| mistake | " + " | ".join(probes) + " |",
                 "|---|" + ":---:|" * len(probes)]  # fmt: skip
        for mistake in exercise.mistakes:
            theirs = known(exercise, mistake.function)
            found = ["found" if not same(theirs[p], right[p], exercise.tolerance) else "–"
                     for p in probes]  # fmt: skip
            seen = f" ({mistake.seen_in})" if mistake.seen_in else ""
            lines.append(f"| {mistake.name}{seen} | " + " | ".join(found) + " |")
        parts.append("\n".join(lines))
    return Markdown("\n\n".join(parts))
