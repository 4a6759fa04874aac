"""Bugs to plant in minimal filtering: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, what takes its place, the tests that must go red[, where they run].
BUGS = [
    (
        "winograd: badly chosen points",
        "minidl.nn.winograd:",
        "('0', '3/2', '-3/2', '2/3', '-2/3')",
        "('0', '3', '-3', '4', '-4')",
        "tests/nn/test_winograd.py::test_the_points_amplify_little",
    ),
    (
        "winograd: the input's gradient with kernels that are not turned",
        "minidl.nn.winograd:_transform_kernels",
        "both[:, ::-1]",
        "both[:, ::1]",
        "tests/nn/test_winograd.py::test_against_loops",
    ),
    (
        "winograd: a lane's later runs overwrite the first",
        "minidl.nn.winograd:weight_gradient.lane",
        "total += more",
        "total[...] = more",
        "tests/nn/test_winograd.py::test_lanes_of_several_runs",
    ),
    (
        "winograd: the wrong part of the blocks is the kernel",
        "minidl.nn.winograd:weight_gradient",
        "whole[:, :, :shape[2], :shape[3]]",
        "whole[:, :, -shape[2]:, -shape[3]:]",
        "tests/nn/test_winograd.py::test_against_loops",
    ),
    (
        "winograd: one axis' lanes keep their last images' weights only",
        "minidl.nn.winograd:weight_gradient_one_axis.lane",
        "sums[number] += np.matmul(values.swapaxes(1, 2), grad_values)",
        "sums[number] = np.matmul(values.swapaxes(1, 2), grad_values)",
        "tests/nn/test_winograd.py::test_lanes_of_several_runs",
    ),
    (
        "winograd: one axis for kernels that are the wrong way round",
        "minidl.nn.winograd:_values_one_axis",
        "_windows(rows.reshape(t * down * n, -1), 1, ow, width * depth, depth)",
        "_windows(rows.reshape(t * down * n, -1), 1, ow, width * depth, width)",
        "tests/nn/test_winograd.py::test_one_axis_against_loops",
    ),
    (
        "winograd: one axis where its passes cost more than it saves",
        "minidl.nn.winograd:suits_one_axis",
        "per_group * oh",
        "0",
        "tests/nn/test_winograd.py::test_what_does_not_suit_one_axis",
    ),
    (
        "one pass: bands of winograd's tiles are not rectified",
        "minidl.nn.winograd:_finish",
        "if relu:\n    rectify(y, y)",
        "if relu and len(y) > 1:\n    rectify(y, y)",
        "tests/nn/test_fusion.py::test_bits",
    ),
]
