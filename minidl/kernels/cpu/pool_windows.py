"""Windows of channels-last images on the CPU: reading all windows' entries, and adding to them.

All passes run over (rows, columns, channels) slices: an *entry* (kh, kw) of all windows is one view
of the images. Pools are separable, first along the rows of the image, then down its columns.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...device import Array
from .. import cpu
from ..windows import Geometry


def lanes(n: int, geometry: Geometry, channels: int) -> list[slice]:
    """Cut a batch into pieces of a few images, large enough to be worth another thread.

    Small maps are cut into four, if that leaves each lane a quarter of a large map's numbers. The
    number is even, so that two threads have as much to do.
    """
    per_image = max(math.prod(geometry.out) * channels, 1)
    step = max(1, cpu.BLOCK * cpu.roomy() // per_image)
    count = max(-(-n // step), min(4, n * per_image // (cpu.BLOCK // 4)))
    return cpu.split(n, count + count % 2 if count > 1 else 1)


#: Runs of memory shorter than this are worth a copy that puts them together.
_SHORT_RUN = 64


class Span:
    """The pixels that windows cover in channels-last images (n, H, W, C), padding included.

    The windows read every s-th column. With few channels that is many short runs of memory, and
    NumPy's loops are slow on them. So the columns are kept in s *phases*, sorted by their number
    modulo s: the columns that an entry of the windows reads are then neighbors, one run per row.

    Where nothing has to be padded or sorted the phases are views of the images; otherwise
    :meth:`read` copies the images into buffers of this thread, whose names begin with `slot`.
    """

    def __init__(self, images: Array, geometry: Geometry, slot: str = "phase") -> None:
        self.geometry = geometry
        n, *size, c = images.shape
        (height, width), stride = geometry.span, geometry.stride[1]
        rows, columns, own_rows, own_columns = geometry.inside((size[0], size[1]))
        self.phases, self.outside = [], []
        self.copies: list[tuple[Array, Array]] = []  # a phase's part inside of the images, theirs
        if geometry.fits_exactly((size[0], size[1])) and (stride == 1 or c >= _SHORT_RUN):
            self.phases = [images[:, :height, p:width:stride] for p in range(stride)]
            return
        for p in range(stride):
            shape = (n, height, len(range(p, width, stride)), c)
            phase = cpu.scratch(f"{slot} {p}", shape, images.dtype)
            first = columns.start + (p - columns.start) % stride  # column of the span
            left = (first - p) // stride
            right = left + len(range(first, columns.stop, stride))
            own = images[:, own_rows, first - columns.start : own_columns.stop : stride]
            self.phases.append(phase)
            self.copies.append((phase[:, rows, left:right], own))
            self.outside += [phase[:, : rows.start], phase[:, rows.stop :]]
            self.outside += [phase[:, rows, :left], phase[:, rows, right:]]

    def read(self, fill: float) -> None:
        """Take the numbers of the images, and `fill` outside of them."""
        for inside, own in self.copies:
            np.copyto(inside, own)
        for part in self.outside:
            part.fill(fill)

    def across(self, kw: int) -> Array:
        """Return the numbers that column kw of all windows reads, in all rows of the span."""
        start, phase = divmod(kw * self.geometry.dilation[1], self.geometry.stride[1])
        return self.phases[phase][:, :, start : start + self.geometry.out[1]]

    def entry(self, kh: int, kw: int) -> Array:
        """Return the numbers that entry (kh, kw) of all windows reads: a view (n, OH, OW, C)."""
        return self.across(kw)[:, self.geometry.positions(kh, kw)[0]]


class _Phase(NamedTuple):
    """The rows (or columns) of a span that are a stride apart, from one of the first on."""

    entries: list[tuple[int, int]]  # of the windows that read them: k, and the phase's row of o = 0
    rows: int  # how many
    inside: slice  # those of them that are in the image
    own: slice  # the image's rows that they are


@functools.cache
def _phases(
    kernel: int, stride: int, dilation: int, before: int, out: int, size: int
) -> list[_Phase]:
    """Sort the entries of windows along one axis by the rows that they read."""
    reads: dict[int, list[tuple[int, int]]] = {}
    for k in range(kernel):
        start, first = divmod(k * dilation, stride)
        reads.setdefault(first, []).append((k, start))
    phases = []
    for first, entries in sorted(reads.items()):
        rows = out + entries[-1][1]
        padded = max(-(-(before - first) // stride), 0)  # rows above the image
        own = range(size)[first + padded * stride - before :: stride][: max(rows - padded, 0)]
        inside = slice(padded, padded + len(own))
        phases.append(_Phase(entries, rows, inside, slice(own.start, own.stop, stride)))
    return phases


def collect(dx: Array, geometry: Geometry, give: Callable[[int, int, Array], Array]) -> None:
    """Write into images dx (n, H, W, C) what all windows give to their pixels.

    Entry (kh, kw) of the windows gives ``give(kh, kw, out)``, (n, OH, OW, C), which may be `out`.
    It goes to pixels that are a stride apart: those are added up in a buffer where they are
    neighbors, and written once.
    """
    (n, *size, c), (oh, ow) = dx.shape, geometry.out
    g = geometry
    axes = zip(g.kernel, g.stride, g.dilation, g.before, g.out, size, strict=True)
    down, across = (_phases(*axis) for axis in axes)
    covered = [sum(p.inside.stop - p.inside.start for p in phases) for phases in (down, across)]
    if covered != size:
        dx.fill(0)
    part = cpu.scratch("part", (n, oh, ow, c), dx.dtype)
    for row_phase in down:
        for phase in across:
            total = cpu.scratch("total", (n, row_phase.rows, phase.rows, c), dx.dtype)
            for kh, row in row_phase.entries:
                for kw, column in phase.entries:
                    own = total[:, row : row + oh, column : column + ow]
                    if (kh, kw) == (row_phase.entries[0][0], phase.entries[0][0]):
                        total[:, :row], total[:, row + oh :] = 0, 0
                        total[:, :, :column], total[:, :, column + ow :] = 0, 0
                        if (given := give(kh, kw, own)) is not own:
                            np.copyto(own, given)
                    else:
                        np.add(own, give(kh, kw, part), out=own)
            dx[:, row_phase.own, phase.own] = total[:, row_phase.inside, phase.inside]
