"""Several processes that compute together, under the names of ``torch.distributed``.

Processes (*ranks*) are started by MPI, ``mpirun -n 4 python program.py``, and talk over it through
mpi4py: ``pip install 'minidl[mpi]'``. Without MPI, or in a program that was started as usual, there
is one rank, and every function here does what one rank must do: nothing.

==============  ====================================================================
``world``       the ranks, and what happens if one fails
``engine``      the thread that talks to them and watches them
``arrays``      sums in the order of the ranks
``collectives`` the functions for tensors
``nccl``        gradients between GPUs
``stopped``     a program that looks for stopped ranks
==============  ====================================================================

:class:`minidl.nn.parallel.DistributedDataParallel`, :class:`minidl.nn.SyncBatchNorm` and
:class:`minidl.data.DistributedSampler` are built on it.
"""

from ..missing import attributes
from .collectives import (
    ReduceOp,
    all_gather,
    all_gather_into_tensor,
    all_gather_object,
    all_reduce,
    barrier,
    broadcast,
    broadcast_object_list,
    destroy_process_group,
    gather_object,
    get_backend,
    get_rank,
    get_world_size,
    init_process_group,
    is_available,
    is_initialized,
    is_mpi_available,
    reduce,
    reduce_scatter_tensor,
)
from .engine import Work
from .nccl import is_nccl_available

__all__ = [
    "ReduceOp", "Work", "all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce",
    "barrier", "broadcast", "broadcast_object_list", "destroy_process_group", "gather_object",
    "get_backend", "get_rank", "get_world_size", "init_process_group", "is_available",
    "is_initialized", "is_mpi_available", "is_nccl_available", "reduce", "reduce_scatter_tensor",
]  # fmt: skip

__getattr__ = attributes(globals())
