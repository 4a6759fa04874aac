"""Batch normalization: each channel gets mean 0 and variance 1, then a learned scale and shift.

Forward. In training, a channel's n numbers are those of all images and positions of the batch:

    μ = Σ x / n        σ² = Σ (x − μ)² / n
    x̂ = (x − μ) / √(σ² + ε)
    y = γ·x̂ + β

Outside of training μ and σ² are running averages over the batches, of σ² divided by n − 1.

Backward. With the incoming gradient g = ∂L/∂y, the parameters collect over all n numbers:

    ∂L/∂β = Σ g        ∂L/∂γ = Σ g·x̂

x enters y directly, and through μ and σ² of its channel. With ∂μ/∂x = 1/n and ∂σ²/∂x = 2(x − μ)/n
the three parts are

    ∂L/∂x = γ/√(σ² + ε) · (g − Σ g / n − x̂ · Σ g·x̂ / n)

Outside of training the statistics are constants, and the first part alone is left.

Shapes: x (N, C, ...); μ, σ², γ and β (C,).

Source: Ioffe and Szegedy (2015), arXiv 1502.03167.
"""

from __future__ import annotations

from typing import Any

from .. import kernels
from ..autograd import Context, Function
from ..autograd.tape_array import is_on_tape
from ..device import Array, active, array_module, device_of
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ops import ones, zeros
from ..ops.precision import in_float64
from ..tensor import Tensor, float16, float64, int64
from .module import Module, Parameter

__all__ = ["BatchNorm1d", "BatchNorm2d", "batch_norm"]

# --- The plain code -------------------------------------------------------------------------------


def channelwise(vector: Array, x: Array) -> Array:
    """Return one number per channel in a shape that fits x (N, C, ...)."""
    return vector.reshape(1, -1, *(1,) * (x.ndim - 2))  # (1, C, 1, ...)


def statistics(
    x: Array,
    running_mean: Array | None,
    running_var: Array | None,
    batches: Array | None,
    training: bool,
    momentum: float,
) -> tuple[Array, Array]:
    """Return mean and variance of each channel, (C,). In training, move the running ones."""
    if not training:  # copies, because a later batch in training changes them in place
        return running_mean.astype(x.dtype), running_var.astype(x.dtype)  # type: ignore[union-attr]
    x = x.astype(float64) if x.dtype == float16 else x
    axes, n = (0, *range(2, x.ndim)), x.size // max(x.shape[1], 1)
    if n == 0:
        return x.sum(axes), x.sum(axes)  # zeros: there is nothing to learn
    mean, var = x.mean(axes), x.var(axes)  # (C,)
    share = momentum if batches is None else 1 / batches
    if running_mean is not None:
        running_mean += share * (mean - running_mean)
    if running_var is not None:
        running_var += share * (var * (n / max(n - 1, 1)) - running_var)
    return mean, var


@in_float64
def forward(
    x: Array, weight: Array | None, bias: Array | None, mean: Array, var: Array, eps: float
) -> tuple[Array, Array]:
    """Return y, and 1/√(σ² + ε) for the backward."""
    inverse = 1 / array_module(x).sqrt(var + eps)  # (C,)
    y = (x - channelwise(mean, x)) * channelwise(inverse, x)  # (N, C, ...)
    if weight is not None:
        y = y * channelwise(weight, x)
    if bias is not None:
        y = y + channelwise(bias, x)
    return y, inverse


@in_float64
def backward(
    grad: Array, x: Array, weight: Array | None, mean: Array, inverse: Array, training: bool
) -> tuple[Array, Array, Array]:
    """Return ∂L/∂x, ∂L/∂γ and ∂L/∂β."""
    axes, n = (0, *range(2, x.ndim)), x.size / max(x.shape[1], 1)
    normalized = (x - channelwise(mean, x)) * channelwise(inverse, x)  # (N, C, ...)
    dweight, dbias = (grad * normalized).sum(axes), grad.sum(axes)  # (C,)
    dx = grad
    if training and n:
        dx = grad - channelwise(dbias / n, x) - normalized * channelwise(dweight / n, x)
    slope = inverse if weight is None else inverse * weight
    return dx * channelwise(slope, x), dweight, dbias


# --- The operation --------------------------------------------------------------------------------


