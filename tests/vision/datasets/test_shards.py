"""Shards: pictures from large files, and damage to these files."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from minidl.data import DataLoader
from minidl.errors import DataError
from minidl.vision.datasets.shards import (
    MANIFEST,
    STATISTICS,
    Shards,
    read_manifest,
    verify,
    write_file,
    write_manifest,
    write_shard,
)
from minidl.vision.statistics import PixelSums
from minidl.vision.transforms import (
    CenterCrop,
    Compose,
    PILToTensor,
    RandomCrop,
    RandomHorizontalFlip,
    Resize,
    ToRaw,
)

SIZE = 8
COUNTS = (3, 0, 4)  # pictures in each shard; all of the second's were skipped
LABELS = [0, 0, 1, 1, 1, 2, 2]


def stored(suffix: str, pixels: np.ndarray) -> bytes:
    if suffix == "raw":
        return pixels.tobytes()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=90)
    return file.getvalue()


def shown(suffix: str, pixels: np.ndarray) -> np.ndarray:
    if suffix == "raw":
        return pixels
    with Image.open(io.BytesIO(stored(suffix, pixels))) as picture:
        return np.asarray(picture)


@pytest.fixture
def pixels() -> np.ndarray:
    """Seven pictures."""
    shape = (sum(COUNTS), SIZE, SIZE, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def write(root: Path, suffix: str, pixels: np.ndarray) -> Path:
    root.mkdir()
    shards = []
    start = 0
    for number, count in enumerate(COUNTS):
        part = range(start, start + count)
        pictures = [(stored(suffix, pixels[i]), LABELS[i], f"train/x/{i}.jpg") for i in part]
        shards.append({**write_shard(root, "train", number, suffix, pictures), "skipped": []})
        start += count
    sums = PixelSums(SIZE, SIZE)
    sums.add(pixels)
    sums.statistics().save(root / STATISTICS)
    part_of_manifest = {"sources": 7, "sources_sha256": "", "shards": shards}
    write_manifest(
        root,
        {
            "settings": {"format": suffix, "size": SIZE},
            "classes": ["a", "b", "c"],
            "complete": True,
            "statistics": write_file(root / STATISTICS, [(root / STATISTICS).read_bytes()]),
            "splits": {"train": part_of_manifest},
        },
    )
    return root


@pytest.fixture(params=["raw", "jpeg"])
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(tmp_path: Path, suffix: str, pixels: np.ndarray) -> Path:
    return write(tmp_path / "shards", suffix, pixels)


def test_items(root: Path, suffix: str, pixels: np.ndarray) -> None:
    data = Shards(root)
    assert len(data) == 7
    assert data.classes == ["a", "b", "c"] and data.class_to_idx == {"a": 0, "b": 1, "c": 2}
    assert data.targets == LABELS and data.size == SIZE
    for index in [*range(7), -1, -7]:
        picture, label = data[index]
        assert picture.mode == "RGB"
        assert np.array_equal(np.asarray(picture), shown(suffix, pixels[index]))
        assert label == LABELS[index] and type(label) is int
        assert data.source(index) == f"train/x/{index % 7}.jpg"
    for index in (7, -8):
        with pytest.raises(IndexError, match="7 pictures"):
            data[index]
        with pytest.raises(IndexError, match="7 pictures"):
            data.get_batch([0, index])


def test_batches(root: Path, suffix: str, pixels: np.ndarray) -> None:
    data = Shards(root, transform=lambda picture: 1 / 0)  # which get_batch must not call
    order = np.array([6, 2, -1, 3, 2, 0])
    batch, labels = data.get_batch(order)
    assert batch.dtype == np.uint8 and batch.flags.c_contiguous and batch.flags.writeable
    assert np.array_equal(batch, np.stack([shown(suffix, pixels[i]) for i in order]))
    assert labels.dtype == np.int64 and labels.tolist() == [LABELS[i] for i in order]
    batch[:] = 0  # a copy
    assert np.array_equal(data.get_batch([6])[0][0], shown(suffix, pixels[6]))
    batch, labels = data.get_batch([])
    assert batch.shape == (0, SIZE, SIZE, 3) and labels.shape == (0,)


def test_transforms_and_loader(root: Path, suffix: str, pixels: np.ndarray) -> None:
    data = Shards(root, transform=PILToTensor(), target_transform=lambda label: label + 10)
    expected = np.stack([shown(suffix, picture) for picture in pixels]).transpose(0, 3, 1, 2)
    for workers in (0, 2):
        batches = list(DataLoader(data, batch_size=3, num_workers=workers))
        assert np.array_equal(np.concatenate([b[0].numpy() for b in batches]), expected)
        assert [label for b in batches for label in b[1].tolist()] == [k + 10 for k in LABELS]


@pytest.mark.parametrize("side", [SIZE, 6])
def test_raw_pictures_skip_pillow_with_the_same_bytes(
    tmp_path: Path, pixels: np.ndarray, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path / "shards", "raw", pixels)
    steps = [Resize(side), RandomCrop(5), ToRaw(RandomHorizontalFlip())]
    loaders = [
        DataLoader(Shards(root, transform=transform), 4, shuffle=True, num_workers=workers)
        for workers in (0, 2)
        for transform in (Compose(steps), lambda picture: Compose(steps)(picture))
    ]
    for loader in loaders:
        loader.set_epoch(0)
    epochs = [list(loader) for loader in loaders]
    for batches in epochs[1:]:
        for (raw, labels), (expected, expected_labels) in zip(batches, epochs[0], strict=True):
            assert labels.tolist() == expected_labels.tolist()
            for part, expected_part in zip(raw, expected, strict=True):
                assert np.array_equal(part.numpy(), expected_part.numpy())
    if side == SIZE:
        monkeypatch.setattr(Image, "fromarray", lambda *_: 1 / 0)  # Pillow is not used
        list(loaders[0])


def test_only_transforms_that_take_bytes_get_them(tmp_path: Path, pixels: np.ndarray) -> None:
    root = write(tmp_path / "shards", "raw", pixels)

    def kind(*steps: Any) -> str:
        return type(Shards(root, transform=Compose(steps)).load(0)[0]).__name__

    assert kind(Resize(SIZE), CenterCrop(4), RandomCrop(3), Compose([ToRaw()])) == "Tensor"
    assert kind(RandomHorizontalFlip(), ToRaw()) == "Image"
    assert kind(RandomCrop(9, pad_if_needed=True), ToRaw()) == "Image"
    assert kind(RandomCrop(4, padding=1), ToRaw()) == "Image"
    assert type(Shards(root).load(0)[0]).__name__ == "Image"
    view = Shards(root, transform=ToRaw())[0][0].pixels.numpy()
    with pytest.raises(ValueError, match="read-only"):  # it maps the file
        view[...] = 0


def test_copies_and_pickles(root: Path, suffix: str, pixels: np.ndarray) -> None:
    data = Shards(root)
    data.get_batch(range(7))  # maps all files
    for other in (copy.copy(data), pickle.loads(pickle.dumps(data))):
        assert np.array_equal(np.asarray(other[5][0]), shown(suffix, pixels[5]))


def test_pickles_and_openings_hold_no_pixels(tmp_path: Path) -> None:
    """A pickled data set contains no pictures, even if it was read before."""
    data = Shards(write(tmp_path / "shards", "raw", np.zeros((7, SIZE, SIZE, 3), np.uint8)))
    before = pickle.dumps(data)
    data.get_batch(range(7))
    after = pickle.dumps(data)
    assert len(after) == len(before)


def test_many_threads(root: Path, suffix: str, pixels: np.ndarray) -> None:
    data = Shards(root)
    expected = np.stack([shown(suffix, picture) for picture in pixels])
    with ThreadPoolExecutor(8) as pool:
        for batch, labels in pool.map(data.get_batch, [range(7)] * 40):
            assert np.array_equal(batch, expected) and labels.tolist() == LABELS


def test_statistics(root: Path, pixels: np.ndarray) -> None:
    found = Shards(root).statistics
    assert np.array_equal(found.mean_image, pixels.mean(axis=0).transpose(2, 0, 1))
    (root / STATISTICS).write_bytes(b"")
    with pytest.raises(DataError, match=STATISTICS):
        _ = Shards(root).statistics


def test_one_changed_byte_is_found_when_its_picture_is_read(root: Path, suffix: str) -> None:
    path = root / f"train-00002.{suffix}"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the last picture
    path.write_bytes(content)
    for read in (lambda data, i: data[i], lambda data, i: data.get_batch([i])):
        data = Shards(root)
        read(data, 5)
        for _ in range(2):
            with pytest.raises(DataError, match=rf"{path} is damaged.*'train/x/6\.jpg'"):
                read(data, 6)


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        ("train-00000.raw", Path.unlink, "can't be read: No such file"),
        ("train-00000.raw", rewritten(lambda data: data[:-1]), "575 bytes, expected 576"),
        ("train-00002.raw", rewritten(lambda data: data + b"\0"), "769 bytes, expected 768"),
        ("train-00000.json", Path.unlink, "can't be read: No such file"),
        ("train-00000.json", rewritten(lambda data: data.replace(b"0", b"1", 1)), "is damaged"),
        ("train-00002.json", rewritten(lambda data: b"{}"), "is damaged"),
        (MANIFEST, Path.unlink, f"expected {MANIFEST}"),
        (MANIFEST, rewritten(lambda data: data[:-2]), "can't be read"),
        (MANIFEST, rewritten(lambda data: b"[]"), "is not a manifest of shards"),
        (MANIFEST, rewritten(lambda data: b'{"kind": "x"}'), "is not a manifest of shards"),
        (MANIFEST, rewritten(lambda data: data.replace(b'"a"', b'"z"')), "is damaged"),
        (
            MANIFEST,
            rewritten(lambda data: data.replace(b'"version": 1', b'"version": 9')),
            "version 9",
        ),
    ],
)
def test_damaged_files(
    tmp_path: Path, pixels: np.ndarray, name: str, damage: Callable[[Path], Any], words: str
) -> None:
    root = write(tmp_path / "shards", "raw", pixels)
    damage(root / name)
    with pytest.raises(DataError, match=words) as raised:
        Shards(root)
    assert str(root) in str(raised.value)
    assert name in str(raised.value)


def test_not_complete(root: Path) -> None:
    write_manifest(root, {**read_manifest(root), "complete": False})
    with pytest.raises(DataError, match="are not complete: run"):
        Shards(root)


def test_unknown_split(root: Path) -> None:
    with pytest.raises(DataError, match="no shards of 'val'; it has train"):
        Shards(root, "val")


def test_verify(root: Path, suffix: str) -> None:
    found = dict(verify(root))
    assert len(found) == 7 and set(found.values()) == {None}
    damaged = {
        root / f"train-00000.{suffix}": "its SHA-256 does not match",
        root / "train-00001.json": "it can't be read: No such file or directory",
        root / "train-00002.json": "it has 2 bytes, expected",
        root / STATISTICS: "its SHA-256 does not match",
    }
    for path in damaged:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
    (root / "train-00001.json").unlink()
    (root / "train-00002.json").write_bytes(b"{}")
    for path, problem in verify(root):
        assert (problem is None) == (path not in damaged)
        assert problem is None or problem.startswith(damaged[path])


def test_an_unfinished_shard_leaves_nothing(tmp_path: Path) -> None:
    def pictures() -> Iterator[tuple[bytes, int, str]]:
        yield b"pixels", 0, "a.jpg"
        raise DataError("b.jpg is damaged")

    with pytest.raises(DataError, match=r"b\.jpg"):
        write_shard(tmp_path, "train", 0, "raw", pictures())
    assert list(tmp_path.iterdir()) == []


def test_format(tmp_path: Path, pixels: np.ndarray) -> None:
    """Other programs can read the format: plain bytes and JSON."""
    root = write(tmp_path / "shards", "raw", pixels)
    raw = np.memmap(root / "train-00002.raw", np.uint8, "r").reshape(-1, SIZE, SIZE, 3)
    assert np.array_equal(raw, pixels[3:])
    index = json.loads((root / "train-00002.json").read_bytes())
    assert index["labels"] == LABELS[3:]
    assert index["sources"] == [f"train/x/{i}.jpg" for i in range(3, 7)]
    assert index["ends"] == [SIZE * SIZE * 3 * k for k in range(1, 5)]
