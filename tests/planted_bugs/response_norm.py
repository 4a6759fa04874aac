"""Bugs to plant in local response normalization: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "gpu: response norm reads one channel too many",
        "minidl/kernels/cuda/response_norm.cu:backward_of",
        "values[SIZE - 1] = i + after < depth",
        "values[SIZE - 1] = i + after <= depth",
        "tests/nn/test_response_norm.py::TestLocalResponseNorm::test_layouts",
        "gpu",
    ),
    (
        "gpu: a norm's gradient passes where the ReLU before it gave 0",
        "minidl/kernels/cuda/response_norm.cu:backward_of",
        "passes(values[0], prologue) ? own : A(0)",
        "own",
        "tests/nn/test_fusion.py::test_bits",
        "gpu",
    ),
    (
        "lrn: the cross term of the gradient is dropped",
        "minidl.kernels.cpu.norm_blocks:normalize_backward",
        "np.subtract(direct, s, out=dx)",
        "np.copyto(dx, direct)",
        "tests/nn/test_response_norm.py::test_gradcheck",
    ),
    (
        "lrn: the window misses its last channel",
        "minidl.kernels.cpu.response_norm:_add_windows",
        "if size % 2:\n    terms.append(x[size - 1:])",
        "",
        "tests/nn/test_response_norm.py::test_even_and_odd_sizes",
    ),
    (
        "lrn: windows at the end of a row reach into the next",
        "minidl.kernels.cpu.response_norm:_across_channels.window_sum",
        "wide[:, column] = 0",
        "pass",
        "tests/nn/test_response_norm.py::TestLocalResponseNorm::test_layouts",
    ),
    (
        "lrn: a window of even size is mirrored",
        "minidl.kernels.cpu.response_norm:_across_channels.window_sum",
        "(size // 2, (size - 1) // 2)",
        "((size - 1) // 2, size // 2)",
        "tests/nn/test_response_norm.py::test_window_of_even_size_begins_half_before",
    ),
    (
        "lrn: the backward's window is not mirrored",
        "minidl.kernels.cpu.norm_blocks:normalize_backward",
        "window_sum(np.divide, cross, s, 2 * alpha * beta, s, True)",
        "window_sum(np.divide, cross, s, 2 * alpha * beta, s, False)",
        "tests/nn/test_response_norm.py::test_gradcheck",
    ),
    (
        "lrn: alpha is not divided by the size",
        "minidl.kernels.cpu.response_norm:forward.block",
        "alpha / size",
        "alpha",
        "tests/nn/test_response_norm.py::test_published_size_of_the_effect",
    ),
    (
        "lrn: windows cross the border between groups",
        "minidl.kernels.cpu.response_norm:forward",
        "(_rows(x, groups), _rows(y, groups))",
        "(_rows(x, 1), _rows(y, 1))",
        "tests/nn/test_response_norm.py::test_groups_are_norms_of_split_channels",
    ),
    (
        "spatial norm: alpha is divided by the size, not its square",
        "minidl.kernels.cpu.spatial_response_norm:forward.some_images",
        "alpha / size ** 2",
        "alpha / size",
        "tests/nn/test_spatial_response_norm.py::TestSpatialResponseNorm::test_layouts",
    ),
    (
        "spatial norm: the backward's window is not mirrored",
        "minidl.kernels.cpu.spatial_response_norm:_within_map.window_sum",
        "(size - 1) // 2 if mirrored else size // 2",
        "size // 2",
        "tests/nn/test_spatial_response_norm.py::test_gradcheck",
    ),
    (
        "fusion: the norm's gradient is not masked",
        "minidl.kernels.cpu.response_norm:backward.block",
        "if prologue:\n    epilogue.gradient_of_block(prologue, own, result)",
        "",
        "tests/nn/test_fusion.py::test_bits",
    ),
    (
        "lrn: the plain code's gradient does not mirror the window",
        "minidl.nn.response_norm:backward",
        "window_sum(g * maps * s ** (-beta - 1), size, mirrored=True)",
        "window_sum(g * maps * s ** (-beta - 1), size)",
        "tests/nn/test_response_norm.py::TestLocalResponseNorm::test_gradcheck",
    ),
]
