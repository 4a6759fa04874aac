"""A worker process of a :class:`~minidl.data.DataLoader`: what runs inside it.

The process takes :class:`Job` after :class:`Job` from its :class:`~minidl.data.transport.Channel`,
makes each batch (:meth:`Source.batch`) and sends it back. The other side, which starts workers,
gives them jobs and notices when one dies or hangs, is :mod:`minidl.data.pool`.

**Heartbeat.** A worker counts in shared memory what it begins: each sample, each batch.

**The end.** A worker ends when it is told to; when its parent has gone, for whatever reason (a
thread of its own watches); and by SIGKILL when it takes too long. Nothing of it has a name in the
file system: pipes and memory vanish with the processes.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import random
from ..errors import DataError
from ..kernels import cpu
from .collate import Collation, Empty, default_collate
from .dataset import IterableDataset
from .notes import collect_notes
from .stream import SampleScope, use_sample
from .transport import Channel, SharedNumbers

__all__ = ["WorkerInfo", "get_worker_info"]

#: The pools of this process, whose descriptors a forked worker must close.
pools: weakref.WeakSet[Any] = weakref.WeakSet()

#: Signals that are held back while a worker starts by fork.
HELD = (signal.SIGINT, signal.SIGTERM)


@dataclass
class WorkerInfo:
    """What :func:`get_worker_info` tells a worker about itself.

    Attributes
    ----------
    id : int
        The worker's number, 0 to ``num_workers - 1``.
    num_workers : int
        Number of workers.
    seed : int
        A number below 2**63 that depends on the loader's seed, the epoch in which the worker
        started, and ``id``.
    dataset : Dataset
        The worker's own data set.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """Return which worker of a :class:`DataLoader` is running this code.

    Returns
    -------
    WorkerInfo or None
        ``None`` outside a worker, and so always with ``num_workers=0``.

    Examples
    --------
    >>> from minidl.data import get_worker_info
    >>> get_worker_info() is None
    True
    """
    return _worker_info


class Job(NamedTuple):
    """One batch to make."""

    keys: list[Any]
    seed: int
    epoch: int
    first_place: int
    iteration: int = 0  # the number of the iteration over the loader
    step: int = 1  # from a sample's place to the next one's


@dataclass
class Source:
    """The data set and how to make batches of it; the same in every worker."""

    dataset: Any
    collate: Callable[[Any], Any]
    alone: bool
    init: Callable[[int], Any] | None
    drop_last: bool = False
    #: Of an IterableDataset: the iteration that is under way, and its iterator.
    iteration: int = -1
    stream: Any = None

    def batch(
        self,
        job: Job,
        at: Callable[[int], None] | None = None,
        empty: Empty = cpu.empty,
    ) -> Any:
        """Fetch the samples and make the batch.

        Parameters
        ----------
        job : Job
        at : callable, optional
            Called as ``at(i)`` before sample i and once more after the last; may raise an exception
            to abort.
        empty : callable
            Allocates the memory of the batch for :func:`default_collate`. (A transform that calls
            that function gets ordinary memory, because its results may be kept.)
        """
        if isinstance(self.dataset, IterableDataset):
            return self._next_batch(job, at, empty)
        samples: list[Any] = []
        collation = Collation(len(job.keys), empty)
        by_default = self.collate is default_collate and not self.alone
        for number, key in enumerate(job.keys):
            if at is not None:
                at(number)
            try:
                place = job.first_place + number * job.step
                with use_sample(SampleScope(job.seed, job.epoch, place)):
                    sample = self.dataset[key]
            except StopIteration as error:
                # It would end the caller's loop as if the epoch had ended.
                raise DataError(f"the data set raised StopIteration for index {key!r}") from error
            except Exception as error:
                error.add_note(f"(raised for index {key!r} of the data set, epoch {job.epoch})")
                raise
            if by_default:
                collation.add(sample)
            else:
                samples.append(sample)
        if at is not None:
            at(len(job.keys))
        # Random choices about the batch as a whole get a place that no sample has.
        with use_sample(SampleScope(job.seed, job.epoch, -1 - job.first_place)):
            if by_default:
                return collation.batch()
            return self.collate(samples[0] if self.alone else samples)

    def _next_batch(self, job: Job, at: Callable[[int], None] | None, empty: Empty) -> Any:
        """Return the next batch of an IterableDataset, or :class:`End`."""
        samples: list[Any] = []
        if job.iteration != self.iteration:
            self.iteration, self.stream = job.iteration, iter(self.dataset)
        for number in range(len(job.keys)):
            if at is not None:
                at(number)
            with use_sample(SampleScope(job.seed, job.epoch, job.first_place + number)):
                try:
                    samples.append(next(self.stream))
                except StopIteration:
                    break
        if at is not None:
            at(len(job.keys))
        if not samples or (self.drop_last and len(samples) < len(job.keys)):
            return End()
        with use_sample(SampleScope(job.seed, job.epoch, -1 - job.first_place)):
            if self.collate is not default_collate or self.alone:
                return self.collate(samples[0] if self.alone else samples)
            collation = Collation(len(samples), empty)
            for sample in samples:
                collation.add(sample)
            return collation.batch()


class End:
    """The answer of a worker whose IterableDataset has ended."""


@dataclass
class Failure:
    """An exception to be raised in the consumer."""

    error: BaseException


# Indices of the shared numbers. From CANCELLED on there is one for each slot.
BEATS, BEGUN, POSITION, CANCELLED = range(4)

STARTING = -1  # the position before the first sample


class _Cancelled(BaseException):
    """The batch is no longer wanted."""


def work(
    info: WorkerInfo, source: Source, channel: Channel, numbers: SharedNumbers, parent: Parent
) -> None:
    """Serve one job after another until the parent hangs up: the target of a worker process."""
    global _worker_info
    _worker_info = info
    _leave_the_parent(channel)
    parent.watch()
    _keep_freed_memory()
    cpu.set_num_threads(1)
    _seed_everything(info.seed)
    worker = _Bench(info, source, numbers.cells)
    try:
        while True:
            slot, job = channel.receive()
            notes, result = worker.answer(job, slot, channel.empty(slot))
            _send(channel, slot, notes, result)
            # Keep nothing of a finished batch alive while waiting for the next job.
            del job, notes, result
    except (EOFError, ConnectionError):
        pass  # the parent has hung up


def _leave_the_parent(channel: Channel) -> None:
    """Drop what a forked child inherits: signal handlers, and the ends of other workers' pipes."""
    import gc

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
    for workers in list(pools):
        for other in workers.members:
            # The fork may have happened during another thread's close(): a descriptor's number
            # may then belong to another file by now, perhaps to this worker's slot.
            if not other.is_open:
                continue
            other.channel.connection.close()
            if other.channel.slots is not channel.slots:
                other.close()
    gc.freeze()  # keeps the collector from touching, and so copying, the parent's objects


