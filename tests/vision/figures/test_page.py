"""minidl.vision.figures.page: one file, everything in it, nothing broken by odd names."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from minidl.vision.figures import Page
from minidl.vision.figures.page import encode_png


class Reader(HTMLParser):
    """Collects the tags, and checks that each that is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_everything_is_in_the_file(tmp_path: Path) -> None:
    page = Page("A <title>")
    page.add_figure("Kernels", np.zeros((2, 3, 3), np.uint8), 'six "black" pixels', "A & B")
    page.add_figure("Drawing", "<svg><title>a box</title></svg>", "", "")
    page.add_table("Scores", ["", "top-1"], [["<one>", "57 %"]], "in percent")
    page.add_text("More", "text")
    page.save(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    reader = Reader(html)
    [image] = [attributes for tag, attributes in reader.tags if tag == "img"]
    assert image["alt"] == 'six "black" pixels'
    assert str(image["src"]).startswith("data:image/png;base64,iVBOR")
    links = {str(a["href"]) for tag, a in reader.tags if tag == "a"}
    assert links == {f"#{a['id']}" for tag, a in reader.tags if tag == "section"}
    assert "http" not in html and "&lt;one&gt;" in html and "A &lt;title&gt;" in html


def test_pictures_as_png() -> None:
    assert encode_png(np.zeros((2, 3, 3), np.uint8)).startswith(b"\x89PNG")
    matplotlib = pytest.importorskip("matplotlib.figure")
    assert encode_png(matplotlib.Figure()).startswith(b"\x89PNG")
