"""Worker processes of a :class:`~minidl.data.DataLoader`: their life, their work, their death.

**Order.** The consumer gives every worker a queue of *orders* and takes the answers in the same
sequence. An order occupies one of the worker's *slots* of shared memory
(:mod:`minidl.data.transport`) until the batch in it is dropped or, where that would leave fewer
than ``prefetch_factor`` of them, copied out; what does not fit waits with the consumer. Both sides
write to each other without looking for answers, so what may be under way must fit into the pipe:
few lines where there is shared memory, and else one order, which the worker awaits.

**Heartbeat.** A worker counts in shared memory what it begins: each sample, each batch. Whoever
waits for it looks at the count at least once a second and adds up the times in which it stood
still. Only its own waiting counts, in slices, so a program that was stopped and continued as a
whole is not taken for a hang.

**The end.** A worker ends when it is told to; when its parent has gone, however that went (a
thread of its own watches); and by SIGKILL when it takes too long. Nothing of it has a name in the
file system: the pipes and the memory end with the processes.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import random
from ..errors import ArgumentError, DataError
from ..kernels import cpu
from .collate import Collation, Empty, default_collate
from .notes import collect_notes
from .stream import SampleScope, use_sample
from .transport import (
    HAS_ANONYMOUS_FILES,
    Allocate,
    Channel,
    SharedNumbers,
    Slot,
    ordinary_memory,
)

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

__all__ = ["WorkerInfo", "get_worker_info"]

#: Seconds that a worker may take for one sample when nothing else is said.
SILENCE = 8.0

#: Seconds that a worker may take to be there, where it has to start Python and import everything.
_START_SECONDS = 60.0

#: Orders of a worker at most. Their lines (some 50 bytes each) fit into any system's pipe.
_MOST_ORDERS = 64

#: Slots of a worker whose batches the consumer may hold on to: the one that it is at, and the one
#: before, which a loop's variable keeps until the next is there. Those that a forked process may
#: still use count as well, for ever.
_MOST_LENT = 2

#: Seconds that a worker that is told to end may go on with the sample it is at.
_GRACE_SECONDS = 5.0


@dataclass
class WorkerInfo:
    """What :func:`get_worker_info` tells a worker about itself.

    Attributes
    ----------
    id : int
        The worker's number, 0 to ``num_workers - 1``.
    num_workers : int
        How many there are.
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
    """Which worker of a :class:`DataLoader` is running this code.

    Returns
    -------
    WorkerInfo or None
        ``None`` outside a worker (and so always with ``num_workers=0``).

    Examples
    --------
    >>> from minidl.data import get_worker_info
    >>> get_worker_info() is None
    True
    """
    return _worker_info


# --- What there is to do ------------------------------------------------------------------------


class Job(NamedTuple):
    """One batch to make."""

    keys: list[Any]
    seed: int
    epoch: int
    first_place: int


@dataclass
class Source:
    """What batches are made of and how; in every worker the same."""

    dataset: Any
    collate: Callable[[Any], Any]
    alone: bool
    init: Callable[[int], Any] | None

    def batch(
        self,
        job: Job,
        at: Callable[[int], None] | None = None,
        empty: Empty = cpu.empty,
    ) -> Any:
        """Fetch the samples and make the batch; ``at(i)`` is told before each sample and the end.

        Parameters
        ----------
        job : Job
        at : callable, optional
            May raise something to break off.
        empty : callable
            Where :func:`default_collate` puts the batch, which nobody but the caller gets. (A
            transform that calls that function gets ordinary memory: its results may be kept.)
        """
        samples: list[Any] = []
        collation = Collation(len(job.keys), empty)
        by_default = self.collate is default_collate and not self.alone
        for number, key in enumerate(job.keys):
            if at is not None:
                at(number)
            try:
                with use_sample(SampleScope(job.seed, job.epoch, job.first_place + number)):
                    sample = self.dataset[key]
            except StopIteration as error:
                # It would end the caller's loop as if the epoch were over.
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
        # For random choices about the batch as a whole: a place that no sample has.
        with use_sample(SampleScope(job.seed, job.epoch, -1 - job.first_place)):
            if by_default:
                return collation.batch()
            return self.collate(samples[0] if self.alone else samples)


@dataclass
class Failure:
    """An exception on its way to the consumer."""

    error: BaseException


# --- In the worker ------------------------------------------------------------------------------

