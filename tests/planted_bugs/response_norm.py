"""Bugs to plant in local response normalization: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, what takes its place, the tests that must go red[, where they run].
BUGS = [
    (
        "gpu: response norm reads a channel too many",
        "minidl.nn.normalization:cuda.across_backward_of",
        "values[SIZE - 1] = i + after < depth",
        "values[SIZE - 1] = i + after <= depth",
        "tests/nn/test_normalization.py::test_layouts",
        "gpu",
    ),
    (
        "gpu: the gradient passes where ReLU before a norm let nothing through",
        "minidl.nn.normalization:cuda.across_backward_of",
        "= relu && !(values[0] > 0) ? T(0) : own;",
        "= own;",
        "tests/nn/test_one_pass.py::test_bits",
        "gpu",
    ),
    (
        "lrn: the cross term of the gradient is dropped",
        "minidl.nn.normalization:_normalize_backward_numpy",
        "np.subtract(direct, s, out=dx)",
        "np.copyto(dx, direct)",
        "tests/nn/test_normalization.py::test_gradcheck",
    ),
    (
        "lrn: the window misses its last channel",
        "minidl.nn.normalization:_across_maps.window_sum",
        "range(1, size)",
        "range(1, size - 1)",
        "tests/nn/test_normalization.py::test_even_and_odd_sizes",
    ),
    (
        "lrn: the window of an even size is mirrored",
        "minidl.nn.normalization:_across_maps.window_sum",
        "(size // 2, (size - 1) // 2)",
        "((size - 1) // 2, size // 2)",
        "tests/nn/test_normalization.py::test_window_of_even_size_begins_half_before",
    ),
    (
        "lrn: the backward's window is not mirrored",
        "minidl.nn.normalization:_normalize_backward_numpy",
        "window_sum(cross, s, True)",
        "window_sum(cross, s, False)",
        "tests/nn/test_normalization.py::test_gradcheck",
    ),
    (
        "lrn: alpha is not divided by the size",
        "minidl.nn.normalization:LocalResponseNormFunction.forward",
        "alpha / size",
        "alpha",
        "tests/nn/test_normalization.py::test_published_size_of_the_effect",
    ),
    (
        "lrn: windows cross the border between groups",
        "minidl.nn.normalization:_across_numpy",
        "if grad is not None and overwrite and np.moveaxis(grad, 1, -1).flags.c_contiguous:\n"
        "    out = grad\n"
        "else:\n"
        "    out = _empty_channels_last(x)",
        "if grad is not None and overwrite and np.moveaxis(grad, 1, -1).flags.c_contiguous:\n"
        "    out = grad\n"
        "else:\n"
        "    out = _empty_channels_last(x)\n"
        "groups = 1",
        "tests/nn/test_normalization.py::test_groups_are_norms_of_split_channels",
    ),
    (
        "spatial norm: alpha is divided by the size, not its square",
        "minidl.nn.normalization:SpatialResponseNormFunction.forward",
        "alpha / size ** 2",
        "alpha / size",
        "tests/nn/test_normalization.py::test_layouts",
    ),
    (
        "spatial norm: the backward's window is not mirrored",
        "minidl.nn.normalization:_within_map.window_sum",
        "(size - 1) // 2 if mirrored else size // 2",
        "size // 2",
        "tests/nn/test_normalization.py::test_spatial_gradcheck",
    ),
    (
        "one pass: the normalisation's gradient is not masked",
        "minidl.nn.normalization:_across_numpy.block",
        "cpu.keep_where(own > 0, result, result)",
        "pass",
        "tests/nn/test_one_pass.py::test_bits",
    ),
]
