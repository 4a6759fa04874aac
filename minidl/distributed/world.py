"""The processes of a program, the *ranks*: :class:`World`, over MPI or of this process alone."""

from __future__ import annotations

import atexit
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import DistributedError
from .engine import LIMIT, Engine, Work
from .stopped import RANKS, Guard

__all__ = [
    "HOW_TO_INSTALL",
    "World",
    "current",
    "destroy",
    "end",
    "find_mpi",
    "initialize",
    "launched",
    "let_rank_0_speak",
]

HOW_TO_INSTALL = "pip install 'minidl[mpi]'"

#: Seconds in which all ranks must have started; a rank that waits longer ends, and so do all.
START = 60

#: Seconds in which rank 0, and a launcher that ends all ranks, have their turn.
_TURN = 2

#: Variables in which launchers tell a process how many there are.
_SIZES = "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_NUM_TASKS"


class World:
    """The processes that compute together.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and the number of all.
    comm : mpi4py.MPI.Comm or None
    link : mpi4py.MPI.Comm or None
        Another, for messages between two ranks, which are the engine's alone.
    traffic : dict of str to int
        Bytes that this process has sent to others, by what they were sent for.
    """

    def __init__(self, comm: Any = None) -> None:
        self.comm = comm
        self.rank: int = 0 if comm is None else comm.rank
        self.size: int = 1 if comm is None else comm.size
        self.traffic: dict[str, int] = {}
        self._ending = threading.Lock()
        self._engine = Engine(comm, self.abort) if self.size > 1 else None
        self.link: Any = None if self._engine is None else self._engine.comm
        self._buffers: dict[int, np.ndarray] = {}

    def local_rank(self) -> int:
        """Return the number of this process among those of its machine; all ranks must call it."""
        return 0 if self.comm is None else self.comm.Split_type(_shared()).rank

    def submit(self, function: Callable[[], Any]) -> Work:
        """Start an operation that all ranks start in the same order."""
        if self._engine is not None:
            return self._engine.submit(function)
        work = Work(None, function)
        work.run()
        return work

    def finish(self, requests: list[Any]) -> None:
        """Wait for requests of MPI, inside of an operation."""
        assert self._engine is not None
        self._engine.finish(requests)

    def buffer(self, number: int, size: int) -> np.ndarray:
        """Return bytes that an operation may use until it ends."""
        if number not in self._buffers or self._buffers[number].size < size:
            self._buffers[number] = np.empty(size, np.uint8)
        return self._buffers[number]

    def patience(self) -> AbstractContextManager[None]:
        """Return a block in which this rank may stand still, such as to write to a slow disk."""
        return nullcontext() if self._engine is None else self._engine.patience()

    def count(self, label: str, sent: int) -> None:
        """Count bytes that are sent to other ranks."""
        self.traffic[label] = self.traffic.get(label, 0) + sent

    def end(self, sentence: str, status: int, details: str = "") -> None:
        """Let rank 0 print why this rank ends all; if it does not, this one does.

        Several ranks may fail at once, often for one reason, and only one should say so.
        """
        if self._engine is not None and self.rank > 0:
            self._engine.ask_to_end(sentence, status, details)
            time.sleep(_TURN)
        self.abort(sentence, status, details)

    def abort(self, sentence: str, status: int, details: str = "") -> None:
        """Print a sentence and end all ranks at once with an exit status; from any thread."""
        if not self._ending.acquire(blocking=False):  # another thread does
            time.sleep(START)
        _handle_signals(signal.SIG_IGN)
        name = Path(sys.argv[0]).name or "python"
        with suppress(OSError, ValueError):  # nobody reads it
            print(f"{details}\n{name}: {sentence}; all {self.size} ranks end", file=sys.__stderr__)
            for stream in (sys.stdout, sys.stderr, sys.__stderr__):
                if stream is not None:
                    stream.flush()
        if self.comm is None:
            os._exit(status)
        self.comm.Abort(status)

    def close(self) -> None:
        """End the thread; MPI itself ends with the process."""
        if self._engine is not None:
            self._engine.stop()
            self._engine = None


def _shared() -> Any:
    return find_mpi().COMM_TYPE_SHARED


