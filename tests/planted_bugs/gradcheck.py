"""Bugs to plant in the gradient checker: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, file, text, what takes its place, the tests that must go red.
BUGS = [
    (
        "gradcheck: compares with half a difference",
        "minidl/gradcheck.py",
        "/ (2 * eps)",
        "/ eps",
        ("tests/test_gradcheck.py::test_right_function_passes",),
    ),
    (
        "gradcheck: NaN passes",
        "minidl/gradcheck.py",
        "wrong = ~(np.abs(found - expected) <= atol + rtol * np.abs(expected))",
        "wrong = np.abs(found - expected) > atol + rtol * np.abs(expected)",
        ("tests/test_gradcheck.py::test_nan_is_wrong",),
    ),
    (
        "gradcheck: the module's own buffers are used",
        "minidl/gradcheck.py",
        "copy.deepcopy(func).double()",
        "func.double()",
        ("tests/test_gradcheck.py::test_module_in_float32_is_checked_in_float64",),
    ),
]
