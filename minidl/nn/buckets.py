"""Gradients on their way between ranks, in buckets: :class:`Reducer`.

When the backward has completed the gradient of a large parameter, the gradient is a bucket by
itself: the ranks add it up where it is. Those of small parameters are copied into one bucket. A
full bucket is sent at once, while the backward goes on to earlier layers. The last gradient of the
backward waits for all buckets, so that after ``backward()`` every rank has the same sums, divided
by the number of ranks. They are added in the order of the ranks, so their bits are the same in
every run.

Where each rank has a GPU of its own and NCCL, the buckets are on the GPU, and NCCL adds them there.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from .. import distributed
from ..device import CPU, Device, active, array_module, cupy, device_of
from ..distributed import arrays, nccl, world
from ..errors import DistributedError
from ..kernels.cuda import copy_to
from ..tensor import Tensor
from .module import Module, Parameter
from .parts import use_rows

__all__ = ["Reducer"]


#: Size in bytes from which a parameter has a bucket of its own.
_LARGE = 1 << 20


class Bucket:
    """The gradients of some parameters in one vector, in the host's memory or on a GPU.

    The vector of a single parameter is the gradient's own memory if that is possible, and `shared`
    allows it.
    """

    def __init__(self, parameters: list[Parameter], where: Device, shared: bool) -> None:
        self.parameters, self._where = parameters, where
        self._shared = shared and len(parameters) == 1 and where == CPU
        self.places: dict[int, slice] = {}
        start = 0
        for parameter in parameters:
            self.places[id(parameter)] = slice(start, start + parameter.numel())
            start += parameter.numel()
        self.nbytes = start * parameters[0].array.itemsize
        self.flat: Any = None
        self._own: Any = None
        self._grad: Tensor | None = None  # whose memory the vector is
        self.reset()

    def reset(self) -> None:
        """Get ready for the next backward."""
        self.missing = len(self.parameters)
        self.work: distributed.Work | None = None
        self.flat, self._grad = self._own, None

    def put(self, parameter: Parameter, factor: float) -> None:
        """Take a gradient, times a factor."""
        grad = parameter.grad
        self.missing -= 1
        if self._shared and factor == 1 and grad is not None and _is_vector(grad.array, parameter):
            self.flat, self._grad = grad.array.reshape(-1), grad
            return
        if self._own is None:
            with active(self._where):
                xp, dtype = np if self._where == CPU else cupy(), parameter.array.dtype
                self._own = self.flat = xp.empty(self.nbytes // dtype.itemsize, dtype)
        place = self.flat[self.places[id(parameter)]]
        if grad is None:
            place[:] = 0
            return
        array, where = grad.array, device_of(place)
        if device_of(array) != where:
            array = copy_to(array, where)
        with active(where):
            xp = array_module(array)
            xp.multiply(array, self.flat.dtype.type(factor), out=place.reshape(array.shape))

    def take(self, parameter: Parameter) -> None:
        """Replace a gradient by the sum of the ranks'."""
        if self._grad is not None and parameter.grad is self._grad:
            return
        flat, array = self.flat[self.places[id(parameter)]], parameter.array
        if parameter.grad is None:
            parameter.grad = Tensor(flat.reshape(array.shape).copy()).to(parameter.device)
            return
        array = parameter.grad.array
        with active(device_of(array)):
            array[...] = array_module(array).asarray(flat.reshape(array.shape))


def _is_vector(array: Any, parameter: Parameter) -> bool:
    """Return whether a gradient is one piece of the host's memory that may be overwritten."""
    if not isinstance(array, np.ndarray) or array.dtype != parameter.array.dtype:
        return False
    return array.flags.c_contiguous and array.flags.writeable


