"""The judge's sentences for mistakes that no list has, and its command line."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from programs import environment

import minidl.course.judging as judging
from minidl.course import Exercise, check, judge, start
from minidl.course.__main__ import main


def double(x: np.ndarray) -> np.ndarray:
    """Return twice x."""
    raise NotImplementedError


X = np.random.default_rng(0).standard_normal((3, 4))
EXERCISE = Exercise(double, lambda x: 2 * x, {"numbers": (X,), "others": (X[:2],)}, ())


def in_place(x: np.ndarray) -> np.ndarray:
    x *= 2
    return x


def hole(x: np.ndarray) -> np.ndarray:
    y = 2 * x
    y[:, 1] = 0
    return y


def one_off(x: np.ndarray) -> np.ndarray:
    y = 2 * x
    y[1, 2] += 1
    return y


@pytest.mark.parametrize(
    "function, words",
    [
        (lambda x: None, "None: does the function end without return?"),
        (lambda x: "2", "of type str; expected an array of shape (3, 4)"),
        (lambda x: 2 * x.T, "shape (4, 3), expected (3, 4): is it transposed?"),
        (lambda x: x[0], "shape (4,), expected (3, 4)"),
        (lambda x: -2 * x, "the sign is wrong"),
        (lambda x: 6 * x, "3 times too much (of that length here: axis 0 of x)"),
        (lambda x: x, "the answer is 0.5 times the right one: too small by 2"),
        (lambda x: 2 * x + 1, "every number is too large by 1"),
        (lambda x: np.roll(2 * x, 1, 1), "shifted by one along axis 1"),
        (lambda x: 2 * x[::-1], "reverse order along axis 0"),
        (lambda x: 2 * x * np.nan, "the answer has NaN"),
        (lambda x: 2 * x * np.inf, "the answer has infinities"),
        (lambda x: 0 * x, "all of the answer is 0"),
        (lambda x: (2 * x).astype(np.float32), "the answer is float32"),
        (lambda x: np.sort(2 * x, axis=None).reshape(x.shape), "right numbers in wrong places"),
        (hole, "3 of 12 numbers are still 0, all at index 1 of axis 1"),
        (one_off, "entry (1, 2) is"),
        (in_place, "changes its argument x: work on a copy"),
        (lambda x: 1 / 0, "ZeroDivisionError in line"),
        (lambda: 0, "takes 0 positional arguments but 1 was given"),
        (lambda x: 2 * x if len(x) == 3 else x, "wrong on: others. Right on: numbers"),
    ],
)
def test_sentences(function: Callable[..., Any], words: str) -> None:
    verdict = judge(EXERCISE, function)
    assert not verdict.passed and words in verdict.message, verdict.message


def test_a_list_of_arrays_must_stay_as_it_is() -> None:
    exercise = Exercise(double, lambda x: 2 * x[1], {"numbers": ([X, X + 1],)}, ())

    def in_list(x: list[np.ndarray]) -> np.ndarray:
        x[1] += x[1]
        return x[1]

    message = judge(exercise, lambda x: np.sin(x[0])).message
    assert "The answer must depend on x[1]; yours does not." in message
    for _ in range(2):  # the second reader finds what the first found
        assert "changes its argument x" in judge(exercise, in_list).message
        assert judge(exercise, lambda x: 2 * x[1]).passed


def test_several_values() -> None:
    exercise = Exercise(double, lambda x: (x, x.sum(0)), {"numbers": (X,)}, ())
    assert judge(exercise, lambda x: [x, x.sum(0)]).passed
    assert "expected 2 values" in judge(exercise, lambda x: x).message
    assert judge(exercise, lambda x: (x, x.sum(1))).message.startswith("value 2 of 2: the answer")


def test_dicts_and_yes_or_no() -> None:
    exercise = Exercise(double, lambda x: {"a": x.sum(), "b": 2 * x}, {"numbers": (X,)}, ())
    assert judge(exercise, lambda x: {"b": 2 * x, "a": np.sum(x)}).passed
    for answer, words in (
        ({"a": 1.0}, "in the dict, 'b': missing"),
        ({"a": X.sum(), "b": 2 * X, "c": 1.0}, "in the dict, 'c': not expected"),
        ({"a": 0.0, "b": 2 * X}, "entry 'a' is 0, expected"),
        ({"a": X.sum(), "b": X}, "entry 'b': the answer is 0.5 times the right one"),
        ([1.0], "expected a dict"),
    ):
        assert words in judge(exercise, lambda x, answer=answer: answer).message
    exercise = Exercise(double, lambda x: x > 0, {"numbers": (X,)}, ())
    assert "all 12 answers are the opposite" in judge(exercise, lambda x: x <= 0).message
    exercise = Exercise(double, lambda x: True, {"numbers": (X,)}, ())
    assert "the answer is False, expected True" in judge(exercise, lambda x: False).message
    exercise = Exercise(double, lambda x: {"whole": np.array(True)}, {"numbers": (X,)}, ())
    message = judge(exercise, lambda x: {"whole": np.array(False)}).message
    assert "entry 'whole': the answer is False, expected True" in message


def test_an_endless_loop_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "SECONDS", 0.05)

    def endless(x: np.ndarray) -> None:
        while True:
            time.sleep(0.01)

    assert "is a loop endless?" in judge(EXERCISE, endless).message


def test_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = start(tmp_path)
    file = tmp_path / "08_pooling.py"
    assert file in written and start(tmp_path) == []
    assert main(["check", str(file)]) == 1
    assert "not written yet" in capsys.readouterr().out
    text = file.read_text()
    for broken, words in (
        ("", "has no function maxpool"),
        ("def maxpool(:\n", "line 1: "),
        (text + "\nundefined\n", "NameError: name 'undefined'"),
        (text.replace("def maxpool(", "def pool("), "has no function maxpool"),
    ):
        file.write_text(broken)
        assert words in check(file, "maxpool")[0].message
    file.write_text(text.replace("raise NotImplementedError", SOLUTION, 1))
    assert check(file, "maxpool")[0].passed
    assert main(["check", str(tmp_path / "99_none.py")]) == 2
    assert "expected the name of a page" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "no" / "08_pooling.py")]) == 2
    assert main(["list"]) == 0 and "maxpool_backward" in capsys.readouterr().out


SOLUTION = """view = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))
    return view[:, :, ::stride, ::stride].max((4, 5))"""


def test_a_class_is_judged_by_pytest(tmp_path: Path) -> None:
    start(tmp_path)
    for file in tmp_path.glob("[0-9]*.py"):
        if file.stem != "08_pooling":
            file.unlink()
    file = tmp_path / "08_pooling.py"
    file.write_text(file.read_text().replace("raise NotImplementedError", SOLUTION, 1))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=r.xml"]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 1 and "1 passed" in result.stdout
    assert 'name="test_exercise[08_pooling.py-maxpool]"' in (tmp_path / "r.xml").read_text()
    assert "not written yet" in (tmp_path / "r.xml").read_text()


W = np.random.default_rng(1).standard_normal((4, 2))


def layer(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Return x times weight plus bias."""
    raise NotImplementedError


