"""Tar archives: harmless oddities of real archives; hostile and damaged archives."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from archives import (
    BAD_MEMBERS,
    BAD_NAMES,
    HOSTILE,
    PICTURE,
    TRAIN,
    assert_train,
    everything_in,
    header,
    jpeg,
    member,
    pax,
    tar,
    train_name,
    train_tar,
    val_name,
    write_archives,
    write_class_list,
)

from minidl.errors import DataError
from minidl.vision.datasets import ImageNet, imagenet_archives
from minidl.vision.datasets import tar as module


def test_harmless_oddities_of_repacked_archives(tmp_path: Path) -> None:
    inner = {
        wnid: tar(*(pax(mtime="1.5") + member(b"./" + train_name(wnid, n), jpeg(n)) for n in ns))
        for wnid, ns in TRAIN.items()
    }
    members = [
        member(f"some/where/{w}.tar".encode(), t, magic=b"ustar  \0") for w, t in inner.items()
    ]
    content = pax(b"g", comment="x") + member(b"./", kind=b"5") + tar(*members) + b"rest" * 99
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(content)
    assert_train(ImageNet(tmp_path))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_training_archives_write_nothing(tmp_path: Path, name: str) -> None:
    root = tmp_path / "deep" / "root"
    root.mkdir(parents=True)
    (root / "ILSVRC2012_img_train.tar").write_bytes(HOSTILE[name])
    classes = write_class_list(root)
    before = everything_in(tmp_path)
    for attempt in (ImageNet.extract, ImageNet):
        with pytest.raises(DataError, match=r"ILSVRC2012_img_train\.tar"):
            attempt(root, class_list=classes)  # type: ignore[operator]
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("name", [*BAD_NAMES, *BAD_MEMBERS])
def test_hostile_validation_archives_write_nothing(tmp_path: Path, name: str) -> None:
    root = write_archives(tmp_path / "deep")
    as_val = (b"n01440764_", b"ILSVRC2012_val_0000000")
    if name in BAD_NAMES:
        bad = member(BAD_NAMES[name].replace(*as_val), b"evil")
    else:
        bad = BAD_MEMBERS[name]
    good = [member(val_name(n).encode(), jpeg(n)) for n in range(2, 9)]
    (root / "ILSVRC2012_img_val.tar").write_bytes(tar(*good, bad))
    classes = write_class_list(root)
    before = everything_in(tmp_path)
    with pytest.raises(DataError, match=r"ILSVRC2012_img_val\.tar"):
        ImageNet.extract(root, "val", class_list=classes)
    assert everything_in(tmp_path) == before


def test_a_picture_larger_than_any(tmp_path: Path) -> None:
    path = tmp_path / "ILSVRC2012_img_train.tar"
    size = imagenet_archives._LARGEST_PICTURE + 512
    with open(path, "wb") as file:
        file.write(header(b"n01440764.tar", size + 1536) + header(PICTURE, size))
        file.truncate(1024 + size + 1024 + 1024)  # a sparse file that takes no space
    with pytest.raises(DataError, match=f"of {size} bytes"):
        ImageNet(tmp_path)


def test_more_members_than_any_archive_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_HEADERS", 4)
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(train_tar())
    with pytest.raises(DataError, match="more than 4 members"):
        ImageNet(tmp_path)


def test_fuzzed_archives(tmp_path: Path) -> None:
    """Archives with random damage are refused or give pictures at the right paths.

    ``MINIDL_FUZZ=20000`` tries that many archives instead of a hundred.
    """
    root = tmp_path / "root"
    root.mkdir()
    sound = train_tar()
    headers = [at for at in range(0, len(sound), 512) if sound[at + 257 : at + 262] == b"ustar"]
    random = np.random.default_rng(0)
    for _ in range(int(os.environ.get("MINIDL_FUZZ", "100"))):
        damaged = bytearray(sound)
        for _ in range(random.integers(1, 4)):
            at = int(random.choice(headers))
            field = int(random.choice([0, 10, 124, 156, 345, 257])) + int(random.integers(0, 12))
            damaged[at + field] = int(random.integers(0, 256))
            block = bytes(damaged[at : at + 512])
            total = sum(block) - sum(block[148:156]) + 256
            damaged[at + 148 : at + 156] = b"%06o\0 " % total
        (root / "ILSVRC2012_img_train.tar").write_bytes(damaged)
        try:
            data = ImageNet(root)
        except DataError as error:
            assert "ILSVRC2012_img_train.tar" in str(error)
            continue
        finally:
            (root / "ILSVRC2012_img_train.tar").unlink()
        for path, _ in data.samples:
            assert Path(path).parent.parent == root / "train"
            assert ".." not in path
    assert [path.name for path in tmp_path.rglob("*")] == ["root"]


def test_names_in_messages_are_safe_to_print(tmp_path: Path) -> None:
    odd = tar(member(b"\x1b[31m\xff\n.JPEG", b""))
    for content in (odd, tar(member(b"n01440764.tar", odd))):
        (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(content)
        with pytest.raises(DataError) as caught:
            ImageNet(tmp_path)
        assert str(caught.value).isprintable()
