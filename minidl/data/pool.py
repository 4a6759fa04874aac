"""The worker processes of a :class:`~minidl.data.DataLoader`, seen from the consumer.

:class:`Workers` starts them, gives them jobs and takes their batches. What runs inside a worker is
in :mod:`minidl.data.worker`.

**Order.** The consumer gives every worker a queue of *orders* and takes the answers in the same
sequence. An order occupies one of the worker's *slots* of shared memory
(:mod:`minidl.data.transport`) until its batch is dropped. A batch is copied out instead where
keeping it in its slot would leave fewer than ``prefetch_factor`` slots. Orders without a free slot
wait with the consumer. Both sides write to each other without looking for answers, so everything
under way must fit into the pipe: a few lines where there is shared memory, otherwise one order,
which the worker awaits.

**Hangs.** While the consumer waits for a worker, it looks at the worker's heartbeat at least once a
second and adds up the time without a beat. Only its own waiting counts, in slices, so a program
that was stopped and continued as a whole is not mistaken for a hang.
"""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
import warnings
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .. import random
from ..errors import ArgumentError, DataError, DTypeError
from .transport import (
    HAS_ANONYMOUS_FILES,
    Allocate,
    Channel,
    SharedNumbers,
    Slot,
    ordinary_memory,
)
from .worker import (
    BEATS,
    BEGUN,
    CANCELLED,
    HELD,
    POSITION,
    STARTING,
    Job,
    Parent,
    Source,
    WorkerInfo,
    pools,
    work,
)

if TYPE_CHECKING:
    from multiprocessing.context import BaseContext

#: Seconds that a worker may take for one sample by default.
SILENCE = 8.0

#: Seconds that a worker may take to start where it must start Python and import everything.
_START_SECONDS = 60.0

#: Most orders that a worker is sent at a time. Their lines (about 50 bytes each) fit into any pipe.
_MOST_ORDERS = 64

#: Slots of a worker whose batches the consumer may keep: the current one, and the one before, which
#: a loop's variable holds until the next arrives. Slots that a forked process may still use count
#: too, forever.
_MOST_LENT = 2

#: Seconds that a worker may take to finish its current sample when told to end.
_GRACE_SECONDS = 5.0


class Workers:
    """The worker processes of one loader. They hold no reference to a loader or iterator.

    Parameters
    ----------
    count : int
        Number of workers.
    source : Source
    context : BaseContext
        From :func:`start_context`.
    ahead : int
        Batches in preparation or waiting, for each worker.
    timeout : float
        Seconds that one sample may take.
    seed, epoch : int
        Determine :attr:`WorkerInfo.seed`.
    allocate : callable, optional
        Allocates the memory of batches. Default: they stay in shared memory.

    Raises
    ------
    ArgumentError
        Something that a spawned worker needs can't be pickled; or this process is a worker itself.
    DataError
        The system can't start another process.
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
                f"DataLoader: num_workers={count} in {current_process().name}, a daemonic process "
                "(such as a loader's worker), which can't have child processes; expected "
                "num_workers=0 there"
            )
        self.lost: DataError | None = None
        self._process_id = os.getpid()
        self.members: list[_Worker] = []
        pools.add(self)
        # Runs before multiprocessing's own cleanup, which would wait forever for a stopped worker.
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
        """Whether another epoch can begin: no worker is lost, and this process started them.

        A child by ``os.fork`` that wrote into inherited pipes would disturb its parent.
        """
        return self.lost is None and self._process_id == os.getpid()

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Leave nothing half done: an interruption, by Ctrl-C or a death, ends all workers.

        Raises
        ------
        DataError
            On entry, if an earlier interruption has ended them.
        """
        if self.lost is not None:
            raise self.lost
        try:
            yield
        except BaseException as error:
            self.lost = DataError("DataLoader: an earlier exception has ended its workers")
            if isinstance(error, DataError):
                self.lost = error
            for worker in self.members:
                worker.kill()
            self.stop()
            raise


