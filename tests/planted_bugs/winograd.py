"""Bugs to plant in minimal filtering: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "winograd: badly chosen points",
        "minidl.kernels.cpu.winograd_tiles:",
        "('0', '3/2', '-3/2', '2/3', '-2/3')",
        "('0', '3', '-3', '4', '-4')",
        "tests/kernels/cpu/test_winograd.py::test_the_points_amplify_little",
    ),
    (
        "winograd: the input's gradient uses unflipped kernels",
        "minidl.kernels.cpu.winograd:_transform_kernels",
        "both[:, ::-1]",
        "both[:, ::1]",
        "tests/kernels/cpu/test_winograd.py::test_against_loops",
    ),
    (
        "winograd: a lane's later runs overwrite the first",
        "minidl.kernels.cpu.winograd:weight_gradient.lane",
        "total += more",
        "total[...] = more",
        "tests/kernels/cpu/test_winograd.py::test_lanes_of_several_runs",
    ),
    (
        "winograd: the kernel is the wrong part of the blocks",
        "minidl.kernels.cpu.winograd:weight_gradient",
        "whole[:, :, :shape[2], :shape[3]]",
        "whole[:, :, -shape[2]:, -shape[3]:]",
        "tests/kernels/cpu/test_winograd.py::test_against_loops",
    ),
    (
        "winograd: one axis' lanes keep their last images' weights only",
        "minidl.kernels.cpu.winograd_one_axis:weight_gradient.lane",
        "sums[number] += np.matmul(values.swapaxes(1, 2), grad_values)",
        "sums[number] = np.matmul(values.swapaxes(1, 2), grad_values)",
        "tests/kernels/cpu/test_winograd.py::test_lanes_of_several_runs",
    ),
    (
        "winograd: one axis reads windows of the wrong stride",
        "minidl.kernels.cpu.winograd_one_axis:_values",
        "windows_of(rows.reshape(t * down * n, -1), 1, ow, width * depth, depth)",
        "windows_of(rows.reshape(t * down * n, -1), 1, ow, width * depth, width)",
        "tests/kernels/cpu/test_winograd.py::test_one_axis_against_loops",
    ),
    (
        "winograd: one axis where it does not pay off",
        "minidl.kernels.cpu.winograd_one_axis:suits",
        "strips.best(geometry, n, depth, per_group, 1)[0]",
        "columns.cost_of_run(width * depth, per_group) * size * n * ow * oh",
        "tests/kernels/cpu/test_winograd.py::test_shapes_unsuitable_for_one_axis",
    ),
    (
        "strips: the second window's kernel is not shifted",
        "minidl.kernels.cpu.strips:forward",
        "start = j * geometry.stride[1]",
        "start = 0",
        "tests/kernels/cpu/test_strips.py::test_against_loops",
    ),
    (
        "strips: a kernel's gradients are those of its first place",
        "minidl.kernels.cpu.strips:weight_gradient",
        "range(1, b)",
        "range(1, 1)",
        "tests/kernels/cpu/test_strips.py::test_against_loops",
    ),
    (
        "strips: where they cost more than they save",
        "minidl.kernels.cpu.strips:best",
        "b > 1",
        "False",
        "tests/kernels/cpu/test_strips.py::test_how_many_windows",
    ),
    (
        "winograd: the last part of a wide product is missing",
        "minidl.kernels.cpu.blocks:multiply_wide",
        "split(width, -(-width // step))",
        "split(width, -(-width // step))[:-1]",
        "tests/kernels/cpu/test_winograd.py::test_products_that_blas_does_not_pack",
    ),
    (
        "one pass: bands of winograd's tiles are not rectified",
        "minidl.kernels.cpu.winograd_tiles:finish",
        "epilogues.apply(epilogue, inside, y)",
        "epilogues.apply(epilogue if len(y) > 1 else None, inside, y)",
        "tests/nn/test_fusion.py::test_bits",
    ),
]
