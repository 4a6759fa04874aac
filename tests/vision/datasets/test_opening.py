"""Opening folders of pictures in any form; holding out a part."""

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
from minidl.vision.datasets.opening import hold_out, open_folder, open_splits


@given(st.lists(st.integers(0, 4), max_size=80), st.integers(2, 12))
def test_hold_out_takes_the_same_share_of_each_class(labels: list[int], every: int) -> None:
    train, held_out = hold_out(labels, every)
    assert sorted(train + held_out) == list(range(len(labels)))
    assert train == sorted(train) and held_out == sorted(held_out)
    assert len(held_out) == len(labels) // every
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
    train.dataset.transform = lambda picture: None  # the other part keeps its own
    assert train[0][0] is None and val[0][0] is not None
    draw(tmp_path / "val" / "zebra", 1)
    with pytest.raises(DataError, match="same classes.* zebra"):
        open_folder(tmp_path)


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
    """Archives, folders extracted from them, or one of each give the same pictures."""
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


def test_what_was_expected_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected one with train/<class>.* found nothing"):
        open_folder(tmp_path / "nothing")
    draw(tmp_path / "a", 3)
    with pytest.raises(DataError, match="holds 3 pictures, expected 10"):
        open_folder(tmp_path)
    draw(tmp_path / "b", 10)
    with pytest.raises(ArgumentError, match=r"on_bad_image: expected .* got 'ignore'"):
        open_folder(tmp_path, on_bad_image="ignore")
