"""Pooling: the largest or the mean number of every window.

**Max.** ``y = max over the window of x``. The gradient goes to the place of the maximum, the first
one if there are several:

    dx[i] = Σ over windows that contain i and whose first maximum is at i of dy

AlexNet's windows overlap (3x3 at stride 2), so one pixel may be the maximum of up to four windows
and collects the gradients of all. Padding counts as minus infinity: it is never the maximum, not
even in a window of negative numbers.

**Average.** ``y = Σ x / divisor`` and ``dx[i] = Σ over windows that contain i of dy / divisor``,
where the divisor is the window's size, with or without the padding it covers.

**Adaptive average.** Output i of OH covers the rows from ``floor(i·H/OH)`` to
``ceil((i+1)·H/OH)``: windows of unequal sizes that may overlap by a row.

Windows lie as in :mod:`minidl.nn.im2col`. With ``ceil_mode`` the number of windows is rounded up,
but the last one must begin inside the image or its left padding.

Max-pool keeps one byte a window for its gradient, the *place* of the maximum: the number of its
entry, counted along the rows of the window. On the CPU all passes run over (rows, columns,
channels) slices of channels-last memory; on the GPU a thread computes one output, or collects the
gradient of one pixel from the windows that cover it.

Source: Krizhevsky, Sutskever and Hinton (2012), section 3.4; sizes as PyTorch's documentation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..autograd import Function, Node
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError
from ..kernels import cpu, cuda
from ..kernels.windows import Geometry, Pair, plan
from ..tensor import Tensor
from .im2col import IntOrPair, check_images, pad_images, pair
from .module import Module

__all__ = [
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "MaxPool2d",
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "max_pool2d",
]


def _pool_geometry(
    name: str,
    size: Pair,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> Geometry:
    """Return where the windows lie, from PyTorch's arguments."""
    kernel = pair(f"{name}: kernel_size", kernel_size)
    stride = kernel if stride in (None, (), []) else pair(f"{name}: stride", stride)
    padding = pair(f"{name}: padding", padding, 0)
    dilation = pair(f"{name}: dilation", dilation)
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    if any(p > extent // 2 for p, extent in zip(padding, extents, strict=True)):
        raise ArgumentError(
            f"{name}: padding must be at most half of the window, got padding={padding} and "
            f"kernel_size={kernel}"
        )
    after = padding
    if ceil_mode:
        more = []
        for n, k, s, p, d in zip(size, kernel, stride, padding, dilation, strict=True):
            room = n + 2 * p - d * (k - 1) - 1
            missing = -room % s
            # the last window must begin inside the image or the padding in front of it
            if missing and (room + missing) // s * s >= n + p:
                missing = 0
            more.append(p + missing)
        after = (more[0], more[1])
    return plan(name, size, kernel, stride, dilation, padding, after)


# --- Max, CPU -------------------------------------------------------------------------------------


def _lanes(n: int, geometry: Geometry, channels: int) -> list[slice]:
    """A few images at a time: enough numbers to be worth a hand-over between threads.

    Small maps are cut into four, if that leaves each lane a quarter of a large map's numbers.
    """
    per_image = max(math.prod(geometry.out) * channels, 1)
    step = max(1, cpu.BLOCK // per_image)
    return cpu.split(n, max(-(-n // step), min(4, n * per_image // (cpu.BLOCK // 4))))


def _entries(geometry: Geometry) -> list[tuple[int, int]]:
    """Return row and column of each entry of the window, by rows."""
    return [(kh, kw) for kh in range(geometry.kernel[0]) for kw in range(geometry.kernel[1])]


def _positions(geometry: Geometry, entry: tuple[int, int]) -> tuple[slice, slice, slice]:
    """Return the slices of channels-last images that this entry of all windows reads."""
    return (slice(None), *geometry.positions(*entry))


#: Runs of memory shorter than this are worth a copy that puts them together.
_SHORT_RUN = 64


class _Span:
    """What the windows cover of some channels-last images (n, H, W, C), padding included.

    The windows read every s-th column. With few channels that is many short runs of memory, and
    NumPy's loops are slow on them. So the columns are kept in s *phases*, sorted by their number
    modulo s: those that an entry of the windows reads are neighbours then, one run a row.

    Where nothing has to be padded or sorted the phases are views of the images; otherwise
    :meth:`read` copies the images into buffers of this thread.
    """

    def __init__(self, images: Array, geometry: Geometry) -> None:
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
            phase = cpu.scratch(f"phase {p}", shape, images.dtype)
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
        self.fill_outside(fill)

    def fill_outside(self, fill: float) -> None:
        """Write `fill` where there is no image."""
        for part in self.outside:
            part.fill(fill)

    def across(self, kw: int) -> Array:
        """Return the numbers that column kw of all windows reads, in all rows of the span."""
        start, phase = divmod(kw * self.geometry.dilation[1], self.geometry.stride[1])
        return self.phases[phase][:, :, start : start + self.geometry.out[1]]

    def entry(self, kh: int, kw: int) -> Array:
        """Return the numbers that entry (kh, kw) of all windows reads: a view (n, OH, OW, C)."""
        return self.across(kw)[:, self.geometry.positions(kh, kw)[0]]


def _place_dtype(geometry: Geometry) -> np.dtype:
    """The smallest integers that can number a window's entries, and one more for "none"."""
    return np.min_scalar_type(math.prod(geometry.kernel))


def _first_hits(span: _Span, holds: Callable[[Array], Array], shape: tuple[int, ...]) -> Array:
    """Return for every window the number of its first entry for which `holds` is true.

    It is how many entries before it were no hit, so that adding up "still waiting", which is
    waiting > hit, counts it.
    """
    waiting = np.ones(shape, np.bool_)
    places = np.zeros(shape, _place_dtype(span.geometry))
    for entry in _entries(span.geometry):
        np.greater(waiting, holds(span.entry(*entry)), out=waiting)
        np.add(places, waiting, out=places)
    return places


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
    phases = []
    for first in range(stride):
        reads = [(k, divmod(k * dilation, stride)) for k in range(kernel)]
        entries = [(k, start) for k, (start, phase) in reads if phase == first]
        if entries:
            rows = out + entries[-1][1]
            padded = max(-(-(before - first) // stride), 0)  # rows above the image
            own = range(size)[first + padded * stride - before :: stride][: max(rows - padded, 0)]
            inside = slice(padded, padded + len(own))
            phases.append(_Phase(entries, rows, inside, slice(own.start, own.stop, stride)))
    return phases


def _collect(dx: Array, geometry: Geometry, give: Callable[[int, int], Array]) -> None:
    """Write into images dx (n, H, W, C) what all windows give to their pixels.

    Entry (kh, kw) of the windows gives ``give(kh, kw)``, (n, OH, OW, C). It goes to pixels that are
    a stride apart: those are added up in a buffer where they are neighbours, and written once.
    """
    (n, *size, c), (oh, ow) = dx.shape, geometry.out
    g = geometry
    axes = zip(g.kernel, g.stride, g.dilation, g.before, g.out, size, strict=True)
    down, across = (_phases(*axis) for axis in axes)
    covered = [sum(p.inside.stop - p.inside.start for p in phases) for phases in (down, across)]
    if covered != size:
        dx.fill(0)
    for row_phase in down:
        for phase in across:
            total = cpu.scratch("total", (n, row_phase.rows, phase.rows, c), dx.dtype)
            total.fill(0)
            for kh, row in row_phase.entries:
                for kw, column in phase.entries:
                    own = total[:, row : row + oh, column : column + ow]
                    np.add(own, give(kh, kw), out=own)
            dx[:, row_phase.own, phase.own] = total[:, row_phase.inside, phase.inside]


def _larger(best: Array, other: Array, places: Array, place: Array | int) -> None:
    """Where `other` is larger than `best`, put it there, and its `place` among the places.

    A later place is a larger number: so the one to keep is the maximum, and no choice is needed.
    """
    larger = cpu.scratch("larger", best.shape, np.dtype(np.bool_))
    np.greater(other, best, out=larger)
    taken = cpu.scratch("taken", best.shape, places.dtype)
    if places.dtype == np.uint8:
        larger = larger.view(np.uint8)  # True is 1: nothing to convert
    np.multiply(larger, place, out=taken, casting="unsafe")
    np.maximum(places, taken, out=places)
    np.maximum(best, other, out=best)


def _max_forward_numpy(x: Array, geometry: Geometry, want_places: bool) -> tuple[Array, Array]:
    """Return y and, if wanted, the places: (N, C, OH, OW), channels-last in memory as y."""
    n, c = x.shape[:2]
    y = cpu.empty_image(n, c, *geometry.out, x.dtype)
    places = cpu.empty((n * want_places, *geometry.out, c), _place_dtype(geometry))
    kernel_h, kernel_w = geometry.kernel
    x_images, y_images = x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1)

    def lane(images: slice) -> None:
        span, best = _Span(x_images[images], geometry), y_images[images]
        span.read(-math.inf)
        # separable: first along the rows of the image, then down its columns
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
        # NaN is larger than nothing, and minus infinity not larger than padding.
        if best.size and not best.min() > -math.inf:
            lost = np.isnan(best)
            places[images][lost] = _first_hits(span, np.isnan, best.shape)[lost]
            lost = best == -math.inf
            span.fill_outside(math.nan)
            lowest = _first_hits(span, lambda entry: entry == -math.inf, best.shape)
            places[images][lost] = lowest[lost]

    cpu.parallel(lane, _lanes(n, geometry, c))
    return y, places.transpose(0, 3, 1, 2)


def _max_backward_numpy(
    grad: Array, places: Array, shape: tuple[int, ...], geometry: Geometry
) -> Array:
    n, c, h, w = shape
    dx = cpu.empty_image(n, c, h, w, grad.dtype)
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

        _collect(dx_images[images], geometry, give)

    cpu.parallel(lane, _lanes(n, geometry, c))
    return dx


# --- GPU: what all share --------------------------------------------------------------------------


def _widened(x: Array) -> Array:
    """Return `x` for the kernels: float16 as float32, (C, N, H, W) in shape and memory."""
    return cuda.channel_major(x.astype(np.promote_types(x.dtype, np.float32), copy=False))


def _narrowed(x: Array, dtype: np.dtype) -> Array:
    """Return a kernel's result as (N, C, H, W) of `dtype`."""
    return x.transpose(1, 0, 2, 3).astype(dtype, copy=False)


def _on_planes(geometry: Geometry, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the arguments that a kernel calls GEOMETRY; `size` ends with H and W."""
    g = geometry
    return (*size[-2:], *g.out, *g.kernel, *g.stride, *g.dilation, *g.before)


# --- Max, GPU -------------------------------------------------------------------------------------

_MAX_CUDA = cuda.Source(r"""
// Where the windows lie on a plane: one channel of one image, of height x width numbers.
#define GEOMETRY \
    int height, int width, int out_h, int out_w, int kernel_h, int kernel_w, \
    int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left

// Places have as few bytes as number the entries of a window, and one more for "none".
__device__ void put_place(void* places, int bytes, long long i, unsigned int place)
{
    if (bytes == 1) ((unsigned char*)places)[i] = place;
    else if (bytes == 2) ((unsigned short*)places)[i] = place;
    else if (bytes == 4) ((unsigned int*)places)[i] = place;
}

__device__ unsigned int get_place(const void* places, int bytes, long long i)
{
    if (bytes == 1) return ((const unsigned char*)places)[i];
    if (bytes == 2) return ((const unsigned short*)places)[i];
    return ((const unsigned int*)places)[i];
}

// One thread a window: the largest number and, unless `bytes` is 0, its place.
extern "C" __global__ void max_forward(
    const T* x, T* y, void* places, int planes, int bytes, T infinity, GEOMETRY)
{
    const int none = kernel_h * kernel_w;
    FOR_EACH(i, (long long)planes * out_h * out_w) {
        const long long row = i / out_w, plane = row / out_h;
        const int first_h = (int)(row - plane * out_h) * stride_h - top;
        const int first_w = (int)(i - row * out_w) * stride_w - left;
        const T* image = x + plane * height * width;
        T best = -infinity;
        int place = none;
        for (int kh = 0; kh < kernel_h; kh++) {
            const int h = first_h + kh * dilation_h;
            if (h < 0 || h >= height) continue;
            for (int kw = 0; kw < kernel_w; kw++) {
                const int w = first_w + kw * dilation_w;
                if (w < 0 || w >= width) continue;
                const T value = image[h * width + w];
                // The first number counts even if it is minus infinity; later ones must be larger.
                // NaN is not less or equal, and nothing takes its place.
                if (place == none || (!(value <= best) && best == best)) {
                    best = value;
                    place = kh * kernel_w + kw;
                }
            }
        }
        y[i] = best;
        put_place(places, bytes, i, place);
    }
}

// Which entry of a window stands `distance` after its first; -1 if the dilation leaves that out.
__device__ int entry_at(int distance, int dilation)
{
    if (dilation == 1) return distance;
    return distance % dilation == 0 ? distance / dilation : -1;
}

// One thread a pixel: it adds up the gradients of those windows that cover it and have their
// maximum there. Windows from the last to the first are entries from the first to the last.
extern "C" __global__ void max_backward(
    const T* dy, const void* places, T* dx, int planes, int bytes, GEOMETRY)
{
    const int reach_h = dilation_h * (kernel_h - 1), reach_w = dilation_w * (kernel_w - 1);
    FOR_EACH(i, (long long)planes * height * width) {
        const long long row = i / width, plane = row / height;
        const int down = (int)(row - plane * height) + top, right = (int)(i - row * width) + left;
        const int last_h = min(down / stride_h, out_h - 1);
        const int last_w = min(right / stride_w, out_w - 1);
        T sum = 0;
        for (int oh = last_h; oh >= 0 && down - oh * stride_h <= reach_h; oh--) {
            const int kh = entry_at(down - oh * stride_h, dilation_h);
            if (kh < 0) continue;
            for (int ow = last_w; ow >= 0 && right - ow * stride_w <= reach_w; ow--) {
                const int kw = entry_at(right - ow * stride_w, dilation_w);
                const long long window = (plane * out_h + oh) * out_w + ow;
                if (kw >= 0 && get_place(places, bytes, window) == kh * kernel_w + kw)
                    sum += dy[window];
            }
        }
        dx[i] = sum;
    }
}
""")


def _max_forward_cuda(x: Array, geometry: Geometry, want_places: bool) -> tuple[Array, Array]:
    """Return y and, if wanted, the places, (C, N, OH, OW) in memory as y."""
    xp, images, (n, c) = cuda.cupy(), _widened(x), x.shape[:2]
    y = xp.empty((c, n, *geometry.out), images.dtype)
    places = xp.empty((c, n * want_places, *geometry.out), _place_dtype(geometry))
    _MAX_CUDA.launch(
        "max_forward", y.dtype, y.size, images, y, places, c * n, places.itemsize * want_places,
        math.inf, *_on_planes(geometry, x.shape),
    )  # fmt: skip
    return _narrowed(y, x.dtype), places.transpose(1, 0, 2, 3)


def _max_backward_cuda(
    grad: Array, places: Array, shape: tuple[int, ...], geometry: Geometry
) -> Array:
    (n, c, h, w), dy, places = shape, _widened(grad), cuda.channel_major(places)
    dx = cuda.cupy().empty((c, n, h, w), dy.dtype)
    _MAX_CUDA.launch(
        "max_backward", dx.dtype, dx.size, dy, places, dx, c * n, places.itemsize,
        *_on_planes(geometry, shape),
    )  # fmt: skip
    return _narrowed(dx, grad.dtype)


# --- Max, integers on any device: the plain form --------------------------------------------------


def _max_forward_plain(x: Array, geometry: Geometry, want_places: bool) -> tuple[Array, Array]:
    """Return y and the places; integers have no gradient, and kernels know floats only."""
    xp, lowest = array_module(x), np.iinfo(x.dtype).min
    padded = pad_images(x, geometry, lowest).transpose(0, 2, 3, 1)
    y = xp.full((x.shape[0], *geometry.out, x.shape[1]), lowest, x.dtype)
    for entry in _entries(geometry):
        y = xp.maximum(y, padded[_positions(geometry, entry)])
    places = xp.zeros(y.shape, _place_dtype(geometry))
    waiting = xp.full(y.shape, want_places)
    inside = pad_images(xp.ones((1, 1, *x.shape[2:]), np.bool_), geometry).transpose(0, 2, 3, 1)
    for entry in _entries(geometry):
        part = padded[_positions(geometry, entry)]
        waiting &= ~(inside[_positions(geometry, entry)] & (part == y))
        places += waiting
    return y.transpose(0, 3, 1, 2), places.transpose(0, 3, 1, 2)


# --- Average --------------------------------------------------------------------------------------


def _divisors(geometry: Geometry, size: Pair, count_padding: bool) -> np.ndarray:
    """Return by how much every window's sum is divided, shape (OH, OW).

    Padding counts if `count_padding`, but never the overhang that ceil_mode adds behind it.
    """
    counts = []
    axes = zip(size, geometry.kernel, geometry.stride, geometry.before, geometry.out, strict=True)
    for n, k, s, p, out in axes:
        starts = np.arange(out) * s - p
        ends = np.minimum(starts + k, n + p)
        if not count_padding:
            starts, ends = np.maximum(starts, 0), np.minimum(ends, n)
        counts.append(ends - starts)
    return counts[0][:, None] * counts[1][None, :]


def _average_forward_numpy(x: Array, geometry: Geometry, divisors: Array) -> Array:
    n, c = x.shape[:2]
    y = cpu.empty_image(n, c, *geometry.out, x.dtype)
    x_images, y_images = x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1)
    scale = (1 / divisors[:, :, None]).astype(x.dtype)

    def lane(images: slice) -> None:
        span = _Span(x_images[images], geometry)
        span.read(0)
        # separable: first along the rows of the image, then down its columns
        shape = (images.stop - images.start, geometry.span[0], geometry.out[1], c)
        across = cpu.scratch("across", shape, x.dtype)
        np.copyto(across, span.across(0))
        for kw in range(1, geometry.kernel[1]):
            np.add(across, span.across(kw), out=across)
        out = y_images[images]
        np.copyto(out, across[:, geometry.positions(0, 0)[0]])
        for kh in range(1, geometry.kernel[0]):
            np.add(out, across[:, geometry.positions(kh, 0)[0]], out=out)
        out *= scale

    cpu.parallel(lane, _lanes(n, geometry, c))
    return y


def _average_backward_numpy(
    grad: Array, shape: tuple[int, ...], geometry: Geometry, divisors: Array
) -> Array:
    n, c, h, w = shape
    dx = cpu.empty_image(n, c, h, w, grad.dtype)
    dx_images, dy_images = dx.transpose(0, 2, 3, 1), grad.transpose(0, 2, 3, 1)
    scale = (1 / divisors[:, :, None]).astype(grad.dtype)
    (kh, kw), (sh, sw), _, (top, left), (_, ow) = geometry
    columns = geometry._replace(kernel=(kh, 1), stride=(sh, 1), before=(top, 0))
    rows = geometry._replace(kernel=(1, kw), stride=(1, sw), before=(0, left), out=(h, ow))

    def lane(images: slice) -> None:
        share = dy_images[images] * scale
        # the transpose of the forward pass: first the columns, then the rows
        across = cpu.scratch("across", (len(share), h, *share.shape[2:]), grad.dtype)
        _collect(across, columns, lambda kh, kw: share)
        _collect(dx_images[images], rows, lambda kh, kw: across)

    cpu.parallel(lane, _lanes(n, geometry, c))
    return dx


_AVERAGE_CUDA = cuda.Source(r"""
// Where the windows lie on a plane: one channel of one image, of height x width numbers.
#define GEOMETRY \
    int height, int width, int out_h, int out_w, int kernel_h, int kernel_w, \
    int stride_h, int stride_w, int dilation_h, int dilation_w, int top, int left

// How many rows (or columns) of window o count in its mean. Padding does if `count_padding`, but
// never the overhang that ceil_mode adds behind it.
__device__ int counted(int o, int kernel, int stride, int before, int size, bool count_padding)
{
    const int start = o * stride - before, end = min(start + kernel, size + before);
    return count_padding ? end - start : min(end, size) - max(start, 0);
}

#define DIVISOR(oh, ow) \
    (divisor != 0 ? divisor \
                  : T(counted(oh, kernel_h, stride_h, top, height, count_padding)) \
                        * counted(ow, kernel_w, stride_w, left, width, count_padding))

// One thread a window: its sum, row by row, by its divisor (`divisor`, if that is not 0).
extern "C" __global__ void average_forward(
    const T* x, T* y, int planes, bool count_padding, T divisor, GEOMETRY)
{
    FOR_EACH(i, (long long)planes * out_h * out_w) {
        const long long row = i / out_w, plane = row / out_h;
        const int oh = row - plane * out_h, ow = i - row * out_w;
        const int first_h = oh * stride_h - top, first_w = ow * stride_w - left;
        const int end_h = min(first_h + kernel_h, height), end_w = min(first_w + kernel_w, width);
        const T* image = x + plane * height * width;
        T sum = 0;
        for (int h = max(first_h, 0); h < end_h; h++) {
            T across = 0;
            for (int w = max(first_w, 0); w < end_w; w++) across += image[h * width + w];
            sum += across;
        }
        y[i] = sum / DIVISOR(oh, ow);
    }
}

// One thread a pixel: its shares of the gradients of all windows that cover it.
extern "C" __global__ void average_backward(
    const T* dy, T* dx, int planes, bool count_padding, T divisor, GEOMETRY)
{
    FOR_EACH(i, (long long)planes * height * width) {
        const long long row = i / width, plane = row / height;
        const int down = (int)(row - plane * height) + top, right = (int)(i - row * width) + left;
        const int last_h = min(down / stride_h, out_h - 1);
        const int last_w = min(right / stride_w, out_w - 1);
        const T* windows = dy + plane * out_h * out_w;
        T sum = 0;
        for (int oh = last_h; oh >= 0 && down - oh * stride_h < kernel_h; oh--) {
            T across = 0;
            for (int ow = last_w; ow >= 0 && right - ow * stride_w < kernel_w; ow--)
                across += windows[oh * out_w + ow] / DIVISOR(oh, ow);
            sum += across;
        }
        dx[i] = sum;
    }
}
""")


def _average_forward_cuda(
    x: Array, geometry: Geometry, count_padding: bool, divisor: float
) -> Array:
    """Return y; `divisor` is 0 where a window's size decides."""
    images = _widened(x)
    y = cuda.cupy().empty((*images.shape[:2], *geometry.out), images.dtype)
    _AVERAGE_CUDA.launch(
        "average_forward", y.dtype, y.size, images, y, math.prod(x.shape[:2]), count_padding,
        divisor, *_on_planes(geometry, x.shape),
    )  # fmt: skip
    return _narrowed(y, x.dtype)


def _average_backward_cuda(
    grad: Array, shape: tuple[int, ...], geometry: Geometry, count_padding: bool, divisor: float
) -> Array:
    (n, c, h, w), dy = shape, _widened(grad)
    dx = cuda.cupy().empty((c, n, h, w), dy.dtype)
    _AVERAGE_CUDA.launch(
        "average_backward", dx.dtype, dx.size, dy, dx, c * n, count_padding, divisor,
        *_on_planes(geometry, shape),
    )  # fmt: skip
    return _narrowed(dx, grad.dtype)


# --- Adaptive average -----------------------------------------------------------------------------


def _bins(size: int, out: int, dtype: Any) -> np.ndarray:
    """Return the matrix (out, size) that averages an axis into `out` bins."""
    matrix = np.zeros((out, size), dtype)
    for i in range(out):
        start, stop = i * size // out, -(-(i + 1) * size // out)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix


def _adaptive_forward_numpy(x: Array, out: Pair) -> Array:
    """Return ``R·x·Cᵀ`` with the averaging matrices R and C of the two axes."""
    rows, columns = _bins(x.shape[2], out[0], x.dtype), _bins(x.shape[3], out[1], x.dtype)
    return np.matmul(rows, np.matmul(x, columns.T))


def _adaptive_backward_numpy(grad: Array, size: Pair) -> Array:
    """Return ``Rᵀ·dy·C``."""
    out = grad.shape[2:]
    rows, columns = _bins(size[0], out[0], grad.dtype), _bins(size[1], out[1], grad.dtype)
    return np.matmul(rows.T, np.matmul(grad, columns))


_ADAPTIVE_CUDA = cuda.Source(r"""
// Bin o of `bins` covers the pixels from floor(o·size / bins) to ceil((o + 1)·size / bins).
__device__ int bin_start(int o, int size, int bins) { return (long long)o * size / bins; }
__device__ int bin_end(int o, int size, int bins)
{
    return ((o + 1LL) * size + bins - 1) / bins;
}

// One thread a bin: the mean of its numbers, row by row.
extern "C" __global__ void adaptive_forward(
    const T* x, T* y, int planes, int height, int width, int out_h, int out_w)
{
    FOR_EACH(i, (long long)planes * out_h * out_w) {
        const long long row = i / out_w, plane = row / out_h;
        const int oh = row - plane * out_h, ow = i - row * out_w;
        const int top = bin_start(oh, height, out_h), bottom = bin_end(oh, height, out_h);
        const int left = bin_start(ow, width, out_w), right = bin_end(ow, width, out_w);
        const T* image = x + plane * height * width;
        T sum = 0;
        for (int h = top; h < bottom; h++) {
            T across = 0;
            for (int w = left; w < right; w++) across += image[h * width + w];
            sum += across;
        }
        y[i] = sum / (T(bottom - top) * (right - left));
    }
}

// One thread a pixel: its shares of the gradients of the bins that cover it. Those are the bins
// with o·size / bins < h + 1 and h < (o + 1)·size / bins.
extern "C" __global__ void adaptive_backward(
    const T* dy, T* dx, int planes, int height, int width, int out_h, int out_w)
{
    FOR_EACH(i, (long long)planes * height * width) {
        const long long row = i / width, plane = row / height;
        const long long h = row - plane * height, w = i - row * width;
        const int end_h = ((h + 1) * out_h - 1) / height + 1;
        const int end_w = ((w + 1) * out_w - 1) / width + 1;
        const T* bins = dy + plane * out_h * out_w;
        T sum = 0;
        for (int oh = h * out_h / height; oh < end_h; oh++) {
            const int rows = bin_end(oh, height, out_h) - bin_start(oh, height, out_h);
            T across = 0;
            for (int ow = w * out_w / width; ow < end_w; ow++) {
                const int columns = bin_end(ow, width, out_w) - bin_start(ow, width, out_w);
                across += bins[oh * out_w + ow] / columns;
            }
            sum += across / rows;
        }
        dx[i] = sum;
    }
}
""")


def _adaptive_forward_cuda(x: Array, out: Pair) -> Array:
    images = _widened(x)
    c, n, h, w = images.shape
    y = cuda.cupy().empty((c, n, *out), images.dtype)
    _ADAPTIVE_CUDA.launch("adaptive_forward", y.dtype, y.size, images, y, c * n, h, w, *out)
    return _narrowed(y, x.dtype)


def _adaptive_backward_cuda(grad: Array, size: Pair) -> Array:
    dy = _widened(grad)
    c, n, *out = dy.shape
    dx = cuda.cupy().empty((c, n, *size), dy.dtype)
    _ADAPTIVE_CUDA.launch("adaptive_backward", dx.dtype, dx.size, dy, dx, c * n, *size, *out)
    return _narrowed(dx, grad.dtype)


# --- The operations -------------------------------------------------------------------------------


def _indices(places: Array, geometry: Geometry, width: int) -> Array:
    """Return the position of every window's maximum in its image, as h·W + w, (N, C, OH, OW)."""
    xp = array_module(places)
    kh, kw = xp.divmod(places.astype(np.int64), geometry.kernel[1])
    (top, left), (oh, ow) = geometry.before, geometry.out
    h = xp.arange(oh).reshape(oh, 1) * geometry.stride[0] + kh * geometry.dilation[0] - top
    w = xp.arange(ow) * geometry.stride[1] + kw * geometry.dilation[1] - left
    return h * width + w


class MaxPool2dFunction(Function):
    """The largest number of every window, and (without gradient) where it stands."""

    @staticmethod
    def forward(ctx: Node, x: Array, geometry: Geometry, indices: bool) -> Any:
        if x.dtype.kind != "f":
            forward = _max_forward_plain
        else:
            forward = _max_forward_numpy if isinstance(x, np.ndarray) else _max_forward_cuda
        y, places = forward(x, geometry, indices or ctx.needs_input_grad[0])
        ctx.save_for_backward(places)
        ctx.geometry, ctx.shape = geometry, x.shape
        if not indices:
            return y
        where = _indices(places, geometry, x.shape[3])
        ctx.mark_non_differentiable(where)
        return y, where

    @staticmethod
    def backward(ctx: Node, grad: Array, *unused: Any) -> Any:
        (places,) = ctx.saved_tensors
        backward = _max_backward_numpy if isinstance(grad, np.ndarray) else _max_backward_cuda
        return backward(grad, places, ctx.shape, ctx.geometry), None, None


class AvgPool2dFunction(Function):
    """The mean of every window; `divisor` replaces the window's size unless it is 0."""

    @staticmethod
    def forward(
        ctx: Node, x: Array, geometry: Geometry, count_padding: bool, divisor: float
    ) -> Array:
        ctx.shape, ctx.geometry = x.shape, geometry
        if isinstance(x, np.ndarray):
            if divisor:
                ctx.divisors = np.full(geometry.out, divisor)
            else:
                ctx.divisors = _divisors(geometry, (x.shape[2], x.shape[3]), count_padding)
            return _average_forward_numpy(x, geometry, ctx.divisors)
        ctx.divisors = count_padding, divisor
        return _average_forward_cuda(x, geometry, count_padding, divisor)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        if isinstance(grad, np.ndarray):
            dx = _average_backward_numpy(grad, ctx.shape, ctx.geometry, ctx.divisors)
        else:
            dx = _average_backward_cuda(grad, ctx.shape, ctx.geometry, *ctx.divisors)
        return dx, None, None, None


class AdaptiveAvgPool2dFunction(Function):
    """Means over bins of unequal sizes."""

    @staticmethod
    def forward(ctx: Node, x: Array, out: Pair) -> Array:
        ctx.size = x.shape[2:]
        forward = _adaptive_forward_numpy if isinstance(x, np.ndarray) else _adaptive_forward_cuda
        return forward(x, out)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        backward = (
            _adaptive_backward_numpy if isinstance(grad, np.ndarray) else _adaptive_backward_cuda
        )
        return backward(grad, ctx.size), None


def _batched(name: str, input: Tensor) -> tuple[Tensor, bool]:
    """Return images with a batch axis, and whether it had to be added."""
    added = input.ndim == 3
    images = input.unsqueeze(0) if added else input
    check_images(name, images.array)
    return images, added


def _check_floats(name: str, input: Tensor) -> None:
    if not input.is_floating_point():
        raise DTypeError(f"{name}: expected floats, got {input.dtype}; use .float() first")


def max_pool2d(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    dilation: IntOrPair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """Return the largest number of every window.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size : int or pair
    stride : int or pair, optional
        Default: `kernel_size`.
    padding : int or pair
        Minus infinity on both sides, at most half of the window. Default 0.
    dilation : int or pair
        Default 1.
    ceil_mode : bool
        Round the number of windows up. Default False.
    return_indices : bool
        Return the positions of the maxima in their images (h·W + w) as well. Default False.

    Returns
    -------
    Tensor, shape (N, C, OH, OW), or a pair of them

    Raises
    ------
    ShapeError
        No window fits, or the input has not three or four axes.
    ArgumentError
        An argument has no possible value.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([[[1.0, 5.0, 2.0], [0.0, 3.0, 4.0]]])
    >>> minidl.nn.functional.max_pool2d(x, kernel_size=2, stride=1)
    tensor([[[5., 5.]]])
    """
    images, added = _batched("max_pool2d", input)
    geometry = _pool_geometry(
        "max_pool2d", images.array.shape[2:], kernel_size, stride, padding, dilation, ceil_mode
    )
    result = MaxPool2dFunction.apply(images, geometry, return_indices)
    if not added:
        return result
    if return_indices:
        return tuple(part.squeeze(0) for part in result)
    return result.squeeze(0)


def avg_pool2d(
    input: Tensor,
    kernel_size: IntOrPair,
    stride: IntOrPair | None = None,
    padding: IntOrPair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Return the mean of every window.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    kernel_size : int or pair
    stride : int or pair, optional
        Default: `kernel_size`.
    padding : int or pair
        Zeros on both sides, at most half of the window. Default 0.
    ceil_mode : bool
        Round the number of windows up. Default False.
    count_include_pad : bool
        Count the padding in the mean. Default True.
    divisor_override : int, optional
        Divide every sum by this instead.

    Returns
    -------
    Tensor, shape (N, C, OH, OW)

    Raises
    ------
    ShapeError
        No window fits, or the input has not three or four axes.
    ArgumentError
        An argument has no possible value.
    """
    _check_floats("avg_pool2d", input)
    images, added = _batched("avg_pool2d", input)
    size = images.array.shape[2:]
    geometry = _pool_geometry("avg_pool2d", size, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override == 0:
        raise ArgumentError("avg_pool2d: divisor_override must not be 0")
    divisor = float(divisor_override or 0)
    result = AvgPool2dFunction.apply(images, geometry, bool(count_include_pad), divisor)
    return result.squeeze(0) if added else result


def adaptive_avg_pool2d(input: Tensor, output_size: Any) -> Tensor:
    """Return means over as many bins as asked for, whatever the input's size.

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W) or (C, H, W)
    output_size : int or pair
        None in a pair keeps that axis.

    Returns
    -------
    Tensor, shape (N, C, OH, OW)

    Raises
    ------
    ShapeError
        The input has not three or four axes.
    ArgumentError
        `output_size` is not an integer or two.
    """
    _check_floats("adaptive_avg_pool2d", input)
    images, added = _batched("adaptive_avg_pool2d", input)
    wanted = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    size = images.array.shape[2:]
    filled = [n if w is None else w for n, w in zip(size, wanted, strict=False)]
    out = pair("adaptive_avg_pool2d: output_size", filled)
    # every bin holds one pixel where the size is right already: AlexNet's 6x6
    result = images if out == size else AdaptiveAvgPool2dFunction.apply(images, out)
    return result.squeeze(0) if added else result


# --- Modules --------------------------------------------------------------------------------------


class MaxPool2d(Module):
    """The largest number of every window: see :func:`max_pool2d`.

    Parameters
    ----------
    kernel_size : int or pair
    stride : int or pair, optional
        Default: `kernel_size`.
    padding, dilation : int or pair
        Defaults 0 and 1.
    return_indices, ceil_mode : bool
        Default False.
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        dilation: IntOrPair = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.dilation = padding, dilation
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input: Tensor) -> Any:
        """Return the pooled `input`."""
        return max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of every window: see :func:`avg_pool2d`.

    Parameters
    ----------
    kernel_size : int or pair
    stride : int or pair, optional
        Default: `kernel_size`.
    padding : int or pair
        Default 0.
    ceil_mode : bool
        Default False.
    count_include_pad : bool
        Default True.
    divisor_override : int, optional
    """

    def __init__(
        self,
        kernel_size: IntOrPair,
        stride: IntOrPair | None = None,
        padding: IntOrPair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding, self.ceil_mode = padding, ceil_mode
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def forward(self, input: Tensor) -> Tensor:
        """Return the pooled `input`."""
        return avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + (", ceil_mode=True" if self.ceil_mode else "")


class AdaptiveAvgPool2d(Module):
    """Means over as many bins as asked for: see :func:`adaptive_avg_pool2d`.

    Parameters
    ----------
    output_size : int or pair
        None in a pair keeps that axis.
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        """Return the pooled `input`."""
        return adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"output_size={self.output_size}"
