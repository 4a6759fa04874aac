"""Results of several machines side by side: ``python benchmarks/compare.py`` [FILE ...].

Reads the JSON files that the benchmarks write (default: all in ``benchmarks/results``) and prints
one table: the machines, and every line of their reports' "In short". ``run.py`` writes it to
``side-by-side.md`` beside its own results.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from harness import HERE, table

RESULTS = HERE / "results"

#: Facts of a machine that explain its figures.
FACTS = (
    "processor", "threads", "sgemm (NumPy)", "sgemm (PyTorch)", "copy", "NumPy", "torch",
    "onnxruntime", "jax", "rounds", "measured with",
)  # fmt: skip


def read(files: list[Path]) -> dict[str, Any]:
    """Return the contents of the files that have figures, by name."""
    contents = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}
    return {name: content for name, content in contents.items() if "In short" in content}


def side_by_side(machines: dict[str, Any]) -> str:
    """Return the table: a column for each machine, and the aims of the latest that has them."""
    figures = {
        name: {what: (value, aim) for what, value, aim in content["In short"]}
        for name, content in machines.items()
    }
    rows = []
    for fact in FACTS:
        values = [str(content["stamp"].get(fact, "")) for content in machines.values()]
        if any(values):
            rows.append([fact, *values, ""])
    for what in dict.fromkeys(what for own in figures.values() for what in own):
        found = [own.get(what, ("", "")) for own in figures.values()]
        aims = [aim for _, aim in found if aim]
        rows.append([what, *(value for value, _ in found), aims[-1] if aims else ""])
    return table(("what", *machines, "aim"), rows)


def write(folder: Path) -> None:
    """Compare all results in a folder in its ``side-by-side.md``."""
    text = side_by_side(read(sorted(folder.glob("*.json"))))
    page = f"# Results side by side\n\nWritten by `python benchmarks/run.py`.\n\n{text}\n"
    (folder / "side-by-side.md").write_text(page, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="JSON files")
    files = parser.parse_args().files or sorted(RESULTS.glob("*.json"))
    print(side_by_side(read(files)))


if __name__ == "__main__":
    main()
