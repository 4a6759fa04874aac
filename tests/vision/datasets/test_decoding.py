"""Picture files: how they are decoded, and which are refused."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.errors import ArgumentError, DataError
from minidl.vision.datasets import ImageFolder, pil_loader


def save(path: Path, color: tuple[int, ...] | int = (200, 30, 60), mode: str = "RGB") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (8, 6), color).save(path, quality=95)
    return path


def test_rgb_pixels_are_kept(tmp_path: Path) -> None:
    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    picture = pil_loader(tmp_path / "x.png")
    assert picture.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_content_decides_not_the_name(tmp_path: Path) -> None:
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


def test_gray_jpeg(tmp_path: Path) -> None:
    picture = pil_loader(save(tmp_path / "x.jpg", 77, "L"))
    assert picture.mode == "RGB" and picture.getpixel((0, 0)) == (77,) * 3


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """A handmade PNG file, for formats that Pillow does not write."""

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
def test_16_bits_per_channel_keep_the_upper_8(tmp_path: Path, kind: int, channels: int) -> None:
    values = [0x1234, 0x80FF, 0xFF00, 0xFFFF][:channels]
    rows = b"\0" + struct.pack(f">{channels}H", *values)
    (tmp_path / "x.png").write_bytes(png(1, 1, 16, kind, rows))
    expected = (0x12,) * 3 if kind == 4 else (0x12, 0x80, 0xFF)
    assert pil_loader(tmp_path / "x.png").getpixel((0, 0)) == expected


@pytest.mark.parametrize("mode, color", [("L", 77), ("LA", (77, 0)), ("1", 1)])
def test_gray(tmp_path: Path, mode: str, color: tuple[int, ...] | int) -> None:
    save(tmp_path / "x.png", color, mode)
    expected = 255 if mode == "1" else 77
    assert pil_loader(tmp_path / "x.png").getpixel((0, 0)) == (expected,) * 3


def test_16_bit_gray_is_scaled_and_not_clipped(tmp_path: Path) -> None:
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
    # One entry, of type ASCII, whose 64 bytes would lie far beyond the end of the block.
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


def test_a_damaged_list_of_more_pictures_is_silent(tmp_path: Path) -> None:
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


def test_open_files_are_decoded_and_named_in_errors(tmp_path: Path) -> None:
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
    """After resizing, the picture differs by no more than the JPEG's own errors."""
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


def test_reading_does_not_wait_for_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.jpg")
    with pytest.raises(DataError, match=r"x\.jpg.*pipe, socket or device"):
        pil_loader(tmp_path / "x.jpg")


def test_fuzzed_pictures(tmp_path: Path) -> None:
    """Random damage yields a picture or a DataError with the path, and no warning.

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
    elif kind == "gif":  # a format that is not supported
        Image.new("L", (4, 4)).save(path, format="GIF")
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"<html>404</html>")
    reasons = {"empty": r"decoded.*empty \(0 bytes\)", "missing": "read: No such file"}
    with pytest.raises(DataError, match=r"a.x\.jpg can't be " + reasons.get(kind, "decoded")):
        pil_loader(path)


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[0, 77.4, 255]], np.float32), [0, 77, 255]),
        (np.array([[0, 256, 65535]], np.float32), [0, 1, 255]),
        (np.array([[-1, 0, 1]], np.float32), [0, 128, 255]),
        (np.array([[np.nan, 1, np.inf]], np.float32), [255, 255, 255]),
        (np.array([[-3, -3, -3]], np.float32), [0, 0, 0]),
        (np.array([[0, 77, 255]], np.int32), [0, 77, 255]),
        (np.array([[0, 256, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-(2**31), 0, 2**31 - 1]], np.int32), [0, 128, 255]),
    ],
)
def test_floats_and_32_bit_integers(
    tmp_path: Path, values: np.ndarray, expected: list[int]
) -> None:
    Image.fromarray(values).save(tmp_path / "x.tif")
    decoded = np.asarray(pil_loader(tmp_path / "x.tif"))
    assert decoded[0, :, 0].tolist() == expected
    assert decoded.shape == (1, 3, 3) and (decoded == decoded[:, :, :1]).all()


@pytest.mark.parametrize("form", ["jpg", "png", "webp"])
def test_pictures_are_rotated_on_request(tmp_path: Path, form: str) -> None:
    upright = np.zeros((24, 40, 3), np.uint8)
    upright[:8, :8] = 255  # the upper left corner
    stored = {  # EXIF's numbers: where row 0 and column 0 of the stored picture are
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.swapaxes(0, 1), 6: upright.swapaxes(0, 1)[::-1],
        7: upright.swapaxes(0, 1)[::-1, ::-1], 8: upright.swapaxes(0, 1)[:, ::-1],
    }  # fmt: skip
    for orientation, pixels in stored.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.{form}"
        Image.fromarray(np.ascontiguousarray(pixels)).save(path, exif=exif, quality=100)
        assert pil_loader(path).size == (pixels.shape[1], pixels.shape[0])
        turned = np.asarray(pil_loader(path, exif=True))
        np.testing.assert_array_equal(turned > 128, upright > 128)


def test_damaged_exif_rotates_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "x.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert pil_loader(tmp_path / "x.jpg", exif=True).size == (8, 6)
