r"""Adam and AdamW: steps scaled by running moments of the gradient.

In step t, with gradient g (Kingma and Ba, "Adam", ICLR 2015, algorithm 1)::

    m ← β₁·m + (1 − β₁)·g
    s ← β₂·s + (1 − β₂)·g²
    w ← w − ε · m/(1 − β₁ᵗ) / (√(s/(1 − β₂ᵗ)) + δ)

The divisions correct the bias from m and s starting at 0. AMSGrad (Reddi et al., ICLR 2018) divides
by the largest s so far. Weight decay λ adds λ·w to g in Adam; AdamW (Loshchilov and Hutter, ICLR
2019) shrinks the weights directly instead, without affecting the moments: w ← (1 − ε·λ)·w.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..device import Array, array_module
from ..errors import ArgumentError
from ..tensor import Tensor
from .optimizer import Group, Optimizer, checked, with_decay


class Adam(Optimizer):
    """Adam.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) pairs, or of dict
    lr : float
        Learning rate ε, at least 0. Default 1e-3.
    betas : (float, float)
        β₁ and β₂, in [0, 1). Default (0.9, 0.999).
    eps : float
        δ, at least 0. Default 1e-8.
    weight_decay : float
        λ, at least 0. Default 0.
    amsgrad : bool
        Divide by the largest second moment so far. Default False.
    maximize : bool
        Ascend instead of descending. Default False.
    decoupled_weight_decay : bool
        Use AdamW's decay. Default False.
    foreach, capturable, fused : bool, optional
        Choose an implementation in PyTorch; accepted, without effect.
    differentiable : bool
        Must be False.

    Raises
    ------
    ArgumentError
        An option is out of its range.

    Examples
    --------
    >>> import minidl
    >>> w = minidl.nn.Parameter(minidl.tensor([1.0]))
    >>> optimizer = minidl.optim.Adam([w], lr=0.5)
    >>> (100 * w).sum().backward()
    >>> optimizer.step()  # the first step has size lr, whatever the gradient
    >>> w.tolist()
    [0.5]
    """

    _state_arrays = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    _kernel = "adam"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        where = type(self).__name__
        if len(betas) != 2 or not all(0.0 <= float(beta) < 1.0 for beta in betas):
            raise ArgumentError(f"{where}: betas must be two numbers in [0, 1), got {betas}")
        defaults = checked(
            where, lr=lr, betas=(float(betas[0]), float(betas[1])), eps=eps,
            weight_decay=weight_decay, amsgrad=amsgrad, maximize=maximize, foreach=foreach,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )  # fmt: skip
        super().__init__(params, defaults)

    def _prepare(self, param: Tensor, group: Group) -> tuple[tuple[Array, ...], tuple[Any, ...]]:
        arrays, step = self._advance(param, *self._state_arrays[: 2 + bool(group["amsgrad"])])
        lr, (beta1, beta2) = float(group["lr"]), group["betas"]
        step_size, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
        eps, weight_decay = float(group["eps"]), float(group["weight_decay"])
        decoupled_lr = lr if group["decoupled_weight_decay"] else None
        maximize = group["maximize"]
        return arrays, (beta1, beta2, eps, step_size, root, weight_decay, decoupled_lr, maximize)

    @staticmethod
    def _rule(w: Array, g: Array, state: tuple[Array, ...], *numbers: Any) -> tuple[Array, ...]:
        """Return the new parameter, m, s and, for AMSGrad, the largest s so far."""
        # step_size is ε/(1 − β₁ᵗ), root is √(1 − β₂ᵗ)
        beta1, beta2, eps, step_size, root, weight_decay, decoupled_lr, maximize = numbers
        xp = array_module(w)
        m, s, *largest = state
        if weight_decay and decoupled_lr is not None:  # AdamW
            w, weight_decay = (1 - decoupled_lr * weight_decay) * w, 0
        g = with_decay(w, g, weight_decay, maximize)
        m = m + (1 - beta1) * (g - m)
        s = beta2 * s + (1 - beta2) * (g * g)
        largest = [xp.maximum(before, s) for before in largest]
        spread = largest[0] if largest else s
        w = w - step_size * (m / (xp.sqrt(spread) / root + eps))
        return w, m, s, *largest


class AdamW(Adam):
    """Adam with decoupled weight decay.

    Parameters
    ----------
    params : iterable of Tensor, of (name, Tensor) pairs, or of dict
    lr, betas, eps, amsgrad, maximize, foreach, capturable, differentiable, fused
        As in :class:`Adam`.
    weight_decay : float
        λ: the weights shrink by the factor 1 − ε·λ in every step. Default 1e-2.

    Raises
    ------
    ArgumentError
        An option is out of its range.

    Examples
    --------
    >>> import minidl
    >>> w = minidl.nn.Parameter(minidl.tensor([1.0]))
    >>> optimizer = minidl.optim.AdamW([w], lr=0.5, weight_decay=0.5)
    >>> (0 * w).sum().backward()
    >>> optimizer.step()
    >>> w.tolist()
    [0.75]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )  # fmt: skip
