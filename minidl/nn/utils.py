"""Clipping of gradients: limits for all gradients at once, between ``backward`` and ``step``.

The norm of several gradients is that of one long vector of them all, ``(Σ_i |g_i|^p)^(1/p)``.
Clipping by norm multiplies all gradients by one factor, so their direction stays:

    g ← g · min(1, max_norm / (norm + 1e-6))

Clipping by value limits every number by itself. On a GPU a few launches do either for all
gradients, without waiting for the GPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from .. import kernels
from ..autograd import no_grad
from ..device import active, array_module, device_of
from ..errors import ArgumentError
from ..missing import attributes
from ..ops import stack, zeros
from ..tensor import Tensor, float16, float32


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients in place so that their common norm is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float
    norm_type : float
        The p of the p-norm; ``math.inf`` for the largest magnitude. Default 2.
    error_if_nonfinite : bool
        Raise if the norm is infinite or NaN. Default False.
    foreach : bool, optional
        Accepted; all gradients are scaled together in any case.

    Returns
    -------
    Tensor, shape ()
        The norm before the change.

    Raises
    ------
    ArgumentError
        The norm is not finite, and `error_if_nonfinite`.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([3.0, 4.0], requires_grad=True)
    >>> (x * x / 2).sum().backward()
    >>> minidl.nn.utils.clip_grad_norm_(x, 1.0), x.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    gradients, norm_type = _gradients(parameters), float(norm_type)  # which may be "inf"
    if not gradients:
        return zeros(())
    arrays = [gradient.array for gradient in gradients]
    kernel = kernels.of("clip_gradients", arrays[0])
    if kernel and norm_type > 0 and kernel.covers(arrays):
        with active(device_of(arrays[0])):
            result = kernel.norm_and_factor(arrays, max_norm, norm_type)
            total = Tensor(result[0])
            _check_finite(total, error_if_nonfinite)
            kernel.scale(arrays, result)
        for gradient in gradients:
            gradient.version[0] += 1
        return total
    half = all(gradient.dtype == float16 for gradient in gradients)
    wide = [g.to(float32) if g.dtype == float16 else g for g in gradients]
    total = stack([gradient.norm(norm_type) for gradient in wide]).norm(norm_type)
    _check_finite(total, error_if_nonfinite)
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for gradient, numbers in zip(gradients, wide, strict=True):
        gradient.copy_(numbers * factor)
    return total.to(float16) if half else total


clip_grad_norm = clip_grad_norm_  # its name before


@no_grad()
def clip_grad_value_(
    parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None
) -> None:
    """Limit every number of the gradients to [-clip_value, clip_value] in place.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    clip_value : float
    foreach : bool, optional
        Accepted for compatibility with PyTorch.
    """
    gradients = _gradients(parameters)
    if not gradients:
        return
    arrays = [gradient.array for gradient in gradients]
    kernel = kernels.of("clip_gradients", arrays[0])
    if kernel and kernel.covers(arrays):
        with active(device_of(arrays[0])):
            kernel.limit(arrays, -clip_value, clip_value)
        return
    for array in arrays:
        with active(device_of(array)):
            array_module(array).clip(array, -clip_value, clip_value, out=array)


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    several = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in several if p.grad is not None and p.grad.numel()]


def _check_finite(total: Tensor, wanted: bool) -> None:
    if wanted and not math.isfinite(total.item()):
        raise ArgumentError(f"clip_grad_norm_: the norm of the gradients is {total.item()}")


__getattr__ = attributes(globals())
