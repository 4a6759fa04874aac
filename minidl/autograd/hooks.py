"""Hooks of tensors: functions that see a gradient on its way, and may replace it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import AutogradError
from ..tensor import Tensor, describe
from .handles import RemovableHandle, add_hook
from .tape import accumulator, edge_of, node_edge


def register_hook(self: Tensor, hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(grad)`` whenever the gradient of this tensor is computed.

    Hooks run in the order of their registration, before the gradient is stored or passed on. A hook
    belongs to the tensor's current value, not to the values that in-place changes give it later.

    Parameters
    ----------
    hook : callable
        Gets the gradient, a Tensor. Returns None, or a Tensor that replaces it.

    Returns
    -------
    RemovableHandle
        Its ``remove()`` removes the hook.

    Raises
    ------
    AutogradError
        The tensor doesn't require a gradient.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([1.0, 2.0], requires_grad=True)
    >>> y = x * 3
    >>> handle = y.register_hook(lambda grad: grad * 10)
    >>> y.sum().backward()
    >>> x.grad
    tensor([30., 30.])
    """
    if not self.requires_grad:
        raise AutogradError(f"register_hook: {describe(self)} does not require a gradient")
    node, index = node_edge(*edge_of(self))
    return add_hook(node.own_hooks().tensors, (index, hook))


def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[..., Any]) -> RemovableHandle:
    """Call ``hook(tensor)`` whenever the ``.grad`` of this leaf is complete, in each backward.

    Parameters
    ----------
    hook : callable
        Gets the leaf; what it returns is ignored.

    Raises
    ------
    AutogradError
        The tensor is not a leaf that requires a gradient.
    """
    if not self.requires_grad or self.node is not None:
        raise AutogradError(
            f"register_post_accumulate_grad_hook: expected a leaf that requires a gradient, got "
            f"{describe(self)}"
        )
    return add_hook(accumulator(self).own_hooks().accumulated, hook)
