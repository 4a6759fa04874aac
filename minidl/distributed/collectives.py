"""Collective operations on tensors: every rank calls them, in the same order.

Each works in place on memory of its argument. A tensor on a GPU travels through the host's memory.
With ``async_op=True`` an operation returns at once, and the tensor must be left alone until
``work.wait()`` has returned.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from importlib.util import find_spec
from typing import Any

import numpy as np

from ..device import CPU, active, array_module, device_of
from ..errors import ArgumentError, DistributedError, ShapeError
from ..kernels.cuda import copy_to
from ..tensor import Tensor
from . import arrays, world
from .engine import Work

__all__ = [
    "ReduceOp", "all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce",
    "barrier", "broadcast", "broadcast_object_list", "destroy_process_group", "gather_object",
    "get_backend", "get_rank", "get_world_size", "init_process_group", "is_available",
    "is_initialized", "is_mpi_available", "reduce", "reduce_scatter_tensor",
]  # fmt: skip


class ReduceOp(Enum):
    """How the numbers of the ranks are combined, from rank 0 on."""

    SUM, PRODUCT, MIN, MAX, AVG = "sum", "product", "min", "max", "avg"


_UFUNCS: dict[ReduceOp, Any] = {
    ReduceOp.SUM: np.add, ReduceOp.PRODUCT: np.multiply, ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum, ReduceOp.AVG: np.add,
}  # fmt: skip


# --- The ranks ------------------------------------------------------------------------------------


def init_process_group(
    backend: str | None = None, init_method: str | None = None, timeout: Any = None,
    world_size: int = -1, rank: int = -1, store: Any = None, group_name: str = "",
    pg_options: Any = None, device_id: Any = None,
) -> None:  # fmt: skip
    """Join the processes that were launched together; optional, because it happens at first use.

    Parameters
    ----------
    backend : str, optional
        "mpi". "gloo" and "nccl" are accepted and mean the same, so that scripts run unchanged:
        gradients travel through NCCL where every rank has a GPU of its own, all else over MPI.
    world_size, rank : int
        If given, they must be those of the launch; -1: any.
    init_method, timeout, store, group_name, pg_options, device_id
        Accepted for compatibility with PyTorch: the launcher knows the ranks.

    Raises
    ------
    DistributedError
        There is no MPI, and several processes were launched or asked for.
    ArgumentError
        The backend is unknown, or `world_size` or `rank` is not that of the launch.

    Examples
    --------
    >>> import minidl.distributed as dist
    >>> dist.get_rank(), dist.get_world_size()
    (0, 1)
    """
    parts = {part.split(":")[-1] for part in (backend or "mpi").lower().split(",")}
    if not parts <= {"mpi", "gloo", "nccl"}:
        raise ArgumentError(f"init_process_group: expected backend 'mpi', got {backend!r}")
    if world.is_initialized():
        raise ArgumentError("init_process_group: it was called before")
    found = world.initialize(required=world_size > 1)
    for name, asked, is_ in (("world_size", world_size, found.size), ("rank", rank, found.rank)):
        if asked not in (-1, is_):
            world.destroy()
            raise ArgumentError(
                f"init_process_group: {name} is {is_}, got {asked}; start the ranks with "
                "mpirun -n NUMBER python PROGRAM"
            )


def destroy_process_group(group: Any = None) -> None:
    """Leave the other processes, after all that was begun."""
    world.destroy()


def is_available() -> bool:
    """Return whether mpi4py is installed."""
    return find_spec("mpi4py") is not None


is_mpi_available = is_available


def is_initialized() -> bool:
    """Return whether :func:`init_process_group` was called."""
    return world.is_initialized()


def get_backend(group: Any = None) -> str:
    """Return ``"mpi"``."""
    return "mpi"


def get_rank(group: Any = None) -> int:
    """Return the number of this process; 0 if it is alone."""
    return world.current().rank


def get_world_size(group: Any = None) -> int:
    """Return the number of processes; 1 if this one is alone."""
    return world.current().size


# --- Tensors --------------------------------------------------------------------------------------


def all_reduce(
    tensor: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None, async_op: bool = False,
    label: str = "all_reduce",
) -> Work | None:  # fmt: skip
    """Replace a tensor by the sum of the ranks' tensors, in the order of the ranks.

    Parameters
    ----------
    tensor : Tensor
        Of the same shape and dtype on all ranks.
    op : ReduceOp
        Default ``ReduceOp.SUM``.
    group : None
        All ranks.
    async_op : bool
        Return a :class:`Work` at once. Default False.
    label : str
        Where the bytes are counted in ``World.traffic``. Default "all_reduce".

    Examples
    --------
    >>> import minidl
    >>> x = minidl.ones(2)
    >>> minidl.distributed.all_reduce(x)  # of one rank
    >>> x
    tensor([1., 1.])
    """
    _check_group(group)
    here = world.current()
    flat, store = _flat(tensor)

    def work() -> None:
        arrays.all_reduce(here, flat, _UFUNCS[ReduceOp(op)], label)
        if op is ReduceOp.AVG:
            np.divide(flat, here.size, out=flat, casting="unsafe")

    return _start(work, store, async_op)


def reduce(
    tensor: Tensor, dst: int = 0, op: ReduceOp = ReduceOp.SUM, group: Any = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Replace a tensor of rank `dst` by the reduction; the other ranks' tensors change, too."""
    return all_reduce(tensor, op, group, async_op, "reduce")


