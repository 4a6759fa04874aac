"""Bugs to plant in the course's judge: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "judge: a list's arrays are handed out, and may be changed",
        "minidl.course.judging:_copy",
        "[_copy(part) for part in value]",
        "value",
        "tests/course/test_judge.py::test_a_list_of_arrays_must_stay_as_it_is",
    ),
    (
        "judge: an ignored argument is no clue",
        "minidl.course.clues:_wholes",
        "found[1].any()",
        "found[0].any()",
        "tests/course/test_judge.py::test_what_an_argument_does",
    ),
]
