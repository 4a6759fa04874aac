"""Elementwise work and products in lanes: what most kernels share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...device import Array
from .lanes import BANDS, PIECES, multiplies_unpacked, parallel, single_threaded_blas, split
from .memory import empty, scratch

#: Elementwise work on fewer elements than this is not worth a hand-over to another thread.
SMALL = 1 << 17

#: Elements that elementwise work takes at a time: 512 KB of float32, part of a core's L2 cache.
#: Smaller blocks fit it better, but threads that call NumPy more often wait more for each other.
BLOCK = 1 << 17

#: A product of fewer multiplications than this stays in one piece.
SMALL_PRODUCT = 1 << 24

#: Multiplications up to which OpenBLAS for AVX-512 does not pack the factors of a product, and
#: the columns of a right factor that then fit the L1 cache.
UNPACKED = 10**6
PANEL = 32


def panels_of(m: int, k: int, n: int) -> int:
    """Return into how many *panels* of columns to store the right factor of an (m, k, n) product.

    Products with one panel after another take two thirds of the time where BLAS does not pack
    small factors.
    """
    fits = n % PANEL == 0 and m * k * PANEL <= UNPACKED
    return n // PANEL if fits and multiplies_unpacked() else 1


def pieces_of(size: int) -> int:
    """Return into how many pieces to cut elementwise work on `size` elements."""
    return max(min(size // BLOCK, BANDS), min(size // (4 * BLOCK), PIECES), 1)


def pieces_of_product(multiplications: int, most: int = PIECES) -> int:
    """Return into how many pieces, at most `most`, to cut a matrix product: small ones into one."""
    if multiplications < SMALL_PRODUCT:
        return 1
    return max(BANDS, min(multiplications // SMALL_PRODUCT, most))


def apply_ufunc(ufunc: Callable[..., Array], *inputs: Any, dtype: np.dtype | None = None) -> Array:
    """Return ``ufunc(*inputs)``, large arrays in lanes along their first axis.

    The result keeps the memory layout of the first array input.
    """
    first = next(a for a in inputs if isinstance(a, np.ndarray))
    if first.size < SMALL or any(
        isinstance(a, np.ndarray) and a.ndim and a.shape != first.shape for a in inputs
    ):
        return ufunc(*inputs)
    probe = [a[:1].ravel()[:1] if isinstance(a, np.ndarray) and a.ndim else a for a in inputs]
    out = empty_like(first, dtype or ufunc(*probe).dtype)

    def lane(piece: slice) -> None:
        parts = (a[piece] if isinstance(a, np.ndarray) and a.ndim else a for a in inputs)
        ufunc(*parts, out=out[piece])

    parallel(lane, split(first.shape[0], pieces_of(first.size)))
    return out


def blockwise(task: Callable[..., Any], *arrays: Array) -> None:
    """Call ``task(*blocks)`` for corresponding blocks of arrays of one shape, on the threads.

    Blocks are small enough that several passes over them stay in a core's cache. They are runs of
    memory where all arrays have the memory layout of the first, and slices of the first axis
    otherwise.

    Parameters
    ----------
    task : callable
        Elementwise: it must not matter how the arrays are cut. Writes to some of its arguments.
    *arrays : array
    """
    first = arrays[0]
    if first.size <= SMALL and first.flags.c_contiguous:
        task(*arrays)
        return
    order = sorted(range(first.ndim), key=lambda axis: -abs(first.strides[axis]))
    turned = [array.transpose(order) for array in arrays]
    if first.size <= SMALL:
        task(*turned)
        return
    if all(array.flags.c_contiguous for array in turned):
        turned = [array.reshape(-1) for array in turned]
        step = BLOCK
    elif first.ndim:
        step = max(1, BLOCK * turned[0].shape[0] // max(first.size, 1))

    def lane(piece: slice) -> None:
        for start in range(piece.start, piece.stop, step):
            block = slice(start, min(start + step, piece.stop))
            task(*(array[block] for array in turned))

    parallel(lane, split(turned[0].shape[0], pieces_of(first.size)))


#: Integers by their size in bytes.
INTEGERS = {size: np.dtype(f"i{size}") for size in (2, 4, 8)}


def keep_where(mask: Array, values: Array, out: Array) -> None:
    """Write `values` where `mask` holds and 0 elsewhere into `out`, inside one block.

    The bits of each value, as an integer, are multiplied by 0 or 1: NumPy's ``where`` and its
    product of a float and a bool take 10 to 50 times as long.

    Parameters
    ----------
    mask : array of bool
    values, out : array of float32, float64 or float16
    """
    integer = INTEGERS[out.dtype.itemsize]
    bits = out.view(integer)
    if values is out:
        zeros_and_ones = scratch("keep_where", out.shape, integer)
        np.copyto(zeros_and_ones, mask)
        np.multiply(bits, zeros_and_ones, out=bits)
    else:
        np.copyto(bits, mask)
        np.multiply(bits, values.view(integer), out=bits)


def empty_like(array: Array, dtype: np.dtype | None = None) -> Array:
    """Return an uninitialized array with the shape and the order of axes in memory of `array`."""
    dtype = np.dtype(dtype or array.dtype)
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    inverse = [order.index(axis) for axis in range(array.ndim)]
    return empty(tuple(array.shape[axis] for axis in order), dtype).transpose(inverse)


def matmul(a: Array, b: Array, out: Array | None = None) -> Array:
    """Return the 2-D product ``a @ b``, cut along its longer side into fixed pieces.

    Parameters
    ----------
    a : array, shape (M, K)
    b : array, shape (K, N)
    out : array, shape (M, N), optional
    """
    m, k = a.shape
    n = b.shape[1]
    if out is None:
        out = empty((m, n), np.result_type(a, b))
    if m * n * k < SMALL_PRODUCT:
        with single_threaded_blas:
            return np.matmul(a, b, out=out)
    result = out

    def columns(piece: slice) -> None:
        np.matmul(a, b[:, piece], out=result[:, piece])

    def rows(piece: slice) -> None:
        np.matmul(a[piece], b, out=result[piece])

    if n >= m:
        parallel(columns, split(n, pieces_of_product(m * n * k)))
    else:
        parallel(rows, split(m, pieces_of_product(m * n * k)))
    return out


def multiply_wide(a: Array, b: Array, out: Array) -> None:
    """Write ``a @ b`` for a small a and a wide b, in parts that BLAS does not pack."""
    width, step = b.shape[-1], UNPACKED // max(a.shape[-2] * a.shape[-1], 1)
    if width <= step or step < PANEL or not multiplies_unpacked():
        np.matmul(a, b, out=out)
        return
    for part in split(width, -(-width // step)):
        np.matmul(a, b[..., part], out=out[..., part])


def sum_rows(images: Array) -> Array:
    """Return the sum over the first two axes of (N, P, C), image by image on the threads.

    Within an image BLAS adds up (a product with ones), which is faster and loses less than
    NumPy's sum over a leading axis.
    """
    ones = np.ones(images.shape[1], images.dtype)
    sums = np.empty((images.shape[0], images.shape[2]), images.dtype)

    def lane(part: slice) -> None:
        np.matmul(ones, images[part], out=sums[part])

    parallel(lane, split(len(images), pieces_of(images.size)))
    return sums.sum(axis=0)
