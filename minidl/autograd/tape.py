"""The tape: a :class:`Node` for each recorded operation, with edges to what it was computed from.

An edge ``(target, index)`` says where the gradient of one argument goes:

- ``(node, k)``: the argument was output number k of that node;
- ``(tensor, -1)``: it was a leaf, whose ``.grad`` adds the gradient up;
- ``None``: it needs no gradient.
"""

from __future__ import annotations

import itertools
from typing import Any

from ..device import Device, Shape, device_of
from ..tensor import Tensor

Edge = tuple[Any, int]

_sequence = itertools.count()


class Node:
    """One recorded operation: what its backward needs, and where its gradients go.

    Attributes
    ----------
    function : type of Function
        Its ``backward`` turns the outputs' gradients into the arguments' gradients.
    context : Context or None
        What its ``forward`` saved; None once the walk has passed.
    edges : list of Edge or None
        One for each argument of ``forward``; None once the walk has passed.
    sequence : int
        Position on the tape; greater than that of every node it depends on.
    outputs : list of (shape, dtype, Device)
        What the outputs' gradients must be.
    retained : dict
        Weak references to the outputs that keep their gradient, by output number.
    """

    __slots__ = ("context", "edges", "function", "outputs", "retained", "sequence")

    def __init__(self, function: Any, context: Any, edges: list[Edge | None]) -> None:
        self.function = function
        self.context = context
        self.edges: list[Edge | None] | None = edges
        self.sequence = next(_sequence)
        self.outputs: list[tuple[Shape, Any, Device]] = []
        self.retained: dict[int, Any] | None = None

    def add_output(self, tensor: Tensor, differentiable: bool) -> None:
        """Register the next output; it requires a gradient if it is `differentiable`."""
        array = tensor.array
        if differentiable:
            tensor._requires_grad = True
            tensor.node = self
            tensor.output_index = len(self.outputs)
        self.outputs.append((array.shape, array.dtype, device_of(array)))

    def free(self) -> None:
        """Drop what the forward saved and the way to earlier nodes."""
        self.context = None
        self.edges = None

    def __repr__(self) -> str:
        return f"<{self.function.__name__}Backward>"


def edge_of(tensor: Tensor) -> Edge:
    """Return where the gradient of `tensor` goes: to the node that made it, or to the leaf."""
    return (tensor, -1) if tensor.node is None else (tensor.node, tensor.output_index)
