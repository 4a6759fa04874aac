"""A bug in the library turns the judge red: ``python tests/mutations.py --course`` plants more."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import mutations
import planting
import pytest
from taught import IN_EVERY_RUN, TAUGHT

NAMES = {mutation.name: mutation for mutation in mutations.MUTATIONS}
PAGE = {name: page for page, names in TAUGHT.items() for name in names}


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Return what the judge says of a page's solutions, with a copy of the library."""
    folder = tmp_path_factory.mktemp("copy")
    mutations.copy_project(folder, ("minidl",))
    compileall.compile_dir(folder / "minidl", quiet=1)
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}

    def verdicts(page: str) -> str:
        solutions = Path(__file__).parent / "solutions" / f"{page}.py"
        command = [sys.executable, "-m", "minidl.course", "check", str(solutions)]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
        )
        return done.stdout + done.stderr

    verdicts.folder = folder  # type: ignore[attr-defined]
    return verdicts


def test_the_judge_is_green_without_a_bug(judge: Callable[[str], str]) -> None:
    assert "4 of 4 exercises are right" in judge("13_speed")


@pytest.mark.parametrize("name", IN_EVERY_RUN)
def test_the_judge_notices_a_bug(judge: Callable[[str], str], name: str) -> None:
    bug, folder = NAMES[name], judge.folder  # type: ignore[attr-defined]
    file, planted = planting.plant(bug.place, bug.old, bug.new, folder)
    source = (folder / file).read_text(encoding="utf-8")
    (folder / file).write_text(planted, encoding="utf-8")
    try:
        said = judge(PAGE[name])
    finally:
        (folder / file).write_text(source, encoding="utf-8")
    assert ": not yet: " in said


def test_the_lists_name_planted_bugs() -> None:
    assert set(PAGE) <= set(NAMES)
