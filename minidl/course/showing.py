"""What the pages show of the library and of the judge: sources, and which probe finds what."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

from .exercises import exercises
from .judging import known, same

__all__ = ["Markdown", "source", "table"]


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
