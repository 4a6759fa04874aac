"""CIFAR10 and CIFAR100 from the published files and from folders of pictures."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.errors import DataError
from minidl.vision.datasets import CIFAR10, CIFAR100

NAMES = ["airplane", "automobile", "bird", "cat", "deer"]


def planes(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (4, 3072), dtype=np.uint8)


def publish(folder: Path, as_bytes: bool = True, protocol: int = 2) -> Path:
    """Write files as published, with four pictures each."""

    def key(text: str) -> object:
        return text.encode() if as_bytes else text

    folder.mkdir(parents=True)
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    for number, name in enumerate(names):
        batch = {
            key("batch_label"): key(name),
            key("labels"): [number % 5, 1, 2, 3],
            key("data"): planes(number),
            key("filenames"): [key(f"{name}_{index}.png") for index in range(4)],
        }
        (folder / name).write_bytes(pickle.dumps(batch, protocol))
    meta = {key("num_cases_per_batch"): 4, key("label_names"): [key(n) for n in NAMES]}
    (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol))
    return folder


@pytest.mark.parametrize("as_bytes", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_published_files(tmp_path: Path, as_bytes: bool, protocol: int) -> None:
    publish(tmp_path / "cifar-10-batches-py", as_bytes, protocol)
    train, test = CIFAR10(tmp_path), CIFAR10(tmp_path, train=False)

    assert train.data.shape == (20, 32, 32, 3) and train.data.dtype == np.uint8
    assert train.data.flags.c_contiguous and len(train) == 20 and len(test) == 4
    assert train.targets == [0, 1, 2, 3, 1, 1, 2, 3, 2, 1, 2, 3, 3, 1, 2, 3, 4, 1, 2, 3]
    assert test.targets == [0, 1, 2, 3]
    assert train.classes == NAMES and train.class_to_idx["cat"] == 3
    row = planes(1)[2]  # batch 2, third picture
    for y, x in ((0, 0), (5, 31), (31, 2)):
        expected = [row[channel * 1024 + y * 32 + x] for channel in range(3)]
        np.testing.assert_array_equal(train.data[6, y, x], expected)
    picture, label = train[6]
    assert picture.mode == "RGB" and label == 2 and type(label) is int
    np.testing.assert_array_equal(np.asarray(picture), train.data[6])


def test_the_files_may_lie_in_root_itself(tmp_path: Path) -> None:
    assert len(CIFAR10(publish(tmp_path / "anywhere"), download=True)) == 20


def test_transforms(tmp_path: Path) -> None:
    data = CIFAR10(publish(tmp_path / "c"), True, lambda picture: picture.size, lambda y: y + 10)
    assert data[1] == ((32, 32), 11)


@pytest.mark.parametrize("layout", ["train", "cifar10/train"])
def test_folders_of_pictures(tmp_path: Path, layout: str) -> None:
    for label, name in enumerate(["cat", "ant"]):
        folder = tmp_path / layout / name
        folder.mkdir(parents=True)
        for index in range(3):
            color = (label * 100, index * 50, 7)
            Image.new("RGB", (32, 32), color).save(folder / f"{index}.png")
    data = CIFAR10(tmp_path)
    assert data.classes == ["ant", "cat"] and data.targets == [0, 0, 0, 1, 1, 1]
    assert isinstance(data.targets, list)
    assert data.data.shape == (6, 32, 32, 3)
    np.testing.assert_array_equal(data.data[1, 3, 4], [100, 50, 7])
    np.testing.assert_array_equal(data.data[5, 0, 0], [0, 100, 7])
    with pytest.raises(DataError, match="no CIFAR10 test pictures"):
        CIFAR10(tmp_path, train=False)


def test_a_picture_of_another_size(tmp_path: Path) -> None:
    (tmp_path / "train" / "cat").mkdir(parents=True)
    Image.new("RGB", (33, 32)).save(tmp_path / "train" / "cat" / "0.png")
    with pytest.raises(DataError, match=r"0\.png has 33 x 32 pixels, expected 32 x 32"):
        CIFAR10(tmp_path)


@pytest.mark.parametrize("download", [True, False])
def test_missing_files(tmp_path: Path, download: bool) -> None:
    pattern = r"found: \[\].*downloads nothing.*cifar-10-python\.tar\.gz.*cifar-10-batches-py"
    with pytest.raises(DataError, match=pattern):
        CIFAR10(tmp_path, download=download)
    with pytest.raises(DataError, match="no such folder"):
        CIFAR10(tmp_path / "nowhere", download=download)


@pytest.mark.parametrize("name", ["data_batch_3", "batches.meta"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    (publish(tmp_path / "cifar-10-batches-py") / name).unlink()
    with pytest.raises(DataError, match=f"lacks {name}"):
        CIFAR10(tmp_path)


@pytest.mark.parametrize(
    "change, pattern",
    [
        ({b"data": planes(0)[:, :1000]}, r"shape \(N, 3072\), found \(4, 1000\)"),
        ({b"data": [1, 2]}, "found nothing"),
        ({b"labels": [0, 1, 2]}, "list of 4 integers"),
        ({b"labels": [0, 1, 2, 5]}, "from 0 to 4"),
        ({b"labels": [0, 1, 2, -1]}, "from 0 to 4"),
        ({b"labels": [0, 1, 2, "3"]}, "integers"),
        ({b"labels": None}, "integers"),
    ],
)
def test_a_wrong_batch(tmp_path: Path, change: dict[bytes, object], pattern: str) -> None:
    path = publish(tmp_path / "c") / "data_batch_4"
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), **change}, 2))
    with pytest.raises(DataError, match=f"data_batch_4.*{pattern}"):
        CIFAR10(tmp_path / "c")


def test_a_wrong_meta_file(tmp_path: Path) -> None:
    (publish(tmp_path / "c") / "batches.meta").write_bytes(pickle.dumps({"names": []}))
    with pytest.raises(DataError, match=r"batches\.meta holds no list.*'label_names'.*names"):
        CIFAR10(tmp_path / "c")


class Hostile:
    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.victim}",)


@pytest.mark.parametrize("name", ["data_batch_2", "batches.meta"])
def test_a_hostile_file(tmp_path: Path, name: str) -> None:
    folder = publish(tmp_path / "c")
    (folder / name).write_bytes(pickle.dumps({"data": Hostile(tmp_path / "victim")}, 2))
    with pytest.raises(DataError, match=f"{name} was refused"):
        CIFAR10(folder)
    assert not (tmp_path / "victim").exists()


def test_cifar100(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for number, name in enumerate(["train", "test"]):
        batch = {
            b"fine_labels": [3, 2, 1, 0],
            b"coarse_labels": [0, 0, 0, 0],
            b"data": planes(number),
        }
        (folder / name).write_bytes(pickle.dumps(batch, 2))
    meta = {b"fine_label_names": [b"apple", b"bear", b"bee", b"bus"], b"coarse_label_names": []}
    (folder / "meta").write_bytes(pickle.dumps(meta, 2))
    test = CIFAR100(tmp_path, train=False)
    assert test.targets == [3, 2, 1, 0] and test.classes == ["apple", "bear", "bee", "bus"]
    np.testing.assert_array_equal(test.data[0, 0, 1], planes(1)[0, [1, 1025, 2049]])


def test_real_pictures() -> None:
    root = os.environ.get("MINIDL_DATA")
    if not root or not (Path(root) / "cifar10" / "train").is_dir():
        pytest.skip("MINIDL_DATA names no folder with cifar10/train/")
    data = CIFAR10(root)
    assert np.bincount(data.targets).tolist() == [5000] * 10
    assert data.data.shape == (50000, 32, 32, 3)
