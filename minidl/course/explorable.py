"""Explorables: small interactive figures, the same in a notebook and on the site.

``explorables/NAME.js`` defines ``render(element, state)``, draws into the element, and keeps the
numbers that it shows in ``element.dataset.state`` as JSON. Tests compare these with the library's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .figures.common import Drawing

__all__ = ["Explorable", "explorable"]

FOLDER = Path(__file__).parent / "explorables"


class Explorable:
    """What a notebook shows of an explorable; a drawing where there is no JavaScript.

    Parameters
    ----------
    html : str
    drawing : Drawing
    """

    def __init__(self, html: str, drawing: Drawing) -> None:
        self.html, self.drawing = html, drawing

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        data, metadata = self.drawing._repr_mimebundle_()
        return {"text/html": self.html, **data}, metadata


def explorable(name: str, drawing: Drawing, **state: Any) -> Explorable:
    """Return an explorable for the end of a cell.

    Parameters
    ----------
    name : str
        Of a file in ``explorables``.
    drawing : Drawing
        The static figure, for GitHub and for browsers without JavaScript.
    **state
        What it begins with: numbers, strings, nested lists.
    """
    code = (FOLDER / "common.js").read_text() + (FOLDER / f"{name}.js").read_text()
    begin = json.dumps(state).replace("</", "<\\/")
    return Explorable(
        f'<div class="explorable" id="explorable-{name}"><noscript>{drawing.svg}</noscript></div>\n'
        f'<script type="module">\n{code}\n'
        f'render(document.getElementById("explorable-{name}"), {begin});\n</script>',
        drawing,
    )
