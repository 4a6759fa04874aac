"""The numerical side of a gradient check: differences of the forward, and kinks.

A central difference computes one column of the Jacobian from the forward pass alone,

    J[:, j] ≈ ( f(x + ε·e_j) − f(x − ε·e_j) ) / 2ε ,

with an error of ``ε²·|f‴| / 6`` from the Taylor series plus about ``u·|f| / ε`` from rounding,
where ``u`` is the unit roundoff. In float64 (``u = 1.1e-16``) and with ``ε = 1e-6`` both are
near 1e-10; in float32 (``u = 6e-8``) the second alone is 0.06, so the check needs float64.

**A kink** is a point without a derivative: the slopes to the left and to the right differ, however
small the step. A smooth function's slopes differ, too, by ``ε·f″``, but this doubles with the step
(:func:`kink_at`).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError, GradcheckError
from ..tensor import Tensor
from .modes import enable_grad

__all__: list[str] = []


@dataclass
class Leaf:
    """A tensor to differentiate by; ``tensor.array`` is replaced to perturb it."""

    label: str
    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @contextmanager
    def holding(self, values: Array) -> Iterator[None]:
        """Give the tensor other values, or another layout, for a while."""
        original = self.tensor.array
        self.tensor.array = array_module(original).asarray(values)
        try:
            yield
        finally:
            self.tensor.array = original


@dataclass
class Problem:
    """A function without arguments, and the leaves to differentiate it by."""

    call: Callable[[], Any]
    leaves: list[Leaf]
    #: Which outputs have gradients; set after the first call.
    numbers: list[int] = field(default_factory=list)
    #: Their shapes and dtypes.
    forms: dict[int, tuple[Any, Any]] = field(default_factory=dict)
    #: What to call the outputs, where it isn't "output 0", "output 1", ...
    labels: list[str] = field(default_factory=list)

    def label(self, i: int) -> str:
        return self.labels[i] if self.labels else f"output {i}"

    def outputs(self) -> list[Tensor]:
        """Return all outputs of one evaluation, in order."""
        result = self.call()
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        for i, output in enumerate(outputs):
            if not isinstance(output, Tensor):
                raise DTypeError(
                    f"func must return a Tensor or a tuple of Tensors; its result {i} is of type "
                    f"{type(output).__name__}"
                )
        return outputs

    def choose(self, outputs: list[Tensor], numbers: list[int]) -> None:
        """Name the outputs that :meth:`at` returns."""
        self.numbers = numbers
        self.forms = {i: (tuple(outputs[i].shape), outputs[i].dtype) for i in numbers}

    def evaluate(self) -> list[Array]:
        """Return copies of all outputs on the host.

        This is recorded, because `func` itself may use hooks or gradients.
        """
        with enable_grad():
            return [host(output) for output in self.outputs()]

    def at(self, leaf: Leaf, step: Array) -> list[Array]:
        """Return the differentiable outputs with a step added to one leaf."""
        with leaf.holding(host(leaf.tensor) + step.astype(leaf.tensor.dtype)):
            values = self.evaluate()
        for i, form in self.forms.items():
            if i >= len(values) or (values[i].shape, values[i].dtype) != form:
                raise GradcheckError(
                    f"{self.label(i)} of func has shape {form[0]} and dtype {form[1]}, but not "
                    f"where {leaf.label} moves by eps: shapes and dtypes must not depend on values"
                )
        return [values[i].astype(np.float64) for i in self.numbers]


def prepare(func: Callable[..., Any], inputs: Tensor | Sequence[Any], what: str) -> Problem:
    """Return the problem of `func` at `inputs`, with tensors that the user does not hold."""
    is_module = hasattr(func, "named_parameters")
    arguments: list[Any] = []
    leaves: list[Leaf] = []
    for i, argument in enumerate((inputs,) if isinstance(inputs, Tensor) else tuple(inputs)):
        if not isinstance(argument, Tensor):
            arguments.append(argument)
            continue
        fresh = Tensor(argument.array)  # the same memory, a leaf of its own
        if is_module and fresh.dtype.kind == "f":
            fresh = fresh.double()
        if argument.requires_grad:
            label = f"input {i}" + (f" ({argument.name!r})" if argument.name else "")
            _check_precision(label, fresh)
            fresh.requires_grad = True
            leaves.append(Leaf(label, fresh))
        arguments.append(fresh)

    called: Any = func
    buffers: list[tuple[Tensor, Array]] = []
    if is_module:
        called = copy.deepcopy(func)
        called.double()
        for name, parameter in called.named_parameters():
            if parameter.requires_grad:
                leaves.append(Leaf(f"parameter {name!r}", parameter))
        buffers = [(buffer, buffer.array.copy()) for _, buffer in called.named_buffers()]

    def call() -> Any:
        for buffer, first in buffers:  # each evaluation begins with the same ones
            buffer.array = first.copy()
        return called(*arguments)

    if not leaves:
        raise ArgumentError(
            f"{what} expects at least one input Tensor (or parameter) with requires_grad=True, "
            "but found none"
        )
    return Problem(call, leaves)


def _check_precision(label: str, tensor: Tensor) -> None:
    if tensor.dtype.kind != "f":
        raise DTypeError(f"{label} has dtype {tensor.dtype}, expected a floating-point dtype")
    if tensor.dtype != np.float64:
        warnings.warn(
            f"{label} requires a gradient and has dtype {tensor.dtype}: the check will probably "
            "fail for lack of precision; use float64 (x.double())",
            UserWarning,
            stacklevel=4,
        )


# --- Differences ----------------------------------------------------------------------------------


def difference(problem: Problem, leaf: Leaf, direction: Array, eps: float) -> list[Array]:
    """Return the outputs' central differences for steps of ±eps·direction of one leaf."""
    sides = [problem.at(leaf, step) for step in (eps * direction, -eps * direction)]
    return [_minus(up, down) / (2 * eps) for up, down in zip(*sides, strict=True)]


