"""Bugs to plant in pooling: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "gpu: the pool's window hangs over the image's edge",
        "minidl/kernels/cuda/max_pool.cu:max_forward",
        "if (w < 0 || w >= width) continue;\n                const A value",
        "if (w < 0 || w > width) continue;\n                const A value",
        "tests/nn/test_max_pool.py::test_any_max_pool",
        "gpu",
    ),
    (
        "gpu: the next number of the window replaces NaN",
        "minidl/kernels/cuda/max_pool.cu:max_forward",
        "(!(value <= best) && best == best)",
        "value > best",
        "tests/nn/test_max_pool.py::test_nan_is_not_lost",
        "gpu",
    ),
    (
        "pool: the columns' phases are mixed up",
        "minidl.kernels.cpu.pool_windows:Span.__init__",
        "first - columns.start",
        "p",
        "tests/nn/test_max_pool.py::test_any_max_pool",
    ),
    (
        "pool: padding is 0",
        "minidl.kernels.cpu.max_pool:forward.lane",
        "span.read(-math.inf)",
        "span.read(0)",
        "tests/nn/test_max_pool.py::test_padding_is_minus_infinity",
    ),
    (
        "pool: overlapping windows overwrite each other's gradient",
        "minidl.kernels.cpu.pool_windows:collect",
        "np.add(own, give(kh, kw), out=own)",
        "np.copyto(own, give(kh, kw), where=give(kh, kw) != 0)",
        "tests/nn/test_max_pool.py::test_overlapping_windows_add_their_gradients",
    ),
    (
        "pool: a tie goes to every maximum",
        "minidl.kernels.cpu.max_pool:backward.lane.give",
        "np.equal(places[images], kh * geometry.kernel[1] + kw, out=hit)",
        "np.less_equal(places[images], kh * geometry.kernel[1] + kw, out=hit)",
        "tests/nn/test_max_pool.py::test_ties_go_to_exactly_one_position_the_first",
    ),
    (
        "pool: pixels that no window covers are uninitialized",
        "minidl.kernels.cpu.pool_windows:collect",
        "if covered != size:\n    dx.fill(0)",
        "",
        "tests/nn/test_max_pool.py::test_any_max_pool",
    ),
    (
        "pool: gradients of the padding reach the image",
        "minidl.kernels.cpu.pool_windows:_phases",
        "-(-(before - first) // stride)",
        "(before - first) // stride",
        "tests/nn/test_max_pool.py::test_any_max_pool",
    ),
    (
        "pool: a tie goes to the last maximum",
        "minidl.kernels.cpu.max_pool:_larger",
        "np.greater",
        "np.greater_equal",
        "tests/nn/test_max_pool.py::test_ties_go_to_exactly_one_position_the_first",
    ),
    (
        "pool: a later row's place is that of the first row",
        "minidl.kernels.cpu.max_pool:forward.lane",
        "kh * kernel_w",
        "0",
        "tests/nn/test_max_pool.py::test_any_max_pool",
    ),
    (
        "pool: NaN gets the place of the first number",
        "minidl.kernels.cpu.max_pool:forward.lane",
        "places[images][lost] = _first_hits(span, np.isnan, best.shape)[lost]",
        "",
        "tests/nn/test_max_pool.py::test_the_first_nan_wins",
    ),
    (
        "pool: an entry of minus infinity counts as padding",
        "minidl.kernels.cpu.max_pool:forward.lane",
        "places[images][lost] = lowest[lost]",
        "",
        "tests/nn/test_max_pool.py::test_minus_infinity_itself",
    ),
    (
        "pool: the window is one row short",
        "minidl.kernels.cpu.max_pool:forward.lane",
        "for kh in range(1, kernel_h):\n"
        "    rows = geometry.positions(kh, 0)[0]\n"
        "    number = cpu.scratch('number', best.shape, places.dtype)\n"
        "    np.add(columns[:, rows], columns.dtype.type(kh * kernel_w), out=number)\n"
        "    _larger(best, across[:, rows], places[images], number)",
        "for kh in range(1, max(kernel_h - 1, 1)):\n"
        "    rows = geometry.positions(kh, 0)[0]\n"
        "    number = cpu.scratch('number', best.shape, places.dtype)\n"
        "    np.add(columns[:, rows], columns.dtype.type(kh * kernel_w), out=number)\n"
        "    _larger(best, across[:, rows], places[images], number)",
        "tests/nn/test_max_pool.py::test_any_max_pool",
    ),
    (
        "pool: ceil_mode keeps a window that begins in the padding",
        "minidl.nn.arguments:pool_geometry",
        "(room + missing) // s * s >= n + p",
        "(room + missing) // s * s > n + p",
        "tests/nn/test_max_pool.py::test_ceil_mode_never_starts_a_window_in_the_right_padding",
    ),
    (
        "pool: the overhang of ceil_mode counts in the average",
        "minidl.kernels.cpu.avg_pool:_scale",
        "np.minimum(starts + k, n + p)",
        "starts + k",
        "tests/nn/test_avg_pool.py::test_the_overhang_of_ceil_mode_does_not_count",
    ),
    (
        "pool: adaptive windows end too early",
        "minidl.nn.adaptive_avg_pool:bins",
        "-(-(i + 1) * size // out)",
        "(i + 1) * size // out",
        (
            "tests/nn/test_adaptive_avg_pool.py::TestAdaptiveAvgPool::test_gradcheck",
            "tests/nn/test_adaptive_avg_pool.py::TestAdaptiveAvgPool::test_any_case",
        ),
    ),
    (
        "pool: the plain code's padding counts as an entry of minus infinity",
        "minidl.nn.max_pool:forward",
        "(largest & inside).argmax(axis=2)",
        "largest.argmax(axis=2)",
        "tests/nn/test_max_pool.py::test_minus_infinity_itself",
    ),
    (
        "pool: the plain code loses NaN's place",
        "minidl.nn.max_pool:forward",
        "(windows == y[:, :, None]) | (windows != windows)",
        "windows == y[:, :, None]",
        "tests/nn/test_max_pool.py::test_the_first_nan_wins",
    ),
    (
        "pool: the plain average counts padding always",
        "minidl.nn.avg_pool:divisors",
        "if count_padding:",
        "if True:",
        "tests/nn/test_avg_pool.py::TestAvgPool::test_against_loops",
    ),
]
