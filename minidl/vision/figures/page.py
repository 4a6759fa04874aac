"""A page of figures: one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...files import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Page", "encode_png"]

_STYLE = """\
:root{color-scheme:light dark}
body{font:16px/1.5 Helvetica,Arial,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
figure{margin:1rem 0 2rem}figcaption{opacity:.8;max-width:46rem}
img{max-width:100%;height:auto;background:#fff;border-radius:4px}
svg{max-width:100%;height:auto}
.pixels{image-rendering:pixelated}
.scroll{overflow-x:auto}
table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.25rem .75rem;text-align:right;border-bottom:1px solid #8884}
th:first-child,td:first-child{text-align:left}
nav a{margin-right:1rem}"""


def encode_png(picture: Figure | np.ndarray) -> bytes:
    """Return a Matplotlib figure, or a picture of uint8 (H, W, 3), as the bytes of a PNG file."""
    buffer = io.BytesIO()
    if isinstance(picture, np.ndarray):
        from PIL import Image

        Image.fromarray(picture).save(buffer, format="PNG")
    else:
        with warnings.catch_warnings():  # of names in a script that the font doesn't have
            warnings.filterwarnings("ignore", message="Glyph")
            picture.savefig(buffer, dpi=110, format="png")
    return buffer.getvalue()


class Page:
    """An HTML page that grows section by section.

    Parameters
    ----------
    title : str

    Examples
    --------
    >>> page = Page("A run")
    >>> page.add_table("Scores", ["", "top-1"], [["single crop", "57.1 %"]])
    >>> "<td>57.1 %</td>" in page.html()
    True
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._sections: list[tuple[str, str]] = []

    def add(self, heading: str, html: str) -> None:
        """Add a section of HTML, which the caller has escaped."""
        self._sections.append((heading, html))

    def add_text(self, heading: str, text: str) -> None:
        """Add a section with a paragraph."""
        self.add(heading, f"<p>{escape(text)}</p>")

    def add_table(
        self, heading: str, header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = ""
    ) -> None:
        """Add a section with a table; the first cell of each row is its heading."""
        lines = [
            f'<tr><th scope="row">{escape(row[0])}</th>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])
            + "</tr>"
            for row in rows
        ]
        titles = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
        self.add(
            heading,
            f'<div class="scroll" tabindex="0"><table><thead><tr>{titles}</tr></thead>'
            f"<tbody>{''.join(lines)}</tbody></table></div><p>{escape(caption)}</p>",
        )

    def add_figure(
        self, heading: str, picture: Figure | np.ndarray | str, alt: str, caption: str
    ) -> None:
        """Add a section with a figure.

        Parameters
        ----------
        heading : str
        picture : matplotlib.figure.Figure, ndarray of uint8 (H, W, 3), or str
            A string is an SVG element, which brings its own title.
        alt : str
            What the figure shows, for those who can't see it.
        caption : str
            How to read it.
        """
        if isinstance(picture, str):
            shown = f'<div class="scroll" tabindex="0">{picture}</div>'
        else:
            data = base64.b64encode(encode_png(picture)).decode("ascii")
            look = ' class="pixels"' if isinstance(picture, np.ndarray) else ""
            shown = f'<img{look} alt="{escape(alt)}" src="data:image/png;base64,{data}">'
        self.add(heading, f"<figure>{shown}<figcaption>{escape(caption)}</figcaption></figure>")

    def html(self) -> str:
        """Return the whole page."""
        ids = [f"section-{number}" for number in range(len(self._sections))]
        links = "".join(
            f'<a href="#{name}">{escape(heading)}</a> '
            for name, (heading, _) in zip(ids, self._sections, strict=True)
        )
        sections = "\n".join(
            f'<section id="{name}"><h2>{escape(heading)}</h2>\n{html}\n</section>'
            for name, (heading, html) in zip(ids, self._sections, strict=True)
        )
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{escape(self.title)}</title><style>{_STYLE}</style></head>\n"
            f"<body><main><h1>{escape(self.title)}</h1>\n<nav>{links}</nav>\n{sections}\n"
            f"</main></body></html>\n"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page, in place of an older one."""
        write_atomically(Path(path), [self.html().encode("utf-8", "backslashreplace")])
