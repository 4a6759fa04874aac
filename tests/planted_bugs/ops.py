"""Bugs to plant in the operations and their kernels: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "ops: a gradient is not summed over broadcast axes of length 1",
        "minidl.ops.operands:unbroadcast",
        "length == 1 and grad.shape[extra + axis] != 1",
        "False",
        "tests/ops/test_arithmetic.py::test_binary_gradient",
    ),
    (
        "ops: a change in place goes unnoticed",
        "minidl.ops.inplace:changed",
        "tensor.version[0] += 1",
        "pass",
        "tests/autograd/test_in_place.py::test_change_of_a_saved_argument_names_it",
    ),
    (
        "ops: a comparison in place keeps the gradient",
        "minidl.ops.inplace:store",
        "result = result.to(dtype=tensor.dtype)",
        "pass",
        "tests/ops/test_arguments.py::test_a_comparison_in_place_ends_the_gradient",
    ),
    (
        "ops: integers meet in one dtype before they are divided",
        "minidl.ops.arithmetic:Div.forward",
        'c, d = (v.astype(default_dtype()) if hasattr(v, "dtype") else v for v in (a, b))',
        'c, d = (v.astype(default_dtype()) if hasattr(v, "dtype") else v for v in (c, d))',
        "tests/ops/test_arguments.py::test_what_fits_is_computed",
    ),
    (
        "ops: a descending sort is not stable",
        "minidl.ops.sorting:_argsort_numpy",
        "np.flip(array.shape[axis] - 1 - back, axis)",
        "np.flip(np.argsort(array, axis=axis, kind='stable'), axis)",
        "tests/ops/test_sorting.py::test_sorting_is_stable",
    ),
    (
        "gpu: the first of several values for an element stays",
        "minidl/kernels/cuda/put.cu:",
        "j < n && place[j] == here",
        "j < i + 1",
        "tests/ops/test_index.py::test_writes_to_one_place_keep_their_order",
        "gpu",
    ),
    (
        "gpu: a sort is not stable",
        "minidl/kernels/cuda/sort.cu:merge_runs",
        "(right && keys[row + half] == key)",
        "keys[row + half] == key",
        "tests/ops/test_sorting.py::test_sorting_anything",
        "gpu",
    ),
    (
        "ops: a list is written by way of float32",
        "minidl.ops.index:assign",
        "as_tensor(value, dtype=input.dtype, device=input.device)",
        "as_tensor(value, device=input.device)",
        "tests/ops/test_index.py::test_what_is_no_tensor_is_converted_once",
    ),
    (
        "ops: a group norm's result shares the memory of what it saves",
        "minidl.nn.group_norm:forward",
        "normalized.copy()",
        "normalized",
        "tests/nn/test_group_norm.py::test_a_result_without_scale_and_shift_may_be_overwritten",
    ),
    (
        "float16: softmax's gradient follows from the rounded result",
        "minidl.nn.softmax:SoftmaxFunction.forward",
        "ctx.save_for_backward(y)",
        "ctx.save_for_backward(rounded_like(y, x))",
        "tests/conformance/test_half_and_double.py",
    ),
    (
        "float16: products of a batch are rounded before they are added up",
        "minidl.ops.products:Matmul.backward",
        "grad.dtype == float16 and isinstance(grad, np.ndarray)",
        "False",
        "tests/conformance/test_half_and_double.py",
    ),
    (
        "float16: a quotient's slope overflows",
        "minidl.ops.arithmetic:Div.backward",
        "widened(grad, a, b)",
        "*widened(grad), a, b",
        "tests/conformance/test_half_and_double.py",
    ),
]