# What the shared numbers mean.
_BEATS, _BEGUN, _POSITION, _CANCELLED = range(4)  # the last: the first of one for every slot

_STARTING = -1  # a position: before the first sample


class _Cancelled(BaseException):
    """Nobody wants the batch any more."""


def _work(
    info: WorkerInfo, source: Source, channel: Channel, numbers: SharedNumbers, parent: _Parent
) -> None:
    """A worker's life."""
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
            # Nothing of a finished batch stays alive while the worker waits for the next order.
            del job, notes, result
    except (EOFError, ConnectionError):
        pass  # the parent has hung up


def _leave_the_parent(channel: Channel) -> None:
    """Drop what a forked child has of its parent: signal handlers, and the ends of other pipes."""
    import gc

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)
    for workers in list(_living):
        for other in workers.members:
            # The fork may have come in the middle of another thread's close(): then a descriptor
            # is still known by a number that is another's by now, perhaps of this worker's slot.
            if not other.is_open:
                continue
            other.channel.connection.close()
            if other.channel.slots is not channel.slots:
                other.close()
    gc.freeze()  # the collector need not look at (and so copy) what the parent made


def _keep_freed_memory() -> None:
    """Let the memory of one picture serve the next.

    What is freed at the end of its heap, glibc returns to the system, which then has to clear
    hundreds of pages for every picture: a third of the time of a worker that takes 2 ms for one.
    """
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):  # musl has none
            libc.mallopt(_TRIM_THRESHOLD, _KEPT)
            libc.mallopt(_MMAP_THRESHOLD, _KEPT)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # names of malloc.h
_KEPT = 32 << 20  # bytes; the most that glibc accepts for the second


def _seed_everything(seed: int) -> None:
    """Let other sources of random numbers differ from worker to worker."""
    from random import seed as seed_python

    random.manual_seed(seed)
    seed_python(seed)
    np.random.seed(seed % 2**32)


class _Bench:
    """Makes batches and counts what it begins."""

    def __init__(self, info: WorkerInfo, source: Source, cells: memoryview) -> None:
        self.info, self.source, self.cells = info, source, cells
        self.started = source.init is None
        self.beat()

    def beat(self) -> None:
        self.cells[_BEATS] += 1

    def answer(self, job: Job, slot: int, empty: Empty) -> tuple[list[tuple[str, str]], Any]:
        """Return the notes and the batch, or the :class:`Failure` that came of it."""

        def at(position: int) -> None:
            self.cells[_POSITION] = position
            self.beat()
            if self.cells[_CANCELLED + slot]:
                raise _Cancelled

        self.cells[_POSITION] = _STARTING
        self.cells[_BEGUN] += 1
        with collect_notes() as notes:
            try:
                if not self.started:
                    self.start()
                return notes, self.source.batch(job, at, empty)
            except _Cancelled:
                return notes, None
            except BaseException as error:  # whatever it is, the consumer would wait for ever
                return notes, Failure(_portable(error, self.info.id))

    def start(self) -> None:
        assert self.source.init is not None
        try:
            self.source.init(self.info.id)
        except Exception as error:
            error.add_note(f"(raised by worker_init_fn in worker {self.info.id})")
            raise
        self.started = True


def _portable(error: BaseException, number: int) -> BaseException:
    """The exception, or one of ours in its place when it can't travel; with its traceback."""
    text = "".join(traceback.format_exception(error)).rstrip()
    try:
        arrived = pickle.loads(pickle.dumps(error))
        travels = type(arrived) is type(error) and str(arrived) == str(error)
    except Exception:
        travels = False
    if not travels:
        notes = getattr(error, "__notes__", ())
        try:
            message = str(error)
        except Exception:  # then it would be the worker's end, too
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
            f"a worker can't send its batch: {type(error).__name__}: {error}; batches must be made "
            "of what can be pickled, best of tensors"
        )
        channel.send(slot, (notes, Failure(failure)))


@dataclass
class _Parent:
    """The process that a worker must not survive."""

    pid: int
    is_main_thread: bool
    method: str

    def watch(self) -> None:
        """End this process, in the worker, as soon as the parent has gone."""
        from multiprocessing import parent_process

        parent = parent_process()
        assert parent is not None
        # A worker of a fork server is the server's child, which ends with the parent.
        expected = os.getppid() if self.method == "forkserver" else self.pid
        threading.Thread(target=_watch, args=(expected, parent.sentinel), daemon=True).start()
        # For a worker whose threads can't run: stopped, or in a library that holds Python's lock.
        # It is bound to the parent's thread; only the main one lives as long as the process.
        if sys.platform == "linux" and self.is_main_thread:
            import ctypes

            ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))  # PR_SET_PDEATHSIG


