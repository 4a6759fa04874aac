"""Bugs to plant in the report of a run: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "training: of equal scores the first is the best, whatever its loss",
        "minidl.training.run:_score",
        "-line['val_loss']",
        "0.0",
        "tests/training/test_run.py::test_of_equal_scores_the_smaller_loss_is_the_best",
    ),
    (
        "report: the best epoch is the last of the best",
        "minidl.training.report:_content",
        "max(epochs, key=_score, default=None)",
        "max(reversed(epochs), key=_score, default=None)",
        "tests/training/test_report.py::test_the_best_epoch_is_the_first_of_the_highest_top_1",
    ),
    (
        "report: an accuracy is labeled as an error",
        "minidl.training.report:_with_errors",
        "100 - scores[name]",
        "scores[name]",
        "tests/training/test_report.py::test_scores_are_errors_and_accuracies",
    ),
    (
        "report: the paper's figures appear for any number of classes",
        "minidl.training.report:_content",
        "PAPER if classes == _PAPER_CLASSES else ()",
        "PAPER",
        "tests/training/test_report.py::test_scores_are_errors_and_accuracies",
    ),
    (
        "report: the paper's top-5 for one crop is the one for ten",
        "minidl.training.report:",
        "('one network, single crop, ILSVRC-2010 test', 'footnote 5', 39.0, 18.3)",
        "('one network, single crop, ILSVRC-2010 test', 'footnote 5', 39.0, 17.0)",
        "tests/training/test_report.py::test_the_papers_figures_appear_with_1000_classes",
    ),
    (
        "report: a bar in a value ends the cell",
        "minidl.training.report:_cell",
        "' '.join(text.split()).replace('|', '\\\\|')",
        "' '.join(text.split())",
        "tests/training/test_report.py::test_missing_numbers_and_values_that_json_lacks",
    ),
    (
        "report: a path that is not valid text fails",
        "minidl.training.report:write",
        "body.encode('utf-8', 'backslashreplace')",
        "body.encode('utf-8')",
        "tests/training/test_report.py::test_paths_that_are_not_valid_text",
    ),
    (
        "report: the old report is overwritten",
        "minidl.training.report:write",
        "write_atomically(path, [body.encode('utf-8', 'backslashreplace')])",
        "path.write_bytes(body.encode('utf-8', 'backslashreplace'))\nos.fsync(0)",
        "tests/training/test_report.py::test_a_failed_write_keeps_the_older_report",
    ),
    (
        "report: the device that auto chose is missing",
        "minidl.training.report:_machine",
        "device = 'gpu' if cuda.is_available() else 'cpu'",
        "",
        "tests/training/test_report.py::test_the_device_that_auto_chose",
    ),
]