_world: World | None = None
_alone = World()
_guard = Guard(LIMIT / 3)  # the others may have needed some time to look


def launched() -> int:
    """Return the number of processes that a launcher such as ``mpirun`` has started."""
    return max(int(os.environ.get(name, "1") or 1) for name in _SIZES)


def end(sentence: str, status: int, signaled: bool = False, details: str = "") -> None:
    """End all ranks with a sentence and an exit status; return if this process is in no world.

    Parameters
    ----------
    sentence : str
        Why; without the rank.
    status : int
    signaled : bool
        A signal has asked this process to end. If it comes from a launcher that ends all, that has
        said why, and kills the process in a second. Default False.
    details : str
        Lines to print before the sentence. Default "".
    """
    if launched() == 1 or (_world is not None and _world.size == 1):
        return
    _handle_signals(signal.SIG_DFL)
    if signaled:
        time.sleep(_TURN)
    if _world is not None:
        named = sentence if sentence.startswith("rank ") else f"rank {_world.rank}: {sentence}"
        _world.end(named, status, details)
    let_rank_0_speak()


def let_rank_0_speak() -> None:
    """Wait if this is another rank, in no world: after the first error, the launcher ends all."""
    if launched() > 1 and any(int(os.environ.get(name, "0") or 0) for name in RANKS):
        _handle_signals(signal.SIG_DFL)
        time.sleep(_TURN)


#: By which users and launchers end processes.
_SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]


def _handle_signals(handler: Any) -> None:
    """Let those signals kill this process, or ignore them."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            signal.signal(number, handler)


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Deliver signals only after the block, where the system can do that."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def find_mpi() -> Any:
    """Return ``mpi4py.MPI``.

    Raises
    ------
    DistributedError
        It is not installed, or there is no MPI library that it can load.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise DistributedError(
            f"several processes need mpi4py and an MPI library: {HOW_TO_INSTALL} ({error})"
        ) from error
    return MPI


def initialize(required: bool = False) -> World:
    """Return the world of the processes that were launched together.

    Parameters
    ----------
    required : bool
        Raise an error without MPI even if this process is alone. Default False.

    Raises
    ------
    DistributedError
        Several processes were launched (or `required`), and there is no MPI, or it sees one alone.
    """
    global _world
    if _world is None:
        if launched() > 1:
            faulthandler.dump_traceback_later(START, exit=True, file=2)
            _guard.start()
        try:
            with _signals_wait():  # the others wait for this one, and only the world can end them
                _world = World(_checked(find_mpi().COMM_WORLD))
        except DistributedError:
            if required or launched() > 1:
                raise
            _world = World()
        finally:
            faulthandler.cancel_dump_traceback_later()
            _guard.stop()
        atexit.register(destroy)
        if _world.size > 1:
            sys.excepthook = _end_all
    return _world


def _checked(comm: Any) -> Any:
    """Return a communicator, unless processes were launched that do not find each other."""
    started = int(os.environ.get(_SIZES[0]) or launched())  # mpirun -n 1 may run in a SLURM job
    if comm.size == 1 and started > 1:
        raise DistributedError(
            f"{started} processes were started, but each is alone for MPI: with srun, add "
            "--mpi=pmix (see srun --mpi=list); otherwise, mpirun is not that of mpi4py's MPI"
        )
    return comm


def current() -> World:
    """Return the world; one process alone, unless a launcher has started several."""
    if _world is not None:
        return _world
    return initialize() if launched() > 1 else _alone


def is_initialized() -> bool:
    """Return whether :func:`initialize` was called."""
    return _world is not None


def destroy() -> None:
    """Leave the world."""
    global _world
    if _world is not None:
        several = _world.size > 1
        _world.close()
        _world = None
        if several:
            _guard.start()  # for MPI_Finalize


def _end_all(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """End all ranks after an error that nobody caught: the others would wait forever."""
    text = "".join(traceback.format_exception(kind, error, trace))
    signaled = issubclass(kind, KeyboardInterrupt)
    sentence = f"rank {current().rank} failed with {kind.__name__}: {error}"
    end(sentence, 130 if signaled else 1, signaled, text)
