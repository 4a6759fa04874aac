"""The course's pages: no number typed by hand, no dead link, built files as their sources say."""

from __future__ import annotations

import importlib.util
import json
import pkgutil
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from programs import ROOT
from test_docs import anchors

from minidl.course import PAGES, exercises

FOLDER = ROOT / "docs" / "course"
SOURCES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
for_each_page = pytest.mark.parametrize("source", SOURCES, ids=[path.stem for path in SOURCES])

#: Decimals that prose may hold: the recipe of Krizhevsky, Sutskever and Hinton (2012), section 5.
FROM_THE_PAPER = {"0.9", "0.0005", "0.01", "0.5", "0.2"}


#: Another matplotlib writes other paths for the same arrays.
DRAWN_WITH = "3.11."

#: Figures of rounding errors: each processor's BLAS adds up in another order.
OF_ROUNDING = {"13_speed/2.svg", "14_precision/4.svg"}


def coordinates(drawing: Path) -> np.ndarray:
    """Return the numbers of all paths of an SVG file, in points with two decimals."""
    paths = re.findall(r'\bd="([^"]*)"', drawing.read_text(encoding="utf-8"))
    return np.array(re.findall(r"-?\d+(?:\.\d+)?", " ".join(paths)), float)


def prose(source: Path) -> Iterator[str]:
    """Yield the Markdown cells of a page."""
    cells = source.read_text(encoding="utf-8").split("# %%")
    for cell in cells:
        if cell.startswith(" [markdown]"):
            yield "\n".join(line.removeprefix("#").strip() for line in cell.splitlines()[1:])


@for_each_page
def test_pages_belong_to_the_course(source: Path) -> None:
    assert source.stem in PAGES
    text = "\n".join(prose(source))
    for exercise in exercises(source.stem):
        assert f"`{exercise.name}`" in text, f"the page does not mention {exercise.name}"


@for_each_page
def test_no_decimal_is_typed(source: Path) -> None:
    for cell in prose(source):
        text = re.sub(r"\]\([^)]*\)|`[^`]*`", "", cell)  # links and code
        typed = set(re.findall(r"\b\d+\.\d+\b", text)) - FROM_THE_PAPER
        assert not typed, f"compute {typed} in a cell"


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_links_and_symbols_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, anchor = target.partition("#")
        if not target.startswith("https://"):
            linked = FOLDER / file if file else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), target
    for path in re.findall(r"`(minidl/[\w/]+\.\w+)`", text):
        assert "NN_" in path or (ROOT / path).exists(), path
    for symbol in re.findall(r"`(minidl(?:\.\w+)+)", text):
        pkgutil.resolve_name(symbol)
    for symbol in re.findall(r"`((?:nn|F|optim)\.\w+)", text):
        short = symbol.replace("F.", "nn.functional.")
        pkgutil.resolve_name(f"minidl.{short}")


@for_each_page
def test_figures_say_what_they_show(source: Path) -> None:
    built = (FOLDER / f"{source.stem}.md").read_text(encoding="utf-8")
    figures = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", built)
    assert figures
    for alt, path in figures:
        assert len(alt) >= 40
        assert (FOLDER / path).read_text(encoding="utf-8").startswith('<svg role="img"')


@for_each_page
def test_the_notebook_has_the_source_s_cells(source: Path) -> None:
    path = FOLDER / "notebooks" / f"{source.stem}.ipynb"
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in code)
    text = source.read_text(encoding="utf-8")
    assert len(code) - 1 == text.count("\n# %%") - text.count("\n# %% [markdown]")
    for cell in code[1:]:
        assert "".join(cell["source"]) in text


@pytest.fixture(scope="module")
def build() -> Iterator[ModuleType]:
    for name in ("jupytext", "nbclient", "ipykernel"):
        pytest.importorskip(name, reason="the pages are built with: pip install '.[docs]'")
    spec = importlib.util.spec_from_file_location("course_build", FOLDER / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["course_build"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["course_build"]


@for_each_page
def test_building_again_changes_nothing(
    source: Path, build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(source, tmp_path)
    monkeypatch.setattr(build, "HERE", tmp_path)
    build.build(tmp_path / source.name)

    for name in (f"{source.stem}.md", f"notebooks/{source.stem}.ipynb"):
        new, old = ((folder / name).read_text("utf-8") for folder in (tmp_path, FOLDER))
        assert new == old, f"{name}: python docs/course/build.py {source.stem}"
    drawn, committed = (folder / f"{source.stem}_files" for folder in (tmp_path, FOLDER))
    names = {path.name for path in committed.iterdir()}
    assert names == {path.name for path in drawn.iterdir()}
    matplotlib = pytest.importorskip("matplotlib")
    for name in names if matplotlib.__version__.startswith(DRAWN_WITH) else ():
        new, old = coordinates(drawn / name), coordinates(committed / name)
        apart = 20 if f"{source.stem}/{name}" in OF_ROUNDING else 1
        assert new.shape == old.shape and np.abs(new - old).max(initial=0) < apart, name
