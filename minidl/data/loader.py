"""DataLoader: batches of a data set, in order, prepared ahead of time by worker threads.

**Who decides what.** The consumer's thread asks the batch sampler for the next list of indices
and numbers its samples; a worker fetches them and collates; the consumer receives the batches in
the sampler's order. Batch ``k`` is the work of worker ``k mod num_workers``. Each sample's random
choices come from a stream of (seed, epoch, place in the epoch): see :mod:`minidl.data.stream`.

**Why threads.** Decoding, resizing, NumPy's copies and casts all release Python's lock, so threads
decode on all cores, while processes must copy every finished batch through a pipe. Measured on 2
cores with 500 JPEGs of 300×300 (resize, crop, flip, float32; batches of 50), pictures a second:
no worker 843, threads 823 (one) and 1488 (two), processes 343 and 653.
"""

from __future__ import annotations

import contextvars
import copy
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from .. import cuda, random
from ..errors import ArgumentError, DataError
from ..random import Generator
from .collate import default_collate, default_convert
from .dataset import Dataset
from .sampler import BatchSampler, RandomSampler, SequentialSampler
from .stream import OrderScope, SampleScope, use_order, use_sample
from .upload import pin

__all__ = ["DataLoader", "WorkerInfo", "default_collate", "default_convert", "get_worker_info"]

# How long a dropped iterator waits for a worker that is still busy with a sample.
_JOIN_SECONDS = 10.0


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
        The worker's own shallow copy of the data set.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


_worker_info: contextvars.ContextVar[WorkerInfo | None] = contextvars.ContextVar(
    "worker_info", default=None
)


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
    return _worker_info.get()