def _keep_freed_memory() -> None:
    """Let the memory of one picture serve the next.

    By default glibc returns freed memory at the end of its heap to the system, which must then
    clear hundreds of pages for every picture: a third of a worker's time at 2 ms a picture.
    """
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has none
            libc.mallopt(_TRIM_THRESHOLD, _KEPT)
            libc.mallopt(_MMAP_THRESHOLD, _KEPT)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_KEPT = 32 << 20  # bytes; glibc's maximum for the second


def _seed_everything(seed: int) -> None:
    """Seed the global random generators differently in each worker."""
    from random import seed as seed_python

    random.manual_seed(seed)
    seed_python(seed)
    np.random.seed(seed % 2**32)


class _Bench:
    """Makes batches and counts what it begins."""

    def __init__(self, info: WorkerInfo, source: Source, cells: memoryview) -> None:
        self.info, self.source, self.cells = info, source, cells
        cells[BEATS] += 1

    def answer(self, job: Job, slot: int, empty: Empty) -> tuple[list[tuple[str, str]], Any]:
        """Return the notes, and the batch or a :class:`Failure`."""

        def at(position: int) -> None:
            self.cells[POSITION] = position
            self.cells[BEATS] += 1
            if self.cells[CANCELLED + slot]:
                raise _Cancelled

        self.cells[POSITION] = STARTING
        self.cells[BEGUN] += 1
        with collect_notes() as notes:
            try:
                if self.source.init is not None:
                    self.start(self.source.init)
                return notes, self.source.batch(job, at, empty)
            except _Cancelled:
                return notes, None
            except BaseException as error:  # anything: the consumer would otherwise wait forever
                return notes, Failure(_portable(error, self.info.id))

    def start(self, init: Callable[[int], Any]) -> None:
        try:
            init(self.info.id)
        except Exception as error:
            error.add_note(f"(raised by worker_init_fn in worker {self.info.id})")
            raise
        self.source.init = None  # once is enough


def _portable(error: BaseException, number: int) -> BaseException:
    """Return the exception, or a DataError in its place if it can't be pickled, with traceback."""
    text = "".join(traceback.format_exception(error)).rstrip()
    try:
        arrived = pickle.loads(pickle.dumps(error))
        travels = type(arrived) is type(error) and str(arrived) == str(error)
        travels = travels and not isinstance(error, SystemExit)  # it would end the program
    except Exception:
        travels = False
    if not travels:
        notes = getattr(error, "__notes__", ())
        try:
            message = str(error)
        except Exception:  # it would end the worker
            message = "(it has no message: str() fails)"
        error = DataError(f"{type(error).__name__} in worker {number}: {message}")
        for line in notes:
            error.add_note(line)
    error.add_note(f"Traceback in worker {number} of the DataLoader:\n{text}")
    return error


def _send(channel: Channel, slot: int, notes: list[tuple[str, str]], result: Any) -> None:
    try:
        channel.send(slot, (notes, result))
    except ConnectionError:
        raise
    except Exception as error:
        failure = DataError(
            f"a worker can't send its batch: {type(error).__name__}: {error}; everything in a "
            "batch must be picklable, and tensors are fastest"
        )
        channel.send(slot, (notes, Failure(failure)))


@dataclass
class Parent:
    """The process that a worker must not outlive."""

    pid: int
    is_main_thread: bool
    method: str

    def watch(self) -> None:
        """In the worker: end this process as soon as the parent has gone."""
        from multiprocessing import parent_process

        parent = parent_process()
        assert parent is not None
        # A worker of a fork server is the server's child, which ends with the parent.
        expected = os.getppid() if self.method == "forkserver" else self.pid
        threading.Thread(target=_watch, args=(expected, parent.sentinel), daemon=True).start()
        # For a worker whose threads can't run: stopped, or in a library that holds the GIL. The
        # kernel ties this to the parent's thread, and only the main one lives until the end.
        if sys.platform == "linux" and self.is_main_thread:
            import ctypes

            ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def _watch(parent: int, sentinel: int) -> None:
    from multiprocessing.connection import wait

    # The sentinel alone is not enough: processes forked later hold its other end as well.
    while os.getppid() == parent and not wait([sentinel], 1.0):
        pass
    os._exit(1)
