"""``scan`` reports every harmful file in a tree of odd files, and raises no false alarm.

Each round plants all of them among intact pictures, in random classes. The reported errors must be
exactly the harmful files, each with the right kind. Harmless files must be decodable, and the
command must report the same errors.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
TIMES, SHORT = 20, 1
CLASSES = ("ant", "bee", "cat", "dög")
SOUND = 12  # intact pictures per class

Plant: TypeAlias = Callable[[Path], object]


def picture(mode: str = "RGB", side: int = 20) -> Image.Image:
    """A picture unlike any other."""
    pixels = np.random.default_rng().integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(form: str, mode: str = "RGB", side: int = 20, **options: object) -> bytes:
    file = io.BytesIO()
    picture(mode, side).save(file, form, **options)
    return file.getvalue()


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """A handmade PNG, for headers that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
        )

    header = struct.pack(">LLBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def with_huge_size(bmp: bytes) -> bytes:
    return bmp[:18] + struct.pack("<LL", 60000, 60000) + bmp[26:]


def with_wrong_checksum(content: bytes) -> bytes:
    at = content.index(b"IDAT") + 9
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("0.jpg", encoded("JPEG"))
    return file.getvalue()


def with_exif(damaged: bool) -> bytes:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a picture"
    content = encoded("JPEG", exif=exif)
    return content.replace(b"II*\0\x08\0\0\0", b"II*\0\xff\xff\0\0") if damaged else content


def contains(content: bytes) -> Plant:
    return lambda path: path.write_bytes(content)


def file_in(folder_name: str) -> Plant:
    """A folder with a picture's name and a picture in it."""

    def plant(path: Path) -> None:
        path.mkdir()
        (path / folder_name).write_bytes(encoded("JPEG"))

    return plant


def bound_socket(path: Path) -> None:
    with contextlib.chdir(path.parent), socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)  # a full path may be too long for a socket


def forbidden(path: Path) -> None:
    path.write_bytes(encoded("JPEG"))
    path.chmod(0)


def harmless() -> dict[str, Plant]:
    """Files that training can read, or may ignore."""
    wide = np.random.default_rng().integers(0, 256, (8, 1 + 6 * 8), dtype=np.uint8)
    wide[:, 0] = 0
    return {
        "cmyk.jpg": contains(encoded("JPEG", "CMYK")),
        "gray.jpg": contains(encoded("JPEG", "L")),
        "progressive.jpg": contains(encoded("JPEG", progressive=True)),
        "palette.png": contains(encoded("PNG", "P", transparency=3)),
        "transparent.png": contains(encoded("PNG", "RGBA")),
        "black-and-white.png": contains(encoded("PNG", "1")),
        "gray-and-alpha.png": contains(encoded("PNG", "LA")),
        "16-bit.png": contains(png(8, 8, 16, 2, wide.tobytes())),
        "16-bit-gray.png": contains(png(8, 8, 16, 0, wide[:, :17].tobytes())),
        "really-a-png.JPEG": contains(encoded("PNG")),
        "really-a-jpeg.png": contains(encoded("JPEG")),
        "turned.jpg": contains(with_exif(damaged=False)),
        "damaged-exif.jpg": contains(with_exif(damaged=True)),
        "trailing-garbage.jpg": contains(encoded("JPEG") + b"\0<html>garbage" * 50),
        "trailing-garbage.png": contains(encoded("PNG") + b"garbage"),
        "one-pixel.jpg": contains(encoded("JPEG", side=1)),
        "capitals.JPG": contains(encoded("JPEG")),
        "bitmap.bmp": contains(encoded("BMP")),
        "pixmap.ppm": contains(encoded("PPM")),
        "tiff.tif": contains(encoded("TIFF")),
        "webp.webp": contains(encoded("WEBP")),
        "with a space, and $HOME; `x`.jpg": contains(encoded("JPEG")),
        "line\nbreak\x1b[31m.jpg": contains(encoded("JPEG")),
        "😀.jpg": contains(encoded("JPEG")),
        "-rf.jpg": contains(encoded("JPEG")),
        ".hidden.jpg": contains(encoded("JPEG")),
        "l" * 200 + ".jpg": contains(encoded("JPEG")),
        os.fsdecode(b"not-utf8-\xe9\xff.jpg"): contains(encoded("JPEG")),
        "notes.txt": contains(b"BM is how a bitmap begins"),
        "Thumbs.db": contains(b"\xd0\xcf\x11\xe0" * 99),
        ".DS_Store": contains(b"\0\0\0\1Bud1"),
        "no-extension": contains(encoded("JPEG")),
        "folder.jpg": file_in("inside.jpg"),
        "link.jpg": lambda path: path.symlink_to(next(path.parent.glob("sound-*.jpg"))),
        "hard-link.jpg": lambda path: path.hardlink_to(next(path.parent.glob("sound-*.jpg"))),
        "elsewhere": lambda path: path.symlink_to(path.parents[2] / "elsewhere"),
        "sound-folder": file_in("deep.png"),
    }


