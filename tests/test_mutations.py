"""The lists of planted bugs match the sources; tests/mutations.py plants them."""

from __future__ import annotations

from pathlib import Path

import mutations
import planting
import pytest


@pytest.mark.parametrize("mutation", mutations.MUTATIONS, ids=lambda m: m.name)
def test_planted_bug_matches_the_source(mutation: mutations.Mutation) -> None:
    problem = planting.problem(mutation.place, mutation.old, mutation.new)
    assert problem is None, f"{problem}; if code moved: python tests/mutations.py --follow"
    assert mutation.old != mutation.new
    assert mutation.mode in mutations.MODES
    for test in mutation.tests:
        assert mutations.is_test(test), f"there is no test {test}"


def test_names_are_unique() -> None:
    names = [mutation.name for mutation in mutations.MUTATIONS]
    assert len(names) == len(set(names))


CODE = """
class Box:
    def take(self, things):
        # A comment, and a line break.
        total = sum(
            thing.weight for thing in things
        )
        for thing in things:
            if thing.broken:
                raise ValueError(f"thing {thing} is broken")
        return total


def other():
    return total
"""

KERNEL = """
__device__ float half_of(float x) { return x / 2; }  // return x
extern "C" __global__ void halve(const float* x, float* y, int size)
{
    for (int i = 0; i < size; i++) {
        y[i] = half_of(  x[i]  );
    }
}
"""


def planted(tmp_path: Path, file: str, text: str, function: str, old: str, new: str) -> str:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    return planting.plant(f"{file}:{function}", old, new, tmp_path)[1]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("thing.weight", "1", "total = sum((1 for thing in things))"),
        ("total = sum(thing.weight for thing in things)", "total = 0", "        total = 0\n"),
        ("for thing in things:", "for thing in things[1:]:", "for thing in things[1:]:\n"),
        ("if thing.broken:", "while True:", "while True:\n                raise ValueError"),
        ("raise ValueError(...)", "", "if thing.broken:\n                pass"),
    ],
)
def test_python_is_found_by_its_syntax(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert expected in planted(tmp_path, "code/box.py", CODE, "Box.take", old, new)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("i<size", "i <= size", "for (int i = 0; i <= size; i++)"),
        ("half_of(x[i]);", "x[i];", "y[i] = x[i];"),
    ],
)
def test_cuda_is_found_by_its_tokens(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert expected in planted(tmp_path, "code/halve.cu", KERNEL, "halve", old, new)


@pytest.mark.parametrize(
    ("file", "text", "function", "old", "problem"),
    [
        ("code/box.py", CODE, "Box.take", "thing", "occurs 5 times"),
        ("code/box.py", CODE, "Box.take", "return 0", "occurs 0 times"),
        ("code/box.py", CODE, "Box.give", "return total", "no function Box.give"),
        ("code/box.py", CODE, "", "return total", "occurs 2 times"),
        ("code/halve.cu", KERNEL, "halve", "return x", "occurs 0 times"),
    ],
)
def test_code_that_does_not_occur_exactly_once(
    tmp_path: Path, file: str, text: str, function: str, old: str, problem: str
) -> None:
    with pytest.raises(planting.NotFound, match=problem):
        planted(tmp_path, file, text, function, old, "0")
