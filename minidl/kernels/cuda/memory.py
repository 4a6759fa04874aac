"""Arrays on a GPU: their layout, copies to and from the host, and memory statistics.

An image activation is (C, N, H, W)-contiguous in memory and used through a transposed NCHW view
(:func:`empty_image`): then a convolution is one 2-D product whose result is the next layer's input
without a copy. :func:`channel_major` returns that memory order for a kernel.
"""

from __future__ import annotations

from typing import Any

from ...device import Array, Device, cupy, device_of, is_available
from .out_of_memory import explain_out_of_memory


def synchronize() -> None:
    """Wait until the current GPU has finished all its work; does nothing without a GPU."""
    if is_available():
        cupy().cuda.runtime.deviceSynchronize()  # all streams: uploads have their own


def memory_stats() -> dict[str, int]:
    """Return the bytes of the current GPU's memory that arrays use and CuPy's pool holds.

    Returns
    -------
    dict
        ``used``: by arrays; ``pooled``: held by the pool, including arrays; ``free`` and ``total``:
        of the card. All 0 without a GPU.

    Examples
    --------
    >>> import minidl
    >>> sorted(minidl.cuda.memory_stats())
    ['free', 'pooled', 'total', 'used']
    """
    if not is_available():
        return dict.fromkeys(("used", "pooled", "free", "total"), 0)
    pool = cupy().get_default_memory_pool()
    free, total = cupy().cuda.runtime.memGetInfo()
    return {
        "used": int(pool.used_bytes()),
        "pooled": int(pool.total_bytes()),
        "free": int(free),
        "total": int(total),
    }


def to_host(array: Any) -> Any:
    """Return a NumPy copy of a CuPy array."""
    return cupy().asnumpy(array)


def to_device(array: Any, index: int) -> Any:
    """Return a copy of `array` on GPU number `index`."""
    with cupy().cuda.Device(index):
        try:
            return cupy().asarray(array)
        except (MemoryError, RuntimeError) as error:
            explain_out_of_memory(error, f"moving an array of shape {array.shape}")
            raise


def empty_image(n: int, c: int, h: int, w: int, dtype: Any) -> Any:
    """Return an uninitialized activation: NCHW in shape, (C, N, H, W) in memory."""
    return cupy().empty((c, n, h, w), dtype).transpose(1, 0, 2, 3)


def channel_major(x: Any) -> Any:
    """Return images (N, C, H, W) as a C-contiguous (C, N, H, W), copying only if necessary."""
    turned = x.transpose(1, 0, 2, 3)
    return turned if turned.flags.c_contiguous else cupy().ascontiguousarray(turned)


def aligned(first: Array, *others: Array) -> list[Array]:
    """Return arrays of one shape as C-contiguous ones, with axes in the memory order of `first`.

    Arrays that have this order are returned as views, others are copied.
    """
    arrays = [first, *others]
    if not first.flags.c_contiguous:
        order = _order(first)
        arrays = [array.transpose(order) for array in arrays]
    xp = cupy()
    return [array if array.flags.c_contiguous else xp.ascontiguousarray(array) for array in arrays]


def is_dense(array: Array) -> bool:
    """Return whether the array fills its memory without gaps, in any memory order."""
    return bool(array.flags.c_contiguous or array.transpose(_order(array)).flags.c_contiguous)


def _order(array: Any) -> list[int]:
    strides = array.strides
    return sorted(range(array.ndim), key=lambda axis: -abs(strides[axis]))


def copy_to(array: Array, where: Device) -> Array:
    """Return `array` on device `where`: itself if it is already there, otherwise a copy."""
    if device_of(array) == where:
        return array
    return to_host(array) if where.type == "cpu" else to_device(array, where.index or 0)
