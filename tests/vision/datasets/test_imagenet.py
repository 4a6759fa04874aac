"""ImageNet out of archives and folders in the official layout, built small; hostile archives."""

from __future__ import annotations

import copy
import gzip
import hashlib
import io
import os
import pickle
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from minidl.checkpoint import locked
from minidl.errors import ArgumentError, DataError
from minidl.vision.datasets import ImageNet, imagenet

WNIDS = ["n01440764", "n01443537", "n02089867", "n03063599", "n15075141"]  # sorted: labels 0 to 4
WORDS = ["tench, Tinca tinca", "goldfish, Carassius auratus", "Walker hound", "coffee mug", "paper"]
IDS = [4, 2, 5, 1, 3]  # the kit's numbers of these classes: another order
HIERARCHY = {6: ("n00001740", [7, 8]), 7: ("n00015388", [4, 2, 5]), 8: ("n00021939", [1, 3])}
TRAIN = {  # numbers of the training pictures, in the archives' order, which is not sorted
    "n03063599": [17, 3],
    "n01440764": [10026, 9, 123],
    "n15075141": [2],
    "n02089867": [40, 5],
    "n01443537": [1],
}
TRUTH = [4, 2, 2, 5, 3, 1, 4, 3]  # IDs of the validation pictures 1 to 8
LONG_AGO = 1_500_000_000_000_000_000


def jpeg(seed: int, side: int = 24) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


