"""Explaining a full GPU: the layer that requested memory, and the batch size that would fit."""

from __future__ import annotations

import gc
from typing import Any

from ...device import cupy
from ...errors import DeviceError


class OutOfMemoryError(DeviceError):
    """The GPU's memory is full; the message names the layer and a batch size that would fit.

    ``Function.apply`` and the walk back make it from CuPy's error (:func:`explain_out_of_memory`).
    Every module that it passes on its way up adds information (:meth:`leaves`).
    """

    def __init__(self, what: str, asked: int, batch: int = 0) -> None:
        super().__init__(what)
        self.what, self.asked, self.batch = what, asked, batch
        self.path, self.module = "", None  # of the innermost module; the outermost so far
        # A program may have set its own pool.
        pool = getattr(cupy().cuda.get_allocator(), "__self__", None)
        if not isinstance(pool, cupy().cuda.MemoryPool):
            pool = cupy().get_default_memory_pool()
        self.used, self.pooled = int(pool.used_bytes()), int(pool.total_bytes())
        free = int(cupy().cuda.runtime.memGetInfo()[0])
        self.limit = min(self.pooled + free, int(pool.get_limit()) or self.pooled + free)
        self.fixed = self._fixed()

    def _fixed(self) -> int:
        """Return the bytes that do not grow with the batch: parameters, gradients, momenta.

        These are the blocks without an array that has an axis as long as the batch.
        """
        sizes: dict[int, int] = {}
        growing: set[int] = set()
        for item in gc.get_objects():
            if isinstance(item, cupy().ndarray):
                block = item.data.mem
                sizes[block.ptr] = block.size
                if self.batch in item.shape:
                    growing.add(block.ptr)
        return min(sum(sizes[block] for block in sizes.keys() - growing), self.used)

    def leaves(self, module: Any, inputs: tuple[Any, ...]) -> None:
        """Record that the error leaves the ``forward`` of `module`, called with `inputs`.

        A module does not know its own name, but its parent does.
        """
        kind = type(module).__name__
        if self.module is None:
            self.what = f"layer {{}}({kind}), {self.what}"
        else:
            names = [name for name, child in module._modules.items() if child is self.module]
            self.path = ".".join(filter(None, [*names[:1], self.path]))
        self.module = module
        # At a network's input, the length of the batch is the number of pictures.
        shape: tuple[int, ...] = getattr(inputs[0], "shape", ()) if inputs else ()
        if len(shape) > 1 and int(shape[0]) != self.batch:
            self.batch = int(shape[0])
            self.fixed = self._fixed()

    def __str__(self) -> str:
        what = self.what.replace("{}", f"{self.path!r} " if self.path else "", 1)
        text = (
            f"the GPU's memory is full: {what} requested "
            f"{_size(self.asked) if self.asked else 'more'}, while arrays use "
            f"{_size(self.used)} and CuPy's pool holds {_size(self.pooled)} of at most "
            f"{_size(self.limit)}"
        )
        if self.batch < 1:
            return text
        # The pool's total, since free memory in pieces between arrays is of no use.
        each = max(self.pooled + self.asked - self.fixed, 1) / self.batch
        fits = min(int((self.limit - self.fixed) / each), self.batch - 1)
        advice = (
            f"a batch of at most {fits} would fit" if fits > 0 else "no smaller batch would fit"
        )
        return (
            f"{text}; instead of {self.batch} pictures {advice}, judging by the {_size(each)} that "
            f"each takes so far, plus {_size(self.fixed)} of parameters, gradients and the like"
        )


#: CUDA's errors for allocations outside CuPy's pool: arrays without a pool, loaded kernels,
#: cuBLAS's workspace. They do not contain the number of bytes.
_NO_MEMORY = (
    "cudaErrorMemoryAllocation",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED",  # cuBLAS works, as device.probe has seen: no room to begin
)


def explain_out_of_memory(
    error: Exception, what: str, shape: tuple[int, ...] = (), node: Any = None
) -> None:
    """Raise an :class:`OutOfMemoryError` if `error` is CuPy's; otherwise do nothing.

    Parameters
    ----------
    error : Exception
    what : str
        The operation that requested memory.
    shape : tuple of int
        Shape of the batch being processed, if any.
    node : Node, optional
        In the walk back: the tape's node, which leads to the name of a parameter and so of a layer.
    """
    kind = type(error)
    if not kind.__module__.startswith("cupy"):
        return  # NumPy's, for instance
    if kind.__name__ == "OutOfMemoryError":
        asked = int(getattr(error, "_size", 0))
    elif any(word in str(error) for word in _NO_MEMORY):
        asked = 0
    else:
        return
    batch = int(shape[0]) if len(shape) > 1 else 0
    raise OutOfMemoryError(_layer_of(node) + what, asked, batch) from error


def _layer_of(node: Any) -> str:
    """Return the layer of a node, by the parameter that it or an earlier node has used."""
    word = "layer"
    while node is not None:
        following = None
        for target, index in filter(None, node.edges or ()):
            if index >= 0:
                following = following or target
            elif target.name:
                return f"{word} {target.name.rpartition('.')[0] or target.name!r}, "
        node, word = following, "after layer"
    return ""


def _size(count: float) -> str:
    """Return a number of bytes with a unit."""
    for unit in ("KiB", "MiB"):
        count /= 1024
        if count < 1000:
            return f"{count:.3g} {unit}"
    return f"{count / 1024:.3g} GiB"
