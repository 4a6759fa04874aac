r"""Stochastic gradient descent with momentum, in PyTorch's form and in the paper's.

With gradient g, parameter w, rate ε, momentum m, weight decay λ, dampening d:

PyTorch's form keeps a running gradient and applies the rate when it moves::

    g ← g + λ·w
    b ← m·b + (1 − d)·g        (b = g in the first step)
    w ← w − ε·b                (Nesterov: w − ε·(g + m·b))

The AlexNet paper (Krizhevsky, Sutskever, Hinton, NIPS 2012, section 5), like its program
cuda-convnet and like Caffe, keeps a velocity that has the rate inside::

    v ← m·v − λ·ε·w − ε·g
    w ← w + v

As long as ε is constant, v = −ε·b and both forms take the same path. They differ after the rate
changes: the paper's velocity keeps the old rate's speed and takes about 1/(1 − m) steps to forget
it; PyTorch's form slows down at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..device import Array
from ..errors import ArgumentError
from ..tensor import Tensor
from .optimizer import Group, Optimizer, checked, zeros_like


class SGD(Optimizer):
    """Stochastic gradient descent.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) pairs, or of dict
    lr : float
        Learning rate, at least 0. Default 1e-3.
    momentum : float
        Fraction of the last step kept in the next, at least 0. Default 0.
    dampening : float
        Fraction of the gradient that does not enter the momentum. Default 0.
    weight_decay : float
        Factor of the L2 penalty's gradient, at least 0. Default 0.
    nesterov : bool
        Look ahead along the momentum. Needs momentum and no dampening. Default False.
    maximize : bool
        Ascend instead of descending. Default False.
    rate_in_velocity : bool
        Use the paper's update (see the top of this module), without dampening or Nesterov.
        Default False: PyTorch's.
    foreach, fused : bool, optional
        Choose an implementation in PyTorch; accepted, without effect.
    differentiable : bool
        Must be False.

    Raises
    ------
    ArgumentError
        An option is out of its range, or two options exclude each other.

    Examples
    --------
    >>> import minidl
    >>> w = minidl.nn.Parameter(minidl.tensor([1.0]))
    >>> optimizer = minidl.optim.SGD([w], lr=0.25, momentum=0.5, rate_in_velocity=True)
    >>> for _ in range(2):
    ...     optimizer.zero_grad()
    ...     (2 * w).sum().backward()
    ...     optimizer.step()
    >>> w.tolist()  # v = -0.5, then -0.75
    [-0.25]
    """

    _state_arrays = ("momentum_buffer", "velocity")
    _kernel = "sgd"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        rate_in_velocity: bool = False,
    ) -> None:
        defaults = checked(
            "SGD", lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
            nesterov=nesterov, maximize=maximize, foreach=foreach, differentiable=differentiable,
            fused=fused, rate_in_velocity=rate_in_velocity,
        )  # fmt: skip
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError("SGD: nesterov needs a momentum above 0 and dampening 0")
        if rate_in_velocity and (nesterov or dampening != 0):
            raise ArgumentError("SGD: rate_in_velocity excludes nesterov and dampening")
        super().__init__(params, defaults)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state; see :meth:`Optimizer.load_state_dict`.

        PyTorch's states have one form only; loading one selects it.
        """
        groups = [{"rate_in_velocity": False, **g} for g in state_dict.get("param_groups", [])]
        super().load_state_dict({**state_dict, "param_groups": groups})

    def _options(self, group: Group) -> tuple[str | None, tuple[Any, ...]]:
        numbers = (
            float(group["lr"]), float(group["momentum"]), float(group["dampening"]),
            float(group["weight_decay"]), group["nesterov"], group["maximize"],
            group["rate_in_velocity"],
        )  # fmt: skip
        key = "velocity" if group["rate_in_velocity"] else "momentum_buffer"
        return key if group["momentum"] else None, numbers

    def _prepare(self, param: Tensor, options: Any) -> tuple[tuple[Array, ...], tuple[Any, ...]]:
        key, numbers = options
        if key is None:
            return (), (*numbers, False)
        state = self.state[param]
        first = state.get(key) is None
        if first:
            state[key] = Tensor(zeros_like(param.array))
        return (state[key].array,), (*numbers, first)

    @staticmethod
    def _rule(w: Array, g: Array, state: tuple[Array, ...], *numbers: Any) -> tuple[Array, ...]:
        """Return the new parameter and, with momentum, the new b or v."""
        lr, momentum, dampening, decay, nesterov, maximize, rate_in_velocity, first = numbers
        if maximize:
            g = -g
        if rate_in_velocity and momentum:
            v = momentum * state[0]
            if decay:
                v = v - (decay * lr) * w
            v = v - lr * g
            return w + v, v
        if decay:
            g = g + decay * w
        if not momentum:
            return (w - lr * g,)
        b = g if first else momentum * state[0] + (1 - dampening) * g
        return w - lr * (g + momentum * b if nesterov else b), b
