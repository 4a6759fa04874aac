"""The CPU engine: lanes over the batch, BLAS with one thread in each lane, recycled memory.

**Lanes.** Work is cut into a list of pieces that depends on the shapes alone, never on the number
of threads; threads take the pieces in turn. Inside a piece BLAS runs single-threaded (NumPy
releases the interpreter lock in copies, ufuncs and BLAS), and what pieces add up is added in the
pieces' order. So a result has the same bits at any number of threads.

**Memory.** An activation of AlexNet takes up to 150 MB, and fresh memory costs a page fault every
4 KB, more than computing on it. :func:`empty` therefore hands out memory that earlier arrays have
given back; :func:`scratch` is a thread's own buffer for columns and the like.

**Channels last.** The array behind an image activation is NHWC-contiguous and is seen through a
transposed NCHW view: see :func:`empty_image`.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise, product
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .errors import ArgumentError

if TYPE_CHECKING:
    from .device import Array, Shape

#: Into how many lanes a batch is cut, at most. Fixed: it decides the order of sums.
LANES = 8

#: Elementwise work on fewer elements than this is not worth a hand-over to another thread.
SMALL = 1 << 17

#: Elements that elementwise work takes at a time: 512 KB of float32, a part of a core's L2 cache.
#: Smaller ones fit it better, but threads that call NumPy more often wait more for each other.
BLOCK = 1 << 17

#: A product of fewer multiplications than this stays in one piece.
SMALL_PRODUCT = 1 << 24

Piece = TypeVar("Piece")


# --- Threads ------------------------------------------------------------------------------------


def _find_own_core() -> Callable[[], int] | None:
    """Return the C library's function that tells on which core the caller runs, where it matters.

    That is where threads can be told which cores to use: on Linux.
    """
    if not hasattr(os, "sched_setaffinity"):
        return None
    # PyDLL: the call is over sooner than the interpreter's lock could be let go
    return getattr(ctypes.PyDLL(None), "sched_getcpu", None)


_own_core = _find_own_core()


class _Threads:
    """The threads that help, made at first use (and again after a fork or a change of number).

    Not a ``ThreadPoolExecutor``: a thread is woken up in some 10 to 100 µs, and its futures and
    conditions do that more often. A small net calls :func:`parallel` 30 times in 40 ms.
    """

    def __init__(self) -> None:
        if hasattr(os, "sched_getaffinity"):
            self.count = len(os.sched_getaffinity(0))
        else:
            self.count = os.cpu_count() or 1
        self.forget()

    def forget(self) -> None:
        """Begin without threads: after a fork the parent's do not exist in the child."""
        self.lock = threading.Lock()
        self.jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.helpers: list[threading.Thread] = []
        self.avoided = -1  # the core that they keep off

    def offer(self, job: _Job, helpers: int) -> None:
        """Let up to so many threads help with a job."""
        with self.lock:
            while len(self.helpers) < self.count - 1:
                name = f"minidl-lane_{len(self.helpers)}"
                helper = threading.Thread(target=_help, args=(self.jobs,), name=name, daemon=True)
                helper.start()
                self.helpers.append(helper)
                self.avoided = -1
            self._make_room()
            for _ in range(helpers):
                self.jobs.put(job)

    def _make_room(self) -> None:
        """Keep the helpers off the core that the caller computes on.

        After a pause, Linux in a virtual machine wakes a thread where its waker runs: the other
        cores are idle, but the host has put them to sleep, and then they count as taken. Both
        threads would share one core for some 50 ms, until it balances the load.
        """
        if _own_core is None or (core := _own_core()) == self.avoided:
            return
        self.avoided = core
        others = os.sched_getaffinity(0) - {core}
        with contextlib.suppress(OSError):  # it was a hint: a sandbox may forbid it
            for helper in self.helpers if others else ():
                os.sched_setaffinity(helper.native_id, others)  # type: ignore[arg-type]

    def resize(self, count: int) -> None:
        with self.lock:
            self.count, helpers, jobs = count, self.helpers, self.jobs
            self.helpers, self.jobs = [], SimpleQueue()
        for _ in helpers:
            jobs.put(None)
        for helper in helpers:
            helper.join()


def _help(jobs: SimpleQueue[_Job | None]) -> None:
    """Help with one job after the other: the life of a thread."""
    while job := jobs.get():
        job.help()
        del job  # not held while waiting for the next


