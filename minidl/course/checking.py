"""The files that a reader fills in: written by :func:`start`, judged by :func:`check`."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from ..errors import ArgumentError
from ..files import write_atomically
from .exercises import PAGES, exercises
from .judging import Verdict, judge

__all__ = ["check", "start"]

_TEST = '''"""The verdicts on all files of this folder: pytest, or pytest --junitxml=results.xml."""

from pathlib import Path

import pytest

from minidl.course import check
from minidl.course.checking import cases


@pytest.mark.parametrize("file, exercise", cases(Path(__file__).parent))
def test_exercise(file, exercise):
    (verdict,) = check(Path(__file__).parent / file, exercise)
    assert verdict.passed, verdict.message
'''


def start(folder: str | os.PathLike[str]) -> list[Path]:
    """Write a file for each page, with stubs to fill in, and a test for pytest.

    Parameters
    ----------
    folder : str or path-like
        Made if it does not exist. Files that exist are left alone.

    Returns
    -------
    list of Path
        The files that were written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {f"{page}.py": _stubs(page) for page in PAGES if exercises(page)}
    contents["test_course.py"] = _TEST
    written = []
    for name, text in contents.items():
        if not (folder / name).exists():
            write_atomically(folder / name, [text.encode()])
            written.append(folder / name)
    return written


def _stubs(page: str) -> str:
    """Return the file of a page."""
    head = (
        f'"""{PAGES[page]}: the exercises of the page {page}.\n\nReplace each function\'s last '
        f"line. The judge: python -m minidl.course check {page}.py\n"
        f'"""\n\nimport numpy as np\n'
    )
    return "\n\n".join([head, *(inspect.getsource(each.stub) for each in exercises(page))])


def check(file: str | os.PathLike[str], exercise: str | None = None) -> list[Verdict]:
    """Judge the functions in a reader's file.

    The file is executed: it is a program of the reader's own.

    Parameters
    ----------
    file : str or path-like
        Named like its page: ``08_pooling.py``.
    exercise : str, optional
        Default: all of the page.

    Returns
    -------
    list of Verdict

    Raises
    ------
    ArgumentError
        The file is missing, or its name or `exercise` is none of the course's.
    """
    file = Path(file)
    chosen = [each for each in exercises(_page(file)) if exercise in (None, each.name)]
    if not chosen:
        raise ArgumentError(f"{file}: its page has no exercise {exercise or ''}".rstrip())
    if not file.is_file():
        raise ArgumentError(f"there is no file {file}; python -m minidl.course start DIR makes it")
    try:
        module = _load(file)
    except Exception as error:
        return [Verdict(each.name, False, _reason(file, error)) for each in chosen]
    verdicts = []
    for each in chosen:
        function = getattr(module, each.name, None)
        if callable(function):
            verdicts.append(judge(each, function))
        else:
            verdicts.append(Verdict(each.name, False, f"{file.name} has no function {each.name}"))
    return verdicts


def cases(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the files of a folder with the names of their exercises."""
    for page in PAGES:
        if (folder / f"{page}.py").is_file():
            for each in exercises(page):
                yield f"{page}.py", each.name


def _page(file: Path) -> str:
    for page in PAGES:
        if file.stem == page:
            return page
    raise ArgumentError(f"{file}: expected the name of a page, such as 08_pooling.py")


def _load(file: Path) -> ModuleType:
    """Run a file as a module of its own, which nothing else imports."""
    spec = spec_from_file_location(f"course_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module, before = module_from_spec(spec), sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # an edit within a second must not find old bytecode
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def _reason(file: Path, error: Exception) -> str:
    """Return why a file can't be run, with the line."""
    if isinstance(error, SyntaxError):
        return f"{file.name}, line {error.lineno}: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__)
              if frame.filename == str(file)]  # fmt: skip
    line = f", line {frames[-1].lineno}" if frames else ""
    return f"{file.name}{line}: {type(error).__name__}: {error}"
