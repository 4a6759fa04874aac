"""Bugs to plant in files of weights from elsewhere: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "pickles: functions are looked up",
        "minidl.pickles:_Machine._step",
        "raise RefusedError(f'a call of {function.name}')",
        "import pydoc\nself.calls = {**self.calls, function.name: pydoc.locate(function.name)}",
        "tests/vision/datasets/test_pickled.py::test_hostile_pickles_run_nothing",
    ),
    (
        "pickles: attributes of dicts pass",
        "minidl.pickles:_Machine._build",
        "set(state) - {'_metadata'}",
        "False",
        "tests/test_torch_files.py::test_no_command_runs",
    ),
    (
        "pickles: copies of a text cost nothing",
        "minidl.pickles:_Machine._encode",
        "self.room -= len(only(str, text))",
        "only(str, text)",
        "tests/test_torch_files.py::test_small_pickles_stay_small",
    ),
    (
        "torch: a view may leave its storage",
        "minidl.torch_files:_view",
        "count > max(array.size, _MAX_EXPANDED)",
        "False",
        "tests/test_torch_files.py::test_views_outside_their_storage",
    ),
    (
        "torch: a part of a storage begins at its start",
        "minidl.torch_files:_read_stream",
        "_view(_Storage(array, ''), first, (length,), (1,))",
        "_view(_Storage(array, ''), 0, (length,), (1,))",
        "tests/test_torch_files.py::test_a_part_of_a_storage_in_the_older_form",
    ),
    (
        "torch: big-endian numbers pass",
        "minidl.torch_files:_read_zip",
        "order is not None and unpack(archive, order).tobytes() != b'little'",
        "False",
        "tests/test_torch_files.py::test_other_byte_orders_are_refused",
    ),
    (
        "torch: strides are written backwards",
        "minidl.torch_files:write_torch",
        "[1, *array.shape[:0:-1]]",
        "[1, *array.shape[1:]]",
        "tests/test_torch_files.py::test_what_is_written_is_read",
    ),
]