class DataLoader:
    """Iterates over a data set in batches.

    Parameters
    ----------
    dataset : Dataset
        Anything with ``__getitem__`` and ``__len__``.
    batch_size : int or None, default 1
        Samples in a batch. ``None``: no batches; every element is one sample, passed through
        ``collate_fn`` (default :func:`default_convert`).
    shuffle : bool, default False
        A new random order each epoch.
    sampler : iterable, optional
        The order of the indices; excludes ``shuffle``.
    batch_sampler : iterable, optional
        Lists of indices; excludes ``batch_size``, ``shuffle``, ``sampler`` and ``drop_last``.
    num_workers : int, default 0
        Threads that prepare batches ahead of time; with 0 the caller's own thread prepares
        them when asked. The batches are the same bytes for any number.
    collate_fn : callable, optional
        From a list of samples to a batch. Default :func:`default_collate`.
    pin_memory : bool, default False
        Where there is a GPU, put each batch into memory that it can read by itself, all tensors in
        one block: :class:`~minidl.data.DeviceBatches` sends it up in one copy, during the step
        before. Without a GPU batches are in ordinary memory. The bytes are the same.
    drop_last : bool, default False
        Leave out the last batch when it is smaller.
    timeout : float, default 0
        Seconds to wait for a batch of a worker before giving up; 0 waits for ever.
    worker_init_fn : callable, optional
        Called with the worker's number in each worker before its first sample. See Notes.
    generator : minidl.Generator, optional
        Lends its seed to the order and the augmentation; it is not advanced. Default: the
        library's own generator, which :func:`minidl.manual_seed` seeds.
    prefetch_factor : int or None, default 2
        Batches in preparation or waiting, for each worker. ``None`` is 2.
    persistent_workers : bool, default False
        Keep the workers (and their copies of the data set) from one epoch to the next.

    Attributes
    ----------
    epoch : int
        The number that the next iteration will have. Set it with :meth:`set_epoch`.

    Raises
    ------
    ArgumentError
        From the constructor, for arguments that exclude each other or are out of range.
    DataError
        From the iterator: a worker exceeded ``timeout``, or samples do not make a batch.
        An exception that the data set, a transform or ``collate_fn`` raises comes out of the
        iterator as itself, whether or not a worker raised it, with a note that names the
        sample's index.

    Notes
    -----
    **Order and augmentation** are functions of (seed, epoch, place in the epoch). Iterating
    counts the epochs from 0, so that iterating the same loader twice gives two orders even when
    the seed was set again in between; ``set_epoch(0)`` replays the first. To go on where a run was
    interrupted after ``k`` batches of epoch ``e``: ``set_epoch(e)``, then
    ``iterate(start_batch=k)``.

    **Workers are threads of this process.** Each has a shallow copy of the data set (and of those
    inside :class:`Subset` and :class:`ConcatDataset`): what ``__getitem__`` or
    ``worker_init_fn`` assigns to ``get_worker_info().dataset`` belongs to that worker; what the
    attributes refer to is shared, and so are global variables. ``random`` and
    ``numpy.random`` have one state for all threads, so draw from
    :func:`minidl.data.sample_stream` instead. The samplers and the loop run in the caller's
    thread. Workers end when the iterator is exhausted or dropped.

    Examples
    --------
    >>> import minidl
    >>> from minidl.data import DataLoader, TensorDataset
    >>> dataset = TensorDataset(minidl.arange(5), minidl.zeros(5, 2))
    >>> for index, rows in DataLoader(dataset, batch_size=2):
    ...     print(index.tolist(), len(rows))
    [0, 1] 2
    [2, 3] 2
    [4] 1
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int | None = 1,
        shuffle: bool | None = False,
        sampler: Iterable[Any] | None = None,
        batch_sampler: Iterable[Any] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], Any] | None = None,
        generator: Generator | None = None,
        prefetch_factor: int | None = 2,
        persistent_workers: bool = False,
    ) -> None:
        if not hasattr(dataset, "__getitem__"):
            raise ArgumentError(
                f"DataLoader: dataset is a {type(dataset).__name__} without __getitem__; "
                "expected something that is indexed, such as a minidl.data.Dataset"
            )
        if num_workers < 0:
            raise ArgumentError(f"DataLoader: num_workers must be at least 0, got {num_workers}")
        if timeout < 0:
            raise ArgumentError(f"DataLoader: timeout must be at least 0 seconds, got {timeout}")
        if prefetch_factor is not None and prefetch_factor < 1:
            raise ArgumentError(
                f"DataLoader: prefetch_factor must be at least 1, got {prefetch_factor}"
            )
        if persistent_workers and num_workers == 0:
            raise ArgumentError("DataLoader: persistent_workers=True needs num_workers > 0")
        if sampler is not None and shuffle:
            raise ArgumentError("DataLoader: sampler and shuffle=True exclude each other")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ArgumentError(
                    "DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ArgumentError("DataLoader: batch_size=None makes no batches to drop the last of")

        if sampler is None:
            sampler = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
        if batch_sampler is None and batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)

        self.dataset = dataset
        self.batch_size = batch_size
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.num_workers = num_workers
        if collate_fn is None:
            collate_fn = default_convert if batch_sampler is None else default_collate
        self.collate_fn = collate_fn
        self.pin_memory = pin_memory
        self.drop_last = drop_last
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.epoch = 0
        self._workers: _Workers | None = None

    def __len__(self) -> int:
        """The number of batches in an epoch (of samples, with ``batch_size=None``)."""
        source = self.sampler if self.batch_sampler is None else self.batch_sampler
        return len(source)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        return self.iterate()

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration be the one numbered ``epoch``.

        Parameters
        ----------
        epoch : int
            At least 0. The iterations after the next count on from it.

        Examples
        --------
        >>> from minidl.data import DataLoader
        >>> loader = DataLoader(range(10), batch_size=10, shuffle=True)
        >>> first, second = [[batch.tolist() for batch in loader] for _ in range(2)]
        >>> loader.set_epoch(0)
        >>> [batch.tolist() for batch in loader] == first, first == second
        (True, False)
        """
        if epoch < 0:
            raise ArgumentError(f"DataLoader.set_epoch: epoch must be at least 0, got {epoch}")
        self.epoch = epoch

    def iterate(self, start_batch: int = 0) -> Iterator[Any]:
        """Iterate over an epoch from one of its batches on.

        Parameters
        ----------
        start_batch : int, default 0
            How many batches to leave out. Their samples are not fetched, only their indices
            are; the batches that follow are the same as in a whole epoch. With the number of
            batches in the epoch the iterator is empty.

        Returns
        -------
        iterator

        Raises
        ------
        ArgumentError
            When ``start_batch`` is negative, or (by the iterator) when the epoch has fewer
            batches.

        Examples
        --------
        >>> from minidl.data import DataLoader
        >>> loader = DataLoader(range(6), batch_size=2)
        >>> [batch.tolist() for batch in loader.iterate(start_batch=2)]
        [[4, 5]]
        """
        if start_batch < 0:
            raise ArgumentError(
                f"DataLoader.iterate: start_batch must be at least 0, got {start_batch}"
            )
        epoch = self.epoch
        self.epoch += 1
        generator = random.default_generator if self.generator is None else self.generator
        seed = generator.initial_seed()
        jobs = self._plan(seed, epoch, start_batch)
        if self.num_workers == 0:
            return _Inline(self.dataset, jobs)
        workers = self._workers
        if workers is None:
            workers = _Workers(self, seed, epoch)
            if self.persistent_workers:
                self._workers = workers
                weakref.finalize(self, workers.stop)
        return _Prefetch(self, jobs, workers)

    def _plan(self, seed: int, epoch: int, start_batch: int) -> Iterator[_Job]:
        """The epoch's jobs in order; runs in the consumer's thread, as the samplers must."""
        alone, collate = self.batch_sampler is None, self.collate_fn
        if self.pin_memory and cuda.is_available():
            collate = partial(_collate_and_pin, collate)
        scope = OrderScope(seed, epoch)
        place = number = 0
        # Samplers may draw at iter() or as late as at any next(): both see the epoch's scope.
        with use_order(scope):
            source = iter(self.sampler if self.batch_sampler is None else self.batch_sampler)
        while True:
            with use_order(scope):
                try:
                    drawn = next(source)
                except StopIteration:
                    break
            keys = [drawn] if alone else list(drawn)
            if number >= start_batch:
                yield _Job(keys, seed, epoch, place, collate, alone)
            place += len(keys)
            number += 1
        if number < start_batch:
            raise ArgumentError(
                f"DataLoader.iterate: start_batch={start_batch}, but epoch {epoch} has only "
                f"{number} batches"
            )


