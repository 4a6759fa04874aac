"""Bugs to plant in views, changes in place and numbers: see ``tests/mutations.py``."""

from __future__ import annotations

_PROGRAMS = "tests/conformance/test_torch_small_programs.py"
_IN_PLACE = "tests/autograd/test_in_place.py"

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "views: a change of a leaf's view is recorded",
        "minidl.autograd.views:check_changeable",
        "view is not None and view.base._requires_grad and view.base._node is None",
        "False",
        _PROGRAMS,
    ),
    (
        "views: a retained gradient stays with the old value",
        "minidl.autograd.views:move",
        "old is not None and old.retained",
        "False",
        _PROGRAMS,
    ),
    (
        "in place: a change outside the tape isn't counted",
        "minidl.ops.inplace:store",
        "changed(tensor)",
        "pass",
        _PROGRAMS,
    ),
    (
        "in place: an overwritten value keeps its gradient",
        "minidl.ops.inplace:Overwrite.backward",
        "array_module(grad).zeros_like(grad)",
        "grad",
        _PROGRAMS,
    ),
    (
        "in place: expanded memory is changed",
        "minidl.autograd.views:check_no_overlap",
        "step == 0 and n > 1",
        "False",
        _PROGRAMS,
    ),
    (
        "index: a backward reads the user's index",
        "minidl.ops.index:kept",
        "part.copy()",
        "part",
        f"{_IN_PLACE}::test_an_index_is_changed_after_it_was_used",
    ),
    (
        "index: positions may be negative in gather",
        "minidl.ops.gathering:checked_positions",
        "bool((index.array < 0).any())",
        "False",
        "tests/ops/test_gathering.py::test_positions_that_are_not_there",
    ),
    (
        "numbers: infinity for what float16 can't hold",
        "minidl.conversion:fitting",
        'dtype.kind == "f" and math.isinf(array) and not math.isinf(value)',
        "False",
        _PROGRAMS,
    ),
    (
        "numbers: sums of float16 are added up in float16",
        "minidl.ops.precision:added_up",
        "x.dtype == float16",
        "False",
        _PROGRAMS,
    ),
    (
        "numbers: a variance of float32 is computed in float32",
        "minidl.ops.reduce:_variance",
        "x.astype(float64, copy=False)",
        "x",
        _PROGRAMS,
    ),
]
