"""Sphinx settings: the guides in this folder, and an API reference generated from the docstrings.

``python -m sphinx -W --keep-going docs build/docs`` needs no network.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE), str(HERE / "course")]

import minidl  # noqa: E402

course = importlib.import_module("build")  # course/build.py

project = "minidl"
author = "the minidl authors"
version = release = minidl.__version__

extensions = [
    "myst_nb",
    "mathml",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
html_theme = "furo"
html_title = "minidl"
html_copy_source = False
exclude_patterns = ["README.md", "course/[0-9]*.md", "course/notebooks", "course/**/*.py"]
nb_execution_mode = "off"  # the course's build runs the pages
nb_mime_priority_overrides = [("html", "text/html", 1)]
nb_render_markdown_format = "myst"  # tables and formulas in what cells show, too
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
autosummary_generate = False
toc_object_entries = False  # else the sidebar of each page lists every method
default_role = "literal"  # `name` in a docstring is an argument
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_ivar = True  # attributes as a list: as objects they would duplicate properties
napoleon_use_param = False  # types are prose ("array, shape (N, C)"), not names to look up
napoleon_use_rtype = False

#: The comments before and after the plain code in a page of ``minidl/nn``.
PLAIN_CODE, OPERATION = "# --- The plain code", "# --- The operation"

#: The public modules, in the order of the reference.
MODULES = (
    "minidl",
    "minidl.nn",
    "minidl.nn.functional",
    "minidl.nn.fusion",
    "minidl.nn.init",
    "minidl.nn.utils",
    "minidl.autograd",
    "minidl.optim",
    "minidl.optim.lr_scheduler",
    "minidl.data",
    "minidl.vision.datasets",
    "minidl.vision.transforms",
    "minidl.vision.models",
    "minidl.vision.batches",
    "minidl.vision.figures",
    "minidl.vision.metrics",
    "minidl.vision.neighbors",
    "minidl.vision.picture_options",
    "minidl.vision.predictions",
    "minidl.vision.runs",
    "minidl.vision.scan",
    "minidl.vision.statistics",
    "minidl.vision.submission",
    "minidl.vision.bad_images",
    "minidl.training",
    "minidl.training.command_line",
    "minidl.training.schedules",
    "minidl.training.report",
    "minidl.training.machine",
    "minidl.checkpoint",
    "minidl.random",
    "minidl.cuda",
    "minidl.amp",
    "minidl.errors",
)


def public_names(module: ModuleType) -> list[str]:
    """Return the documented classes and functions that a module offers."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (module is minidl or getattr(value, "__module__", "") == module.__name__)
        ]
    values = {name: getattr(module, name) for name in names}
    return [
        name
        for name, value in values.items()
        if (inspect.isclass(value) or inspect.isroutine(value))
        and value.__module__.startswith("minidl")  # not NumPy's float32
    ]


def new_folder(name: str) -> Path:
    """Return an emptied folder for generated pages; git ignores it."""
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.rst"):
        old.unlink()
    return folder


def write_reference() -> None:
    """Write a page for every public module: its docstring, a table, and every name in full.

    ``Tensor``, with its hundreds of methods, has a page of its own.
    """
    folder = new_folder("api")
    tensor = ["Tensor", "======", "", ".. currentmodule:: minidl", "", ".. autoclass:: Tensor"]
    (folder / "Tensor.rst").write_text("\n".join(tensor) + "\n", encoding="utf-8")
    seen: set[int] = {id(minidl.Tensor)}  # the objects that have an entry in the index
    for path in MODULES:
        names = public_names(importlib.import_module(path))
        lines = [path, "=" * len(path), "", f".. automodule:: {path}", "   :no-members:", ""]
        lines += [f".. currentmodule:: {path}", "", ".. autosummary::", ""]
        lines += [f"   {name}" for name in names]
        for name in names:
            value = getattr(sys.modules[path], name)
            if value is minidl.Tensor:
                continue
            kind = "class" if inspect.isclass(value) else "function"
            lines += ["", f".. auto{kind}:: {path}::{name}"]
            if id(value) in seen:
                lines.append("   :no-index:")
            seen.add(id(value))
        (folder / f"{path}.rst").write_text("\n".join(lines) + "\n", encoding="utf-8")
    contents = ["API reference", "=============", "", ".. toctree::", ""]
    contents += [f"   {path}" for path in (MODULES[0], "Tensor", *MODULES[1:])]
    (folder / "index.rst").write_text("\n".join(contents) + "\n", encoding="utf-8")


