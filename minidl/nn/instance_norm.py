"""Instance normalization: each channel of each image gets mean 0 and variance 1.

With μ and σ² over the pixels of one channel of one image:

    y = γ·(x − μ)/√(σ² + ε) + β

This is group normalization with one channel in a group (:mod:`~minidl.nn.group_norm`, which derives
the gradient). With `track_running_stats` a module keeps running means of μ and of the unbiased σ²
over images and batches, and in evaluation normalizes by them, as batch normalization does.

Source: Ulyanov, Vedaldi and Lempitsky, "Instance Normalization: The Missing Ingredient for Fast
Stylization", 2016.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from ..autograd import no_grad
from ..errors import ArgumentError, ShapeError
from ..tensor import Tensor
from .batch_norm import _NormBase, batch_norm
from .group_norm import group_norm

__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "instance_norm"]


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalize each channel of each image to mean 0 and variance 1, then scale and shift.

    Parameters
    ----------
    input : Tensor, shape (N, C, ...), floating point
    running_mean, running_var : Tensor, shape (C,), optional
        Updated in place if `use_input_stats`, otherwise used.
    weight, bias : Tensor, shape (C,), optional
    use_input_stats : bool
        Default True.
    momentum : float
        The weight of the new images in the running statistics. Default 0.1.
    eps : float
        Added to the variance. Default 1e-5.

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    ArgumentError
        A channel has a single pixel; or the input's statistics are not used, and there are none.
    ShapeError, DTypeError
        See :func:`group_norm`.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([[[1.0, 3.0], [10.0, 30.0]]])
    >>> minidl.nn.functional.instance_norm(x, eps=0.0)
    tensor([[[-1.,  1.],
             [-1.,  1.]]])
    """
    if not use_input_stats:
        if running_mean is None or running_var is None:
            raise ArgumentError(
                "instance_norm: use_input_stats=False needs running_mean and running_var"
            )
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    if input.ndim < 3 or math.prod(input.array.shape[2:]) == 1:
        raise ArgumentError(
            f"instance_norm: expected more than one pixel in a channel, got input {input.shape}"
        )
    if running_mean is not None and running_var is not None:
        with no_grad():
            axes = tuple(range(2, input.ndim))
            mean, var = input.mean(axes).mean(0), input.var(axes).mean(0)  # (C,) each
            running_mean.copy_((1 - momentum) * running_mean + momentum * mean)
            running_var.copy_((1 - momentum) * running_var + momentum * var)
    return group_norm(input, input.array.shape[1], weight, bias, eps)


class _InstanceNorm(_NormBase):
    """The base of instance normalizations, for ``isinstance``."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        options = track_running_stats, device, dtype
        super().__init__(num_features, eps, momentum, affine, *options, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized `input`."""
        alone = input.ndim == self._axes[0]  # one image, without a batch's axis
        shape = input.array.shape
        channels = shape[0 if alone else 1] if input.ndim in self._axes else None
        if channels not in (self.num_features, None) and self.weight is self.running_mean is None:
            warnings.warn(  # nothing depends on the number
                f"{type(self).__name__}: the input has {channels} channels instead of "
                f"{self.num_features}",
                stacklevel=3,
            )
        elif channels != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: expected input of shape "
                f"{self._expected.format(self.num_features)}, got {tuple(input.shape)}"
            )
        from_input = self.training or not self.track_running_stats
        result = instance_norm(
            input.unsqueeze(0) if alone else input,
            self.running_mean, self.running_var, self.weight, self.bias, from_input,
            self.momentum or 0.0, self.eps,
        )  # fmt: skip
        return result.squeeze(0) if alone else result


class InstanceNorm2d(_InstanceNorm):
    """Instance normalization of images (N, C, H, W) or (C, H, W): see :func:`instance_norm`.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Default 1e-5.
    momentum : float
        The weight of a new batch in the running statistics. Default 0.1.
    affine : bool
        Learn a scale and a shift for every channel. Default False.
    track_running_stats : bool
        Default False.
    device, dtype : optional
        Default float32 on the CPU.
    bias : bool
        Whether `affine` learns a shift as well. Default True.

    Raises
    ------
    ShapeError
        In the forward: the input has another number of axes or channels.
    """

    _axes = (3, 4)
    _expected = "(N, {0}, H, W) or ({0}, H, W)"


class InstanceNorm1d(_InstanceNorm):
    """Instance normalization of sequences (N, C, L) or (C, L): see :class:`InstanceNorm2d`."""

    _axes = (2, 3)
    _expected = "(N, {0}, L) or ({0}, L)"


class InstanceNorm3d(_InstanceNorm):
    """Instance normalization of volumes (N, C, D, H, W): see :class:`InstanceNorm2d`."""

    _axes = (4, 5)
    _expected = "(N, {0}, D, H, W) or ({0}, D, H, W)"
