"""ImageFolder and the decoding of single files."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import warnings
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.errors import ArgumentError, DataError
from minidl.vision.datasets import ImageFolder, folder, pil_loader


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


def test_links_in_a_circle_and_names_that_are_not_utf8(tmp_path: Path) -> None:
    save(tmp_path / "a" / "0.png")
    (tmp_path / "a" / "1.png").symlink_to(tmp_path / "a" / "2.png")
    (tmp_path / "a" / "2.png").symlink_to(tmp_path / "a" / "1.png")
    os.rename(save(tmp_path / "a" / "x.png"), os.fsencode(tmp_path / "a") + b"/\xe9.png")
    data = ImageFolder(tmp_path)
    assert [os.path.basename(path) for path, _ in data.samples] == [
        "0.png", "1.png", "2.png", "\udce9.png",
    ]  # fmt: skip
    assert data[3][0].size == (8, 6)
    with pytest.raises(DataError, match=r"1\.png can't be decoded.*Too many levels"):
        data[1]
    os.truncate(data.samples[3][0], 50)
    with pytest.raises(DataError, match=r"a/\\udce9\.png' can't be decoded") as caught:
        data[3]
    str(caught.value).encode()  # it can be printed


def test_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a" / "0.png")
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("a"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)  # chmod would not keep root out
    with pytest.raises(DataError, match=r"folder .*a can't be read: Permission denied"):
        ImageFolder(tmp_path)


# ---------------------------------------------------------------------------------------- the index
LONG_AGO = 1_500_000_000_000_000_000


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pictures that is young and of which an index is written nevertheless."""
    monkeypatch.setattr(folder, "_SETTLED", -(10**12))
    for name in ("b/2.jpg", "b/10.PNG", "a/x.JPEG", "a/deep/y.bmp", "ä/z.png"):
        save(tmp_path / "tree" / name)
    os.rename(save(tmp_path / "tree/b/q.jpg"), os.fsencode(tmp_path) + b"/tree/b/\xe9.jpg")
    return tmp_path / "tree"


