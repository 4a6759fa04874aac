"""The least stand-in for ``cupy.cuda.nccl``: MPI adds, and all ranks must ask for the same.

Its names and arguments are those of CuPy 14's ``cupy_backends/cuda/libs/nccl.pyx``, its numbers
those of ``nccl.h``.
"""

from __future__ import annotations

import ctypes

import cupy
import numpy as np
from mpi4py import MPI

available = True
NCCL_FLOAT16, NCCL_FLOAT32, NCCL_FLOAT64, NCCL_SUM = 6, 7, 8, 0

_DTYPES = {NCCL_FLOAT16: np.float16, NCCL_FLOAT32: np.float32, NCCL_FLOAT64: np.float64}

#: What the communicators have added: count and dtype of each call.
calls: list[tuple[int, int]] = []


def get_unique_id() -> tuple[int, ...]:
    """Return 128 numbers."""
    return tuple(range(-64, 64))


class NcclCommunicator:
    """Adds vectors of the simulated GPUs, whose memory is the host's."""

    def __init__(self, ndev: int, commId: tuple[int, ...], rank: int) -> None:
        self._comm = MPI.COMM_WORLD.Dup()
        assert (ndev, rank, len(commId)) == (self._comm.size, self._comm.rank, 128)
        assert self._comm.bcast(commId) == commId, "the ranks have different ids"

    def allReduce(
        self, sendbuf: int, recvbuf: int, count: int, datatype: int, op: int, stream: int
    ) -> None:
        """Add at once: what the stream waits for is done first."""
        asked = len(calls), count, datatype, op
        assert self._comm.allgather(asked) == [asked] * self._comm.size, "the ranks disagree"
        assert op == NCCL_SUM and sendbuf == recvbuf and stream != 0
        calls.append((count, datatype))
        cupy.cuda.ExternalStream(stream).synchronize()
        size = count * np.dtype(_DTYPES[datatype]).itemsize
        memory = (ctypes.c_byte * size).from_address(recvbuf)
        own = np.frombuffer(memory, _DTYPES[datatype])
        own[:] = np.sum(self._comm.allgather(own.astype(np.float64)), axis=0)
