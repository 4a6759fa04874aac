"""Which nodes a walk visits: those that lead to the tensors whose gradients are wanted.

A walk needs this only for gradients of given tensors, or if leaves have hooks, which run when a
leaf's gradient is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..tensor import Tensor
from .tape import AccumulateGrad, Node, accumulator, edge_of, next_sequence, node_edge


class Visits:
    """The nodes that a walk visits, and the positions of leaves among them.

    A leaf comes right before the first node that uses it, so its gradient is complete at its turn.

    Parameters
    ----------
    roots : sequence of Tensor
        Where the walk starts.
    inputs : sequence of Tensor, optional
        The tensors whose gradients are wanted. Default: all leaves.
    collected : bool
        Keep the inputs' gradients in `found` and leave ``.grad`` alone. Default False.
    cast : bool
        Give each gradient the dtype of its tensor. Default True; gradcheck needs the dtypes that
        backwards return.

    Attributes
    ----------
    passed : set of Node
        Nodes whose backward runs.
    filled : set of AccumulateGrad
        Leaves whose gradient is added to ``.grad``.
    found : dict
        The wanted gradients, by (node, output number).
    """

    def __init__(
        self,
        roots: Sequence[Tensor],
        inputs: Sequence[Tensor] | None = None,
        collected: bool = False,
        cast: bool = True,
    ) -> None:
        self.cast = cast
        edges = [] if inputs is None else [node_edge(*edge_of(tensor)) for tensor in inputs]
        self.found: dict[tuple[Any, int], Any] = dict.fromkeys(edges) if collected else {}
        self.asked = {node for node, _ in edges}
        self.passed: set[Node] = set()
        self._leaves: dict[int, tuple[AccumulateGrad, float]] = {}
        for node in _earlier_nodes(roots):
            for position, edge in enumerate(node.edges):
                if edge is not None:
                    after = (position + 1) / (len(node.edges) + 1)
                    target = self._meet(*edge, node.sequence - after)
                    if inputs is None or target in self.asked or target in self.passed:
                        self.passed.add(node)
        for root in roots:
            self._meet(*edge_of(root), next_sequence())
        leaves = {leaf for leaf, _ in self._leaves.values()} if not collected else set()
        self.filled = leaves if inputs is None else leaves & self.asked

    def _meet(self, target: Any, index: int, sequence: float) -> Any:
        """Return the node of an edge; a leaf gets its position when it is first met."""
        if index >= 0:
            return target
        return self._leaves.setdefault(id(target), (accumulator(target), sequence))[0]

    def stop(self, target: Any, index: int) -> tuple[Any, int, float]:
        """Return the node (None: not needed), output number and turn of a gradient on an edge."""
        if index < 0:
            node, sequence = self._leaves[id(target)]
            index = 0
        else:
            node, sequence = target, target.sequence
        needed = node in self.passed or node in self.asked or node in self.filled
        return (node if needed else None), index, sequence

    def ends_at(self, node: Any) -> bool:
        """Return whether the walk ends at `node` because ``backward`` was asked for its output."""
        return not self.found and node in self.asked and node not in self.passed

    def collect(self, node: Any, grads: list[Any]) -> None:
        """Keep the wanted gradients of a node's outputs."""
        for index, gradient in enumerate(grads):
            if (node, index) in self.found:
                self.found[node, index] = gradient


def _earlier_nodes(roots: Sequence[Tensor]) -> list[Node]:
    """Return all nodes that `roots` depend on, from the earliest to the latest."""
    found: set[Node] = set()
    waiting = [root.node for root in roots if root.node is not None]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [edge[0] for edge in node.edges if edge is not None and edge[1] >= 0]
    return sorted(found, key=lambda node: node.sequence)