class Reducer:
    """Adds the gradients of a module over the ranks, during each backward.

    Hooks of the module and of its parameters do it, so the module is called as ever. All ranks
    begin with the parameters and buffers of rank 0. In training, dropout draws the mask of the
    batch of all ranks and takes the rank's rows; sample i of that batch is on rank i modulo N.

    Parameters
    ----------
    module : Module
    cap_mb : float
        Size of a bucket in MiB; a parameter as large, or of 1 MiB, has one of its own. Default 25.
    buffers : bool
        Send the buffers of rank 0 before each forward in training. Default True.
    find_unused : bool
        Look at the tape after each forward for parameters that get no gradient. Default False.
    parameters : iterable of Parameter, optional
        Those that all ranks have. Default: all.
    average : bool
        Divide the sums by the number of ranks; otherwise each rank's output is, so that all
        gradients are those of the mean loss, of parameters that are not sent, too. Default True.

    Attributes
    ----------
    total : int or None
        Number of samples in the batch of all ranks. Default None: that of this rank times the
        number of ranks. Each rank's loss is the mean over its samples; if a rank has more than
        others, its gradients count for more, from the module's output on. With fewer samples than
        ranks, a rank without one computes with any sample, which does not count.
    active : bool
        Whether the next backward sends gradients. Default True.
    uses_nccl : bool
        Whether NCCL adds the gradients.
    """

    def __init__(
        self, module: Module, cap_mb: float = 25, buffers: bool = True, find_unused: bool = False,
        parameters: Iterable[Parameter] | None = None, average: bool = True,
    ) -> None:  # fmt: skip
        self.module, self.find_unused = module, find_unused
        self.here = world.current()
        self.total: int | None = None
        self.average, self.active = average, True
        self._factor = 1.0  # of the rank's loss
        self._buffers = list(module.buffers()) if buffers else []
        chosen = list(module.parameters() if parameters is None else parameters)
        for tensor in (*chosen, *module.buffers()):
            distributed.broadcast(tensor.detach())
        where = device_of(chosen[0].array) if chosen else CPU
        self._nccl = nccl.join(where)
        self.uses_nccl = self._nccl is not None
        groups = _in_buckets(chosen, cap_mb * 2**20)
        self._buckets = [Bucket(g, where if self._nccl else CPU, not find_unused) for g in groups]
        mean = 1 / self.here.size if average else 1.0
        self._factors = (mean, 1.0) if self._nccl else (1.0, mean)  # of a gradient; of the sum
        self._bucket = {id(p): bucket for bucket in self._buckets for p in bucket.parameters}
        self._left: set[int] = set()
        self._used: set[int] = set()
        self._reset()
        for bucket in self._buckets:
            for parameter in bucket.parameters:
                parameter.register_post_accumulate_grad_hook(self._ready)
        module.register_forward_pre_hook(self._before_forward)
        module.register_forward_hook(self._after_forward)

    def _reset(self) -> None:
        self._next, self._left = 0, set(self._bucket)
        for bucket in self._buckets:
            bucket.reset()

    # --- The forward ------------------------------------------------------------------------------

    def _before_forward(self, module: Module, inputs: tuple[Any, ...]) -> None:
        if not module.training:
            return
        if 0 < len(self._left) < len(self._bucket):
            names = [n for n, p in module.named_parameters() if id(p) in self._left]
            raise DistributedError(
                f"DistributedDataParallel: the last backward gave {', '.join(names[:5])} no "
                "gradient, so the ranks' sums are incomplete; pass find_unused_parameters=True if "
                "the loss does not depend on all parameters"
            )
        rank, ranks = self.here.rank, self.here.size
        tensors = [value for value in inputs if isinstance(value, Tensor) and value.ndim]
        count = len(tensors[0]) if tensors else 1
        total = count * ranks if self.total is None else self.total
        mine = list(range(rank, total, ranks))
        self._factor = len(mine) * (ranks if self.average else 1) / total if total else 0.0
        use_rows(mine or [total - 1], total)
        for buffer in self._buffers:
            distributed.broadcast(buffer)

    def _after_forward(self, module: Module, inputs: Any, output: Any) -> None:
        use_rows(None)
        if not module.training:
            return
        if self._factor != 1 and isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda grad, factor=self._factor: grad * factor)
        if self.find_unused and self.active:
            self._used = _leaves_of(output)
            for bucket in self._buckets:
                for parameter in bucket.parameters:
                    if id(parameter) not in self._used:
                        self._ready(parameter)

    # --- The backward -----------------------------------------------------------------------------

    def _ready(self, parameter: Any) -> None:
        """Take a complete gradient; send the buckets that are full, always in the same order."""
        if not self.active or self.here.size == 1:
            return
        self._bucket[id(parameter)].put(parameter, self._factors[0])
        self._left.discard(id(parameter))
        while self._next < len(self._buckets) and not self._buckets[self._next].missing:
            bucket = self._buckets[self._next]
            if self._nccl is not None:
                self._nccl.all_reduce(bucket.flat)
            else:
                bucket.work = self.here.submit(partial(self._send, bucket.flat))
            self._next += 1
        if not self._left:
            self._finish()

    def _send(self, flat: np.ndarray) -> None:
        arrays.all_reduce(self.here, flat, np.add, "gradients", self._factors[1])

    def _finish(self) -> None:
        used = self._used_anywhere()
        if self._nccl is not None:
            self._nccl.wait()
        for bucket in self._buckets:
            if bucket.work is not None:
                bucket.work.wait()
            for parameter in bucket.parameters:
                if used is None or id(parameter) in used:
                    bucket.take(parameter)
        self._reset()

    def _used_anywhere(self) -> set[int] | None:
        """Return the parameters that the loss of any rank depends on; None: all."""
        if not self.find_unused:
            return None
        order = list(self._bucket)
        flags = Tensor(np.array([key in self._used for key in order], np.uint8))
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return {key for key, flag in zip(order, flags.array, strict=True) if flag}


def _in_buckets(parameters: list[Parameter], cap: float) -> list[list[Parameter]]:
    """Return the parameters in groups; the last layer, whose gradients come first, leads."""
    groups: list[list[Parameter]] = []
    open_: dict[Any, list[Parameter]] = {}  # of each dtype, the group of small ones to fill
    for parameter in reversed([p for p in parameters if p.requires_grad]):
        array = parameter.array
        if array.nbytes >= min(cap, _LARGE):
            groups.append([parameter])
            continue
        group = open_.setdefault(array.dtype, [])
        if sum(p.array.nbytes for p in group) + array.nbytes > cap:
            groups.append(open_.pop(array.dtype))
        open_.setdefault(array.dtype, []).append(parameter)
    return groups + list(open_.values())


def _leaves_of(output: Any) -> set[int]:
    """Return the ids of the leaves that tensors in `output` depend on."""
    waiting, found, seen = [output], set(), set()
    nodes: list[Any] = []
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            nodes += [value.node] if value.node is not None else []
            found.add(id(value))
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple):
            waiting += value
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        for edge in node.edges:
            if edge is not None:
                target, index = edge
                if index < 0:
                    found.add(id(target))
                else:
                    nodes.append(target)
    return found
