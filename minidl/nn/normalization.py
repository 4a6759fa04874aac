"""Normalisation: local response (across maps and within a map) and batch.

**Local response normalisation** divides every activity by a power of the activity around it:

    s_i = k + α' · Σ_{j in W(i)} x_j²          y_i = x_i · s_i^(-β)

- *Across maps* (the paper's): W(i) is a window of ``size`` channels at the same position, from
  ``i - size//2`` to ``i + (size-1)//2``, cut off at the ends, and ``α' = α / size``.
- *Within a map* (the original program's extra layer): W(i) is a ``size`` x ``size`` square around
  the position in the same channel, and ``α' = α / size²``.

The divisor does not change where the window is cut off. With the incoming gradient g,

    dx_j = g_j·s_j^(-β) - 2·α'·β · x_j · Σ_{i : j in W(i)} g_i·x_i·s_i^(-β) / s_i

The second sum runs over the windows that contain j, which is the mirrored window around j. Only x
is kept for it; s is cheaper to compute again than to read back from memory.

The paper prints α = 1e-4 without saying that its program divides by the size. So the published
runs are ``LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2)``, and the printed formula, taken
literally, is ``alpha=5e-4``. ``groups`` keeps the windows inside each tower, as in the original
program. A ReLU in front costs nothing while its numbers are at hand, neither here nor on the way
back: with ``relu`` x stands for max(x, 0), and dx is 0 where x is not positive.

**Batch normalisation**, for every channel, over the n numbers of all images and positions:

    x̂ = (x - mean) / √(var + ε)        y = γ·x̂ + β
    dγ = Σ dy·x̂      dβ = Σ dy      dx = γ/√(var + ε) · (dy - dβ/n - x̂·dγ/n)

with the batch's mean and variance (divided by n) in training, and with running averages (of the
variance divided by n - 1) afterwards, when dx is only the first factor times dy.

Sources: Krizhevsky, Sutskever and Hinton (2012), section 3.3; computerhistory/AlexNet-Source-Code,
layer.py; Ioffe and Szegedy (2015), arXiv 1502.03167.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import Function, Node
from ..device import Array, active, device_of
from ..errors import ArgumentError, DTypeError, ShapeError
from ..kernels import cpu, cuda
from ..tensor import Tensor, int64
from .module import Module, Parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "batch_norm"]


def _check_floats(name: str, input: Tensor) -> None:
    if not input.is_floating_point():
        raise DTypeError(f"{name}: expected floats, got {input.dtype}; use .float() first")


def _widened(x: Array) -> Array:
    """Return (N, C, ...) for the kernels: (C, N, ...) in shape and memory, float16 as float32."""
    dtype = np.promote_types(x.dtype, np.float32)
    return cuda.cupy().ascontiguousarray(x.swapaxes(0, 1), dtype)


def _narrowed(x: Array, dtype: np.dtype) -> Array:
    """Return a kernel's result as (N, C, ...) of `dtype`."""
    return x.swapaxes(0, 1).astype(dtype, copy=False)


# --- Batch normalisation, CPU ---------------------------------------------------------------------


def _image_rows(x: Array) -> Array:
    """Return (N, C, ...) as channels-last (N, P, C); (N, C) as (1, N, C)."""
    if x.ndim == 2:
        return x[None]
    last = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    return last.reshape(x.shape[0], math.prod(x.shape[2:]), x.shape[1])


def _like_input(rows: Array, shape: tuple[int, ...]) -> Array:
    """Undo :func:`_image_rows`."""
    if len(shape) == 2:
        return rows[0]
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def _map_images(task: Callable[..., None], *arrays: Array) -> Array:
    """Call ``task(*images, out)`` for every image of (N, P, C) arrays and return the outs."""
    out = cpu.empty(arrays[0].shape, arrays[0].dtype)

    def lane(part: slice) -> None:
        for number in range(part.start, part.stop):
            task(*(array[number] for array in arrays), out[number])

    cpu.parallel(lane, cpu.split(len(out)))
    return out