def broadcast(
    tensor: Tensor, src: int = 0, group: Any = None, async_op: bool = False
) -> Work | None:
    """Replace a tensor by that of rank `src`.

    Parameters
    ----------
    tensor : Tensor
        Of the same shape and dtype on all ranks.
    src : int
        Default 0.
    group : None
        All ranks.
    async_op : bool
        Return a :class:`Work` at once. Default False.

    Raises
    ------
    ArgumentError
        There is no such rank.
    """
    _check_group(group)
    here = world.current()
    if not 0 <= src < here.size:
        raise ArgumentError(f"broadcast: src must be a rank from 0 to {here.size - 1}, got {src}")
    flat, store = _flat(tensor)
    return _start(lambda: arrays.broadcast(here, flat, src, "broadcast"), store, async_op)


def all_gather(
    tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """Fill a list with the tensors of all ranks.

    Parameters
    ----------
    tensor_list : list of Tensor
        One for each rank, with the shape and dtype of `tensor`.
    tensor : Tensor
        Of the same shape and dtype on all ranks.
    group : None
        All ranks.
    async_op : bool
        Return a :class:`Work` at once. Default False.

    Raises
    ------
    ShapeError
        The list has another length, or its tensors other shapes.
    """
    _check_group(group)
    here = world.current()
    if len(tensor_list) != here.size or any(t.shape != tensor.shape for t in tensor_list):
        raise ShapeError(
            f"all_gather: expected {here.size} tensors of shape {tuple(tensor.shape)}, got "
            f"{[tuple(t.shape) for t in tensor_list]}"
        )
    flat, _ = _flat(tensor)

    def store(whole: np.ndarray) -> None:
        for target, row in zip(tensor_list, whole.reshape(here.size, -1), strict=True):
            _fill(target, row)

    sizes = [flat.size] * here.size
    return _start(lambda: arrays.all_gather(here, flat, sizes, "all_gather"), store, async_op)


def all_gather_into_tensor(
    output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False
) -> Work | None:
    """Fill a tensor with those of all ranks, one after another along the first axis."""
    _check_group(group)
    here = world.current()
    _check_sizes("all_gather_into_tensor", output_tensor, input_tensor, here.size)
    flat, _ = _flat(input_tensor)
    sizes = [flat.size] * here.size
    return _start(
        lambda: arrays.all_gather(here, flat, sizes, "all_gather"),
        lambda whole: _fill(output_tensor, whole), async_op,
    )  # fmt: skip


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: ReduceOp = ReduceOp.SUM, group: Any = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    """Fill a tensor with this rank's piece of the reduction of `input`."""
    _check_group(group)
    here = world.current()
    _check_sizes("reduce_scatter_tensor", input, output, here.size)
    flat, _ = _flat(input)

    def work() -> np.ndarray:
        sizes = [flat.size // here.size] * here.size
        total = arrays.reduce_scatter(here, flat, sizes, "reduce_scatter", _UFUNCS[ReduceOp(op)])
        return total / here.size if op is ReduceOp.AVG else total

    return _start(work, lambda total: _fill(output, total), async_op)


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Wait until all ranks are here."""
    _check_group(group)
    here = world.current()

    def work() -> None:
        if here.size > 1:
            here.finish([here.comm.Ibarrier()])

    return _start(work, None, async_op)


def broadcast_object_list(
    object_list: list[Any], src: int = 0, group: Any = None, device: Any = None
) -> None:
    """Replace the objects in a list by those of rank `src`; they are pickled."""
    _check_group(group)
    gathered = _gathered(list(object_list) if get_rank() == src else [])
    object_list[:] = gathered[src]


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Fill a list with the objects of all ranks; they are pickled."""
    _check_group(group)
    object_list[:] = _gathered(obj)


def gather_object(
    obj: Any, object_gather_list: list[Any] | None = None, dst: int | None = None,
    group: Any = None, group_dst: int | None = None,
) -> None:  # fmt: skip
    """Fill a list of rank `dst` (default 0) with the objects of all ranks; they are pickled."""
    _check_group(group)
    target = next((rank for rank in (dst, group_dst) if rank is not None), 0)
    if (object_gather_list is not None) != (get_rank() == target):
        raise ArgumentError(f"gather_object: expected a list on rank {target}, and only there")
    gathered = _gathered(obj, target)
    if object_gather_list is not None:
        object_gather_list[:] = gathered


def _gathered(value: Any, target: int | None = None) -> list[Any]:
    """Return the objects of all ranks, perhaps only on one of them."""
    import pickle  # between ranks of one program; never from a file

    here = world.current()
    if here.size == 1:
        return [value]
    text = np.frombuffer(pickle.dumps(value), np.uint8)

    def work() -> list[Any]:
        sizes = arrays.all_gather(here, np.array([text.size]), [1] * here.size, "objects")
        if target is None:
            whole = arrays.all_gather(here, text, sizes.tolist(), "objects")
        else:
            sent = [text.size if rank == target else 0 for rank in range(here.size)]
            sizes = sizes if here.rank == target else sizes[:0]
            taken = sizes.tolist() or [0] * here.size
            whole = arrays.exchange(here, text, sent, taken, "objects")
        ends = [*np.cumsum(sizes)]
        pieces = [whole[end - size : end] for end, size in zip(ends, sizes, strict=True)]
        return [pickle.loads(piece.tobytes()) for piece in pieces]

    return list(here.submit(work).wait())


def _start(
    work: Callable[[], Any], store: Callable[[Any], None] | None, async_op: bool
) -> Work | None:
    started = world.current().submit(work)
    started.after = store
    if async_op:
        return started
    started.wait()
    return None


def _flat(tensor: Tensor) -> tuple[np.ndarray, Callable[[Any], None] | None]:
    """Return a tensor's numbers as a vector of NumPy, and how a change of it is stored."""
    array = tensor.array
    if isinstance(array, np.ndarray) and array.flags.c_contiguous:
        tensor.version[0] += 1
        return array.reshape(-1), None
    host = np.ascontiguousarray(copy_to(array, CPU)).reshape(-1)
    return host, lambda _: _fill(tensor, host)


def _fill(tensor: Tensor, flat: np.ndarray) -> None:
    """Overwrite a tensor by the numbers of a vector."""
    where = device_of(tensor.array)
    with active(where):
        numbers = flat.reshape(tensor.array.shape)
        tensor.array[...] = numbers if where == CPU else array_module(tensor.array).asarray(numbers)
    tensor.version[0] += 1


def _check_group(group: Any) -> None:
    if group is not None:
        raise DistributedError("groups of some ranks are not supported: expected group=None")


def _check_sizes(name: str, whole: Tensor, part: Tensor, ranks: int) -> None:
    if whole.numel() != part.numel() * ranks or whole.dtype != part.dtype:
        raise ShapeError(
            f"{name}: {tuple(whole.shape)} of {whole.dtype} is not {ranks} times "
            f"{tuple(part.shape)} of {part.dtype}"
        )
