"""Damaged JPEG and PNG files are decoded or raise a DataError with their path; no hang, no crash.

A separate process decodes all files. It ends if a decoder crashes, and a picture that takes longer
than ``LIMIT`` seconds counts as a hang. Some of the files then go through a DataLoader with worker
processes that replaces the bad ones.
"""

from __future__ import annotations

import io
import json
import select
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
TIMES, SHORT = 10_000, 250
LIMIT = 20.0  # seconds for one picture, even on a busy machine
SHARE = 20  # one in SHARE files goes through the loader, but at least LOADED files
LOADED = 40


def sources(rng: np.random.Generator) -> list[tuple[str, bytes]]:
    """Return intact files of many kinds, as suffix and content."""
    found = []
    exif = Image.Exif()
    exif[0x0112] = 6  # the picture is rotated
    for mode, options in (
        ("RGB", {"quality": 90}),
        ("RGB", {"quality": 40, "progressive": True}),
        ("RGB", {"subsampling": 0, "restart_marker_rows": 1}),
        ("L", {"quality": 75}),
        ("CMYK", {"quality": 75}),
        ("RGB", {"exif": exif}),
    ):
        found.append((".jpg", _saved(rng, mode, "JPEG", options)))
    for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16"):
        found.append((".png", _saved(rng, mode, "PNG", {})))
    return found


def _saved(rng: np.random.Generator, mode: str, form: str, options: dict[str, object]) -> bytes:
    height, width = rng.integers(16, 90, 2)
    smooth = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(smooth).resize((int(width), int(height)))
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, (height, width), dtype=np.uint16))
    file = io.BytesIO()
    (picture if mode == "I;16" else picture.convert(mode)).save(file, form, **options)
    return file.getvalue()


def mutate(rng: np.random.Generator, content: bytes, suffix: str) -> bytes:
    """Return the content with one or more kinds of damage."""
    data = bytearray(content)
    for _ in range(1 + int(rng.exponential(0.7))):
        place = int(rng.integers(len(data))) if len(data) else 0
        if rng.random() < 0.2:
            place = min(place, int(rng.integers(1, 64)))  # headers matter more than pixels
        length = int(rng.integers(1, 33))
        kind = rng.integers(7)
        if kind == 0:
            data = data[:place]
        elif kind == 1:
            del data[place : place + length]
        elif kind == 2:
            data[place:place] = rng.bytes(length)
        elif kind == 3:
            data[place : place + length] = data[:length]
        elif kind == 4 and place < len(data):
            data[place] ^= 1 << int(rng.integers(8))
        elif kind == 5:
            extreme = [0, 1, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF][int(rng.integers(7))]
            data[place : place + 4] = struct.pack(">L", extreme)
        else:
            data[place : place + length] = rng.bytes(length)
    if suffix == ".png" and rng.random() < 0.7:
        _fix_checksums(data)  # otherwise only the checksum would be found wrong
    return bytes(data)


def _fix_checksums(data: bytearray) -> None:
    place = 8
    while place + 12 <= len(data):
        (length,) = struct.unpack(">L", data[place : place + 4])
        end = place + 8 + length
        if end + 4 > len(data):
            return
        data[end : end + 4] = struct.pack(">L", zlib.crc32(data[place + 4 : end]))
        place = end + 4


def run(times: int, folder: Path, seed: int) -> str:
    """Damage `times` files; see the module's docstring."""
    rng = np.random.default_rng(seed)
    sound = sources(rng)
    for number in range(times):
        suffix, content = sound[number % len(sound)]
        path = folder / "files" / f"{number:06d}{suffix}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(mutate(rng, content, suffix))
    decoded, peak = _decode_apart(folder / "files")
    bad = [path for path, fault in decoded.items() if fault is not None]
    for path in bad:
        assert f"{path} can't be decoded as a picture: " in str(decoded[path]), decoded[path]
    assert len(decoded) == times
    assert 0 < len(bad) < times, "damage must be noticed sometimes, but not always"
    loaded = _load(folder, list(decoded), decoded)
    return (
        f"{times:,} damaged files: {len(bad):,} DataErrors, {times - len(bad):,} decoded; "
        f"{peak:,} MB at most; {loaded}; no hang, no crash"
    )


# ----------------------------------------------------------------------------- one process, watched
def _decode_apart(files: Path) -> tuple[dict[str, str | None], int]:
    """Decode all files in another process; return each path's error, and the peak memory in MB."""
    command = [sys.executable, "-W", "ignore", str(Path(__file__)), str(files)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        decoded: dict[str, str | None] = {}
        buffer, last = b"", "the first picture"
        while True:
            ready, _, _ = select.select([process.stdout], [], [], LIMIT)
            if not ready:
                process.kill()
                raise AssertionError(f"decoding hangs for {LIMIT:.0f} s after {last}")
            piece = process.stdout.read1(1 << 16)  # type: ignore[attr-defined]
            if not piece:
                break
            *lines, buffer = (buffer + piece).split(b"\n")
            for line in lines:
                path, fault = json.loads(line)
                decoded[path] = fault
                last = path
    assert process.returncode == 0, f"decoding died ({process.returncode}) after {last}"
    return decoded, int(decoded.pop("peak") or 0)


def _decode_all(files: Path) -> None:
    """Decode all files in the other process; print a line for each picture."""
    import resource

    from minidl.errors import DataError
    from minidl.vision.datasets import pil_loader

    for path in sorted(files.iterdir()):
        fault = None
        try:
            picture = pil_loader(path)
            assert picture.mode == "RGB" and picture.getpixel((0, 0)) is not None
        except DataError as error:
            fault = str(error)
        print(json.dumps([str(path), fault]), flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps(["peak", str(peak)]))


# ------------------------------------------------------------------------------- worker processes
def _load(folder: Path, paths: list[str], decoded: dict[str, str | None]) -> str:
    """Read some of the files through worker processes, which replace and report the bad ones."""
    from minidl.data import DataLoader
    from minidl.vision.datasets import ImageFolder
    from minidl.vision.datasets.pictures import Pictures
    from minidl.vision.transforms import Compose, Resize, ToTensor

    step = max(1, min(SHARE, len(paths) // LOADED))
    chosen = paths[::step]
    for number, path in enumerate(chosen):
        link = folder / "tree" / "ab"[number % 2] / Path(path).name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    pictures = ImageFolder(folder / "tree", transform=Compose([Resize((8, 8)), ToTensor()]))
    loader = DataLoader(
        Pictures(pictures, on_bad_image="skip"), 16, num_workers=2, timeout=LIMIT, shuffle=True
    )
    count = sum(len(labels) for _, labels in loader)
    assert count == len(chosen), f"{count} of {len(chosen)} pictures came through the loader"
    noted = {Path(text.split(" can't be decoded")[0]).name for text in loader.notes["bad image"]}
    expected = {Path(path).name for path in chosen if decoded[path] is not None}
    assert noted == expected, f"reported and bad differ: {sorted(noted ^ expected)[:5]}"
    return f"{count:,} of them through two workers, {len(noted):,} replaced and reported"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    _decode_all(Path(sys.argv[1]))
