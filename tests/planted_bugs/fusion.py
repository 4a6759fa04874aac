"""Bugs to plant in fused layers: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, what takes its place, the tests that must go red[, where they run].
BUGS = [
    (
        "one pass: hooks don't see what is between",
        "minidl.nn.module:_both",
        "module._forward_hooks or module._forward_pre_hooks or 'forward' in vars(module)",
        "'forward' in vars(module)",
        "tests/nn/test_one_pass.py::test_hooks_see_what_is_between",
    ),
    (
        "one pass: a ReLU in front never overwrites the caller's array",
        "minidl.nn.module:_both",
        "both if place or 'inplace' not in vars(modules[0]) else None",
        "both",
        "tests/nn/test_one_pass.py::test_the_callers_array_is_overwritten_if_asked_for",
    ),
]
