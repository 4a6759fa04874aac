"""Batch normalization over the batches of all ranks.

The page ``batch_norm`` has the math. The sums over n numbers run over all ranks here. Each rank r
sends its nᵣ, mean μᵣ and sum of squared deviations Mᵣ, and all combine them in the ranks' order:

    n = Σ nᵣ        μ = Σ nᵣ·μᵣ / n        σ² = Σ (Mᵣ + nᵣ·(μᵣ − μ)²) / n

In the backward, Σ g and Σ g·x̂ of the input's gradient run over all ranks; ∂L/∂γ and ∂L/∂β stay the
rank's own, which :class:`~minidl.nn.parallel.DistributedDataParallel` adds like all others.

Source: PyTorch's ``torch.nn.SyncBatchNorm``.
"""

from __future__ import annotations

from typing import Any

from .. import distributed, ops
from ..autograd import Context, Function
from ..device import Array, array_module
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor, float64
from .batch_norm import _BatchNorm, channelwise
from .batch_norm import forward as normalize
from .module import Module

__all__ = ["SyncBatchNorm"]


def statistics(x: Array) -> tuple[Array, Array, float]:
    """Return mean and variance of each channel over all ranks, (C,), and how many numbers it has.

    Computed in float64.
    """
    xp, channels = array_module(x), x.shape[1]
    axes, n = (0, *range(2, x.ndim)), x.size // max(channels, 1)
    own = xp.zeros((3, channels))
    if n:
        mean = x.mean(axes, dtype=float64)  # (C,)
        own[0], own[1] = n, mean
        own[2] = ((x - channelwise(mean, x)) ** 2).sum(axes)
    every = ops.zeros(distributed.get_world_size(), 3, channels, dtype=float64)
    every = every.to(Tensor(own).device)
    distributed.all_gather_into_tensor(every, Tensor(own))
    counts, means, squares = every.array[:, 0], every.array[:, 1], every.array[:, 2]  # (N, C)
    total = counts.sum(0)
    mean = (counts * means).sum(0) / total
    var = (squares + counts * (means - mean) ** 2).sum(0) / total
    return mean, var, float(total[0])


def backward(
    grad: Array, x: Array, weight: Array | None, mean: Array, inverse: Array, count: float
) -> tuple[Array, Array, Array]:
    """Return ∂L/∂x, and this rank's ∂L/∂γ and ∂L/∂β."""
    axes = (0, *range(2, x.ndim))
    normalized = (x - channelwise(mean, x)) * channelwise(inverse, x)  # (N, C, ...)
    own = array_module(x).stack([(grad * normalized).sum(axes), grad.sum(axes)])  # (2, C)
    sums = Tensor(own.copy())
    distributed.all_reduce(sums)
    dweight, dbias = sums.array / count
    dx = grad - channelwise(dbias, x) - normalized * channelwise(dweight, x)
    slope = inverse if weight is None else inverse * weight
    return dx * channelwise(slope, x), own[0], own[1]


class SyncBatchNormFunction(Function):
    """Saves x, γ, and each channel's mean and 1/√(σ² + ε)."""

    @staticmethod
    def forward(
        ctx: Context, x: Array, weight: Array | None, bias: Array | None, eps: float,
        running: tuple[Array | None, Array | None], share: float,
    ) -> Array:  # fmt: skip
        mean, var, ctx.count = statistics(x)
        unbiased = var * (ctx.count / max(ctx.count - 1, 1))
        for average, new in zip(running, (mean, unbiased), strict=True):
            if average is not None:
                average += share * (new - average)
        y, inverse = normalize(x, weight, bias, mean, var, eps)
        ctx.save_for_backward(x, weight, mean, inverse)
        return y.astype(x.dtype, copy=False)

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Any:
        x, weight, mean, inverse = ctx.saved_tensors
        found = backward(grad, x, weight, mean, inverse, ctx.count)
        vectors = [g.astype(grad.dtype, copy=False) for g in found]
        wanted = ctx.needs_input_grad[:3]
        given = (g if needed else None for g, needed in zip(vectors, wanted, strict=True))
        return (*given, None, None, None)


class SyncBatchNorm(_BatchNorm):
    """Batch normalization whose mean and variance in training are those of all ranks' batches.

    Alone, or outside of training, it computes what :class:`BatchNorm2d` does.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, device, dtype
        As for :class:`BatchNorm2d`.
    process_group : None
        All ranks.

    Raises
    ------
    ArgumentError
        `process_group` is not None.
    ShapeError
        In the forward: the input is not (N, num_features, ...).
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1,
        affine: bool = True, track_running_stats: bool = True, process_group: Any = None,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        if process_group is not None:
            raise ArgumentError("SyncBatchNorm: expected process_group=None, all ranks")
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self._axes, self._expected = (2, 3, 4, 5), "(N, {0}, ...)"

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized `input`."""
        batch = self.training or not self.track_running_stats
        if not batch or distributed.get_world_size() == 1:
            return super().forward(input)
        if input.ndim < 2 or input.array.shape[1] != self.num_features:
            raise ShapeError(
                f"SyncBatchNorm: expected input of shape (N, {self.num_features}, ...), got "
                f"{tuple(input.shape)}"
            )
        running: tuple[Any, Any] = None, None
        share = self.momentum or 0.0
        if self.training and self.track_running_stats:
            self.num_batches_tracked.array += 1
            if self.momentum is None:
                share = 1 / int(self.num_batches_tracked)
            running = self.running_mean.array, self.running_var.array
        return SyncBatchNormFunction.apply(input, self.weight, self.bias, self.eps, running, share)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """Return a module with every batch norm in it replaced; parameters are shared.

        Parameters
        ----------
        module : Module
        process_group : None
            All ranks.
        """
        if isinstance(module, _BatchNorm) and not isinstance(module, cls):
            old, module = module, cls(
                module.num_features, module.eps, module.momentum, module.affine,
                module.track_running_stats, process_group,
            )  # fmt: skip
            module.training = old.training
            module.__dict__["_parameters"].update(old._parameters)
            module.__dict__["_buffers"].update(old._buffers)
        for name, child in list(module.named_children()):
            replaced = cls.convert_sync_batchnorm(child, process_group)
            if replaced is not child:
                module.add_module(name, replaced)
        return module
