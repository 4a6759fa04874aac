"""Reverse-mode differentiation: who computed what, and the way back.

**Forward.** Every differentiable operation is a :class:`Function`: a ``forward`` and a ``backward``
on arrays. ``Function.apply`` runs the forward and, if a gradient will be needed, leaves a *node* on
the tape: which function, what it saved, and for each argument an *edge* to the node (or the leaf
tensor) that the argument came from. ::

    x ──► Mul ──► y ──► Sum ──► L            L.node is Sum's node, with an edge to Mul's node,
    w ────┘                                  which has edges to the leaves x and w

**Backward.** Let L be the loss. A node with the outputs ``y = f(x)`` turns ``dL/dy`` into
``dL/dx = (∂y/∂x)ᵀ · dL/dy``, the chain rule; that is all a ``backward`` does. :func:`backward`
starts with ``dL/dL = 1`` and visits the nodes from the latest to the earliest. A gradient follows
its edge to the next node and waits there; gradients that reach a tensor by several paths are
added. At a leaf they are added to ``.grad``. What a node saved is freed after its turn. ::

    1 ──► Sum.backward ──► Mul.backward ──► x.grad, w.grad

file           what it holds
=============== ====================================================================
file            what it holds
=============== ====================================================================
``function``    :class:`Function` and :class:`Context`: all that the author of one sees
``tape``        :class:`Node` and its edges
``walk``        the loop of the walk back
``traveling``   the gradients on their way
``recorded``    the same with ``create_graph=True``: backwards that are recorded
``tape_array``  what such a backward sees: Tensors that look like arrays
``visits``      which nodes a walk visits, if not all
``checked``     ``Tensor.grad`` and others that are checked when set
``hooks``       functions that see a tensor's gradient, and ``handles`` that remove them
``ownership``   which gradients may be overwritten
``checks``      errors for wrong arguments and for wrong results of a backward
``modes``       :class:`no_grad` and its relatives
``gradcheck``   :func:`gradcheck` and :func:`gradgradcheck`
``judge``       numerical against analytical gradients
``differences`` the numerical ones, and kinks
``variable``    a name from before tensors recorded by themselves
=============== ====================================================================
"""

from ..missing import attributes
from ..tensor import describe
from .checked import attach as _attach
from .function import Context, Function
from .gradcheck import gradcheck, gradgradcheck
from .handles import RemovableHandle
from .hooks import register_hook, register_post_accumulate_grad_hook
from .modes import (
    detect_anomaly, enable_grad, inference_mode, is_grad_enabled, is_inference, no_grad,
    set_detect_anomaly, set_grad_enabled,
)  # fmt: skip
from .tape import AccumulateGrad, Node
from .variable import Variable
from .walk import backward, grad

__all__ = [
    "AccumulateGrad", "Context", "Function", "Node", "RemovableHandle", "Variable", "backward",
    "describe", "detect_anomaly", "enable_grad", "grad", "gradcheck", "gradgradcheck",
    "inference_mode", "is_grad_enabled", "is_inference", "no_grad", "register_hook",
    "register_post_accumulate_grad_hook", "set_detect_anomaly", "set_grad_enabled",
]  # fmt: skip

_attach()

__getattr__ = attributes(globals())
