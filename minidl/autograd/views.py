"""Views: tensors that share the memory of another, their *base*, and follow its history.

``v = x[1:]`` shares the memory of x. A :class:`View` records how: the base, and the operations that
lead from it to v. When x or another view of it is changed in place, the base gets a new place on
the tape (``function.rebase``), and so does v, by the same operations. There is no list of views:
when a view's place on the tape is needed, it compares ``version[1]``, the number of changes of
history, with the number that it has seen.
"""

from __future__ import annotations

from typing import Any

from ..device import Array
from ..errors import AutogradError
from ..tensor import Tensor, describe
from .modes import mode
from .tape import Edge, Node, edge_of

NO_GRAD = "was made inside no_grad(), outside the tape"
IN_FUNCTION = "was made inside a Function, whose backward does not know of the change"

#: The operations from a base to a view: (Function, arguments after the first).
Steps = tuple[tuple[Any, tuple[Any, ...]], ...]


class View:
    """What a view knows about its base.

    Attributes
    ----------
    steps : tuple of (Function, arguments)
        The operations that lead from the base to the view.
    seen : int
        The count of changes of history, ``version[1]``, that the view's place on the tape includes.
    problem : str or None
        Why a recorded change through the view is impossible.
    leaf : Tensor or None
        What it is a view of, where that became a leaf that requires a gradient, but its base is
        none: ``arange(6.0).reshape(2, 3).requires_grad_()``.
    is_reshaped_base : bool
        Whether the tensor was a base itself, before it was given another shape in place.
    """

    __slots__ = ("_base", "is_reshaped_base", "leaf", "problem", "seen", "steps")

    def __init__(self, base: Tensor, steps: Steps, seen: int, problem: str | None) -> None:
        self._base = base
        self.steps = steps
        self.seen = seen
        self.problem = problem
        self.leaf: Tensor | None = None
        self.is_reshaped_base = False

    @property
    def base(self) -> Tensor:
        """The tensor that is no view itself."""
        while self._base._view is not None:  # it was given another shape in place
            self._base = self._base._view.base
        return self._base

    def refresh(self, tensor: Tensor) -> None:
        """Update the place of the view `tensor` on the tape if the history has changed."""
        if self.seen != tensor.version[1] and self.problem is None:
            self._replay(tensor)

    def refresh_argument(self, tensor: Tensor) -> None:
        """Update the view `tensor`, which an operation is about to read.

        Raises
        ------
        AutogradError
            Its new place can't be computed.
        """
        if self.seen != tensor.version[1] and self.base._requires_grad:
            if self.problem is not None:
                raise AutogradError(
                    f"{describe(tensor)} is a view that {self.problem}, and its base was changed "
                    "in place while recording; make the view after the change, or clone() it"
                )
            self._replay(tensor)

    def _replay(self, tensor: Tensor) -> None:
        self.seen = tensor.version[1]
        if not self.base._requires_grad:
            return
        before, mode.enabled = mode.enabled, True
        try:
            again = self.base
            for function, args in self.steps:
                again = function.apply(again, *args)
        finally:
            mode.enabled = before
        move(tensor, again._node, again.output_index)


def link(result: Tensor, source: Tensor, function: Any, args: tuple[Any, ...]) -> None:
    """Make `result`, the function of `source` and `args`, a view if it shares the memory."""
    if not shares_memory(result.array, source.array):
        return  # a reshape that had to copy
    result.version = source.version
    parent = source._view
    problem = None if mode.enabled else NO_GRAD
    if parent is None:
        base, steps = source, ((function, args),)
    else:
        base, steps = parent.base, (*parent.steps, (function, args))
        problem = parent.problem or problem
    view = result._view = View(base, steps, source.version[1], problem)
    if parent is not None:
        view.leaf = source if is_leaf(source) else parent.leaf


def is_leaf(tensor: Tensor) -> bool:
    """Return whether a tensor is a leaf that requires a gradient."""
    return tensor._requires_grad and tensor._node is None


def link_opaque(result: Tensor, source: Tensor) -> None:
    """Make `result` a view of `source`, whose memory it shares in an unknown way."""
    result.version = source.version
    base = source if source._view is None else source._view.base
    result._view = View(base, (), source.version[1], IN_FUNCTION)