# ------------------------------------------------------------------------------- archives by hand
def header(
    name: bytes,
    size: int | bytes = 0,
    kind: bytes = b"0",
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
    checksum: int | None = None,
) -> bytes:
    """A tar header, in which anything may be wrong."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    fields = [
        name.ljust(100, b"\0"), b"0000644\0", b"0000000\0", b"0000000\0", field, b"%011o\0" % 1,
        b" " * 8, kind, b"\0" * 100, magic, b"\0" * 80, prefix.ljust(155, b"\0"), b"\0" * 12,
    ]  # fmt: skip
    block = b"".join(fields)
    assert len(block) == 512
    total = sum(block) if checksum is None else checksum
    return block[:148] + b"%06o\0 " % total + block[156:]


def member(name: bytes, content: bytes = b"", **fields: object) -> bytes:
    return header(name, **{"size": len(content), **fields}) + pad(content)  # type: ignore[arg-type]


def pad(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def tar(*members: bytes) -> bytes:
    return b"".join(members) + bytes(1024)


def pax(kind: bytes = b"x", **records: str) -> bytes:
    content = b""
    for key, value in records.items():
        record = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(record) + len(str(len(record)))
        length += len(str(length)) - len(str(len(record)))
        content += str(length).encode() + record
    return member(b"PaxHeaders/x", content, kind=kind)


def train_name(wnid: str, number: int) -> bytes:
    return f"{wnid}_{number}.JPEG".encode()


def inner_tar(wnid: str) -> bytes:
    return tar(*(member(train_name(wnid, n), jpeg(n)) for n in TRAIN[wnid]))


def train_tar() -> bytes:
    return tar(*(member(f"{wnid}.tar".encode(), inner_tar(wnid)) for wnid in TRAIN))


def val_name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def val_tar() -> bytes:
    # The official archive isn't sorted either.
    order = [5, 1, 8, 2, 7, 3, 6, 4]
    return tar(*(member(val_name(n).encode(), jpeg(1000 + n)) for n in order))


def meta_mat() -> bytes:
    """``meta.mat`` in the official format: leaves first, then the synsets above them."""
    scipy_io = pytest.importorskip("scipy.io")
    rows = [
        (number, WNIDS[IDS.index(number)], WORDS[IDS.index(number)], "gloss", 0, [], 0, 1300)
        for number in range(1, 6)
    ]
    rows += [
        (number, wnid, f"inner {number}", "gloss", len(children), children, 2 - (number != 6), 0)
        for number, (wnid, children) in HIERARCHY.items()
    ]  # fmt: skip
    names = (
        "ILSVRC2012_ID WNID words gloss num_children children wordnet_height num_train_images"
    ).split()
    synsets = np.empty((len(rows), 1), dtype=[(name, object) for name in names])
    for place, row in enumerate(rows):
        synsets[place, 0] = tuple(
            np.array([[v]], dtype=np.float64)
            if isinstance(v, int)
            else (np.array([v], dtype=np.float64) if isinstance(v, list) else v)
            for v in row
        )
    file = io.BytesIO()
    scipy_io.savemat(file, {"synsets": synsets}, do_compression=True)
    return file.getvalue()


def truth_text(ids: list[int] = TRUTH) -> bytes:
    return "".join(f"{number}\n" for number in ids).encode()


def kit_tar(meta: bytes, truth: bytes) -> bytes:
    kit = b"ILSVRC2012_devkit_t12/"
    return gzip.compress(
        tar(
            member(kit, kind=b"5"),
            member(kit + b"readme.txt", b"read me"),
            member(kit + b"data/", kind=b"5"),
            member(kit + b"data/meta.mat", meta),
            member(kit + b"data/ILSVRC2012_validation_ground_truth.txt", truth),
        )
    )


def write_class_list(root: Path) -> Path:
    path = root / "classes.txt"
    rows = zip(IDS, WNIDS, WORDS, strict=True)
    path.write_text("".join(f"{number} {wnid} {words}\n" for number, wnid, words in rows))
    return path


def settle(root: Path) -> None:
    """Make everything look old, so that an index may be written."""
    for folder, _, files in os.walk(root):
        for name in [".", *files]:
            os.utime(os.path.join(folder, name), ns=(LONG_AGO, LONG_AGO))


def write_archives(root: Path, meta: bytes = b"", truth: bytes = truth_text()) -> Path:
    root.mkdir(exist_ok=True)
    (root / "ILSVRC2012_img_train.tar").write_bytes(train_tar())
    (root / "ILSVRC2012_img_val.tar").write_bytes(val_tar())
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(kit_tar(meta, truth))
    settle(root)
    return root


def write_folders(root: Path) -> Path:
    for wnid, numbers in TRAIN.items():
        (root / "train" / wnid).mkdir(parents=True)
        for n in numbers:
            (root / "train" / wnid / train_name(wnid, n).decode()).write_bytes(jpeg(n))
    return root


def write_flat_val(root: Path) -> Path:
    (root / "val").mkdir(parents=True)
    for n in range(1, len(TRUTH) + 1):
        (root / "val" / val_name(n)).write_bytes(jpeg(1000 + n))
    return root


def relative(data: ImageNet) -> list[tuple[str, int]]:
    return [(os.path.relpath(path, data.root), label) for path, label in data.samples]


EXPECTED_TRAIN = [  # by class and then by name, as sorting text does it
    ("train/n01440764/n01440764_10026.JPEG", 0),
    ("train/n01440764/n01440764_123.JPEG", 0),
    ("train/n01440764/n01440764_9.JPEG", 0),
    ("train/n01443537/n01443537_1.JPEG", 1),
    ("train/n02089867/n02089867_40.JPEG", 2),
    ("train/n02089867/n02089867_5.JPEG", 2),
    ("train/n03063599/n03063599_17.JPEG", 3),
    ("train/n03063599/n03063599_3.JPEG", 3),
    ("train/n15075141/n15075141_2.JPEG", 4),
]
# ID 4 is label 0, ID 2 label 1, ID 5 label 2, ID 1 label 3, ID 3 label 4
EXPECTED_VAL = [(1, 0), (7, 0), (2, 1), (3, 1), (4, 2), (6, 3), (5, 4), (8, 4)]


def assert_train(data: ImageNet) -> None:
    assert relative(data) == EXPECTED_TRAIN
    assert data.targets == [label for _, label in EXPECTED_TRAIN]
    for index, (path, label) in enumerate(EXPECTED_TRAIN):
        number = int(path.split("_")[1].removesuffix(".JPEG"))
        picture, found = data[index]
        expected = Image.open(io.BytesIO(jpeg(number)))
        assert found == label
        np.testing.assert_array_equal(np.asarray(picture), np.asarray(expected))


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


def test_folders(tmp_path: Path) -> None:
    root = write_flat_val(write_folders(tmp_path))
    data = ImageNet(root)  # without a kit the WNIDs are the names
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


def test_an_archive_that_changes_is_noticed(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    data = ImageNet(root, class_list=write_class_list(tmp_path))
    os.utime(root / "ILSVRC2012_img_train.tar", ns=(1, 1))
    with pytest.raises(DataError, match="was changed after it was opened"):
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
        patched.setattr(imagenet, "_tar_members", no_reading)
        patched.setattr(imagenet._Kit, "read", lambda *_: truth_text())
        assert_train(ImageNet(root, class_list=classes))
        assert_val(ImageNet(root, "val", class_list=classes))


def test_an_index_of_other_labels_is_made_again(tmp_path: Path) -> None:
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


def test_an_index_of_another_archive_is_made_again(tmp_path: Path) -> None:
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
def test_nothing_there(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "names the class None"),
        ("tench", r"line 1: found 'tench'"),
        ("n01440764 a\nn01440764 b", "twice"),
        ("1 n01440764 a\nn01443537 b", "some lines only"),
        ("1 n01440764 a\n1 n01443537 b", "twice"),
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


def test_a_missing_validation_picture_shifts_no_labels(tmp_path: Path) -> None:
    root = write_archives(write_flat_val(tmp_path))
    classes = write_class_list(root)
    (root / "val" / val_name(3)).unlink()
    with pytest.raises(DataError, match="7 pictures and the ground truth 8"):
        ImageNet(root, "val", class_list=classes)
    (root / "val" / val_name(9)).write_bytes(jpeg(1))
    with pytest.raises(DataError, match=r"found '.*0004\.JPEG' as picture 3"):
        ImageNet(root, "val", class_list=classes)


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


def test_meta_that_unpacks_to_too_much(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    packed = zlib.compress(bytes(imagenet._LARGEST_KIT + 1))
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
    bomb = gzip.compress(bytes(imagenet._LARGEST_KIT + 1), compresslevel=1)
    (root / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(bomb)
    with pytest.raises(DataError, match="when unpacked"):
        ImageNet(root, "val", class_list=write_class_list(tmp_path))


def test_checksums(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_archives(tmp_path / "a")
    classes = write_class_list(tmp_path)
    with pytest.raises(DataError, match="expected fa75699e90414af021442c21a62c3abf"):
        ImageNet(root, class_list=classes, check=True)
    right = {
        part: (name, hashlib.md5((root / name).read_bytes()).hexdigest())
        for part, (name, _) in imagenet.ARCHIVES.items()
    }
    monkeypatch.setattr(imagenet, "ARCHIVES", right)
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
def test_extraction_goes_on_where_it_was_stopped(
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
    with pytest.raises(DataError, match="already there"):
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


def test_extraction_needs_space_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with pytest.raises(DataError, match=r"No space left.*a further call goes on"):
        ImageNet.extract(root, class_list=write_class_list(tmp_path))
    assert not (root / "train").exists()


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


# --------------------------------------------------------------------------------- hostile archives
PICTURE = b"n01440764_1.JPEG"
BAD_NAMES = {
    "absolute": b"/n01440764_1.JPEG",
    "parent": b"../n01440764_1.JPEG",
    "parents in the middle": b"a/../../../n01440764_1.JPEG",
    "hidden parent": b"./../n01440764_1.JPEG",
    "parent as the name": b"..",
    "no name": b"",
    "backslashes": b"..\\..\\n01440764_1.JPEG",
    "drive": b"C:\\n01440764_1.JPEG",
    "home": b"~/n01440764_1.JPEG",
    "newline at the end": b"n01440764_1.JPEG\n",
    "newline": b"n01440764\n_1.JPEG",
    "zero byte": b"n01440764_1.JPEG\0/../x",
    "space": b"n01440764_1.JPEG ",
    "other extension": b"n01440764_1.JPEG.sh",
    "other letters": b"n01440764_x.JPEG",
    "foreign digits": "n01440764_\u0661.JPEG".encode(),
    "not UTF-8": b"n01440764_\xff1.JPEG",
    "folder's name": b"n01440764_1.JPEG/",
    "other class": b"n09999999_1.JPEG",
    "archive in the archive": b"n01440764.tar",
}
BAD_MEMBERS: dict[str, bytes] = {
    "symbolic link": member(PICTURE, kind=b"2"),
    "hard link": member(PICTURE, kind=b"1"),
    "character device": member(PICTURE, kind=b"3"),
    "block device": member(PICTURE, kind=b"4"),
    "pipe": member(PICTURE, kind=b"6"),
    "contiguous": member(PICTURE, b"x", kind=b"7"),
    "sparse": member(PICTURE, b"x", kind=b"S"),
    "unknown kind": member(PICTURE, b"x", kind=b"Z"),
    "GNU long name": member(b"././@LongLink", b"../x", kind=b"L") + member(PICTURE, b"x"),
    "GNU long link": member(b"././@LongLink", b"../x", kind=b"K") + member(PICTURE, b"x"),
    "GNU volume": member(b"x", kind=b"V"),
    "GNU dump of a folder": member(b"x", b"Yn01440764_1.JPEG\0", kind=b"D"),
    "folder with content": member(b"a/", b"x" * 512, kind=b"5"),
    "PAX path": pax(path="../x") + member(PICTURE, b"x"),
    "PAX path for all": pax(b"g", path="../x") + member(PICTURE, b"x"),
    "PAX size": pax(size="999999") + member(PICTURE, b"x"),
    "PAX link": pax(linkpath="/etc/passwd") + member(PICTURE, b"x"),
    "PAX sparse": pax(GNU__sparse__major="1", GNU__sparse__name="x") + member(PICTURE, b"x"),
    "PAX real size": pax(SCHILY__realsize="1") + member(PICTURE, b"x"),
    "PAX without an end": member(b"x", b"99999 mtime=1\n", kind=b"x") + member(PICTURE, b"x"),
    "PAX of length zero": member(b"x", b"0 mtime=1\n", kind=b"x") + member(PICTURE, b"x"),
    "PAX without sense": member(b"x", b"\xff" * 700, kind=b"x") + member(PICTURE, b"x"),
    "PAX too long": member(b"x", b"7 gid=\n" * 10000, kind=b"x") + member(PICTURE, b"x"),
    "prefix up": member(PICTURE, b"x", prefix=b"../.."),
    "prefix to the root": member(PICTURE, b"x", prefix=b"/"),
    "twice": member(PICTURE, b"x") + member(PICTURE, b"y"),
    "twice by another way": member(PICTURE, b"x") + member(b"./a/" + PICTURE, b"y"),
    "size beyond the end": header(PICTURE, 0o77777777777),
    "size a little beyond": header(PICTURE, 4096) + b"x" * 512,
    "size of minus one": header(PICTURE, b"\xff" * 12),
    "size in base 256": header(PICTURE, b"\x80" + bytes(10) + b"\x01") + pad(b"x"),
    "size without digits": header(PICTURE, b"99999999999\0"),
    "size with a sign": header(PICTURE, b"-0000000001\0"),
    "wrong checksum": member(PICTURE, b"x", checksum=1),
    "text": b"<html>404</html>".ljust(512),
    "half a header": header(PICTURE)[:200],
}  # fmt: skip


def hostile_inner() -> Iterator[tuple[str, bytes]]:
    for name, bad in BAD_NAMES.items():
        yield f"{name} in a class", tar(member(b"n01440764_7.JPEG", jpeg(7)), member(bad, b"evil"))
    for name, bad_member in BAD_MEMBERS.items():
        yield f"{name} in a class", tar(member(b"n01440764_7.JPEG", jpeg(7)), bad_member)
    yield "no end", member(PICTURE, jpeg(7))
    yield "empty file", b""


def with_class(inner: bytes) -> bytes:
    """The training archive with another inner archive for the first class."""
    others = [member(f"{w}.tar".encode(), inner_tar(w)) for w in WNIDS[1:]]
    return tar(*others, member(b"n01440764.tar", inner))


def hostile_outer() -> Iterator[tuple[str, bytes]]:
    classes = [member(f"{wnid}.tar".encode(), inner_tar(wnid)) for wnid in WNIDS]
    for name, bad in BAD_NAMES.items():
        if name != "archive in the archive":
            bad = bad.replace(b"_1.JPEG", b".tar").replace(b"_x", b"x")
            yield f"{name} outside", tar(*classes[1:], member(bad, inner_tar(WNIDS[0])))
    for name, bad_member in BAD_MEMBERS.items():
        yield f"{name} outside", tar(*classes, bad_member)
    yield "class twice", tar(*classes, classes[0])
    yield "class missing", tar(*classes[1:])
    yield "unknown class", tar(*classes, member(b"n09999999.tar", inner_tar(WNIDS[0])))
    yield "truncated in a class", train_tar()[:20000]
    yield "truncated at the end", train_tar()[:-1024]


HOSTILE = dict([*((n, with_class(i)) for n, i in hostile_inner()), *hostile_outer()])


def everything_in(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return found


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
    size = imagenet._LARGEST_PICTURE + 512
    with open(path, "wb") as file:
        file.write(header(b"n01440764.tar", size + 1536) + header(PICTURE, size))
        file.truncate(1024 + size + 1024 + 1024)  # a hole that takes no space
    with pytest.raises(DataError, match=f"of {size} bytes"):
        ImageNet(tmp_path)


def test_more_members_than_any_archive_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "_MOST_HEADERS", 4)
    (tmp_path / "ILSVRC2012_img_train.tar").write_bytes(train_tar())
    with pytest.raises(DataError, match="more than 4 members"):
        ImageNet(tmp_path)


def test_an_index_with_hostile_names_extracts_nothing(tmp_path: Path) -> None:
    root = write_archives(tmp_path / "a")
    index = root / "minidl-train.index"
    classes = write_class_list(tmp_path)
    ImageNet(root, class_list=classes)
    content = index.read_bytes().replace(b"n01443537_1.JPEG", b"../../../x_.JPEG")
    content = content[:15] + hashlib.sha256(content[47:]).digest() + content[47:]
    index.write_bytes(content)
    names = [path for path, _ in ImageNet(root, class_list=classes).samples]
    assert any("../x_" in path for path in names), "the index must be believed"
    with pytest.raises(DataError, match="delete the index"):
        ImageNet.extract(root, class_list=classes)
    assert not list(tmp_path.rglob("x_.JPEG"))


def test_fuzzed_archives(tmp_path: Path) -> None:
    """Archives with random damage are refused, or give pictures in place; nothing else happens.

    ``MINIDL_FUZZ=20000`` tries that many instead of a hundred.
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
