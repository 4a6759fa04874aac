"""Bugs to plant in views, changes in place and numbers: see ``tests/mutations.py``."""

from __future__ import annotations

_PROGRAMS = "tests/conformance/test_torch_small_programs.py"
_RANDOM = "tests/autograd/test_in_place_programs.py"
_NAN = "tests/ops/test_numbers.py::test_nan_is_every_extreme"
_VIEWS = "tests/autograd/test_views.py"
_IN_PLACE = "tests/autograd/test_in_place.py"

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "views: a change of a leaf's view is recorded",
        "minidl.autograd.views:check_changeable",
        "is_leaf(view.base)",
        "False",
        _PROGRAMS,
    ),
    (
        "views: a leaf that is itself a view is not protected",
        "minidl.autograd.views:link",
        "source if is_leaf(source) else parent.leaf",
        "None",
        "tests/autograd/test_views.py::test_a_leaf_that_is_itself_a_view_is_protected",
    ),
    (
        "views: a retained gradient stays with the old value",
        "minidl.autograd.views:move",
        "old is not None and old.retained",
        "False",
        _PROGRAMS,
    ),
    (
        "views: a change runs the hooks of the view",
        "minidl.autograd.views:past",
        "tensor._view is None",
        "True",
        f"{_VIEWS}::test_a_views_hooks_belong_to_its_value_before_a_change",
    ),
    (
        "views: a Function's change runs the hooks of the view",
        "minidl.autograd.function:_record",
        "result._view is not None and result._requires_grad",
        "False",
        f"{_VIEWS}::test_a_views_hooks_belong_to_its_value_before_a_change",
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
        'dtype.kind != "f" or not math.isinf(array) or math.isinf(value)',
        "True",
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
    (
        "views: a view doesn't follow its base",
        "minidl.autograd.views:View.refresh",
        "self.seen != tensor.version[1] and self.problem is None",
        "False",
        "tests/autograd/test_views.py::test_a_view_that_no_operation_reads_follows_its_base",
    ),
    (
        "views: an argument that is a view doesn't follow its base",
        "minidl.autograd.views:View.refresh_argument",
        "self._replay(tensor)",
        "pass",
        _RANDOM,
    ),
    (
        "views: a base keeps the gradient of the region that was replaced",
        "minidl.autograd.function:Replace.backward",
        "dx = _replaced(grad, 0, ctx.steps, ctx.order)",
        "dx = grad.copy()",
        _RANDOM,
    ),
    (
        "views: a view of a view forgets the first step",
        "minidl.autograd.views:link",
        "(*parent.steps, (function, args))",
        "((function, args),)",
        _RANDOM,
    ),
    (
        "in place: what an operation saved of its own input is overwritten",
        "minidl.ops.inplace:store",
        "node.context.keep_copy(tensor.array)",
        "pass",
        _RANDOM,
    ),
    (
        "index: overwritten elements keep their gradient",
        "minidl.ops.index:Assign.backward",
        "write(dx, ctx.steps, 0)",
        "pass",
        _RANDOM,
    ),
    (
        "numbers: several NaN don't share the gradient of max",
        "minidl.ops.reduce:ExtremeOverAll.backward",
        "hit | (x != x)",
        "hit",
        _NAN,
    ),
    (
        "numbers: amax of NaN has a gradient",
        "minidl.ops.reduce:ExtremeOverAll.backward",
        "ctx.nan_is_equal",
        "True",
        _NAN,
    ),
    (
        "numbers: NaN is not the extreme",
        "minidl.ops.reduce:ExtremeOverAll.forward",
        "(xp.max if largest else xp.min)",
        "(xp.nanmax if largest else xp.nanmin)",
        _NAN,
    ),
    (
        "numbers: NaN is not the extreme along an axis",
        "minidl.ops.reduce:Extreme.forward",
        "(xp.argmax if largest else xp.argmin)",
        "(xp.nanargmax if largest else xp.nanargmin)",
        _NAN,
    ),
    (
        "numbers: the median passes over NaN",
        "minidl.ops.sorting:_middle",
        "nan.any(axis=axis, keepdims=True)",
        "False",
        _NAN,
    ),
    (
        "numbers: the larger of a number and NaN is the number",
        "minidl.ops.arithmetic:Maximum.forward",
        'binary("maximum", "maximum", a, b)',
        'binary("maximum", "fmax", a, b)',
        _NAN,
    ),
]