class BatchNormFunction(Function):
    """Saves x, γ, and each channel's mean and 1/√(σ² + ε). Running averages change in place."""

    read_for = None, 0, None, None  # γ for the gradient of x

    @staticmethod
    def forward(
        ctx: Context, x: Array, weight: Array | None, bias: Array | None, eps: float, *running: Any
    ) -> Array:
        ctx.training, ctx.eps, ctx.kernel = running[3], eps, kernels.of("batch_norm", x)
        if ctx.kernel:
            y, mean, inverse = ctx.kernel.forward(x, weight, bias, *running, eps)
        else:
            mean, var = statistics(x, *running)
            y, inverse = forward(x, weight, bias, mean, var, eps)
        ctx.save_for_backward(x, weight, mean, inverse)
        return y.astype(x.dtype, copy=False)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        x, weight, mean, inverse = ctx.saved_tensors
        if ctx.training and is_on_tape(x):  # where they must be seen to depend on x
            mean, var = statistics(x, None, None, None, True, 0)
            inverse = 1 / array_module(x).sqrt(var + ctx.eps)
        want, arguments = ctx.needs_input_grad[:3], (grad, x, weight, mean, inverse, ctx.training)
        if ctx.kernel:
            gradients = ctx.kernel.backward(*arguments, want, ctx.may_overwrite[0])
        else:
            gradients = backward(*arguments)
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
    """Normalize each channel to mean 0 and variance 1, then scale and shift it.

    Parameters
    ----------
    input : Tensor, shape (N, C) or (N, C, ...), floating point
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
        There is nothing to normalize by: one number per channel in training, or no running
        statistics outside of it.
    DTypeError
        `input` is not floating point.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([[1.0, 10.0], [3.0, 10.0]])
    >>> minidl.nn.functional.batch_norm(x, None, None, training=True, eps=0.01)
    tensor([[-0.9950,  0.0000],
            [ 0.9950,  0.0000]])
    """
    check(input, training, running_mean, running_var, weight, bias)
    running = running_mean, running_var, None, bool(training), momentum
    return BatchNormFunction.apply(input, weight, bias, eps, *running)


def check(input: Tensor, training: bool, *vectors: Tensor | None) -> None:
    """Raise an error that names the argument that does not fit."""
    if not input.is_floating_point():
        raise DTypeError(f"batch_norm: expected floats, got {input.dtype}; use .float() first")
    if input.ndim < 2:
        raise ShapeError(f"batch_norm: expected (N, C, ...), got {tuple(input.shape)}")
    channels = input.array.shape[1]
    names = "running_mean", "running_var", "weight", "bias"
    for name, vector in zip(names, vectors, strict=True):
        if vector is not None and tuple(vector.shape) != (channels,):
            raise ShapeError(
                f"batch_norm: {name} of shape {tuple(vector.shape)}, expected ({channels},)"
            )
    if training and input.array.size == channels:
        raise ArgumentError(f"batch_norm: one number a channel has no variance: {input.shape}")
    if not training and (vectors[0] is None or vectors[1] is None):
        raise ArgumentError("batch_norm: running_mean and running_var are needed outside training")


class _NormBase(Module):
    """What batch and instance normalization share: parameters and running statistics."""

    _axes: tuple[int, ...] = (4,)
    _expected = "(N, {0}, H, W)"

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        where = {"device": device, "dtype": dtype}
        self.weight = Parameter(ones(num_features, **where)) if affine else None
        self.bias = Parameter(zeros(num_features, **where)) if affine and bias else None
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features, **where) if tracked else None)
        self.register_buffer("running_var", ones(num_features, **where) if tracked else None)
        batches = zeros((), dtype=int64, device=device) if tracked else None
        self.register_buffer("num_batches_tracked", batches)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_NormBase):
    """The base of batch normalizations, for ``isinstance``."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized `input`."""
        if input.ndim not in self._axes or input.array.shape[1] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: expected input of shape "
                f"{self._expected.format(self.num_features)}, got {tuple(input.shape)}"
            )
        tracked = self.track_running_stats
        from_batch, update = self.training or not tracked, self.training and tracked
        if update:
            with active(device_of(self.num_batches_tracked.array)):
                self.num_batches_tracked.array += 1
        mean, var = (self.running_mean, self.running_var) if tracked else (None, None)
        batches = self.num_batches_tracked if update and self.momentum is None else None
        check(input, from_batch, mean, var, self.weight, self.bias)
        running = mean, var, batches, from_batch, self.momentum or 0.0
        return BatchNormFunction.apply(input, self.weight, self.bias, self.eps, *running)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of images: see :func:`batch_norm`.

    Parameters
    ----------
    num_features : int
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
    bias : bool
        With `affine`, learn the shift. Default True.

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


class BatchNorm1d(_BatchNorm):
    """Batch normalization of vectors (N, C) or sequences (N, C, L): see :class:`BatchNorm2d`."""

    _axes = (2, 3)
    _expected = "(N, {0}) or (N, {0}, L)"
