"""The tape: a :class:`Node` for each recorded operation, with edges to its arguments.

An edge ``(target, index)`` says where the gradient of one argument goes:

- ``(node, k)``: the argument was output number k of that node;
- ``(tensor, -1)``: it was a leaf, and the gradient is added to its ``.grad``;
- ``None``: it needs no gradient.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable
from typing import Any

from ..device import CPU, Array, Device, Shape, device_of
from ..tensor import Tensor
from .handles import RemovableHandle, add_hook

Edge = tuple[Any, int]

_sequence = itertools.count()


class Hooks:
    """The functions that a walk calls at a node or a leaf, by the ids of their handles.

    Attributes
    ----------
    tensors : dict
        (output number, hook) for the gradients of outputs: ``Tensor.register_hook``.
    before, after : dict
        ``register_prehook`` and ``register_hook`` of the node.
    accumulated : dict
        Of a leaf, once its ``.grad`` is complete.
    """

    __slots__ = ("accumulated", "after", "before", "tensors")

    #: Whether any leaf has ever had hooks. Walks then keep track of when leaves are complete.
    on_leaves = False

    def __init__(self) -> None:
        self.tensors: dict[int, tuple[int, Callable[..., Any]]] = {}
        self.before: dict[int, Callable[..., Any]] = {}
        self.after: dict[int, Callable[..., Any]] = {}
        self.accumulated: dict[int, Callable[..., Any]] = {}

    def __reduce__(self) -> Any:
        return Hooks, ()  # a copy of a leaf has no hooks


class _Hooked:
    """The base of nodes and leaves, which have hooks."""

    __slots__ = ()

    def own_hooks(self) -> Hooks:
        """Return the hooks, to add one."""
        raise NotImplementedError

    def register_hook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call ``fn(grad_inputs, grad_outputs)`` after the node's backward.

        Parameters
        ----------
        fn : callable
            Gets two tuples of Tensors (or None): the gradients of the arguments and those of the
            outputs. Returns None, or replacements for the first tuple.
        """
        return add_hook(self.own_hooks().after, fn)

    def register_prehook(self, fn: Callable[..., Any]) -> RemovableHandle:
        """Call ``fn(grad_outputs)`` before the node's backward; it may return replacements."""
        return add_hook(self.own_hooks().before, fn)


class Node(_Hooked):
    """One recorded operation: what its backward needs, and where its gradients go.

    Attributes
    ----------
    function : type of Function
        Its ``backward`` turns the outputs' gradients into the arguments' gradients.
    context : Context or None
        What its ``forward`` saved; None once the walk has passed.
    edges : list of Edge or None
        One for each argument of ``forward``.
    sequence : int
        Position on the tape; greater than that of every node it depends on.
    outputs : list of (shape, dtype, Device)
        Of the outputs' gradients. The dtype is None for an output that is no Tensor.
    retained : dict
        Weak references to the outputs that keep their gradient, by output number.
    hooks : Hooks or None
    """

    __slots__ = ("context", "edges", "function", "hooks", "outputs", "retained", "sequence")

    def __init__(self, function: Any, context: Any, edges: list[Edge | None]) -> None:
        self.function = function
        self.context = context
        self.edges = edges
        self.sequence = next(_sequence)
        self.outputs: list[tuple[Shape, Any, Device]] = []
        self.retained: dict[int, Any] | None = None
        self.hooks: Hooks | None = None

    def add_output(self, tensor: Any, differentiable: bool) -> None:
        """Register the next output; it requires a gradient if it is `differentiable`."""
        if differentiable:
            tensor._requires_grad = True
            tensor._node = self
            tensor.output_index = len(self.outputs)
        elif not isinstance(tensor, Tensor):
            self.outputs.append(((), None, CPU))
            return
        array = tensor.array
        self.outputs.append((array.shape, array.dtype, device_of(array)))

    def add_slot(self, array: Array) -> int:
        """Register an output like `array`, and return its number."""
        self.outputs.append((array.shape, array.dtype, device_of(array)))
        return len(self.outputs) - 1

    def free(self) -> None:
        """Drop what the forward saved; without anything saved, the node can be visited again."""
        if self.context._saved:
            if self.function.is_foreign:
                self.context.free()
            else:
                self.context = None

    def own_hooks(self) -> Hooks:
        if self.hooks is None:
            self.hooks = Hooks()
        return self.hooks

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of a user's ``ctx``, which is the node itself in PyTorch."""
        function = object.__getattribute__(self, "function")
        if name.startswith("_") or not function.is_foreign:
            raise AttributeError(f"{name_of(function)} has no attribute {name!r}")
        value = getattr(self.context, name)
        if name != "saved_tensors":
            return value
        return tuple(Tensor(saved) if hasattr(saved, "dtype") else saved for saved in value)

    # --- For inspection ---------------------------------------------------------------------------

    def name(self) -> str:
        """Return the operation's name, such as ``"MulBackward0"``."""
        return name_of(self.function)

    @property
    def next_functions(self) -> tuple[tuple[Node | AccumulateGrad | None, int], ...]:
        """Where the gradients of the arguments go: (node, output number), or (None, 0).

        The node of a leaf is an :class:`AccumulateGrad`. Arguments after the last one that needs a
        gradient have no entry.
        """
        edges = list(self.edges)
        while edges and edges[-1] is None:
            edges.pop()
        return tuple((None, 0) if edge is None else node_edge(*edge) for edge in edges)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