LAYER = Exercise(
    layer, lambda x, weight, bias: x @ weight + bias, {"numbers": (X, W, np.array([1.0, -2.5]))}, ()
)


@pytest.mark.parametrize(
    "function, words",
    [
        (lambda x, w, b: x @ w + 3 * b, "too large by 2 times bias"),
        (lambda x, w, b: (x @ w + b) * b, "a factor too much: bias"),
        (lambda x, w, b: (x @ w + b) / b, "a factor is missing: bias"),
        (lambda x, w, b: np.broadcast_to(b, (3, 2)), "the answer is bias, as it was given"),
        (lambda x, w, b: np.abs(x @ w + b), "right but for the sign of some"),
        (lambda x, w, b: (x @ w + b).astype(int), "int64, which has no digits behind the point"),
        (lambda x, w, b: np.cumsum(x @ w + b, 0), "running sums along axis 0"),
        (lambda x, w, b: (x @ w + b) + [[1.0], [2], [3]], "the same all along axis 1"),
        (lambda x, w, b: np.full((3, 2), x[0, 0]), "the answer is the same all along axis 0"),
        (lambda x, w, b: (x @ w + b) * (1 + 1e-8), "only the first digits are right"),
        (lambda x, w, b: [x @ w + b] * 2, "a tuple or list of 2; expected an array"),
        (lambda x, w, b: x[:, 1:] @ w[1:] + b, "Your answer ignores x at index 0 of axis 1."),
        (lambda x, w, b: np.sin(x @ w), "The answer must depend on bias; yours does not."),
        (
            lambda x, w, b: x @ w + b + x[[1, 2, 0], :2],
            "x at index 0 of axis 0 must not change entry (2, 0) of the answer; yours changes.",
        ),
    ],
)
def test_what_an_argument_does(function: Callable[..., Any], words: str) -> None:
    verdict = judge(LAYER, function)
    assert not verdict.passed and words in verdict.message, verdict.message


def test_what_doubling_and_shifting_do() -> None:
    exercise = Exercise(
        double, lambda x: x - x.mean(1, keepdims=True), {"numbers": (X,), "others": (X + 3,)}, ()
    )
    assert "With x twice as large" in judge(exercise, lambda x: x**2 - x.mean() ** 2).message
    message = judge(exercise, lambda x: x - np.sqrt(np.abs(x * x.mean()))).message
    assert "With x twice as large" not in message and "With 10 added to all of x" in message


def test_values_in_another_order_and_the_dtype_of_yes_and_no() -> None:
    exercise = Exercise(double, lambda x: (x, 3 * x, x * x), {"numbers": (X,)}, ())
    assert "values 2 and 3 are exchanged" in judge(exercise, lambda x: (x, x * x, 3 * x)).message
    exercise = Exercise(double, lambda x: x > 0, {"numbers": (X,)}, ())
    message = judge(exercise, lambda x: (x > 0).astype(int)).message
    assert "the dtype int64, expected bool" in message


def test_a_later_probe_may_tell_more() -> None:
    message = judge(EXERCISE, lambda x: 2 * x if len(x) == 2 else np.exp(x)).message
    assert message.startswith("entry (")
    message = judge(EXERCISE, lambda x: 6 * x if len(x) == 2 else np.exp(x)).message
    assert message.startswith("on 'others', the answer is 3 times the right one")


def test_any_answer_gets_a_sentence() -> None:
    rng = np.random.default_rng(3)
    kinds = (X, np.zeros((3, 4)), X > 0, np.float64(2.0), np.arange(12).reshape(3, 4), np.ones(0))
    special = np.array([0.0, 1.0, -1.0, np.nan, np.inf, 1e300, 1e-300, 5e-324])
    for right in kinds:
        exercise = Exercise(double, lambda x, right=right: right, {"numbers": (X,)}, ())
        for _ in range(60):
            answer = rng.choice(special, np.shape(right))
            answer = answer if rng.random() < 0.7 else np.nan_to_num(answer).astype(bool)
            verdict = judge(exercise, lambda x, answer=answer: answer)
            assert verdict.passed or len(verdict.message) > 20