def open_without_search(root: Path, index: Path) -> ImageFolder:
    """Open a folder, whose files must not be searched."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(folder, "_files_below", no_search)
        return ImageFolder(root, index=index)


def no_search(*_: object) -> Iterator[str]:
    raise AssertionError("the folder was searched")


def test_the_index_replaces_the_search(tree: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    searched = ImageFolder(tree, index=index)
    assert [path.name for path in tmp_path.iterdir() if path != tree] == ["index"]
    read = open_without_search(tree, index)
    assert read.samples == searched.samples == ImageFolder(tree).samples
    assert read.targets == searched.targets and read.classes == searched.classes
    assert read[0][0].size == (8, 6)
    os.rename(tree, tmp_path / "moved")
    moved = open_without_search(tmp_path / "moved", index)
    assert moved.samples[0] == (str(tmp_path / "moved/a/x.JPEG"), 0)
    assert pickle.loads(pickle.dumps(moved)).samples == moved.samples


@pytest.mark.parametrize("change", ["new", "gone", "renamed", "deep", "class", "no class", "time"])
def test_an_index_that_is_no_longer_true_is_made_again(
    tree: Path, tmp_path: Path, change: str
) -> None:
    index = tmp_path / "index"
    ImageFolder(tree, index=index)
    if change == "new":
        save(tree / "b" / "new.png")
    elif change == "gone":
        (tree / "b" / "2.jpg").unlink()
    elif change == "renamed":
        (tree / "b" / "2.jpg").rename(tree / "b" / "3.jpg")
    elif change == "deep":
        save(tree / "a" / "deep" / "new.png")
    elif change == "class":
        save(tree / "c" / "0.png")
    elif change == "no class":
        os.rename(tree / "b", tmp_path / "b")
    else:  # as an unpacker does that restores the folders' times
        before = os.stat(tree / "b")
        (tree / "b" / "2.jpg").rename(tree / "b" / "3.jpg")
        os.utime(tree / "b", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert ImageFolder(tree, index=index).samples == ImageFolder(tree).samples
    assert open_without_search(tree, index).samples == ImageFolder(tree).samples


def test_other_labels_need_another_index(tree: Path, tmp_path: Path) -> None:
    class Reversed(ImageFolder):
        def find_classes(
            self, directory: str | os.PathLike[str]
        ) -> tuple[list[str], dict[str, int]]:
            return ["ä", "b", "a"], {"ä": 0, "b": 1, "a": 2}

    ImageFolder(tree, index=tmp_path / "index")
    assert Reversed(tree, index=tmp_path / "index").targets == [0, 1, 1, 1, 2, 2]


def test_folders_that_are_being_changed_get_no_index(tmp_path: Path) -> None:
    save(tmp_path / "tree" / "a" / "0.png")
    for below, _, _ in os.walk(tmp_path / "tree"):
        os.utime(below, ns=(LONG_AGO, LONG_AGO))  # the time of the last change tells nevertheless
    ImageFolder(tmp_path / "tree", index=tmp_path / "index")
    assert not (tmp_path / "index").exists()


def test_every_damage_of_an_index_is_noticed(tree: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    expected = ImageFolder(tree, index=index).samples
    sound = index.read_bytes()
    start = len(b"minidl index ")
    damaged = [sound[:end] for end in range(start, len(sound), 41)]
    damaged += [
        sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :]
        for place in range(start, len(sound), 13)
    ]
    damaged.append(sound + b"\0")
    for content in damaged:
        index.write_bytes(content)
        with pytest.warns(UserWarning, match="index .* is damaged"):
            assert ImageFolder(tree, index=index).samples == expected
        assert index.read_bytes() == sound


def test_an_index_whose_arrays_do_not_fit_is_made_again(tree: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    expected = ImageFolder(tree, index=index).samples
    sound = index.read_bytes()
    ends = np.cumsum([len(os.fsencode(os.path.relpath(p, tree))) for p, _ in expected])
    counts = np.array([2, 3, 1])
    assert ends.tobytes() in sound and counts.tobytes() in sound
    for old, new in (
        (ends, ends + 1),
        (ends, ends[[1, 0, 2, 3, 4, 5]]),
        (ends, ends - 2 * ends[0]),
        (counts, [2, 3, 2]),
        (counts, [-1, 3, 4]),
    ):
        content = sound.replace(old.tobytes(), np.asarray(new, dtype="<i8").tobytes())
        index.write_bytes(content[:15] + hashlib.sha256(content[47:]).digest() + content[47:])
        with pytest.warns(UserWarning, match="is damaged"):
            assert ImageFolder(tree, index=index).samples == expected


def test_a_file_that_is_no_index_is_not_overwritten(tree: Path, tmp_path: Path) -> None:
    for content in (b"my notes", b""):
        (tmp_path / "notes.txt").write_bytes(content)
        with pytest.raises(DataError, match=r"notes\.txt is not an index"):
            ImageFolder(tree, index=tmp_path / "notes.txt")
        assert (tmp_path / "notes.txt").read_bytes() == content
    with pytest.raises(DataError, match="can't be read"):
        ImageFolder(tree, index=tree)


def test_an_index_that_cannot_be_written(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(UserWarning, match=r"index .*nowhere.* can't be written.*index="):
        assert len(ImageFolder(tree, index=tmp_path / "nowhere" / "index")) == 6

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, full)
            with pytest.warns(UserWarning, match="No space left"):
                ImageFolder(tree, index=tmp_path / "index")
        assert [path for path in tmp_path.iterdir() if path != tree] == []  # not even half of it


def test_an_index_and_a_function_that_picks_files(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="index can't be combined with is_valid_file"):
        ImageFolder(tree, index=tmp_path / "index", is_valid_file=os.path.isfile)


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


def test_cmyk_jpeg_is_stored_inverted_as_adobe_does(tmp_path: Path) -> None:
    content = save(tmp_path / "x.jpg", (0, 255, 255, 0), "CMYK").read_bytes()
    assert b"\xff\xee\0\x0eAdobe" in content, "the fixture must have Adobe's marker"
    with Image.open(tmp_path / "x.jpg") as picture:
        picture.tile = [tile._replace(args=("CMYK", "")) for tile in picture.tile]
        assert min(picture.getpixel((0, 0))[::3]) > 240  # no ink is stored as 255


def test_grey_jpeg(tmp_path: Path) -> None:
    picture = pil_loader(save(tmp_path / "x.jpg", 77, "L"))
    assert picture.mode == "RGB" and picture.getpixel((0, 0)) == (77,) * 3


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """A PNG file written by hand, for what Pillow does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">L", len(content))
            + name
            + content
            + struct.pack(">L", zlib.crc32(name + content))
        )

    head = struct.pack(">LLBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize("kind, channels", [(2, 3), (6, 4), (4, 2)])
def test_16_bits_a_channel_keep_the_upper_8(tmp_path: Path, kind: int, channels: int) -> None:
    values = [0x1234, 0x80FF, 0xFF00, 0xFFFF][:channels]
    rows = b"\0" + struct.pack(f">{channels}H", *values)
    (tmp_path / "x.png").write_bytes(png(1, 1, 16, kind, rows))
    expected = (0x12,) * 3 if kind == 4 else (0x12, 0x80, 0xFF)
    assert pil_loader(tmp_path / "x.png").getpixel((0, 0)) == expected


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


def test_a_damaged_list_of_further_pictures_is_silent(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 6))
    picture.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[picture])
    content = (tmp_path / "x.jpg").read_bytes()
    place = content.index(b"MPF\0") + 4
    (tmp_path / "x.jpg").write_bytes(content[:place] + bytes(8) + content[place + 8 :])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Image.open(tmp_path / "x.jpg", formats=["JPEG"]).close()
    assert caught, "the fixture must make Pillow warn"
    assert pil_loader(tmp_path / "x.jpg").size == (8, 6)