def _batch_forward_numpy(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    batches: Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Array, Array, Array]:
    """Return y, and mean and 1/√(var + ε) of every channel."""
    rows = _image_rows(x)
    count = rows.shape[0] * rows.shape[1]
    if training:
        mean = cpu.sum_rows(rows) / x.dtype.type(count)

        def square(x: Array, out: Array) -> None:
            np.subtract(x, mean, out=out)
            out *= out

        variance = cpu.sum_rows(_map_images(square, rows)) / x.dtype.type(count)
        if count > 0:
            if batches is not None:
                momentum = 1 / int(batches)
            if running_mean is not None:
                running_mean += momentum * (mean - running_mean)
            if running_var is not None:
                unbiased = variance * (count / max(count - 1, 1))
                running_var += momentum * (unbiased - running_var)
    else:
        assert running_mean is not None and running_var is not None
        # a copy, because a later batch in training changes it in place
        mean, variance = running_mean.copy(), running_var
    inverse = (1 / np.sqrt(variance + x.dtype.type(eps))).astype(x.dtype)
    slope = inverse if weight is None else inverse * weight

    def normalize(x: Array, out: Array) -> None:
        np.subtract(x, mean, out=out)
        out *= slope
        if bias is not None:
            out += bias

    return _like_input(_map_images(normalize, rows), x.shape), mean, inverse


