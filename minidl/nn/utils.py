"""What training loops do with all gradients at once: limit them.

The norm of several gradients is the norm of one long vector of them all, ``√(Σ_i ‖g_i‖²)``.
Clipping by norm scales all gradients by one factor, so that their direction stays; clipping by
value limits every number by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..autograd import no_grad
from ..device import array_module
from ..errors import ArgumentError
from ..ops import stack, zeros
from ..tensor import Tensor


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    several = [parameters] if isinstance(parameters, Tensor) else parameters
    return [p.grad for p in several if p.grad is not None]


@no_grad()
def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients in place so that their common norm is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are left out.
    max_norm : float
    norm_type : float
        The p of the p-norm; ``math.inf`` for the largest magnitude. Default 2.
    error_if_nonfinite : bool
        Raise if the norm is infinite or NaN. Default False.

    Returns
    -------
    Tensor, shape ()
        The norm before.

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
    gradients = _gradients(parameters)
    if not gradients:
        return zeros(())
    total = stack([g.norm(norm_type) for g in gradients]).norm(norm_type)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise ArgumentError(f"clip_grad_norm_: the norm of the gradients is {total.item()}")
    factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)
    return total


@no_grad()
def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every number of the gradients to [-clip_value, clip_value] in place.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
    clip_value : float
    """
    for gradient in _gradients(parameters):
        array = gradient.array
        array_module(array).clip(array, -clip_value, clip_value, out=array)
