"""Gradients on their way: how they wait, are added up, and pass a node or its hooks.

:class:`Traveling` moves arrays; a subclass for other gradients replaces the methods at its end.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..device import active, device_of, module_for
from ..errors import ArgumentError, AutogradError, DTypeError, ShapeError
from ..kernels import cuda
from ..tensor import Tensor, describe
from .checks import check_exact_shape, check_no_nan, checked_results, freed
from .modes import anomaly, switch
from .ownership import accumulate, is_ours_alone
from .tape import AccumulateGrad, Edge, Hooks, Node
from .visits import Visits


class Traveling:
    """The gradients that wait for their node's turn in a walk.

    Parameters
    ----------
    visits : Visits or None
        The nodes to visit; None: all nodes that the roots depend on.
    """

    def __init__(self, visits: Visits | None) -> None:
        self.visits = visits
        self.waiting: dict[Any, list[Any]] = {}  # by node, one place for each output
        self.heap: list[tuple[float, Any]] = []  # the latest node on top

    def send(self, edge: Edge, gradients: list[Any], position: int) -> None:
        """Move a gradient along an edge: to a leaf, or to a node, where it waits."""
        target, index = edge
        if self.visits is not None:
            target, index, sequence = self.visits.stop(target, index)
            if target is None:
                return
        elif index < 0:
            if target._requires_grad:  # it may have been switched off after the forward
                self.accumulate(target, gradients, position)
            gradients[position] = None
            return
        else:
            sequence = target.sequence
        waiting = self.waiting.get(target)
        if waiting is None:
            waiting = self.waiting[target] = [None] * len(target.outputs)
            heapq.heappush(self.heap, (-sequence, target))
        gradient, gradients[position] = gradients[position], None
        dtype = target.outputs[index][1]
        if gradient.dtype != dtype and (self.visits is None or self.visits.cast):
            gradient = self.cast(gradient, dtype)  # the operation promoted its argument
        before = waiting[index]
        waiting[index] = gradient if before is None else self.sum(before, gradient)

    def latest(self) -> tuple[Any, list[Any]]:
        """Take the latest node, and the gradients of its outputs (None where none arrived)."""
        node = heapq.heappop(self.heap)[1]
        grads = self.waiting.pop(node)
        if node.hooks is not None:
            self._call_tensor_hooks(node.hooks, grads)
        if node.retained is not None:
            for index, reference in node.retained.items():
                tensor = reference()
                if tensor is not None and grads[index] is not None:
                    self.accumulate(tensor, grads, index)
        if self.visits is not None:
            self.visits.collect(node, grads)
            if node in self.visits.filled:
                self._arrive(node, grads)
            elif node.hooks is not None and self.visits.ends_at(node):
                self._call_prehooks(node.hooks, grads)
        return node, grads

    def through(self, node: Node, grads: list[Any]) -> list[Any]:
        """Return the gradients of a node's arguments, from those of its outputs."""
        if node.context is None:
            raise freed(node)
        if node.hooks is None:
            results = self.run(node, grads)
        else:
            self._call_prehooks(node.hooks, grads)
            before = self._as_tensors(grads) if node.hooks.after else ()
            results = self.run(node, grads)
            self._call_posthooks(node.hooks, results, before)
        if self.visits is not None and not self.visits.cast:
            check_exact_shape(node)
        if anomaly.check_nan:
            check_no_nan(node, results)
        return results

    # --- Hooks ------------------------------------------------------------------------------------

    def _call(self, hook: Callable[..., Any], *args: Any) -> Any:
        before = switch(self.recorded)
        try:
            return hook(*args)
        finally:
            switch(before)

    def _call_tensor_hooks(self, hooks: Hooks, grads: list[Any]) -> None:
        for index, hook in tuple(hooks.tensors.values()):
            if grads[index] is not None:
                tensor = self.as_tensor(grads[index])
                grads[index] = self.as_gradient(_replaced(hook, tensor, self._call(hook, tensor)))
                del tensor  # a second reference would make the gradient look shared

    def _call_prehooks(self, hooks: Hooks, grads: list[Any]) -> None:
        for hook in tuple(hooks.before.values()):
            self._replace(hook, grads, self._call(hook, self._as_tensors(grads)))

    def _call_posthooks(
        self, hooks: Hooks, results: list[Any], grads: Sequence[Tensor | None]
    ) -> None:
        for hook in tuple(hooks.after.values()):
            self._replace(hook, results, self._call(hook, self._as_tensors(results), grads))

    def _arrive(self, leaf: AccumulateGrad, grads: list[Any]) -> None:
        """Run a leaf's hooks, and between them add the gradient to its ``.grad``."""
        hooks = leaf.hooks or Hooks()
        self._call_prehooks(hooks, grads)
        if leaf.variable._requires_grad:
            self.accumulate(leaf.variable, grads, 0)
        before = self._as_tensors(grads) if hooks.after else ()  # perhaps now the leaf's own .grad
        for hook in tuple(hooks.accumulated.values() if leaf.variable._requires_grad else ()):
            if self._call(hook, leaf.variable) is not None:
                raise AutogradError(
                    f"the hook {_name(hook)} of {describe(leaf.variable)} returned a value; hooks "
                    "that run after accumulation must return None"
                )
        self._call_posthooks(hooks, [], before)

    def _as_tensors(self, gradients: list[Any]) -> tuple[Tensor | None, ...]:
        return tuple([None if g is None else self.as_tensor(g) for g in gradients])

    def _replace(self, hook: Callable[..., Any], gradients: list[Any], returned: Any) -> None:
        """Replace gradients by what a hook returned for them."""
        if returned is None:
            return
        returned = (returned,) if isinstance(returned, Tensor) else tuple(returned)
        if len(returned) != len(gradients):
            raise ArgumentError(
                f"the hook {_name(hook)} returned {len(returned)} gradients; expected "
                f"{len(gradients)}"
            )
        for index, new in enumerate(returned):
            if new is None or gradients[index] is None:
                gradients[index] = None if new is None else self.as_gradient(new)
            else:
                old = self.as_tensor(gradients[index])
                gradients[index] = self.as_gradient(_replaced(hook, old, new))
                del old

    # --- What a subclass replaces -----------------------------------------------------------------

    recorded = False  # whether hooks run with recording on
    accumulate = staticmethod(accumulate)

    @staticmethod
    def run(node: Node, grads: list[Any]) -> list[Any]:
        """Return the checked results of a node's backward."""
        ctx, alone = node.context, []
        for index in range(len(grads)):
            if grads[index] is not None:
                alone.append(is_ours_alone(grads, index))
                continue
            alone.append(False)
            shape, dtype, where = node.outputs[index]
            if ctx.materialize_grads and dtype is not None:
                with active(where):
                    grads[index] = module_for(where).zeros(shape, dtype)
        ctx.may_overwrite = tuple(alone)
        where = node.outputs[0][2]
        try:
            if where.index is None:
                results = node.function.backward(ctx, *grads)
            else:
                with active(where):
                    results = node.function.backward(ctx, *grads)
        except (MemoryError, RuntimeError) as error:
            name, shape = f"{node.function.__name__}.backward", node.outputs[0][0]
            cuda.explain_out_of_memory(error, name, shape, node)
            raise
        return checked_results(node, results)

    @staticmethod
    def sum(before: Any, gradient: Any) -> Any:
        """Return the sum of gradients that reached one tensor by different paths."""
        with active(device_of(gradient)):
            total = before + gradient
        return np.asarray(total) if isinstance(total, np.generic) else total

    @staticmethod
    def cast(gradient: Any, dtype: np.dtype) -> Any:
        """Return a gradient in the dtype of its tensor."""
        with active(device_of(gradient)):
            return gradient.astype(dtype)

    @staticmethod
    def as_tensor(gradient: Any) -> Tensor:
        """Return a gradient as the Tensor that hooks see."""
        return Tensor(gradient)

    @staticmethod
    def as_gradient(tensor: Tensor) -> Any:
        """Return what a hook returned as a gradient."""
        return tensor.array


def _name(hook: Callable[..., Any]) -> str:
    return repr(getattr(hook, "__name__", hook))


def _replaced(hook: Callable[..., Any], old: Tensor, new: Any) -> Tensor:
    """Return what a hook returned for a gradient, or the gradient if that is None."""
    if new is None:
        return old
    if not isinstance(new, Tensor):
        raise DTypeError(
            f"the hook {_name(hook)} returned a {type(new).__name__}; expected a Tensor or None"
        )
    if new.shape != old.shape:
        raise ShapeError(
            f"the hook {_name(hook)} changed the shape of {describe(old)} to {tuple(new.shape)}"
        )
    if new.dtype != old.dtype or new.device != old.device:
        raise DTypeError(
            f"the hook {_name(hook)} returned {describe(new)} on {new.device} for "
            f"{describe(old)} on {old.device}"
        )
    return new