def _collate_and_pin(collate: Callable[[Any], Any], samples: Any) -> Any:
    return pin(collate(samples))


@dataclass
class _Job:
    """One batch to make."""

    keys: list[Any]
    seed: int
    epoch: int
    first_place: int
    collate: Callable[[Any], Any]
    alone: bool

    def run(self, dataset: Any, cancelled: threading.Event | None = None) -> Any:
        """Fetch the samples and make the batch; nothing when it is cancelled in between."""
        samples = []
        for place, key in enumerate(self.keys, start=self.first_place):
            if cancelled is not None and cancelled.is_set():
                return None
            try:
                with use_sample(SampleScope(self.seed, self.epoch, place)):
                    samples.append(dataset[key])
            except StopIteration as error:
                # It would end the caller's loop as if the epoch were over.
                raise DataError(f"the data set raised StopIteration for index {key!r}") from error
            except Exception as error:
                error.add_note(f"(raised for index {key!r} of the data set, epoch {self.epoch})")
                raise
        return self.collate(samples[0] if self.alone else samples)


class _Inline:
    """The iterator without workers."""

    def __init__(self, dataset: Any, jobs: Iterator[_Job]) -> None:
        self._dataset, self._jobs = dataset, jobs

    def __iter__(self) -> _Inline:
        return self

    def __next__(self) -> Any:
        return next(self._jobs).run(self._dataset)


@dataclass
class _Failure:
    """An exception on its way to the consumer."""

    error: BaseException


@dataclass
class _Order:
    """A job for a worker, with the place for its result."""

    job: _Job
    cancelled: threading.Event
    result: SimpleQueue[Any]


