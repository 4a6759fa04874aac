"""The guides are correct: links have targets, code runs, excerpts equal the files."""

from __future__ import annotations

import doctest
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDES = sorted((ROOT / "docs").glob("*.md"))
PAGES = [*GUIDES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
ALL = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

#: A fenced block, its language, and the comment above it, if there is one.
BLOCK = re.compile(r"(?:<!-- ([^\n]*?) -->\n)?```(\S*)\n(.*?)```", re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@ALL
def test_links_have_targets(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


@ALL
def test_named_code_is_in_the_file_that_it_links_to(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name, file in re.findall(r"\[`(\w+)`\]\((\S+\.py)\)", text):
        source = (page.parent / file).read_text(encoding="utf-8")
        assert re.search(rf"^(def|class) {name}\b", source, re.MULTILINE), f"{name}: {file}"


@ALL
def test_cited_paths_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for path in re.findall(r"`((?:minidl|tests|examples|benchmarks|docs)/[\w./-]*)", text):
        assert (ROOT / path).exists(), f"{page.name}: {path}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_code_runs(page: Path) -> None:
    """A page's blocks run one after the other; excerpts from a file must equal it."""
    names: dict[str, object] = {"__name__": page.stem}
    for comment, language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        if comment.startswith("from "):
            source = (ROOT / comment.removeprefix("from ")).read_text(encoding="utf-8")
            wanted = textwrap.dedent(code).strip("\n")
            assert any(textwrap.indent(wanted, " " * n) in source for n in (0, 4, 8, 12)), code
        elif language != "python":
            continue
        elif ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), 0)
            runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
            runner.run(test, clear_globs=False)
            assert runner.failures == 0, code
            names.update(test.globs)
        else:
            exec(compile(code, page.name, "exec"), names)


def test_every_guide_is_in_the_contents() -> None:
    contents = [
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("index.md", "README.md")
    ]
    for page in GUIDES:
        if page.name not in ("index.md", "README.md"):
            assert f"\n{page.stem}\n" in contents[0], page.name
            assert f"]({page.name})" in contents[1], page.name


def test_the_linter_is_one_version_everywhere() -> None:
    (wanted,) = re.findall(r"ruff(>=\S+)", (ROOT / "setup.cfg").read_text(encoding="utf-8"))
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r'"ruff(>=[^"]+)"', hooks) == [wanted, wanted]
