"""Bugs to plant in predicting: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "predict: an unreadable picture ends the program",
        "examples/alexnet_predict.py:Pictures.__getitem__",
        "except DataError as error:",
        "except ZeroDivisionError as error:",
        "tests/examples/test_alexnet_predict.py::"
        "test_unreadable_pictures_are_named_and_the_others_classified",
    ),
    (
        "predict: unreadable pictures don't change the exit status",
        "examples/alexnet_predict.py:classify",
        "1 if bad else 0",
        "0",
        "tests/examples/test_alexnet_predict.py::"
        "test_unreadable_pictures_are_named_and_the_others_classified",
    ),
    (
        "predict: folders are not sorted",
        "examples/alexnet_predict.py:find_pictures",
        "sorted(name for name in inside if not is_hidden(name))",
        "sorted((name for name in inside if not is_hidden(name)), reverse=True)",
        "tests/examples/test_alexnet_predict.py::test_prints_the_classes_of_pictures",
    ),
    (
        "predict: dropout stays on",
        "minidl.vision.runs:open_network",
        "model.eval",
        "model.train",
        "tests/examples/test_alexnet_predict.py::test_prints_the_classes_of_pictures",
    ),
    (
        "weights of a run: its preset, and its scale, is ignored",
        "minidl.vision.weights.layouts:_preprocessing_of_run",
        "run.get('init') or VARIANTS[run['variant']].init",
        "VARIANTS[run['variant']].init",
        "tests/vision/weights/test_layouts.py"
        "::test_initial_values_of_a_run_say_how_its_pictures_were_prepared",
    ),
    (
        "weights of a run: the preprocessing of its first weights is forgotten",
        "minidl.vision.weights.layouts:_preprocessing_of_run",
        "run.get('preprocessing')",
        "None",
        "tests/vision/weights/test_layouts.py"
        "::test_a_fine_tuned_run_keeps_the_preprocessing_of_its_first_weights",
    ),
    (
        "predict: the training pictures' statistics are ignored",
        "minidl.vision.weights.layouts:statistics_of",
        "None if known is None else PixelStatistics.from_fields(known)",
        "None",
        "tests/examples/test_alexnet_predict.py::test_the_training_pictures_statistics_are_used",
    ),
    (
        "predict: ten crops use only one",
        "examples/alexnet_predict.py:predict",
        "crop = expected.transforms(options.ten_crop, raw=True)",
        "crop = expected.transforms(False, raw=True)",
        "tests/examples/test_alexnet_predict.py::test_weights_bring_their_preprocessing",
    ),
    (
        "predict: a submission of guesses only is written",
        "examples/alexnet_predict.py:classify",
        "bad == len(paths)",
        "False",
        "tests/examples/test_alexnet_predict.py::"
        "test_a_submission_has_a_line_for_an_unreadable_picture",
    ),
    (
        "predict: unsortable names are found only at the end",
        "examples/alexnet_predict.py:classify",
        "submission.line_order(paths)",
        "",
        "tests/examples/test_alexnet_predict.py::test_mistakes_are_one_sentence",
    ),
    (
        "predict: a closed pipe prints a traceback",
        "examples/alexnet_predict.py:main",
        "except BrokenPipeError:",
        "except ZeroDivisionError:",
        "tests/examples/test_alexnet_predict.py::test_a_closed_pipe_ends_the_program_quietly",
    ),
]
