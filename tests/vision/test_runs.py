"""minidl.vision.runs: the pictures of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minidl.errors import ArgumentError
from minidl.vision import picture_options
from minidl.vision.runs import open_data


def lists(folder: Path) -> dict[str, Any]:
    """Lists of a picture that is white above and black below, once its EXIF data are heeded."""
    pixels = np.zeros((8, 6, 3), np.uint8)
    pixels[4:] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(pixels).save(folder / "a.png", exif=exif)
    for name in ("train", "val"):
        (folder / f"{name}.txt").write_text("a.png 0\n")
    names = {f"{name}_list": str(folder / f"{name}.txt") for name in ("train", "val")}
    return {**picture_options.DEFAULTS, **names}


@pytest.mark.parametrize("exif, top", [(None, 255), (True, 255), (False, 0)])
def test_listed_pictures_are_turned_unless_told_otherwise(
    tmp_path: Path, exif: bool | None, top: int
) -> None:
    train, val, classes = open_data({**lists(tmp_path), "exif": exif})
    assert classes == ["0"]
    for pictures in (train, val):
        assert pictures[0][0].getpixel((0, 0)) == (top,) * 3


@pytest.mark.parametrize(
    "change",
    [{"train_list": None}, {"val_list": None}, {"data": "folder"},
     {"train_list": None, "val_list": None, "classes_file": "names.txt"}],
    ids=str,
)  # fmt: skip
def test_lists_belong_together(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError, match="--train-list and --val-list belong together"):
        open_data({**lists(tmp_path), **change})
