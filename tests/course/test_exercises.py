"""The exercises: each mistake is found, with its own hint, however it is written."""

from __future__ import annotations

import importlib
import inspect
import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.course import PAGES, Exercise, Mistake, check, exercises, judge
from minidl.course.judging import answers, known, same

SOLUTIONS = Path(__file__).parent / "solutions"
ALL = [(page, exercise) for page in PAGES for exercise in exercises(page)]
PLANTED = [(page, each, mistake) for page, each in ALL for mistake in each.mistakes]
for_each_exercise = pytest.mark.parametrize("exercise", [e for _, e in ALL],
    ids=[f"{page}-{e.name}" for page, e in ALL])  # fmt: skip
for_each_mistake = pytest.mark.parametrize("page, exercise, mistake", PLANTED,
    ids=[f"{page}-{e.name}-{m.name}" for page, e, m in PLANTED])  # fmt: skip


@for_each_exercise
def test_the_stub_is_not_written_yet_and_the_reference_is_right(exercise: Exercise) -> None:
    assert judge(exercise, exercise.stub).message.startswith("not written yet")
    verdict = judge(exercise, exercise.reference)
    assert verdict.passed, verdict.message
    described = inspect.getdoc(exercise.stub) or ""
    for name in inspect.signature(exercise.stub).parameters:
        assert re.search(rf"\b{name}\b", described), f"the docstring does not say what {name} is"
    assert "Returns" in described


@pytest.mark.parametrize("page, exercise", ALL, ids=[f"{page}-{e.name}" for page, e in ALL])
def test_a_solution_without_the_library_is_right(page: str, exercise: Exercise) -> None:
    file = SOLUTIONS / f"{page}.py"
    assert "minidl" not in file.read_text(encoding="utf-8")
    (verdict,) = check(file, exercise.name)
    assert verdict.passed, verdict.message


@for_each_exercise
def test_the_plain_code_gives_the_reference_s_answers(exercise: Exercise) -> None:
    expected = known(exercise, exercise.reference)
    with minidl.reference():
        found = answers(exercise, exercise.reference)
    for probe in expected:
        assert same(found[probe], expected[probe], exercise.tolerance), probe


@for_each_exercise
@pytest.mark.parametrize("answer", [None, "no", np.zeros((1, 2, 3, 4, 5)), [], np.float64(np.nan)])
def test_nonsense_is_refused_in_a_sentence(exercise: Exercise, answer: Any) -> None:
    verdict = judge(exercise, lambda *given: answer)
    assert not verdict.passed and verdict.mistake is None and len(verdict.message) > 20


@for_each_mistake
def test_a_mistake_gets_its_hint(page: str, exercise: Exercise, mistake: Mistake) -> None:
    verdict = judge(exercise, mistake.function)
    assert verdict.mistake == mistake.name and verdict.message.startswith(mistake.hint)


@for_each_mistake
def test_so_does_another_implementation(page: str, exercise: Exercise, mistake: Mistake) -> None:
    module = importlib.import_module(f"paraphrases.p{page}")
    others = module.PARAPHRASES[exercise.name][mistake.name]
    assert others
    for other in others:
        verdict = judge(exercise, other)
        assert verdict.mistake == mistake.name, verdict.message


@for_each_exercise
def test_mistakes_differ_pairwise(exercise: Exercise) -> None:
    found = {mistake.name: known(exercise, mistake.function) for mistake in exercise.mistakes}
    assert len(found) == len(exercise.mistakes)
    for (one, ours), (other, theirs) in itertools.combinations(found.items(), 2):
        alike = all(same(ours[probe], theirs[probe], exercise.tolerance) for probe in ours)
        assert not alike, f"{one} and {other} give the same answers"


def test_sources_are_issues_or_files() -> None:
    for _, _, mistake in PLANTED:
        pattern = r"[\w.-]+/[\w.-]+(#\d+|@[0-9a-f]{7,40}|, [\w./-]+)"
        assert not mistake.seen_in or re.fullmatch(pattern, mistake.seen_in), mistake.seen_in
