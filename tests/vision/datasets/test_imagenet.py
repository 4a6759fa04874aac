"""ImageNet from small archives and folders in the official layout."""

from __future__ import annotations

import copy
import hashlib
import io
import os
import pickle
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from archives import (
    EXPECTED_TRAIN,
    LONG_AGO,
    TRUTH,
    WNIDS,
    WORDS,
    assert_train,
    jpeg,
    kit_tar,
    member,
    meta_mat,
    relative,
    tar,
    train_name,
    truth_text,
    val_name,
    val_tar,
    write_archives,
    write_class_list,
    write_flat_val,
    write_folders,
)
from pickled_programs import zip_file
from PIL import Image

from minidl.errors import ArgumentError, DataError
from minidl.files import locked
from minidl.vision.datasets import ImageNet, devkit, imagenet, imagenet_archives

# ID 4 is label 0, ID 2 label 1, ID 5 label 2, ID 1 label 3, ID 3 label 4
EXPECTED_VAL = [(1, 0), (7, 0), (2, 1), (3, 1), (4, 2), (6, 3), (5, 4), (8, 4)]


def assert_val(data: ImageNet) -> None:
    found = [(int(os.path.basename(p)[-13:-5]), label) for p, label in data.samples]
    assert found == EXPECTED_VAL
    for index, (number, label) in enumerate(EXPECTED_VAL):
        picture, found_label = data[index]
        assert found_label == label
        expected = Image.open(io.BytesIO(jpeg(1000 + number)))
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))


def assert_classes(data: ImageNet) -> None:
    assert data.wnids == WNIDS
    assert data.wnid_to_idx == {wnid: label for label, wnid in enumerate(WNIDS)}
    assert data.classes == [tuple(words.split(", ")) for words in WORDS]
    assert data.class_to_idx["Tinca tinca"] == 0 and data.class_to_idx["coffee mug"] == 3


