"""MNIST from idx files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minidl.errors import DataError
from minidl.vision.datasets import MNIST, FashionMNIST

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
DIGITS = np.array([7, 0, 9, 1, 4], dtype=np.uint8)


def idx(array: np.ndarray, magic: int | None = None) -> bytes:
    header = struct.pack(">I", 0x0800 + array.ndim if magic is None else magic)
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(
    folder: Path,
    part: str = "train",
    pixels: bytes = idx(PIXELS),
    digits: bytes = idx(DIGITS),
    zipped: bool = False,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("images-idx3", pixels), ("labels-idx1", digits)):
        if zipped:
            (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(content))
        else:
            (folder / f"{part}-{name}-ubyte").write_bytes(content)


@pytest.mark.parametrize("folder", [".", "MNIST/raw", "raw"])
@pytest.mark.parametrize("zipped", [True, False])
def test_read(tmp_path: Path, folder: str, zipped: bool) -> None:
    write(tmp_path / folder, "train", zipped=zipped)
    write(tmp_path / folder, "t10k", idx(PIXELS[:2]), idx(DIGITS[3:]), zipped=zipped)
    train, test = MNIST(tmp_path, download=True), MNIST(tmp_path, train=False)
    assert len(train) == 5 and len(test) == 2
    assert train.data.dtype == np.uint8 and train.targets.dtype == np.int64
    np.testing.assert_array_equal(train.data, PIXELS)
    np.testing.assert_array_equal(test.targets, [1, 4])
    picture, label = train[2]
    assert picture.mode == "L" and label == 9 and type(label) is int
    np.testing.assert_array_equal(np.asarray(picture), PIXELS[2])
    assert train.classes[9] == "9 - nine" and train.class_to_idx["0 - zero"] == 0


def test_transforms(tmp_path: Path) -> None:
    write(tmp_path)
    data = MNIST(tmp_path, True, lambda picture: picture.size, lambda digit: -digit)
    assert data[0] == ((28, 28), -7)


def test_data_may_be_changed(tmp_path: Path) -> None:
    write(tmp_path)
    data = MNIST(tmp_path)
    data.data[0] = 0
    assert np.asarray(data[0][0]).max() == 0


@pytest.mark.parametrize("download", [True, False])
def test_missing_files(tmp_path: Path, download: bool) -> None:
    with pytest.raises(DataError, match=r"no train-images-idx3-ubyte.*raw.*downloads nothing"):
        MNIST(tmp_path, download=download)
    with pytest.raises(DataError, match="no such folder"):
        MNIST(tmp_path / "nowhere")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "pixels, pattern",
    [
        (b"", "ends within its header, after 0 bytes"),
        (idx(PIXELS)[:15], "after 15 bytes"),
        (idx(PIXELS, 0x0801), "first number is 0x801, expected 0x803"),
        (idx(PIXELS)[:-1], "announces 5 x 28 x 28 bytes, found 3919"),
        (idx(PIXELS) + b"\0", "found more"),
        (idx(PIXELS[:4]), "4 pictures.* 5 labels"),
        (idx(PIXELS[:, 1:]), r"shape \(27, 28\), expected \(28, 28\)"),
        (struct.pack(">4I", 0x0803, 2**32 - 1, 2**32 - 1, 2**32 - 1), "more than"),
    ],
)
def test_wrong_pictures(tmp_path: Path, pixels: bytes, pattern: str, zipped: bool) -> None:
    write(tmp_path, pixels=pixels, zipped=zipped)
    with pytest.raises(DataError, match=f"train-images.*{pattern}"):
        MNIST(tmp_path)


def test_wrong_labels(tmp_path: Path) -> None:
    write(tmp_path, digits=idx(DIGITS + 1))
    with pytest.raises(DataError, match="holds the label 10, expected digits from 0 to 9"):
        MNIST(tmp_path)


@pytest.mark.parametrize("damage", ["no gzip", "cut", "flipped"])
def test_damaged_gzip(tmp_path: Path, damage: str) -> None:
    write(tmp_path, zipped=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]
    path.write_bytes({"no gzip": b"x" * 99, "cut": content[:-200], "flipped": flipped}[damage])
    with pytest.raises(DataError, match="train-images-idx3-ubyte.gz can't be read"):
        MNIST(tmp_path)


def test_fashion_mnist_has_files_of_its_own(tmp_path: Any) -> None:
    rng = np.random.default_rng(0)
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    for name, array in (
        ("train-images-idx3-ubyte", rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)),
        ("train-labels-idx1-ubyte", np.array([9, 0, 3], np.uint8)),
    ):
        header = np.array([0x0800 + array.ndim, *array.shape], ">u4").tobytes()
        (folder / name).write_bytes(header + array.tobytes())
    dataset = FashionMNIST(tmp_path)
    assert [dataset.classes[label] for _, label in dataset] == [
        "Ankle boot",
        "T-shirt/top",
        "Dress",
    ]
    assert dataset.targets.tolist() == [9, 0, 3] and dataset.data.unsqueeze(1).shape[1] == 1
    with pytest.raises(DataError, match="get MNIST's four idx files"):
        MNIST(tmp_path)
