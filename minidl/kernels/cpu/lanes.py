"""Lanes: work cut into pieces that threads take in turn, with one BLAS thread in each.

The pieces depend on shapes alone, never on the number of threads, and partial sums are added in
the order of the pieces. So a result has the same bits at any number of threads. NumPy releases the
interpreter lock inside copies, ufuncs and BLAS, which is what lets the threads run side by side.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np

from ...errors import ArgumentError

#: The most lanes that add up a batch, each in memory of its own. Fixed, because it decides the
#: order of sums.
LANES = 16

#: The most pieces of work that adds nothing up: enough to keep 16 threads equally busy.
PIECES = 32

#: The pieces that fewer images than this are cut into, so that threads share an image.
BANDS = 8

#: Seconds without a job after which the system may have put cores to sleep, and those that it then
#: may take to balance the load.
_PAUSE, _UNBALANCED = 0.005, 0.1

#: OpenBLAS's names of the processors with AVX-512.
_UNPACKED = {"SkylakeX", "Cooperlake", "SapphireRapids"}

Piece = TypeVar("Piece")


def _find_own_core() -> Callable[[], int] | None:
    """Return the C library's function for the number of the caller's core, or None.

    It is of use only where threads can be bound to cores: on Linux.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    # PyDLL: the call takes less time than releasing the interpreter's lock.
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


_own_core = _find_own_core()


class _Threads:
    """The helper threads, made at first use, after a fork and when their number changes.

    Not a ``ThreadPoolExecutor``: waking a thread takes 10 to 100 µs, and an executor's futures and
    conditions wake threads more often. A small net calls :func:`parallel` 30 times in 40 ms.
    """

    def __init__(self) -> None:
        if hasattr(os, "sched_getaffinity"):
            self.count = len(os.sched_getaffinity(0))
        else:
            self.count = os.cpu_count() or 1
        self.forget()

    def forget(self) -> None:
        """Start without helpers: the parent's threads do not exist in a forked child."""
        self.lock = threading.Lock()
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.helpers: list[threading.Thread] = []
        self.avoided = -1  # the core that helpers stay off
        self.last_end = self.woken = -math.inf  # of the last job; the last pause's end

    def offer(self, job: _Job, helpers: int) -> None:
        """Offer a job to at most `helpers` threads; :meth:`free` must follow."""
        with self.lock:
            while len(self.helpers) < self.count - 1:
                name = f"minidl-lane_{len(self.helpers)}"
                helper = threading.Thread(target=_help, args=(self.jobs,), name=name, daemon=True)
                helper.start()
                self.helpers.append(helper)
                self.avoided = -1
            self._make_room()
            self._hold()
            for _ in range(helpers):
                self.jobs.put(job)

    def _make_room(self) -> None:
        """Keep the helpers off the caller's core.

        After a pause, Linux in a virtual machine wakes a thread on its waker's core: the host has
        put the other, idle cores to sleep, and sleeping cores count as busy. Both threads would
        share one core for some 50 ms, until the scheduler balances the load. It also moves the
        caller to the core that the helper wakes on: see :meth:`_hold`.
        """
        if _own_core is None or (core := _own_core()) == self.avoided:
            return
        self.avoided = core
        others = os.sched_getaffinity(0) - {core}
        with contextlib.suppress(OSError):  # only a hint: a sandbox may forbid it
            for helper in self.helpers if others else ():
                os.sched_setaffinity(helper.native_id, others)  # type: ignore[arg-type]

    def _hold(self) -> None:
        """Shortly after a pause, bind the caller to its core."""
        now = time.monotonic()
        if now - self.last_end > _PAUSE:
            self.woken = now
        if _own_core is None or now - self.woken > _UNBALANCED:
            return
        if len(cores := os.sched_getaffinity(0)) > 1:
            _here.cores = cores
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, {_own_core()})

    def free(self) -> None:
        """Let the caller use the cores again that it had before :meth:`offer`."""
        if _here.cores is not None:
            with contextlib.suppress(OSError):
                os.sched_setaffinity(0, _here.cores)
            _here.cores = None
        self.last_end = time.monotonic()

    def resize(self, count: int) -> None:
        with self.lock:
            self.count, helpers, jobs = count, self.helpers, self.jobs
            self.helpers, self.jobs = [], SimpleQueue()
        for _ in helpers:
            jobs.put(None)
        for helper in helpers:
            helper.join()