def reshape_in_place(tensor: Tensor, result: Tensor) -> None:
    """Give `tensor` the shape and the place on the tape of `result`, a view of it.

    A base becomes a view of a new tensor, which takes its place for the other views.
    """
    if result is tensor:
        return
    if tensor._view is None:
        base = Tensor(tensor.array)
        base.version, base._requires_grad = tensor.version, tensor._requires_grad
        base._node, base.output_index = tensor._node, tensor.output_index
        result._view._base = base
        result._view.is_reshaped_base = True
    else:
        result._view.is_reshaped_base = tensor._view.is_reshaped_base
    tensor._view, tensor.array = result._view, result.array
    if result._node is not None:
        move(tensor, result._node, result.output_index)


def shares_memory(y: Array, x: Array) -> bool:
    """Return whether the array `y`, made from `x`, is a view of it."""
    base = y.base
    return base is not None and (base is x or base is x.base)


def move(tensor: Tensor, node: Node, index: int) -> None:
    """Give `tensor` a new place on the tape, where it retains its gradient if it did before."""
    old = tensor._node
    if old is not None and old.retained:
        reference = old.retained.get(tensor.output_index)
        if reference is not None and reference() is tensor:
            del old.retained[tensor.output_index]
            node.retained = {**(node.retained or {}), index: reference}
    tensor._node, tensor.output_index = node, index
    tensor._requires_grad = True


def edge_past(tensor: Tensor) -> Edge:
    """Return an edge that leads to the base of a view as its own does, but past its nodes.

    A change of the view takes this edge: hooks and ``retain_grad()`` of the view belong to its
    place on the tape, and the change belongs to the base.
    """
    base, edge, passed = edge_of(tensor._view.base)[0], edge_of(tensor), []
    while edge[0] is not base:
        node, index = edge
        if index < 0 or node.edges[0] is None:
            return edge_of(tensor)  # a leaf, which can't be changed
        passed.append((node, index))
        edge = node.edges[0]
    for old, index in reversed(passed):
        new = Node(old.function, old.context, [edge, *old.edges[1:]])
        new.outputs = old.outputs
        edge = new, index
    return edge


def past(tensor: Tensor) -> Tensor:
    """Return `tensor`, which is about to be changed, or if it is a view, its :func:`edge_past`."""
    if tensor._view is None or not mode.enabled or not tensor.requires_grad:
        return tensor
    same = Tensor(tensor.array)
    same.version, same.name, same._requires_grad = tensor.version, tensor.name, True
    node, same.output_index = edge_past(tensor)
    if same.output_index < 0:
        return tensor
    same._node = node
    return same


def check_changeable(tensor: Tensor) -> None:
    """Raise an error if a change of `tensor` in place can't be recorded.

    Raises
    ------
    AutogradError
        It is a leaf that requires a gradient, a view of one, or a view that was not recorded.
    """
    view = tensor._view
    if view is not None and (is_leaf(view.base) or (view.leaf is not None and is_leaf(view.leaf))):
        raise AutogradError(
            f"{describe(tensor)} is a view of a leaf that requires a gradient: it can't be changed "
            "in place while recording; use minidl.no_grad()"
        )
    if view is not None and view.problem is not None:
        raise AutogradError(
            f"{describe(tensor)} is a view that {view.problem}: it can't be changed in place while "
            "recording; make the view where the change is made, or clone() it"
        )
    if tensor._requires_grad and tensor.node is None:
        raise AutogradError(
            f"{describe(tensor)} is a leaf that requires a gradient: it can't be changed in "
            "place while recording; use minidl.no_grad()"
        )


def check_no_overlap(tensor: Tensor) -> None:
    """Raise an error if elements of `tensor` share memory, as after ``expand``.

    Raises
    ------
    AutogradError
        They do, or `tensor` was made in inference mode, which has ended.
    """
    _, array = tensor.version[0], tensor.array  # an inference tensor's version raises the error
    if (
        array.size
        and 0 in array.strides
        and any(step == 0 and n > 1 for step, n in zip(array.strides, array.shape, strict=True))
    ):
        raise AutogradError(
            f"in place: several elements of {describe(tensor)} share memory, as after expand(); "
            "clone() the tensor first"
        )


def region(base: Array, steps: Steps) -> Array:
    """Return the part of the array of a base that a view shows."""
    scratch = _Scratch()
    for function, args in steps:
        base = function.forward(scratch, base, *args)
    return base


class _Scratch:
    """A context that is never read."""


def axis_order(array: Array) -> tuple[int, ...]:
    """Return the axes of `array` from the one with the largest steps in memory to the smallest."""
    return tuple(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])))


def copy_in_order(array: Array, order: tuple[int, ...]) -> Array:
    """Return a copy whose memory has the axes in the given order.

    Arrays of one order have the same views.
    """
    inverse = tuple(order.index(axis) for axis in range(len(order)))
    return array.transpose(order).copy(order="C").transpose(inverse)