class _Here(threading.local):
    """What every thread has of its own."""

    def __init__(self) -> None:
        self.in_lane = False
        self.blas: list[list[int]] = []  # counts to give back, see _SingleThreadedBlas
        self.buffers: dict[str, np.ndarray] = {}  # see scratch


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
    """A context in which BLAS uses one thread; the caller's setting returns when the last leaves.

    Most BLAS libraries have one setting for the process: threads inside the context are counted.
    Those built on OpenMP have one for every thread, so each thread that computes enters by itself.
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

    For OpenBLAS by its own functions: threadpoolctl (seen in 3.8.0) listens to the first thread
    that sets a limit and silently ignores the others, where here any thread may be the first or the
    last; and a small network switches often enough to feel the difference, 5 µs to 1.
    """

    def __init__(self, library: Any) -> None:
        self.before = 1  # what __exit__ gives back
        self.get: Callable[[], int] = library.get_num_threads
        self.set: Callable[[int], Any] = library.set_num_threads
        if library.internal_api == "openblas" and library.threading_layer != "openmp":
            for prefix, suffix in product(("", "scipy_"), ("", "64_", "_64")):
                name = f"{prefix}openblas_{{}}_num_threads{suffix}"
                if hasattr(library.dynlib, name.format("set")):
                    self.get = getattr(library.dynlib, name.format("get"))
                    self.set = getattr(library.dynlib, name.format("set"))


single_threaded_blas = _SingleThreadedBlas()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=single_threaded_blas.after_fork)


def split(count: int, parts: int = LANES) -> list[slice]:
    """Cut ``range(count)`` into at most `parts` slices whose lengths differ by at most one.

    Examples
    --------
    >>> from minidl.cpu import split
    >>> split(10, 3)
    [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    if count == 0:
        return []
    parts = min(parts, count)
    small, longer = divmod(count, parts)
    ends = [small * i + min(i, longer) for i in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def parallel(task: Callable[[Piece], None], pieces: Sequence[Piece]) -> None:
    """Call ``task(piece)`` for every piece on the threads, with BLAS single-threaded inside.

    Parameters
    ----------
    task : callable
        Writes its result somewhere of its own; what it returns is dropped.
    pieces : sequence
        Must not depend on the number of threads. A task that itself calls `parallel` runs the
        inner pieces one after the other. A single piece is done as if it were called directly, so
        a caller who does not want NumPy's warnings of infinities switches them off himself, as
        ``Function.apply`` and the walk back do.

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
    _threads.offer(job, min(_threads.count, len(pieces)) - 1)
    try:
        job.drain()
    finally:
        job.finish()
    if job.error is not None:
        try:
            raise job.error
        finally:
            del job  # or error, traceback and this call hold each other, and the arrays


class _Job:
    """A task and the pieces that no thread has taken yet."""

    def __init__(self, task: Callable[[Piece], None], pieces: Sequence[Piece]) -> None:
        # Cleared at the end: a thread that comes too late still gets the job, and the task holds
        # the arrays, whose memory and ownership the caller waits for.
        self.task: Callable[[Piece], None] | None = task
        self.remaining = iter(pieces)  # next() on it is atomic: threads take the pieces in turn
        self.lock = threading.Lock()
        self.over = False
        self.helping = 0  # threads
        self.alone = threading.Lock()  # let go by the last of them
        self.alone.acquire()
        self.error: BaseException | None = None  # a helper's

    def help(self) -> None:
        """Do pieces on another thread than the caller's, if the job is still on."""
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
        """Let no more threads begin, and wait for those that have."""
        with self.lock:
            self.over = True
            helping = self.helping
        if helping:
            self.alone.acquire()
        self.task = None

    def drain(self) -> None:
        """Do pieces until none is left."""
        task = self.task
        assert task is not None
        outer = _here.in_lane
        _here.in_lane = True
        try:
            # infinity and NaN are results, as IEEE says; a pool's thread must be told by itself
            with single_threaded_blas, np.errstate(all="ignore"):
                for piece in self.remaining:
                    task(piece)
        finally:
            _here.in_lane = outer
            del task


# --- Memory -------------------------------------------------------------------------------------

_POOLED = 1 << 20  # smaller arrays come quickly enough from NumPy