def test_exif_rotation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    Image.new("RGB", (8, 6)).save(tmp_path / "x.jpg", exif=exif)
    assert pil_loader(tmp_path / "x.jpg").size == (8, 6)


def test_open_files_are_decoded_and_called_by_name(tmp_path: Path) -> None:
    with open(save(tmp_path / "x.png", (1, 2, 3)), "rb") as file:
        assert pil_loader(file).getpixel((0, 0)) == (1, 2, 3)
    (tmp_path / "y.png").write_bytes(b"no picture")
    with (
        open(tmp_path / "y.png", "rb") as file,
        pytest.raises(DataError, match=r"y\.png can't be decoded"),
    ):
        pil_loader(file)
    with pytest.raises(DataError, match="an open file can't be decoded"):
        pil_loader(io.BytesIO(b"no picture"))


@pytest.mark.parametrize("size, at_least, expected", [
    ((640, 480), 240, (320, 240)), ((640, 480), 241, (640, 480)), ((641, 481), 240, (321, 241)),
    ((640, 480), 60, (80, 60)), ((640, 480), 1, (80, 60)), ((640, 480), 999, (640, 480)),
    ((100, 2000), 50, (50, 1000)), ((479, 960), 240, (479, 960)),
])  # fmt: skip
def test_jpegs_decoded_smaller_keep_their_shorter_side(
    tmp_path: Path, size: tuple[int, int], at_least: int, expected: tuple[int, int]
) -> None:
    for mode in ("RGB", "L", "CMYK"):
        Image.new(mode, size).save(tmp_path / "x.jpg")
        picture = pil_loader(tmp_path / "x.jpg", at_least=at_least)
        assert picture.size == expected and picture.mode == "RGB"
    Image.new("RGB", size).save(tmp_path / "x.png")
    assert pil_loader(tmp_path / "x.png", at_least=at_least).size == size


