"""The thread that talks to the other processes: one collective operation after another.

The thread computes nothing but sums. It runs beside the backward, so gradients are sent while
earlier layers are still at work. As all messages leave from one thread, in the order of the
program, the processes never disagree about which operation is next.

While it waits, the thread also watches. Every second it greets the next process in a ring. A
process that has not greeted for :data:`LIMIT` seconds is dead, stopped or unreachable; a main
thread that stands at one instruction for as long, with nothing computed, hangs; an operation can't
end that a process waits for so long after another has left. Each of these ends all.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Engine", "Work"]

#: Seconds without a sign of life after which a process counts as lost.
LIMIT = float(os.environ.get("MINIDL_HANG_SECONDS", "10"))

#: The exit status of all processes if one of them is lost.
LOST = 5

_GREETING, _FAREWELL, _LAST_WORDS = 1, 2, 5  # tags, beside those of :mod:`.arrays`


class Work:
    """An operation under way, as from ``all_reduce(..., async_op=True)``."""

    def __init__(self, engine: Engine | None, function: Callable[[], Any]) -> None:
        self._engine, self._function = engine, function
        self._done = threading.Event()
        self._result: Any = None
        self._error: BaseException | None = None
        self.after: Callable[[Any], None] | None = None  # runs in the thread that waits

    def run(self) -> None:
        """Do the operation, in the thread of the engine."""
        try:
            self._result = self._function()
        except BaseException as error:
            self._error = error
        self._done.set()

    def is_completed(self) -> bool:
        """Return whether the operation is finished."""
        return self._done.is_set()

    def wait(self, timeout: Any = None) -> Any:
        """Wait until the operation is finished; return its result.

        Parameters
        ----------
        timeout : optional
            Accepted for compatibility with PyTorch.
        """
        if not self._done.is_set():
            if self._engine is None:
                self.run()
            else:
                with self._engine.patience():
                    self._done.wait()
        if self._error is not None:
            raise self._error
        if self.after is not None:
            after, self.after = self.after, None
            after(self._result)
        return self._result


class Engine:
    """Runs operations in a thread of its own and watches the other processes.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    fail : callable
        Ends all processes, given a sentence and an exit status.
    """

    def __init__(self, comm: Any, fail: Callable[..., None]) -> None:
        self.comm, self._fail = comm.Dup(), fail
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._left, self._right = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size
        self._main = threading.main_thread().ident
        self._patient = 0
        self._greeted = self._heard = self._moved = time.monotonic()
        self._place: Any = None
        self._used = time.process_time()
        self._sent: list[Any] = []
        self._gone = 0.0  # when the left process said farewell
        self._last_words: tuple[Any, ...] | None = None
        self._thread = threading.Thread(target=self._loop, name="minidl.distributed", daemon=True)
        self._thread.start()

    def submit(self, function: Callable[[], Any]) -> Work:
        """Append an operation; all processes must do so in the same order."""
        work = Work(self, function)
        self._queue.put(work)
        return work

    def stop(self) -> None:
        """Finish what was submitted, say farewell, and end the thread."""
        self._queue.put(None)
        with self.patience():
            self._thread.join()

    def ask_to_end(self, *words: Any) -> None:
        """Ask rank 0 to end all processes with these words."""
        self._last_words = words

    @contextmanager
    def patience(self) -> Iterator[None]:
        """Let the main thread stand still in the block: it waits, or writes to a slow disk."""
        self._patient += 1
        try:
            yield
        finally:
            self._moved = time.monotonic()
            self._patient -= 1

    def finish(self, requests: list[Any]) -> None:
        """Wait for requests of MPI, in the engine's thread; sleep, to leave the core to others."""
        started = time.perf_counter()
        while not all(request.Test() for request in requests):
            waited = time.perf_counter() - started
            time.sleep(0 if waited < 1e-4 else min(1e-3, waited / 8))
            self._watch()
            if self._gone and time.monotonic() - self._gone > LIMIT < waited:
                self._fail(f"rank {self._left} has ended, but rank {self.comm.rank} waits for all "
                           "ranks", LOST)  # fmt: skip

    def _loop(self) -> None:
        while True:
            try:
                work = self._queue.get(timeout=0.5)
            except queue.Empty:
                self._watch()
                continue
            if work is None:
                break
            work.run()
            del work
            self._watch()
        self._sent.append(self.comm.Isend(b"", self._right, _FAREWELL))

    def _watch(self) -> None:
        if self._last_words is not None:
            words, self._last_words = self._last_words, None
            self._sent.append(self.comm.isend(words, 0, _LAST_WORDS))
        now = time.monotonic()
        if now - self._greeted < 1:
            return
        if now - self._greeted > LIMIT / 2 + 1:  # this process itself was stopped for a while
            self._moved = self._heard = now
        self._greeted = now
        self._sent = [request for request in self._sent if not request.Test()]
        self._sent.append(self.comm.Isend(b"", self._right, _GREETING))
        while self.comm.Iprobe(self._left, _GREETING):
            self.comm.Recv(bytearray(1), self._left, _GREETING)
            self._heard = now
        if self.comm.rank == 0 and self.comm.Iprobe(tag=_LAST_WORDS):
            self._fail(*self.comm.recv(tag=_LAST_WORDS))
        if not self._gone and self.comm.Iprobe(self._left, _FAREWELL):
            self._gone = now
        if now - self._heard > LIMIT and not self._gone:
            self._fail(
                f"rank {self._left} has given no sign of life for {LIMIT:.0f} seconds: it is "
                "stopped, dead or unreachable", LOST,
            )  # fmt: skip
        self._watch_main(now)

    def _watch_main(self, now: float) -> None:
        frame = sys._current_frames().get(self._main or 0)
        place = frame and (id(frame), frame.f_lasti)
        # A long product or compilation is no hang; waiting takes less than a hundredth of a core.
        used = time.process_time()
        computes, self._used = used - self._used > 0.03 or self._waits_for_machine(), used
        if self._patient or computes or place != self._place:
            self._moved, self._place = now, place
        elif frame is not None and now - self._moved > LIMIT:
            where = f"{Path(frame.f_code.co_filename).name}, line {frame.f_lineno}"
            self._fail(
                f"rank {self.comm.rank} has stood still for {LIMIT:.0f} seconds in "
                f"{frame.f_code.co_name} ({where})", LOST,
            )  # fmt: skip

    def _waits_for_machine(self) -> bool:
        """Return whether the main thread waits for a core (R) or a disk (D), as Linux says."""
        try:
            text = Path(f"/proc/self/task/{threading.main_thread().native_id}/stat").read_text()
        except OSError:
            return False
        return text.rpartition(")")[2].split()[0] in "RD"
