"""Bugs to plant in autograd and the gradient checker: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, what takes its place, the tests that must go red[, where they run].
BUGS = [
    (
        "gpu: a second GPU's gradients start on the first",
        "minidl.autograd:_seed_gradient",
        "with active(device_of(tensor.array)):",
        "if True:",
        "tests/test_device.py::test_the_gpu_of_a_tensor_is_made_current",
        "gpu",
    ),
    (
        "gpu: gradients of two ways are added on the first GPU",
        "minidl.autograd:_added",
        "with active(device_of(gradient)):",
        "if True:",
        "tests/test_device.py::test_the_gpu_of_a_tensor_is_made_current",
        "gpu",
    ),
    (
        "gradcheck: compares with half a difference",
        "minidl.gradcheck:_difference",
        "(sides[0][i].astype(np.float64) - sides[1][i]) / (2 * eps)",
        "(sides[0][i].astype(np.float64) - sides[1][i]) / eps",
        "tests/test_gradcheck.py::test_right_function_passes",
    ),
    (
        "gradcheck: NaN passes",
        "minidl.gradcheck:_check_jacobian",
        "~(np.abs(found - expected) <= atol + rtol * np.abs(expected))",
        "np.abs(found - expected) > atol + rtol * np.abs(expected)",
        "tests/test_gradcheck.py::test_nan_is_wrong",
    ),
    (
        "gradcheck: the module's own buffers are used",
        "minidl.gradcheck:_prepare",
        "copy.deepcopy(func)",
        "func",
        "tests/test_gradcheck.py::test_module_in_float32_is_checked_in_float64",
    ),
]
