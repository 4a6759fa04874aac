"""Batches on a device: :class:`DeviceBatches` uploads the next batch during a step.

**Pinned memory.** All tensors of a batch are packed into one block of memory that the GPU reads by
itself: one copy per step, for which the host does not wait. A :class:`~minidl.data.DataLoader` with
``pin_memory=True`` receives its workers' batches there.

**Two streams.** The copy of batch k + 1 is queued before step k, on its own stream::

    computing    | step k - 1 |    step k    |  step k + 1  |
    copying                   | batch k + 1 |
                              ^             ^
            step k - 1 may have used        step k + 1 waits for the copy
            the same memory

The host waits only before it releases a block of pinned memory, which the loader may then refill:
until the copy of the batch two before has finished. So it is never more than a few steps ahead of
the GPU, and never leaves it idle.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from ..device import CPU, Device
from ..kernels import cuda
from ..tensor import Tensor
from .collate import is_namedtuple, memory_order

__all__ = ["DeviceBatches", "pin"]

#: Blocks of pinned memory whose copies may be in progress. The third upload waits for the first.
IN_FLIGHT = 2

_ALIGNMENT = 256  # bytes: a GPU's alignment of arrays, enough for any dtype


def pin(batch: Any) -> Any:
    """Copy the tensors of a batch into one block of pinned memory.

    Parameters
    ----------
    batch : object
        Tensors in dictionaries, named tuples, tuples and lists. Tensors on a GPU and other values
        are kept as they are.

    Returns
    -------
    object
        The same structure; the tensors keep their memory order.
    """
    return _pack(batch)[1]


def pinned_parts(sizes: Sequence[int]) -> list[np.ndarray]:
    """Return arrays of bytes of the given sizes in one block of pinned memory."""
    return _block(sizes)[1]


def _block(sizes: Sequence[int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return a new block of pinned memory, and arrays of bytes of the given sizes in it."""
    padded = [-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes]
    block = cuda.pinned(sum(padded))
    starts = accumulate(padded, initial=0)
    return block, [block[start : start + size] for start, size in zip(starts, sizes, strict=False)]


def _pack(batch: Any) -> tuple[np.ndarray, Any]:
    """Return a new block of pinned memory, and the batch in it."""
    sizes: list[int] = []
    _map_arrays(lambda array: sizes.append(array.nbytes), batch)
    block, parts = _block(sizes)
    places = iter(parts)

    def copy(array: np.ndarray) -> Tensor:
        axes = memory_order(array)
        memory = next(places).view(array.dtype)
        place = memory.reshape([array.shape[axis] for axis in axes]).transpose(np.argsort(axes))
        place[...] = array
        return Tensor(place)

    return block, _map_arrays(copy, batch)


def _map_arrays(function: Callable[[np.ndarray], Any], value: Any) -> Any:
    """Return the structure with ``function(array)`` for every tensor on the CPU, in order."""
    if isinstance(value, Tensor) and isinstance(value.array, np.ndarray):
        return function(value.array)
    if isinstance(value, Mapping):
        return {key: _map_arrays(function, item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        items = [_map_arrays(function, item) for item in value]
        return type(value)(*items) if is_namedtuple(value) else type(value)(items)
    return value


class DeviceBatches:
    """Yields batches as tensors on a device; uploads them to a GPU while it computes.

    Parameters
    ----------
    batches : iterable
        Such as a :class:`~minidl.data.DataLoader`, best with ``pin_memory=True``. Tensors in
        dictionaries, named tuples, tuples and lists; other values are kept as they are.
    device : str or Device
        On the CPU, batches are passed on one by one, without reading ahead.
    finish : callable, optional
        Called with each batch on the device; its result is yielded. For example,
        :class:`~minidl.vision.transforms.RawToInput` converts pictures from bytes to floats here.

    Notes
    -----
    For a GPU, one more batch is taken from `batches` than is yielded. The caller may keep the
    tensors. Batches that are already on the GPU stay there.

    Examples
    --------
    >>> import minidl
    >>> from minidl.data import DataLoader, DeviceBatches
    >>> loader = DataLoader([minidl.tensor([1, 2]), minidl.tensor([3, 4])], batch_size=2)
    >>> [batch.tolist() for batch in DeviceBatches(loader, "cpu", lambda batch: 10 * batch)]
    [[[10, 20], [30, 40]]]
    """

    def __init__(
        self,
        batches: Iterable[Any],
        device: str | Device,
        finish: Callable[[Any], Any] | None = None,
    ) -> None:
        self.batches, self.device, self.finish = batches, Device(device), finish

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.batches) if self.device == CPU else self._uploaded()
        return batches if self.finish is None else map(self.finish, batches)

    def _uploaded(self) -> Iterator[Any]:
        """Yield each batch on the GPU once the next one is being uploaded."""
        on_the_way: deque[cuda.Upload] = deque()  # waited for when dropped, if the loop ends early
        ahead: tuple[cuda.Upload, Any] | None = None
        for batch in self.batches:
            sent = _send(batch, self.device.index or 0)
            del batch  # only on_the_way keeps its block alive
            on_the_way.append(sent[0])
            while len(on_the_way) > IN_FLIGHT:
                on_the_way.popleft().wait()
            if ahead is not None:
                yield _receive(*ahead)
            ahead = sent
        if ahead is not None:
            yield _receive(*ahead)


def _send(batch: Any, index: int) -> tuple[cuda.Upload, Any]:
    """Start uploading a batch: return the copy in progress, and the batch on the GPU."""
    blocks: list[np.ndarray | None] = []
    _map_arrays(lambda array: blocks.append(cuda.pinned_block(array)), batch)
    block = blocks[0] if blocks else None
    if block is None or any(other is not block for other in blocks):
        block, batch = _pack(batch)
    upload = cuda.Upload(block, index)
    return upload, _map_arrays(lambda array: Tensor(upload.twin(array)), batch)


def _receive(upload: cuda.Upload, batch: Any) -> Any:
    upload.receive()
    return batch
