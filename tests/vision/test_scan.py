"""The search for suspicious files among pictures."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.errors import DataError
from minidl.vision import scan as module
from minidl.vision.scan import Finding, main, scan

RNG = np.random.default_rng(0)


def save(path: Path, mode: str = "RGB", form: str | None = None, side: int = 24) -> Path:
    """A picture with unique bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, form)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An intact folder of pictures."""
    for name in ("cat/0.jpg", "cat/1.JPEG", "dog/0.png", "dog/deep/1.bmp", "dog/2.webp"):
        save(tmp_path / "root" / name)
    (tmp_path / "root" / "README.txt").write_text("BM is how a bitmap begins")
    (tmp_path / "root" / "cat" / "notes.txt").write_text("about cats")
    return tmp_path / "root"


def found(root: Path) -> list[tuple[str, str]]:
    return [(os.path.relpath(finding.path, root), finding.kind) for finding in scan(root, 2)]


def test_a_sound_folder(root: Path) -> None:
    assert found(root) == []


def test_files_that_do_not_load(root: Path) -> None:
    (root / "cat" / "empty.jpg").touch()
    (root / "cat" / "page.jpg").write_text("<html>404</html>")
    noise = save(root / "cat" / "short.jpg", side=64)
    noise.write_bytes(noise.read_bytes()[:2000])
    (root / "cat" / "stub.jpg").write_bytes(noise.read_bytes()[:100])
    (root / "cat" / "garbled.jpg").write_bytes(b"\xff\xd8\xff" * 9)
    short = save(root / "cat" / "short.png", side=64)
    short.write_bytes(short.read_bytes()[:2000])
    huge = save(root / "cat" / "huge.bmp")
    content = bytearray(huge.read_bytes())
    content[18:26] = struct.pack("<LL", 60000, 60000)
    huge.write_bytes(content)
    assert found(root) == [
        ("cat/empty.jpg", "empty"),
        ("cat/garbled.jpg", "damaged"),
        ("cat/huge.bmp", "bomb"),
        ("cat/page.jpg", "not-a-picture"),
        ("cat/short.jpg", "truncated"),
        ("cat/short.png", "truncated"),
        ("cat/stub.jpg", "truncated"),
    ]
    assert all(finding.is_error for finding in scan(root))


def test_entries_that_are_not_files(root: Path, tmp_path: Path) -> None:
    os.mkfifo(root / "cat" / "pipe.jpg")
    (root / "cat" / "to-itself.jpg").symlink_to(root / "cat" / "to-itself.jpg")
    (root / "cat" / "nowhere.jpg").symlink_to(tmp_path / "nowhere")
    (root / "cat" / "up").symlink_to(root / "cat", target_is_directory=True)
    save(tmp_path / "elsewhere" / "9.jpg")
    (root / "cat" / "linked").symlink_to(tmp_path / "elsewhere")  # not a mistake
    assert found(root) == [
        ("cat/nowhere.jpg", "broken-link"),
        ("cat/pipe.jpg", "not-a-file"),
        ("cat/to-itself.jpg", "link-loop"),
        ("cat/up", "link-loop"),
    ]


def test_unreadable(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_scandir, real_open = os.scandir, open

    def scandir(path: str) -> object:
        if os.path.basename(path) == "deep":
            raise PermissionError(13, "Permission denied")
        return real_scandir(path)

    def opened(path: object, *arguments: object) -> object:
        if str(path).endswith("1.JPEG"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, *arguments)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(module, "open", opened, raising=False)
    assert found(root) == [("cat/1.JPEG", "unreadable"), ("dog/deep", "unreadable")]


def test_notes(root: Path) -> None:
    save(root / "cat" / "cmyk.jpg", "CMYK")
    os.rename(save(root / "cat" / "x.png"), root / "cat" / "lying.jpg")
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(values).save(root / "cat" / "gray.png")
    os.rename(save(root / "cat" / "x.jpg"), root / "cat" / "nameless")
    os.rename(save(root / "cat" / "x.jpg"), os.fsencode(root) + b"/cat/\xe9.jpg")
    (root / "dog" / "again.jpg").write_bytes((root / "cat" / "0.jpg").read_bytes())
    assert found(root) == [
        ("cat/cmyk.jpg", "cmyk"),
        ("cat/gray.png", "16-bit"),
        ("cat/lying.jpg", "wrong-extension"),
        ("cat/nameless", "skipped"),
        ("cat/\udce9.jpg", "name-not-utf8"),
        ("dog/again.jpg", "duplicate"),
    ]
    findings = list(scan(root))
    assert not any(finding.is_error for finding in findings)
    assert str(findings[2]).endswith("it is decoded by its content (it is a PNG)")
    assert str(findings[-1]).endswith("(" + str(root / "cat" / "0.jpg") + ")")
    "\n".join(map(str, findings)).encode()  # printable, whatever the names


def test_other_formats_and_turned_pictures(root: Path) -> None:
    (root / "cat" / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (root / "cat" / "b.GIF").write_bytes(b"GIF89a")
    exif = Image.Exif()
    for orientation in (1, 8):
        exif[0x0112] = orientation
        size = (8, 4 + orientation)
        Image.new("RGB", size).save(root / "dog" / f"c{orientation}.jpg", exif=exif)
    Image.fromarray(np.eye(8, dtype=np.float32)).save(root / "dog" / "d.tiff")
    assert found(root) == [
        ("cat/a.heic", "skipped"),
        ("cat/b.GIF", "skipped"),
        ("dog/c8.jpg", "turned"),
        ("dog/d.tiff", "16-bit"),
    ]


def test_hidden_entries_are_skipped(root: Path) -> None:
    for name in ("cat/._0.jpg", ".ipynb_checkpoints/0.jpg", "__MACOSX/cat/._1.jpg", "._x.jpg"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"\0")
    assert found(root) == []


def test_16_bits_in_color(root: Path) -> None:
    path = save(root / "cat" / "x.png")
    content = bytearray(path.read_bytes())
    content[24] = 16  # bits per channel; the header's checksum follows
    content[29:33] = struct.pack(">L", zlib.crc32(content[12:29]))
    assert [f.kind for f in module._notes(str(path), bytes(content))] == ["16-bit"]


def test_mistakes_in_the_folder_structure(root: Path) -> None:
    save(root / "loose.jpg")
    (root / "bare").mkdir()
    (root / "words" / "deep").mkdir(parents=True)
    (root / "words" / "a.txt").touch()
    save(root / "Cat " / "0.jpg")
    assert found(root) == [
        ("cat", "twin-class"),
        ("loose.jpg", "outside-class"),
        ("bare", "empty-class"),
        ("words", "empty-class"),
    ]


def test_splits_are_folders_of_class_folders(root: Path, tmp_path: Path) -> None:
    base = tmp_path / "both"
    base.mkdir()
    os.rename(root, base / "train")
    save(base / "val" / "cat" / "0.jpg")
    (base / "val" / "dog").mkdir()
    assert found(base) == [("val/dog", "empty-class")]
    save(base / "val" / "loose.jpg")
    save(base / "extra" / "loose.jpg")
    assert found(base) == [
        ("val/loose.jpg", "outside-class"),
        ("val/dog", "empty-class"),
        ("extra/loose.jpg", "outside-class"),
    ]


def test_splits_that_do_not_fit(root: Path, tmp_path: Path) -> None:
    base = tmp_path / "both"
    base.mkdir()
    os.rename(root, base / "train")
    save(base / "Val" / "cat" / "0.jpg")
    save(base / "Val" / "fish" / "0.jpg")
    assert found(base) == [("train/dog", "lone-class"), ("Val/fish", "lone-class")]
    os.rename(base / "train", base / "trainset")
    assert found(base)[0] == (".", "unclear")


def test_a_split_that_is_not_used(root: Path, tmp_path: Path) -> None:
    base = tmp_path / "both"
    base.mkdir()
    os.rename(root, base / "train")
    save(base / "dev" / "cat" / "0.jpg")
    save(base / "loose.jpg")
    assert found(base) == [(".", "unused"), ("loose.jpg", "outside-class")]
    (finding,) = (finding for finding in scan(base) if finding.kind == "unused")
    assert not finding.is_error and "to validate on dev, rename it to val" in str(finding)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("train", "bus"):
        save(tmp_path / name / "0.jpg")
    assert found(tmp_path) == []


def test_a_folder_without_class_folders_is_just_pictures(tmp_path: Path) -> None:
    save(tmp_path / "0.jpg")
    assert found(tmp_path) == []


def test_a_folder_without_any_picture(tmp_path: Path) -> None:
    (tmp_path / "ILSVRC2012_img_train.tar").touch()  # the wrong kind of folder
    assert found(tmp_path) == [(".", "no-pictures")]
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "empty.jpg").touch()
    assert found(tmp_path) == [("cat/empty.jpg", "empty")]


def test_any_number_of_threads_finds_the_same(root: Path) -> None:
    for index in range(40):
        save(root / "cat" / f"many{index:02d}.jpg", side=8 + index)
        (root / "dog" / f"many{index:02d}.jpg").write_bytes(b"\xff\xd8\xff" * (index % 3))
    assert list(scan(root, 1)) == list(scan(root, 8))


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        scan(tmp_path / "nowhere")


def test_command(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(root / "cat" / "cmyk.jpg", "CMYK")
    assert main([str(root)]) == 0
    out = capsys.readouterr().out
    assert "note  cmyk" in out and "notes: 1 cmyk\n" in out
    assert out.endswith("0 errors, 1 notes\n")
    (root / "cat" / "empty.jpg").touch()
    assert main([str(root), "--threads", "1", "--errors-only"]) == 1
    out = capsys.readouterr().out
    assert f"error empty: {root}/cat/empty.jpg has no bytes\n" in out and "cmyk:" not in out
    assert main([str(root / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_finding_is_an_error_or_a_note() -> None:
    assert not set(module.ERRORS) & set(module.NOTES)
    assert Finding("x", "empty").is_error and not Finding("x", "cmyk").is_error


def test_real_photographs() -> None:
    data = os.environ.get("MINIDL_DATA")
    if not data or not (Path(data) / "imagenet-sample").is_dir():
        pytest.skip("MINIDL_DATA names no folder with imagenet-sample/")
    assert [str(f) for f in scan(Path(data) / "imagenet-sample") if f.is_error] == []
