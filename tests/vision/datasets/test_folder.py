"""Folders of pictures: classes, files, labels, links."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minidl.errors import DataError
from minidl.vision.datasets import ImageFolder


def save(path: Path, color: tuple[int, ...] | int = (200, 30, 60), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), color).save(path, quality=95)
    return path


# ----------------------------------------------------------------------------------------- scanning
def test_classes_are_sorted_and_other_files_skipped(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/10.PNG", "a/x.JPEG", "C/y.bmp"):
        save(tmp_path / name)
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    (tmp_path / "a" / ".DS_Store").write_bytes(b"\0")
    (tmp_path / "README").write_text("not a class")

    data = ImageFolder(tmp_path)

    assert data.classes == ["C", "a", "b"]
    assert data.class_to_idx == {"C": 0, "a": 1, "b": 2}
    expected = [("C/y.bmp", 0), ("a/x.JPEG", 1), ("b/10.PNG", 2), ("b/2.jpg", 2)]
    assert data.samples == [(os.path.join(tmp_path, name), label) for name, label in expected]
    assert data.imgs == data.samples
    assert data.targets == [0, 1, 2, 2]
    assert len(data) == 4


def test_agrees_with_torchvision(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    for name in ("b/2.jpg", "b/deep/1.jpg", "b/deep/er/3.png", "a/x.JPEG", "b/10.PNG", "b/z.jpg"):
        save(tmp_path / name)
    theirs = torchvision.datasets.ImageFolder(str(tmp_path))
    ours = ImageFolder(tmp_path)
    assert ours.samples == theirs.samples
    assert ours.targets == theirs.targets
    assert ours.class_to_idx == theirs.class_to_idx


def test_samples_behave_as_a_list(tmp_path: Path) -> None:
    for index in range(5):
        save(tmp_path / "ä" / f"{index}.png")  # the path has more bytes than characters
    data = ImageFolder(tmp_path)
    paths = [str(tmp_path / "ä" / f"{index}.png") for index in range(5)]
    assert [path for path, _ in data.samples] == paths
    assert data.samples[-1] == (paths[4], 0)
    assert data.samples[1:4:2] == [(paths[1], 0), (paths[3], 0)]
    assert type(data.samples[0]) is tuple and type(data.samples[0][1]) is int
    assert type(data.targets[0]) is int and data.targets[1:3] == [0, 0]
    assert (paths[2], 0) in data.samples
    np.testing.assert_array_equal(np.asarray(data.targets), np.zeros(5, dtype=np.int64))
    for index in (5, -6):
        with pytest.raises(IndexError):
            data.samples[index]


def test_samples_say_how_to_change_them(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/2.png"):
        save(tmp_path / name)
    dataset = ImageFolder(tmp_path)
    assert dataset.samples + dataset.samples == [*dataset.samples] * 2
    changes: list[Any] = [lambda x: x.append(x[0]), lambda x: x.sort(), lambda x: x.pop()]
    for change in changes:
        with pytest.raises(TypeError, match="dataset.samples = list"):
            change(dataset.samples)
    with pytest.raises(TypeError, match="dataset.samples = list"):
        dataset.targets[0] = 1  # type: ignore[index]
    dataset.samples = list(dataset.samples)[1:]
    assert len(dataset) == 1 and dataset[0][1] == 1


def test_a_copy_for_a_worker_is_small(tmp_path: Path) -> None:
    (tmp_path / "n01440764").mkdir()
    for index in range(2000):
        (tmp_path / "n01440764" / f"n01440764_{index:05d}.JPEG").touch()
    data = ImageFolder(tmp_path)
    names = sum(len(f"n01440764/n01440764_{index:05d}.JPEG") for index in range(2000))
    arrays = names + 2000 * (8 + 8)  # the names' bytes, an offset and a label each
    assert len(pickle.dumps(data)) < arrays + 2000
    assert pickle.loads(pickle.dumps(data)).samples == data.samples


def test_transforms_and_loader(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.png")
    save(tmp_path / "b" / "0.png")
    data = ImageFolder(tmp_path, lambda p: ("seen", p), lambda y: -y, loader=os.path.basename)
    assert data[1] == (("seen", "0.png"), -1)


def test_is_valid_file_replaces_the_extensions(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.png")
    (tmp_path / "a" / "0.raw").touch()
    data = ImageFolder(tmp_path, is_valid_file=lambda path: path.endswith(".raw"))
    assert data.samples == [(str(tmp_path / "a" / "0.raw"), 0)]


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere" / "1.png")
    root = tmp_path / "root"
    save(root / "a" / "0.png")
    (root / "a" / "loop").symlink_to(root / "a", target_is_directory=True)
    (tmp_path / "elsewhere" / "back").symlink_to(root / "a", target_is_directory=True)
    (root / "a" / "x").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "a" / "y").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    names = [os.path.relpath(path, root) for path, _ in ImageFolder(root).samples]
    # A class may be inside another one, but no file is listed twice within a class.
    assert names == ["a/0.png", "a/x/1.png", "linked/1.png", "linked/back/0.png"]


def test_hidden_and_system_entries_do_not_count(tmp_path: Path) -> None:
    for name in (
        "cat/0.jpg", "cat/._0.jpg", "cat/.thumbnails/1.jpg", ".ipynb_checkpoints/0.jpg",
        "__MACOSX/cat/0.jpg", "cat/__MACOSX/2.jpg", "cat/@eaDir/3.jpg", ".git/x",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    data = ImageFolder(tmp_path)
    assert data.classes == ["cat"] and data.samples == [(str(tmp_path / "cat" / "0.jpg"), 0)]
    assert data.skipped == {}


def test_links_that_lead_up_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "root"
    save(root / "cat" / "0.png")
    save(root / "dog" / "0.png")
    (root / "cat" / "up").symlink_to(root, target_is_directory=True)
    (root / "cat" / "higher").symlink_to(tmp_path, target_is_directory=True)
    (root / "self").symlink_to(root, target_is_directory=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "back").symlink_to(root, target_is_directory=True)
    (root / "dog" / "by").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "alias").symlink_to(root, target_is_directory=True)
    for place in (root, tmp_path / "alias"):
        data = ImageFolder(place)
        assert data.classes == ["cat", "dog"]
        assert [os.path.relpath(path, place) for path, _ in data.samples] == [
            "cat/0.png", "dog/0.png",
        ]  # fmt: skip


def test_files_that_are_skipped_are_counted(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.png")
    for name in ("1.heic", "2.HEIC", "3.gif", "README", "labels.csv"):
        (tmp_path / "a" / name).touch()
    assert ImageFolder(tmp_path).skipped == {".heic": 2, ".gif": 1, "": 1}
    every = ImageFolder(tmp_path, is_valid_file=lambda path: True)
    assert len(every) == 6 and every.skipped == {}


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere.*expected.*<class>/<picture>.*found nothing"):
        ImageFolder(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="found a file"):
        ImageFolder(tmp_path / "file")


def test_no_class_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing"):
        ImageFolder(tmp_path)
    for index in range(20):
        (tmp_path / f"{index:02d}.jpg").touch()
    with pytest.raises(DataError, match=r"<class>/<picture>.*'00\.jpg', '01\.jpg'.*and 12 more"):
        ImageFolder(tmp_path)


def test_empty_classes(tmp_path: Path) -> None:
    save(tmp_path / "full" / "0.jpg")
    (tmp_path / "bare").mkdir()
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "a.txt").touch()
    with pytest.raises(DataError, match="classes 'bare', 'words'"):
        ImageFolder(tmp_path)
    data = ImageFolder(tmp_path, allow_empty=True)
    assert data.classes == ["bare", "full", "words"] and data.targets == [1]


def test_links_in_a_circle_and_names_that_are_not_utf8(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.png")
    (tmp_path / "b").symlink_to(tmp_path / "b")  # next to the class folders
    (tmp_path / "a" / "1.png").symlink_to(tmp_path / "a" / "2.png")
    (tmp_path / "a" / "2.png").symlink_to(tmp_path / "a" / "1.png")
    os.rename(save(tmp_path / "a" / "x.png"), os.fsencode(tmp_path / "a") + b"/\xe9.png")
    data = ImageFolder(tmp_path)
    assert [os.path.basename(path) for path, _ in data.samples] == [
        "0.png", "1.png", "2.png", "\udce9.png",
    ]  # fmt: skip
    assert data[3][0].size == (8, 6)
    with pytest.raises(DataError, match=r"1\.png can't be read: Too many levels"):
        data[1]
    os.truncate(data.samples[3][0], 50)
    with pytest.raises(DataError, match=r"a/\\udce9\.png' can't be decoded") as caught:
        data[3]
    str(caught.value).encode()  # it is printable


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a" / "0.png")
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("a"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)  # chmod would not stop root
    with pytest.raises(DataError, match=r"folder .*a can't be read: Permission denied"):
        ImageFolder(tmp_path)


def test_a_damaged_item_is_an_error_and_not_skipped(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.jpg")
    (tmp_path / "a" / "1.jpg").write_bytes(b"\xff\xd8\xff")
    data = ImageFolder(tmp_path)
    assert data[0][1] == 0
    with pytest.raises(DataError, match=r"1\.jpg"):
        data[1]


def test_real_photographs() -> None:
    root = os.environ.get("MINIDL_DATA")
    if not root or not (Path(root) / "imagenet-sample").is_dir():
        pytest.skip("MINIDL_DATA names no folder with imagenet-sample/")
    data = ImageFolder(Path(root) / "imagenet-sample")
    assert len(data.classes) == len(data)
    assert all(data[index][0].mode == "RGB" for index in range(0, len(data), 10))


def test_missing_pictures_are_a_file_not_found_error(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for root in (tmp_path / "missing", tmp_path / "a" / "b", tmp_path):
        with pytest.raises(FileNotFoundError) as error:
            ImageFolder(root)
        assert isinstance(error.value, DataError)
