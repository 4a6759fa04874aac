"""Bugs to plant in autograd and the gradient checker: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
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
        "minidl.autograd.traveling:Traveling.sum",
        "with active(device_of(gradient)):",
        "if True:",
        "tests/test_device.py::test_the_gpu_of_a_tensor_is_made_current",
        "gpu",
    ),
    (
        "gradcheck: compares with half a difference",
        "minidl.autograd.differences:difference",
        "_minus(up, down) / (2 * eps)",
        "_minus(up, down) / eps",
        "tests/autograd/test_gradcheck.py::test_right_function_passes",
    ),
    (
        "gradcheck: NaN passes",
        "minidl.autograd.judge:Check.compare",
        "~(error <= allowed)",
        "error > allowed",
        "tests/autograd/test_gradcheck.py::test_nan_is_wrong",
    ),
    (
        "gradcheck: the module's own buffers are used",
        "minidl.autograd.differences:prepare",
        "copy.deepcopy(func)",
        "func",
        "tests/autograd/test_gradcheck.py::test_module_in_float32_is_checked_in_float64",
    ),
    (
        "gradcheck: the gradient of one number is always 1",
        "minidl.autograd.judge:Check.backward_is_linear",
        "(0.0, -1.0, 2.0, self.huge, -1 / self.huge)",
        "(1.0,)",
        "tests/autograd/test_gradcheck_verdicts.py::test_wrong_backward_is_caught",
    ),
    (
        "gradcheck: a steep curve passes for a kink",
        "minidl.autograd.differences:kink_at",
        "far < 1.5 * near",
        "True",
        "tests/autograd/test_gradcheck_verdicts.py::test_a_wrong_gradient_of_a_steep_curve",
    ),
    (
        "gradcheck: one wrong entry is lost among many",
        "minidl.autograd.judge:Check.compare_along",
        "min(self.rtol * abs(numerical), 4 * noise)",
        "self.rtol * abs(numerical)",
        "tests/autograd/test_gradcheck_verdicts.py::test_wrong_backward_is_caught",
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
        "minidl.autograd.traveling:Traveling.send",
        "-sequence",
        "sequence",
        "tests/autograd/test_walk.py::test_diamond_is_walked_once_per_node",
    ),
    (
        "autograd: a walk for some inputs visits everything",
        "minidl.autograd.visits:Visits.__init__",
        "inputs is None or target in self.asked or target in self.passed",
        "True",
        "tests/autograd/test_walk.py::test_only_what_leads_to_the_input_is_visited_and_freed",
    ),
    (
        "autograd: a leaf's hooks run before its gradient is complete",
        "minidl.autograd.visits:Visits.__init__",
        "node.sequence - after",
        "node.sequence + 1000",
        "tests/autograd/test_hooks.py::test_hook_of_a_leaf_sees_the_whole_gradient_once",
    ),
    (
        "autograd: what a hook returns is ignored",
        "minidl.autograd.traveling:_replaced",
        "return new",
        "return old",
        "tests/autograd/test_hooks.py::test_hook_replaces_the_gradient_of_a_result",
    ),
]
