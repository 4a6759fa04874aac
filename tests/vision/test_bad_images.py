"""minidl.vision.bad_images: pictures that could not be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from minidl.errors import DataError
from minidl.vision.bad_images import BadImages


def test_bad_images_are_listed_and_limited(tmp_path: Path) -> None:
    path = tmp_path / "bad-images.txt"
    bad = BadImages(path, limit=2)
    bad.update([])
    assert not path.exists()
    bad.update(["a: cut off"])
    bad.update(["a: cut off"])
    assert path.read_text() == "a: cut off\n"
    resumed = BadImages(path, limit=2)
    resumed.update(["b: empty", "a: cut off"])  # another loader
    assert resumed.found == path.read_text().splitlines() == ["a: cut off", "b: empty"]
    with pytest.raises(DataError, match="3 pictures .* more than the 2 allowed, such as c: empty"):
        resumed.update(["b: empty", "c: empty"])
    assert "c: empty" in path.read_text()
