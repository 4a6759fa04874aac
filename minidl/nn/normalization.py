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
program.

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

from .. import cpu
from ..autograd import Function, Node
from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError, ShapeError
from ..tensor import Tensor, int64
from .module import Module, Parameter

# --- Local response normalisation: what both windows share ----------------------------------------

#: Adds up the windows of its first argument into its second; mirrored if the third says so.
WindowSum = Callable[[Array, Array, bool], None]


def _scale(x: Array, s: Array, window_sum: WindowSum, alpha: float, k: float) -> None:
    """Write ``s = k + α'·Σ x²`` (`alpha` is α')."""
    square = cpu.scratch("square", x.shape, x.dtype)
    np.multiply(x, x, out=square)
    window_sum(square, s, False)
    s *= x.dtype.type(alpha)
    s += x.dtype.type(k)


def _negative_power(s: Array, beta: float, out: Array) -> None:
    """Write ``s^(-β)``; for the usual β = 0.75 as 1 / (√s·√√s), 10 times as fast as a power."""
    if beta == 0.75:
        np.sqrt(s, out=out)
        root = cpu.scratch("root", s.shape, s.dtype)
        np.sqrt(out, out=root)
        out *= root
        np.divide(s.dtype.type(1), out, out=out)
    else:
        np.power(s, s.dtype.type(-beta), out=out)


def _normalize_numpy(
    x: Array, y: Array, window_sum: WindowSum, alpha: float, beta: float, k: float
) -> None:
    """Write y for one block of x."""
    s = cpu.scratch("s", x.shape, x.dtype)
    _scale(x, s, window_sum, alpha, k)
    power = cpu.scratch("power", x.shape, x.dtype)
    _negative_power(s, beta, power)
    np.multiply(x, power, out=y)


def _normalize_backward_numpy(
    x: Array, grad: Array, dx: Array, window_sum: WindowSum, alpha: float, beta: float, k: float
) -> None:
    """Write dx for one block of x and dy."""
    s = cpu.scratch("s", x.shape, x.dtype)
    _scale(x, s, window_sum, alpha, k)
    direct = cpu.scratch("direct", x.shape, x.dtype)
    _negative_power(s, beta, direct)
    direct *= grad  # g·s^(-β)
    cross = cpu.scratch("cross", x.shape, x.dtype)
    np.multiply(direct, x, out=cross)
    cross /= s  # g·x·s^(-β) / s
    window_sum(cross, s, True)
    s *= x
    s *= x.dtype.type(2 * alpha * beta)
    np.subtract(direct, s, out=dx)


#: Numbers of an array in a block: several passes are worth the hand-over between threads.
_BLOCK = 2 * cpu.BLOCK

# --- Across maps, CPU -----------------------------------------------------------------------------


def _across_maps(size: int) -> WindowSum:
    """Return the sum over `size` neighbours along the last axis of (rows, channels)."""

    def window_sum(x: Array, out: Array, mirrored: bool) -> None:
        before, after = size // 2, (size - 1) // 2
        if mirrored:
            before, after = after, before
        rows, channels = x.shape
        # With size - 1 zeros between them, the rows can be one run of memory: no window that
        # begins in a row reaches a number of the next.
        wide = cpu.scratch("wide", (rows, channels + size - 1), x.dtype)
        wide[:, :before] = 0
        wide[:, before : before + channels] = x
        wide[:, before + channels :] = 0
        flat, count = wide.reshape(-1), wide.size - (size - 1)
        total = cpu.scratch("total", wide.shape, x.dtype)
        sums = total.reshape(-1)[:count]
        np.copyto(sums, flat[:count])
        for shift in range(1, size):
            np.add(sums, flat[shift : shift + count], out=sums)
        np.copyto(out, total[:, :channels])

    return window_sum


