"""Max-pool on the CPU: first along the rows of the images, then down their columns.

The *place* of a window's maximum, for the backward, takes one byte where the window has at most 255
entries. It is the entry's number, counted along the window's rows, or their count for "none".
"""

from __future__ import annotations

import math
from collections.abc import Callable

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

    def lane(images: slice) -> None:
        span, best = Span(x_images[images], geometry), y_images[images]
        span.read(-math.inf)
        shape = (len(best), geometry.span[0], geometry.out[1], c)
        across = cpu.scratch("across", shape, x.dtype)
        np.copyto(across, span.across(0))
        if not want_places:
            for kw in range(1, kernel_w):
                np.maximum(across, span.across(kw), out=across)
            np.copyto(best, across[:, geometry.positions(0, 0)[0]])
            for kh in range(1, kernel_h):
                np.maximum(best, across[:, geometry.positions(kh, 0)[0]], out=best)
            return
        columns = cpu.scratch("columns of places", shape, places.dtype)
        columns.fill(0)
        for kw in range(1, kernel_w):
            _larger(across, span.across(kw), columns, columns.dtype.type(kw))
        rows = geometry.positions(0, 0)[0]
        np.copyto(best, across[:, rows])
        np.copyto(places[images], columns[:, rows])
        for kh in range(1, kernel_h):
            rows = geometry.positions(kh, 0)[0]
            number = cpu.scratch("number", best.shape, places.dtype)
            np.add(columns[:, rows], columns.dtype.type(kh * kernel_w), out=number)
            _larger(best, across[:, rows], places[images], number)
        # Above, NaN never was the larger number, and -inf was not larger than padding.
        if best.size and not best.min() > -math.inf:
            lost = np.isnan(best)
            places[images][lost] = _first_hits(span, np.isnan, best.shape)[lost]
            lost = best == -math.inf
            span.fill_outside(math.nan)
            lowest = _first_hits(span, lambda entry: entry == -math.inf, best.shape)
            places[images][lost] = lowest[lost]

    cpu.parallel(lane, lanes(n, geometry, c))
    return y, places.transpose(0, 3, 1, 2)


def backward(grad: Array, places: Array, geometry: Geometry, size: Pair) -> Array:
    """Return dx; `size` is the height and width of the images."""
    n, c = grad.shape[:2]
    dx = cpu.empty_image(n, c, *size, grad.dtype)
    dx_images, dy_images = dx.transpose(0, 2, 3, 1), grad.transpose(0, 2, 3, 1)
    places = places.transpose(0, 2, 3, 1)

    def lane(images: slice) -> None:
        dy = np.ascontiguousarray(dy_images[images])
        part = cpu.scratch("part", dy.shape, grad.dtype)
        hit = cpu.scratch("hit", dy.shape, np.dtype(np.bool_))

        def give(kh: int, kw: int) -> Array:
            np.equal(places[images], kh * geometry.kernel[1] + kw, out=hit)
            cpu.keep_where(hit, dy, part)
            return part

        collect(dx_images[images], geometry, give)

    cpu.parallel(lane, lanes(n, geometry, c))
    return dx


def _larger(best: Array, other: Array, places: Array, place: Array | int) -> None:
    """Where `other` is larger than `best`, put it there, and its `place` among the places.

    Later places are larger numbers, so the maximum of two places is the one to keep.
    """
    larger = cpu.scratch("larger", best.shape, np.dtype(np.bool_))
    np.greater(other, best, out=larger)
    taken = cpu.scratch("taken", best.shape, places.dtype)
    if places.dtype == np.uint8:
        larger = larger.view(np.uint8)  # True is 1: nothing to convert
    np.multiply(larger, place, out=taken, casting="unsafe")
    np.maximum(places, taken, out=places)
    np.maximum(best, other, out=best)


def _first_hits(span: Span, holds: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """Return for every window the number of its first entry for which `holds` is true.

    It equals the number of earlier misses.
    """
    waiting = np.ones(shape, np.bool_)
    places = np.zeros(shape, span.geometry.place_dtype)
    for entry in np.ndindex(*span.geometry.kernel):
        np.greater(waiting, holds(span.entry(*entry)), out=waiting)  # waiting and no hit
        np.add(places, waiting, out=places)
    return places
