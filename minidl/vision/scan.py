"""Check a folder of pictures before training with it, and report every suspicious file.

A damaged picture stops a training run when it is read, which may be after hours. :func:`scan`
decodes all pictures of a folder once, in threads, with the loader that training uses, so pictures
that pass will load. It also reports mistakes in the folder structure (pictures outside the class
folders, empty class folders).
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import io
import os
import stat
import sys
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError
from .datasets.decoding import FORMATS, pil_loader, shown
from .datasets.folder import folders_in, has_image_extension, is_hidden, place_of
from .datasets.opening import SPLIT_NAMES, describe_unused, split_folders

if TYPE_CHECKING:
    from concurrent.futures import Future

ERRORS = {
    "empty": "has no bytes",
    "damaged": "can't be decoded",
    "truncated": "ends too early",
    "not-a-picture": "is not a picture",
    "bomb": "claims more pixels than any photograph has",
    "unreadable": "can't be read",
    "not-a-file": "is a pipe, socket or device",
    "broken-link": "is a broken link",
    "link-loop": "is a link back to one of its own parent folders",
    "outside-class": "lies beside the class folders, where ImageFolder does not look",
    "empty-class": "is a class folder without pictures",
    "no-pictures": "holds no pictures, neither directly nor in its folders",
    "unclear": "can be read in more than one way",
    "lone-class": "is a class of the training or validation pictures alone",
    "twin-class": "differs from another class folder only in case, spaces or accents",
}
NOTES = {
    "wrong-extension": "has the extension of another format; it is decoded by its content",
    "unused": "has folders that training does not use",
    "skipped": "is a picture with another extension or in another format; ImageFolder skips it",
    "turned": "is stored turned or mirrored; the programs turn it upright, ImageFolder doesn't",
    "cmyk": "is in CMYK and is converted to RGB",
    "16-bit": "has 16 or 32 bits per channel and is reduced to 8",
    "name-not-utf8": "has a name that is not UTF-8",
    "duplicate": "has exactly the same bytes as another file",
}
_FORMAT_OF = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".ppm": "PPM", ".pgm": "PPM", ".bmp": "BMP",
    ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP",
}  # fmt: skip
_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"BM": "BMP", b"II*\0": "TIFF",
    b"MM\0*": "TIFF", b"RIFF": "WEBP",
}  # fmt: skip
#: Formats that are not decoded, by extension.
_OTHER_FORMATS = (
    ".gif", ".heic", ".heif", ".avif", ".jxl", ".jp2", ".jfif", ".svg", ".psd", ".tga", ".ico",
    ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2",
)  # fmt: skip
_ORIENTATION = 0x0112  # an EXIF tag: 1 to 8, 1 for a picture that is upright
_LARGEST = 1 << 30  # bytes of a file that is decoded
_WAITING = 16  # files in the queue for each thread


@dataclass(frozen=True)
class Finding:
    """Something suspicious about one file or folder.

    Attributes
    ----------
    path : str
        The file or folder.
    kind : str
        A key of ``ERRORS`` or of ``NOTES``.
    detail : str
        Details, if any.
    """

    path: str
    kind: str
    detail: str = ""

    @property
    def is_error(self) -> bool:
        """Whether training would fail or go wrong; otherwise the finding is harmless."""
        return self.kind in ERRORS

    def __str__(self) -> str:
        said = ERRORS.get(self.kind) or NOTES[self.kind]
        level = "error" if self.is_error else "note "
        detail = f" ({self.detail})" if self.detail else ""
        return f"{level} {self.kind}: {shown(self.path)} {said}{detail}"


# --------------------------------------------------------------------------------------- one file
def _check_file(path: str) -> tuple[list[Finding], bytes]:
    """Check one file; return the findings and, for an intact picture, a digest of its bytes."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not has_image_extension(path):
                return _check_other(path, file.read(16)), b""
            content = file.read(_LARGEST) if size <= _LARGEST else b""
    except OSError as error:
        return [Finding(path, "unreadable", error.strerror or str(error))], b""
    if size > _LARGEST:
        return [Finding(path, "damaged", f"{size} bytes, too large for a picture")], b""
    if not content:
        return [Finding(path, "empty")], b""
    try:
        pil_loader(io.BytesIO(content))
    except DataError as error:
        return [_explain(path, content, error.__cause__)], b""
    return _notes(path, content), hashlib.blake2b(content, digest_size=16).digest()


def _format_by_beginning(content: bytes) -> str | None:
    return next((name for start, name in _BEGINNINGS.items() if content.startswith(start)), None)


def _check_other(path: str, beginning: bytes) -> list[Finding]:
    extension = os.path.splitext(path)[1].lower()
    if extension in _OTHER_FORMATS:
        return [Finding(path, "skipped", extension)]
    found = _format_by_beginning(beginning)
    # Any file may begin with two or four letters; the longer signatures are no coincidence.
    return [Finding(path, "skipped", found)] if found in ("JPEG", "PNG") else []