def _batch_backward_numpy(
    x: Array,
    grad: Array,
    weight: Array | None,
    mean: Array,
    inverse: Array,
    training: bool,
    overwrite: bool,
    want: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dγ and dβ; the last two always, dx if it is wanted."""
    rows, dy = _image_rows(x), _image_rows(grad)

    def times_normalized(x: Array, dy: Array, out: Array) -> None:
        np.subtract(x, mean, out=out)
        out *= inverse
        out *= dy

    dweight = cpu.sum_rows(_map_images(times_normalized, rows, dy))
    dbias = cpu.sum_rows(dy)
    slope = inverse if weight is None else inverse * weight
    n = x.dtype.type(rows.shape[0] * rows.shape[1])

    def input_gradient(x: Array, dy: Array, out: Array) -> None:
        if training:
            np.subtract(x, mean, out=out)
            out *= inverse * dweight / n
            np.subtract(dy, out, out=out)
            out -= dbias / n
            out *= slope
        else:
            np.multiply(dy, slope, out=out)

    dx = _like_input(_map_images(input_gradient, rows, dy), x.shape) if want[0] else None
    return dx, dweight, dbias


# --- Batch normalisation, GPU ---------------------------------------------------------------------

#: Threads of a block: as in the source, a power of two.
_BLOCK_CUDA = 256

#: How many numbers of a channel a block takes, unless there would be too many blocks to add up.
_RUN_CUDA = 32 * _BLOCK_CUDA

_BATCH_CUDA = cuda.Source(r"""
// Images are (channels, count). Every channel is cut into `parts` runs of numbers, a block each.
// What the blocks of a first kernel find out about their runs, those of a second one put together,
// all of them the same way; so the result does not depend on which block comes first.
#define BLOCK 256
#define FOR_EACH_OF_RUN(i) \
    for (long long i = run_start(count, parts, part) + threadIdx.x; \
         i < run_start(count, parts, part + 1); i += BLOCK)

__device__ long long run_start(long long count, int parts, int part)
{
    return min((count + parts - 1) / parts * part, count);
}

// Welford's description of some numbers: how many, their mean, and Σ (x - mean)².
struct Moments { T count, mean, squares; };

// Chan, Golub and LeVeque (1979): the moments of both together.
__device__ Moments together(Moments a, Moments b)
{
    if (b.count == 0) return a;
    const T count = a.count + b.count, share = b.count / count, delta = b.mean - a.mean;
    return {count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share};
}

struct Sums { T plain, normalized; };  // Σ dy and Σ dy·x̂

__device__ Sums together(Sums a, Sums b)
{
    return {a.plain + b.plain, a.normalized + b.normalized};
}

// What all threads of the block have, put together in a tree.
template <typename V> __device__ V of_block(V own)
{
    __shared__ V all[BLOCK];
    all[threadIdx.x] = own;
    for (int half = BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            all[threadIdx.x] = together(all[threadIdx.x], all[threadIdx.x + half]);
    }
    __syncthreads();
    return all[0];
}

// What the first kernel found out about a channel.
template <typename V> __device__ V of_parts(const V* found, int channel, int parts)
{
    return of_block(threadIdx.x < parts ? found[channel * parts + threadIdx.x] : V{});
}

// The mean is that of the distances from the channel's first number: an offset that all share
// must not cost digits.
extern "C" __global__ void moments(const T* x, Moments* found, long long count, int parts)
{
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    x += channel * count;
    const T offset = count > 0 ? x[0] : T(0);
    Moments own = {};
    #pragma unroll 4
    FOR_EACH_OF_RUN(i) {
        const T distance = x[i] - offset, delta = distance - own.mean;
        own.count += 1;
        own.mean += delta / own.count;
        own.squares += delta * (distance - own.mean);
    }
    own = of_block(own);
    if (threadIdx.x == 0) found[blockIdx.x] = own;
}

// y. The first block of a channel also keeps its mean and 1/√(var + ε) for the backward, and in
// training moves the running averages: by `momentum` or, if there are `batches`, by 1/batches.
extern "C" __global__ void normalize(
    const T* x, const T* weight, const T* bias, T* running_mean, T* running_var,
    const long long* batches, const Moments* found, T* y, T* mean, T* inverse,
    long long count, int parts, T momentum, T eps)
{
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    const bool first = part == 0 && threadIdx.x == 0;
    x += channel * count;
    T center, variance;
    if (found) {
        const Moments all = of_parts(found, channel, parts);
        center = count > 0 ? x[0] + all.mean : T(0);
        variance = all.squares / count;
        if (first && count > 0) {
            if (batches) momentum = T(1) / *batches;
            if (running_mean)
                running_mean[channel] += momentum * (center - running_mean[channel]);
            if (running_var) {
                const T unbiased = all.squares / max(count - 1, 1LL);
                running_var[channel] += momentum * (unbiased - running_var[channel]);
            }
        }
    } else {
        center = running_mean[channel];
        variance = running_var[channel];
    }
    const T scale = 1 / sqrt(variance + eps);
    if (first) {
        mean[channel] = center;
        inverse[channel] = scale;
    }
    const T slope = weight ? scale * weight[channel] : scale, shift = bias ? bias[channel] : T(0);
    FOR_EACH_OF_RUN(i) y[channel * count + i] = (x[i] - center) * slope + shift;
}

extern "C" __global__ void gradient_sums(
    const T* x, const T* dy, const T* mean, const T* inverse, Sums* found,
    long long count, int parts)
{
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    const T center = mean[channel], scale = inverse[channel];
    Sums own = {};
    #pragma unroll 4
    FOR_EACH_OF_RUN(i) {
        const long long at = channel * count + i;
        own.plain += dy[at];
        own.normalized += (x[at] - center) * scale * dy[at];
    }
    own = of_block(own);
    if (threadIdx.x == 0) found[blockIdx.x] = own;
}

// dx, which may be the memory of dy, and by the first block of a channel dγ and dβ.
extern "C" __global__ void gradients(
    const T* x, const T* dy, const T* weight, const T* mean, const T* inverse, const Sums* found,
    T* dx, T* dweight, T* dbias, long long count, int parts, bool training)
{
    const int channel = blockIdx.x / parts, part = blockIdx.x % parts;
    Sums all = {};
    if (found) {
        all = of_parts(found, channel, parts);
        if (part == 0 && threadIdx.x == 0) {
            dweight[channel] = all.normalized;
            dbias[channel] = all.plain;
        }
    }
    if (!dx) return;
    const T center = mean[channel], scale = inverse[channel];
    const T slope = weight ? scale * weight[channel] : scale;
    const T normalized = training ? scale * all.normalized / count : T(0);
    const T plain = training ? all.plain / count : T(0);
    FOR_EACH_OF_RUN(i) {
        const long long at = channel * count + i;
        // outside of training the mean does not depend on x, and x may be infinite
        const T change = training ? (x[at] - center) * normalized + plain : T(0);
        dx[at] = (dy[at] - change) * slope;
    }
}
""")

#: For an array that is not given.
_NULL = np.uintp(0)


def _vector(array: Array | None, dtype: np.dtype) -> Any:
    """Return one number a channel for the kernels: `array` itself if it will do."""
    return _NULL if array is None else cuda.cupy().ascontiguousarray(array, dtype)


def _parts(count: int) -> int:
    """Return into how many runs the numbers of a channel are cut."""
    return min(max(-(-count // _RUN_CUDA), 1), _BLOCK_CUDA)


def _batch_forward_cuda(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    batches: Array | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Array, Array, Array]:
    """Return y, and mean and 1/√(var + ε) of every channel."""
    xp, images = cuda.cupy(), _widened(x)
    channels, dtype = x.shape[1], images.dtype
    count = x.size // max(channels, 1)
    parts, found = _parts(count), _NULL
    y, mean, inverse = (xp.empty(s, dtype) for s in (images.shape, channels, channels))
    given = [_vector(array, dtype) for array in (weight, bias, running_mean, running_var)]
    blocks = {"block": _BLOCK_CUDA, "grid": channels * parts}
    if training:
        found = xp.empty((channels, parts, 3), dtype)
        _BATCH_CUDA.launch(
            "moments", dtype, channels, images, found, np.int64(count), parts, **blocks
        )
    _BATCH_CUDA.launch(
        "normalize", dtype, channels, images, *given, _NULL if batches is None else batches, found,
        y, mean, inverse, np.int64(count), parts, float(momentum), float(eps), **blocks,
    )  # fmt: skip
    for running, moved in zip((running_mean, running_var), given[2:], strict=True):
        if training and running is not None and moved is not running:
            running[...] = moved  # of another dtype or strided: the kernel had a copy
    return _narrowed(y, x.dtype), mean, inverse


def _batch_backward_cuda(
    x: Array,
    grad: Array,
    weight: Array | None,
    mean: Array,
    inverse: Array,
    training: bool,
    overwrite: bool,
    want: tuple[bool, ...],
) -> tuple[Array | None, Array | None, Array | None]:
    """Return dx, dγ and dβ, those that are wanted; dx in the memory of `grad` if `overwrite`."""
    xp, images, dy = cuda.cupy(), _widened(x), _widened(grad)
    channels, dtype = x.shape[1], images.dtype
    count = x.size // max(channels, 1)
    parts, found = _parts(count), _NULL
    dx = None
    if want[0]:
        dx = dy if overwrite else xp.empty(dy.shape, dtype)
    dweight, dbias = xp.empty(channels, dtype), xp.empty(channels, dtype)
    blocks = {"block": _BLOCK_CUDA, "grid": channels * parts}
    if training or want[1] or want[2]:
        found = xp.empty((channels, parts, 2), dtype)
        _BATCH_CUDA.launch(
            "gradient_sums", dtype, channels, images, dy, mean, inverse, found, np.int64(count),
            parts, **blocks,
        )  # fmt: skip
    _BATCH_CUDA.launch(
        "gradients", dtype, channels, images, dy, _vector(weight, dtype), mean, inverse, found,
        _NULL if dx is None else dx, dweight, dbias, np.int64(count), parts, training, **blocks,
    )  # fmt: skip
    return None if dx is None else _narrowed(dx, grad.dtype), dweight, dbias


# --- Batch normalisation: the operation -----------------------------------------------------------


class BatchNormFunction(Function):
    """Batch normalisation with the batch's own mean and variance, or with the running ones.

    In training the running ones are moved, in place.
    """

    @staticmethod
    def forward(
        ctx: Node,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        running_mean: Array | None,
        running_var: Array | None,
        batches: Array | None,
        training: bool,
        momentum: float,
        eps: float,
    ) -> Array:
        forward = _batch_forward_numpy if isinstance(x, np.ndarray) else _batch_forward_cuda
        y, mean, inverse = forward(
            x, weight, bias, running_mean, running_var, batches, training, momentum, eps
        )
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.training = training
        return y

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        x, weight, mean, inverse = ctx.saved_tensors
        backward = _batch_backward_numpy if isinstance(x, np.ndarray) else _batch_backward_cuda
        want = ctx.needs_input_grad[:3]
        gradients = backward(
            x, grad, weight, mean, inverse, ctx.training, ctx.may_overwrite[0], want
        )
        wanted = (g if needed else None for g, needed in zip(gradients, want, strict=True))
        return (*wanted, None, None, None, None, None, None)


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalise every channel to mean 0 and variance 1, then scale and shift it.

    Parameters
    ----------
    input : Tensor, shape (N, C) or (N, C, ...)
    running_mean, running_var : Tensor, shape (C,), or None
        Updated in training, used otherwise.
    weight, bias : Tensor, shape (C,), optional
    training : bool
        Use the batch's own statistics. Default False.
    momentum : float
        The weight of the new batch in the running statistics. Default 0.1.
    eps : float
        Added to the variance. Default 1e-5.

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    ShapeError
        `input` has fewer than two axes, or a vector's length is not C.
    ArgumentError
        There is nothing to normalise by: one number a channel in training, or no running
        statistics outside of it.
    """
    return _batch_norm(
        input, running_mean, running_var, weight, bias, training, momentum, eps, None
    )


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    batches: Tensor | None,
) -> Tensor:
    """:func:`batch_norm`; the momentum is 1/`batches` if that is given: nobody waits for it."""
    _check_floats("batch_norm", input)
    if input.ndim < 2:
        raise ShapeError(f"batch_norm: expected (N, C, ...), got {tuple(input.shape)}")
    channels = input.array.shape[1]
    named = (
        ("running_mean", running_mean), ("running_var", running_var), ("weight", weight),
        ("bias", bias),
    )  # fmt: skip
    for name, vector in named:
        if vector is not None and tuple(vector.shape) != (channels,):
            raise ShapeError(
                f"batch_norm: {name} of shape {tuple(vector.shape)}, expected ({channels},)"
            )
    count = math.prod(input.array.shape) // max(channels, 1)
    if training and count == 1:
        raise ArgumentError(
            f"batch_norm: one number a channel has no variance to train with (input of shape "
            f"{tuple(input.shape)})"
        )
    if not training and (running_mean is None or running_var is None):
        raise ArgumentError("batch_norm: running_mean and running_var are needed outside training")
    return BatchNormFunction.apply(
        input, weight, bias, running_mean, running_var, batches, bool(training), momentum, eps
    )


