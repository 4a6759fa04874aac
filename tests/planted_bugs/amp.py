"""Bugs to plant in mixed precision: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "amp: a parameter's copy outlives a change of it",
        "minidl/autograd/precision.py:Casts._cast",
        "kept[1] != tensor.version[0]",
        "False",
        "tests/test_amp.py::test_a_parameter_is_cast_once_until_it_changes",
        "gpu",
    ),
    (
        "amp: a step with infinite gradients is taken",
        "minidl/kernels/cuda/unscale.cu:unscale",
        "if (bad) found[0] = 1;",
        "if (bad) found[0] = 0;",
        "tests/test_amp.py::test_a_gradient_too_large_for_float16_is_found",
        "gpu",
    ),
    (
        "amp: the scale never rises again",
        "minidl/amp.py:GradScaler.update",
        "self._growth_tracker += 1",
        "self._growth_tracker += 0",
        "tests/test_amp.py::test_overflow_skips_the_step_and_the_scale_falls_and_rises",
    ),
    (
        "gpu: sums of rows of float16 are float16",
        "minidl/kernels/cuda/linear.cu:sum_rows",
        "A sum = 0;",
        "T sum = 0;",
        "tests/test_amp.py::test_sums_over_many_rows_are_added_up_in_float32",
        "gpu",
    ),
]
