"""The standard tests of an operation, generated from the operation and its definition as loops.

A new layer's test file begins with them::

    TestLeakyReLU = operation.standard_tests(
        F.leaky_relu,
        reference.leaky_relu,
        [
            operation.Case((3, 4, 5, 2)),
            operation.Case((2, 3), negative_slope=0.2),
        ],
        modules=[(nn.LeakyReLU(0.2), {"negative_slope": 0.2})],
        torch="leaky_relu",
    )

Tests of what is special about the layer follow.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import helpers
import numpy as np
import pytest
from helpers import Array
from hypothesis import given, settings
from hypothesis import strategies as st

import minidl

DTYPES = helpers.DTYPES
WAYS = ["kernel", "plain"]


class Case:
    """Arguments of an operation.

    Parameters
    ----------
    *inputs : tuple of int, array or None
        A shape stands for random numbers, a floating-point array for its own; both are converted to
        every dtype and differentiated. An array of integers or booleans is passed unchanged. None
        stands for an omitted argument, such as a bias.
    **options
        Keyword arguments.

    Examples
    --------
    A convolution with bias and padding, and a loss with labels::

        Case((2, 3, 6, 5), (4, 3, 3, 3), (4,), padding=1)
        Case((4, 3), np.array([0, 2, 1, 1]), reduction="sum")
    """

    def __init__(self, *inputs: Any, **options: Any) -> None:
        self.inputs, self.options = inputs, options

    def __repr__(self) -> str:
        inputs = [i if i is None or isinstance(i, tuple) else "array" for i in self.inputs]
        return ", ".join(
            [*map(str, inputs), *(f"{name}={value}" for name, value in self.options.items())]
        )

    def with_batch(self, size: int, batched: int) -> Case:
        """Return the case with length `size` along the first axis of its first `batched` inputs."""
        inputs = list(self.inputs)
        for i, shape in enumerate(inputs[:batched]):
            if isinstance(shape, tuple):
                inputs[i] = (size, *shape[1:])
            else:
                inputs[i] = np.resize(shape, (size, *shape.shape[1:]))
        return Case(*inputs, **self.options)


class _Operation:
    """The arguments of :func:`standard_tests`, and how to run and compare them."""

    def __init__(
        self,
        function: Callable[..., Any],
        loops: Callable[..., Any],
        loops_backward: Callable[..., Any] | None,
        values: Callable[..., Array],
        terms: int | Callable[..., int],
    ) -> None:
        self.function, self.loops, self.loops_backward = function, loops, loops_backward
        self.values, self.terms = values, terms

    def arrays(self, case: Case, dtype: Any) -> list[Any]:
        """Return the inputs as arrays, floating-point ones in `dtype`."""
        made: list[Any] = []
        for i, given_ in enumerate(case.inputs):
            if isinstance(given_, tuple):
                made.append(self.values(given_, i, dtype))
            elif given_ is not None and given_.dtype.kind == "f":
                made.append(given_.astype(dtype))
            else:
                made.append(given_)
        return made

    def run(
        self,
        arrays: Sequence[Any],
        options: dict[str, Any],
        device: str,
        grad: Array | None = None,
        wanted: Sequence[bool] | None = None,
        way: str = "kernel",
    ) -> tuple[Any, list[Any], Array]:
        """Return the output, the gradients of the floating-point inputs, and that of the output."""
        leaves = []
        for i, array in enumerate(arrays):
            if array is None or array.dtype.kind != "f":
                leaves.append(None if array is None else minidl.tensor(array, device=device))
            else:
                leaves.append(helpers.leaf(array, device, wanted is None or wanted[i]))
        with minidl.reference() if way == "plain" else nullcontext():
            out = self.function(*leaves, **options)
            assert out.dtype == _floats(arrays)[0].dtype
            if grad is None:
                grad = helpers.values(tuple(out.shape), 99, out.dtype)
            out.backward(helpers.leaf(grad, device, requires_grad=False))
        floating = [x for x, a in zip(leaves, arrays, strict=True) if _is_floating(a)]
        return out, [leaf.grad for leaf in floating], grad

    def expected(
        self, arrays: Sequence[Any], options: dict[str, Any], grad: Array
    ) -> tuple[Array, list[Array]]:
        """Return the output and the gradients in float64, both from the loops if possible."""
        wide = [a.astype(np.float64, order="C") if _is_floating(a) else a for a in arrays]
        wide_grad = grad.astype(np.float64, order="C")
        out = np.asarray(self.loops(*wide, **options))
        if self.loops_backward is None:  # test_gradcheck checks these gradients
            gradients = [helpers.host(g) for g in self.run(wide, options, "cpu", wide_grad)[1]]
        else:
            found = self.loops_backward(wide_grad, *wide, **options)
            gradients = list(found) if isinstance(found, tuple) else [found]
        return out, gradients

    def compare(
        self, arrays: Sequence[Any], options: dict[str, Any], found: tuple[Any, list[Any], Array]
    ) -> None:
        """Compare an output and its gradients with the loops'."""
        out, gradients, grad = found
        right, right_gradients = self.expected(arrays, options, grad)
        shapes = [np.shape(a) for a in arrays]
        terms = self.terms if isinstance(self.terms, int) else self.terms(*shapes, **options)
        helpers.assert_close(out, right, terms)
        for gradient, expected in zip(gradients, right_gradients, strict=False):
            assert gradient.dtype == out.dtype
            # Every number of the output can add a term, itself a result of `terms`.
            helpers.assert_close(gradient, expected, terms + right.size)


