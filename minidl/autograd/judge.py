"""Check a ``backward``, minidl's or a user's, against differences of its forward.

A backward pass must compute ``vᵀJ`` for any weights ``v`` of the outputs, where
``J[k, j] = ∂out_k / ∂in_j`` is the Jacobian. This has two parts, and both are checked.

**The numbers are right.** Differences of the forward (``differences.py``) give ``J``.

* For *small* problems the whole Jacobian is compared, entry by entry: ``2·numel(in)`` forward
  passes and ``numel(out)`` backward passes, each with a single 1 in ``v``.
* For *large* ones the number ``vᵀJu`` is compared for a few random ``v`` and ``u``. If it differs,
  a binary search over the entries that ``u`` moves finds a wrong one: among a million entries in
  twenty steps.

**The backward is linear and has no side effects.** ``vᵀJ`` for random weights of either sign, tiny
and huge, must follow from the single rows. It must not depend on the memory layout of ``v`` or the
inputs, on which other gradients are wanted, or on other calls, and nothing may be overwritten. A
backward that ignores ``v`` passes the first part if the output is one number; it fails this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ..device import Array, array_module
from ..errors import ArgumentError, GradcheckError
from ..tensor import Tensor
from .differences import (
    Leaf,
    Problem,
    Slopes,
    backwards,
    difference,
    host,
    jacobian,
    kink_at,
    plain,
    spread_out,
    transposed,
    units,
)
from .modes import no_grad
from .walk import grad

__all__: list[str] = []

# The whole Jacobian is compared up to this many entries, random directions above it.
FULL_JACOBIAN_LIMIT = 2**14
# Errors may cancel by accident along one direction, but not along three.
DIRECTIONS = 3
# After this many kinks along one direction, the search for wrong entries is given up.
MOST_KINKS = 16
SEED = 20120930


def differentiable(outputs: list[Tensor]) -> list[int]:
    """Return the numbers of the outputs that have gradients."""
    return [i for i, out in enumerate(outputs) if out.requires_grad and out.dtype.kind == "f"]


#: One array for each differentiable output, or None for a gradient that is left out.
Weights = Sequence[Array | None]


@dataclass
class Check:
    """A check; see :func:`~minidl.autograd.gradcheck` for the settings."""

    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    undefined: bool
    dtypes: bool
    fast_mode: bool | None
    kinks: list[str] = field(default_factory=list)

    def run(self, problem: Problem, raise_exception: bool, subsets: bool = True) -> bool:
        if not self.eps > 0:
            raise ArgumentError(f"eps must be greater than 0, got {self.eps}")
        self.problem, self.leaves = problem, problem.leaves
        self.rng = np.random.default_rng(SEED)
        try:
            with np.errstate(all="ignore"):
                self.everything(subsets)
        except GradcheckError:
            if raise_exception:
                raise
            return False
        return True

    def everything(self, subsets: bool) -> None:
        self.forward_is_deterministic()
        outputs = self.problem.outputs()
        self.problem.choose(outputs, differentiable(outputs))
        if not self.problem.numbers:
            self.nothing_depends(outputs)
            return
        self.shapes = [tuple(outputs[i].shape) for i in self.problem.numbers]
        self.measure_precision(outputs)
        self.recording_changes_nothing(outputs)
        self.backward_is_clean(outputs)
        entries_in = sum(leaf.tensor.numel() for leaf in self.leaves)
        entries_out = sum(int(np.prod(shape)) for shape in self.shapes)
        fast = self.fast_mode
        if fast is None:
            fast = entries_in * entries_out > FULL_JACOBIAN_LIMIT
        if fast:
            self.along_directions(outputs)
        claims = None if fast else self.whole_jacobian(outputs)
        self.backward_is_linear(outputs, claims)
        self.layouts_do_not_matter()
        self.calls_share_nothing()
        if subsets and len(self.leaves) > 1:
            self.each_gradient_alone()
        if self.kinks:
            more = f" ({len(self.kinks) - 1} more like it)" if len(self.kinks) > 1 else ""
            raise GradcheckError(self.kinks[0] + more)

    def nothing_depends(self, outputs: list[Tensor]) -> None:
        """If no output has a gradient, all differences must be 0."""
        floats = [i for i, output in enumerate(outputs) if output.dtype.kind == "f"]
        self.problem.choose(outputs, floats)
        for leaf in self.leaves:
            direction = random_direction(self.rng, leaf.shape)
            changes = difference(self.problem, leaf, direction, self.eps)
            for i, change in zip(floats, changes, strict=True):
                if not (np.abs(change) <= self.atol).all():
                    raise GradcheckError(
                        f"no output of func requires a gradient, but {self.problem.label(i)} "
                        f"depends on {leaf.label}: the tape was cut (detach, no_grad, or an array "
                        "in place of a Tensor)"
                    )

    def measure_precision(self, outputs: list[Tensor]) -> None:
        """Set how closely two ways to a gradient must agree, and how large weights may be."""
        tensors = [leaf.tensor for leaf in self.leaves] + [outputs[i] for i in self.problem.numbers]
        coarsest = max((np.finfo(tensor.dtype) for tensor in tensors), key=lambda info: info.eps)
        # A step of eps suits values that are known to about eps².
        self.precision = max(float(np.sqrt(coarsest.eps)), self.eps)
        exponent = coarsest.maxexp if self.eps < 1e-4 else min(coarsest.maxexp, 128)
        # float64: 2^±153, which float32 can't hold. A power of two changes no other bit.
        self.huge = 2.0 ** (exponent * 15 // 100)

    # --- No side effects --------------------------------------------------------------------------

    def forward_is_deterministic(self) -> None:
        first, second = (self.problem.evaluate() for _ in range(2))
        for i, (a, b) in enumerate(zip(first, second, strict=True)):
            if a.shape != b.shape or not _same(a, b, self.nondet_tol):
                raise GradcheckError(
                    f"func is not deterministic: its {self.problem.label(i)} differs between two "
                    "calls with the same inputs. Put modules with dropout into eval() mode, or "
                    "call minidl.manual_seed inside func"
                )

    def recording_changes_nothing(self, outputs: list[Tensor]) -> None:
        try:
            with no_grad():
                unrecorded = self.problem.outputs()
        except Exception:  # func itself computes gradients or registers hooks
            return
        self.same_outputs(unrecorded, outputs, "where gradients are recorded")

    def same_outputs(self, some: list[Tensor], others: list[Tensor], when: str) -> None:
        """Raise an error if outputs differ by more than rounding."""
        pairs = [(host(a), host(b)) for a, b in zip(some, others, strict=True)]
        # an output may be nothing but rounding
        allowed = self.precision * _size([b for _, b in pairs])
        for i, (a, b) in enumerate(pairs):
            if a.shape != b.shape or not _same(a, b, allowed):
                raise GradcheckError(f"func's {self.problem.label(i)} differs {when}")

    def backward_is_clean(self, outputs: list[Tensor]) -> None:
        """Check that backward passes over one tape give the same bits and overwrite nothing.

        Before the third, `func` runs at another point, which must not change what it saved here.
        """
        numbers, weights = self.problem.numbers, self.random_weights()
        gradients = [like(outputs[i], w) for i, w in zip(numbers, weights, strict=True)]
        label = self.problem.label
        watched = [
            *((f"the gradient of {label(i)}", g) for i, g in zip(numbers, gradients, strict=True)),
            *((leaf.label, leaf.tensor) for leaf in self.leaves),
            *((label(i), outputs[i]) for i in numbers),
        ]
        before = [tensor.array.copy() for _, tensor in watched]
        runs = []
        for run in range(3):
            if run == 2:
                for leaf in self.leaves:
                    self.problem.at(leaf, self.eps * random_direction(self.rng, leaf.shape))
            runs.append(self.backward(outputs, gradients))
            for (what, tensor), array in zip(watched, before, strict=True):
                if not _same(tensor.array, array, 0.0):
                    raise GradcheckError(f"the backward pass changed {what} in place")
        for what, (one, other) in zip(_AGAIN, pairwise(runs), strict=True):
            for leaf, a, b in zip(self.leaves, one, other, strict=True):
                if not _same(a, b, self.nondet_tol):
                    raise GradcheckError(
                        f"the gradient of {leaf.label} differs between two backward passes over "
                        f"the same tape: {what}"
                    )

    # --- The numbers ------------------------------------------------------------------------------

    def whole_jacobian(self, outputs: list[Tensor]) -> list[Array]:
        """Compare all entries; return the backward's, for each leaf (entries in, entries out)."""
        rows: list[list[Array]] = []
        for position, shape in enumerate(self.shapes):
            others: list[Array | None] = [
                None if self.undefined else np.zeros(other) for other in self.shapes
            ]
            for unit in units(shape):
                others[position] = unit
                rows.append([g.ravel() for g in self.backward(outputs, others)])
        claims = []
        for i, leaf in enumerate(self.leaves):
            empty = np.zeros((leaf.tensor.numel(), 0))
            claims.append(np.stack([row[i] for row in rows], 1).astype(float) if rows else empty)
            self.compare(leaf, claims[-1])
        return claims

    def compare(self, leaf: Leaf, found: Array) -> None:
        """Raise an error if a leaf's part of the Jacobian is wrong; note kinks."""
        if not found.size:
            return
        parts = jacobian(self.problem, leaf, self.eps)
        numerical = np.concatenate([part.reshape(len(found), -1) for part in parts], 1)
        error = np.abs(found - numerical)
        allowed = self.atol + self.rtol * np.abs(numerical)
        wrong = ~(error <= allowed)  # NaN is always wrong
        excess = np.where(np.isnan(error), np.inf, error)
        looks: dict[int, Any] = {}
        for flat in np.flatnonzero(wrong)[np.argsort(-excess[wrong], kind="stable")]:
            j, k = divmod(int(flat), found.shape[1])
            where = np.unravel_index(j, leaf.shape)
            if j not in looks:
                unit = np.zeros(leaf.shape)
                unit[where] = 1.0
                looks[j] = kink_at(self.problem, leaf, unit, self.eps, self.atol)
            position, index = self.locate(k)
            kink = looks[j](lambda changes, p=position, i=index: float(changes[p][i]))
            if kink is None and np.isnan(found[j, k]):  # 0 · inf of an output at its edge?
                kink = looks[j](lambda changes: sum(float(c.sum()) for c in changes))
            at = f"at input index {plain(where)}, output index {index}"
            name = self.problem.label(self.problem.numbers[position])
            if kink is not None and kink.explains(found[j, k], allowed[j, k]):
                self.note_kink(leaf, f"{at} of {name}", kink, found[j, k])
                continue
            raise GradcheckError(
                f"wrong gradient of {name} (shape {self.shapes[position]}) with respect to "
                f"{leaf.label} (shape {leaf.shape}): {at}, numerical {numerical[j, k]:.9g}, "
                f"analytical {found[j, k]:.9g}, difference {error[j, k]:.3g} (allowed "
                f"{self.atol:g} + {self.rtol:g}·|numerical|); {int(wrong.sum())} of {wrong.size} "
                f"entries differ{_outside(kink)}"
            )

    def locate(self, k: int) -> tuple[int, tuple[int, ...]]:
        """Return the position of an output, and the index in it, of number `k` of all outputs."""
        for position, shape in enumerate(self.shapes):
            size = int(np.prod(shape))
            if k < size:
                return position, plain(np.unravel_index(k, shape))
            k -= size
        raise IndexError(k)

    def note_kink(self, leaf: Leaf, where: str, kink: Any, gradient: float) -> None:
        self.kinks.append(
            f"{leaf.label} (shape {leaf.shape}) {where} can't be judged: {kink}. Backward says "
            f"{gradient:.6g}, which lies between both and may well be right. Move the input away "
            f"from the kink, by more than 16·eps = {16 * self.eps:g}"
        )
        if not np.isfinite(gradient):  # nothing else can be checked
            raise GradcheckError(self.kinks[-1])

    def along_directions(self, outputs: list[Tensor]) -> None:
        """Compare the slopes of random sums of the outputs along random directions."""
        for _ in range(DIRECTIONS):
            weights = self.random_weights()
            for leaf, claimed in zip(self.leaves, self.backward(outputs, weights), strict=True):
                slopes = Slopes(self.problem, leaf, self.eps, weights, claimed)
                direction = random_direction(self.rng, leaf.shape)
                for _ in range(MOST_KINKS):
                    if not self.compare_along(slopes, direction):
                        break

    def compare_along(self, slopes: Slopes, direction: Array) -> bool:
        """Compare along a direction; return whether a kink was found and removed from it."""
        numerical, found, noise = slopes.along(direction)
        error = abs(numerical - found)
        # Where the sum is known better than rtol, be stricter: rtol would hide one wrong entry.
        if error <= self.atol + min(self.rtol * abs(numerical), 4 * noise):
            return False
        leaf, index = slopes.leaf, slopes.worst_entry(direction)
        unit = np.zeros(leaf.shape)
        unit[index] = 1.0
        expected_there, found_there, _ = slopes.along(unit)
        error_there = abs(expected_there - found_there)
        allowed_there = self.atol + self.rtol * abs(expected_there)
        if error <= self.atol + self.rtol * abs(numerical) and error_there <= allowed_there:
            return False
        kink = kink_at(self.problem, leaf, unit, self.eps, self.atol)(slopes.weigh)
        if kink is not None and kink.explains(found_there, allowed_there):
            self.note_kink(leaf, f"at input index {index}", kink, found_there)
            direction[index] = 0.0
            return True
        raise GradcheckError(
            f"wrong gradient of the outputs' weighted sum with respect to {leaf.label} (shape "
            f"{leaf.shape}): along a random direction numerical {numerical:.9g}, analytical "
            f"{found:.9g}, difference {error:.3g} (allowed {self.atol:g} + "
            f"{self.rtol:g}·|numerical|). The search for the entry ends at input index {index}: "
            f"numerical {expected_there:.9g}, analytical {found_there:.9g}, difference "
            f"{error_there:.3g}{_outside(kink)}"
        )

    # --- Linear, and independent of anything else -------------------------------------------------

    def backward_is_linear(self, outputs: list[Tensor], claims: list[Array] | None) -> None:
        """Check linearity; `claims` is the Jacobian that backward gave, None if unknown."""
        mixed = self.random_weights()
        spread = [g * 10.0 ** self.rng.uniform(-3, 3, g.shape) for g in self.random_weights()]
        trials = {
            "random weights": mixed,
            "weights of many sizes": spread,
            "positive weights": [np.abs(g) for g in self.random_weights()],
            "equal weights": [np.ones(shape) for shape in self.shapes],  # as y.sum() has
            **{what: _partly(mixed, part) for what, part in _PARTS.items()},  # as y[0].sum() has
        }
        found = {what: self.backward(outputs, weights) for what, weights in trials.items()}
        for what, weights in trials.items():
            if claims is None:  # additive?
                sums = zip(found[what], found["random weights"], strict=True)
                what, expected = f"{what} + random weights", [a + b for a, b in sums]
                weights = [a + b for a, b in zip(weights, mixed, strict=True)]
            else:
                flat = np.concatenate([g.ravel() for g in weights])
                expected = [
                    (claim @ flat).reshape(leaf.shape)
                    for claim, leaf in zip(claims, self.leaves, strict=True)
                ]
            self.expect(_NOT_LINEAR + what, self.backward(outputs, weights), expected, weights)
        for what in ("random weights", "positive weights"):
            weights = trials[what]
            for factor in (0.0, -1.0, 2.0, self.huge, -1 / self.huge):
                scaled = [factor * g for g in weights]
                expected = [factor * g for g in found[what]]
                self.expect(
                    f"{_NOT_LINEAR}{factor:g} · {what}",
                    self.backward(outputs, scaled), expected, scaled,
                )  # fmt: skip

    def layouts_do_not_matter(self) -> None:
        """Check other memory layouts of the gradients and of the inputs.

        Layouts that `func` refuses are skipped.
        """
        weights = self.random_weights()
        outputs = self.problem.outputs()
        expected = self.backward(outputs, weights)
        for what, layout in _LAYOUTS.items():
            found = self.backward(outputs, weights, layout, f" with a gradient {what}")
            message = f"differs when the gradient of the output is {what} in memory"
            self.expect(message, found, expected, weights)
        found = self.backward([output * 1 for output in outputs], weights)
        self.expect("differs when backward may overwrite its gradient", found, expected, weights)
        ones = [np.ones(shape) for shape in self.shapes]
        found = self.backward(outputs, ones, _repeated, " with a gradient that repeats one number")
        message = "differs when the gradient of the output repeats one number (stride 0)"
        self.expect(message, found, self.backward(outputs, ones), ones)
        for what, layout in _LAYOUTS.items():
            with ExitStack() as stack:
                for leaf in self.leaves:
                    stack.enter_context(leaf.holding(layout(leaf.tensor.array)))
                try:
                    moved = self.problem.outputs()
                except Exception:  # such as that of view()
                    continue
                self.same_outputs(moved, outputs, f"when the inputs are {what} in memory")
                found = self.backward(moved, weights, when=f" with inputs {what}")
            message = f"differs when the inputs are {what} in memory"
            self.expect(message, found, expected, weights)

    def calls_share_nothing(self) -> None:
        """Check that two calls of `func` on one tape share nothing that they saved or return."""
        weights = self.random_weights()
        calls = [self.problem.outputs() for _ in range(2)]
        one = self.backward(calls[0], weights)
        both = self.backward(calls[0] + calls[1], [*weights, *(-3.0 * g for g in weights)])
        expected = [-2.0 * g for g in one]
        self.expect("is not the sum of two calls' on one tape", both, expected, weights)

    def each_gradient_alone(self) -> None:
        """Check that a gradient does not depend on ``ctx.needs_input_grad`` of the others."""
        weights = self.random_weights()
        expected = self.backward(self.problem.outputs(), weights)
        for i, leaf in enumerate(self.leaves):
            for others in (False, True):  # this one alone, all but this one
                wanted = [(j == i) != others for j in range(len(self.leaves))]
                for other, want in zip(self.leaves, wanted, strict=True):
                    other.tensor.requires_grad = want
                try:
                    try:
                        outputs = self.problem.outputs()
                    except Exception:  # func itself computes all of them
                        continue
                    only = f"{'all but ' if others else 'only '}{leaf.label}"
                    when = f" where {only} requires a gradient"
                    found = self.backward(outputs, weights, when=when)
                finally:
                    for other in self.leaves:
                        other.tensor.requires_grad = True
                pairs = zip(expected, wanted, strict=True)
                kept = [gradient if want else np.zeros_like(gradient) for gradient, want in pairs]
                self.expect(f"differs where {only} requires a gradient", found, kept, weights)

    def expect(
        self, what: str, found: list[Array], expected: list[Array], weights: Weights
    ) -> None:
        """Raise an error if gradients differ by more than rounding.

        A gradient may be nothing but rounding (of a bias before a normalization), so the tolerance
        depends on the largest gradient and on the weights.
        """
        allowed = self.precision * (_size(expected) + _size(weights)) + self.nondet_tol
        for leaf, a, b in zip(self.leaves, found, expected, strict=True):
            wrong = ~((np.abs(a - b) <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b)))
            if wrong.any():
                worst = plain(np.unravel_index(int(np.argmax(wrong)), leaf.shape))
                raise GradcheckError(
                    f"the gradient of {leaf.label} (shape {leaf.shape}) {what}: at input index "
                    f"{worst}, expected {b[worst]:.9g}, got {a[worst]:.9g}"
                )

    # --- Helpers ----------------------------------------------------------------------------------

    def random_weights(self) -> list[Array]:
        return [random_direction(self.rng, shape) for shape in self.shapes]

    def backward(
        self,
        outputs: list[Tensor],
        weights: Sequence[Array | Tensor | None],
        layout: Callable[[Array], Array] | None = None,
        when: str = "",
    ) -> list[Array]:
        """Return the gradient of each leaf, on the host; zeros if it has none. Keeps the tape.

        `outputs` are those of one call, or of several in sequence.
        """
        calls = len(weights) // len(self.problem.numbers)
        length = len(outputs) // calls
        chosen = [outputs[c * length + i] for c in range(calls) for i in self.problem.numbers]
        pairs = []
        for output, weight in zip(chosen, weights, strict=True):
            if weight is not None and output.requires_grad:
                seed = weight if isinstance(weight, Tensor) else like(output, weight)
                pairs.append((output, seed if layout is None else Tensor(layout(seed.array))))
        wanted = [leaf for leaf in self.leaves if leaf.tensor.requires_grad]
        found = dict.fromkeys(leaf.label for leaf in wanted)
        if pairs:
            try:
                gradients = grad(
                    [output for output, _ in pairs],
                    [leaf.tensor for leaf in wanted],
                    [seed for _, seed in pairs],
                    retain_graph=True,
                    allow_unused=True,
                    _cast=False,  # to see the dtype that backward returned
                )
            except MemoryError:
                raise
            except Exception as error:
                raise GradcheckError(
                    f"the backward pass failed{when}: {type(error).__name__}: {error}"
                ) from error
            found = dict(zip(found, gradients, strict=True))
        return [self.checked(leaf, found.get(leaf.label)) for leaf in self.leaves]

    def checked(self, leaf: Leaf, gradient: Tensor | None) -> Array:
        if gradient is None:
            return np.zeros(leaf.shape)
        # An operation that promotes or casts returns a wider gradient, which the tape casts.
        forms = [leaf.tensor.dtype, *(dtype for _, dtype in self.problem.forms.values())]
        narrowest = min(dtype.itemsize for dtype in forms)
        right = gradient.dtype.kind == "f" and gradient.dtype.itemsize >= narrowest
        if self.dtypes and not right:
            raise GradcheckError(
                f"the gradient of {leaf.label} has dtype {gradient.dtype}, expected the dtype of "
                f"the input, {leaf.tensor.dtype}"
            )
        return host(gradient)