def harmful() -> dict[str, tuple[str, Plant]]:
    """Files that training would fail at or miss, each with the kind that ``scan`` reports."""
    photograph, drawing = encoded("JPEG", side=90), encoded("PNG", side=90)
    found: dict[str, tuple[str, Plant]] = {
        "empty.jpg": ("empty", contains(b"")),
        "truncated.jpg": ("truncated", contains(photograph[: len(photograph) // 2])),
        "truncated-in-header.jpg": ("truncated", contains(photograph[:200])),
        "truncated.png": ("truncated", contains(drawing[: len(drawing) // 2])),
        "bomb.png": ("bomb", contains(png(50_000, 50_000, 8, 2, b"\0" * 1000))),
        "bomb.bmp": ("bomb", contains(with_huge_size(encoded("BMP")))),
        "checksum.png": ("damaged", contains(with_wrong_checksum(drawing))),
        "garbled.jpg": ("damaged", contains(b"\xff\xd8\xff" * 99)),
        "zeros.jpg": ("not-a-picture", contains(bytes(1 << 20))),
        "text.jpg": ("not-a-picture", contains(b"This picture is no longer available.\n")),
        "page.jpg": ("not-a-picture", contains(b"<!DOCTYPE html><html>404 Not Found</html>")),
        "archive.jpg": ("not-a-picture", contains(zipped())),
        "animation.jpg": ("not-a-picture", contains(encoded("GIF", "P"))),
        "program.png": ("not-a-picture", contains(b"\x7fELF\x02\x01\x01" + bytes(300))),
        "nowhere.jpg": ("broken-link", lambda path: path.symlink_to("nothing-there")),
        "to-itself.jpg": ("link-loop", lambda path: path.symlink_to(path)),
        "up": ("link-loop", lambda path: path.symlink_to(path.parent)),
        "pipe.jpg": ("not-a-file", lambda path: os.mkfifo(path)),
        "socket.jpg": ("not-a-file", bound_socket),
    }
    if os.geteuid() != 0:  # root may read everything
        found["forbidden.jpg"] = ("unreadable", forbidden)
    return found


def arrangement(tree: Path) -> dict[str, str]:
    """Mistakes in the folder structure itself."""
    (tree / "loose.jpg").write_bytes(encoded("JPEG"))
    (tree / "bare").mkdir()
    (tree / "words").mkdir()
    (tree / "words" / "readme.txt").write_text("no pictures yet")
    (tree / "Cat").mkdir()
    (tree / "Cat" / "0.jpg").write_bytes(encoded("JPEG"))
    return {
        "loose.jpg": "outside-class",
        "bare": "empty-class",
        "words": "empty-class",
        "cat": "twin-class",
    }


def plant(base: Path, rng: np.random.Generator) -> tuple[Path, dict[str, str], list[str]]:
    """Make a tree; return it, its harmful files with their kinds, and its harmless files."""
    tree = base / "tree"
    for number in range(SOUND * len(CLASSES)):
        folder = tree / CLASSES[number % len(CLASSES)]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"sound-{number:03d}.jpg").write_bytes(encoded("JPEG", side=8 + number))
    (base / "elsewhere").mkdir()
    (base / "elsewhere" / "far.jpg").write_bytes(encoded("JPEG"))
    bad, fine = arrangement(tree), []

    def path_for(name: str) -> Path:
        return tree / CLASSES[int(rng.integers(len(CLASSES)))] / name

    for name, make in harmless().items():
        path = path_for(name)
        make(path)
        fine.append(str(path.relative_to(tree)))
    for name, (kind, make) in harmful().items():
        path = path_for(name)
        make(path)
        bad[str(path.relative_to(tree))] = kind
    return tree, bad, fine


def run(times: int, folder: Path, seed: int) -> str:
    """Plant and scan `times` trees; see the module's docstring."""
    from minidl.vision.datasets import ImageFolder, pil_loader
    from minidl.vision.datasets.folder import has_image_extension
    from minidl.vision.scan import scan

    rng = np.random.default_rng(seed)
    errors = notes = 0
    for number in range(times):
        base = folder / str(number)
        tree, bad, fine = plant(base, rng)
        findings = list(scan(tree))
        found = {os.path.relpath(f.path, tree): f.kind for f in findings if f.is_error}
        assert found == bad, f"missed or wrong: {set(bad.items()) ^ set(found.items())}"
        assert sum(finding.is_error for finding in findings) == len(bad), (
            "an error was reported twice"
        )
        for name in fine:
            if has_image_extension(name) and (tree / name).is_file():
                assert pil_loader(tree / name).mode == "RGB"
        known = {
            os.path.relpath(path, tree) for path, _ in ImageFolder(tree, allow_empty=True).samples
        }
        missed = {name for name in fine if has_image_extension(name)} - known
        assert all((tree / name).is_dir() for name in missed), f"not in the data set: {missed}"
        _command(tree, bad)
        errors += len(bad)
        notes += len(findings) - len(bad)
        shutil.rmtree(base)
    return f"{times} trees: {errors} harmful files reported, {notes} notes, no false alarm"


def _command(tree: Path, bad: dict[str, str]) -> None:
    """Check what a user sees: a line for each error, the total, and the exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "minidl", "scan", str(tree), "--errors-only"],
        cwd=ROOT, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 1, done.stderr.decode()
    named = [re.match(r"error ([a-z-]+): ", line) for line in lines[:-1]]
    assert sorted(match[1] for match in named if match) == sorted(bad.values()), lines
    assert lines[-1].startswith(f"{tree}: {len(bad)} errors, "), lines[-1]
    assert not any(byte < 32 and byte != 10 for byte in done.stdout), "not safe to print"
