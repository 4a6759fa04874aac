"""Two-dimensional convolution (as everywhere in deep learning, cross-correlation).

With the input x (N, C, H, W), G groups and the weights w (O, C/G, KH, KW), output channel o of
group g reads the input channels of its own group:

    y[n,o,oh,ow] = b[o] + Σ_{c,kh,kw} w[o,c,kh,kw] · x[n, g·C/G+c, oh·s + kh·d - p, ow·s + kw·d - p]

where positions outside of the image count as 0. With the windows written as the rows of a matrix
(im2col), for each group:

    Y  = X·W + b           X (N·OH·OW, KH·KW·C/G), one window a row;  W (KH·KW·C/G, O/G)
    dW = Xᵀ·dY             the same windows, recomputed
    db = Σ_rows dY
    dX = dY·Wᵀ             then every entry goes back to its pixel (col2im)

The bias is one more row of W whose window entry is always 1: with a column of ones at the end of X,
the first product adds b and the second one yields db.

For stride 1 the input's gradient is itself a convolution, of dY padded by ``d·(K - 1) - p`` with
the weights turned by 180° and input and output channels exchanged: a gather instead of col2im's
scatter.

The images are channels-last in memory, (N, H, W, C): a row of a window, KW·C numbers, is one run
and is copied as such, and Y is written where the next layer wants it. X is never stored whole (at
batch 128 it would take 2.3 GB for AlexNet's five layers): every lane writes the windows of a few
images at a time into a buffer that stays in its core's cache. Where not even one image's windows
fit (conv2's input gradient: 9 MB), the rows of the kernel take turns and their products are added.

A ReLU that follows costs nothing while Y is in the cache: see ``relu`` of the Function.

Groups come from AlexNet's two GPUs: conv2, conv4 and conv5 see only the maps of their own GPU.

Source: Krizhevsky, Sutskever and Hinton (2012), section 3.5; for the rounded-up output of
``ceil_mode``, the original program (computerhistory/AlexNet-Source-Code, layer.py).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd import Function, Node
from ..device import Array
from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels import cpu, cuda
from ..kernels.cpu.linear import multiply_turned
from ..kernels.cpu.relu import rectify
from ..kernels.windows import Band, Geometry, Pair, plan
from ..tensor import Tensor
from . import init, winograd
from .activation import relu_, relu_gradient
from .im2col import IntOrPair, check_images, col2im, copy_pixels, pair
from .module import Module, Parameter
from .padding import pad

__all__ = ["Conv2d", "conv2d"]

#: How many numbers of columns a lane writes at a time (5 MB of float32).
_COLUMN_BLOCK = 5 << 18

#: Into how many pieces the work on fewer windows than kernels is cut.
_FEW_PIECES = 4

#: Fewer windows than this to a product, and BLAS spends its time on packing the weights.
_LEAST_WINDOWS = 80


# --- CPU ------------------------------------------------------------------------------------------


def _images_at_a_time(geometry: Geometry, depth: int, lane: slice) -> list[slice]:
    """Cut a lane's images into runs whose columns fit the block."""
    per_image = math.prod(geometry.out) * math.prod(geometry.kernel) * depth
    step = max(1, _COLUMN_BLOCK // max(per_image, 1))
    return [slice(a, min(a + step, lane.stop)) for a in range(lane.start, lane.stop, step)]


def _padded_groups(x: Array, geometry: Geometry, groups: int) -> Array:
    """Return the images' span as (G, n, span_h, span_w, C/G), in this thread's buffer.

    Without padding and groups that is the images' own memory if they are channels-last.
    """
    n, channels, *size = x.shape
    last = x.transpose(0, 2, 3, 1)  # (n, H, W, C)
    if groups == 1 and geometry.fits_exactly((size[0], size[1])) and last.flags.c_contiguous:
        return last[None]
    depth = channels // groups
    padded = cpu.scratch("padded", (groups, n, *geometry.span, depth), x.dtype)
    rows, columns, own_rows, own_columns = geometry.inside((size[0], size[1]))
    padded[:, :, : rows.start] = 0
    padded[:, :, rows.stop :] = 0
    padded[:, :, :, : columns.start] = 0
    padded[:, :, :, columns.stop :] = 0
    for group in range(groups):
        own = slice(group * depth, (group + 1) * depth)
        copy_pixels(last[:, own_rows, own_columns, own], padded[group, :, rows, columns])
    return padded


def _kernel_parts(geometry: Geometry, depth: int) -> list[slice]:
    """Cut the kernel: into single rows if an image's columns do not fit the block, else not."""
    rows = geometry.kernel[0]
    per_image = math.prod(geometry.out) * math.prod(geometry.kernel) * depth
    return cpu.split(rows, rows if per_image > _COLUMN_BLOCK else 1)


def _columns(padded: Array, geometry: Geometry, part: slice, ones: bool) -> Array:
    """Return the windows of (n, span_h, span_w, C) images as rows, (n·OH·OW, KH·KW·C [+ 1]).

    Only kernel rows of `part` are written. With `ones`, every row ends in a 1 for the bias.
    """
    n, _, _, depth = padded.shape
    kh, kw, (oh, ow) = part.stop - part.start, geometry.kernel[1], geometry.out
    image, row, column, channel = padded.strides
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    windows = np.lib.stride_tricks.as_strided(
        padded[:, part.start * dh :],
        (n, oh, ow, kh, kw, depth),
        (image, row * sh, column * sw, row * dh, column * dw, channel),
    )
    length = kh * kw * depth
    columns = cpu.scratch("columns", (n * oh * ow, length + ones), padded.dtype)
    np.copyto(columns[:, :length].reshape(windows.shape), windows)  # the reshape is a view
    if ones:
        columns[:, length] = 1
    return columns


def _as_matrices(weight: Array, bias: Array | None, groups: int) -> Array:
    """Return weights (O, C/G, KH, KW) as (G, KH·KW·C/G [+ 1], O/G), the bias as the last row."""
    o, depth, kh, kw = weight.shape
    per_group, length = o // groups, kh * kw * depth
    matrices = cpu.empty((groups, length + (bias is not None), per_group), weight.dtype)
    rows = matrices[:, :length].reshape(groups, kh, kw, depth, per_group)  # a view
    turned = weight.reshape(groups, per_group, depth, kh, kw).transpose(0, 3, 4, 2, 1)

    def lane(kernels: slice) -> None:
        rows[..., kernels] = turned[..., kernels]

    # A few kernels at a time: reading and writing then stay in a core's cache.
    few = cpu.split(per_group, -(-per_group // 32))
    cpu.parallel(lane, few if weight.size > cpu.SMALL else [slice(None)])
    if bias is not None:
        matrices[:, length] = bias.reshape(groups, per_group)
    return matrices


def _forward_numpy(
    x: Array, weight: Array, bias: Array | None, geometry: Geometry, groups: int, relu: bool
) -> Array:
    """Return Y = X·W + b, or max(Y, 0)."""
    kind = geometry, len(x), weight.shape[1], weight.shape[0] // groups, groups
    if winograd.suits(*kind):
        return winograd.forward(x, weight, bias, geometry, groups, relu)
    if winograd.suits_one_axis(*kind):
        return winograd.forward_one_axis(x, weight, bias, geometry, relu)
    if len(x) * math.prod(geometry.out) < weight.shape[0] // groups:
        return _few_windows_numpy(x, weight, bias, geometry, groups, relu)
    matrices = _as_matrices(weight, bias, groups)
    (depth, kh, kw), per_group = weight.shape[1:], weight.shape[0] // groups
    parts = _kernel_parts(geometry, depth)
    n, (oh, ow) = x.shape[0], geometry.out
    y = cpu.empty_image(n, groups * per_group, oh, ow, x.dtype)
    y_images = y.transpose(0, 2, 3, 1)

    def lane(piece: tuple[slice, Band]) -> None:
        images, (band, first_row, of_band) = piece
        for run in _images_at_a_time(of_band, depth, images):
            padded = _padded_groups(x[run, :, first_row:], of_band, groups)
            out = y_images[run, band].reshape(-1, groups * per_group)
            for group in range(groups):
                own = out[:, group * per_group : (group + 1) * per_group]
                for part in parts:
                    last = part.stop == kh
                    columns = _columns(padded[group], of_band, part, last and bias is not None)
                    start = part.start * kw * depth
                    rows_of_part = matrices[group, start : start + columns.shape[1]]
                    if part.start == 0:
                        np.matmul(columns, rows_of_part, out=own)
                    else:
                        more = cpu.scratch("part", own.shape, x.dtype)
                        np.matmul(columns, rows_of_part, out=more)
                        own += more
            if relu:
                rectify(out, out)

    # A few images are cut further, so that every thread has some of them. (Then a lane has one.)
    bands = geometry.bands(min(cpu.LANES // max(n, 1), oh * ow // _LEAST_WINDOWS))
    cpu.parallel(lane, [(images, band) for images in cpu.split(n) for band in bands])
    return y


def _few_windows_numpy(
    x: Array, weight: Array, bias: Array | None, geometry: Geometry, groups: int, relu: bool
) -> Array:
    """Return Y of fewer windows than kernels, as of one picture in AlexNet's last layers.

    There the columns are smaller than the weights: so it is they that are sorted the other's way,
    (G, C/G·KH·KW, N·OH·OW), and the weights are multiplied as they stand.
    """
    (o, depth, kh, kw), (n, channels, *size) = weight.shape, x.shape
    (oh, ow), per_group, length = geometry.out, o // groups, depth * kh * kw
    (sh, sw), (dh, dw) = geometry.stride, geometry.dilation
    rows, columns, own_rows, own_columns = geometry.inside((size[0], size[1]))
    windows = cpu.empty((channels, kh, kw, n, oh, ow), x.dtype)

    def gather(some: slice) -> None:
        planes = cpu.scratch("planes", (some.stop - some.start, n, *geometry.span), x.dtype)
        planes.fill(0)
        planes[:, :, rows, columns] = x[:, some, own_rows, own_columns].swapaxes(0, 1)
        channel, image, row, column = planes.strides
        windows[some] = np.lib.stride_tricks.as_strided(
            planes,
            (len(planes), *windows.shape[1:]),
            (channel, row * dh, column * dw, image, row * sh, column * sw),
        )

    cpu.parallel(gather, cpu.split(channels, _FEW_PIECES))
    factors = windows.reshape(groups, length, n * oh * ow)
    matrices = weight.reshape(groups, per_group, length)
    y = cpu.empty_image(n, o, oh, ow, x.dtype)
    y_rows = y.transpose(0, 2, 3, 1).reshape(n * oh * ow, groups, per_group)

    def multiply(piece: tuple[int, slice]) -> None:
        group, kernels = piece
        own_bias = None if bias is None else bias.reshape(groups, per_group)[group, kernels]
        own = y_rows[:, group, kernels]
        multiply_turned(
            matrices[group, kernels], factors[group], own_bias, own, "relu" if relu else None
        )

    parts = cpu.split(per_group, _FEW_PIECES)
    cpu.parallel(multiply, [(group, part) for group in range(groups) for part in parts])
    return y


def _weight_gradient_numpy(
    x: Array, grad: Array, shape: tuple[int, ...], geometry: Geometry, groups: int
) -> tuple[Array, Array]:
    """Return dW = Xᵀ·dY, (O, C/G, KH, KW), and db: lanes add up their images, then the lanes."""
    o, depth, kh, kw = shape
    per_group, length = o // groups, kh * kw * depth
    n = x.shape[0]
    grad_rows = _channels_last(grad).reshape(n, math.prod(geometry.out), o)
    if winograd.suits(geometry, -(-n // cpu.LANES), depth, per_group, groups):
        dweight = winograd.weight_gradient(x, grad, shape, geometry, groups)
        return dweight, cpu.sum_rows(grad_rows)
    if winograd.suits_one_axis(geometry, n, depth, per_group, groups):
        return winograd.weight_gradient_one_axis(x, grad, shape, geometry)
    lanes = cpu.split(n)
    parts = _kernel_parts(geometry, depth)
    sums = [cpu.empty((groups, length + 1, per_group), x.dtype) for _ in lanes]

    def lane(number: int) -> None:
        total = sums[number]
        for run in _images_at_a_time(geometry, depth, lanes[number]):
            padded = _padded_groups(x[run], geometry, groups)
            dy = grad_rows[run].reshape(-1, o)
            for group in range(groups):
                own = dy[:, group * per_group : (group + 1) * per_group]
                for part in parts:
                    columns = _columns(padded[group], geometry, part, part.stop == kh)
                    start = part.start * kw * depth
                    sums_of_part = total[group, start : start + columns.shape[1]]
                    if run.start == lanes[number].start:
                        np.matmul(columns.T, own, out=sums_of_part)
                    else:
                        more = cpu.scratch("part", sums_of_part.shape, x.dtype)
                        np.matmul(columns.T, own, out=more)
                        sums_of_part += more

    cpu.parallel(lane, range(len(lanes)))
    if not sums:
        return np.zeros(shape, x.dtype), np.zeros(o, x.dtype)

    def add(rows: slice) -> None:
        total = sums[0][:, rows]
        for other in sums[1:]:
            total += other[:, rows]

    cpu.parallel(add, cpu.split(length + 1, 1 if sums[0].size < cpu.SMALL else cpu.LANES))
    dweight = np.empty(shape, x.dtype)
    turned = sums[0][:, :length].reshape(groups, kh, kw, depth, per_group).transpose(0, 4, 3, 1, 2)
    np.copyto(dweight.reshape(groups, per_group, depth, kh, kw), turned)
    return dweight, sums[0][:, length].reshape(o)


def _input_gradient_numpy(
    grad: Array, weight: Array, size: Pair, geometry: Geometry, groups: int
) -> Array:
    """Return dX: a convolution of dY for stride 1, col2im of dY·Wᵀ otherwise."""
    o, depth, kh, kw = weight.shape
    reach = [d * (k - 1) for d, k in zip(geometry.dilation, geometry.kernel, strict=True)]
    before = (reach[0] - geometry.before[0], reach[1] - geometry.before[1])
    if geometry.stride == (1, 1) and min(before) >= 0:
        if winograd.suits(geometry, len(grad), o // groups, depth, groups):
            return winograd.input_gradient(grad, weight, size, geometry, groups)
        # (O, C/G, KH, KW) → (C, O/G, KH, KW), turned by 180°
        turned = weight.reshape(groups, o // groups, depth, kh, kw)[..., ::-1, ::-1]
        turned = turned.transpose(0, 2, 1, 3, 4).reshape(groups * depth, o // groups, kh, kw)
        back = Geometry(geometry.kernel, (1, 1), geometry.dilation, before, size)
        return _forward_numpy(grad, turned, None, back, groups, relu=False)

    n, per_group = grad.shape[0], o // groups
    dx = cpu.empty_image(n, groups * depth, *size, grad.dtype)
    rows = _channels_last(grad).reshape(n, math.prod(geometry.out), o)
    matrices = weight.reshape(groups, per_group, depth * kh * kw)

    def lane(images: slice) -> None:
        for run in _images_at_a_time(geometry, depth, images):
            dy = rows[run].reshape(-1, o)
            for group in range(groups):
                own = dy[:, group * per_group : (group + 1) * per_group]
                columns = np.matmul(own, matrices[group])  # (n·OH·OW, C/G·KH·KW)
                columns = columns.reshape(-1, *geometry.out, depth, kh, kw)
                channels = slice(group * depth, (group + 1) * depth)
                dx[run, channels] = col2im(columns.transpose(0, 3, 4, 5, 1, 2), geometry, size)

    cpu.parallel(lane, cpu.split(n))
    return dx


def _channels_last(x: Array) -> Array:
    """Return (N, C, H, W) as C-contiguous (N, H, W, C), copying only if memory is otherwise."""
    last = x.transpose(0, 2, 3, 1)
    return last if last.flags.c_contiguous else np.ascontiguousarray(last)


# --- GPU ------------------------------------------------------------------------------------------

#: How many bytes of columns there are at a time.
_COLUMN_BYTES = 320 << 20

_CUDA = cuda.Source(r"""
// The windows of some images as columns, (groups, rows, windows): row (c, kh, kw) of column l is
// the number that entry (kh, kw) of window l reads in channel c of the group. The row after the
// last is 1, for the bias; zeros follow up to a multiple of four rows.
// One thread a window and channel: neighbours write neighbouring numbers of KH·KW rows.
extern "C" __global__ void im2col(
    const T* x, T* columns, int windows, int depth, int groups, int rows, int images, int first,
    int height, int width, int out_h, int out_w, int kernel_h, int kernel_w,
    int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left)
{
    const int entries = kernel_h * kernel_w;
    FOR_EACH(i, (long long)windows * groups * (depth + 1)) {
        const int window = i % windows, channel = i / windows % (depth + 1);
        const int group = i / windows / (depth + 1);
        T* out = columns + ((long long)group * rows + channel * entries) * windows + window;
        if (channel == depth) {
            for (int row = depth * entries; row < rows; row++, out += windows)
                *out = row == depth * entries;
            continue;
        }
        const int ow = window % out_w, oh = window / out_w % out_h;
        const long long image = first + window / out_w / out_h;
        const T* plane = x
            + ((group * depth + channel) * (long long)images + image) * height * width;
        for (int kh = 0; kh < kernel_h; kh++) {
            const int h = oh * stride_h - top + kh * dilation_h;
            for (int kw = 0; kw < kernel_w; kw++, out += windows) {
                const int w = ow * stride_w - left + kw * dilation_w;
                const bool inside = h >= 0 && h < height && w >= 0 && w < width;
                *out = inside ? plane[h * width + w] : T(0);
            }
        }
    }
}

// The sum of all entries that were read from a pixel: the transpose of im2col, as a gather.
// One thread a pixel: it looks for the windows that cover it.
extern "C" __global__ void col2im(
    const T* columns, T* dx, int windows, int depth, int groups, int rows, int images, int first,
    int count, int height, int width, int out_h, int out_w, int kernel_h, int kernel_w,
    int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left)
{
    FOR_EACH(i, (long long)groups * depth * count * height * width) {
        const int w = i % width, h = i / width % height;
        const int image = i / width / height % count, channel = i / width / height / count;
        const long long row = channel / depth * rows + channel % depth * kernel_h * kernel_w;
        const T* entry = columns + row * windows + (long long)image * out_h * out_w;
        T sum = 0;
        for (int kh = 0; kh < kernel_h; kh++) {
            const int down = h + top - kh * dilation_h, oh = down / stride_h;
            for (int kw = 0; kw < kernel_w; kw++, entry += windows) {
                const int right = w + left - kw * dilation_w, ow = right / stride_w;
                if (down >= 0 && right >= 0 && oh < out_h && ow < out_w
                    && oh * stride_h == down && ow * stride_w == right)
                    sum += entry[oh * out_w + ow];
            }
        }
        dx[((channel * (long long)images + first + image) * height + h) * width + w] = sum;
    }
}

// Weights (O, length) and a bias as (O, rows): the bias in column `length`, then zeros.
extern "C" __global__ void pack(
    const T* weight, const T* bias, T* packed, int kernels, int length, int rows, bool has_bias)
{
    FOR_EACH(i, (long long)kernels * rows) {
        const int row = i % rows, kernel = i / rows;
        T value = 0;
        if (row < length) value = weight[(long long)kernel * length + row];
        else if (row == length && has_bias) value = bias[kernel];
        packed[i] = value;
    }
}

// The inverse: gradients of weights and bias.
extern "C" __global__ void unpack(
    const T* packed, T* dweight, T* dbias, int kernels, int length, int rows)
{
    FOR_EACH(i, (long long)kernels * (length + 1)) {
        const int row = i % (length + 1), kernel = i / (length + 1);
        const T value = packed[(long long)kernel * rows + row];
        if (row < length) dweight[(long long)kernel * length + row] = value;
        else dbias[kernel] = value;
    }
}
""")


class _ColumnsCuda:
    """Columns of a few images after another, in one buffer (G, rows, windows)."""

    def __init__(
        self, x_shape: tuple[int, ...], dtype: np.dtype, geometry: Geometry, groups: int
    ) -> None:
        self.channels, self.images = x_shape[0], x_shape[1]
        self.depth, self.groups, self.geometry = x_shape[0] // groups, groups, geometry
        self.dtype = np.dtype(dtype)
        # One row more for the bias. A multiple of four: cuBLAS is faster on aligned matrices.
        self.length = self.depth * math.prod(geometry.kernel)
        self.rows = -(-(self.length + 1) // 4) * 4
        self.size = x_shape[2:]
        per_image = groups * self.rows * math.prod(geometry.out) * self.dtype.itemsize
        self.step = max(1, min(self.images, _COLUMN_BYTES // max(per_image, 1)))
        # equal parts, so that the memory pool sees one size
        self.step = -(-self.images // -(-self.images // self.step)) if self.images else 1

    def chunks(self) -> list[slice]:
        """Return the runs of images whose columns fit the budget."""
        starts = range(0, self.images, self.step)
        return [slice(start, min(start + self.step, self.images)) for start in starts]

    def empty(self, images: slice) -> Array:
        """Return an uninitialised (G, rows, windows) for the columns of these images."""
        windows = (images.stop - images.start) * math.prod(self.geometry.out)
        return cuda.cupy().empty((self.groups, self.rows, windows), self.dtype)

    def _places(self) -> tuple[int, ...]:
        g = self.geometry
        return (*self.size, *g.out, *g.kernel, *g.stride, *g.dilation, *g.before)

    def read(self, x: Array, images: slice, columns: Array) -> None:
        """im2col of x (C, N, H, W)."""
        windows = columns.shape[2]
        _CUDA.launch(
            "im2col", self.dtype, windows * self.groups * (self.depth + 1), x, columns, windows,
            self.depth, self.groups, self.rows, self.images, images.start, *self._places(),
        )  # fmt: skip

    def write(self, columns: Array, images: slice, dx: Array) -> None:
        """col2im into these images of dx (C, N, H, W)."""
        count = images.stop - images.start
        _CUDA.launch(
            "col2im", self.dtype, self.channels * count * math.prod(self.size), columns, dx,
            columns.shape[2], self.depth, self.groups, self.rows, self.images, images.start, count,
            *self._places(),
        )  # fmt: skip


def _forward_cuda(
    x: Array, weight: Array, bias: Array | None, geometry: Geometry, groups: int
) -> Array:
    """Return Y = W·X + b, of columns; (O, N·OH·OW) is the result as it stands in memory."""
    xp = cuda.cupy()
    x = cuda.channel_major(x)
    weight = xp.ascontiguousarray(weight)
    bias = None if bias is None else xp.ascontiguousarray(bias, x.dtype)
    o, n = weight.shape[0], x.shape[1]
    buffer = _ColumnsCuda(x.shape, x.dtype, geometry, groups)
    packed = xp.empty((groups, o // groups, buffer.rows), x.dtype)
    _CUDA.launch(
        "pack", x.dtype, packed.size, weight, weight if bias is None else bias, packed, o,
        buffer.length, buffer.rows, bias is not None,
    )  # fmt: skip
    y = xp.empty((groups, o // groups, n, math.prod(geometry.out)), x.dtype)
    for images in buffer.chunks():
        columns = buffer.empty(images)
        buffer.read(x, images, columns)
        for group in range(groups):
            cuda.matmul(packed[group], columns[group], y[group, :, images].reshape(o // groups, -1))
        del columns  # the next ones take its memory
    return y.reshape(o, n, *geometry.out).transpose(1, 0, 2, 3)


def _backward_cuda(
    x: Array,
    weight: Array,
    grad: Array,
    geometry: Geometry,
    groups: int,
    need_x: bool,
    need_weight: bool,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dX, dW and db, those that are wanted: dW and db = dY·Xᵀ, dX = col2im of Wᵀ·dY."""
    xp = cuda.cupy()
    x, dy = cuda.channel_major(x), cuda.channel_major(grad)
    weight = xp.ascontiguousarray(weight)
    o, n = weight.shape[0], x.shape[1]
    buffer = _ColumnsCuda(x.shape, x.dtype, geometry, groups)
    dy = dy.reshape(groups, o // groups, n, math.prod(geometry.out))
    kernels = weight.reshape(groups, o // groups, buffer.length)
    packed = xp.zeros if n == 0 else xp.empty
    packed = packed((groups, o // groups, buffer.rows), x.dtype)
    dx = xp.empty_like(x) if need_x else None
    for images in buffer.chunks():
        columns = buffer.empty(images)
        if need_weight:
            buffer.read(x, images, columns)
        for group in range(groups):
            own = dy[group, :, images].reshape(o // groups, -1)
            if need_weight:
                cuda.matmul(own, columns[group].T, packed[group], accumulate=images.start > 0)
            if dx is not None:
                cuda.matmul(kernels[group].T, own, columns[group, : buffer.length])
        if dx is not None:
            buffer.write(columns, images, dx)
        del columns
    dweight = dbias = None
    if need_weight:
        dweight, dbias = xp.empty_like(weight), xp.empty(o, x.dtype)
        _CUDA.launch(
            "unpack", x.dtype, o * (buffer.length + 1), packed, dweight, dbias, o, buffer.length,
            buffer.rows,
        )  # fmt: skip
    return None if dx is None else dx.transpose(1, 0, 2, 3), dweight, dbias


def _widened(*arrays: Array | None) -> list[Any]:
    """Return arrays for the kernels: float16 as float32."""
    return [
        None if array is None else array.astype(np.promote_types(array.dtype, "f4"), copy=False)
        for array in arrays
    ]


def _narrowed(array: Array | None, dtype: np.dtype) -> Any:
    """Return a kernel's result as `dtype`."""
    return None if array is None else array.astype(dtype, copy=False)


# --- The operation --------------------------------------------------------------------------------


class Conv2dFunction(Function):
    """Convolution, and ReLU if asked for; saves the input, the weights and what ReLU let pass."""

    @staticmethod
    def forward(
        ctx: Node,
        x: Array,
        weight: Array,
        bias: Array | None,
        geometry: Geometry,
        groups: int,
        relu: bool,
    ) -> Array:
        ctx.geometry, ctx.groups = geometry, groups
        if isinstance(x, np.ndarray):
            y = _forward_numpy(x, weight, bias, geometry, groups, relu)
        else:
            y = _narrowed(_forward_cuda(*_widened(x, weight, bias), geometry, groups), x.dtype)
            if relu:
                relu_(y)
        ctx.save_for_backward(x, weight, y if relu else None)
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        x, weight, y = ctx.saved_tensors
        geometry, groups = ctx.geometry, ctx.groups
        if y is not None:
            grad = relu_gradient(y, grad, ctx.may_overwrite[0])
        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        dx = dweight = dbias = None
        if isinstance(x, np.ndarray):
            if need_x:
                dx = _input_gradient_numpy(grad, weight, x.shape[2:], geometry, groups)
            if need_weight or need_bias:
                dweight, dbias = _weight_gradient_numpy(x, grad, weight.shape, geometry, groups)
        else:
            dtype, (x, weight, grad) = x.dtype, _widened(x, weight, grad)
            want = need_x, need_weight or need_bias
            gradients = _backward_cuda(x, weight, grad, geometry, groups, *want)
            dx, dweight, dbias = (_narrowed(gradient, dtype) for gradient in gradients)
        return dx, dweight, dbias if need_bias else None, None, None, None


def _check_named_padding(name: str, padding: str, stride: Pair) -> None:
    if padding not in ("same", "valid"):
        raise ArgumentError(f"{name}: padding must be numbers, 'same' or 'valid', got {padding!r}")
    if padding == "same" and stride != (1, 1):
        raise ArgumentError(f"{name}: padding='same' needs stride 1, got {stride}")


def _geometry(
    name: str,
    size: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Any,
    dilation: Pair,
    ceil_mode: bool,
) -> Geometry:
    """Return where the windows lie, from PyTorch's arguments and the original's ``ceil_mode``."""
    if isinstance(padding, str):
        _check_named_padding(name, padding, stride)
        if padding == "valid":
            before = after = (0, 0)
        else:
            total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            before = (total[0] // 2, total[1] // 2)
            after = (total[0] - before[0], total[1] - before[1])
    else:
        before = after = pair(f"{name}: padding", padding, 0)
    if ceil_mode:
        # Round the number of windows up: as much more padding below and to the right as it takes.
        missing = [
            -(n + 2 * p - d * (k - 1) - 1) % s
            for n, p, d, k, s in zip(size, before, dilation, kernel, stride, strict=True)
        ]
        after = (after[0] + missing[0], after[1] + missing[1])
    return plan(name, size, kernel, stride, dilation, before, after)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: IntOrPair = 1,
    padding: IntOrPair | str = 0,
    dilation: IntOrPair = 1,
    groups: int = 1,
    *,
    ceil_mode: bool = False,
) -> Tensor:
    """Convolve images with a bank of kernels.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    weight : Tensor, shape (O, C/groups, KH, KW)
    bias : Tensor, shape (O,), optional
    stride, dilation : int or pair
        Default 1.
    padding : int, pair, "same" or "valid"
        Zeros on both sides. Default 0.
    groups : int
        Input and output channels fall into so many groups that do not see each other. Default 1.
    ceil_mode : bool
        Round the output's size up, the last window hanging over the right and bottom edge by
        zeros: the 2012 program's 224 → 55. Default False.

    Returns
    -------
    Tensor, shape (N, O, OH, OW) or (O, OH, OW)

    Raises
    ------
    ShapeError
        Channels, groups and sizes do not fit together; the message says which and how.
    DTypeError
        `input` and `weight` have different dtypes.
    ArgumentError
        An argument has no possible value.

    Examples
    --------
    >>> import minidl
    >>> x, w = minidl.zeros(1, 3, 224, 224), minidl.zeros(96, 3, 11, 11)
    >>> minidl.nn.functional.conv2d(x, w, stride=4, ceil_mode=True).shape
    Size([1, 96, 55, 55])
    """
    return _conv2d(input, weight, bias, stride, padding, dilation, groups, ceil_mode, relu=False)


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: IntOrPair,
    padding: IntOrPair | str,
    dilation: IntOrPair,
    groups: int,
    ceil_mode: bool,
    relu: bool,
) -> Tensor:
    """Check everything and convolve, with ReLU if asked for."""
    if input.ndim == 3:
        batch = _conv2d(
            input.unsqueeze(0), weight, bias, stride, padding, dilation, groups, ceil_mode, relu
        )
        return batch.squeeze(0)
    check_images("conv2d", input.array)
    if weight.ndim != 4:
        raise ShapeError(
            f"conv2d: expected weight of shape (O, C/groups, KH, KW), got {tuple(weight.shape)}"
        )
    channels, (o, depth) = input.array.shape[1], weight.array.shape[:2]
    if groups < 1 or o % groups or channels != depth * groups:
        raise ShapeError(
            f"conv2d: input has {channels} channels; weight of shape {tuple(weight.shape)} with "
            f"groups={groups} expects {depth * groups}, and output channels divisible by groups"
        )
    if bias is not None and tuple(bias.shape) != (o,):
        raise ShapeError(f"conv2d: expected bias of shape ({o},), got {tuple(bias.shape)}")
    if input.dtype != weight.dtype:
        raise DTypeError(f"conv2d: input is {input.dtype}, weight is {weight.dtype}")
    geometry = _geometry(
        "conv2d",
        input.array.shape[2:],
        weight.array.shape[2:],
        pair("conv2d: stride", stride),
        padding,
        pair("conv2d: dilation", dilation),
        ceil_mode,
    )
    return Conv2dFunction.apply(input, weight, bias, geometry, groups, relu)


class Conv2d(Module):
    """A layer of convolution kernels.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int or pair
    stride, dilation : int or pair
        Default 1.
    padding : int, pair, "same" or "valid"
        Default 0.
    groups : int
        Default 1.
    bias : bool
        Default True.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What the padding holds. Default "zeros".
    device, dtype : optional
        Default float32 on the CPU.
    ceil_mode : bool
        The 2012 program's output size: see :func:`conv2d`. Default False.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels/groups, KH, KW)
        Drawn uniformly from ±1/√(fan in), as PyTorch does.
    bias : Parameter, shape (out_channels,)
        Likewise.

    Raises
    ------
    ArgumentError
        An argument has no possible value, or the channels are not divisible by `groups`.

    Examples
    --------
    >>> import minidl
    >>> conv1 = minidl.nn.Conv2d(3, 96, kernel_size=11, stride=4)
    >>> conv1(minidl.zeros(1, 3, 227, 227)).shape
    Size([1, 96, 55, 55])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntOrPair,
        stride: IntOrPair = 1,
        padding: IntOrPair | str = 0,
        dilation: IntOrPair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ArgumentError(
                f"Conv2d: in_channels={in_channels} and out_channels={out_channels} must be "
                f"divisible by groups={groups}"
            )
        if padding_mode not in ("zeros", "reflect", "replicate", "circular"):
            raise ArgumentError(f"Conv2d: padding_mode {padding_mode!r} is not known")
        if padding_mode != "zeros" and (isinstance(padding, str) or ceil_mode):
            raise ArgumentError(f"Conv2d: padding_mode={padding_mode!r} needs padding in numbers")
        if min(in_channels, out_channels) < 1:
            raise ArgumentError(
                f"Conv2d: in_channels={in_channels} and out_channels={out_channels} must be "
                "positive"
            )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = pair("Conv2d: kernel_size", kernel_size)
        self.stride = pair("Conv2d: stride", stride)
        if isinstance(padding, str):
            _check_named_padding("Conv2d", padding, self.stride)
        self.padding = padding if isinstance(padding, str) else pair("Conv2d: padding", padding, 0)
        self.dilation = pair("Conv2d: dilation", dilation)
        self.groups, self.padding_mode, self.ceil_mode = groups, padding_mode, ceil_mode
        from .. import ops

        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(ops.empty(shape, device=device, dtype=dtype))
        self.bias = Parameter(ops.empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # ±1/√fan_in
        if self.bias is not None:
            bound = 1 / math.sqrt(math.prod(self.weight.shape[1:]))
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """Return the convolution of `input`."""
        return self._convolve(input, relu=False)

    def _convolve(self, input: Tensor, relu: bool) -> Tensor:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            vertical, horizontal = padding
            sides = (horizontal, horizontal, vertical, vertical)
            input, padding = pad(input, sides, mode=self.padding_mode), 0
        return _conv2d(
            input,
            self.weight,
            self.bias,
            self.stride,
            padding,
            self.dilation,
            self.groups,
            self.ceil_mode,
            relu,
        )

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        if self.ceil_mode:
            text += ", ceil_mode=True"
        return text
