"""Bugs to plant in autograd and the gradient checker: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, what takes its place, the tests that must go red[, where they run].
BUGS = [
    (
        "gpu: a second GPU's gradients start on the first",
        "minidl.autograd.checks:_seed",
        "with active(device_of(tensor.array)):",
        "if True:",
        "tests/test_device.py::test_the_gpu_of_a_tensor_is_made_current",
        "gpu",
    ),
    (
        "gpu: gradients of two paths are added on the first GPU",
        "minidl.autograd.walk:_sum",
        "with active(device_of(gradient)):",
        "if True:",
        "tests/test_device.py::test_the_gpu_of_a_tensor_is_made_current",
        "gpu",
    ),
    (
        "gradcheck: compares with half a difference",
        "minidl.autograd.gradcheck:_difference",
        "(sides[0][i].astype(np.float64) - sides[1][i]) / (2 * eps)",
        "(sides[0][i].astype(np.float64) - sides[1][i]) / eps",
        "tests/autograd/test_gradcheck.py::test_right_function_passes",
    ),
    (
        "gradcheck: NaN passes",
        "minidl.autograd.gradcheck:_check_jacobian",
        "~(np.abs(found - expected) <= atol + rtol * np.abs(expected))",
        "np.abs(found - expected) > atol + rtol * np.abs(expected)",
        "tests/autograd/test_gradcheck.py::test_nan_is_wrong",
    ),
    (
        "gradcheck: the module's own buffers are used",
        "minidl.autograd.gradcheck:_prepare",
        "copy.deepcopy(func)",
        "func",
        "tests/autograd/test_gradcheck.py::test_module_in_float32_is_checked_in_float64",
    ),
    (
        "autograd: every gradient may be overwritten",
        "minidl.autograd.ownership:is_ours_alone",
        "array <= _ONE_LIST[0]",
        "True",
        "tests/autograd/test_walk.py::test_grad_of_an_intermediate_is_not_overwritten",
    ),
    (
        "autograd: the walk takes the earliest node first",
        "minidl.autograd.walk:_Traveling.send",
        "-target.sequence",
        "target.sequence",
        "tests/autograd/test_walk.py::test_diamond_is_walked_once_per_node",
    ),
]
