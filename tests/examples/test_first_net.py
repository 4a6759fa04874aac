"""examples/first_net.py runs unchanged, and equals the program in the README."""

from __future__ import annotations

import re
from pathlib import Path

from programs import ROOT, run


def test_learns(tmp_path: Path) -> None:
    accuracies = re.findall(r"accuracy ([\d.]+)%", run(tmp_path, "first_net.py").stdout)
    assert len(accuracies) == 5
    assert float(accuracies[-1]) > 95  # chance level is 12.5


def test_readme_has_the_same_program() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (copy,) = re.findall(
        r"<!-- examples/first_net.py -->\n```python\n(.*?)```\n<!-- end -->", readme, re.DOTALL
    )
    program = (ROOT / "examples" / "first_net.py").read_text(encoding="utf-8")
    assert copy == program
    assert program.count("\n") <= 40
