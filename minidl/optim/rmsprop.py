r"""RMSprop: steps divided by a running mean of the gradient's size.

In each step, with gradient g (Tieleman and Hinton, Coursera lecture 6.5, 2012)::

    g ← g + λ·w
    s ← α·s + (1 − α)·g²
    d = √s + δ                       (centered, Graves 2013: √(s − a²) + δ, a ← α·a + (1 − α)·g)
    w ← w − ε·g/d                    (with momentum m: b ← m·b + g/d, w ← w − ε·b)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..device import Array, array_module
from ..tensor import Tensor
from .optimizer import Group, Optimizer, checked, with_decay


class RMSprop(Optimizer):
    """RMSprop.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) pairs, or of dict
    lr : float
        Learning rate ε, at least 0. Default 1e-2.
    alpha : float
        Fraction of the running mean that is kept, at least 0. Default 0.99.
    eps : float
        δ, at least 0. Default 1e-8.
    weight_decay : float
        λ, at least 0. Default 0.
    momentum : float
        m, at least 0. Default 0.
    centered : bool
        Divide by an estimate of the standard deviation. Default False.
    capturable, foreach, maximize, differentiable
        See :class:`Adam`.

    Raises
    ------
    ArgumentError
        An option is out of its range.

    Examples
    --------
    >>> import minidl
    >>> w = minidl.nn.Parameter(minidl.tensor([1.0]))
    >>> optimizer = minidl.optim.RMSprop([w], lr=0.05, alpha=0.99)
    >>> (100 * w).sum().backward()
    >>> optimizer.step()  # g/√((1 − α)·g²) = 10
    >>> w.tolist()
    [0.5]
    """

    _state_arrays = ("square_avg", "momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        defaults = checked(
            "RMSprop", lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
            centered=centered, capturable=capturable, foreach=foreach, maximize=maximize,
            differentiable=differentiable,
        )  # fmt: skip
        super().__init__(params, defaults)

    def _prepare(self, param: Tensor, group: Group) -> tuple[tuple[Array, ...], tuple[Any, ...]]:
        wanted = (True, group["momentum"] > 0, group["centered"])
        keys = [key for key, want in zip(self._state_arrays, wanted, strict=True) if want]
        arrays, _ = self._advance(param, *keys)
        names = ("lr", "alpha", "eps", "weight_decay", "momentum", "centered", "maximize")
        return arrays, tuple(float(group[name]) for name in names)

    @staticmethod
    def _rule(w: Array, g: Array, state: tuple[Array, ...], *numbers: Any) -> tuple[Array, ...]:
        """Return the new parameter, s and, where they are kept, b and a."""
        lr, alpha, eps, weight_decay, momentum, centered, maximize = numbers
        xp = array_module(w)
        s, *others = state
        g = with_decay(w, g, weight_decay, maximize)
        s = alpha * s + (1 - alpha) * (g * g)
        variance, new = s, [s]
        if centered:
            a = others[-1] + (1 - alpha) * (g - others[-1])
            variance = s - a * a
        step = g / (xp.sqrt(variance) + eps)
        if momentum > 0:
            step = momentum * others[0] + step
            new.append(step)
        if centered:
            new.append(a)
        return w - lr * step, *new
