"""Bugs to plant in fused layers: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "fusion: hooks miss the value between the layers",
        "minidl.nn.fusion:pair_at",
        "module._forward_hooks or module._forward_pre_hooks or 'forward' in module.__dict__",
        "'forward' in module.__dict__",
        "tests/nn/test_fusion.py::test_hooks_see_what_is_between",
    ),
    (
        "fusion: backward hooks miss the gradient between the layers",
        "minidl.nn.fusion:pair_at",
        "module._backward_hooks or module._backward_pre_hooks",
        "False",
        "tests/nn/test_hooks.py::test_nothing_is_fused_where_hooks_would_see_it",
    ),
    (
        "fusion: a ReLU in front never overwrites the caller's array",
        "minidl.nn.fusion:pair_at",
        "both if place or 'inplace' not in first.__dict__ else None",
        "both",
        "tests/nn/test_fusion.py::test_the_callers_array_is_overwritten_if_asked_for",
    ),
    (
        "fusion: the pool's indices are lost",
        "minidl.nn.fusion:_pool_and_rectify",
        "if pool.return_indices:\n    return pool(relu_(input))",
        "",
        "tests/nn/test_fusion.py::test_indices",
    ),
]
