"""DataLoader: batches of a data set, in order, prepared ahead of time by worker processes.

**Division of labor.** The consumer asks the batch sampler for the next list of indices and numbers
its samples; a worker fetches and collates them; the consumer receives the batches in the sampler's
order. Worker ``k mod num_workers`` makes batch ``k``. Each sample's random choices come from a
stream of (seed, epoch, place in the epoch): see :mod:`minidl.data.stream`. The consumer's side of
the workers is :mod:`minidl.data.pool`, their own :mod:`minidl.data.worker`; batches travel by
:mod:`minidl.data.transport`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, repeat
from types import GenericAlias
from typing import Any

from .. import random
from ..errors import ArgumentError
from ..kernels import cuda
from ..random import Generator
from .collate import default_collate, default_convert
from .dataset import IterableDataset
from .distributed import DistributedSampler, Share
from .notes import add_notes, collect_notes
from .pool import SILENCE, Order, Workers, start_context
from .sampler import BatchSampler, RandomSampler, SequentialSampler
from .stream import OrderScope, use_order
from .upload import pin, pinned_parts
from .worker import End, Failure, Job, Source, WorkerInfo, get_worker_info

__all__ = ["DataLoader", "WorkerInfo", "default_collate", "default_convert", "get_worker_info"]

_FIXED = ("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers")


class DataLoader:
    """Iterates over a data set in batches.

    Parameters
    ----------
    dataset : Dataset
        Anything with ``__getitem__`` and ``__len__``, or an :class:`~minidl.data.IterableDataset`,
        whose samples come in its own order; with workers, in that of their batches, taken in turn.
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
        Number of processes that prepare batches ahead of time. With 0, the caller's own thread
        prepares each batch on demand. The batches have the same bytes for any number.
    collate_fn : callable, optional
        From a list of samples to a batch. Default :func:`default_collate`.
    pin_memory : bool, default False
        If there is a GPU, put each batch into pinned memory, which the GPU reads by itself, all
        tensors in one block: :class:`~minidl.data.DeviceBatches` uploads it in one copy, during
        the step before. Without a GPU, batches are in ordinary memory. The bytes are the same.
    drop_last : bool, default False
        Drop the last batch if it is smaller.
    timeout : float, default 0
        Seconds that a worker may take for one sample (or for ``collate_fn``) before it counts as
        hung. 0 means 8 seconds. (PyTorch's 0 waits forever, and its limit is for a whole batch.)
    worker_init_fn : callable, optional
        Called in each worker with its number, before its first sample. See Notes.
    multiprocessing_context : str or context, optional
        How workers are started: ``"fork"``, ``"spawn"``, ``"forkserver"``, or a context of
        ``multiprocessing``. Default: fork if the system supports it, otherwise spawn.
    generator : minidl.Generator, optional
        Determines order and augmentation; each iteration advances it. Default: the library's own
        generator, which :func:`minidl.manual_seed` seeds.
    prefetch_factor : int or None, default 2
        Batches in preparation or waiting, for each worker. ``None`` is 2. Of more than 64, the rest
        are started as the first ones are taken.
    persistent_workers : bool, default False
        Keep the workers (and their copies of the data set) from one epoch to the next.
    pin_memory_device, in_order
        Accepted for PyTorch's programs, without effect: there is one pinned memory, and batches
        always come in order.

    Attributes
    ----------
    epoch : int
        One more than the number of the latest iteration's epoch. Set it with :meth:`set_epoch`.
    notes : dict of str to list of str
        Remarks that the data set has made with :func:`minidl.data.note` about the samples of the
        batches delivered so far, by kind; each remark once, in order.

    Raises
    ------
    ArgumentError
        From the constructor, for arguments that exclude each other or are out of range; from an
        assignment to an attribute that decides the batches; from ``iter()``, if workers are spawned
        and something that they need can't be pickled, or in a process that is a worker itself.
    DataError
        From the iterator: a worker has died or hung (the message names it and the index that it
        was at), or the samples do not form a batch. An exception from the data set, a transform or
        ``collate_fn`` is raised unchanged, whether or not in a worker, with a note that names the
        sample's index; one that can't be pickled becomes a DataError with the traceback in a note.

    Notes
    -----
    **Order and augmentation** are functions of (seed, epoch, place in the epoch). Each iteration
    takes its epoch's number from the generator, which counts the iterations of all its loaders
    since it was seeded: a loader that is made anew for each epoch gets a new order each time, the
    same in each run. The count is part of the generator's state
    (:func:`minidl.get_rng_state`). After ``set_epoch(e)``, the loader counts by itself, from ``e``.
    To resume a run that was interrupted after ``k`` batches of epoch ``e``: ``set_epoch(e)``, then
    ``iterate(start_batch=k)``; if other loaders are iterated in between, call ``set_epoch``
    before each epoch from the start. Or restore the generator's state of that moment, then
    ``iterate(start_batch=k)``.

    **Workers are processes.** Forked workers inherit the data set as it is at the start of the
    iteration, without a copy; for spawned ones it is pickled. Whatever ``__getitem__`` or
    ``worker_init_fn`` assigns afterwards, to ``get_worker_info().dataset`` or anywhere else,
    belongs to that worker; :func:`minidl.data.note` sends remarks back. The samplers and the loop
    run in the caller's process. A worker computes with one thread and never uses a GPU.
    :func:`default_collate` makes its batches in memory shared with the caller. They stay there and
    behave like any other tensor; if the caller keeps more than two batches of a worker, further
    ones are copied.

    ``random``, ``numpy.random`` and minidl's own generator are seeded with ``WorkerInfo.seed`` in
    every worker, but their numbers depend on the number of workers: draw from
    :func:`minidl.data.sample_stream` instead.

    Workers end when the iterator is exhausted or dropped (with ``persistent_workers``, when the
    loader is dropped), and when this process ends, even by SIGKILL. If one dies or hangs, the
    others are ended too, and the next iteration starts new ones.

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

    __class_getitem__: Any = classmethod(GenericAlias)

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
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        prefetch_factor: int | None = 2,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        self._streams = isinstance(dataset, IterableDataset)
        if self._streams and (shuffle or sampler is not None or batch_sampler is not None):
            raise ArgumentError(
                "DataLoader: an IterableDataset has its own order, so shuffle, sampler and "
                "batch_sampler must not be given"
            )
        if not hasattr(dataset, "__getitem__"):
            raise ArgumentError(
                f"DataLoader: dataset is a {type(dataset).__name__} without __getitem__; "
                "expected something indexable, such as a minidl.data.Dataset"
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
        if multiprocessing_context is not None:
            if num_workers == 0:
                raise ArgumentError("DataLoader: multiprocessing_context needs num_workers > 0")
            start_context(multiprocessing_context)
        if sampler is not None and shuffle:
            raise ArgumentError("DataLoader: sampler and shuffle=True exclude each other")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ArgumentError(
                    "DataLoader: batch_sampler excludes batch_size, shuffle, sampler and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ArgumentError("DataLoader: drop_last=True needs a batch_size, got None")

        if self._streams:
            sampler = _Endless()
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
        self.multiprocessing_context = multiprocessing_context
        random.chosen(generator)  # raises unless it is one
        self.generator = generator
        self.prefetch_factor = 2 if prefetch_factor is None else prefetch_factor
        self.persistent_workers = persistent_workers
        self.pin_memory_device, self.in_order = pin_memory_device, in_order
        self.epoch = 0
        self._counts_itself = False
        self._iterations = 0
        self.notes: dict[str, list[str]] = {}
        self._workers: Workers | None = None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIXED and "_workers" in vars(self):  # which __init__ sets last
            raise ArgumentError(f"DataLoader: {name} can't be changed; make another loader")
        super().__setattr__(name, value)

    def __len__(self) -> int:
        """The number of batches in an epoch (of samples, with ``batch_size=None``)."""
        if self._streams:  # if the data set knows it
            count, size = len(self.dataset), self.batch_size or 1
            return count // size if self.drop_last else -(-count // size)
        source = self.sampler if self.batch_sampler is None else self.batch_sampler
        return len(source)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        return self.iterate()

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch's number of the next iteration; later iterations count on from it.

        Parameters
        ----------
        epoch : int
            At least 0.

        Examples
        --------
        >>> import minidl
        >>> from minidl.data import DataLoader
        >>> _ = minidl.manual_seed(0)
        >>> loader = DataLoader(range(10), batch_size=10, shuffle=True)
        >>> first, second = [[batch.tolist() for batch in loader] for _ in range(2)]
        >>> loader.set_epoch(0)
        >>> [batch.tolist() for batch in loader] == first, first == second
        (True, False)
        """
        if epoch < 0:
            raise ArgumentError(f"DataLoader.set_epoch: epoch must be at least 0, got {epoch}")
        self.epoch, self._counts_itself = epoch, True

    def iterate(self, start_batch: int = 0) -> Iterator[Any]:
        """Iterate over an epoch, starting at one of its batches.

        Parameters
        ----------
        start_batch : int, default 0
            Number of batches to skip, at most those of an epoch. Their indices are drawn, but
            their samples are not fetched; the remaining batches are those of a whole epoch. If
            greater than 0, and no epoch was set, the epoch that was begun last goes on.

        Returns
        -------
        iterator

        Raises
        ------
        ArgumentError
            `start_batch` is negative, or (from the iterator) the epoch has fewer batches.

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
        generator = random.chosen(self.generator)
        seed = generator.initial_seed()
        epoch = self.epoch if self._counts_itself else generator.next_epoch(start_batch > 0)
        self.epoch = epoch + 1
        self._iterations += 1
        jobs = self._plan(seed, epoch, 0 if self._streams else start_batch)
        alone = self.batch_sampler is None
        source = Source(self.dataset, self.collate_fn, alone, self.worker_init_fn, self.drop_last)
        pinned = self.pin_memory and cuda.is_available()
        batches: Iterator[Any]
        if self.num_workers == 0:
            batches = _Inline(source, jobs, pinned, self.notes)
        else:
            workers = self._workers
            if workers is None or not workers.usable:
                context = start_context(self.multiprocessing_context)
                ahead, limit = self.prefetch_factor, self.timeout or SILENCE
                allocate = pinned_parts if pinned else None
                workers = Workers(
                    self.num_workers, source, context, ahead, limit, seed, epoch, allocate
                )
                if self.persistent_workers:
                    self._workers = workers
            batches = _Prefetch(self, jobs, workers)
        # Of a stream, only reading on leads to the rest.
        return islice(batches, start_batch, None) if self._streams and start_batch else batches

    def _plan(self, seed: int, epoch: int, start_batch: int) -> Iterator[Job]:
        """Yield the epoch's jobs in order, in the consumer's thread, where samplers must run."""
        alone = self.batch_sampler is None
        scope = OrderScope(seed, epoch)
        place = number = 0
        # Samplers may draw in iter() or in any next(): both see the epoch's scope.
        with use_order(scope):
            source = iter(self.sampler if self.batch_sampler is None else self.batch_sampler)
        while True:
            with use_order(scope):
                drawn: Any = next(source, End)
            if drawn is End:
                break
            keys = [drawn] if alone else list(drawn)
            if number >= start_batch:
                first, step = place, 1
                if isinstance(drawn, Share):
                    first, step = drawn.first_place, drawn.step
                elif isinstance(self.sampler, DistributedSampler):
                    first, step = self.sampler.places(place)
                yield Job(keys, seed, epoch, first, self._iterations, step)
            place += len(keys)
            number += 1
        if number < start_batch:
            raise ArgumentError(
                f"DataLoader.iterate: start_batch={start_batch}, but epoch {epoch} has only "
                f"{number} batches"
            )


class _Endless:
    """The sampler of an IterableDataset, whose workers find its end: keys that say nothing."""

    def __iter__(self) -> Iterator[None]:
        return repeat(None)


class _Inline(Iterator[Any]):
    """The iterator without workers."""

    def __init__(
        self, source: Source, jobs: Iterator[Job], pinned: bool, notes: dict[str, list[str]]
    ) -> None:
        self._source, self._jobs, self._pinned, self._notes = source, jobs, pinned, notes

    def __next__(self) -> Any:
        job = next(self._jobs)
        with collect_notes() as notes:
            try:
                batch = self._source.batch(job)
            finally:
                add_notes(notes, self._notes)
        if isinstance(batch, End):
            raise StopIteration
        return pin(batch) if self._pinned else batch


class _Prefetch(Iterator[Any]):
    """The iterator with workers: a queue of orders, whose results are taken in order."""

    def __init__(self, loader: DataLoader, jobs: Iterator[Job], workers: Workers) -> None:
        from multiprocessing.util import Finalize

        self._jobs, self._workers, self._notes = jobs, workers, loader.notes
        self._persistent = loader.persistent_workers
        self._waiting: deque[Order | Failure] = deque()
        self._turns = deque(workers.members)  # the next one first
        # When the iterator is dropped, persistent workers need not finish its orders.
        Finalize(self, _cancel, (self._waiting,))
        with workers.whole():
            for _ in range(loader.num_workers * loader.prefetch_factor):
                self._order_next()

    def __next__(self) -> Any:
        while self._waiting:
            order = self._waiting[0]
            if isinstance(order, Failure):
                self._waiting.popleft()
                raise order.error
            # After a Ctrl-C inside, a batch would be missing if the iteration went on.
            with self._workers.whole():
                notes, result = order.worker.wait_for(order)
                self._waiting.popleft()
                if isinstance(result, End) and order.worker in self._turns:
                    self._turns.remove(order.worker)
                self._order_next()
                add_notes(notes, self._notes)
            if isinstance(result, Failure):
                raise result.error
            if not isinstance(result, End):
                return result
        if not self._persistent:
            self._workers.stop()
        raise StopIteration

    def _order_next(self) -> None:
        """Give the next job to the worker whose turn it is."""
        if not self._turns:
            return
        try:
            job = next(self._jobs, None)
        except Exception as error:  # a sampler's; it is raised after the batches before it
            self._waiting.append(Failure(error))
            return
        if job is not None:
            self._waiting.append(self._turns[0].order(job))
            self._turns.rotate(-1)


def _cancel(waiting: deque[Order | Failure]) -> None:
    """Cancel the orders of an iterator that was dropped."""
    for order in waiting:
        if isinstance(order, Order):
            order.cancel()
