"""The index replaces the search, is remade if outdated, and is checked for damage."""

from __future__ import annotations

import hashlib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.errors import ArgumentError, DataError
from minidl.vision.datasets import ImageFolder, folder
from minidl.vision.datasets import index as module


def save(path: Path, color: tuple[int, ...] | int = (200, 30, 60), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), color).save(path, quality=95)
    return path


LONG_AGO = 1_500_000_000_000_000_000


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new folder of pictures that gets an index although it has just changed."""
    monkeypatch.setattr(module, "_SETTLED", -(10**12))
    for name in ("b/2.jpg", "b/10.PNG", "a/x.JPEG", "a/deep/y.bmp", "ä/z.png"):
        save(tmp_path / "tree" / name)
    os.rename(save(tmp_path / "tree/b/q.jpg"), os.fsencode(tmp_path) + b"/tree/b/\xe9.jpg")
    return tmp_path / "tree"


def open_without_search(root: Path, index: Path) -> ImageFolder:
    """Open a folder without searching its files."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folder, "_files_below", no_search)
        return ImageFolder(root, index=index)


def no_search(*_: object) -> Iterator[str]:
    raise AssertionError("the folder was searched")


def test_the_index_replaces_the_search(tree: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    searched = ImageFolder(tree, index=index)
    assert [path.name for path in tmp_path.iterdir() if path != tree] == ["index"]
    read = open_without_search(tree, index)
    assert read.samples == searched.samples == ImageFolder(tree).samples
    assert read.targets == searched.targets and read.classes == searched.classes
    assert read[0][0].size == (8, 6)
    os.rename(tree, tmp_path / "moved")
    moved = open_without_search(tmp_path / "moved", index)
    assert moved.samples[0] == (str(tmp_path / "moved/a/x.JPEG"), 0)
    assert pickle.loads(pickle.dumps(moved)).samples == moved.samples


@pytest.mark.parametrize("change", ["new", "gone", "renamed", "deep", "class", "no class", "time"])
def test_an_outdated_index_is_remade(tree: Path, tmp_path: Path, change: str) -> None:
    index = tmp_path / "index"
    ImageFolder(tree, index=index)
    if change == "new":
        save(tree / "b" / "new.png")
    elif change == "gone":
        (tree / "b" / "2.jpg").unlink()
    elif change == "renamed":
        (tree / "b" / "2.jpg").rename(tree / "b" / "3.jpg")
    elif change == "deep":
        save(tree / "a" / "deep" / "new.png")
    elif change == "class":
        save(tree / "c" / "0.png")
    elif change == "no class":
        os.rename(tree / "b", tmp_path / "b")
    else:  # like an unpacker that restores the folders' times
        before = os.stat(tree / "b")
        (tree / "b" / "2.jpg").rename(tree / "b" / "3.jpg")
        os.utime(tree / "b", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ImageFolder(tree, index=index).samples == ImageFolder(tree).samples
    assert open_without_search(tree, index).samples == ImageFolder(tree).samples


def test_other_labels_need_another_index(tree: Path, tmp_path: Path) -> None:
    class Reversed(ImageFolder):
        def find_classes(
            self, directory: str | os.PathLike[str]
        ) -> tuple[list[str], dict[str, int]]:
            return ["ä", "b", "a"], {"ä": 0, "b": 1, "a": 2}

    ImageFolder(tree, index=tmp_path / "index")
    assert Reversed(tree, index=tmp_path / "index").targets == [0, 1, 1, 1, 2, 2]


def test_folders_that_are_being_changed_get_no_index(tmp_path: Path) -> None:
    save(tmp_path / "tree" / "a" / "0.png")
    for below, _, _ in os.walk(tmp_path / "tree"):
        os.utime(below, ns=(LONG_AGO, LONG_AGO))  # the time of the last status change reveals it
    ImageFolder(tmp_path / "tree", index=tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_every_damage_of_an_index_is_noticed(tree: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    expected = ImageFolder(tree, index=index).samples
    sound = index.read_bytes()
    start = len(b"minidl index ")
    damaged = [sound[:end] for end in range(start, len(sound), 41)]
    damaged += [
        sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :]
        for place in range(start, len(sound), 13)
    ]
    damaged.append(sound + b"\0")
    for content in damaged:
        index.write_bytes(content)
        with pytest.warns(UserWarning, match="index .* is damaged"):
            assert ImageFolder(tree, index=index).samples == expected
        assert index.read_bytes() == sound


def test_an_index_with_inconsistent_arrays_is_remade(tree: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    expected = ImageFolder(tree, index=index).samples
    sound = index.read_bytes()
    ends = np.cumsum([len(os.fsencode(os.path.relpath(p, tree))) for p, _ in expected])
    counts = np.array([2, 3, 1])
    assert ends.tobytes() in sound and counts.tobytes() in sound
    for old, new in (
        (ends, ends + 1),
        (ends, ends[[1, 0, 2, 3, 4, 5]]),
        (ends, ends - 2 * ends[0]),
        (counts, [2, 3, 2]),
        (counts, [-1, 3, 4]),
    ):
        content = sound.replace(old.tobytes(), np.asarray(new, dtype="<i8").tobytes())
        index.write_bytes(content[:15] + hashlib.sha256(content[47:]).digest() + content[47:])
        with pytest.warns(UserWarning, match="is damaged"):
            assert ImageFolder(tree, index=index).samples == expected


def test_a_file_that_is_not_an_index_is_not_overwritten(tree: Path, tmp_path: Path) -> None:
    for content in (b"my notes", b""):
        (tmp_path / "notes.txt").write_bytes(content)
        with pytest.raises(DataError, match=r"notes\.txt is not an index"):
            ImageFolder(tree, index=tmp_path / "notes.txt")
        assert (tmp_path / "notes.txt").read_bytes() == content
    with pytest.raises(DataError, match="can't be read"):
        ImageFolder(tree, index=tree)


def test_an_index_that_cannot_be_written(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(UserWarning, match=r"index .*nowhere.* can't be written.*index="):
        assert len(ImageFolder(tree, index=tmp_path / "nowhere" / "index")) == 6

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, full)
            with pytest.warns(UserWarning, match="No space left"):
                ImageFolder(tree, index=tmp_path / "index")
        assert [path for path in tmp_path.iterdir() if path != tree] == []  # no partial file either


def test_an_index_and_a_function_that_picks_files(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="index excludes is_valid_file"):
        ImageFolder(tree, index=tmp_path / "index", is_valid_file=os.path.isfile)
