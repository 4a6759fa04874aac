"""Numerical against analytical gradients: the judge of every ``backward`` in and on top of minidl.

A backward pass claims to compute, for any weights ``v`` on the outputs, the row ``vᵀJ`` of the
Jacobian ``J[k, j] = ∂out_k / ∂in_j``. A central difference computes the column from the forward
pass alone,

    J[:, j] ≈ ( f(x + ε·e_j) − f(x − ε·e_j) ) / 2ε ,

with an error of ``ε²·|f‴| / 6`` from the Taylor series plus about ``u·|f| / ε`` from rounding,
where ``u`` is the unit roundoff. In float64 (``u = 1.1e-16``) and with ``ε = 1e-6`` both are
near 1e-10; in float32 (``u = 6e-8``) the second one alone is 0.06: the check wants float64.

* **Small** problems compare the whole Jacobian, entry by entry: ``2·numel(in)`` forward passes and
  ``numel(out)`` backward passes.
* **Large** ones compare the number ``vᵀJu`` for a few random ``v`` and ``u``. If it differs, the
  set of entries that ``u`` moves is halved, and the half that differs more is kept, until one entry
  of the input is left: a wrong entry is found among a million after twenty halvings.

It uses no layer, only tensors and the tape.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..device import Array, array_module
from ..errors import ArgumentError, DTypeError, GradcheckError, ShapeError
from ..tensor import Tensor
from .modes import no_grad
from .walk import grad

__all__ = ["gradcheck"]

# The whole Jacobian is compared up to this many entries, random directions above it.
FULL_JACOBIAN_LIMIT = 2**14
# A wrong gradient hides from one direction only if errors cancel by accident, from three never.
DIRECTIONS = 3
SEED = 20120930


def gradcheck(
    func: Callable[..., Tensor | Sequence[Tensor]],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    fast_mode: bool | None = None,
) -> bool:
    """Check analytical gradients against central differences.

    Parameters
    ----------
    func : callable or Module
        Takes the inputs and returns a Tensor or a tuple (or list) of Tensors. All parameters
        of a :class:`minidl.nn.Module` with ``requires_grad`` are checked as well, on a copy in
        float64; the module itself does not change.
    inputs : Tensor or sequence
        The arguments of `func`, of any shape. Tensors with ``requires_grad=True`` are
        checked and should be float64 (for a Module, floating inputs are converted); everything
        else, such as integer targets or numbers, is handed on unchanged.
    eps : float, default 1e-6
        The step of the differences; greater than 0.
    atol, rtol : float, default 1e-5 and 1e-3
        Two values agree where ``|numerical − analytical| <= atol + rtol·|numerical|``.
    raise_exception : bool, default True
        Whether a failed check raises, or returns False.
    nondet_tol : float, default 0
        How far the results of two identical calls may lie apart, forward and backward. 0 means the
        same bits.
    fast_mode : bool, optional
        True: compare along random directions. False: compare the whole Jacobian. By default the
        size decides: the Jacobian up to 16,384 entries. The directions come from a fixed seed, so
        that the verdict is the same every time.

    Returns
    -------
    bool
        True if all gradients are right; False if not and `raise_exception` is False.

    Raises
    ------
    GradcheckError
        A gradient is wrong: the message names the input or parameter, the worst entry's index, both
        values and their difference. Also: `func` returns something else when called again, no
        output depends on the checked inputs, a gradient has the wrong shape or dtype, the backward
        pass changes its inputs or the output's gradient, or two backward passes differ.
    ArgumentError
        No input (and no parameter) requires a gradient, or `eps` is not positive.
    DTypeError
        A checked input is not of a floating-point dtype, or `func` returns something else than
        Tensors.

    Warns
    -----
    UserWarning
        A checked input of a plain function is less precise than float64: the check will probably
        fail, whatever the gradient.

    Notes
    -----
    **Where a function has a kink** (ReLU at 0, a maximum attained twice in a pooling window,
    ``abs`` at 0) there is no derivative for the two sides to agree on: the difference takes the
    mean of both slopes, the backward pass picks one. Use inputs that stay more than ``eps`` away
    from kinks: ``minidl.randn``, or a random permutation of ``arange(n)`` for a maximum.

    **Random functions** can't be differenced: each evaluation would draw another mask. The check
    calls `func` twice first and says so if the results differ. Put a module with dropout into
    ``eval()`` mode, or seed inside the function:
    ``lambda x: (minidl.manual_seed(0), F.dropout(x))[1]``.

    **A module keeps its mode.** In ``train()`` mode batch normalization is differentiated through
    the batch's mean and variance, in ``eval()`` mode it is an affine map. The copy's buffers
    (running averages) are set back before each evaluation, and the user's are never touched.

    The analytical side sees each input exactly as given, with its strides; the numerical side works
    on contiguous copies, so that wrong handling of a layout is found, too. The analytical pass
    is made with gradients recorded, the numerical one without.

    Examples
    --------
    >>> import minidl
    >>> from minidl.autograd import Function
    >>> class Square(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * grad
    >>> x = minidl.tensor([1.0, -2.0, 3.0], dtype=minidl.float64, requires_grad=True)
    >>> minidl.gradcheck(Square.apply, (x,))
    True
    >>> minidl.gradcheck(minidl.nn.Linear(3, 2), (x,))  # the weight and the bias as well
    True
    """
    if not eps > 0:
        raise ArgumentError(f"eps must be greater than 0, got {eps}")
    problem = _prepare(func, inputs)
    try:
        _check(problem, eps, atol, rtol, nondet_tol, fast_mode)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


# --- the problem: a function of no arguments and the leaves that it is differentiated by ----------


@dataclass
class _Leaf:
    """A tensor to differentiate by; ``tensor.array`` is exchanged to perturb it."""

    label: str
    tensor: Tensor

    @contextmanager
    def holding(self, values: Array) -> Iterator[None]:
        """Let the tensor have other values for a while; `values` is a NumPy array of its shape."""
        original = self.tensor.array
        self.tensor.array = array_module(original).asarray(values)
        try:
            yield
        finally:
            self.tensor.array = original


@dataclass
class _Problem:
    call: Callable[[], Any]
    leaves: list[_Leaf]

    def outputs(self) -> list[Tensor]:
        """All outputs of one evaluation, in order."""
        result = self.call()
        outputs = list(result) if isinstance(result, (tuple, list)) else [result]
        for i, output in enumerate(outputs):
            if not isinstance(output, Tensor):
                raise DTypeError(
                    f"func must return a Tensor or a tuple of Tensors; its result {i} is of type "
                    f"{type(output).__name__}"
                )
        return outputs


def _prepare(func: Callable[..., Any], inputs: Tensor | Sequence[Any]) -> _Problem:
    is_module = hasattr(func, "named_parameters")
    arguments: list[Any] = []
    leaves: list[_Leaf] = []
    for i, argument in enumerate((inputs,) if isinstance(inputs, Tensor) else tuple(inputs)):
        if not isinstance(argument, Tensor):
            arguments.append(argument)
            continue
        fresh = argument.detach()  # the same memory, a leaf of its own
        if is_module and fresh.dtype.kind == "f":
            fresh = fresh.double()
        if argument.requires_grad:
            label = f"input {i}" + (f" ({argument.name!r})" if argument.name else "")
            _check_precision(label, fresh)
            fresh.requires_grad = True
            leaves.append(_Leaf(label, fresh))
        arguments.append(fresh)

    if is_module:
        module: Any = copy.deepcopy(func)
        module.double()
        for name, parameter in module.named_parameters():
            if parameter.requires_grad:
                leaves.append(_Leaf(f"parameter {name!r}", parameter))
        call = _module_call(module, arguments)
    else:

        def call() -> Any:
            return func(*arguments)

    if not leaves:
        raise ArgumentError(
            "gradcheck expects at least one input Tensor (or parameter) with requires_grad=True, "
            "but found none"
        )
    return _Problem(call, leaves)


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


def _module_call(module: Any, arguments: list[Any]) -> Callable[[], Any]:
    """``module(*arguments)``, with the buffers set back to their first values before each call."""
    buffers = [(buffer, buffer.array.copy()) for _, buffer in module.named_buffers()]

    def call() -> Any:
        for buffer, first in buffers:
            buffer.array = first.copy()
        return module(*arguments)

    return call


# --- the check ------------------------------------------------------------------------------------


def _check(
    problem: _Problem,
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
    fast_mode: bool | None,
) -> None:
    _check_deterministic(problem, nondet_tol)
    outputs = problem.outputs()
    numbers = [i for i, out in enumerate(outputs) if out.requires_grad and out.dtype.kind == "f"]
    if not numbers:
        raise GradcheckError(
            "no output of func requires a gradient: it does not depend on the checked inputs, or "
            "the tape was cut (detach, no_grad, or an array in place of a Tensor)"
        )
    rng = np.random.default_rng(SEED)
    weights = [_random_direction(rng, outputs[i].shape) for i in numbers]
    _check_backward_is_clean(problem, numbers, weights, nondet_tol)

    entries_in = sum(leaf.tensor.numel() for leaf in problem.leaves)
    entries_out = sum(outputs[i].numel() for i in numbers)
    if fast_mode is None:
        fast_mode = entries_in * entries_out > FULL_JACOBIAN_LIMIT
    if fast_mode:
        for _ in range(DIRECTIONS):
            weights = [_random_direction(rng, outputs[i].shape) for i in numbers]
            _check_direction(problem, numbers, weights, rng, eps, atol, rtol)
    else:
        _check_jacobian(problem, numbers, eps, atol, rtol)


def _check_deterministic(problem: _Problem, nondet_tol: float) -> None:
    first, second = (_evaluate(problem) for _ in range(2))
    for i, (a, b) in enumerate(zip(first, second, strict=True)):
        if a.shape != b.shape or not _same(a, b, nondet_tol):
            raise GradcheckError(
                f"func is not deterministic: its output {i} differs between two calls with the "
                "same inputs. Put modules with dropout into eval() mode, or call "
                "minidl.manual_seed inside func"
            )


def _check_backward_is_clean(
    problem: _Problem, numbers: list[int], weights: list[Array], nondet_tol: float
) -> None:
    """Two backward passes over one tape give the same bits and overwrite nothing."""
    outputs = problem.outputs()
    before = [leaf.tensor.array.copy() for leaf in problem.leaves]
    values_before = [outputs[i].array.copy() for i in numbers]
    gradients = [_like(outputs[i], weight) for i, weight in zip(numbers, weights, strict=True)]

    runs: list[list[Array | None]] = []
    for _ in range(2):
        runs.append(_backward(problem, outputs, numbers, gradients))
        for i, gradient, weight in zip(numbers, gradients, weights, strict=True):
            if not _same(_host(gradient), weight.astype(gradient.dtype), 0.0):
                raise GradcheckError(
                    f"the backward pass changed the gradient of output {i} in place"
                )
        for leaf, values in zip(problem.leaves, before, strict=True):
            if not _same(leaf.tensor.array, values, 0.0):
                raise GradcheckError(f"the backward pass changed {leaf.label} in place")
        for i, values in zip(numbers, values_before, strict=True):
            if not _same(outputs[i].array, values, 0.0):
                raise GradcheckError(f"the backward pass changed output {i} in place")

    for leaf, first, second in zip(problem.leaves, *runs, strict=True):
        if (first is None) != (second is None) or (
            first is not None and second is not None and not _same(first, second, nondet_tol)
        ):
            raise GradcheckError(
                f"the gradient of {leaf.label} differs between two backward passes over the same "
                "tape: the backward pass is not deterministic, or changes what it has saved"
            )


def _check_jacobian(
    problem: _Problem, numbers: list[int], eps: float, atol: float, rtol: float
) -> None:
    analytical = _analytical_jacobian(problem, numbers)
    for leaf, of_leaf in zip(problem.leaves, analytical, strict=True):
        numerical = _numerical_jacobian(problem, leaf, numbers, eps)
        for i, found, expected in zip(numbers, of_leaf, numerical, strict=True):
            output_shape = expected.shape[leaf.tensor.ndim :]
            # NaN compares as False: it is never right.
            wrong = ~(np.abs(found - expected) <= atol + rtol * np.abs(expected))
            if not wrong.any():
                continue
            excess = np.where(wrong, np.abs(found - expected), -1.0)
            excess[np.isnan(excess)] = np.inf
            worst = np.unravel_index(int(np.argmax(excess)), excess.shape)
            index = tuple(int(k) for k in worst)
            where_in, where_out = index[: leaf.tensor.ndim], index[leaf.tensor.ndim :]
            raise GradcheckError(
                f"wrong gradient of output {i} (shape {output_shape}) with respect to {leaf.label} "
                f"(shape {tuple(leaf.tensor.shape)}): at input index {where_in}, output index "
                f"{where_out}, numerical {expected[worst]:.9g}, analytical {found[worst]:.9g}, "
                f"difference {abs(found[worst] - expected[worst]):.3g} (allowed {atol:g} + "
                f"{rtol:g}·|numerical|); {int(wrong.sum())} of {wrong.size} entries differ"
            )


def _analytical_jacobian(problem: _Problem, numbers: list[int]) -> list[list[Array]]:
    """By leaf, by output: an array of shape (leaf's + output's), filled row by row backward."""
    outputs = problem.outputs()
    jacobian = [
        [np.zeros(tuple(leaf.tensor.shape) + tuple(outputs[i].shape)) for i in numbers]
        for leaf in problem.leaves
    ]
    for position, i in enumerate(numbers):
        for index in np.ndindex(*outputs[i].shape):
            unit = np.zeros(outputs[i].shape)
            unit[index] = 1.0
            gradients = _backward(problem, outputs, [i], [_like(outputs[i], unit)])
            for of_leaf, gradient in zip(jacobian, gradients, strict=True):
                if gradient is not None:  # None: the output does not depend on this leaf
                    of_leaf[position][(..., *index)] = gradient
    return jacobian


def _numerical_jacobian(
    problem: _Problem, leaf: _Leaf, numbers: list[int], eps: float
) -> list[Array]:
    """By output: an array of shape (leaf's + output's), one difference an entry of the leaf."""
    shapes = [tuple(value.shape) for value in _evaluate(problem)]
    jacobian = [np.zeros(tuple(leaf.tensor.shape) + shapes[i]) for i in numbers]
    for index in np.ndindex(*leaf.tensor.shape):
        unit = np.zeros(leaf.tensor.shape)
        unit[index] = 1.0
        for of_output, change in zip(
            jacobian, _difference(problem, leaf, numbers, unit, eps), strict=True
        ):
            of_output[index] = change
    return jacobian


def _check_direction(
    problem: _Problem,
    numbers: list[int],
    weights: list[Array],
    rng: np.random.Generator,
    eps: float,
    atol: float,
    rtol: float,
) -> None:
    outputs = problem.outputs()
    gradients = [_like(outputs[i], w) for i, w in zip(numbers, weights, strict=True)]
    analytical = _backward(problem, outputs, numbers, gradients)
    for leaf, gradient in zip(problem.leaves, analytical, strict=True):
        shape = tuple(leaf.tensor.shape)
        claimed = np.zeros(shape) if gradient is None else gradient

        def slopes(direction: Array, leaf: _Leaf = leaf, claimed: Array = claimed) -> Array:
            """The numerical and the analytical slope of Σ weights·outputs along `direction`."""
            changes = _difference(problem, leaf, numbers, direction, eps)
            numerical = sum(float(np.vdot(w, c)) for w, c in zip(weights, changes, strict=True))
            return np.array([numerical, float(np.vdot(claimed, direction))])

        direction = _random_direction(rng, shape)
        numerical, found = slopes(direction)
        if abs(numerical - found) <= atol + rtol * abs(numerical):
            continue
        index = _worst_entry(slopes, direction)
        unit = np.zeros(shape)
        unit[index] = 1.0
        expected_there, found_there = slopes(unit)
        raise GradcheckError(
            f"wrong gradient of the outputs' weighted sum with respect to {leaf.label} (shape "
            f"{shape}): along a random direction numerical {numerical:.9g}, analytical "
            f"{found:.9g}, difference {abs(numerical - found):.3g} (allowed {atol:g} + "
            f"{rtol:g}·|numerical|). "
            f"The search for the entry ends at input index {index}: numerical "
            f"{expected_there:.9g}, analytical {found_there:.9g}, difference "
            f"{abs(expected_there - found_there):.3g}"
        )


def _worst_entry(slopes: Callable[[Array], Array], direction: Array) -> tuple[int, ...]:
    """Halve the set of entries that move, keep the half that differs more, until one is left."""
    candidates = np.arange(direction.size)
    while candidates.size > 1:
        halves = np.array_split(candidates, 2)
        errors = []
        for half in halves:
            part = np.zeros(direction.size)
            part[half] = direction.ravel()[half]
            numerical, analytical = slopes(part.reshape(direction.shape))
            error = abs(numerical - analytical)
            errors.append(np.inf if np.isnan(error) else error)
        candidates = halves[int(np.argmax(errors))]
    return tuple(int(k) for k in np.unravel_index(int(candidates[0]), direction.shape))


# --- evaluations ----------------------------------------------------------------------------------


def _evaluate(problem: _Problem) -> list[Array]:
    with no_grad():
        return [_host(output) for output in problem.outputs()]


def _difference(
    problem: _Problem, leaf: _Leaf, numbers: list[int], direction: Array, eps: float
) -> list[Array]:
    """The outputs' central difference for a step of ±eps·direction of one leaf."""
    center = _host(leaf.tensor)
    step = (eps * direction).astype(center.dtype)
    sides = []
    for moved in (center + step, center - step):
        with leaf.holding(moved):
            sides.append(_evaluate(problem))
    return [(sides[0][i].astype(np.float64) - sides[1][i]) / (2 * eps) for i in numbers]


def _backward(
    problem: _Problem, outputs: list[Tensor], numbers: list[int], gradients: list[Tensor]
) -> list[Array | None]:
    """The gradient of each leaf, on the host and checked for shape and dtype; keeps the tape."""
    try:
        # Not Tensor.backward, which casts a gradient of another dtype to the leaf's.
        found = grad(
            [outputs[i] for i in numbers],
            [leaf.tensor for leaf in problem.leaves],
            gradients,
            retain_graph=True,
            allow_unused=True,
        )
    except ShapeError as error:
        raise GradcheckError(f"the backward pass failed: {error}") from error
    result: list[Array | None] = []
    for leaf, gradient in zip(problem.leaves, found, strict=True):
        if gradient is not None and gradient.dtype != leaf.tensor.dtype:
            raise GradcheckError(
                f"the gradient of {leaf.label} has dtype {gradient.dtype}, expected the dtype of "
                f"the input, {leaf.tensor.dtype}"
            )
        result.append(None if gradient is None else _host(gradient))
    return result


def _random_direction(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Entries of either sign and of size 0.5 to 1.5: none so small that it would hide an error."""
    signs: Array = rng.integers(0, 2, size=shape) * 2.0 - 1.0
    return signs * rng.uniform(0.5, 1.5, size=shape)


def _like(output: Tensor, values: Array) -> Tensor:
    """A Tensor with a copy of `values`, of the dtype and on the device of `output`."""
    return Tensor(array_module(output.array).array(values, dtype=output.dtype))


def _host(tensor: Tensor) -> Array:
    """A copy of a tensor's values as a NumPy array."""
    return np.array(tensor.detach().cpu().numpy())


def _same(a: Array, b: Array, tolerance: float) -> bool:
    """Whether two arrays are equal (NaN equals NaN), or differ by `tolerance` at most."""
    with np.errstate(invalid="ignore"):
        equal = (a == b) | ((a != a) & (b != b))
        if tolerance > 0:
            equal |= abs(a - b) <= tolerance
    return bool(equal.all())