# --- Modules ---


class BatchNorm2d(Module):
    """Batch normalisation of images.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Default 1e-5.
    momentum : float or None
        The weight of the new batch in the running statistics; None averages over all batches.
        Default 0.1.
    affine : bool
        Learn a scale and a shift for every channel. Default True.
    track_running_stats : bool
        Default True.
    device, dtype : optional
        Default float32 on the CPU.

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,)
    running_mean, running_var : Tensor, shape (num_features,)
    num_batches_tracked : Tensor of int64, shape ()

    Raises
    ------
    ShapeError
        In the forward: the input is not (N, num_features, H, W).
    """

    _axes: tuple[int, ...] = (4,)
    _expected = "(N, {0}, H, W)"

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        from .. import ops

        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        where = {"device": device, "dtype": dtype}
        self.weight = Parameter(ops.ones(num_features, **where)) if affine else None
        self.bias = Parameter(ops.zeros(num_features, **where)) if affine else None
        tracked = track_running_stats
        self.register_buffer("running_mean", ops.zeros(num_features, **where) if tracked else None)
        self.register_buffer("running_var", ops.ones(num_features, **where) if tracked else None)
        batches = ops.zeros((), dtype=int64, device=device) if tracked else None
        self.register_buffer("num_batches_tracked", batches)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised `input`."""
        if input.ndim not in self._axes or input.array.shape[1] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: expected input of shape "
                f"{self._expected.format(self.num_features)}, got {tuple(input.shape)}"
            )
        from_batch = self.training or not self.track_running_stats
        update = self.training and self.track_running_stats
        if update:
            with active(device_of(self.num_batches_tracked.array)):
                self.num_batches_tracked.array += 1
        use = update or not from_batch
        return _batch_norm(
            input,
            self.running_mean if use else None,
            self.running_var if use else None,
            self.weight,
            self.bias,
            from_batch,
            self.momentum or 0.0,
            self.eps,
            self.num_batches_tracked if update and self.momentum is None else None,
        )

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(BatchNorm2d):
    """Batch normalisation of vectors (N, C) or sequences (N, C, L); see :class:`BatchNorm2d`."""

    _axes = (2, 3)
    _expected = "(N, {0}) or (N, {0}, L)"