def _watch(parent: int, sentinel: int) -> None:
    from multiprocessing.connection import wait

    # The sentinel alone is not enough: processes forked later hold its other end as well.
    while os.getppid() == parent and not wait([sentinel], 1.0):
        pass
    os._exit(1)


# --- In the parent ------------------------------------------------------------------------------

_HELD = (signal.SIGINT, signal.SIGTERM)

#: All workers of this process, whose descriptors a child by fork has to close.
_living: weakref.WeakSet[Workers] = weakref.WeakSet()


class Workers:
    """The worker processes of one loader. They hold no reference to a loader or iterator.

    Parameters
    ----------
    count : int
        How many.
    source : Source
    context : BaseContext
        From :func:`start_context`.
    ahead : int
        Batches in preparation or waiting, for each worker.
    timeout : float
        Seconds that one sample may take.
    seed, epoch : int
        They decide :attr:`WorkerInfo.seed`.
    allocate : callable, optional
        Where batches are put. Default: they stay in shared memory.

    Raises
    ------
    ArgumentError
        Something can't be pickled that a worker which is not forked needs; or this process is a
        worker itself.
    DataError
        The system refuses another process.
    """

    def __init__(
        self,
        count: int,
        source: Source,
        context: BaseContext,
        ahead: int,
        timeout: float,
        seed: int,
        epoch: int,
        allocate: Allocate | None,
    ) -> None:
        from multiprocessing import current_process
        from multiprocessing.util import Finalize

        if current_process().daemon:
            raise ArgumentError(
                f"DataLoader: num_workers={count} in {current_process().name}, a process that must "
                "not have processes of its own, as a loader's workers; expected num_workers=0 there"
            )
        self.lost: DataError | None = None
        self._process_id = os.getpid()
        self.members: list[_Worker] = []
        _living.add(self)
        # Before multiprocessing's own end, which would wait for a stopped worker for ever.
        self.stop = Finalize(self, _stop, (self.members,), exitpriority=100)
        for number in range(count):
            own_seed = int(random.stream(seed, "worker", epoch, number).integers(2**63))
            info = WorkerInfo(number, count, own_seed, source.dataset)
            try:
                self.members.append(_Worker(info, context, ahead, timeout, allocate))
                self.members[-1].start(source)
            except OSError as error:
                self.stop()
                raise DataError(
                    f"DataLoader: worker {number} of num_workers={count} can't be started: {error}"
                ) from error
            except BaseException:
                self.stop()
                raise

    @property
    def usable(self) -> bool:
        """Whether another epoch can begin: nobody is lost, nor are they another process's.

        A child by ``os.fork`` that wrote into the pipes it has inherited would disturb its parent.
        """
        return self.lost is None and self._process_id == os.getpid()

    def order(self, job: Job, number: int) -> Order:
        """Give worker `number` a job; returns at once. To be called inside :meth:`whole`."""
        return self.members[number].order(job)

    def result(self, order: Order) -> tuple[list[tuple[str, str]], Any]:
        """Wait for what came of an order: the notes, and the batch or a :class:`Failure`.

        To be called inside :meth:`whole`.

        Raises
        ------
        DataError
            The worker is dead or hangs.
        """
        order.worker.wait_for(order)
        return order.result

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Nothing is left half done: what is broken off, by Ctrl-C or a death, ends all workers.

        Raises
        ------
        DataError
            At the beginning: they have been ended so before.
        """
        if self.lost is not None:
            raise self.lost
        try:
            yield
        except BaseException as error:
            self.lost = DataError("DataLoader: its workers were ended by an exception before this")
            if isinstance(error, DataError):
                self.lost = error
            for worker in self.members:
                worker.kill()
            self.stop()
            raise


class Order:
    """A job given to a worker, and its result once that is there."""

    def __init__(self, worker: _Worker, job: Job) -> None:
        self.worker, self.job = worker, job
        self.slot: int | None = None
        self.cancelled = self.answered = False
        self.result: Any = None

    def cancel(self) -> None:
        """Let the worker leave it after the sample that it is at."""
        self.cancelled = True
        if self.slot is not None:
            self.worker.cancel(self.slot)


class _Worker:
    """One worker process, seen from its parent."""

    def __init__(
        self,
        info: WorkerInfo,
        context: BaseContext,
        ahead: int,
        timeout: float,
        allocate: Allocate | None,
    ) -> None:
        self.info, self.context, self.timeout, self.allocate = info, context, timeout, allocate
        self.method = context.get_start_method()
        self.slots = min(ahead, _MOST_ORDERS) + _MOST_LENT if HAS_ANONYMOUS_FILES else 1
        ours, self.theirs = context.Pipe()
        memory = [Slot() for _ in range(self.slots)] if HAS_ANONYMOUS_FILES else []
        self.channel = Channel(ours, memory)
        self.numbers = SharedNumbers(_CANCELLED + self.slots)
        self.free = list(range(self.slots))  # also any thread that drops a batch appends to it
        self.queue: deque[Order] = deque()  # not sent yet
        self.sent: deque[Order] = deque()
        self.answers = 0
        self.is_open = True
        self.process: Any = None

    def start(self, source: Source) -> None:
        parent = _Parent(
            os.getpid(), threading.current_thread() is threading.main_thread(), self.method
        )
        process = self.context.Process(  # type: ignore[attr-defined]
            target=_work,
            name=f"minidl-loader-{self.info.id}",
            args=(
                self.info,
                source,
                Channel(self.theirs, self.channel.slots),
                self.numbers,
                parent,
            ),
            daemon=True,
        )
        try:
            with _start_conditions(self.method):
                process.start()
        except Exception as error:
            if self.method != "fork":
                _explain_pickling(source, self.method, error)
            raise
        self.process = process
        self.theirs.close()

    def order(self, job: Job) -> Order:
        order = Order(self, job)
        self.queue.append(order)
        self._send_orders()
        return order

    def _send_orders(self) -> None:
        while self.queue and self.free:
            order = self.queue.popleft()
            if order.cancelled:
                continue
            order.slot = self.free.pop()
            self.numbers.cells[_CANCELLED + order.slot] = 0
            self.sent.append(order)
            with suppress(ConnectionError):  # a dead worker: whoever waits for it will say so
                self.channel.send(order.slot, order.job)

    def cancel(self, slot: int) -> None:
        if self.process is not None:
            self.numbers.cells[_CANCELLED + slot] = 1

    def wait_for(self, order: Order) -> None:
        """Take answers until the one to `order` is there."""
        from multiprocessing.connection import wait

        silence, beats = 0.0, self.numbers.cells[_BEATS]
        while not order.answered:
            limit = self.timeout
            if beats == 0 and self.method != "fork":
                limit = max(limit, _START_SECONDS)
            patience = min(1.0, limit / 8)
            ready = wait([self.channel.connection, self.process.sentinel], patience)
            if self.channel.connection in ready:
                self._take_answer()
                silence = 0.0
            elif ready:
                raise self._death()
            elif self.numbers.cells[_BEATS] != beats:
                silence, beats = 0.0, self.numbers.cells[_BEATS]
            else:
                silence += patience
                if silence >= limit:
                    raise self._hang(silence)

    def _take_answer(self) -> None:
        lent = self.slots - len(self.free) - len(self.sent)
        allocate = self.allocate or (None if lent < _MOST_LENT else ordinary_memory)
        try:
            _, result = self.channel.receive(allocate, self.free.append)
        except (EOFError, ConnectionError):
            raise self._death() from None
        except OSError as error:
            raise DataError(
                f"DataLoader: the batch of {self} can't be taken: {error}; of open files (ulimit "
                "-n) a loader needs num_workers * (prefetch_factor + 8) or so"
            ) from error
        order = self.sent.popleft()
        self.answers += 1
        order.slot, order.answered = None, True
        if not order.cancelled:
            order.result = result
        self._send_orders()

    def _death(self) -> DataError:
        self.process.join(1)
        code, hint = self.process.exitcode, "what it wrote to stderr may say why"
        if code is None:
            how = "closed its pipe"
            hint = "code of the data set must leave descriptors alone that it has not opened"
        elif code >= 0:
            how = f"ended with exit code {code}"
        else:
            how = f"was killed by {_signal_name(-code)}"
            if -code == getattr(signal, "SIGKILL", None):
                hint = "the system does that when memory runs out: try fewer workers"
        return DataError(f"DataLoader: {self} {how} {self._place()}; {hint}")

    def _hang(self, silence: float) -> DataError:
        return DataError(
            f"DataLoader: {self} has done nothing for {silence:.3g} seconds {self._place()}; "
            "if a sample may take longer, raise timeout= (seconds for one sample)"
        )

    def __str__(self) -> str:
        return f"worker {self.info.id} (pid {self.process.pid})"

    def _place(self) -> str:
        """Where the worker is or was, in words."""
        cells = self.numbers.cells
        current = cells[_BEGUN] - self.answers - 1
        if not 0 <= current < len(self.sent):
            return "while it was starting" if cells[_BEGUN] == 0 else "between two batches"
        keys, position = self.sent[current].job.keys, cells[_POSITION]
        if not keys:
            return "while it made a batch of no samples"
        if position == _STARTING:
            return "at the beginning of a batch (in worker_init_fn, if it is the first)"
        if position < len(keys):
            return f"at index {keys[position]!r} of the data set"
        return f"while it made a batch of {len(keys)} samples, the last of index {keys[-1]!r}"

    def dismiss(self) -> None:
        """Tell the worker to end; it does after the sample that it is at."""
        if self.process is not None:
            for slot in range(len(self.numbers.cells) - _CANCELLED):
                self.numbers.cells[_CANCELLED + slot] = 1
            with suppress(OSError):
                self.channel.hang_up()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def finish(self, deadline: float) -> None:
        """Wait for the end until `deadline`, then make it so; leave nothing open."""
        if self.process is not None:
            _join(self.process, deadline)
            self.process.kill()
            _join(self.process, time.monotonic() + _GRACE_SECONDS)
            if self.process.exitcode is not None:
                self.process.close()
            self.process = None
        self.theirs.close()
        self.close()

    def close(self) -> None:
        self.is_open = False  # before the rest: see _leave_the_parent
        self.channel.close()
        self.numbers.close()


def _join(process: Any, deadline: float) -> None:
    """Wait for the end of a process, which a process that another thread forked may hide."""
    while process.exitcode is None and (left := deadline - time.monotonic()) > 0:
        process.join(min(left, 0.1))


def _stop(workers: list[_Worker]) -> None:
    """End the processes."""
    for worker in workers:
        worker.dismiss()
    deadline = time.monotonic() + _GRACE_SECONDS
    try:
        for worker in workers:
            worker.finish(deadline)
    except BaseException:  # an impatient Ctrl-C
        for worker in workers:
            worker.kill()
            worker.finish(deadline=0.0)
        raise


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def start_context(choice: Any) -> BaseContext:
    """Return the context of multiprocessing that ``multiprocessing_context=choice`` means.

    Raises
    ------
    ArgumentError
        This system does not know it.
    """
    import multiprocessing
    from multiprocessing.context import BaseContext

    if isinstance(choice, BaseContext):
        return choice
    methods = multiprocessing.get_all_start_methods()
    if choice is None:
        choice = "fork" if "fork" in methods else "spawn"
    if choice not in methods:
        raise ArgumentError(
            f"DataLoader: multiprocessing_context={choice!r}, expected None, a context of "
            f"multiprocessing, or one of {methods}"
        )
    return multiprocessing.get_context(choice)


@contextmanager
def _start_conditions(method: str) -> Iterator[None]:
    """Around the start of a process: what a fork would inherit for an instant, or warn of."""
    if method != "fork":
        yield
        return
    # A signal in the child's first moments would run the parent's handlers there.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns of a fork beside other threads. The locks of this library are made
            # anew in the child, and it starts no thread in the middle of a loader's work.
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _explain_pickling(source: Source, method: str, error: Exception) -> None:
    """Raise an ArgumentError if a part of the source can't be pickled."""
    from multiprocessing.reduction import ForkingPickler

    parts = {
        "dataset": source.dataset,
        "collate_fn": source.collate,
        "worker_init_fn": source.init,
    }
    for name, part in parts.items():
        try:
            ForkingPickler.dumps(part)
        except Exception as reason:
            raise ArgumentError(
                f"DataLoader: {name} can't be pickled ({reason}), as workers started by "
                f"{method!r} need it; define its class or function at the top of a module, or use "
                "multiprocessing_context='fork'"
            ) from error
