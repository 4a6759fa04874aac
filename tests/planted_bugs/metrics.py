"""Bugs to plant in metrics: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "accuracy: ties count as right",
        "minidl.vision.metrics:_ranks",
        "(scores > right) | (scores == right) & (xp.arange(classes) < column)",
        "scores > right",
        "tests/vision/test_metrics.py::test_constant_scores_are_not_correct_by_chance",
    ),
    (
        "metrics: one view is ranked by rounded log-probabilities",
        "minidl.vision.metrics:class_scores",
        "model(images)",
        "log_softmax(model(images), 1)",
        "tests/vision/test_metrics.py::test_nearly_equal_logits_are_no_tie",
    ),
    (
        "metrics: the log-loss is averaged over views, not the probabilities",
        "minidl.vision.metrics:class_scores",
        "ops.logsumexp(scores.reshape(n, views, -1), 1) - float(np.log(views))",
        "scores.reshape(n, views, -1).mean(1)",
        "tests/vision/test_metrics.py::test_ten_crops_as_the_original_program_scores_them",
    ),
]
