"""minidl.vision.datasets.image_list: lines, labels, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from minidl.errors import DataError
from minidl.vision.datasets import ImageList


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("a.png", "two words.png", "sub/c.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4 + number, 3)).save(tmp_path / name)
    return tmp_path


def test_lines_are_paths_and_labels(folder: Path) -> None:
    lines = ["a.png 2", "", "  two words.png 0  ", f"{folder}/sub/c.png 1"]
    (folder / "train.txt").write_text("\n".join(lines))
    pictures = ImageList(folder / "train.txt")
    assert pictures.targets == [2, 0, 1] and pictures.classes == ["0", "1", "2"]
    assert [pictures[k][0].size for k in range(len(pictures))] == [(4, 3), (5, 3), (6, 3)]


def test_labels_may_be_names(folder: Path) -> None:
    (folder / "train.txt").write_text("a.png dog\nsub/c.png 0\n")
    pictures = ImageList(folder / "train.txt", ["cat", "dog"], target_transform=str)
    assert [pictures[k][1] for k in range(2)] == ["1", "0"] and pictures.classes == ["cat", "dog"]


def test_a_tab_separates_names_with_spaces(folder: Path) -> None:
    (folder / "train.txt").write_text("two words.png\ttabby cat\na.png\t0\n")
    assert ImageList(folder / "train.txt", ["dog", "tabby cat"]).targets == [1, 0]


@pytest.mark.parametrize(
    ("text", "classes", "said"),
    [
        ("", None, "lists no pictures"),
        ("a.png 0\na.png\n", None, "line 2: expected a path and a label, got 'a.png'"),
        ("a.png dog", None, "line 1: the label is 'dog', expected a number"),
        ("a.png -1", None, "the label is '-1'"),
        ("a.png 2", ["cat", "dog"], "the label is '2', expected one of the 2 classes"),
        ("a.png " + "9" * 30, None, "expected a number"),
        ("a.png 99999999", None, "expected a number below 1,000,000"),
    ],
)
def test_lines_that_are_wrong(folder: Path, text: str, classes: list[str], said: str) -> None:
    (folder / "train.txt").write_text(text)
    with pytest.raises(DataError, match=re.escape(said)):
        ImageList(folder / "train.txt", classes)


def test_a_byte_order_mark_is_no_part_of_the_path(folder: Path) -> None:
    (folder / "train.txt").write_text("a.png 0\n", encoding="utf-8-sig")
    assert Path(ImageList(folder / "train.txt").samples[0][0]).name == "a.png"


def test_files_that_are_missing(folder: Path) -> None:
    with pytest.raises(DataError, match="none.txt can't be read"):
        ImageList(folder / "none.txt")
    (folder / "train.txt").write_text("none.png 0")
    with pytest.raises(DataError, match="none.png"):
        ImageList(folder / "train.txt")[0]
