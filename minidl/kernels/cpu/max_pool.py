"""Max-pool on the CPU: first down the columns of the windows, then along their rows.

Windows that do not overlap have their entries gathered, one array for each, and compared at once.

The *place* of a window's maximum, for the backward, takes one byte where the window has at most 255
entries. It is the entry's number, counted along the window's rows, or their count for "none".
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable

import numpy as np

from ...device import Array
from .. import cpu
from ..windows import Geometry, Pair
from .pool_windows import Span, collect, lanes


def forward(x: Array, geometry: Geometry, want_places: bool) -> tuple[Array, Array]:
    """Return y and, if wanted, the places: (N, C, OH, OW), channels-last in memory as y."""
    n, c = x.shape[:2]
    y = cpu.empty_image(n, c, *geometry.out, x.dtype)
    places = cpu.empty((n * want_places, *geometry.out, c), geometry.place_dtype)
    kernel_h, kernel_w = geometry.kernel
    x_images, y_images = x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1)
    # Down the columns first: their entries are rows of the images, long runs of memory.
    down = _parts(x.shape[2], *(pair[0] for pair in geometry))
    one = Geometry(kernel=(1, 1), stride=(1, 1), dilation=(1, 1), before=(0, 0), out=geometry.out)
    along = Geometry(*((first[0], pair[1]) for first, pair in zip(one, geometry, strict=True)))
    apart = geometry.kernel == geometry.stride and geometry.dilation == (1, 1)
    few = kernel_h * kernel_w <= 16 and geometry.fits_exactly((x.shape[2], x.shape[3]))
    gathers = apart and few and want_places

    def lane(images: slice) -> None:
        own, best = x_images[images], y_images[images]
        if gathers:
            _gather(own[:, : geometry.span[0], : geometry.span[1]], best, places[images])
        else:
            separately(own, best, places[images])
        # Neither found NaN, which equals nothing; -inf may have equaled padding.
        if want_places and best.size and not best.min() > -math.inf:
            _find_lost(Span(own, geometry), best, places[images])

    def separately(own: Array, best: Array, places: Array) -> None:
        shape = (len(own), geometry.out[0], *own.shape[2:])
        largest = cpu.scratch("largest", shape, x.dtype)
        rows = cpu.scratch("rows", shape, places.dtype)
        for windows, numbers, reads in down:
            numbered = [(kernel_h - kh) * kernel_w for kh in numbers]
            part = rows[:, windows] if want_places else None
            _take_largest([own[:, read] for read in reads], numbered, largest[:, windows], part)
        columns = Span(largest, along)
        columns.read(-math.inf)
        if not want_places:
            _largest_of([columns.across(kw) for kw in range(kernel_w)], best)
            return
        # Of maxima as large as each other the first counts, along the window's rows: the one of
        # the largest rank, which is the number of entries from it on.
        before = Span(rows, along, "rows' phase")
        before.read(kernel_w)
        entries = [columns.across(kw) for kw in range(kernel_w)]
        if not columns.copies:  # many runs of memory: read once, not twice
            copies = cpu.scratch("entries", (kernel_w, *best.shape), x.dtype)
            for copy, entry in zip(copies, entries, strict=True):
                np.copyto(copy, entry)
            entries = list(copies)
        _largest_of(entries, best)
        equal = cpu.scratch("equal", (kernel_w, *best.shape), np.dtype(np.bool_))
        ranks = cpu.scratch("ranks", equal.shape, places.dtype)
        for kw in range(kernel_w):
            np.equal(entries[kw], best, out=equal[kw])
            np.subtract(before.across(kw), kw, out=ranks[kw])
        np.multiply(ranks, _as_numbers(equal, ranks), out=ranks)
        np.maximum.reduce(ranks, axis=0, out=places)
        np.subtract(kernel_h * kernel_w, places, out=places)

    cpu.parallel(lane, lanes(n, geometry, c))
    return y, places.transpose(0, 3, 1, 2)


def backward(grad: Array, places: Array, geometry: Geometry, size: Pair) -> Array:
    """Return dx; `size` is the height and width of the images."""
    n, c = grad.shape[:2]
    dx = cpu.empty_image(n, c, *size, grad.dtype)
    dx_images, dy_images = dx.transpose(0, 2, 3, 1), grad.transpose(0, 2, 3, 1)
    places = places.transpose(0, 2, 3, 1)
    integer = cpu.INTEGERS[grad.dtype.itemsize]

    def lane(images: slice) -> None:
        own, dy = places[images], np.ascontiguousarray(dy_images[images]).view(integer)

        def give(kh: int, kw: int, out: Array) -> Array:
            bits = out.view(integer)  # times 0 or 1: see cpu.keep_where
            np.equal(own, kh * geometry.kernel[1] + kw, out=bits, casting="unsafe")
            np.multiply(bits, dy, out=bits)
            return out

        collect(dx_images[images], geometry, give)

    cpu.parallel(lane, lanes(n, geometry, c))
    return dx


def _gather(images: Array, best: Array, places: Array) -> None:
    """Write maxima and places of windows that lie side by side and fill the images."""
    n, oh, ow, c = best.shape
    kh, kw = images.shape[1] // oh, images.shape[2] // ow
    windows = images.reshape(n, oh, kh, ow, kw, c).transpose(2, 4, 0, 1, 3, 5)
    entries = cpu.scratch("entries", (kh * kw, *best.shape), best.dtype)
    np.copyto(entries.reshape(windows.shape), windows)
    _largest_of(list(entries), best)
    equal = cpu.scratch("equal", best.shape, np.dtype(np.bool_))
    _first_hits(entries, lambda entry: np.equal(entry, best, out=equal), places)


@functools.cache
def _parts(
    size: int, kernel: int, stride: int, dilation: int, before: int, out: int
) -> list[tuple[slice, tuple[int, ...], list[slice]]]:
    """Sort windows along one axis by which of their entries lie on the image.

    Returns
    -------
    list of (windows, the numbers of their entries on the image, what each of these reads)
    """

    def numbers_of(o: int) -> tuple[int, ...]:
        first = o * stride - before
        return tuple(k for k in range(kernel) if 0 <= first + k * dilation < size)

    parts = []
    for numbers, group in itertools.groupby(range(out), numbers_of):
        first, *others = group
        starts = [first * stride - before + k * dilation for k in numbers]
        reads = [slice(start, start + len(others) * stride + 1, stride) for start in starts]
        parts.append((slice(first, first + len(others) + 1), numbers, reads))
    return parts


def _take_largest(
    entries: list[Array], ranks: list[int], largest: Array, first: Array | None
) -> None:
    """Write the largest of the entries and, unless None, the rank of the first as large."""
    _largest_of(entries, largest)
    if first is None:
        return
    *others, last = ranks or [1]
    first.fill(last)
    equal = cpu.scratch("equal", largest.shape, np.dtype(np.bool_))
    own = cpu.scratch("rank", largest.shape, first.dtype)
    for entry, rank in zip(entries, others, strict=False):
        np.equal(entry, largest, out=equal)
        np.multiply(_as_numbers(equal, first), first.dtype.type(rank), out=own)
        np.maximum(first, own, out=first)


def _largest_of(entries: list[Array], out: Array) -> None:
    """Write the largest of the entries, minus infinity if there is none."""
    if len(entries) < 2:
        out[...] = entries[0] if entries else -math.inf
        return
    np.maximum(entries[0], entries[1], out=out)
    for entry in entries[2:]:
        np.maximum(out, entry, out=out)


def _as_numbers(mask: Array, places: Array) -> Array:
    """Return a mask as zeros and ones of the places' dtype; a byte is one already."""
    return mask.view(np.uint8) if places.dtype == np.uint8 else mask.astype(places.dtype)


def _find_lost(span: Span, best: Array, places: Array) -> None:
    """Write the places of maxima that are NaN or minus infinity."""
    found = np.empty_like(places)
    for holds, outside in ((np.isnan, -math.inf), (np.isneginf, math.nan)):
        span.read(outside)
        lost = holds(best)
        entries = (span.entry(kh, kw) for kh, kw in np.ndindex(*span.geometry.kernel))
        _first_hits(entries, holds, found)
        places[lost] = found[lost]


def _first_hits(entries: Iterable[Array], holds: Callable[[Array], Array], places: Array) -> None:
    """Write the number of each window's first entry for which `holds` is true.

    It equals the number of earlier misses.
    """
    waiting = cpu.scratch("waiting", places.shape, np.dtype(np.bool_))
    waiting.fill(True)
    places.fill(0)
    for entry in entries:
        np.greater(waiting, holds(entry), out=waiting)  # waiting and no hit
        np.add(places, waiting, out=places)