class _Workers:
    """Threads with one queue of orders each. They hold no reference to a loader or iterator."""

    def __init__(self, loader: DataLoader, seed: int, epoch: int) -> None:
        self.queues: list[SimpleQueue[_Order | None]] = []
        self.threads = []
        for number in range(loader.num_workers):
            dataset = loader.dataset
            if isinstance(dataset, Dataset):
                dataset = copy.copy(dataset)
            own_seed = int(random.stream(seed, "worker", epoch, number).integers(2**63))
            info = WorkerInfo(number, loader.num_workers, own_seed, dataset)
            queue: SimpleQueue[_Order | None] = SimpleQueue()
            thread = threading.Thread(
                target=_work,
                args=(info, loader.worker_init_fn, queue),
                name=f"minidl-loader-{number}",
                daemon=True,
            )
            thread.start()
            self.queues.append(queue)
            self.threads.append(thread)

    def stop(self) -> None:
        """End the threads; a second call does nothing."""
        for queue in self.queues:
            queue.put(None)
        for thread in self.threads:
            # The garbage collector may drop an iterator in one of its own workers.
            if thread is not threading.current_thread():
                thread.join(_JOIN_SECONDS)


def _work(
    info: WorkerInfo, init: Callable[[int], Any] | None, queue: SimpleQueue[_Order | None]
) -> None:
    """A worker's life. Whatever goes wrong goes to the consumer, who would wait for ever."""
    _worker_info.set(info)
    started = init is None
    while (order := queue.get()) is not None:
        try:
            if init is not None and not started:
                _start(init, info.id)
                started = True
            order.result.put(order.job.run(info.dataset, order.cancelled))
        except BaseException as error:
            order.result.put(_Failure(error))
        # Nothing of a finished batch stays alive while the worker waits for the next order.
        del order


def _start(init: Callable[[int], Any], number: int) -> None:
    try:
        init(number)
    except Exception as error:
        error.add_note(f"(raised by worker_init_fn in worker {number})")
        raise


class _Prefetch:
    """The iterator with workers: a window of orders, whose results are taken in order."""

    def __init__(self, loader: DataLoader, jobs: Iterator[_Job], workers: _Workers) -> None:
        self._jobs = jobs
        self._queues = workers.queues
        self._timeout = loader.timeout or None
        self._cancelled = threading.Event()
        self._waiting: deque[SimpleQueue[Any]] = deque()
        self._ordered = 0
        self._open = True
        stop_workers = None if loader.persistent_workers else workers.stop
        self._close = weakref.finalize(self, _close, self._cancelled, stop_workers)
        for _ in range(loader.num_workers * loader.prefetch_factor):
            self._order_next()

    def __iter__(self) -> _Prefetch:
        return self

    def __next__(self) -> Any:
        if not self._waiting:
            self._close()
            raise StopIteration
        try:
            result = self._waiting[0].get(timeout=self._timeout)
        except Empty:
            raise DataError(
                f"DataLoader: no batch arrived within timeout={self._timeout} seconds"
            ) from None
        self._waiting.popleft()
        self._order_next()
        if isinstance(result, _Failure):
            raise result.error
        return result

    def _order_next(self) -> None:
        """Give the next job to the worker whose turn it is."""
        if not self._open:
            return
        result: SimpleQueue[Any] = SimpleQueue()
        try:
            job = next(self._jobs)
        except StopIteration:
            self._open = False
            return
        except Exception as error:  # a sampler's; its turn comes after the batches before it
            self._open = False
            result.put(_Failure(error))
        else:
            queue = self._queues[self._ordered % len(self._queues)]
            queue.put(_Order(job, self._cancelled, result))
            self._ordered += 1
        self._waiting.append(result)


def _close(cancelled: threading.Event, stop_workers: Callable[[], None] | None) -> None:
    """What is left to do when an iterator is exhausted or dropped."""
    cancelled.set()
    if stop_workers is not None:
        stop_workers()
