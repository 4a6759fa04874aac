"""Bugs to plant in checkpoints: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, file, text, what takes its place, the tests that must go red.
BUGS = [
    (
        "checkpoint: the tensors' hashes are not checked",
        "minidl/checkpoint.py",
        "if _digest(array) != digests[name]:",
        "if False:",
        ("tests/test_checkpoint.py::test_no_changed_byte_changes_a_value",),
    ),
    (
        "checkpoint: written in the memory's order",
        "minidl/checkpoint.py",
        'dtype, order="C")',
        "dtype).T.reshape(array.shape)",
        ("tests/test_checkpoint.py::test_memory_that_is_not_c_contiguous",),
    ),
]
