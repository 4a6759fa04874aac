"""Stopping a training without losing its work: Ctrl-C, ``kill``, a closed terminal.

The system may call a signal handler between any two Python instructions, perhaps while an update
has changed half of the parameters. A handler must therefore not save. :class:`Interruption` only
records the signal; the training loop asks for it at the end of each step and saves then.

:func:`speak_to_nobody` handles the other half of the problem: whatever read the program's output
may be gone by then, and printing must not fail.
"""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupted", "Interruption", "speak_to_nobody"]

# Sent by Ctrl-C, by `kill`, and by a terminal or connection that closes (not on Windows).
_ENDING = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]


class Interrupted(Exception):
    """A signal asked the training to end, and its current step is finished."""


class Interruption:
    """Lets a loop finish its step when a signal asks the program to end.

    While the ``with`` block runs, the first SIGINT, SIGTERM or SIGHUP only sets :attr:`number`. The
    loop calls :meth:`check` at the end of each step. A second signal raises KeyboardInterrupt at
    once. SIGHUP stays ignored where ``nohup`` has it ignored.

    Parameters
    ----------
    waits : bool, default True
        If False, there is nothing to save yet, and the first signal raises KeyboardInterrupt too.

    Attributes
    ----------
    waits : bool
        May be changed, such as when a loop begins.
    number : int
        The signal's number; 0 before a signal arrives.
    agree : callable, optional
        From this rank's number to that of all ranks, who must call :meth:`check` together.

    Examples
    --------
    >>> with Interruption() as interruption:
    ...     for step in range(3):
    ...         interruption.check()
    """

    def __init__(self, waits: bool = True) -> None:
        self.waits = waits
        self.agree: Callable[[int], int] | None = None
        self.number = 0
        self._before: dict[signal.Signals, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether a signal has arrived."""
        return self.number != 0

    @property
    def status(self) -> int:
        """The exit status that shells expect: 130 after SIGINT, 143 after SIGTERM, ..."""
        return 128 + self.number

    def __enter__(self) -> Interruption:
        for number in _ENDING:
            before = signal.signal(number, self._handle)
            if before == signal.SIG_IGN and number not in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, before)  # nohup set it
            else:
                self._before[number] = before
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again, self.number = self.requested, number
        if again or not self.waits:
            raise KeyboardInterrupt

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal has arrived, on any rank."""
        if self.agree is not None:
            agreed = self.agree(self.number)
            if not agreed:  # a signal that arrived meanwhile waits for the next call
                return
            self.number = agreed
        if self.requested:
            raise Interrupted

    def watch(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items; check after each."""
        for item in items:
            yield item
            self.check()


class _Outlet(io.FileIO):
    """A file whose writes never fail; data that it cannot take is lost."""

    def write(self, data: Any) -> int:
        with suppress(OSError):
            return super().write(data) or 0
        return len(data)


def speak_to_nobody() -> None:
    """Make writing to stdout and stderr safe when their reader is gone.

    Ctrl-C under ``2>&1 | tee`` ends ``tee`` first, and a closed terminal accepts no text. Without
    this call, the next line that the program prints would end it before it could save.

    Notes
    -----
    For programs, not for libraries: it replaces ``sys.stdout`` and ``sys.stderr``.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        stream.flush()
        raw = _Outlet(stream.fileno(), "w", closefd=False)
        text = io.TextIOWrapper(
            io.BufferedWriter(raw), stream.encoding, stream.errors,
            line_buffering=stream.line_buffering, write_through=stream.write_through,
        )  # fmt: skip
        setattr(sys, name, text)