_AGAIN = (
    "the backward pass is not deterministic, or changes what was saved",
    "another call of func in between changed what this one had saved; save on ctx",
)
_NOT_LINEAR = "is not linear in the gradient of the output, with "
_PARTS: dict[str, Callable[[Array], Array]] = {
    "zeros, but for the weights of one row": lambda g: g[:1],
    "weights and a row of zeros": lambda g: g[1:],
    "weights and a column of zeros": lambda g: g[:, 1:],
    "zeros, but for two weights": lambda g: g.reshape(-1)[:2],
    "weights and as many zeros": lambda g: g.reshape(-1)[::2],
}
_LAYOUTS = {"transposed": transposed, "spread out": spread_out, "backwards": backwards}


def random_direction(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Return entries of either sign and of size 0.5 to 1.5: none is too small to show an error."""
    signs: Array = rng.integers(0, 2, size=shape) * 2.0 - 1.0
    return np.asarray(signs * rng.uniform(0.5, 1.5, size=shape))


def _partly(weights: list[Array], part: Callable[[Array], Array]) -> list[Array]:
    """Return the weights with zeros outside a part of each array."""
    result = [np.zeros_like(g) for g in weights]
    for g, partly in zip(weights, result, strict=True):
        part(np.atleast_2d(partly))[...] = part(np.atleast_2d(g))
    return result


def _repeated(array: Array) -> Array:
    """Return an array of ones that has the memory of one number."""
    module = array_module(array)
    return module.broadcast_to(module.ones((), array.dtype), array.shape)


def like(output: Tensor, values: Array) -> Tensor:
    """Return a Tensor with a copy of `values`, in the dtype and on the device of `output`."""
    return Tensor(array_module(output.array).array(values, dtype=output.dtype))


def _same(a: Array, b: Array, tolerance: float) -> bool:
    """Return whether arrays are equal (NaN equals NaN), or differ by `tolerance` at most."""
    equal = (a == b) | ((a != a) & (b != b))
    if tolerance > 0:
        equal |= abs(a - b) <= tolerance
    return bool(equal.all())


def _size(arrays: Weights) -> float:
    """Return the largest absolute value."""
    return max((float(np.abs(a).max()) for a in arrays if a is not None and a.size), default=0.0)


def _outside(kink: Any) -> str:
    return "" if kink is None else f". {kink}; but backward's value lies outside both".capitalize()
