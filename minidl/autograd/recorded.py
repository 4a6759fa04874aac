"""Recording a backward: with ``create_graph=True``, gradients get a tape of their own.

The backward of a node runs on :class:`~.tape_array.TapeArray` and without kernels, so its plain
code is recorded. What the forward saved is linked to the tape again:

- an argument is what its edge leads to, and a result is an output of the node itself;
- an intermediate is an output of the Function ``Function.intermediates``, whose backward leads to
  the same arguments;
- everything else is a constant: masks, positions, random numbers.
"""

from __future__ import annotations

from typing import Any

from ..device import Array, active, module_for
from ..errors import AutogradError
from ..tensor import Tensor
from .checks import checked_results
from .function import Context, Function
from .modes import no_grad
from .tape import Edge, Node
from .tape_array import TapeArray
from .traveling import Traveling


class Alias(Function):
    """A leaf with the array that it had during the forward."""

    @staticmethod
    def backward(ctx: Context, grad: Array) -> Array:
        return grad


class Once(Function):
    """The results of a backward that is declared once_differentiable."""

    @staticmethod
    def backward(ctx: Context, *grads: Array) -> Any:
        raise AutogradError(
            f"gradients of gradients: the backward of {ctx.name} is declared once_differentiable"
        )


def on_tape(array: Array, edge: Edge) -> Tensor:
    """Return an array as a Tensor whose gradient goes along an edge."""
    target, index = edge
    if index < 0:
        if target.array is array:
            return target
        return outputs_of(Node(Alias, Context(Alias, (True,)), [edge]), [array])[0]
    tensor = Tensor(array)
    tensor._requires_grad, tensor.node, tensor.output_index = True, target, index
    return tensor


def outputs_of(node: Node, arrays: list[Array]) -> list[Tensor]:
    """Return arrays as outputs of a node that was made for them."""
    tensors = [Tensor(array) for array in arrays]
    for tensor in tensors:
        node.add_output(tensor, True)
    return tensors


class RecordedContext:
    """The Context of a node as a recorded backward sees it."""

    kernel = None

    def __init__(self, node: Node) -> None:
        self._node, self._context = node, node.context
        self.may_overwrite = (False,) * len(node.outputs)
        self._origins = {guard[2]: guard[3] for guard in self._context._guards}

    def __getattr__(self, name: str) -> Any:
        value, origins = getattr(self._context, name), self._context._attributes
        if origins is None or not hasattr(value, "dtype") or name not in vars(self._context):
            return value
        return self._linked(value, origins.get(name), f"the attribute {name!r}")

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What the forward saved, linked to the tape."""
        saved, intermediates = list(self._context.saved_tensors), []
        for index, array in enumerate(saved):
            if hasattr(array, "dtype"):
                origin = self._origins.get(index)
                saved[index] = self._linked(array, origin, f"saved array {index}")
                if (origin is None or origin < 0) and self._context.is_differentiable(array):
                    intermediates.append(index)
        function = self._node.function.intermediates
        if function is not None and any(self._origins.get(i) is None for i in intermediates):
            arrays = [self._context._saved[index] for index in intermediates]
            for index, tensor in zip(intermediates, self._results(function, arrays), strict=True):
                saved[index] = TapeArray(tensor)
        return tuple(saved)

    def _results(self, function: type[Function], arrays: list[Array]) -> list[Tensor]:
        """Return intermediates as the results of a Function of the same arguments."""
        context = Context(function, self._context.needs_input_grad)
        vars(context).update(vars(self._context) | {"function": function, "_saved": tuple(arrays)})
        context._guards = [([0], 0, index, ~index, None) for index in range(len(arrays))]
        return outputs_of(Node(function, context, self._node.edges), arrays)

    def _linked(self, array: Array, origin: int | None, what: str) -> TapeArray:
        """Return an array linked to the tape, or as a constant."""
        if not self._context.is_differentiable(array):
            return TapeArray(Tensor(array))
        edges = self._node.edges
        if origin is not None:
            edge = edges[origin] if origin >= 0 else (self._node, ~origin)
            return TapeArray(Tensor(array) if edge is None else on_tape(array, edge))
        if self._context._attributes is not None:  # of a Function that is not minidl's own
            raise AutogradError(
                f"gradients of gradients: {what} of {self._node.function.__name__} is neither an "
                "argument nor a result of its forward, so how it depends on them is not known; "
                "save the arguments and compute it again in backward, or declare a constant with "
                "ctx.mark_non_differentiable(array)"
            )
        return TapeArray(Tensor(array))


class RecordedTraveling(Traveling):
    """Gradients that are Tensors, so that computing with them is recorded."""

    recorded = True

    @staticmethod
    def run(node: Node, grads: list[Any]) -> list[Any]:
        if getattr(node.function.backward, "once_differentiable", False):
            return _run_once(node, grads)
        arrays: list[Any] = []
        for grad, (shape, dtype, where) in zip(grads, node.outputs, strict=True):
            if grad is None and node.context.materialize_grads and dtype is not None:
                with active(where):
                    grad = Tensor(module_for(where).zeros(shape, dtype))
            arrays.append(None if grad is None else TapeArray(grad))
        with active(node.outputs[0][2]):
            results = checked_results(node, node.function.backward(RecordedContext(node), *arrays))
        for position, result in enumerate(results):
            if result is not None:
                on = isinstance(result, TapeArray)
                results[position] = result.tensor if on else Tensor(result)
        return results

    @staticmethod
    def accumulate(tensor: Tensor, gradients: list[Any], position: int) -> None:
        """Add a gradient to ``tensor.grad``, out of place: both stay on the tape."""
        gradient = gradients[position].to(dtype=tensor.dtype)
        tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient

    @staticmethod
    def sum(before: Any, gradient: Any) -> Any:
        return before + gradient

    @staticmethod
    def cast(gradient: Any, dtype: Any) -> Any:
        return gradient.to(dtype=dtype)

    @staticmethod
    def as_tensor(gradient: Any) -> Tensor:
        return gradient

    @staticmethod
    def as_gradient(tensor: Tensor) -> Any:
        return tensor


def _run_once(node: Node, grads: list[Any]) -> list[Any]:
    """Return the results of a backward that can't be recorded; differentiating them is an error."""
    with no_grad():
        results = Traveling.run(node, [None if grad is None else grad.array for grad in grads])
    if not any(grad is not None and grad.requires_grad for grad in grads):
        # constants, as in PyTorch
        return [None if result is None else Tensor(result) for result in results]
    context = Context(Once, tuple(edge is not None for edge in node.edges))
    context.name = node.function.__name__
    last = Node(Once, context, node.edges)
    found = [result for result in results if result is not None]
    tensors = iter(outputs_of(last, found))
    return [None if result is None else next(tensors) for result in results]
