"""Build the course's pages: run each once, and write it for GitHub, for Jupyter and for the site.

    python docs/course/build.py [PAGE...]     (all pages, or such as 08_pooling)
    python docs/course/build.py --serve       (build everything and the site, and open a server)

A page's one source is ``NN_name.py`` (py:percent). From it come

- ``NN_name.md`` and ``NN_name_files/*.svg``, which read well on GitHub,
- ``notebooks/NN_name.ipynb``, without outputs, for Jupyter and Colab,
- ``site/NN_name.ipynb``, with outputs, for Sphinx (git ignores it).

A warning in a cell is an error. Cells whose output differs from run to run, such as times, are
tagged ``measured``: the Markdown leaves their output out. ``hide-input`` hides a cell's code.
"""

from __future__ import annotations

import argparse
import copy
import functools
import http.server
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
INSTALL = "# In Colab, first: %pip install matplotlib, and minidl from its repository or wheel"
STRICT, LENIENT = (f'import warnings; warnings.simplefilter("{k}")' for k in ("error", "ignore"))


def sources() -> list[Path]:
    """Return the pages' sources, in order."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def build(source: Path) -> float:
    """Build one page; return the seconds that its cells took."""
    notebook = jupytext.read(source)
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3",
                                        "language": "python"}}  # fmt: skip
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"
    write(bare(notebook), HERE / "notebooks" / f"{source.stem}.ipynb")
    started = time.perf_counter()
    run(notebook, source.name)
    seconds = time.perf_counter() - started
    write_markdown(notebook, source.stem)
    write(relinked(notebook), HERE / "site" / f"{source.stem}.ipynb")
    return seconds


def bare(notebook: Any) -> Any:
    """Return the notebook for Jupyter, before it is run: no outputs, and how to install."""
    result = relinked(notebook)
    first = nbformat.v4.new_code_cell(INSTALL)
    first.id = "install"
    result.cells.insert(1, first)
    return result


def run(notebook: Any, name: str) -> None:
    """Run all cells in an empty folder, in place; what goes to stderr is an error."""
    strict, lenient = map(nbformat.v4.new_code_cell, (STRICT, LENIENT))  # the kernel itself warns
    pages = copy.copy(notebook.cells)
    notebook.cells = [strict, *pages, lenient]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        quiet = ["--IPKernelApp.log_level=50"]
        client = NotebookClient(notebook, timeout=600, resources=where, extra_arguments=quiet)
        client.execute(env={**os.environ, "PYTHONPATH": paths})
    notebook.cells = pages
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if "outputs" in cell:
            cell.outputs = merged(cell.outputs)
        for output in cell.get("outputs", ()):
            if output.get("name") == "stderr":
                raise SystemExit(f"{name}: a cell wrote to stderr: {output.text}")
            alt = output.get("metadata", {}).get("image/svg+xml", {}).get("alt")
            if alt:
                cell.metadata["mystnb"] = {"image": {"alt": alt}}


def merged(outputs: list[Any]) -> list[Any]:
    """Join what was printed one after another: how it arrives is chance."""
    result: list[Any] = []
    for output in outputs:
        if result and output.get("name") and output.get("name") == result[-1].get("name"):
            result[-1].text += output.text
        else:
            result.append(output)
    return result


def relinked(notebook: Any) -> Any:
    """Return a copy for a folder one level deeper, where the other pages lie beside it."""
    result = copy.deepcopy(notebook)
    for cell in result.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"\]\((\d\d_\w+)\.md", r"](\1.ipynb", cell.source)
            cell.source = re.sub(r"\]\((?!https?:|#|\d\d_\w+\.ipynb)", "](../", text)
    return result


def write_markdown(notebook: Any, page: str) -> None:
    """Write the page as Markdown, and its figures as SVG files."""
    folder = HERE / f"{page}_files"
    folder.mkdir(exist_ok=True)
    parts, drawn = [], dict[str, str]()
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        if "hide-input" not in tags:
            parts.append(f"```python\n{cell.source}\n```")
        if "measured" in tags:
            parts.append("*(Run the cell: the numbers depend on your machine.)*")
            continue
        for output in cell.outputs:
            data = output.get("data", {})
            if svg := data.get("image/svg+xml"):
                if svg not in drawn.values():
                    name = f"{len(drawn) + 1}.svg"
                    drawn[name], alt = svg, output.metadata["image/svg+xml"]["alt"]
                    parts.append(f"![{alt}]({page}_files/{name})")
                if "text/html" in data:
                    parts.append("*(Interactive in the notebook and on the site.)*")
            elif "text/markdown" in data:
                parts.append(data["text/markdown"])
            elif text := output.get("text") or data.get("text/plain"):
                parts.append(f"```text\n{text.rstrip()}\n```")
    for name, svg in drawn.items():
        (folder / name).write_text(svg, encoding="utf-8")
    for old in set(folder.iterdir()) - {folder / name for name in drawn}:
        old.unlink()
    (HERE / f"{page}.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def write(notebook: Any, path: Path) -> None:
    """Write a notebook."""
    path.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, path)


def build_site() -> Path:
    """Build the site; return its folder."""
    site = ROOT / "build" / "docs"
    options = ["-q", "-W", "--keep-going", "-d", str(ROOT / "build" / "doctrees")]
    command = [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), str(site)]
    subprocess.run(command, check=True)
    return site


def main() -> None:
    """Build what the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "pages", nargs="*", metavar="PAGE", help="such as 08_pooling (default: all)"
    )
    parser.add_argument("--serve", action="store_true", help="build the site, too, and serve it")
    options = parser.parse_args()
    unknown = set(options.pages) - {source.stem for source in sources()}
    if unknown:
        parser.error(f"there is no page {min(unknown)}")
    for source in sources():
        if not options.pages or source.stem in options.pages:
            print(f"{source.stem}: {build(source):.1f} s", flush=True)
    if options.serve:
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=build_site())
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), handler)
        print("http://127.0.0.1:8000/course/index.html (Ctrl-C ends it)")
        server.serve_forever()


if __name__ == "__main__":
    main()
