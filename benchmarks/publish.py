"""Reports: measured, printed with the stamp of the machine, and written to files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence

import compare
import machine
from harness import Report, Settings, parse, settings_of, table


def main(measure: Callable[[Settings], Report], description: str | None) -> None:
    """Run one script as a program: print its report and, with ``--name``, write it to files."""
    arguments = parse(description)
    publish([measure], settings_of(arguments), arguments, write=arguments.name is not None)


def publish(
    measures: Sequence[Callable[[Settings], Report]],
    settings: Settings,
    arguments: argparse.Namespace,
    write: bool,
) -> None:
    """Measure, print the reports with the machine's stamp, and write them to files."""
    stamp = machine.stamp(settings)
    print(machine.as_text(stamp), flush=True)
    reports = []
    for measure in measures:
        reports.append(measure(settings))
        print("\n" + reports[-1].markdown(), flush=True)
    figures = [figure for report in reports for figure in report.figures]
    summary = "## In short\n\n" + table(("what", "measured", "aim"), figures)
    if figures:
        print("\n" + summary)
    if not write:
        return
    name = arguments.name or machine.file_name(stamp)
    arguments.results.mkdir(parents=True, exist_ok=True)
    sections = [
        f"# Benchmarks: {stamp['processor']}, {settings.threads} threads",
        machine.as_text(stamp),
        *([summary] if figures else []),
        *(report.markdown() for report in reports),
    ]
    page, data = (arguments.results / f"{name}.{ending}" for ending in ("md", "json"))
    page.write_text("\n\n".join(sections) + "\n", encoding="utf-8")
    content = {"stamp": stamp, "In short": figures}
    content |= {report.title: report.data for report in reports}
    data.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    compare.write(arguments.results)
    print(f"\nwritten: {page.name}, {data.name} and side-by-side.md in {arguments.results}")
