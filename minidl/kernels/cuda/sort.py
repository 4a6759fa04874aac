"""Sorting on a GPU: stable, by merging runs; and finding, which is sorting first.

Numbers are sorted by 64-bit integer keys that have their order: see :func:`keys_of`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...device import Array, array_module, cupy
from .launch import Source

_SORT = Source("sort.cu")


def argsort(array: Array, axis: int, descending: bool = False) -> Array:
    """Return the positions that sort `array` along `axis`, stably, in log2(length) passes."""
    xp = cupy()
    moved = xp.moveaxis(array, axis, -1)
    n = moved.shape[-1]
    keys = keys_of(moved).reshape(math.prod(moved.shape[:-1]), n)
    # all bits inverted: the opposite order, in which equal numbers are still equal
    keys = xp.ascontiguousarray(~keys if descending else keys)
    order = xp.ascontiguousarray(xp.broadcast_to(xp.arange(n), keys.shape))
    other_keys, other_order = xp.empty_like(keys), xp.empty_like(order)
    width = 1
    while width < n:
        _SORT.launch(
            "merge_runs", np.float32, keys.size, keys, order, other_keys, other_order,
            np.int64(len(keys)), np.int64(n), np.int64(width),
        )  # fmt: skip
        keys, order, other_keys, other_order = other_keys, other_order, keys, order
        width *= 2
    return xp.ascontiguousarray(xp.moveaxis(order.reshape(moved.shape), -1, axis))


def keys_of(array: Array) -> Array:
    """Return int64 that are ordered as the numbers: equal where those are, NaN as the largest."""
    xp = array_module(array)
    if array.dtype.kind == "f":
        # IEEE's numbers are sign and magnitude: as an integer, -0.0 is 0. (No arithmetic on the
        # numbers themselves, which may take the smallest ones for 0.)
        size = array.dtype.itemsize
        bits = xp.ascontiguousarray(array).view(f"i{size}").astype(np.int64)
        keys = xp.where(bits < 0, -(bits & np.int64(2 ** (8 * size - 1) - 1)), bits)
        return xp.where(xp.isnan(array), np.int64(2**63 - 1), keys)
    if array.dtype == np.uint64:
        return (array ^ np.uint64(2**63)).view(np.int64)
    return array.astype(np.int64)


def unique(array: Array, inverse: bool, counts: bool, axis: int | None) -> Any:
    """Return what ``np.unique`` does: sort, and keep what differs from the one before."""
    xp = cupy()
    slices = array.reshape(-1) if axis is None else xp.moveaxis(array, axis, 0)
    keys = keys_of(slices).reshape(len(slices), math.prod(slices.shape[1:]))
    order = xp.arange(len(slices))
    for column in range(keys.shape[1] - 1, -1, -1):  # the first column decides, so it comes last
        order = order[argsort(keys[order, column], 0)]
    keys = keys[order]
    differs = xp.ones(len(slices), np.bool_)
    differs[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    firsts = differs.nonzero()[0]
    kept = slices[order[firsts]]
    found = [kept if axis is None else xp.moveaxis(kept, 0, axis)]
    if inverse:
        where = xp.empty_like(order)
        where[order] = xp.cumsum(differs) - 1
        found.append(where.reshape(array.shape) if axis is None else where)
    if counts:
        ends = xp.concatenate([firsts[1:], xp.full(1, len(slices))])
        found.append(ends - firsts if len(slices) else firsts)
    return tuple(found) if len(found) > 1 else found[0]


def is_in(elements: Array, tested: Array) -> Array:
    """Return where `elements` occur in `tested`, an array of the same dtype."""
    xp = cupy()
    keys = keys_of(tested.reshape(-1))
    keys = keys[argsort(keys, 0)]
    wanted = keys_of(elements)
    if not keys.size:
        return xp.zeros(wanted.shape, np.bool_)
    at = xp.minimum(xp.searchsorted(keys, wanted), len(keys) - 1)
    found = keys[at] == wanted
    return found & ~xp.isnan(elements) if elements.dtype.kind == "f" else found