def _explain(path: str, content: bytes, cause: BaseException | None) -> Finding:
    """Return the finding for an error of the loader."""
    from PIL import Image, UnidentifiedImageError

    text = str(cause)
    if isinstance(cause, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return Finding(path, "bomb", text)
    if isinstance(cause, UnidentifiedImageError):
        if _format_by_beginning(content) is None:
            return Finding(path, "not-a-picture", f"it begins with {content[:12]!r}")
        return Finding(path, "damaged", "its header can't be read")
    if "truncated" in text.lower() or "unexpected end" in text.lower():
        return Finding(path, "truncated", text)
    return Finding(path, "damaged", f"{type(cause).__name__}: {text}")


def _notes(path: str, content: bytes) -> list[Finding]:
    """Return harmless findings about a picture that can be decoded."""
    from PIL import Image

    with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
        found = "JPEG" if picture.format == "MPO" else picture.format  # several JPEGs in one file
        mode, orientation = picture.mode, 1
        with suppress(Exception):  # damaged metadata; Pillow raises almost anything
            orientation = picture.getexif().get(_ORIENTATION, 1)
    notes = []
    if found != _FORMAT_OF[os.path.splitext(path)[1].lower()]:
        notes.append(Finding(path, "wrong-extension", f"it is a {found}"))
    if mode == "CMYK":
        notes.append(Finding(path, "cmyk"))
    if orientation in range(2, 9) and found != "TIFF":  # Pillow turns a TIFF by itself
        notes.append(Finding(path, "turned", f"orientation {orientation}"))
    if mode[0] in "IF" or (found == "PNG" and content[24] == 16):
        notes.append(Finding(path, "16-bit"))
    return notes


# --------------------------------------------------------------------------------------- the tree
def _walk(
    folder: str, above: frozenset[tuple[int, int]], skip: Sequence[str] = ()
) -> Iterator[Finding | str]:
    """Yield the paths of all files below a folder, and findings about everything else.

    ``above`` holds the folder's parents, ``skip`` the folders directly in it to skip.
    """
    try:
        place = place_of(folder)
        if place in above:
            yield Finding(folder, "link-loop")
            return
        with os.scandir(folder) as entries:
            found = [e for e in entries if e.path not in skip and not is_hidden(e.name)]
    except OSError as error:
        yield Finding(folder, "unreadable", error.strerror or str(error))
        return
    for entry in sorted(found, key=lambda entry: entry.name):
        if entry.name.encode(errors="ignore").decode() != entry.name:  # bytes that are not text
            yield Finding(entry.path, "name-not-utf8")
        try:
            kind = stat.S_IFMT(entry.stat().st_mode)
        except OSError as error:
            loop = error.errno == errno.ELOOP
            yield Finding(entry.path, "link-loop" if loop else "broken-link")
            continue
        if kind == stat.S_IFDIR:
            yield from _walk(entry.path, above | {place})
        elif kind == stat.S_IFREG:
            yield entry.path
        else:
            yield Finding(entry.path, "not-a-file")


def _split_folders(root: str) -> list[str]:
    """Return the folders train, val and test, or else the root."""
    order = [name for names in (*SPLIT_NAMES.values(), ("test", "testing")) for name in names]
    splits = [name for name in _folders_in(root) if name.lower() in order]
    splits.sort(key=lambda name: (order.index(name.lower()), name))
    return [os.path.join(root, split) for split in splits] or [root]


def _walk_classes(root: str) -> Iterator[Finding | str]:
    """Walk through a folder of class folders; report mistakes in its arrangement."""
    children: dict[str, str] = {}  # names regardless of case, spaces and encoding of accents
    folders = _folders_in(root)
    empty = {os.path.join(root, name) for name in folders}
    for name in folders:
        plain = unicodedata.normalize("NFC", name).casefold().strip()
        if plain in children:
            yield Finding(os.path.join(root, name), "twin-class", shown(children[plain]))
        children[plain] = name
    for item in _walk(root, frozenset()):
        yield item
        if isinstance(item, str) and has_image_extension(item):
            first = os.path.relpath(item, root).split(os.sep)[0]
            empty.discard(os.path.join(root, first))
            # Without class folders it is just a folder of pictures, which is no mistake.
            if os.path.dirname(item) == root and folders:
                yield Finding(item, "outside-class")
    for path in sorted(empty):
        yield Finding(path, "empty-class")


def _folders_in(folder: str) -> list[str]:
    with suppress(OSError):  # _walk reports it
        return [path.name for path in folders_in(folder)]
    return []


def _walk_all(root: str) -> Iterator[Finding | str]:
    """Walk through everything; report if there is no picture at all."""
    any_picture = False
    for item in _walk_splits(root):
        yield item
        any_picture = any_picture or (isinstance(item, str) and has_image_extension(item))
    if not any_picture:
        yield Finding(root, "no-pictures")


def _walk_splits(root: str) -> Iterator[Finding | str]:
    places: list[str] = []
    splits = _split_folders(root)
    try:
        places = [str(place) for place in split_folders(Path(root)).values()]
        splits = splits if places else [root]
    except DataError as error:
        yield Finding(root, "unclear", str(error))
    for split in splits:
        yield from _walk_classes(split)
    classes = [set(_folders_in(place)) for place in places]
    if all(classes):  # a folder of pictures alone has a list of their classes beside it
        for place, own, other in zip(places, classes, classes[::-1], strict=True):
            for name in sorted(own - other):
                yield Finding(os.path.join(place, name), "lone-class")
    if splits != [root]:
        unused = ""
        with suppress(DataError):  # reported above
            unused = describe_unused(root)
        if unused:
            yield Finding(root, "unused", unused.removeprefix(f"{root}: "))
        for item in _walk(root, frozenset(), splits):
            yield item
            if not isinstance(item, str) or (unused and os.path.dirname(item) != root):
                continue
            if has_image_extension(item):
                yield Finding(item, "outside-class")


def scan(folder: str | os.PathLike[str], threads: int | None = None) -> Iterator[Finding]:
    """Find every suspicious file in a folder of pictures.

    Parameters
    ----------
    folder : str or path
        Holds class folders, or ``train``, ``val`` and ``test`` with class folders.
    threads : int, optional
        Number of pictures decoded at once. Default: one per processor.

    Yields
    ------
    Finding
        Errors and notes, by path.

    Raises
    ------
    DataError
        The folder does not exist.

    Notes
    -----
    Most damage in a JPEG's compressed data yields a wrong picture without an error, so it is not
    found. Finding duplicates takes 250 bytes of memory per picture.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> root = pathlib.Path(tempfile.mkdtemp())
    >>> (root / "cat").mkdir()
    >>> _ = (root / "cat" / "0.jpg").write_bytes(b"")
    >>> [finding.kind for finding in scan(root)]
    ['empty']
    """
    root = os.fspath(folder)
    if not os.path.isdir(root):
        raise DataError(f"no folder of pictures at {shown(root)}")
    return _scan(root, threads or os.cpu_count() or 1)


def _scan(root: str, threads: int) -> Iterator[Finding]:
    from concurrent.futures import ThreadPoolExecutor

    from tqdm import tqdm

    first: dict[bytes, str] = {}
    waiting: deque[Finding | tuple[str, Future[tuple[list[Finding], bytes]]]] = deque()

    def findings() -> Iterator[Finding]:
        """Take the first item of the queue, which is in the order of the paths."""
        item = waiting.popleft()
        if isinstance(item, Finding):
            yield item
            return
        path, future = item
        found, digest = future.result()
        bar.update()
        yield from found
        if digest and first.setdefault(digest, path) != path:
            yield Finding(path, "duplicate", shown(first[digest]))

    with ThreadPoolExecutor(threads) as pool, tqdm(unit=" files", disable=None) as bar:
        try:
            for item in _walk_all(root):
                if isinstance(item, str):
                    waiting.append((item, pool.submit(_check_file, item)))
                else:
                    waiting.append(item)
                if len(waiting) >= _WAITING * threads:
                    yield from findings()
            while waiting:
                yield from findings()
        finally:
            pool.shutdown(cancel_futures=True)


# --------------------------------------------------------------------------------- the command line
def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``python -m minidl scan`` to a parser."""
    parser.add_argument("folder", help="holds class folders, or train, val and test with them")
    parser.add_argument("--threads", type=int, help="pictures decoded at once (one per processor)")
    parser.add_argument("--errors-only", action="store_true", help="don't print notes")


def run(args: argparse.Namespace) -> int:
    """Print all findings; return 0, 1 if there are errors, or 2 if the folder does not exist."""
    from tqdm import tqdm

    errors, notes = 0, Counter[str]()
    try:
        for finding in scan(args.folder, args.threads):
            errors += finding.is_error
            notes[finding.kind] += not finding.is_error
            if finding.is_error or not args.errors_only:
                tqdm.write(str(finding))  # above the bar
    except DataError as error:
        print(error, file=sys.stderr)
        return 2
    if any(notes.values()):
        print("notes:", ", ".join(f"{count} {kind}" for kind, count in notes.items() if count))
    print(f"{shown(args.folder)}: {errors} errors, {notes.total()} notes")
    return 1 if errors else 0


def main(argv: list[str] | None = None) -> int:
    """Scan the folder given on the command line."""
    parser = argparse.ArgumentParser(description="Report every suspicious file among pictures.")
    add_arguments(parser)
    return run(parser.parse_args(argv))
