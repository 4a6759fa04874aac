"""The development kit and the user's list of classes: damaged, too large, without IDs."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest
from archives import (
    WNIDS,
    WORDS,
    assert_train,
    write_archives,
    write_class_list,
)

from minidl.errors import DataError
from minidl.vision.datasets import ImageNet, devkit


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "names the class None"),
        ("tench", r"line 1: found 'tench'"),
        ("n01440764 a\nn01440764 b", "duplicate"),
        ("1 n01440764 a\nn01443537 b", "some lines only"),
        ("1 n01440764 a\n1 n01443537 b", "duplicate"),
        ("n0144٠٧٦٤ a", "line 1"),
    ],
)
def test_damaged_class_lists(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        ImageNet(tmp_path, class_list=tmp_path / "list.txt")


def test_a_list_without_ids_labels_no_validation_pictures(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    path = tmp_path / "list.txt"
    path.write_text("\n".join(f"{w} {names}" for w, names in zip(WNIDS, WORDS, strict=True)))
    assert_train(ImageNet(root, class_list=path))
    with pytest.raises(DataError, match="no IDs"):
        ImageNet(root, "val", class_list=path)


@pytest.mark.parametrize("truth", [b"4 2 2 5 3 1 4 6", b"4 2 2 5 3 1 4 x", b""])
def test_damaged_ground_truth(tmp_path: Path, truth: bytes) -> None:
    root = write_archives(tmp_path / "a", truth=truth)
    with pytest.raises(DataError, match="ground.truth"):
        ImageNet(root, "val", class_list=write_class_list(tmp_path))


@pytest.mark.parametrize("meta", [b"", b"no matlab file", bytes(4096)])
def test_damaged_meta(tmp_path: Path, meta: bytes) -> None:
    pytest.importorskip("scipy")
    root = write_archives(tmp_path / "a", meta)
    with pytest.raises(DataError, match=r"meta\.mat is damaged"):
        ImageNet(root)


def test_a_meta_file_that_unpacks_to_too_much(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    packed = zlib.compress(bytes(devkit._LARGEST_KIT + 1))
    bomb = bytes(128) + b"\x0f\0\0\0" + len(packed).to_bytes(4, "little") + packed
    root = write_archives(tmp_path / "a", bomb)
    with pytest.raises(DataError, match=r"meta\.mat is damaged.*when unpacked"):
        ImageNet(root)


@pytest.mark.parametrize("cut", [0, 10, 200])
def test_damaged_kit(tmp_path: Path, cut: int) -> None:
    root = write_archives(tmp_path / "a")
    path = root / "ILSVRC2012_devkit_t12.tar.gz"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match="devkit"):
        ImageNet(root, "val", class_list=write_class_list(tmp_path))


def test_a_kit_that_unpacks_to_too_much(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    bomb = gzip.compress(bytes(devkit._LARGEST_KIT + 1), compresslevel=1)
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(bomb)
    with pytest.raises(DataError, match="when unpacked"):
        ImageNet(root, "val", class_list=write_class_list(tmp_path))
