"""Break the code on purpose, one bug at a time, and check that the tests notice.

``python tests/mutations.py`` copies the package into a temporary folder, plants one of the bugs
listed in ``tests/planted_bugs``, and runs the tests that are meant to catch it; they must fail.
A test that can't fail proves nothing.

    python tests/mutations.py              # all bugs, after the tests pass without any
    python tests/mutations.py lrn pool     # bugs whose name contains one of the words
    python tests/mutations.py gpu          # the GPU's bugs
    python tests/mutations.py --course     # bugs in what the course teaches: do its tests fail?
    python tests/mutations.py --list
    python tests/mutations.py --follow     # update the lists after code has moved

Each bug names a function and a piece of code in it, which is found by its syntax: see
``tests/planting.py``. It must occur exactly once; ``tests/test_mutations.py`` checks that in every
run of the suite, which keeps the lists up to date.
"""

from __future__ import annotations

import argparse
import compileall
import functools
import os
import re
import runpy
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import on_simulated_gpu
import planting

ROOT = planting.ROOT
LISTS = ROOT / "tests" / "planted_bugs"
COPIED = ("minidl", "tests", "examples", "docs", "setup.cfg", "pyproject.toml")

#: Which planted bugs the pages and the judges of the course must notice.
TAUGHT = ROOT / "tests" / "course" / "taught.py"


@dataclass(frozen=True)
class Mutation:
    """A planted bug: at `place`, `old` becomes `new`, and `tests` must fail."""

    name: str
    place: str
    old: str
    new: str
    tests: tuple[str, ...]
    mode: str = "cpu"  # one of MODES


#: Where the tests run: pytest's arguments, and additions to the environment.
MODES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "cpu": ((), {}),
    **{
        mode: (("--device=gpu-simulated",), environment)
        for mode, environment in on_simulated_gpu.MODES.items()
    },
}


def listed() -> list[Mutation]:
    """Return all bugs listed in ``tests/planted_bugs``."""
    found = []
    for path in sorted(LISTS.glob("*.py")):
        for name, place, old, new, tests, *mode in runpy.run_path(str(path))["BUGS"]:
            tests = (tests,) if isinstance(tests, str) else tests
            found.append(Mutation(name, place, old, new, tests, *mode))
    return found


MUTATIONS = listed()


def of_the_course() -> list[Mutation]:
    """Return the bugs in what the course teaches, with the tests of their page: the judge's first.

    Each page's solutions must be right, and the page built again must be what it was.
    """
    tests = "tests/course/test_exercises.py", "tests/course/test_pages.py", "-k"
    parts = "solution or plain_code or building_again"
    by_name = {mutation.name: mutation for mutation in MUTATIONS}
    return [
        replace(by_name[name], tests=(*tests, f"{page} and ({parts})"))
        for page, names in runpy.run_path(str(TAUGHT))["TAUGHT"].items()
        for name in names
    ]


@functools.cache
def _text(file: str) -> str:
    path = ROOT / file
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def is_test(test: str) -> bool:
    """Return whether a test exists: ``file::name[...]`` or ``file::Class::name``."""
    file, *names = test.partition("[")[0].split("::")
    return all(
        re.search(rf"\b(def|class) {name}\b|^{name} = ", text, re.MULTILINE)
        for name, text in zip(
            names, [_text(file), _text(file) + _text("tests/operation.py")], strict=False
        )
    )


def run_tests(folder: Path, tests: tuple[str, ...], mode: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the copy in `folder`, stopping at the first failure."""
    arguments, additions = MODES[mode]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += [*arguments, *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.update(additions)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def copy_project(folder: Path, names: tuple[str, ...] = COPIED) -> None:
    for name in names:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)


def check(mutation: Mutation, folder: Path) -> str | None:
    """Plant the bug; return None if the tests caught it, otherwise the problem."""
    try:
        file, planted = planting.plant(mutation.place, mutation.old, mutation.new, folder)
    except planting.NotFound as error:
        return str(error)
    path = folder / file
    source = path.read_text(encoding="utf-8")
    path.write_text(planted, encoding="utf-8")
    try:
        result = run_tests(folder, mutation.tests, mutation.mode)
    finally:
        path.write_text(source, encoding="utf-8")
    if result.returncode == 0:
        return "SURVIVED: no test failed"
    if result.returncode != 1:  # no test failed: none was found, or there is a syntax error, ...
        return f"pytest ended with code {result.returncode}:\n{result.stdout}{result.stderr}"
    return None


def follow() -> int:
    """Update the lists where moved code is found exactly once; return the number of other bugs."""
    left = 0
    for mutation in MUTATIONS:
        if not (problem := planting.problem(mutation.place, mutation.old, mutation.new)):
            continue
        places = planting.elsewhere(mutation.old, mutation.new)
        name = mutation.place.rpartition(".")[2].rpartition(":")[2]
        # If there are several, prefer a function of the same name.
        places = [place for place in places if re.split("[.:]", place)[-1] == name] or places
        if len(places) != 1:
            print(f"{mutation.name}: {problem}")
            left += 1
            continue
        for path in LISTS.glob("*.py"):
            before, found, rest = path.read_text("utf-8").partition(f'"{mutation.name}"')
            if found:
                rest = rest.replace(f'"{mutation.place}"', f'"{places[0]}"', 1)
                path.write_text(before + found + rest, encoding="utf-8")
                print(f"{mutation.name}: now at {places[0]}")
    return left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only bugs whose name contains one of these")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    parser.add_argument("--follow", action="store_true", help="look for code that has moved")
    parser.add_argument("--course", action="store_true", help="only with the course's own tests")
    arguments = parser.parse_args()
    if arguments.follow:
        return min(follow(), 1)
    chosen = [
        m
        for m in (of_the_course() if arguments.course else MUTATIONS)
        if not arguments.words or any(w in m.name for w in arguments.words)
    ]
    if arguments.list or not chosen:
        print("\n".join(f"{m.name:55} {m.place}" for m in chosen) or "no bug has such a name")
        return 0 if chosen else 2

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_project(folder)
        compileall.compile_dir(folder / "minidl", quiet=1)
        for mode in dict.fromkeys(m.mode for m in chosen):
            together = [t for m in chosen if m.mode == mode for t in m.tests]
            tests = tuple(dict.fromkeys(together))
            if arguments.course:  # each bug's tests end with a choice of names
                parts = dict.fromkeys(m.tests[-1] for m in chosen)
                tests = (*chosen[0].tests[:-1], " or ".join(f"({part})" for part in parts))
            green = run_tests(folder, tests, mode)
            if green.returncode != 0:
                print(f"the tests are not green before any bug is planted:\n{green.stdout}")
                return 2
        failures = 0
        for mutation in chosen:
            start = time.monotonic()
            problem = check(mutation, folder)
            failures += problem is not None
            verdict = "caught" if problem is None else problem
            print(f"{mutation.name:55} {time.monotonic() - start:5.1f} s  {verdict}", flush=True)
    print(f"{len(chosen) - failures} of {len(chosen)} planted bugs caught")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
