"""Progress bars: :class:`Bar`, and :class:`Progress` for an epoch, with its speed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from tqdm import tqdm

from .waiting import Waiting

__all__ = ["Bar", "Progress"]


class Bar(tqdm):
    """A bar of tqdm without tqdm's monitor, a thread for bars whose steps have become slow.

    This bar looks at the clock at each step instead, so that a program has no thread that runs
    until its end, and that a fork would lose.
    """

    monitor_interval = 0

    def __init__(self, *arguments: Any, miniters: int = 1, **options: Any) -> None:
        super().__init__(*arguments, miniters=miniters, **options)  # type: ignore[call-overload]


class Progress:
    """Shows how far an epoch is, how fast it runs, and how long it waits for data.

    Use it in a ``with`` block, iterate over it, and call :meth:`update` after each step.

    Parameters
    ----------
    batches : iterable
        The batches that are still to come.
    title : str
        Stands before the bar.
    total : int
        Number of batches in the whole epoch.
    done : int, default 0
        Number of batches that were finished before, in a run that was interrupted.
    leave : bool, default True
        Whether the bar stays on the screen at the end.

    Attributes
    ----------
    waiting : Waiting
        Measures the time spent waiting for data.
    samples : int
        Number of samples so far.

    Examples
    --------
    >>> with Progress([[1, 2], [3]], "epoch 1", total=2) as batches:
    ...     for batch in batches:
    ...         batches.update(len(batch))
    >>> batches.samples, batches.speed > 0
    (3, True)
    """

    def __init__(
        self, batches: Iterable[Any], title: str, total: int, done: int = 0, leave: bool = True
    ) -> None:
        self.samples = 0
        self.waiting = Waiting(batches)
        self._bar = Bar(
            desc=title, unit="batch", initial=done, total=total, leave=leave,
            bar_format="{desc}: {n_fmt}/{total_fmt}|{bar}| {remaining}{postfix}",  # what is left
            ncols=None if sys.stderr.isatty() else 80,
            mininterval=0.5 if sys.stderr.isatty() else 30,  # a log file needs fewer lines
        )  # fmt: skip

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.close()

    def __iter__(self) -> Waiting:
        return self.waiting

    def update(self, samples: int) -> None:
        """Count a finished step and its samples."""
        self.samples += samples
        self._bar.update()

    @property
    def speed(self) -> float:
        """Samples per second."""
        return self.samples / self.waiting.elapsed

    def show(self, text: str) -> None:
        """Show text beside the bar, such as the loss."""
        self._bar.set_postfix_str(text)
