"""``python -m minidl``: the report of the machine, which a bug report should include.

``python -m minidl scan FOLDER`` names every suspicious picture file of a folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from .training.machine import report
from .vision import scan


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m minidl",
        description="Report the versions, BLAS, threads, memory, CuPy and GPUs in use, and for "
        "whatever is missing the command that installs it.",
    )
    parser.set_defaults(run=_report)
    commands = parser.add_subparsers(title="commands")
    scan_parser = commands.add_parser("scan", help="name every suspicious picture of a folder")
    scan.add_arguments(scan_parser)
    scan_parser.set_defaults(run=scan.run)
    arguments = parser.parse_args(argv)
    status: int = arguments.run(arguments)
    return status


def _report(arguments: argparse.Namespace) -> int:
    print(report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
