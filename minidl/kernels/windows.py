"""Where windows lie on an image: the one geometry of convolutions and pools, on CPU and GPU.

For one axis, with input length H, padding p before and p' after, kernel K, stride s and dilation
d, a window covers ``d·(K - 1) + 1`` positions, and there are

    OH = floor((H + p + p' - d·(K - 1) - 1) / s) + 1

windows; window ``oh`` reads the padded positions ``oh·s + kh·d``. :class:`Geometry` holds these
numbers for both axes, and nothing else in the library computes them again.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from ..errors import ShapeError
from .cpu.lanes import split

Pair: TypeAlias = tuple[int, int]


class Geometry(NamedTuple):
    """Where windows lie on an image: pairs of (vertical, horizontal)."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    before: Pair  # padding above and to the left
    out: Pair  # how many windows

    @property
    def span(self) -> Pair:
        """How many positions the windows reach over, from the first padded one."""
        (kh, kw), (sh, sw), (dh, dw), _, (oh, ow) = self
        return (oh - 1) * sh + dh * (kh - 1) + 1, (ow - 1) * sw + dw * (kw - 1) + 1

    @property
    def place_dtype(self) -> np.dtype:
        """The smallest integers that number a window's entries, and one more for "none"."""
        return np.min_scalar_type(self.kernel[0] * self.kernel[1])

    def inside(self, size: Pair) -> tuple[slice, slice, slice, slice]:
        """Return which rows and columns of a padded span an image covers, and which of its own.

        Parameters
        ----------
        size : pair of int
            Height and width of the image.

        Returns
        -------
        rows, columns of the span; rows, columns of the image
        """
        (top, left), span = self.before, self.span
        bottom = max(min(size[0], span[0] - top), 0)
        right = max(min(size[1], span[1] - left), 0)
        return (
            slice(top, top + bottom),
            slice(left, left + right),
            slice(0, bottom),
            slice(0, right),
        )

    def fits_exactly(self, size: Pair) -> bool:
        """Return whether the windows stay on an image of this size: no padding, no overhang."""
        height, width = self.span
        return self.before == (0, 0) and height <= size[0] and width <= size[1]

    def bands(self, count: int, multiple: int = 1) -> list[Band]:
        """Cut the windows into horizontal bands.

        Parameters
        ----------
        count : int
            How many; fewer if the rows of windows do not suffice.
        multiple : int
            The rows of a band, but of the last, are a multiple of it. Default 1.
        """
        bands = []
        for part in split(-(-self.out[0] // multiple), max(count, 1)):
            rows = slice(part.start * multiple, min(part.stop * multiple, self.out[0]))
            first = rows.start * self.stride[0] - self.before[0]
            windows = self._replace(
                before=(max(-first, 0), self.before[1]), out=(rows.stop - rows.start, self.out[1])
            )
            bands.append(Band(rows, max(first, 0), windows))
        return bands

    def positions(self, kh: int, kw: int) -> tuple[slice, slice]:
        """Return the rows and columns of the span that entry (kh, kw) of all windows reads."""
        (sh, sw), (dh, dw), (oh, ow) = self.stride, self.dilation, self.out
        return (
            slice(kh * dh, kh * dh + (oh - 1) * sh + 1, sh),
            slice(kw * dw, kw * dw + (ow - 1) * sw + 1, sw),
        )


class Band(NamedTuple):
    """Some rows of windows."""

    rows: slice  # of the output
    first: int  # the first row of the image that they read
    geometry: Geometry  # where they lie on the image from that row on


def window_count(size: int, kernel: int, stride: int, dilation: int, padding: int) -> int:
    """Return how many windows fit: `padding` is the sum of both sides."""
    return (size + padding - dilation * (kernel - 1) - 1) // stride + 1


def plan(
    name: str,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    dilation: Pair = (1, 1),
    before: Pair = (0, 0),
    after: Pair | None = None,
) -> Geometry:
    """Return the geometry of windows on an image of height and width `size`.

    Raises
    ------
    ShapeError
        No window fits, or the kernel is empty; the message names `name` and the sizes.
    """
    if min(kernel) < 1:
        raise ShapeError(f"{name}: a kernel of {kernel[0]}x{kernel[1]} is empty")
    after = before if after is None else after
    out = tuple(
        window_count(n, k, s, d, p + q)
        for n, k, s, d, p, q in zip(size, kernel, stride, dilation, before, after, strict=True)
    )
    if min(out) < 1:
        raise ShapeError(
            f"{name}: an image of {size[0]}x{size[1]} with padding {before} is smaller than the "
            f"window of {kernel[0]}x{kernel[1]} (dilation {dilation})"
        )
    return Geometry(kernel, stride, dilation, before, out)  # type: ignore[arg-type]
