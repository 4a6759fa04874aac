r"""Adadelta: steps in the units of the parameters, without a rate to choose.

In each step, with gradient g (Zeiler, arXiv 1212.5701, 2012)::

    g ← g + λ·w
    s ← ρ·s + (1 − ρ)·g²
    d = g·√(u + δ)/√(s + δ)          u: the running mean of earlier d²
    u ← ρ·u + (1 − ρ)·d²
    w ← w − ε·d
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..device import Array, array_module
from ..errors import ArgumentError
from ..tensor import Tensor
from .optimizer import Group, Optimizer, checked, with_decay


class Adadelta(Optimizer):
    """Adadelta.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) pairs, or of dict
    lr : float
        A factor ε of the steps, at least 0. Default 1.
    rho : float
        ρ, in [0, 1]. Default 0.9.
    eps : float
        δ, at least 0. Default 1e-6.
    weight_decay : float
        λ, at least 0. Default 0.
    foreach, capturable, maximize, differentiable
        See :class:`Adam`.

    Raises
    ------
    ArgumentError
        An option is out of its range.

    Examples
    --------
    >>> import minidl
    >>> w = minidl.nn.Parameter(minidl.tensor([1.0]))
    >>> optimizer = minidl.optim.Adadelta([w], rho=0.75, eps=1.0)
    >>> (0 * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [1.0]
    """

    _state_arrays = ("square_avg", "acc_delta")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        if not 0.0 <= rho <= 1.0:
            raise ArgumentError(f"Adadelta: rho must be in [0, 1], got {rho}")
        defaults = checked(
            "Adadelta", lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, foreach=foreach,
            capturable=capturable, maximize=maximize, differentiable=differentiable,
        )  # fmt: skip
        super().__init__(params, defaults)

    def _prepare(self, param: Tensor, group: Group) -> tuple[tuple[Array, ...], tuple[Any, ...]]:
        arrays, _ = self._advance(param, *self._state_arrays)
        names = ("lr", "rho", "eps", "weight_decay", "maximize")
        return arrays, tuple(float(group[name]) for name in names)

    @staticmethod
    def _rule(w: Array, g: Array, state: tuple[Array, ...], *numbers: Any) -> tuple[Array, ...]:
        """Return the new parameter, s and u."""
        lr, rho, eps, weight_decay, maximize = numbers
        xp = array_module(w)
        s, u = state
        g = with_decay(w, g, weight_decay, maximize)
        s = rho * s + (1 - rho) * (g * g)
        d = xp.sqrt(u + eps) / xp.sqrt(s + eps) * g
        return w - lr * d, s, rho * u + (1 - rho) * (d * d)