class _Pool:
    """Blocks of memory that dropped arrays have given back, by size in bytes.

    A training step asks for the same sizes again and again and finds them all. A block may also
    serve an array up to `FIT` times smaller: conv2's output where conv1's was. Where sizes vary,
    idle blocks are dropped, those of the size used longest ago first, so that no more memory lies
    idle than is in use (and `SPARE`).
    """

    SPARE = 1 << 28
    FIT = 3.0

    def __init__(self) -> None:
        self.lock = threading.RLock()  # an array may be dropped in the middle of anything
        self.free: dict[int, list[np.ndarray]] = {}  # sizes in the order of their last use
        self.idle = self.used = 0  # bytes

    def take(self, size: int) -> np.ndarray:
        with self.lock:
            fitting = [n for n, free in self.free.items() if free and size <= n <= size * self.FIT]
            if fitting:
                size = min(fitting)
                self.used += size
                self.idle -= size
                return self.free[size].pop()
            self.used += size
            self.trim(self.used + self.SPARE)
        return np.empty(size, np.uint8)

    def give_back(self, block: np.ndarray) -> None:
        with self.lock:
            self.used -= block.nbytes
            self.idle += block.nbytes
            blocks = self.free.pop(block.nbytes, [])
            blocks.append(block)
            self.free[block.nbytes] = blocks

    def trim(self, limit: int) -> None:
        """Drop idle blocks until at most `limit` bytes are idle."""
        with self.lock:
            for size in list(self.free):
                blocks = self.free[size]
                while blocks and self.idle > limit:
                    blocks.pop()
                    self.idle -= size
                if not blocks:
                    del self.free[size]

    def after_fork(self) -> None:
        self.lock = threading.RLock()  # another thread of the parent's may hold it for ever


_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.after_fork)


class _Lease:
    """What an array of :func:`empty` keeps alive: its block, which goes back to the pool."""

    __slots__ = ("__array_interface__", "block")

    def __init__(self, block: np.ndarray, shape: Shape, dtype: np.dtype) -> None:
        self.block = block
        self.__array_interface__ = {
            "data": (block.ctypes.data, False),
            "shape": shape,
            "typestr": dtype.str,
            "version": 3,
        }

    def __del__(self) -> None:
        _pool.give_back(self.block)


def empty(shape: Shape, dtype: np.dtype) -> Array:
    """Return an uninitialised C-contiguous array, from memory given back by dropped ones.

    Parameters
    ----------
    shape : tuple of int
    dtype : dtype
    """
    dtype = np.dtype(dtype)
    size = dtype.itemsize * math.prod(shape)
    if size < _POOLED:
        return np.empty(shape, dtype)
    return np.asarray(_Lease(_pool.take(size), tuple(shape), dtype))


def empty_image(n: int, c: int, h: int, w: int, dtype: np.dtype) -> Array:
    """Return an uninitialised activation: NCHW in shape, NHWC in memory."""
    return empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)


def release_memory() -> None:
    """Give the memory that dropped arrays left behind back to the operating system."""
    _pool.trim(0)


def scratch(slot: str, shape: Shape, dtype: np.dtype) -> Array:
    """Return this thread's buffer number `slot`, as an uninitialised array of `shape`.

    The memory is the thread's own and is handed out again at the next call with the same slot: it
    holds columns and the like for as long as one piece of work uses them.
    """
    size = dtype.itemsize * math.prod(shape)
    block = _here.buffers.get(slot)
    if block is None or block.nbytes < size:
        block = _here.buffers[slot] = np.empty(size, np.uint8)
    return np.ndarray(shape, dtype, block)


# --- Work that every operation shares -----------------------------------------------------------


