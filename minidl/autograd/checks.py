"""Checks of the walk's first gradients and of what a backward returns, with helpful messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import Array, active, array_module, check_one_device, device_of
from ..errors import ArgumentError, AutogradError, DTypeError, ShapeError
from ..tensor import Tensor
from .tape import Node


def as_list(tensors: Tensor | Sequence[Tensor]) -> list[Tensor]:
    """Return one tensor or several as a list."""
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def seeds(
    name: str, roots: Sequence[Tensor], gradients: Any, as_tensors: bool = False
) -> list[Any]:
    """Return the gradients that a walk from `roots` starts with: arrays, or Tensors."""
    if not isinstance(gradients, (list, tuple)):
        gradients = [gradients] * len(roots)
    if len(gradients) != len(roots):
        raise ArgumentError(f"{name}: expected {len(roots)} tensors, got {len(gradients)}")
    pairs = list(zip(roots, gradients, strict=True))
    arrays = [_seed(root, gradient) for root, gradient in pairs]
    if not as_tensors:
        return arrays
    return [
        gradient.to(dtype=root.dtype) if isinstance(gradient, Tensor) else Tensor(array)
        for (root, gradient), array in zip(pairs, arrays, strict=True)
    ]


def _seed(tensor: Tensor, gradient: Any) -> Array:
    shape, dtype = tensor.array.shape, tensor.array.dtype
    if gradient is not None and not hasattr(gradient, "__array_function__"):
        raise DTypeError(f"gradient: expected a Tensor or None, got a {type(gradient).__name__}")
    if gradient is None:
        if tensor.array.size != 1:
            raise AutogradError(
                f"backward() without a gradient needs a tensor of one element, got shape "
                f"{tuple(shape)}; reduce it first (loss.mean()) or pass gradient="
            )
        with active(device_of(tensor.array)):
            return array_module(tensor.array).ones(shape, dtype)
    array = gradient.array if isinstance(gradient, Tensor) else gradient
    check_one_device("backward()", tensor=tensor.array, gradient=array)
    if array.shape != shape:
        raise ShapeError(
            f"gradient: expected the shape of the tensor, {tuple(shape)}, got {tuple(array.shape)}"
        )
    return array.astype(dtype, copy=False)


def freed(node: Node) -> AutogradError:
    """Return the error for a node that a walk has passed before and freed."""
    return AutogradError(
        f"{node.function.__name__}: the tape was walked and freed already; pass "
        "retain_graph=True to the first backward() to walk it twice"
    )


def check_exact_shape(node: Node) -> None:
    """Raise an error if a gradient that a node's backward returned had to be summed to fit."""
    shape = node.context.shape_returned
    if shape is not None:
        raise ShapeError(
            f"{node.function.__name__}.backward returned a gradient of shape {tuple(shape)}, which "
            "is not its argument's; backward() sums over the axes that differ"
        )


def check_no_nan(node: Node, results: list[Any]) -> None:
    """Raise an error if a gradient that a node's backward returned has a NaN."""
    for position, gradient in enumerate(results):
        if gradient is not None and bool((gradient != gradient).any()):
            raise AutogradError(
                f"Function {node.name()!r} returned nan values in its {position}th output"
            )


def _reduced(gradient: Any, shape: tuple[int, ...]) -> Any:
    """Return a gradient, summed over the axes along which its tensor was broadcast."""
    more = gradient.ndim - len(shape)
    if more < 0 or any(n not in (1, m) for n, m in zip(shape, gradient.shape[more:], strict=True)):
        return gradient
    stretched = [more + axis for axis, n in enumerate(shape) if n != gradient.shape[more + axis]]
    return gradient.sum((*range(more), *stretched)).reshape(shape)


def checked_results(node: Node, results: Any) -> list[Any]:
    """Return the results of a node's backward as a list: one array or None for each argument."""
    results = list(results) if isinstance(results, tuple) else [results]
    edges = node.edges
    if len(results) != len(edges):
        _drop_last(results, node)
    for position, edge in enumerate(edges):
        if edge is None:
            continue
        gradient = results[position]
        if gradient is not None:
            target, index = edge
            shape = target.array.shape if index < 0 else target.outputs[index][0]
            if type(gradient) is not np.ndarray or gradient.shape != shape:
                results[position] = _checked(node, position, gradient, shape)
    return results


def _drop_last(results: list[Any], node: Node) -> None:
    """Drop None at the end: it may be returned for arguments that there are not."""
    given, wanted = len(results), len(node.edges)
    while len(results) > wanted and results[-1] is None:
        results.pop()
    if len(results) != wanted:
        raise AutogradError(
            f"{node.function.__name__}.backward returned {given} gradients; expected one for each "
            f"of the {wanted} arguments of forward"
        )


def _checked(node: Node, position: int, gradient: Any, shape: tuple[int, ...]) -> Any:
    """Return a gradient as an array of its argument's shape."""
    if isinstance(gradient, np.generic):  # NumPy's result of arrays without axes
        gradient = np.asarray(gradient)
    if isinstance(gradient, Tensor) or not hasattr(gradient, "dtype"):
        raise AutogradError(
            f"{node.function.__name__}.backward returned a {type(gradient).__name__} for "
            f"argument {position}; expected an array"
        )
    if gradient.shape != shape and node.function.is_foreign:
        node.context.shape_returned = gradient.shape
        gradient = _reduced(gradient, shape)
    if gradient.shape != shape:
        raise ShapeError(
            f"{node.function.__name__}.backward returned a gradient of shape "
            f"{tuple(gradient.shape)} for argument {position}, whose shape is {tuple(shape)}"
        )
    return gradient