def _help(jobs: SimpleQueue[_Job | None]) -> None:
    """Help with one job after another: the life of a helper thread."""
    while job := jobs.get():
        job.help()
        del job  # not held while waiting for the next


class _Here(threading.local):
    """Each thread's own state."""

    def __init__(self) -> None:
        self.in_lane = False
        self.blas: list[list[int]] = []  # counts to restore: see _SingleThreadedBlas
        self.cores: set[int] | None = None  # to restore: see _Threads.free


_threads = _Threads()
_here = _Here()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.forget)


def set_num_threads(count: int) -> None:
    """Set how many threads minidl computes with. Results do not depend on it.

    Parameters
    ----------
    count : int
        At least 1. Default at start: the number of cores this process may use.

    Raises
    ------
    ArgumentError
        `count` is not a positive integer.
    """
    if not isinstance(count, int) or count < 1:
        raise ArgumentError(f"set_num_threads: expected a positive integer, got {count!r}")
    _threads.resize(count)


def get_num_threads() -> int:
    """Return how many threads minidl computes with."""
    return _threads.count


class _SingleThreadedBlas:
    """A context in which BLAS uses one thread; the last thread to leave restores the setting.

    Most BLAS libraries have one setting for the whole process, so the threads inside the context
    are counted. Libraries built on OpenMP have one per thread, so each computing thread enters.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0
        self.shared: list[_Blas] | None = None  # None: not looked up yet
        self.per_thread: list[_Blas] = []

    def __enter__(self) -> None:
        with self.lock:
            if self.depth == 0:
                if self.shared is None:
                    self._find_libraries()
                for library in self.shared:  # type: ignore[union-attr]
                    library.before = library.get()
                    library.set(1)
            self.depth += 1
        if self.per_thread:
            _here.blas.append([library.get() for library in self.per_thread])
            for library in self.per_thread:
                library.set(1)

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.depth -= 1
            if self.depth == 0:
                for library in self.shared:  # type: ignore[union-attr]
                    library.set(library.before)
        if self.per_thread:
            for library, before in zip(self.per_thread, _here.blas.pop(), strict=True):
                library.set(before)

    def _find_libraries(self) -> None:
        from threadpoolctl import ThreadpoolController

        found = ThreadpoolController().select(user_api="blas").lib_controllers
        alone = [getattr(library, "threading_layer", "") == "openmp" for library in found]
        blas = [_Blas(library) for library in found]
        self.per_thread = [one for one, own in zip(blas, alone, strict=True) if own]
        self.shared = [one for one, own in zip(blas, alone, strict=True) if not own]

    def after_fork(self) -> None:
        self.lock = threading.Lock()
        self.depth = 0


class _Blas:
    """Reads and sets the number of threads of one BLAS library.

    OpenBLAS is set through its own functions: threadpoolctl (seen in 3.8.0) obeys only the first
    thread that sets a limit, and here any thread may be first or last. Its switch also takes 5 µs
    instead of less than 1, which slows a small network.
    """

    def __init__(self, library: Any) -> None:
        self.before = 1  # what __exit__ restores
        self.get: Callable[[], int] = library.get_num_threads
        self.set: Callable[[int], Any] = library.set_num_threads
        if library.internal_api == "openblas" and library.threading_layer != "openmp":
            functions = ctypes.PyDLL(library.filepath)  # see _find_own_core
            for prefix, suffix in product(("", "scipy_"), ("", "64_", "_64")):
                name = f"{prefix}openblas_{{}}_num_threads{suffix}"
                if hasattr(functions, name.format("set")):
                    self.get = getattr(functions, name.format("get"))
                    self.set = getattr(functions, name.format("set"))


single_threaded_blas = _SingleThreadedBlas()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=single_threaded_blas.after_fork)


@functools.cache
def multiplies_unpacked() -> bool:
    """Return whether BLAS multiplies small matrices without packing them: OpenBLAS with AVX-512."""
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas").info()
    return any(blas.get("architecture") in _UNPACKED for blas in found)


def split(count: int, parts: int = PIECES) -> list[slice]:
    """Cut ``range(count)`` into at most `parts` slices whose lengths differ by at most one.

    Examples
    --------
    >>> from minidl.kernels.cpu import split
    >>> split(10, 3)
    [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    if count == 0:
        return []
    if parts == 1:  # what small networks ask for, often
        return [slice(0, count)]
    parts = min(parts, count)
    small, longer = divmod(count, parts)
    ends = [small * i + min(i, longer) for i in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def parallel(task: Callable[[Piece], None], pieces: Sequence[Piece]) -> None:
    """Call ``task(piece)`` for every piece on the threads, with BLAS single-threaded inside.

    Parameters
    ----------
    task : callable
        Writes its result to memory that no other piece uses; its return value is dropped.
    pieces : sequence
        Must not depend on the number of threads. Inside a task, another `parallel` runs its pieces
        one after another. A single piece is called directly: callers must silence NumPy's warnings
        of infinities themselves, as ``Function.apply`` and the walk back do.

    Raises
    ------
    Exception
        The first one that a task raised, after all threads have stopped.
    """
    if len(pieces) == 1:
        with single_threaded_blas:
            task(pieces[0])
        return
    job = _Job(task, pieces)
    if _threads.count == 1 or _here.in_lane:
        job.drain()
        return
    try:
        _threads.offer(job, min(_threads.count, len(pieces)) - 1)
        job.drain()
    finally:
        try:
            job.finish()
        finally:
            _threads.free()
    if job.error is not None:
        try:
            raise job.error
        finally:
            del job  # error, traceback and this frame would keep each other and the arrays alive


class _Job:
    """A task and its pieces that no thread has taken yet."""

    def __init__(self, task: Callable[[Piece], None], pieces: Sequence[Piece]) -> None:
        # Cleared at the end: a late thread still receives the job, and the task holds arrays whose
        # memory, and sole ownership, the caller needs back.
        self.task: Callable[[Piece], None] | None = task
        self.remaining = iter(pieces)  # next() on it is atomic: threads take the pieces in turn
        self.lock = threading.Lock()
        self.over = False
        self.helping = 0  # threads
        self.alone = threading.Lock()  # released by the last helper
        self.alone.acquire()
        self.error: BaseException | None = None  # a helper's

    def help(self) -> None:
        """Run pieces on a helper thread, unless the job has ended."""
        with self.lock:
            if self.over:
                return
            self.helping += 1
        try:
            self.drain()
        except BaseException as error:
            self.error = self.error or error
        with self.lock:
            self.helping -= 1
            if self.over and not self.helping:
                self.alone.release()

    def finish(self) -> None:
        """Admit no more helpers, and wait for those at work."""
        with self.lock:
            self.over = True
            helping = self.helping
        if helping:
            self.alone.acquire()
        self.task = None

    def drain(self) -> None:
        """Run pieces until none is left."""
        task = self.task
        assert task is not None
        outer = _here.in_lane
        _here.in_lane = True
        try:
            # Infinity and NaN are results, as IEEE says. NumPy's setting is per thread.
            with single_threaded_blas, np.errstate(all="ignore"):
                for piece in self.remaining:
                    task(piece)
        finally:
            _here.in_lane = outer
            del task