def _lanes_of(size: int) -> int:
    """Return how many lanes elementwise work on `size` elements is worth."""
    return min(max(size // BLOCK, 1), LANES)


def apply_ufunc(ufunc: Callable[..., Array], *inputs: Any, dtype: np.dtype | None = None) -> Array:
    """Return ``ufunc(*inputs)``, large arrays in lanes along their first axis.

    The result keeps the memory layout of the first array input.
    """
    first = next(a for a in inputs if isinstance(a, np.ndarray))
    if first.size < SMALL or any(
        isinstance(a, np.ndarray) and a.ndim and a.shape != first.shape for a in inputs
    ):
        return ufunc(*inputs)
    probe = [a[:1].ravel()[:1] if isinstance(a, np.ndarray) and a.ndim else a for a in inputs]
    out = empty_like(first, dtype or ufunc(*probe).dtype)

    def lane(piece: slice) -> None:
        parts = (a[piece] if isinstance(a, np.ndarray) and a.ndim else a for a in inputs)
        ufunc(*parts, out=out[piece])

    parallel(lane, split(first.shape[0], _lanes_of(first.size)))
    return out


def blockwise(task: Callable[..., Any], *arrays: Array) -> None:
    """Call ``task(*blocks)`` for corresponding blocks of arrays of one shape, on the threads.

    Blocks are small enough that several passes over them stay in a core's cache. They are runs of
    memory where all arrays have the memory layout of the first, and slices of the first axis
    otherwise.

    Parameters
    ----------
    task : callable
        Elementwise: it must not matter how the arrays are cut. Writes to some of its arguments.
    *arrays : array
    """
    first = arrays[0]
    if first.size <= SMALL and first.flags.c_contiguous:
        task(*arrays)
        return
    order = sorted(range(first.ndim), key=lambda axis: -abs(first.strides[axis]))
    turned = [array.transpose(order) for array in arrays]
    if first.size <= SMALL:
        task(*turned)
        return
    if all(array.flags.c_contiguous for array in turned):
        turned = [array.reshape(-1) for array in turned]
        step = BLOCK
    elif first.ndim:
        step = max(1, BLOCK * turned[0].shape[0] // max(first.size, 1))

    def lane(piece: slice) -> None:
        for start in range(piece.start, piece.stop, step):
            block = slice(start, min(start + step, piece.stop))
            task(*(array[block] for array in turned))

    parallel(lane, split(turned[0].shape[0], _lanes_of(first.size)))


#: Integers by their size in bytes.
_INTEGERS = {size: np.dtype(f"i{size}") for size in (2, 4, 8)}


def keep_where(mask: Array, values: Array, out: Array) -> None:
    """Write `values` where `mask` holds and 0 elsewhere into `out`, inside one block.

    As a product of integers, the bits of a value times 0 or 1: NumPy's ``where`` and its product of
    a float and a bool take 10 to 50 times as long.

    Parameters
    ----------
    mask : array of bool
    values, out : array of float32, float64 or float16
    """
    integer = _INTEGERS[out.dtype.itemsize]
    bits = out.view(integer)
    if values is out:
        zeros_and_ones = scratch("keep_where", out.shape, integer)
        np.copyto(zeros_and_ones, mask)
        np.multiply(bits, zeros_and_ones, out=bits)
    else:
        np.copyto(bits, mask)
        np.multiply(bits, values.view(integer), out=bits)


def empty_like(array: Array, dtype: np.dtype | None = None) -> Array:
    """Return an uninitialised array with the shape and the order of axes in memory of `array`."""
    dtype = np.dtype(dtype or array.dtype)
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    inverse = [order.index(axis) for axis in range(array.ndim)]
    return empty(tuple(array.shape[axis] for axis in order), dtype).transpose(inverse)


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return the 2-D product ``a @ b``, cut along its longer side into fixed pieces.

    Parameters
    ----------
    a : array, shape (M, K)
    b : array, shape (K, N)
    out : array, shape (M, N), optional
    """
    m, k = a.shape
    n = b.shape[1]
    if out is None:
        out = empty((m, n), np.result_type(a, b))
    if m * n * k < SMALL_PRODUCT:
        with single_threaded_blas:
            return np.matmul(a, b, out=out)
    result = out

    def columns(piece: slice) -> None:
        np.matmul(a, b[:, piece], out=result[:, piece])

    def rows(piece: slice) -> None:
        np.matmul(a[piece], b, out=result[piece])

    if n >= m:
        parallel(columns, split(n))
    else:
        parallel(rows, split(m))
    return out


def sum_rows(images: Array) -> Array:
    """Return the sum over the first two axes of (N, P, C), image by image on the threads.

    Within an image BLAS adds up (a product with ones), which is faster and loses less than
    NumPy's sum over a leading axis.
    """
    ones = np.ones(images.shape[1], images.dtype)
    sums = np.empty((images.shape[0], images.shape[2]), images.dtype)

    def lane(part: slice) -> None:
        np.matmul(ones, images[part], out=sums[part])

    parallel(lane, split(len(images)))
    return sums.sum(axis=0)