def _rows(x: Array, groups: int) -> Array:
    """Return (N, C, ...) as (rows, C/G), without copying if memory is channels-last."""
    last = np.moveaxis(x, 1, -1)
    depth = x.shape[1] // groups
    return np.ascontiguousarray(last).reshape(x.size // max(depth, 1), depth)


def _empty_channels_last(x: Array) -> Array:
    """Return an uninitialised array of the shape of `x`, channels-last in memory."""
    shape = (x.shape[0], *x.shape[2:], x.shape[1])
    return np.moveaxis(cpu.empty(shape, x.dtype), -1, 1)


def _across_numpy(
    x: Array,
    grad: Array | None,
    overwrite: bool,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    groups: int,
) -> Array:
    """Return y, or dx if `grad` is given (in its memory if `overwrite`)."""
    if grad is not None and overwrite and np.moveaxis(grad, 1, -1).flags.c_contiguous:
        out = grad
    else:
        out = _empty_channels_last(x)
    x_rows, out_rows = _rows(x, groups), _rows(out, groups)
    grad_rows = None if grad is None else _rows(grad, groups)
    window_sum = _across_maps(size)
    step = max(1, _BLOCK // max(x_rows.shape[1], 1))

    def block(start: int) -> None:
        rows = slice(start, start + step)
        if grad_rows is None:
            _normalize_numpy(x_rows[rows], out_rows[rows], window_sum, alpha, beta, k)
        else:
            _normalize_backward_numpy(
                x_rows[rows], grad_rows[rows], out_rows[rows], window_sum, alpha, beta, k
            )

    cpu.parallel(block, range(0, len(x_rows), step))
    return out


# --- Within a map, CPU ----------------------------------------------------------------------------


def _within_map(size: int) -> WindowSum:
    """Return the sum over `size` x `size` neighbours of (H, W, C): first across, then down."""

    def window_sum(x: Array, out: Array, mirrored: bool) -> None:
        before = (size - 1) // 2 if mirrored else size // 2
        h, w, c = x.shape
        wide = cpu.scratch("wide", (h, w + size - 1, c), x.dtype)
        wide.fill(0)
        wide[:, before : before + w] = x
        high = cpu.scratch("high", (h + size - 1, w, c), x.dtype)
        high.fill(0)
        across = high[before : before + h]
        for shift in range(size):
            across += wide[:, shift : shift + w]
        out.fill(0)
        for shift in range(size):
            out += high[shift : shift + h]

    return window_sum


def _within_numpy(
    x: Array, grad: Array | None, size: int, alpha: float, beta: float, k: float
) -> Array:
    """Return y, or dx if `grad` is given; an image at a time."""
    out = _empty_channels_last(x)
    window_sum = _within_map(size)

    def image(number: int) -> None:
        own, result = x[number].transpose(1, 2, 0), out[number].transpose(1, 2, 0)
        if grad is None:
            _normalize_numpy(own, result, window_sum, alpha, beta, k)
        else:
            dy = grad[number].transpose(1, 2, 0)
            _normalize_backward_numpy(own, dy, result, window_sum, alpha, beta, k)

    cpu.parallel(image, range(len(x)))
    return out


# --- Any array module: the plain form -------------------------------------------------------------


def _window_sum_plain(x: Array, axes: tuple[int, ...], size: int, mirrored: bool) -> Array:
    """Return the sum over `size` neighbours along each of `axes`."""
    xp = array_module(x)
    before, after = size // 2, (size - 1) // 2
    if mirrored:
        before, after = after, before
    for axis in axes:
        amounts = [(0, 0)] * x.ndim
        amounts[axis] = (before, after)
        wide, length = xp.pad(x, amounts), x.shape[axis]
        at = (slice(None),) * axis
        x = sum(wide[(*at, slice(shift, shift + length))] for shift in range(size))
    return x


def _normalize_plain(
    x: Array, grad: Array | None, axes: tuple[int, ...], size: int, alpha: float, beta: float,
    k: float,
) -> Array:  # fmt: skip
    s = k + alpha * _window_sum_plain(x * x, axes, size, False)
    power = s ** (-beta)
    if grad is None:
        return x * power
    cross = _window_sum_plain(grad * x * power / s, axes, size, True)
    return grad * power - (2 * alpha * beta) * x * cross


# --- Local response normalisation: the operations -------------------------------------------------


class LocalResponseNormFunction(Function):
    """Normalisation across maps; saves its input."""

    @staticmethod
    def forward(
        ctx: Node, x: Array, size: int, alpha: float, beta: float, k: float, groups: int
    ) -> Array:
        ctx.save_for_backward(x)
        ctx.arguments = (size, alpha / size, beta, k, groups)
        return _across(x, None, False, *ctx.arguments)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (x,) = ctx.saved_tensors
        dx = _across(x, grad, ctx.may_overwrite[0], *ctx.arguments)
        return dx, None, None, None, None, None


def _across(
    x: Array,
    grad: Array | None,
    overwrite: bool,
    size: int,
    alpha: float,
    beta: float,
    k: float,
    groups: int,
) -> Array:
    if isinstance(x, np.ndarray):
        return _across_numpy(x, grad, overwrite, size, alpha, beta, k, groups)
    shape = (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:])
    dy = None if grad is None else grad.reshape(shape)
    return _normalize_plain(x.reshape(shape), dy, (2,), size, alpha, beta, k).reshape(x.shape)


class SpatialResponseNormFunction(Function):
    """Normalisation within a map; saves its input."""

    @staticmethod
    def forward(ctx: Node, x: Array, size: int, alpha: float, beta: float, k: float) -> Array:
        ctx.save_for_backward(x)
        ctx.arguments = (size, alpha / size**2, beta, k)
        return _within(x, None, *ctx.arguments)

    @staticmethod
    def backward(ctx: Node, grad: Array) -> Any:
        (x,) = ctx.saved_tensors
        return _within(x, grad, *ctx.arguments), None, None, None, None


def _within(x: Array, grad: Array | None, size: int, alpha: float, beta: float, k: float) -> Array:
    if isinstance(x, np.ndarray):
        return _within_numpy(x, grad, size, alpha, beta, k)
    return _normalize_plain(x, grad, (2, 3), size, alpha, beta, k)


def local_response_norm(
    input: Tensor,
    size: int,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    *,
    groups: int = 1,
) -> Tensor:
    """Normalise every activity by those of neighbouring channels at its position.

    Parameters
    ----------
    input : Tensor, shape (N, C, ...)
    size : int
        Channels in a window.
    alpha : float
        Divided by `size`, as in PyTorch, Caffe and the original program. Default 1e-4.
    beta, k : float
        Defaults 0.75 and 1.
    groups : int
        Windows do not cross the borders of so many groups of channels. Default 1.

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    ShapeError
        `input` has fewer than two axes, or its channels are not divisible by `groups`.
    ArgumentError
        `size` is not positive.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.full((1, 3, 1, 1), 10.0)
    >>> minidl.nn.functional.local_response_norm(x, 3, alpha=3.0, beta=1.0, k=0.0).flatten()
    tensor([0.0500, 0.0333, 0.0500])
    """
    _check_size("local_response_norm", size)
    _check_floats("local_response_norm", input)
    if input.ndim < 2:
        raise ShapeError(
            f"local_response_norm: expected input of shape (N, C, ...), got {tuple(input.shape)}"
        )
    if groups < 1 or input.array.shape[1] % groups:
        raise ShapeError(
            f"local_response_norm: {input.array.shape[1]} channels are not divisible by "
            f"groups={groups}"
        )
    return LocalResponseNormFunction.apply(input, size, alpha, beta, k, groups)


def spatial_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Normalise every activity by those around it in its own map (cuda-convnet's ``rnorm``).

    Parameters
    ----------
    input : Tensor, shape (N, C, H, W)
    size : int
        The window's height and width.
    alpha : float
        Divided by ``size²``. Default 1e-4.
    beta, k : float
        Defaults 0.75 and 1.

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    ShapeError
        `input` has not four axes.
    ArgumentError
        `size` is not positive.
    """
    _check_size("spatial_response_norm", size)
    _check_floats("spatial_response_norm", input)
    if input.ndim != 4:
        raise ShapeError(
            f"spatial_response_norm: expected input of shape (N, C, H, W), got {tuple(input.shape)}"
        )
    return SpatialResponseNormFunction.apply(input, size, alpha, beta, k)


def _check_size(name: str, size: int) -> None:
    if not isinstance(size, int) or size < 1:
        raise ArgumentError(f"{name}: size must be a positive integer, got {size!r}")


def _check_floats(name: str, input: Tensor) -> None:
    if not input.is_floating_point():
        raise DTypeError(f"{name}: expected floats, got {input.dtype}; use .float() first")


# --- Batch normalisation --------------------------------------------------------------------------


def _image_rows(x: Array) -> Array:
    """Return (N, C, ...) as channels-last (N, P, C); (N, C) as (1, N, C)."""
    if x.ndim == 2:
        return x[None]
    xp = array_module(x)
    last = xp.ascontiguousarray(xp.moveaxis(x, 1, -1))
    return last.reshape(x.shape[0], math.prod(x.shape[2:]), x.shape[1])


def _like_input(rows: Array, shape: tuple[int, ...]) -> Array:
    """Undo :func:`_image_rows`."""
    if len(shape) == 2:
        return rows[0]
    return array_module(rows).moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def _map_images(task: Callable[..., None], *arrays: Array) -> Array:
    """Call ``task(*images, out)`` for every image of (N, P, C) arrays and return the outs."""
    first = arrays[0]
    if not isinstance(first, np.ndarray):
        out = array_module(first).empty_like(first)
        task(*arrays, out)
        return out
    out = cpu.empty(first.shape, first.dtype)

    def lane(part: slice) -> None:
        for number in range(part.start, part.stop):
            task(*(array[number] for array in arrays), out[number])

    cpu.parallel(lane, cpu.split(len(first)))
    return out


def _channel_sums(rows: Array) -> Array:
    """Return the sums over images and positions of (N, P, C)."""
    return cpu.sum_rows(rows) if isinstance(rows, np.ndarray) else rows.sum(axis=(0, 1))


class BatchNormFunction(Function):
    """Batch normalisation with given mean and variance, or with the batch's own if they are None.

    Returns the normalised array and, without gradient, the mean and the variance it used.
    """

    @staticmethod
    def forward(
        ctx: Node,
        x: Array,
        weight: Array | None,
        bias: Array | None,
        mean: Array | None,
        variance: Array | None,
        eps: float,
    ) -> Any:
        rows = _image_rows(x)
        ctx.count = rows.shape[0] * rows.shape[1]
        ctx.from_batch = mean is None
        if mean is None:
            mean = _channel_sums(rows) / x.dtype.type(ctx.count)

            def square(x: Array, out: Array) -> None:
                array_module(x).subtract(x, mean, out=out)
                out *= out

            variance = _channel_sums(_map_images(square, rows)) / x.dtype.type(ctx.count)
        xp = array_module(x)
        inverse = (1 / xp.sqrt(variance + x.dtype.type(eps))).astype(x.dtype)
        ctx.save_for_backward(x, weight, mean, inverse)
        slope = inverse if weight is None else inverse * weight

        def normalize(x: Array, out: Array) -> None:
            xp.subtract(x, mean, out=out)
            out *= slope
            if bias is not None:
                out += bias

        y = _like_input(_map_images(normalize, rows), x.shape)
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Node, grad: Array, *unused: Any) -> Any:
        x, weight, mean, inverse = ctx.saved_tensors
        rows, dy = _image_rows(x), _image_rows(grad)
        xp = array_module(x)

        def times_normalized(x: Array, dy: Array, out: Array) -> None:
            xp.subtract(x, mean, out=out)
            out *= inverse
            out *= dy

        dweight = _channel_sums(_map_images(times_normalized, rows, dy))
        dbias = _channel_sums(dy)
        slope = inverse if weight is None else inverse * weight
        n = x.dtype.type(ctx.count)

        def input_gradient(x: Array, dy: Array, out: Array) -> None:
            if ctx.from_batch:
                xp.subtract(x, mean, out=out)
                out *= inverse * dweight / n
                xp.subtract(dy, out, out=out)
                out -= dbias / n
                out *= slope
            else:
                xp.multiply(dy, slope, out=out)

        need_x, need_weight, need_bias, *_ = ctx.needs_input_grad
        dx = _like_input(_map_images(input_gradient, rows, dy), x.shape) if need_x else None
        return (
            dx,
            dweight if need_weight else None,
            dbias if need_bias else None,
            None,
            None,
            None,
        )


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
    # copies, because a later batch in training changes the running statistics in place
    given = (None, None) if training else (running_mean.array.copy(), running_var.array.copy())  # type: ignore[union-attr]
    result, mean, variance = BatchNormFunction.apply(input, weight, bias, *given, eps)
    if training:
        if running_mean is not None:
            running_mean.array += momentum * (mean.array - running_mean.array)
        if running_var is not None:
            unbiased = variance.array * (count / max(count - 1, 1))
            running_var.array += momentum * (unbiased - running_var.array)
    return result


# --- Modules --------------------------------------------------------------------------------------


class LocalResponseNorm(Module):
    """Normalisation across maps: see :func:`local_response_norm`.

    Parameters
    ----------
    size : int
    alpha, beta, k : float
        Defaults 1e-4, 0.75 and 1; `alpha` is divided by `size`.
    groups : int
        Windows do not cross the borders of so many groups of channels. Default 1.

    Raises
    ------
    ArgumentError
        `size` is not positive.
    """

    def __init__(
        self,
        size: int,
        alpha: float = 1e-4,
        beta: float = 0.75,
        k: float = 1.0,
        *,
        groups: int = 1,
    ) -> None:
        super().__init__()
        _check_size("LocalResponseNorm", size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised `input`."""
        return local_response_norm(
            input, self.size, self.alpha, self.beta, self.k, groups=self.groups
        )

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        text = f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"
        return text + (f", groups={self.groups}" if self.groups != 1 else "")


class SpatialResponseNorm(Module):
    """Normalisation within a map: see :func:`spatial_response_norm`.

    Parameters
    ----------
    size : int
    alpha, beta, k : float
        Defaults 1e-4, 0.75 and 1; `alpha` is divided by ``size²``.

    Raises
    ------
    ArgumentError
        `size` is not positive.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        _check_size("SpatialResponseNorm", size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised `input`."""
        return spatial_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        """Return the arguments, for ``repr``."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


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
        momentum = self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.array += 1
            if momentum is None:
                momentum = 1 / float(self.num_batches_tracked)
        update = self.training and self.track_running_stats
        use = update or not from_batch
        return batch_norm(
            input,
            self.running_mean if use else None,
            self.running_var if use else None,
            self.weight,
            self.bias,
            from_batch,
            0.0 if momentum is None else momentum,
            self.eps,
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
