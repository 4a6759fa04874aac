"""Convolution on the GPU: im2col and one cuBLAS product for each group.

Images are (C, N, H, W) in memory. With the windows as the columns of X, Y = W·X + b is
(O, N·OH·OW), the next layer's input as it stands. The bias is one more column of W whose entry in
every window is 1; so the product that yields dW yields db as well.

X takes at most :data:`COLUMN_BYTES`: it is made for a few images at a time, and made again in the
backward.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...device import Array, cupy
from ..epilogue import Epilogue
from ..windows import Geometry
from . import epilogue as epilogues
from .blas import matmul
from .launch import Source, arithmetic
from .memory import channel_major

#: Bytes of columns at a time, at most by three images more.
COLUMN_BYTES = 320 << 20

#: Bytes at whose multiples rows of a matrix begin, for cuBLAS' fast kernels.
_ALIGNMENT = 16

#: A product whose result has fewer tiles of this size than this number leaves some of a card's 108
#: to 144 multiprocessors idle. Least number of terms of a part of its sums.
_TILE, _TILES, _LEAST_TERMS = 128, 128, 1024

SOURCE = Source("conv.cu")


class Columns:
    """The columns of a few images at a time, (G, rows, windows)."""

    def __init__(
        self, x_shape: tuple[int, ...], dtype: np.dtype, geometry: Geometry, groups: int
    ) -> None:
        self.channels, self.images = x_shape[0], x_shape[1]
        self.depth, self.groups, self.geometry = x_shape[0] // groups, groups, geometry
        self.dtype = np.dtype(dtype)
        # One row more for the bias. Rows of the weights are aligned, too.
        self.length = self.depth * math.prod(geometry.kernel)
        unit = max(_ALIGNMENT // self.dtype.itemsize, 4)
        self.rows = -(-(self.length + 1) // unit) * unit
        self.size = x_shape[2:]
        per_image = groups * self.rows * math.prod(geometry.out) * self.dtype.itemsize
        self.step = max(1, min(self.images, COLUMN_BYTES // max(per_image, 1)))
        if self.images:  # equal parts, because the memory pool reuses blocks of one size
            equal = -(-self.images // -(-self.images // self.step))
            unit = _ALIGNMENT // self.dtype.itemsize
            unit //= math.gcd(unit, math.prod(geometry.out))  # a row has a number for each window
            self.step = min(-(-equal // unit) * unit, self.images)

    def chunks(self) -> list[slice]:
        """Return the runs of images whose columns fit the budget."""
        starts = range(0, self.images, self.step)
        return [slice(start, min(start + self.step, self.images)) for start in starts]

    def parts(self, kernels: int) -> int:
        """Return in how many equal parts to add up the weights' gradient over the windows.

        A result of few tiles (conv1's 96 x 364 has three) is a sum of hundreds of thousands of
        terms; in parts, all multiprocessors work on it. Depends on shapes alone.
        """
        tiles = -(-kernels // _TILE) * -(-self.rows // _TILE)
        each = math.prod(self.geometry.out)
        chunks = [(images.stop - images.start) * each for images in self.chunks()]
        windows = math.gcd(*chunks)
        unit = math.gcd(windows, _ALIGNMENT // self.dtype.itemsize)
        most = min(_TILES // tiles, min(chunks, default=0) // _LEAST_TERMS)
        return max((n for n in range(1, most + 1) if windows % (n * unit) == 0), default=1)

    def empty(self, images: slice) -> Array:
        """Return an uninitialized (G, rows, windows) for the columns of these images."""
        windows = (images.stop - images.start) * math.prod(self.geometry.out)
        return cupy().empty((self.groups, self.rows, windows), self.dtype)

    def _places(self) -> tuple[int, ...]:
        g = self.geometry
        return (*self.size, *g.out, *g.kernel, *g.stride, *g.dilation, *g.before)

    def read(self, x: Array, images: slice, columns: Array) -> None:
        """im2col of x (C, N, H, W)."""
        windows = columns.shape[2]
        SOURCE.launch(
            "im2col", self.dtype, windows * self.groups * (self.depth + 1), x, columns, windows,
            self.depth, self.groups, self.rows, self.images, images.start, *self._places(),
        )  # fmt: skip

    def write(self, columns: Array, images: slice, dx: Array) -> None:
        """col2im into these images of dx (C, N, H, W)."""
        count = images.stop - images.start
        SOURCE.launch(
            "col2im", self.dtype, self.channels * count * math.prod(self.size), columns, dx,
            columns.shape[2], self.depth, self.groups, self.rows, self.images, images.start, count,
            *self._places(),
        )  # fmt: skip


def forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    geometry: Geometry,
    groups: int,
    *,
    epilogue: Epilogue = None,
) -> Array:
    """Return the convolution of x (N, C, H, W) with W (O, C/G, KH, KW), plus b, or its epilogue."""
    xp = cupy()
    x = channel_major(x)
    weight = xp.ascontiguousarray(weight)
    bias = None if bias is None else xp.ascontiguousarray(bias, x.dtype)
    o, n = weight.shape[0], x.shape[1]
    buffer = Columns(x.shape, x.dtype, geometry, groups)
    packed = xp.empty((groups, o // groups, buffer.rows), x.dtype)
    SOURCE.launch(
        "pack", x.dtype, packed.size, weight, weight if bias is None else bias, packed, o,
        buffer.length, buffer.rows, bias is not None,
    )  # fmt: skip
    y = xp.empty((groups, o // groups, n, math.prod(geometry.out)), x.dtype)
    for images in buffer.chunks():
        columns = buffer.empty(images)
        buffer.read(x, images, columns)
        for group in range(groups):
            matmul(packed[group], columns[group], y[group, :, images].reshape(o // groups, -1))
        del columns  # the next ones take its memory
    y = y.reshape(o, n, *geometry.out).transpose(1, 0, 2, 3)
    epilogues.apply(epilogue, y)
    return y


def backward(
    grad: Array,
    x: Array,
    weight: Array,
    geometry: Geometry,
    groups: int,
    want: Sequence[bool],
    *,
    epilogue: Epilogue = None,
    y: Array | None = None,
    overwrite: bool = False,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dX, dW and db (None if not needed): dW and db = dY·Xᵀ, dX = col2im of Wᵀ·dY.

    Of float16, dW and db are float32: the sums as they were added up.

    With an epilogue, whose result was `y`, `grad` is the gradient after it; `overwrite` allows
    its memory to be used.
    """
    if epilogue:
        assert y is not None
        grad = epilogues.gradient(epilogue, y, grad, overwrite)
    need_x, need_weight = want[0], want[1] or want[2]
    xp = cupy()
    x, dy = channel_major(x), channel_major(grad)
    weight = xp.ascontiguousarray(weight)
    o, n = weight.shape[0], x.shape[1]
    buffer = Columns(x.shape, x.dtype, geometry, groups)
    dy = dy.reshape(groups, o // groups, n, math.prod(geometry.out))
    kernels = weight.reshape(groups, o // groups, buffer.length)
    parts = buffer.parts(o // groups)
    packed = xp.zeros if n == 0 else xp.empty
    packed = packed((parts, groups, o // groups, buffer.rows), arithmetic(x.dtype))  # stay wide
    dx = xp.empty_like(x) if need_x else None
    for images in buffer.chunks():
        columns = buffer.empty(images)
        if need_weight:
            buffer.read(x, images, columns)
        for group in range(groups):
            own = dy[group, :, images].reshape(o // groups, -1)
            if need_weight:
                matmul(  # no view of the columns may outlive them
                    own.reshape(o // groups, parts, -1).transpose(1, 0, 2),
                    columns[group].reshape(buffer.rows, parts, -1).transpose(1, 2, 0),
                    packed[:, group],
                    accumulate=images.start > 0,
                )
            if dx is not None:
                matmul(kernels[group].T, own, columns[group, : buffer.length])
        if dx is not None:
            buffer.write(columns, images, dx)
        del columns
    dweight = dbias = None
    if need_weight:
        dweight, dbias = xp.empty(weight.shape, packed.dtype), xp.empty(o, packed.dtype)
        SOURCE.launch(
            "unpack", x.dtype, o * (buffer.length + 1), packed, dweight, dbias, parts, o,
            buffer.length, buffer.rows,
        )  # fmt: skip
    if dx is not None:
        dx = dx.transpose(1, 0, 2, 3)
    return dx, dweight if want[1] else None, dbias if want[2] else None
