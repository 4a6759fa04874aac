"""Backward hooks of modules: two borders on the tape, where a module begins and where it ends.

A border is an operation that passes its arguments on. At the border behind a module the gradients
of its outputs arrive; once those of its inputs have passed the border before it, hooks see both. ::

    args --> [border] --> forward --> [border] --> output
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd import Context, Function, is_grad_enabled
from ..device import Array
from ..errors import AutogradError
from ..tensor import Tensor

Gradients = tuple[Tensor | None, ...]


class BackwardHookFunction(Function):
    """The border: its results are its arguments."""

    @staticmethod
    def forward(ctx: Context, *args: Array) -> Any:
        pairs = zip(args, ctx.needs_input_grad, strict=True)
        ctx.mark_non_differentiable(*[arg for arg, needed in pairs if not needed])
        return args

    @staticmethod
    def backward(ctx: Context, *grads: Array) -> Any:
        return grads


class Borders:
    """The borders of one call of a module, with the hooks that it has at that time."""

    def __init__(
        self,
        module: Any,
        pre_hooks: Sequence[Callable[..., Any]],
        hooks: Sequence[Callable[..., Any]],
    ) -> None:
        self._module, self._pre_hooks, self._hooks = module, pre_hooks, hooks
        self._grad_outputs: Gradients | None = None
        self._inputs = 0
        self._entered = False

    def enter(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arguments behind the border before the module."""
        if not (self._pre_hooks or self._hooks):
            return args
        self._inputs = len(args)
        args, node, places = _cross(args)
        self._entered = node is not None
        if node is not None:
            node.register_hook(lambda grads, _: self._after(grads, places))
        return args

    def leave(self, output: Any) -> Any:
        """Return the outputs behind the border after the module."""
        if not (self._pre_hooks or self._hooks):
            return output
        if not isinstance(output, (Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, a module must return a Tensor or a tuple of "
                f"Tensors; {type(self._module).__name__} returned a {type(output).__name__}",
                stacklevel=4,
            )
            return output
        outputs = (output,) if isinstance(output, Tensor) else output
        crossed, node, places = _cross(outputs)
        if node is not None:
            count = len(crossed)
            node.register_hook(lambda _, grads: self._before(grads, places, count))
        return crossed[0] if isinstance(output, Tensor) else crossed

    def _before(self, grads: Gradients, places: list[int], count: int) -> Gradients:
        """Run the pre-hooks; without gradients of inputs to wait for, the hooks as well."""
        outputs = _spread(grads, places, count)
        for hook in self._pre_hooks:
            outputs = _checked(hook(self._module, outputs), outputs, "pre-hook", "grad_output")
        self._grad_outputs = outputs
        if not self._entered:
            nothing = (None,) * self._inputs
            for hook in self._hooks:
                returned = hook(self._module, nothing, outputs)
                if returned is not None and any(grad is not None for grad in returned):
                    raise AutogradError(
                        f"a backward hook of {type(self._module).__name__} returned gradients, but "
                        "no input requires one"
                    )
            self._grad_outputs = None
        return tuple([outputs[place] for place in places])

    def _after(self, grads: Gradients, places: list[int]) -> Gradients | None:
        """Run the hooks, unless no gradient came through the outputs."""
        if self._grad_outputs is None:
            return None
        inputs = _spread(grads, places, self._inputs)
        for hook in self._hooks:
            returned = hook(self._module, inputs, self._grad_outputs)
            inputs = _checked(returned, inputs, "hook", "grad_input")
        self._grad_outputs = None
        return tuple([inputs[place] for place in places])


def _cross(values: tuple[Any, ...]) -> tuple[tuple[Any, ...], Any, list[int]]:
    """Return values with the Tensors behind a border, its node (None: no need), their places."""
    places = [place for place, value in enumerate(values) if isinstance(value, Tensor)]
    tensors = [values[place] for place in places]
    if not is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors):
        return values, None, places
    crossed, changed = BackwardHookFunction.apply(*tensors), list(values)
    for place, tensor in zip(places, crossed, strict=True):
        changed[place] = tensor
    node = next(tensor.grad_fn for tensor in crossed if tensor.grad_fn is not None)
    kind = type(values)
    return kind(*changed) if hasattr(kind, "_fields") else tuple(changed), node, places


def _spread(grads: Gradients, places: list[int], count: int) -> Gradients:
    spread: list[Tensor | None] = [None] * count
    for place, grad in zip(places, grads, strict=True):
        spread[place] = grad
    return tuple(spread)


def _checked(returned: Any, before: Gradients, what: str, name: str) -> Gradients:
    if returned is None:
        return before
    if isinstance(returned, Tensor) or len(returned) != len(before):
        count = 1 if isinstance(returned, Tensor) else len(returned)
        raise AutogradError(
            f"a backward {what} returned an invalid number of {name}: a tuple of {len(before)} was "
            f"expected, got {count}"
        )
    return tuple(returned)