class AccumulateGrad(_Hooked):
    """The end of the tape at a leaf, where gradients are added to ``variable.grad``.

    Attributes
    ----------
    variable : Tensor
        The leaf.
    """

    __slots__ = ("__weakref__", "variable")

    edges: tuple[Edge, ...] = ()
    next_functions: tuple[tuple[Any, int], ...] = ()
    retained = None

    def __init__(self, variable: Tensor) -> None:
        self.variable = variable

    @property
    def hooks(self) -> Hooks | None:
        """The hooks of the leaf, which live as long as it does."""
        return self.variable.__dict__.get("_hooks")

    def own_hooks(self) -> Hooks:
        """Return the hooks, to add one."""
        Hooks.on_leaves = True
        return self.variable.__dict__.setdefault("_hooks", Hooks())

    @property
    def outputs(self) -> list[tuple[Shape, Any, Device]]:
        """What the gradient must be, as for a node."""
        array = self.variable.array
        return [(array.shape, array.dtype, device_of(array))]

    def name(self) -> str:
        """Return ``"AccumulateGrad"``."""
        return "AccumulateGrad"

    def __repr__(self) -> str:
        return f"<AccumulateGrad of {self.variable.name or 'a leaf'}>"


def name_of(function: Any) -> str:
    """Return the name that a Function has on the tape; those of minidl end in 0, as PyTorch's."""
    name: str = function.__name__
    if not function.__module__.startswith("minidl."):
        return f"{name}Backward"
    return f"{name.removeprefix('_').removesuffix('Function')}Backward0"


def edge_of(tensor: Tensor) -> Edge:
    """Return where the gradient of `tensor` goes: to the node that made it, or to the leaf."""
    node = tensor._node if tensor._view is None else tensor.node
    return (tensor, -1) if node is None else (node, tensor.output_index)


def node_edge(target: Any, index: int) -> tuple[Any, int]:
    """Return an edge with the node of a leaf in the leaf's place."""
    return (accumulator(target), 0) if index < 0 else (target, index)


#: The nodes of leaves by the id of the leaf, which the node keeps alive.
_accumulators: weakref.WeakValueDictionary[int, AccumulateGrad] = weakref.WeakValueDictionary()


def accumulator(leaf: Tensor) -> AccumulateGrad:
    """Return the node of a leaf, the same one as long as it is referred to."""
    node = _accumulators.get(id(leaf))
    if node is None:
        node = _accumulators.setdefault(id(leaf), AccumulateGrad(leaf))
    return node


def next_sequence() -> int:
    """Return a number that is greater than those of all nodes on the tape."""
    return next(_sequence)