class Order:
    """A job given to a worker, and its result once there is one."""

    def __init__(self, worker: _Worker, job: Job) -> None:
        self.worker, self.job = worker, job
        self.slot: int | None = None
        self.cancelled = self.answered = False
        self.result: Any = None

    def cancel(self) -> None:
        """Let the worker abandon it after the current sample."""
        self.cancelled = True
        if self.slot is not None and self.worker.process is not None:
            self.worker.numbers.cells[CANCELLED + self.slot] = 1


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
        self.numbers = SharedNumbers(CANCELLED + self.slots)
        self.free = list(range(self.slots))  # any thread that drops a batch appends to it
        self.queue: deque[Order] = deque()  # not sent yet
        self.sent: deque[Order] = deque()
        self.answers = 0
        self.is_open = True
        self.process: Any = None

    def start(self, source: Source) -> None:
        in_main_thread = threading.current_thread() is threading.main_thread()
        parent = Parent(os.getpid(), in_main_thread, self.method)
        channel = Channel(self.theirs, self.channel.slots)
        process = self.context.Process(  # type: ignore[attr-defined]
            target=work,
            name=f"minidl-loader-{self.info.id}",
            args=(self.info, source, channel, self.numbers, parent),
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
        """Give the worker a job and return at once. Call it inside :meth:`Workers.whole`."""
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
            self.numbers.cells[CANCELLED + order.slot] = 0
            self.sent.append(order)
            with suppress(ConnectionError):  # a dead worker is reported by wait_for
                self.channel.send(order.slot, order.job)

    def wait_for(self, order: Order) -> tuple[list[tuple[str, str]], Any]:
        """Wait for an order's notes, and its batch or :class:`Failure`. Call it inside `whole`.

        Raises
        ------
        DataError
            The worker is dead or hangs.
        """
        from multiprocessing.connection import wait

        silence, beats = 0.0, self.numbers.cells[BEATS]
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
            elif self.numbers.cells[BEATS] != beats:
                silence, beats = 0.0, self.numbers.cells[BEATS]
            else:
                silence += patience
                if silence >= limit:
                    raise self._hang(silence)
        return order.result

    def _take_answer(self) -> None:
        lent = self.slots - len(self.free) - len(self.sent)
        allocate = self.allocate or (None if lent < _MOST_LENT else ordinary_memory)
        try:
            _, result = self.channel.receive(allocate, self.free.append)
        except (EOFError, ConnectionError):
            raise self._death() from None
        except OSError as error:
            raise DataError(
                f"DataLoader: the batch of {self} can't be received: {error}; a loader needs about "
                "num_workers * (prefetch_factor + 8) open files (ulimit -n)"
            ) from error
        order = self.sent.popleft()
        self.answers += 1
        order.slot, order.answered = None, True
        if not order.cancelled:
            order.result = result
        self._send_orders()

    def _death(self) -> DataError:
        self.process.join(1)
        code, hint = self.process.exitcode, "its output on stderr may say why"
        if code is None:
            how = "closed its pipe"
            hint = "the data set's code must not close descriptors that it has not opened"
        elif code >= 0:
            how = f"ended with exit code {code}"
        else:
            how = f"was killed by {_signal_name(-code)}"
            if -code == getattr(signal, "SIGKILL", None):
                hint = "the system does this when memory runs out: try fewer workers"
        return DataError(f"DataLoader: {self} {how} {self._place()}; {hint}")

    def _hang(self, silence: float) -> DataError:
        return DataError(
            f"DataLoader: {self} has done nothing for {silence:.3g} seconds {self._place()}; "
            "if a sample may take longer, raise timeout= (seconds for one sample)"
        )

    def __str__(self) -> str:
        return f"worker {self.info.id} (pid {self.process.pid})"

    def _place(self) -> str:
        """Describe where the worker is or was."""
        cells = self.numbers.cells
        current = cells[BEGUN] - self.answers - 1
        if not 0 <= current < len(self.sent):
            return "while starting" if cells[BEGUN] == 0 else "between two batches"
        keys, position = self.sent[current].job.keys, cells[POSITION]
        if not keys:
            return "while making an empty batch"
        if position == STARTING:
            return "at the start of a batch (in worker_init_fn, if it is the first)"
        if position < len(keys):
            return f"at index {keys[position]!r} of the data set"
        return f"while making a batch of {len(keys)} samples, the last of index {keys[-1]!r}"

    def dismiss(self) -> None:
        """Tell the worker to end after its current sample."""
        if self.process is not None:
            for slot in range(len(self.numbers.cells) - CANCELLED):
                self.numbers.cells[CANCELLED + slot] = 1
            with suppress(OSError):
                self.channel.hang_up()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    def finish(self, deadline: float) -> None:
        """Wait for the worker's end until `deadline`, then kill it; leave nothing open."""
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
    """Wait for a process to end; polls, because another thread's fork may hide the end."""
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
    """Return the multiprocessing context for ``multiprocessing_context=choice``.

    Raises
    ------
    ArgumentError, DTypeError
        This system does not have it; it is neither a name nor a context.
    """
    import multiprocessing
    from multiprocessing.context import BaseContext

    if isinstance(choice, BaseContext):
        return choice
    methods = multiprocessing.get_all_start_methods()
    if choice is None:
        choice = "fork" if "fork" in methods else "spawn"
    if choice not in methods:
        kind = ArgumentError if isinstance(choice, str) else DTypeError
        raise kind(
            f"DataLoader: multiprocessing_context={choice!r}, expected None, a context of "
            f"multiprocessing, or one of {methods}"
        )
    return multiprocessing.get_context(choice)


@contextmanager
def _start_conditions(method: str) -> Iterator[None]:
    """Hold back signals, and a warning about threads, while a process starts by fork."""
    if method != "fork":
        yield
        return
    # A signal in the child's first moments would run the parent's handlers in the child.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        with warnings.catch_warnings():
            # Python 3.12 warns about forking a process with threads. This library renews its locks
            # in the child and starts no thread in the middle of a loader's work.
            warnings.simplefilter("ignore", DeprecationWarning)
            # The child must not collect what it inherits: to free an array of a GPU, it would call
            # CUDA, which no forked process can use.
            gc.freeze()
            yield
    finally:
        gc.unfreeze()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _explain_pickling(source: Source, method: str, error: Exception) -> None:
    """Raise an ArgumentError if a part of the source can't be pickled."""
    from multiprocessing.reduction import ForkingPickler

    parts = {"dataset": source.dataset, "collate_fn": source.collate, "worker_init_fn": source.init}
    for name, part in parts.items():
        try:
            ForkingPickler.dumps(part)
        except Exception as reason:
            raise ArgumentError(
                f"DataLoader: {name} can't be pickled ({reason}), which workers started by "
                f"{method!r} need; define its class or function at the top level of a module, or "
                "use multiprocessing_context='fork'"
            ) from error