def jacobian(problem: Problem, leaf: Leaf, eps: float) -> list[Array]:
    """Return the Jacobian of each output, of shape (leaf's shape + output's shape)."""
    columns = [difference(problem, leaf, unit, eps) for unit in units(leaf.shape)]
    return [
        np.stack(column).reshape(leaf.shape + column[0].shape)
        for column in zip(*columns, strict=True)
    ]


@dataclass
class Kink:
    """The slopes to the left and to the right of a point where a function has no derivative."""

    left: float
    right: float

    def explains(self, gradient: float, tolerance: float) -> bool:
        """Return whether a gradient lies between both slopes (is a *subgradient*)."""
        if not np.isfinite([self.left, self.right]).all():  # the edge of func's domain
            return True
        low, high = sorted((self.left, self.right))
        return low - tolerance <= gradient <= high + tolerance

    def __str__(self) -> str:
        return (
            f"func has a kink there: one-sided differences disagree, slope {self.left:.6g} to the "
            f"left and {self.right:.6g} to the right"
        )


def kink_at(
    problem: Problem, leaf: Leaf, direction: Array, eps: float, tolerance: float
) -> Callable[[Callable[[list[Array]], float]], Kink | None]:
    """Return a function that looks for a kink along `direction` in a number made of the outputs.

    When the step doubles, the difference of both slopes stays the same at a kink within the step,
    halves at a jump, and doubles for a smooth function.
    """
    here = problem.at(leaf, np.zeros(leaf.shape))
    moved = {
        factor: problem.at(leaf, factor * eps * direction) for factor in (1, -1, 8, -8, 16, -16)
    }

    def look(number: Callable[[list[Array]], float]) -> Kink | None:
        def slopes(factor: int) -> tuple[float, float]:
            up = number([_minus(a, b) for a, b in zip(moved[factor], here, strict=True)])
            down = number([_minus(b, a) for a, b in zip(moved[-factor], here, strict=True)])
            return down / (factor * eps), up / (factor * eps)

        left, right = slopes(1)
        if not np.isfinite([left, right]).all():
            return Kink(left, right)
        near, far = (abs(up - down) for down, up in (slopes(8), slopes(16)))
        if abs(right - left) > tolerance and near > tolerance and far < 1.5 * near:
            return Kink(left, right)
        return None

    return look


@dataclass
class Slopes:
    """Slopes of a weighted sum of the outputs, numerical and analytical."""

    problem: Problem
    leaf: Leaf
    eps: float
    weights: list[Array]
    claimed: Array

    def weigh(self, changes: list[Array]) -> float:
        return sum(float(np.vdot(w, c)) for w, c in zip(self.weights, changes, strict=True))

    def along(self, direction: Array) -> tuple[float, float, float]:
        """Return the numerical slope, the analytical one, and the uncertainty of the first."""
        near, far = (
            self.weigh(difference(self.problem, self.leaf, direction, step))
            for step in (self.eps, 2 * self.eps)
        )
        return near, self.claim(direction), abs(near - far)

    def claim(self, direction: Array) -> float:
        moved = direction != 0  # 0 · inf would be NaN
        return float(np.vdot(self.claimed[moved], direction[moved]))

    def worst_entry(self, direction: Array) -> tuple[int, ...]:
        """Return a wrong entry: halve the entries that move, keep the half that differs more."""
        candidates = np.flatnonzero(direction)
        while candidates.size > 1:
            halves = np.array_split(candidates, 2)
            errors = []
            for half in halves:
                part = np.zeros(direction.shape)
                part.flat[half] = direction.flat[half]
                changes = difference(self.problem, self.leaf, part, self.eps)
                error = abs(self.weigh(changes) - self.claim(part))
                errors.append(np.inf if np.isnan(error) else error)
            candidates = halves[int(np.argmax(errors))]
        return plain(np.unravel_index(int(candidates[0]), direction.shape))


def _minus(a: Array, b: Array) -> Array:
    """Return ``a − b``, and 0 where both are the same infinity."""
    with np.errstate(invalid="ignore"):
        return np.where(a == b, 0.0, a - b)


# --- Arrays ---------------------------------------------------------------------------------------


def units(shape: tuple[int, ...]) -> Iterator[Array]:
    """Yield every array of a shape with a single 1, in order."""
    for index in np.ndindex(*shape):
        unit = np.zeros(shape)
        unit[index] = 1.0
        yield unit


def host(tensor: Tensor) -> Array:
    """Return a copy of a tensor's values as a NumPy array."""
    return np.array(tensor.detach().cpu().numpy())


def transposed(array: Array) -> Array:
    """Return a copy whose first axis is the innermost in memory."""
    return array.T.copy(order="C").T


def backwards(array: Array) -> Array:
    """Return a copy whose last element is the first in memory."""
    turn = (slice(None, None, -1),) * array.ndim
    return array[turn].copy(order="C")[turn]


def spread_out(array: Array) -> Array:
    """Return a copy with a gap after each element in memory."""
    wide = array_module(array).empty((*array.shape, 2), array.dtype)
    wide[..., 0], wide[..., 1] = array, np.nan
    return wide[..., 0]


def plain(index: Any) -> tuple[int, ...]:
    """Return an index made of Python's integers, for a message."""
    return tuple(int(k) for k in index)
