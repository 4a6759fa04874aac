"""examples/pooling.py: which of the quiz's statements is false."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from programs import run

pytest.importorskip("matplotlib")


@pytest.mark.usefixtures("device")
def test_the_false_statement_is_c(tmp_path: Path) -> None:
    said = run(tmp_path, "pooling.py", "--output", "new/pooling.png").stdout
    verdicts = re.findall(r"^(true|FALSE) +(\w):", said, re.M)
    assert verdicts == [("true", "A"), ("true", "B"), ("FALSE", "C"), ("true", "D")]
    changed, pooled = re.findall(r"changes (\d+) activations, and (\d+) pooled", said)[0]
    assert int(changed) > 0 and pooled == "0"
    with Image.open(tmp_path / "new/pooling.png") as picture:
        assert picture.width > picture.height > 100
