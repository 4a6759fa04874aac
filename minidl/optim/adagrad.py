r"""Adagrad: steps divided by the size of all gradients so far.

In step t = 1, 2, ..., with gradient g (Duchi, Hazan and Singer, JMLR 2011)::

    g ← g + λ·w
    s ← s + g²
    w ← w − ε/(1 + (t − 1)·η) · g/(√s + δ)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..device import Array, active, array_module
from ..tensor import Tensor
from .optimizer import Group, Optimizer, checked, with_decay, zeros_like


class Adagrad(Optimizer):
    """Adagrad.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) pairs, or of dict
    lr : float
        Learning rate ε, at least 0. Default 1e-2.
    lr_decay : float
        η, at least 0. Default 0.
    weight_decay : float
        λ, at least 0. Default 0.
    initial_accumulator_value : float
        What s starts with, at least 0. Default 0.
    eps : float
        δ, at least 0. Default 1e-10.
    foreach, maximize, differentiable, fused
        See :class:`Adam`.

    Raises
    ------
    ArgumentError
        An option is out of its range.

    Examples
    --------
    >>> import minidl
    >>> w = minidl.nn.Parameter(minidl.tensor([1.0]))
    >>> optimizer = minidl.optim.Adagrad([w], lr=0.5)
    >>> (100 * w).sum().backward()
    >>> optimizer.step()  # the first step has size lr, whatever the gradient
    >>> w.tolist()
    [0.5]
    """

    _state_arrays = ("sum",)

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        defaults = checked(
            "Adagrad", lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value, eps=eps, foreach=foreach,
            maximize=maximize, differentiable=differentiable, fused=fused,
        )  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        """Add a group; see :meth:`Optimizer.add_param_group`. The sums start here."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for param in group["params"]:
            total = zeros_like(param.array)
            with active(param.device):
                total[...] = group["initial_accumulator_value"]
            self.state[param] = {"step": Tensor(np.zeros((), np.float32)), "sum": Tensor(total)}

    def _prepare(self, param: Tensor, group: Group) -> tuple[tuple[Array, ...], tuple[Any, ...]]:
        arrays, step = self._advance(param, "sum")
        rate = float(group["lr"]) / (1 + (step - 1) * float(group["lr_decay"]))
        numbers = (rate, float(group["eps"]), float(group["weight_decay"]), group["maximize"])
        return arrays, numbers

    @staticmethod
    def _rule(w: Array, g: Array, state: tuple[Array, ...], *numbers: Any) -> tuple[Array, ...]:
        """Return the new parameter and s."""
        rate, eps, weight_decay, maximize = numbers
        xp = array_module(w)
        g = with_decay(w, g, weight_decay, maximize)
        s = state[0] + g * g
        return w - rate * (g / (xp.sqrt(s) + eps)), s
