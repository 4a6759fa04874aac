"""Opening folders of pictures in any form; holding out a validation split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from archives import (
    TRAIN,
    TRUTH,
    WNIDS,
    meta_mat,
    settle,
    train_tar,
    write_archives,
    write_flat_val,
    write_folders,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minidl.errors import ArgumentError, DataError
from minidl.vision.datasets import ImageFolder, ImageNet
from minidl.vision.datasets.opening import (
    describe_classes,
    describe_skipped,
    describe_unused,
    hold_out,
    is_imagenet,
    open_folder,
    open_splits,
    print_skipped,
)


@given(st.lists(st.integers(0, 4), max_size=80), st.integers(2, 12))
def test_hold_out_takes_the_same_share_of_each_class(labels: list[int], every: int) -> None:
    train, held_out = hold_out(labels, every)
    assert sorted(train + held_out) == list(range(len(labels)))
    assert train == sorted(train) and held_out == sorted(held_out)
    alone = sum(labels.count(label) == 1 for label in set(labels))
    assert len(labels) // every - alone <= len(held_out) <= len(labels) // every
    assert {labels[index] for index in train} == set(labels)  # every class has training pictures
    for label in set(labels):
        share = labels.count(label) / every
        assert abs([labels[index] for index in held_out].count(label) - share) < 1


def test_hold_out_is_the_same_in_every_run() -> None:
    first, second = (hold_out(np.arange(100) % 3) for _ in range(2))
    assert first == second
    with pytest.raises(ArgumentError, match="at least 2"):
        hold_out([0, 1], every=1)


def draw(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("RGB", (4, 4)).save(folder / f"{number}.png")


def test_train_and_val(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 1)):
        for name in "ab":
            draw(tmp_path / part / name, count)
    train, val = open_folder(tmp_path)
    assert (len(train), len(val)) == (6, 2)
    assert train.classes == val.classes == ["a", "b"] and train.statistics is None
    train.dataset.transform = lambda picture: None  # the other split keeps its own
    assert train[0][0] is None and val[0][0] is not None
    draw(tmp_path / "val" / "zebra", 1)
    with pytest.raises(DataError, match="same classes.* zebra"):
        open_folder(tmp_path)


@pytest.mark.parametrize(
    "names", [("Train", "Val"), ("training", "validation"), ("TRAIN", "Valid"), ("train", "valid")]
)
def test_other_names_of_the_splits(tmp_path: Path, names: tuple[str, str]) -> None:
    for part, count in zip(names, (3, 1), strict=True):
        for name in "ab":
            draw(tmp_path / part / name, count)
    draw(tmp_path / "__MACOSX" / "._Train", 1)
    train, val = open_folder(tmp_path)
    assert (len(train), len(val), train.classes) == (6, 2, ["a", "b"])
    draw(tmp_path / ("val" if names[1] != "Val" else "valid") / "a", 1)
    with pytest.raises(DataError, match="may both be the val pictures"):
        open_folder(tmp_path)


def test_folders_that_look_like_splits_are_asked_about(tmp_path: Path) -> None:
    for part in ("training_set", "test_set"):
        draw(tmp_path / "a" / part / "cat", 10)
    with pytest.raises(DataError, match=r"holds test_set, training_set, .*rename"):
        open_folder(tmp_path / "a")
    draw(tmp_path / "b" / "val" / "cat", 10)
    draw(tmp_path / "b" / "cat", 10)
    with pytest.raises(DataError, match=r"holds val, but no folder train"):
        open_folder(tmp_path / "b")
    draw(tmp_path / "c" / "archive" / "cat", 10)
    with pytest.raises(DataError, match=r"holds one folder, archive.* pass .*c/archive"):
        open_folder(tmp_path / "c")
    for part in ("trainset", "TestSet"):
        draw(tmp_path / "e" / part / "cat", 1)
    with pytest.raises(DataError, match="holds TestSet, trainset, but no folder train"):
        open_folder(tmp_path / "e")
    draw(tmp_path / "f" / "test" / "cat", 1)
    with pytest.raises(DataError, match="holds test, but no folder train"):
        open_folder(tmp_path / "f")
    draw(tmp_path / "g" / "train" / "images" / "cat", 1)
    with pytest.raises(DataError, match=r"g/train holds one folder, images.* move them to .*train"):
        open_folder(tmp_path / "g")
    for part in ("cat/train", "cat/test", "dog/train", "dog/test"):
        draw(tmp_path / "h" / part, 1)
    with pytest.raises(DataError, match=r"test, train in each class.* such as .*h/train/cat"):
        open_folder(tmp_path / "h")
    draw(tmp_path / "d" / "train", 10)  # as in some competitions
    draw(tmp_path / "d" / "test", 10)
    with pytest.raises(DataError, match="no class folders in .*train"):
        open_folder(tmp_path / "d")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "bus", "test tube"):
        draw(tmp_path / name, 10)
    train, val = open_folder(tmp_path)
    assert train.classes == ["bus", "test tube", "train"] and len(val) == 3
    assert describe_unused(tmp_path) == ""


def test_pictures_are_rotated_except_imagenets(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("cat", "n01440764"):
        for kind in (name, name[:-1] + "9"):
            folder = tmp_path / name / kind
            draw(folder, 10)
            Image.new("RGB", (4, 6)).save(folder / "0.jpg", exif=exif)
    for name, option, size in (
        ("cat", None, (6, 4)), ("n01440764", None, (4, 6)), ("n01440764", True, (6, 4)),
        ("cat", False, (4, 6)),
    ):  # fmt: skip
        parts = open_folder(tmp_path / name, exif=option)
        assert is_imagenet(parts[0].dataset) == (name != "cat")
        assert {picture.size for part in parts for picture, _ in part} == {size, (4, 4)}
    parts = open_folder(tmp_path / "cat")
    assert {picture.size for part in parts for picture, _ in part} == {(4, 6), (4, 4)}


def test_skipped_files_are_counted(tmp_path: Path) -> None:
    for name in "ab":
        draw(tmp_path / name, 10)
        (tmp_path / name / "x.HEIC").touch()
        (tmp_path / name / "notes").touch()
        (tmp_path / name / "._x.jpg").touch()
    train, val = open_folder(tmp_path)
    assert train.skipped == val.skipped == {".heic": 2, "": 2}
    assert describe_skipped(train.skipped, val.skipped) == (
        "skipped 4 files whose names are not those of pictures: 2 without extension, 2 .heic"
    )
    assert describe_skipped({}, {}) == ""


def test_folders_beside_the_splits_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("Train/a", "Train/b", "Test/a", "docs/a"):
        draw(tmp_path / part, 10)
    assert len(open_folder(tmp_path)[1]) == 2
    print_skipped(tmp_path, {".gif": 1})
    assert capsys.readouterr().out == (
        f"{tmp_path}: Test not used; a tenth of Train is held out for validation (to validate on "
        "Test, rename it to val)\n"
        "skipped 1 file whose name is not that of a picture: 1 .gif\n"
    )
    draw(tmp_path / "valid" / "a", 1)
    draw(tmp_path / "train_old", 1)
    assert describe_unused(tmp_path) == f"{tmp_path}: Test and train_old not used"
    assert describe_unused(tmp_path / "Train") == ""
    draw(tmp_path / "x" / "train" / "a", 1)
    draw(tmp_path / "x" / "dev" / "a", 1)
    assert "dev not used; a tenth of train is held out" in describe_unused(tmp_path / "x")


def test_classes_that_may_be_something_else_are_named(tmp_path: Path) -> None:
    for part in ("photos/cat", "photos/dog", "drawings/cat", "drawings/dog"):
        draw(tmp_path / part, 5)
    assert open_folder(tmp_path)[0].classes == ["drawings", "photos"]
    assert describe_unused(tmp_path) == (
        f"{tmp_path}: the classes are drawings, photos; if cat, dog in each of them are the "
        f"classes, pass a folder such as {tmp_path}/drawings"
    )
    Image.new("RGB", (4, 4)).save(tmp_path / "photos" / "0.png")
    assert describe_unused(tmp_path) == ""


def test_differences_between_classes_are_described() -> None:
    assert describe_classes(["a", "b"], ["b", "a"]).endswith("in another order")
    assert describe_classes(list("abcdefgh"), ["h"]) == (
        "the data has no 'a', 'b', 'c', 'd', 'e' and 2 more"
    )
    assert describe_classes(["a"], ["a", "b"]) == "the data has also 'b'"


@pytest.mark.parametrize("inside", [".", "train"])
def test_a_tenth_is_held_out(tmp_path: Path, inside: str) -> None:
    for name in "ab":
        draw(tmp_path / inside / name, 10)
    train, val = open_folder(tmp_path)
    assert (len(train), len(val)) == (18, 2)
    assert {label for _, label in val} == {0, 1}
    assert not set(train.indices) & set(val.indices)
    train.dataset.transform = lambda picture: None
    assert train[0][0] is None and val[0][0] is not None


def test_official_archives(tmp_path: Path) -> None:
    """Archives, extracted folders, or one of each give the same pictures."""
    root = write_archives(tmp_path / "a", meta_mat())
    found = open_folder(root)
    assert [len(part) for part in found] == [sum(map(len, TRAIN.values())), len(TRUTH)]
    assert all(part.classes == WNIDS for part in found)
    assert all(isinstance(part.dataset, ImageNet) for part in found)
    for split in ("train", "val"):
        ImageNet.extract(root, split)
        for part, before in zip(open_folder(root), found, strict=True):
            assert part.classes == WNIDS
            for index in range(len(before)):
                (picture, label), (expected, right) = part[index], before[index]
                np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))
                assert label == right
    assert all(type(part.dataset) is ImageFolder for part in open_folder(root))


def test_validation_pictures_in_one_folder(tmp_path: Path) -> None:
    root = write_flat_val(write_folders(tmp_path))
    with pytest.raises(DataError, match="no class folders"):
        open_folder(root)  # without the kit there are no labels
    archives = write_archives(tmp_path / "a", meta_mat())
    (archives / "ILSVRC2012_devkit_t12.tar.gz").rename(root / "ILSVRC2012_devkit_t12.tar.gz")
    _, val = open_folder(root)
    assert len(val) == len(TRUTH) and val.classes == WNIDS


def test_the_training_archive_alone(tmp_path: Path) -> None:
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(train_tar())
    settle(tmp_path)
    splits = open_splits(tmp_path)
    assert list(splits) == ["train"] and splits["train"].names == WNIDS
    with pytest.raises(DataError, match="holds 9 pictures, expected 10"):
        open_folder(tmp_path)


def test_errors_say_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected one with train/<class>.* found nothing"):
        open_folder(tmp_path / "nothing")
    draw(tmp_path / "a", 3)
    with pytest.raises(DataError, match="holds 3 pictures, expected 10"):
        open_folder(tmp_path)
    draw(tmp_path / "b", 10)
    for number in range(12):
        draw(tmp_path / "alone" / str(number), 1)
    with pytest.raises(DataError, match="several of a class"):
        open_folder(tmp_path / "alone")
    (tmp_path / "alone").rename(tmp_path / ".alone")
    with pytest.raises(ArgumentError, match=r"on_bad_image: expected .* got 'ignore'"):
        open_folder(tmp_path, on_bad_image="ignore")
