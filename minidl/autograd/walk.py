"""The walk back over the tape: :func:`backward`, :func:`grad`, and the loop of both, :func:`walk`.

The latest node on the tape comes first. All nodes that depend on a node come after it on the tape,
so the gradients that reach it are complete when its turn comes, and each node is visited once.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import Array, active, device_of, module_for
from ..errors import AutogradError
from ..kernels import cuda
from ..tensor import Tensor, describe
from .checks import as_list, check_not_freed, checked_results, refuse_create_graph, seeds
from .ownership import accumulate, is_ours_alone
from .tape import Edge, Node, edge_of

#: By (id of a node or leaf, output number): the gradient that :func:`grad` was asked for.
Wanted = dict[tuple[int, int], Array | None]


@np.errstate(all="ignore")
def walk(
    roots: Sequence[Tensor], gradients: list[Any], retain_graph: bool, wanted: Wanted | None = None
) -> None:
    """Walk the tape back from `roots`, whose gradients are given.

    Gradients of leaves are added to their ``.grad``, or with `wanted`, gradients are added up there
    and nowhere else.
    """
    traveling = _Traveling(wanted)
    for position, root in enumerate(roots):
        traveling.send(edge_of(root), gradients, position)
    while traveling.heap:
        node, grads = traveling.latest()  # dL/dy for each output y of the node
        results = _run_backward(node, grads)  # dL/dx for each argument x
        del grads  # else a gradient that backward passed on would look shared
        edges = node.edges or ()
        if not retain_graph:
            node.free()
        for position, edge in enumerate(edges):
            if edge is not None and results[position] is not None:
                traveling.send(edge, results, position)


class _Traveling:
    """The gradients that wait for their node's turn."""

    def __init__(self, wanted: Wanted | None) -> None:
        self.wanted = wanted
        self.waiting: dict[Node, list[Array | None]] = {}  # one place for each output
        self.heap: list[tuple[int, Node]] = []  # the latest node on top

    def send(self, edge: Edge, gradients: list[Any], position: int) -> None:
        """Bring a gradient along an edge: to a leaf, or to a node, where it waits."""
        target, index = edge
        if index < 0:
            if self.wanted is None:
                accumulate(target, gradients, position)
            else:
                self._collect(target, index, gradients[position])
            gradients[position] = None
            return
        waiting = self.waiting.get(target)
        if waiting is None:
            waiting = self.waiting[target] = [None] * len(target.outputs)
            heapq.heappush(self.heap, (-target.sequence, target))
        gradient, gradients[position] = gradients[position], None
        dtype = target.outputs[index][1]
        if gradient.dtype != dtype:  # the operation had promoted its argument
            with active(device_of(gradient)):
                gradient = gradient.astype(dtype)
        before = waiting[index]
        waiting[index] = gradient if before is None else _sum(before, gradient)

    def latest(self) -> tuple[Node, list[Any]]:
        """Take the latest node, and the gradients of its outputs (None where none arrived)."""
        node = heapq.heappop(self.heap)[1]
        grads = self.waiting.pop(node)
        if self.wanted is not None:
            for index, gradient in enumerate(grads):
                if gradient is not None:
                    self._collect(node, index, gradient)
        if node.retained is not None:
            for index, reference in node.retained.items():
                tensor = reference()
                if tensor is not None and grads[index] is not None:
                    accumulate(tensor, grads, index)
        return node, grads

    def _collect(self, target: Any, index: int, gradient: Array) -> None:
        key = id(target), index
        if self.wanted is not None and key in self.wanted:
            before = self.wanted[key]
            self.wanted[key] = gradient if before is None else _sum(before, gradient)


def _sum(before: Array, gradient: Array) -> Array:
    """Return the sum of gradients that reached one tensor by different paths."""
    with active(device_of(gradient)):
        total: Array = before + gradient
    return total


def _run_backward(node: Node, grads: list[Any]) -> list[Any]:
    """Return the gradients of a node's arguments, from those of its outputs."""
    check_not_freed(node)
    ctx, alone = node.context, []
    for index in range(len(grads)):
        if grads[index] is not None:
            alone.append(is_ours_alone(grads, index))
            continue
        alone.append(False)
        if ctx.materialize_grads:
            shape, dtype, where = node.outputs[index]
            with active(where):
                grads[index] = module_for(where).zeros(shape, dtype)
    ctx.may_overwrite = tuple(alone)
    shape, _, where = node.outputs[0]
    try:
        with active(where):
            results = node.function.backward(ctx, *grads)
    except (MemoryError, RuntimeError) as error:
        cuda.explain_out_of_memory(error, f"{node.function.__name__}.backward", shape, node)
        raise
    return checked_results(node, results)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
) -> None:
    """Add the gradient of `tensors` to the ``.grad`` of every leaf they were computed from.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
    grad_tensors : Tensor or sequence of Tensor, optional
        Gradient of the loss by each of `tensors`. Default: 1, for tensors of one element.
    retain_graph : bool
        Keep the tape for another walk. Default False: it is freed during the walk.
    create_graph : bool
        Not supported: gradients are arrays, not recorded operations.

    Raises
    ------
    AutogradError
        A tensor requires no gradient, the tape was freed, or a saved tensor was changed in place.
    ShapeError
        A given gradient has another shape than its tensor.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([1.0, 2.0], requires_grad=True)
    >>> minidl.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([2., 4.])
    """
    refuse_create_graph(create_graph)
    roots = as_list(tensors)
    for root in roots:
        if not root.requires_grad:
            raise AutogradError(
                f"backward(): {describe(root)} does not require a gradient and was not made from "
                "a tensor that does"
            )
    walk(roots, seeds("grad_tensors", roots, grad_tensors), retain_graph)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool = False,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradient of `outputs` by each of `inputs`, leaving ``.grad`` alone.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
    grad_outputs : Tensor or sequence of Tensor, optional
        As `grad_tensors` of :func:`backward`.
    retain_graph : bool
        Keep the tape for another walk. Default False.
    create_graph : bool
        Not supported.
    allow_unused : bool
        Return None for an input that `outputs` do not depend on, instead of raising. Default False.

    Returns
    -------
    tuple of Tensor or None

    Raises
    ------
    AutogradError
        An input is not used or does not require a gradient; and as :func:`backward`.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor(3.0, requires_grad=True)
    >>> minidl.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    refuse_create_graph(create_graph)
    roots, sources = as_list(outputs), as_list(inputs)
    for tensor in (*roots, *sources):
        if not tensor.requires_grad:
            raise AutogradError(f"grad(): {describe(tensor)} does not require a gradient")
    edges = [edge_of(source) for source in sources]
    keys = [(id(target), index) for target, index in edges]
    wanted: Wanted = dict.fromkeys(keys)
    walk(roots, seeds("grad_outputs", roots, grad_outputs), retain_graph, wanted)
    found = []
    for source, key in zip(sources, keys, strict=True):
        array = wanted[key]
        if array is None and not allow_unused:
            raise AutogradError(
                f"grad(): {describe(source)} was not used to compute the outputs; pass "
                "allow_unused=True to get None for it"
            )
        found.append(None if array is None else Tensor(array).clone())
    return tuple(found)
