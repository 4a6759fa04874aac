"""``python -m minidl``: the report of the machine, which a bug report should include.

``python -m minidl scan FOLDER`` names every suspicious picture file of a folder; ``inspect FILE``
prints what a file of weights holds, ``convert IN OUT`` makes another kind of file of it, and
``evaluate FILE FOLDER`` prints its errors on labeled pictures.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .training.machine import report
from .vision import scan
from .vision.weights import convert, evaluation


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
    inspect_parser = commands.add_parser("inspect", help="print what a file of weights holds")
    convert.add_inspect_arguments(inspect_parser)
    inspect_parser.set_defaults(run=convert.run_inspect)
    convert_parser = commands.add_parser("convert", help="make another kind of file of weights")
    convert.add_convert_arguments(convert_parser)
    convert_parser.set_defaults(run=convert.run_convert)
    evaluate_parser = commands.add_parser(
        "evaluate", help="print the errors of weights on pictures"
    )
    evaluation.add_arguments(evaluate_parser)
    evaluate_parser.set_defaults(run=evaluation.run)
    arguments = parser.parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # such as "| head", which has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status


def _report(arguments: argparse.Namespace) -> int:
    print(report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