def _is_simulated(device: str) -> bool:
    """Whether the device is simulated: there, plain code compiles dozens of kernels per dtype."""
    simulator = sys.modules.get("cupy_on_cpu")
    return device != "cpu" and simulator is not None and simulator.is_installed()


def _is_floating(array: Any) -> bool:
    return array is not None and array.dtype.kind == "f"


def _floats(arrays: Sequence[Any]) -> list[Any]:
    return [array for array in arrays if _is_floating(array)]


def standard_tests(
    function: Callable[..., Any],
    loops: Callable[..., Any],
    cases: Sequence[Case] | dict[str, Case],
    *,
    loops_backward: Callable[..., Any] | None = None,
    any_case: st.SearchStrategy[Case] | None = None,
    examples: int = 100,
    batched: int = 1,
    large: Case | None = None,
    values: Callable[..., Array] = helpers.values,
    terms: int | Callable[..., int] = 8,
    modules: Sequence[tuple[Any, dict[str, Any]]] = (),
    torch: str | None = None,
    launches: tuple[dict[str, int], dict[str, int]] | None = None,
) -> type:
    """Return a class of tests that every operation must pass.

    They compare values and gradients with the loops, in float32 and float64, on the device under
    test, with the kernel and with the plain code of ``minidl.reference()``; in every memory layout
    of each input and of the output's gradient; for an empty batch; in float16. They also check the
    gradients by finite differences, that only the requested gradients are computed, that arguments
    are not modified, and that the bits are the same at any number of threads.

    Parameters
    ----------
    function : callable
        Takes Tensors and options, and returns one Tensor. If it is random, a seed must be among its
        arguments.
    loops : callable
        Takes float64 arrays and the same options, and returns the expected output: usually a
        function from ``tests/reference.py``.
    cases : sequence or dict of Case
        Small cases, because the loops are slow; a dict names them. The first two are run in all
        memory layouts.
    loops_backward : callable, optional
        Takes the output's gradient, then the arguments of `loops`, and returns the gradients of the
        inputs. Without it, gradients are compared with the operation's own in float64.
    any_case : strategy, optional
        Draws further cases for a test over random shapes: ``st.builds(Case, shapes(...))``.
    examples : int, default 100
        Number of cases to draw.
    batched : int, default 1
        Number of leading inputs whose first axis is the batch; 0 omits the tests of batches.
    large : Case, optional
        Arguments large enough for several lanes; by default the first case with a batch of 37.
    values : callable, optional
        ``values(shape, seed, dtype)`` makes random numbers: ``helpers.distinct`` for maxima, others
        for functions that are not defined everywhere.
    terms : int or callable, default 8
        Number of rounded terms in a sum of the output, for the tolerance; or a function of the
        inputs' shapes and the options.
    modules : sequence of pairs, optional
        Modules without parameters, each with the equivalent options of `function`.
    torch : str, optional
        The function's name in ``torch.nn.functional``, where it takes the same options.
    launches : pair of dict, optional
        The number of launches of each GPU kernel, forward and backward, in the first case. The
        test also allows no copies and no waits, and no other kernels for an empty batch.

    Returns
    -------
    type
        Assign it to a name that begins with ``Test``.
    """
    op = _Operation(function, loops, loops_backward, values, terms)
    named = cases if isinstance(cases, dict) else {repr(case): case for case in cases}
    every_case = pytest.mark.parametrize("case", named.values(), ids=named)
    first, *_ = named.values()
    some_cases = dict(list(named.items())[:2])
    every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
    both_ways = pytest.mark.parametrize("way", WAYS)

    class Tests:
        @every_case
        @every_dtype
        @both_ways
        def test_against_loops(self, way: str, dtype: Any, case: Case, device: str) -> None:
            arrays = op.arrays(case, dtype)
            op.compare(arrays, case.options, op.run(arrays, case.options, device, way=way))

        @every_case
        @both_ways
        def test_gradcheck(self, way: str, case: Case, device: str) -> None:
            arguments = [
                helpers.leaf(a, device)
                if _is_floating(a)
                else a
                if a is None
                else minidl.tensor(a, device=device)
                for a in op.arrays(case, np.float64)
            ]
            with minidl.reference() if way == "plain" else nullcontext():
                assert minidl.gradcheck(lambda *args: function(*args, **case.options), arguments)

        @every_case
        @both_ways
        def test_gradients_of_gradients(self, way: str, case: Case, device: str) -> None:
            arguments = [
                a if a is None else minidl.tensor(a, device=device, requires_grad=_is_floating(a))
                for a in op.arrays(case, np.float64)
            ]
            with minidl.reference() if way == "plain" else nullcontext():
                assert minidl.gradgradcheck(
                    lambda *args: function(*args, **case.options), arguments, fast_mode=True
                )

        @pytest.mark.parametrize("case", some_cases.values(), ids=some_cases)
        @every_dtype
        @pytest.mark.parametrize("layout", helpers.LAYOUTS)
        def test_layouts(self, layout: str, dtype: Any, case: Case, device: str) -> None:
            lay = helpers.LAYOUTS[layout]
            arrays = op.arrays(case, dtype)
            for i, array in enumerate(arrays):
                if _is_floating(array) and array.ndim:
                    inputs = [*arrays[:i], lay(array), *arrays[i + 1 :]]
                    op.compare(inputs, case.options, op.run(inputs, case.options, device))
            out, _, grad = op.run(arrays, case.options, device)
            if out.ndim:
                found = op.run(arrays, case.options, device, lay(grad))
                op.compare(arrays, case.options, found)

        @every_case
        def test_float16(self, case: Case, device: str) -> None:
            arrays = op.arrays(case, np.float16)
            op.compare(arrays, case.options, op.run(arrays, case.options, device))

        @every_case
        def test_only_requested_gradients(self, case: Case) -> None:
            arrays = op.arrays(case, np.float64)
            _, gradients, grad = op.run(arrays, case.options, "cpu")
            places = [i for i, array in enumerate(arrays) if _is_floating(array)]
            for alone, right in zip(places, gradients, strict=True):
                wanted = [i == alone for i in range(len(arrays))]
                found = op.run(arrays, case.options, "cpu", grad, wanted)[1]
                for place, gradient in zip(places, found, strict=True):
                    if place == alone:
                        helpers.assert_close(gradient, helpers.host(right), grad.size)
                    else:
                        assert gradient is None

        def test_no_gradient_leaves_no_tape(self) -> None:
            leaves = [
                minidl.tensor(a) if a is not None else a for a in op.arrays(first, np.float32)
            ]
            assert not function(*leaves, **first.options).requires_grad

        @every_case
        def test_arguments_are_not_modified(self, case: Case, device: str) -> None:
            arrays = op.arrays(case, np.float32)
            copies = [None if a is None else a.copy() for a in arrays]
            grad = op.run(arrays, case.options, device)[2]
            copy = grad.copy()
            op.run(arrays, case.options, device, grad)
            for array, before in zip([*arrays, grad], [*copies, copy], strict=True):
                np.testing.assert_array_equal(array, before)

        @every_dtype
        @both_ways
        def test_empty_batch(self, way: str, dtype: Any, device: str) -> None:
            case = first.with_batch(0, batched)
            arrays = op.arrays(case, dtype)
            out, gradients, _ = op.run(arrays, case.options, device, way=way)
            assert out.dtype == dtype
            for array, gradient in zip(_floats(arrays), gradients, strict=True):
                assert tuple(gradient.shape) == array.shape
                np.testing.assert_array_equal(helpers.host(gradient), 0)

        def test_same_bits_at_any_number_of_threads(self, threads: None) -> None:
            case = large or first.with_batch(37, batched)
            arrays = op.arrays(case, np.float32)
            results = []
            for count in (1, 2, 3):
                minidl.set_num_threads(count)
                out, gradients, _ = op.run(arrays, case.options, "cpu")
                results.append([helpers.host(t) for t in (out, *gradients)])
            for other in results[1:]:
                for one, another in zip(results[0], other, strict=True):
                    np.testing.assert_array_equal(one, another)

        def test_large_against_the_plain_code(self, device: str) -> None:
            """Compare several lanes or blocks, also on a GPU, with the CPU's plain code."""
            case = large or first.with_batch(37, batched)
            arrays = op.arrays(case, np.float32)
            out, gradients, grad = op.run(arrays, case.options, device)
            wide = [a.astype(np.float64) if _is_floating(a) else a for a in arrays]
            right, expected, _ = op.run(
                wide, case.options, "cpu", grad.astype(np.float64), way="plain"
            )
            shapes = [np.shape(a) for a in arrays]
            count = terms if isinstance(terms, int) else terms(*shapes, **case.options)
            helpers.assert_close(out, helpers.host(right), count)
            for gradient, own in zip(gradients, expected, strict=True):
                helpers.assert_close(gradient, helpers.host(own), count + grad.size)

        @settings(max_examples=examples)
        @given(
            case=any_case if any_case is not None else st.none(),
            layout=st.sampled_from(sorted(helpers.LAYOUTS)),
            dtype=st.sampled_from(DTYPES),
        )
        def test_any_case(self, case: Any, layout: str, dtype: Any, device: str) -> None:
            lay = helpers.LAYOUTS[layout]
            arrays = [lay(a) if _is_floating(a) and a.ndim else a for a in op.arrays(case, dtype)]
            for way in WAYS[:1] if _is_simulated(device) else WAYS:
                op.compare(arrays, case.options, op.run(arrays, case.options, device, way=way))

        def test_modules_equal_the_function(self, device: str) -> None:
            arrays = op.arrays(first, np.float32)
            inputs = [minidl.tensor(a, device=device) for a in arrays if a is not None]
            for module, options in modules:
                expected = helpers.host(function(*inputs, **options))
                np.testing.assert_array_equal(helpers.host(module(*inputs)), expected)

        @pytest.mark.parametrize("is_empty", [False, True], ids=["", "empty"])
        def test_launches(self, is_empty: bool, gpu: str, simulator: Any) -> None:
            case = first.with_batch(0, batched) if is_empty else first
            for _ in range(2):  # the first round compiles the kernels
                leaves = [helpers.as_layers_leave(a, gpu) for a in op.arrays(case, np.float32)]
                for leaf in leaves:
                    leaf.requires_grad_()
                with simulator.count() as forward:
                    out = function(*leaves, **case.options)
                grad = helpers.values(tuple(out.shape), 99, np.float32)
                grad = helpers.as_layers_leave(grad, gpu)
                with simulator.count() as backward:
                    out.backward(grad)
            for used, kernels in zip((forward, backward), launches or ({}, {}), strict=True):
                if is_empty:  # at most the parameters' gradients, which are 0
                    assert used.kernels.items() <= kernels.items()
                else:
                    assert dict(used.kernels) == kernels
                assert used.d2h == used.h2d == used.d2d == used.syncs == 0
            for result in (out, leaves[0].grad):  # in the layout that the next layer expects
                if result.ndim == 4:
                    assert result.array.transpose(1, 0, 2, 3).flags.c_contiguous

        @every_case
        def test_same_as_pytorch(self, case: Case) -> None:
            module = pytest.importorskip("torch")
            arrays = op.arrays(case, np.float64)
            out, gradients, grad = op.run(arrays, case.options, "cpu")
            theirs = [
                None if a is None else module.tensor(a, requires_grad=_is_floating(a))
                for a in arrays
            ]
            expected = getattr(module.nn.functional, str(torch))(*theirs, **case.options)
            expected.backward(module.tensor(grad))
            helpers.assert_close(out, expected.detach().numpy(), 8 + grad.size)
            floating = [t for t in theirs if t is not None and t.requires_grad]
            for gradient, leaf in zip(gradients, floating, strict=True):
                helpers.assert_close(gradient, leaf.grad.numpy(), 8 + grad.size)

    inapplicable = {
        "test_empty_batch": not batched,
        "test_same_bits_at_any_number_of_threads": not (batched or large),
        "test_large_against_the_plain_code": not (batched or large),
        "test_any_case": any_case is None,
        "test_modules_equal_the_function": not modules,
        "test_same_as_pytorch": torch is None,
        "test_launches": launches is None,
    }
    for name, is_omitted in inapplicable.items():
        if is_omitted:
            delattr(Tests, name)
    Tests.__doc__ = f"The standard tests of {getattr(function, '__name__', 'an operation')}."
    return Tests


def shapes(
    fewest_axes: int = 0, most_axes: int = 4, longest: int = 5, shortest: int = 0
) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw a shape; an axis may have length 0 unless `shortest` is larger."""
    lengths = st.lists(st.integers(shortest, longest), min_size=fewest_axes, max_size=most_axes)
    return lengths.map(tuple)