def write_layers() -> None:
    """Write a page for every page of ``minidl/nn``: its docstring and its plain code."""
    folder = new_folder("layers")
    sources = sorted(Path(minidl.nn.__file__).parent.glob("*.py"))
    names = [source.stem for source in sources if PLAIN_CODE in source.read_text(encoding="utf-8")]
    for name in names:
        lines = [name, "=" * len(name), "", f".. automodule:: minidl.nn.{name}"]
        lines += ["   :no-members:", "   :no-index:", ""]
        lines += [f".. literalinclude:: ../../minidl/nn/{name}.py"]
        lines += [f"   :start-at: {PLAIN_CODE}", f"   :end-before: {OPERATION}"]
        (folder / f"{name}.rst").write_text("\n".join(lines) + "\n", encoding="utf-8")
    contents = ["Layers, page by page", "====================", ""]
    contents += [
        "The math and the plain code of every layer, copied from ``minidl/nn/``.",
        "",
    ]
    contents += [".. toctree::", "", *(f"   {name}" for name in names)]
    (folder / "index.rst").write_text("\n".join(contents) + "\n", encoding="utf-8")


def set_formulas(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Turn a page's indented formulas into literal blocks; keep |x| in its prose."""
    if what != "module" or not name.startswith("minidl."):
        return
    for number, line in enumerate(lines):
        if not line.startswith(" "):
            parts = line.split("``")  # every second part is code
            parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
            lines[number] = "``".join(parts)
    for number in range(len(lines) - 1, 1, -1):
        line, above, before = lines[number], lines[number - 1], lines[number - 2]
        begins = line.startswith("    ") and not above.strip() and before.strip()
        if begins and before[0] != " " and not before.endswith("::"):
            lines[number - 1 : number] = ["", "::", ""]


def link_course(app: Any, name: str, text: list[str]) -> None:
    """Let links to a page of the course lead to its copy with outputs."""
    if name.startswith("course/"):
        text[0] = re.sub(r"\]\((\d\d_\w+)\.md\)", r"](site/\1.ipynb)", text[0])


def slim(app: Any, page: str, template: str, context: Any, doctree: Any) -> None:
    """Leave out markup that changes nothing on the screen: a tenth of the site."""

    def signature(found: re.Match[str]) -> str:
        text = re.sub(r' title="minidl[^"]*"', "", found[0])
        for _ in range(2):  # they are nested
            text = re.sub(r'<span class="(?:[pwno]|default_value)">([^<]*)</span>', r"\1", text)
        return text

    body = re.sub(r'<span class="pre">([^<]*)</span>', r"\1", context.get("body", ""))
    body = re.sub(r' title="Link to this \w+"', "", body)
    context["body"] = re.sub(r'<dt class="sig.*?</dt>', signature, body, flags=re.DOTALL)


def open_to_keyboards(app: Any, page: str, template: str, context: Any, doctree: Any) -> None:
    """Let keyboards scroll what is wider than the page; say what summaries and headings are."""
    wide = r'<(?=pre[ >]|div class="(?:math|table)-wrapper)(pre|div)'
    body = re.sub(wide, r'<\1 tabindex="0"', context.get("body", ""))
    context["body"] = body.replace(' aria-label="Toggle hidden content"', "")  # the text says more
    for part in "body", "furo_navigation_tree":
        level = 'role="heading" aria-level="2"'
        context[part] = context.get(part, "").replace('role="heading"', level)


def setup(app: Any) -> None:
    """Connect to Sphinx."""
    app.connect("html-page-context", open_to_keyboards, priority=900)  # after the theme's own
    app.connect("html-page-context", slim, priority=901)
    app.connect("source-read", link_course)
    app.connect("autodoc-process-docstring", set_formulas)


def write_course() -> None:
    """Build the pages of the course that are not there yet, or are older than their source."""
    for source in course.sources():
        page = HERE / "course" / "site" / f"{source.stem}.ipynb"
        if not page.exists() or page.stat().st_mtime < source.stat().st_mtime:
            course.build(source)


write_reference()
write_layers()
write_course()