# ------------------------------------------------------------------------- three ways, one data set
def test_archives_folders_and_extraction_give_the_same(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a", meta_mat())
    for split, check in (("train", assert_train), ("val", assert_val)):
        packed = ImageNet(root, split)
        check(packed)
        assert_classes(packed)
        assert not (root / split).exists()

        assert ImageNet.extract(root, split) == root / split
        (root / packed._archive.name).unlink()  # type: ignore[union-attr]
        extracted = ImageNet(root, split)
        check(extracted)
        assert_classes(extracted)
        assert relative(extracted) == relative(packed)
        assert not list(root.glob("*.incomplete"))
        assert not list(root.rglob("*.part"))


def test_a_class_list_does_without_scipy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_archives(tmp_path / "a")
    for name in [name for name in sys.modules if name.split(".")[0] == "scipy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "scipy", None)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"SciPy.*pip install 'minidl\[imagenet\]'.*class_list"):
        ImageNet(root, "val")
    classes = write_class_list(tmp_path)
    assert_val(ImageNet(root, "val", class_list=classes))
    assert_train(ImageNet(root, "train", class_list=classes))
    assert_classes(ImageNet(root, "train", class_list=classes))


def test_torchvisions_meta_bin_names_the_classes(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    names = {wnid: tuple(words.split(", ")) for wnid, words in zip(WNIDS, WORDS, strict=True)}
    (root / "meta.bin").write_bytes(zip_file((names, WNIDS[:2]), {}))
    assert_classes(ImageNet(root))
    shutil.rmtree(root / "train" / WNIDS[0])
    assert ImageNet(root).classes == [names[wnid] for wnid in WNIDS[1:]]
    (root / "meta.bin").write_bytes(zip_file([WNIDS, WNIDS], {}))
    with pytest.raises(DataError, match="meta.bin.* is not a meta.bin of torchvision's"):
        ImageNet(root)


def test_folders(tmp_path: Path) -> None:
    root = write_flat_val(write_folders(tmp_path))
    data = ImageNet(root)  # without a kit, WNIDs serve as names
    assert_train(data)
    assert data.classes == [(wnid,) for wnid in WNIDS]
    with pytest.raises(DataError, match="labels of the validation pictures"):
        ImageNet(root, "val", class_list=write_class_list(root))
    kit = root / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_bytes(truth_text())
    data = ImageNet(root, "val", class_list=write_class_list(root))
    assert_val(data)
    assert relative(data)[0] == (f"val/{val_name(1)}", 0)
    (kit / "meta.mat").write_bytes(meta_mat())
    data = ImageNet(root, "val")
    assert_val(data)
    assert_classes(data)


def test_transforms_loader_and_is_valid_file(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    data = ImageNet(root, "train", lambda p: ("seen", p), lambda y: -y, loader=os.path.basename)
    assert data[3] == (("seen", "n01443537_1.JPEG"), -1)
    data = ImageNet(root, is_valid_file=lambda path: not path.endswith("_9.JPEG"))
    assert len(data) == len(EXPECTED_TRAIN) - 1
    (root / "ILSVRC2012_img_val.tar").write_bytes(val_tar())
    with pytest.raises(ArgumentError, match="is_valid_file"):
        ImageNet(root, "val", is_valid_file=os.path.isfile)


def test_the_loader_gets_an_open_file_from_an_archive(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    data = ImageNet(root, class_list=write_class_list(tmp_path), loader=lambda file: file.read())
    assert data[2] == (jpeg(9), 0)
    assert data[-1] == (jpeg(2), 4)


def test_threads_and_processes_share_nothing(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    data = ImageNet(root, class_list=write_class_list(tmp_path), transform=np.asarray)
    expected = [data[index][0].tobytes() for index in range(len(data))]
    order = [index for _ in range(20) for index in range(len(data))]
    with ThreadPoolExecutor(4) as threads:
        assert [a.tobytes() for a, _ in threads.map(data.__getitem__, order)] == [
            expected[index] for index in order
        ]
    clone = pickle.loads(pickle.dumps(copy.copy(data)))
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        found, _ = processes.submit(clone.__getitem__, 4).result()
    assert found.tobytes() == expected[4]


def test_a_damaged_picture_is_named_by_archive_and_member(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    archive = root / "ILSVRC2012_img_train.tar"
    content = archive.read_bytes()
    archive.write_bytes(content.replace(jpeg(40), bytes(len(jpeg(40)))))
    data = ImageNet(root, class_list=write_class_list(tmp_path))
    with pytest.raises(DataError, match=r"train\.tar: n02089867/n02089867_40\.JPEG can't be dec"):
        data[4]


def test_a_changed_archive_is_noticed(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    data = ImageNet(root, class_list=write_class_list(tmp_path))
    os.utime(root / "ILSVRC2012_img_train.tar", ns=(1, 1))
    with pytest.raises(DataError, match="has changed since it was opened"):
        data[0]


# -------------------------------------------------------------------------------- the index's truth
def no_reading(*_: object) -> None:
    raise AssertionError("the archive was read again")


def test_the_index_replaces_reading_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_archives(tmp_path / "a")
    classes = write_class_list(tmp_path)
    ImageNet(root, class_list=classes)
    ImageNet(root, "val", class_list=classes)
    assert sorted(path.name for path in root.glob("*.index")) == [
        "minidl-train.index",
        "minidl-val.index",
    ]
    with monkeypatch.context() as patched:
        patched.setattr(imagenet_archives, "tar_members", no_reading)
        patched.setattr(devkit.DevelopmentKit, "read", lambda *_: truth_text())
        assert_train(ImageNet(root, class_list=classes))
        assert_val(ImageNet(root, "val", class_list=classes))


def test_an_index_with_other_labels_is_remade(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    classes = write_class_list(tmp_path)
    ImageNet(root, "val", class_list=classes)
    changed = [3, *TRUTH[1:-1], 4]
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(kit_tar(b"", truth_text(changed)))
    labels = {
        os.path.basename(path): label
        for path, label in ImageNet(root, "val", class_list=classes).samples
    }
    assert labels[val_name(1)] == 4 and labels[val_name(8)] == 0


def test_an_index_of_another_archive_is_remade(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    classes = write_class_list(tmp_path)
    ImageNet(root, class_list=classes)
    archive = root / "ILSVRC2012_img_train.tar"
    archive.write_bytes(
        tar(*(member(f"{w}.tar".encode(), tar(member(train_name(w, 1), jpeg(1)))) for w in WNIDS))
    )
    os.utime(archive, ns=(LONG_AGO, LONG_AGO))
    assert len(ImageNet(root, class_list=classes)) == 5


def test_an_archive_that_is_being_written_gets_no_index(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    os.utime(root / "ILSVRC2012_img_train.tar")
    ImageNet(root, class_list=write_class_list(tmp_path))
    assert not list(root.glob("*.index"))


# ------------------------------------------------------------------------ what is missing or wrong
def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no ImageNet train.*no such folder.*_img_train\.tar"):
        ImageNet(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"expected ILSVRC2012_img_val\.tar or val/"):
        ImageNet(tmp_path, "val")
    with pytest.raises(ArgumentError, match="'test'"):
        ImageNet(tmp_path, "test")
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(val_tar())
    with pytest.raises(DataError, match="no ILSVRC2012_devkit"):
        ImageNet(tmp_path, "val")


def test_classes_must_be_those_of_the_list(tmp_path: Path) -> None:
    root = write_folders(tmp_path)
    classes = write_class_list(root)
    (root / "train" / "n09999999").mkdir()
    with pytest.raises(DataError, match="6 classes and the class list 5.*n09999999"):
        ImageNet(root, class_list=classes)
    (root / "train" / "n09999999").rmdir()
    os.rename(root / "train" / "n01440764", root / "elsewhere")
    with pytest.raises(DataError, match="1 are missing, the first n01440764; labels"):
        ImageNet(root, class_list=classes)
    (root / "train" / "cats").mkdir()
    with pytest.raises(DataError, match="folder 'cats'"):
        ImageNet(root)


def test_a_missing_validation_picture_shifts_no_labels(tmp_path: Path) -> None:
    root = write_archives(write_flat_val(tmp_path))
    classes = write_class_list(root)
    (root / "val" / val_name(3)).unlink()
    with pytest.raises(DataError, match="7 pictures, but the ground truth has 8"):
        ImageNet(root, "val", class_list=classes)
    (root / "val" / val_name(9)).write_bytes(jpeg(1))
    with pytest.raises(DataError, match=r"found '.*0004\.JPEG' as picture 3"):
        ImageNet(root, "val", class_list=classes)


def test_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_archives(tmp_path / "a")
    classes = write_class_list(tmp_path)
    with pytest.raises(DataError, match="expected fa75699e90414af021442c21a62c3abf"):
        ImageNet(root, class_list=classes, check=True)
    right = {
        part: (name, hashlib.md5((root / name).read_bytes()).hexdigest())
        for part, (name, _) in imagenet_archives.ARCHIVES.items()
    }
    monkeypatch.setattr(imagenet_archives, "ARCHIVES", right)
    assert_train(ImageNet(root, class_list=classes, check=True))
    with open(root / right["val"][0], "ab") as file:
        file.write(b"\0")
    with pytest.raises(DataError, match=r"val\.tar has the MD5"):
        ImageNet.extract(root, "val", class_list=classes, check=True)
    assert not (root / "val").exists()
    with pytest.raises(DataError, match="has neither"):
        ImageNet(write_folders(tmp_path / "b"), check=True)
    with pytest.raises(DataError, match="no MD5 is known"):
        imagenet.check_archive(classes)


# --------------------------------------------------------------------------------------- extraction
def test_extraction_continues_after_an_interruption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_archives(tmp_path / "a")
    classes = write_class_list(tmp_path)
    replaced: list[str] = []
    real = os.replace

    def stop_at_the_fifth(source: str, target: str) -> None:
        if Path(target).suffix == ".JPEG":
            if len(replaced) == 4:
                raise KeyboardInterrupt
            replaced.append(str(target))
        real(source, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", stop_at_the_fifth)
        with pytest.raises(KeyboardInterrupt):
            ImageNet.extract(root, class_list=classes)
    assert not (root / "train").exists()
    assert len(list((root / "train.incomplete").rglob("*.JPEG"))) == 4
    assert_train(ImageNet(root, class_list=classes))  # from the archive

    half = Path(replaced[0])
    half.write_bytes(half.read_bytes()[:100])
    kept = {path: os.stat(path).st_ino for path in replaced[1:]}
    ImageNet.extract(root, class_list=classes)
    assert {path: os.stat(path.replace(".incomplete", "")).st_ino for path in kept} == kept
    (root / "ILSVRC2012_img_train.tar").unlink()
    assert_train(ImageNet(root, class_list=classes))
    assert not list(root.rglob(".*"))


def test_extraction_overwrites_nothing(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    classes = write_class_list(tmp_path)
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "train").mkdir()
    with pytest.raises(DataError, match="already exists"):
        ImageNet.extract(root, class_list=classes)
    (root / "train").rmdir()
    (root / "train.incomplete").symlink_to(outside)
    with pytest.raises(DataError, match="is a link"):
        ImageNet.extract(root, class_list=classes)
    (root / "train.incomplete").unlink()
    (root / "train.incomplete").mkdir()
    (root / "train.incomplete" / WNIDS[0]).symlink_to(outside)
    with pytest.raises(DataError, match="is a link"):
        ImageNet.extract(root, class_list=classes)
    (root / "train.incomplete" / WNIDS[0]).unlink()
    (root / "train.incomplete" / WNIDS[0]).mkdir()
    name = train_name(WNIDS[0], 9).decode()
    (outside / "victim").write_bytes(bytes(len(jpeg(9))))  # as large as the picture
    (root / "train.incomplete" / WNIDS[0] / name).symlink_to(outside / "victim")
    (root / "train.incomplete" / WNIDS[0] / f".{name}.part").symlink_to(outside / "victim")
    ImageNet.extract(root, class_list=classes)
    assert not any((outside / "victim").read_bytes())
    assert_train(ImageNet(root, class_list=classes))


def test_extraction_checks_the_free_space_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_archives(tmp_path / "a")
    monkeypatch.setattr(imagenet.shutil, "disk_usage", lambda _: SimpleNamespace(free=5000))
    with pytest.raises(DataError, match="GB free"):
        ImageNet.extract(root, class_list=write_class_list(tmp_path))
    assert not list(root.rglob("*.JPEG*"))


def test_two_extractions_at_once(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    (root / "train.incomplete").mkdir()
    with (
        locked(root / "train.incomplete", DataError("busy")),
        pytest.raises(DataError, match="another process"),
    ):
        ImageNet.extract(root, class_list=write_class_list(tmp_path))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_archives(tmp_path / "a")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "sync", full)
    with pytest.raises(DataError, match=r"No space left.*another call continues"):
        ImageNet.extract(root, class_list=write_class_list(tmp_path))
    assert not (root / "train").exists()


def test_an_index_with_hostile_names_extracts_nothing(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    index = root / "minidl-train.index"
    classes = write_class_list(tmp_path)
    ImageNet(root, class_list=classes)
    content = index.read_bytes().replace(b"n01443537_1.JPEG", b"../../../x_.JPEG")
    content = content[:15] + hashlib.sha256(content[47:]).digest() + content[47:]
    index.write_bytes(content)
    names = [path for path, _ in ImageNet(root, class_list=classes).samples]
    assert any("../x_" in path for path in names), "the index must be accepted"
    with pytest.raises(DataError, match="delete the index"):
        ImageNet.extract(root, class_list=classes)
    assert not list(tmp_path.rglob("x_.JPEG"))