def test_jpegs_decoded_smaller_look_the_same(tmp_path: Path) -> None:
    """A picture that is resized afterwards differs by no more than the JPEG's own errors."""
    y, x = np.mgrid[:480, :640]
    rng = np.random.default_rng(0)
    soft = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize((640, 480))
    exact = np.asarray(soft, dtype=np.int64) + (16 * ((x // 40 + y // 40) % 2))[:, :, None]
    original = Image.fromarray(np.clip(exact, 0, 255).astype(np.uint8))
    original.save(tmp_path / "x.jpg", quality=90)
    target = (160, 120)
    want = np.asarray(pil_loader(tmp_path / "x.jpg").resize(target, Image.Resampling.BILINEAR))
    quick = pil_loader(tmp_path / "x.jpg", at_least=240)
    assert quick.size == (320, 240)
    got = np.asarray(quick.resize(target, Image.Resampling.BILINEAR))
    lossless = np.asarray(original.resize(target, Image.Resampling.BILINEAR))

    def difference(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.abs(a.astype(np.int64) - b).mean())

    assert difference(got, want) < 2 * difference(want, lossless)
    data = ImageFolder(tmp_path.parent, loader=partial(pil_loader, at_least=240), allow_empty=True)
    assert next(data[i][0].size for i, (path, _) in enumerate(data.samples) if "x.jpg" in path)


def test_at_least_must_be_a_length(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="at_least must be 1 or more, got 0"):
        pil_loader(tmp_path / "x.jpg", at_least=0)


def bomb(kind: str) -> bytes:
    """A small file whose header claims 60000 x 60000 pixels."""
    if kind == "png":
        return png(60000, 60000, 8, 2, b"")
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "JPEG" if kind == "jpeg" else "BMP")
    content = bytearray(file.getvalue())
    if kind == "jpeg":
        frame = content.index(b"\xff\xc0")
        content[frame + 5 : frame + 9] = struct.pack(">HH", 60000, 60000)
    else:
        content[18:26] = struct.pack("<LL", 60000, 60000)
    return bytes(content)


@pytest.mark.parametrize("kind", ["png", "jpeg", "bmp"])
def test_decompression_bombs(tmp_path: Path, kind: str) -> None:
    (tmp_path / "x.jpg").write_bytes(bomb(kind))
    for at_least in (None, 256):
        with pytest.raises(DataError, match=r"x\.jpg can't be decoded.*DecompressionBomb"):
            pil_loader(tmp_path / "x.jpg", at_least)


def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(DataError, match=r"x\.jpg.*pipe, socket or device"):
        pil_loader(tmp_path / "x.jpg")


def test_fuzzed_pictures(tmp_path: Path) -> None:
    """Random damage gives a picture or a DataError with the path, and no warning.

    ``MINIDL_FUZZ=20000`` tries that many files instead of 300.
    """
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    sound = []
    for form, options in (
        ("JPEG", {"exif": exif, "comment": b"a comment"}),
        ("JPEG", {"progressive": True, "subsampling": 2, "icc_profile": b"profile" * 9}),
        ("PNG", {"exif": exif}),
        ("PNG", {"dpi": (72, 72)}),
    ):
        file = io.BytesIO()
        source = picture.convert("P") if "dpi" in options else picture
        source.save(file, form, **options)
        sound.append(file.getvalue())
    sound.append(bomb("jpeg"))
    path = tmp_path / "some" / "x.jpg"
    path.parent.mkdir()
    outcomes = {"decoded": 0, "refused": 0}
    for _ in range(int(os.environ.get("MINIDL_FUZZ", "300"))):
        content = bytearray(sound[rng.integers(len(sound))])
        for _ in range(rng.integers(1, 3)):
            # Half of the damage hits the headers.
            reach = len(content) if rng.random() < 0.5 else min(400, len(content))
            place = int(rng.integers(reach))
            action = rng.integers(4)
            if action == 0:
                content[place] = rng.integers(256)
            elif action == 1:
                content[place : place + int(rng.integers(1, 30))] = b""
            elif action == 2:
                content[place:place] = rng.bytes(int(rng.integers(1, 30)))
            else:
                content = content[: max(place, 8)]
        path.write_bytes(content)
        try:
            decoded = pil_loader(path)
        except DataError as error:
            assert "some/x.jpg" in str(error)
            outcomes["refused"] += 1
        else:
            assert decoded.mode == "RGB" and np.asarray(decoded).dtype == np.uint8
            outcomes["decoded"] += 1
    assert min(outcomes.values()) > 10


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
    reason = r".*empty \(0 bytes\)" if kind == "empty" else ""
    with pytest.raises(DataError, match=r"a.x\.jpg can't be decoded" + reason):
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
