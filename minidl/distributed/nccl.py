"""Gradients between GPUs, by NVIDIA's NCCL through CuPy: :func:`join`.

Its sums are queued on a stream of their own, beside the backward's; the host never waits. All ranks
queue them in the same order, that of the program. NCCL adds in an order of its own, which two runs
on the same machines share.
"""

from __future__ import annotations

import importlib
import os
import socket
import warnings
from typing import Any

from ..device import CPU, Device, active, cupy, is_available
from . import collectives, world

__all__ = ["Nccl", "is_nccl_available", "join"]


class Nccl:
    """This rank's part in sums over the ranks' GPUs.

    Parameters
    ----------
    here : World
    where : Device
        This rank's GPU, which no other rank has.
    """

    def __init__(self, here: world.World, where: Device) -> None:
        self._where = where
        self._nccl = _library()
        key: list[Any] = [self._nccl.get_unique_id() if here.rank == 0 else None]
        collectives.broadcast_object_list(key)
        with active(where), here.patience():  # the first meeting takes seconds
            self._comm = self._nccl.NcclCommunicator(here.size, key[0], here.rank)
            self._stream = cupy().cuda.Stream(non_blocking=True)

    def all_reduce(self, flat: Any) -> None:
        """Queue the sum of a contiguous vector in place, behind the work that was queued before."""
        types = {"e": self._nccl.NCCL_FLOAT16, "f": self._nccl.NCCL_FLOAT32}
        kind = types.get(flat.dtype.char, self._nccl.NCCL_FLOAT64)
        with active(self._where):
            self._stream.wait_event(cupy().cuda.get_current_stream().record())
            self._comm.allReduce(
                flat.data.ptr, flat.data.ptr, flat.size, kind, self._nccl.NCCL_SUM, self._stream.ptr
            )

    def wait(self) -> None:
        """Make work queued from now on wait for the sums."""
        with active(self._where):
            cupy().cuda.get_current_stream().wait_event(self._stream.record())


def is_nccl_available() -> bool:
    """Return whether CuPy finds NCCL and a GPU: ``pip install nvidia-nccl-cu13``."""
    return is_available() and bool(_library().available)


def _library() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy's, that it does not find it
        return importlib.import_module("cupy.cuda.nccl")


def join(where: Device) -> Nccl | None:
    """Return a communicator if every rank has NCCL and a GPU of its own; all ranks call this.

    Parameters
    ----------
    where : Device
        Where this rank computes.
    """
    here = world.current()
    if here.size == 1:
        return None
    cards: list[Any] = []
    collectives.all_gather_object(cards, _card(where))
    return None if None in cards or len(set(cards)) < here.size else Nccl(here, where)


def _card(where: Device) -> tuple[str, str] | None:
    """Return a name of a GPU that no other has; None if NCCL must not be used on it."""
    if where == CPU or os.environ.get("MINIDL_NCCL") == "0" or not is_nccl_available():
        return None
    return socket.gethostname(), cupy().cuda.runtime.deviceGetPCIBusId(where.index)
