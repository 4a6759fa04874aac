"""ImageFolder and the decoding of single files."""

from __future__ import annotations

import os
import pickle
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.errors import DataError
from minidl.vision.datasets import ImageFolder, pil_loader


def save(path: Path, colour: tuple[int, ...] | int = (200, 30, 60), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), colour).save(path, quality=95)
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
        save(tmp_path / "ä" / f"{index}.png")  # the path's bytes are more than its characters
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
    # A class may lie in another one, but nothing is met twice within a class.
    assert names == ["a/0.png", "a/x/1.png", "linked/1.png", "linked/back/0.png"]


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


# ----------------------------------------------------------------------------------------- decoding
def test_rgb_pixels_are_kept(tmp_path: Path) -> None:
    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    picture = pil_loader(tmp_path / "x.png")
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_content_decides_and_not_the_name(tmp_path: Path) -> None:
    save(tmp_path / "x.png", (1, 2, 3)).rename(tmp_path / "x.JPEG")
    assert pil_loader(tmp_path / "x.JPEG").getpixel((0, 0)) == (1, 2, 3)


def test_cmyk_jpeg(tmp_path: Path) -> None:
    save(tmp_path / "x.jpg", (0, 255, 255, 0), "CMYK")  # no cyan, all magenta and yellow: red
    red, green, blue = pil_loader(tmp_path / "x.jpg").getpixel((3, 3))
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize("mode, colour", [("L", 77), ("LA", (77, 0)), ("1", 1)])
def test_grey(tmp_path: Path, mode: str, colour: tuple[int, ...] | int) -> None:
    save(tmp_path / "x.png", colour, mode)
    expected = 255 if mode == "1" else 77
    assert pil_loader(tmp_path / "x.png").getpixel((0, 0)) == (expected,) * 3


def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 255, 256, 0x8040, 0xFFFF]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    pixels = np.asarray(pil_loader(tmp_path / "x.png"))
    np.testing.assert_array_equal(pixels[0, :, 0], [0, 0, 1, 0x80, 0xFF])
    assert pixels.shape == (1, 5, 3) and np.ptp(pixels, axis=2).max() == 0


def test_palette_with_transparency(tmp_path: Path) -> None:
    picture = Image.new("P", (8, 6), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.save(tmp_path / "x.png", transparency=bytes([255, 128]))
    assert pil_loader(tmp_path / "x.png").getpixel((0, 0)) == (10, 20, 30)


def test_transparency_is_dropped(tmp_path: Path) -> None:
    save(tmp_path / "x.png", (10, 20, 30, 0), "RGBA")
    assert pil_loader(tmp_path / "x.png").getpixel((0, 0)) == (10, 20, 30)


def damaged_exif() -> bytes:
    # One entry, of type ASCII, whose 64 bytes would lie far behind the end of the block.
    entry = struct.pack("<HHLL", 0x010F, 2, 64, 5000)
    return b"Exif\0\0II*\0" + struct.pack("<LH", 8, 1) + entry + b"\0\0\0\0"


def test_damaged_exif_is_silent(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "x.jpg", exif=damaged_exif())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Image.open(tmp_path / "x.jpg") as picture:
            picture.getexif().get(0x010F)
    assert caught, "the fixture must make Pillow warn"
    assert pil_loader(tmp_path / "x.jpg").size == (8, 6)  # warnings are errors in the tests


def test_exif_rotation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.new("RGB", (8, 6)).save(tmp_path / "x.jpg", exif=exif)
    assert pil_loader(tmp_path / "x.jpg").size == (8, 6)


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "gif", "missing", "folder"])
def test_damaged_files_name_their_path(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a" / "x.jpg"
    path.parent.mkdir()
    if kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:1500])
    elif kind == "gif":  # a format that is not asked for
        Image.new("L", (4, 4)).save(path, format="GIF")
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"<html>404</html>")
    with pytest.raises(DataError, match=r"a.x\.jpg can't be decoded"):
        pil_loader(path)


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
