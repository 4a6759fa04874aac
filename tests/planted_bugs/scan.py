"""Bugs to plant in the scan of a data set: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "scan: a link upwards is followed forever",
        "minidl.vision.scan:_walk",
        "place in above",
        "False and place in above",
        "tests/vision/test_scan.py::test_entries_that_are_not_files",
    ),
    (
        "scan: an empty file is reported as damaged",
        "minidl.vision.scan:_check_file",
        "not content",
        "False",
        "tests/vision/test_scan.py::test_files_that_do_not_load",
    ),
    (
        "scan: a link to itself is a broken link",
        "minidl.vision.scan:_walk",
        "error.errno == errno.ELOOP",
        "False",
        "tests/vision/test_scan.py::test_entries_that_are_not_files",
    ),
    (
        "scan: 16-bit color goes unnoticed",
        "minidl.vision.scan:_notes",
        "mode[0] in 'IF' or (found == 'PNG' and content[24] == 16)",
        "mode[0] in 'IF'",
        "tests/vision/test_scan.py::test_16_bits_in_color",
    ),
    (
        "scan: pictures without class folders are errors",
        "minidl.vision.scan:_walk_classes",
        "os.path.dirname(item) == root and folders",
        "os.path.dirname(item) == root",
        "tests/vision/test_scan.py::test_a_folder_without_class_folders_is_just_pictures",
    ),
    (
        "scan: text that begins like a bitmap is a skipped picture",
        "minidl.vision.scan:_check_other",
        "found in ('JPEG', 'PNG')",
        "found",
        "tests/vision/test_scan.py::test_a_sound_folder",
    ),
    (
        "scan: duplicates go unnoticed",
        "minidl.vision.scan:_scan.findings",
        "digest and first.setdefault(digest, path) != path",
        "False",
        "tests/vision/test_scan.py::test_notes",
    ),
    (
        "scan: class names that differ in case go unnoticed",
        "minidl.vision.scan:_walk_classes",
        "unicodedata.normalize('NFC', name).casefold().strip()",
        "unicodedata.normalize('NFC', name)",
        "tests/vision/test_scan.py::test_mistakes_in_the_folder_structure",
    ),
    (
        "scan: the exit status is always 0",
        "minidl.vision.scan:run",
        "1 if errors else 0",
        "0",
        "tests/vision/test_scan.py::test_command",
    ),
    (
        "scan: a text named .jpg is a damaged picture",
        "minidl.vision.scan:_explain",
        "isinstance(cause, UnidentifiedImageError)",
        "False",
        "tests/robustness/test_endurance.py::test_short[planted_tree]",
    ),
    (
        "scan: pipes go unnoticed",
        "minidl.vision.scan:_walk",
        "yield Finding(entry.path, 'not-a-file')",
        "if False:\n    yield Finding(entry.path, 'not-a-file')",
        "tests/robustness/test_endurance.py::test_short[planted_tree]",
    ),
]
