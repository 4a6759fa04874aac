"""``python -m minidl.course list | start DIR | check FILE...``."""

from __future__ import annotations

import argparse
import sys

from ..errors import ArgumentError
from .checking import check, start
from .exercises import PAGES, exercises


def main(given: list[str] | None = None) -> int:
    """Run a command; return 0 if all verdicts are right, 1 if not, 2 for misuse."""
    parser = argparse.ArgumentParser(
        "python -m minidl.course", description="Layers from the inside."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the pages and their exercises")
    commands.add_parser("start", help="write files to fill in").add_argument(
        "folder", metavar="DIR"
    )
    add = commands.add_parser("check", help="judge files").add_argument
    add("files", nargs="+", metavar="FILE", help="such as DIR/08_pooling.py")
    options = parser.parse_args(given)
    try:
        return {"list": _list, "start": _start, "check": _check}[options.command](options)
    except (ArgumentError, OSError) as error:
        print(f"python -m minidl.course: {error}", file=sys.stderr)
        return 2


def _list(options: argparse.Namespace) -> int:
    for page, title in PAGES.items():
        print(f"{page}: {title}")
        for exercise in exercises(page):
            print(f"    {exercise.name:24} {exercise.task}")
    return 0


def _start(options: argparse.Namespace) -> int:
    written = start(options.folder)
    for path in written:
        print(path)
    print(f"{len(written)} files written; python -m minidl.course check {options.folder}/*_*.py")
    return 0


def _check(options: argparse.Namespace) -> int:
    verdicts = [(file, verdict) for file in options.files for verdict in check(file)]
    for file, verdict in verdicts:
        mark = "right" if verdict.passed else "not yet"
        print(f"{file}: {verdict.exercise}: {mark}: {verdict.message}")
    right = sum(verdict.passed for _, verdict in verdicts)
    print(f"{right} of {len(verdicts)} exercises are right")
    return 0 if right == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
