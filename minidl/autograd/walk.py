"""The walk back over the tape: :func:`backward`, :func:`grad`, and the loop of both, :func:`walk`.

The latest node on the tape comes first. A node's dependents are later on the tape, so all of its
gradients have arrived when its turn comes, and each node is visited once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import active, module_for
from ..errors import ArgumentError, AutogradError
from ..tensor import Tensor, describe
from .checks import as_list, seeds
from .modes import enable_grad
from .tape import Hooks, edge_of, node_edge
from .traveling import Traveling
from .visits import Visits


@np.errstate(all="ignore")
def walk(
    roots: Sequence[Tensor], gradients: list[Any], retain_graph: bool, traveling: Traveling
) -> None:
    """Walk the tape back from `roots`, whose gradients are given.

    Leaves add their gradients to ``.grad``, unless the visits say otherwise.
    """
    visits = traveling.visits
    for position, root in enumerate(roots):
        traveling.send(edge_of(root), gradients, position)
    while traveling.heap:
        node, grads = traveling.latest()  # dL/dy for each output y of the node
        if visits is not None and node not in visits.passed:
            continue  # it was asked for, but nothing before it
        results = traveling.through(node, grads)  # dL/dx for each argument x
        del grads  # else a gradient that backward passed on would look shared
        if not retain_graph:
            node.free()
        for position, edge in enumerate(node.edges):
            if edge is not None and results[position] is not None:
                traveling.send(edge, results, position)


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Tensor | Sequence[Tensor] | None = None,
) -> None:
    """Add the gradient of `tensors` to the ``.grad`` of every leaf they were computed from.

    Parameters
    ----------
    tensors : Tensor or sequence of Tensor
    grad_tensors : Tensor or sequence of Tensor, optional
        Gradient of the loss by each of `tensors`. Default: 1, for tensors of one element.
    retain_graph : bool, optional
        Keep the tape for another walk. Default: `create_graph`; otherwise the walk frees it.
    create_graph : bool
        Record the computation of the gradients, so that they have gradients themselves. Default
        False.
    inputs : Tensor or sequence of Tensor, optional
        The only tensors whose ``.grad`` changes, leaves or not. What doesn't lead to them is
        neither visited nor freed. Default: all leaves.

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
    roots = as_list(tensors)
    for root in roots:
        if not root.requires_grad:
            raise AutogradError(
                f"backward(): {describe(root)} does not require a gradient and was not made from "
                "a tensor that does"
            )
    sources = None if inputs is None else as_list(inputs)
    if sources == []:
        raise AutogradError("backward(): inputs can't be empty")
    for source in sources or ():
        source.retain_grad()
    visits = Visits(roots, sources) if sources or Hooks.on_leaves else None
    first = seeds("grad_tensors", roots, grad_tensors, create_graph)
    _walk(roots, first, retain_graph, create_graph, visits)


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
    _cast: bool = True,
) -> tuple[Tensor | None, ...]:
    """Return the gradient of `outputs` by each of `inputs`, leaving ``.grad`` alone.

    Only nodes that lead to `inputs` are visited and freed.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
    grad_outputs : Tensor or sequence of Tensor, optional
        As `grad_tensors` of :func:`backward`.
    retain_graph : bool, optional
        Keep the tape for another walk. Default: `create_graph`.
    create_graph : bool
        Record the computation of the gradients: see :func:`backward`. Default False.
    only_inputs : bool
        Accepted for compatibility with PyTorch.
    allow_unused : bool, optional
        Return None for an input that `outputs` do not depend on, instead of raising. Default:
        `materialize_grads`.
    is_grads_batched : bool
        Only False is supported.
    materialize_grads : bool
        Return zeros for such an input. Default False.

    Returns
    -------
    tuple of Tensor or None

    Raises
    ------
    AutogradError
        An input is not used or does not require a gradient; and as :func:`backward`.
    ArgumentError
        `materialize_grads` without `allow_unused`, or `is_grads_batched`.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor(3.0, requires_grad=True)
    >>> minidl.autograd.grad(x * x, x)
    (tensor(6.),)
    """
    if is_grads_batched:
        raise ArgumentError(
            "grad(): is_grads_batched=True is not supported; call grad() for each gradient with "
            "retain_graph=True"
        )
    if materialize_grads and allow_unused is False:
        raise ArgumentError("grad(): materialize_grads=True needs allow_unused=True or None")
    roots, sources = as_list(outputs), as_list(inputs)
    if not sources:
        raise AutogradError("grad(): inputs can't be empty")
    for tensor in (*roots, *sources):
        if not tensor.requires_grad:
            raise AutogradError(f"grad(): {describe(tensor)} does not require a gradient")
    visits = Visits(roots, sources, collected=True, cast=_cast)
    first = seeds("grad_outputs", roots, grad_outputs, create_graph)
    _walk(roots, first, retain_graph, create_graph, visits)
    found: list[Tensor | None] = []
    for source in sources:
        gradient = visits.found[node_edge(*edge_of(source))]
        if gradient is None and not (allow_unused or materialize_grads):
            raise AutogradError(
                f"grad(): {describe(source)} was not used to compute the outputs; pass "
                "allow_unused=True to get None for it"
            )
        if gradient is not None:
            found.append(gradient if create_graph else Tensor(gradient).clone())
        elif materialize_grads:
            with active(source.device):
                zeros = module_for(source.device).zeros(source.array.shape, source.array.dtype)
            found.append(Tensor(zeros, requires_grad=create_graph))
        else:
            found.append(None)
    return tuple(found)


def _walk(
    roots: list[Tensor],
    gradients: list[Any],
    retain_graph: bool | None,
    create_graph: bool,
    visits: Visits | None,
) -> None:
    """Walk back with arrays as gradients, or with Tensors for `create_graph`."""
    retain = create_graph if retain_graph is None else retain_graph
    if create_graph:
        from .recorded import RecordedTraveling  # seldom needed

        with enable_grad():
            walk(roots, gradients, retain, RecordedTraveling(visits))
    else:
        walk(roots, gradients, retain, Traveling(visits))
