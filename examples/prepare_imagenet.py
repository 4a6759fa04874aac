"""Prepare a folder of pictures for training: decode and resize every picture once.

    python examples/prepare_imagenet.py --data DIR --out OUT
    python examples/prepare_imagenet.py --out OUT --verify      (read and check all files in OUT)

DIR holds train/<class>/<picture>.jpg, and val/... if you have it; or ImageNet's archives as
downloaded: ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar, ILSVRC2012_devkit_t12.tar.gz. The
program writes shards for minidl.vision.datasets.Shards to OUT, with the mean image, the channel
means and deviations and the PCA of the training pictures. ImageNet becomes 260 GB of raw pixels.
After an interruption, run the program again with the same arguments to continue. The files have the
same bytes after any number of interruptions, with any number of workers.
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image

from minidl.errors import ArgumentError, CheckpointError, DataError
from minidl.files import locked
from minidl.training import Bar
from minidl.training.command_line import Layout
from minidl.vision.datasets import ImageFolder
from minidl.vision.datasets.decoding import pil_loader
from minidl.vision.datasets.imagenet import ARCHIVES
from minidl.vision.datasets.opening import is_imagenet, open_splits, print_skipped
from minidl.vision.datasets.shards import (
    MANIFEST,
    STATISTICS,
    Shards,
    file_of,
    is_there,
    read_file,
    read_manifest,
    verify,
    write_file,
    write_manifest,
    write_shard,
)
from minidl.vision.statistics import PixelSums
from minidl.vision.transforms import CenterCrop, Compose, Resize

CHUNK = 16  # pictures that a worker prepares at a time


# --- One chunk of pictures, prepared by a worker thread -------------------------------------------


@dataclass
class Chunk:
    """Some pictures in order, ready to be written."""

    pictures: list[tuple[bytes, int, str]] = field(default_factory=list)  # bytes, label, source
    skipped: list[dict[str, str]] = field(default_factory=list)
    sums: PixelSums | None = None
    sources: int = 0


class Preparation:
    """Converts pictures to bytes.

    Parameters
    ----------
    settings : dict
        ``format``, ``size``, ``resize`` and ``quality``, as in the manifest.
    skip : bool
        Skip damaged pictures instead of raising an error.
    """

    def __init__(self, settings: dict[str, Any], skip: bool) -> None:
        size = settings["size"]
        self.settings, self.skip = settings, skip
        self.resize: Callable[[Any], Any] = (
            Resize((size, size))  # Caffe's: the aspect ratio is lost
            if settings["resize"] == "warp"
            else Compose([Resize(size), CenterCrop(size)])  # the paper's
        )

    def prepare(self, split: str, folder: ImageFolder, part: range) -> Chunk:
        """Prepare some of a split's pictures; add up the pixels of training pictures."""
        size = self.settings["size"]
        chunk = Chunk(sources=len(part), sums=PixelSums(size, size) if in_sums(split) else None)
        for index in part:
            source = os.path.join(split, folder.samples.name(index))  # "train/..."
            try:
                picture, label = folder.load(index)
            except DataError as error:
                if not self.skip:
                    raise
                reason = f"{type(error.__cause__).__name__}: {error.__cause__}"
                path, _ = folder.samples[index]
                reason = reason.replace(path, source).replace(folder.root + os.sep, "")
                chunk.skipped.append({"path": source, "reason": reason})
                continue
            data, pixels = self.encode(self.resize(picture))
            chunk.pictures.append((data, label, source))
            if chunk.sums is not None:
                chunk.sums.add(pixels)
        return chunk

    def encode(self, picture: Image.Image) -> tuple[bytes, np.ndarray]:
        """Return the bytes to store, and the pixels as they will be read back."""
        if self.settings["format"] == "raw":
            pixels = np.asarray(picture)
            return pixels.tobytes(), pixels
        file = BytesIO()
        picture.save(file, "JPEG", quality=self.settings["quality"])
        with Image.open(file, formats=["JPEG"]) as stored:
            return file.getvalue(), np.asarray(stored)


def in_order(pool: ThreadPoolExecutor, jobs: Iterator[Any], ahead: int) -> Iterator[Chunk]:
    """Yield the results of the jobs in order, with at most ``ahead`` of them in progress."""
    window: deque[Future[Chunk]] = deque()
    for job in jobs:
        window.append(pool.submit(*job))
        if len(window) >= ahead:
            yield window.popleft().result()
    while window:
        yield window.popleft().result()


# --- The whole folder -----------------------------------------------------------------------------


class Program:
    """Turns a folder of pictures into shards.

    Parameters
    ----------
    options : argparse.Namespace
        The command line.

    Attributes
    ----------
    manifest : dict
        See :func:`minidl.vision.datasets.shards.read_manifest`.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.out = Path(options.out)
        self.manifest: dict[str, Any] = {}
        self.folders: dict[str, ImageFolder] = {}

    def run(self) -> None:
        """Make all shards that are missing, then the statistics."""
        self.folders = open_folders(self.options.data)
        print_skipped(self.options.data, *(folder.skipped for folder in self.folders.values()))
        if self.turned():
            for folder in self.folders.values():
                folder.loader = partial(pil_loader, exif=True)
        self.out.mkdir(parents=True, exist_ok=True)
        busy = ArgumentError(f"--out: another run is writing to {self.out}")
        with locked(self.out, busy):
            self.begin()
            todo = [
                (split, number)
                for split, part in self.manifest["splits"].items()
                for number, shard in enumerate(part["shards"])
                if shard is None
            ]
            if todo:
                self.check_space(todo)
                self.make_shards(todo)
            if not self.manifest["complete"]:
                self.finish()

    def turned(self) -> bool:
        """Return whether pictures are turned as their EXIF data say."""
        given = self.options.exif
        return not is_imagenet(self.folders["train"]) if given is None else given

    def begin(self) -> None:
        """Write a new manifest, or read and check the existing one."""
        options = self.options
        for leftover in self.out.glob(".minidl-*.tmp"):  # from a run that was killed
            leftover.unlink()
        settings = {
            "format": options.format,
            "size": options.size,
            "resize": options.resize,
            "quality": options.quality if options.format == "jpeg" else None,
            "pictures_per_shard": options.pictures_per_shard,
            "exif": self.turned(),
            "pillow": PIL.__version__,  # other versions may decode and resize slightly differently
        }
        splits: dict[str, Any] = {
            split: {
                "sources": len(folder),
                "sources_sha256": names_sha256(folder),
                "shards": [None] * -(-len(folder) // options.pictures_per_shard),
            }
            for split, folder in self.folders.items()
        }
        wanted = {
            "settings": settings,
            "classes": self.folders["train"].names,
            "complete": False,
            "statistics": None,
            "splits": splits,
        }
        if not (self.out / MANIFEST).exists():
            if any(self.out.iterdir()):
                raise ArgumentError(
                    f"--out: {self.out} holds other files and no shards: choose a new folder"
                )
            self.manifest = wanted
            write_manifest(self.out, wanted)
            return
        self.manifest = read_manifest(self.out)
        for name, value in settings.items():
            before = self.manifest["settings"].get(name, False)  # an older one has no "exif"
            if before != value:
                raise ArgumentError(
                    f"the shards in {self.out} were begun with {name.replace('_', ' ')} {before}, "
                    f"not {value}: use the same value, or choose a new --out"
                )
        known = [(key, part["sources_sha256"]) for key, part in self.manifest["splits"].items()]
        if known != [(key, part["sources_sha256"]) for key, part in splits.items()]:
            raise DataError(
                f"the files in {options.data} have changed since the shards in {self.out} were "
                "begun: restore them, or choose a new --out"
            )
        self.forget_missing()

    def forget_missing(self) -> None:
        """Remove shards with missing or truncated files from the manifest."""
        expected = self.manifest["statistics"]
        whole = expected is not None and is_there(self.out / STATISTICS, expected)
        for split, part in self.manifest["splits"].items():
            for number, shard in enumerate(part["shards"]):
                if shard is not None and not all(
                    is_there(file_of(self.out, split, number, suffix), expected)
                    for suffix, expected in shard["files"].items()
                ):
                    part["shards"][number] = None
                    whole = False
        if not whole:
            self.manifest["complete"] = False
            self.manifest["statistics"] = None

    def check_space(self, todo: list[tuple[str, int]]) -> None:
        """Raise now rather than when the disk is full."""
        settings = self.manifest["settings"]
        if settings["format"] != "raw":
            return  # the size of JPEG files is not known in advance
        count = sum(len(self.part_of(*shard)) for shard in todo)
        needed, free = 3 * settings["size"] ** 2 * count, shutil.disk_usage(self.out).free
        if needed > free:
            raise DataError(
                f"the disk of {self.out} has {gigabytes(free)} free, but {count:,} pictures need "
                f"{gigabytes(needed)}: free some space, or use --format jpeg, which needs a seventh"
            )

    def part_of(self, split: str, number: int) -> range:
        """Return the indices of a shard's sources."""
        length = self.manifest["settings"]["pictures_per_shard"]
        return range(len(self.folders[split]))[number * length : (number + 1) * length]

    def make_shards(self, todo: list[tuple[str, int]]) -> None:
        """Make shards one after another; workers are a few chunks ahead."""
        options = self.options
        preparation = Preparation(self.manifest["settings"], options.on_bad_image == "skip")
        jobs = (
            (preparation.prepare, split, self.folders[split], part[start : start + CHUNK])
            for split, number in todo
            for part in [self.part_of(split, number)]
            for start in range(0, len(part), CHUNK)
        )
        total = sum(len(folder) for folder in self.folders.values())
        left = sum(len(self.part_of(*shard)) for shard in todo)
        with (
            ThreadPoolExecutor(options.workers) as pool,
            Bar(total=total, initial=total - left, unit=" pictures") as bar,
        ):
            chunks = in_order(pool, jobs, 2 * options.workers)
            try:
                for split, number in todo:
                    bar.set_description(f"{split} {number}")
                    count = -(-len(self.part_of(split, number)) // CHUNK)
                    self.make_shard(split, number, islice(chunks, count), bar)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def make_shard(self, split: str, number: int, chunks: Iterator[Chunk], bar: Any) -> None:
        """Write the files of one shard, then add it to the manifest."""
        size = self.manifest["settings"]["size"]
        sums = PixelSums(size, size)
        skipped: list[dict[str, str]] = []
        before, allowed = len(self.skipped()), self.options.max_bad_images

        def pictures() -> Iterator[tuple[bytes, int, str]]:
            for chunk in chunks:
                if chunk.sums is not None:
                    sums.merge(chunk.sums)
                for bad in chunk.skipped:
                    skipped.append(bad)
                    bar.write(f"skipped: {bad['path']}: {bad['reason']}", file=sys.stderr)
                    if before + len(skipped) > allowed:
                        raise DataError(
                            f"more than {allowed} pictures are damaged (--max-bad-images); the "
                            f"last is {bad['path']}: {bad['reason']}"
                        )
                yield from chunk.pictures
                bar.update(chunk.sources)

        suffix = self.manifest["settings"]["format"]
        shard = write_shard(self.out, split, number, suffix, pictures())
        if in_sums(split):
            path = file_of(self.out, split, number, "sums")
            shard["files"]["sums"] = write_file(path, [sums.to_bytes()])
        shard["skipped"] = skipped
        self.manifest["splits"][split]["shards"][number] = shard
        write_manifest(self.out, self.manifest)

    def skipped(self) -> list[dict[str, str]]:
        """Return the pictures that were skipped in the finished shards."""
        shards = [shard for part in self.manifest["splits"].values() for shard in part["shards"]]
        return [bad for shard in shards if shard is not None for bad in shard["skipped"]]

    def finish(self) -> None:
        """Write the statistics, and mark the manifest as complete."""
        size = self.manifest["settings"]["size"]
        sums = PixelSums(size, size)
        for number, shard in enumerate(self.manifest["splits"]["train"]["shards"]):
            path = file_of(self.out, "train", number, "sums")
            sums.merge(PixelSums.from_bytes(read_file(path, shard["files"]["sums"])))
        path = self.out / STATISTICS
        sums.statistics().save(path)
        data = path.read_bytes()
        self.manifest["statistics"] = {
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        self.manifest["complete"] = True
        write_manifest(self.out, self.manifest)


def open_folders(data: str) -> dict[str, ImageFolder]:
    """Return the pictures by the names of their splits."""
    splits = open_splits(data)
    if "train" not in splits:
        raise DataError(
            f"--data: expected {data}/train/<class>/<picture>.jpg or {data}/"
            f"{ARCHIVES['train'][0]}, found neither"
        )
    folders = {name: split for name, split in splits.items() if isinstance(split, ImageFolder)}
    if len(folders) < len(splits):
        raise DataError(f"--data: {data} holds shards, expected the pictures themselves")
    return folders


def in_sums(split: str) -> bool:
    """Return whether a split counts in the statistics."""
    return split == "train"


def names_sha256(folder: ImageFolder) -> str:
    """Return a hash of the names and labels of all pictures in a folder."""
    digest = hashlib.sha256()
    for index, label in enumerate(folder.targets):
        digest.update(os.fsencode(os.sep + folder.samples.name(index)) + b"\0%d\0" % label)
    return digest.hexdigest()


def gigabytes(count: float) -> str:
    """Return a number of bytes in GB."""
    return f"{count / 1e9:,.1f} GB"


def check(out: str) -> int:
    """Read all files and compare them with the manifest; return the exit status."""
    complete = read_manifest(out)["complete"]
    problems = []
    for path, problem in Bar(verify(out), "verifying", unit=" files"):
        problems += [] if problem is None else [f"{path} is damaged: {problem}"]
    for line in problems:
        print(line)
    if problems:
        print("Delete them and run the program as before: it replaces missing files.")
    if not complete:
        print("The preparation is not complete: run the program as before to continue.")
    if complete and not problems:
        print(f"All files in {out} are intact.")
    return 0 if complete and not problems else 1


def report(program: Program) -> None:
    """Print a summary of the result."""
    train = Shards(program.out)
    found = train.statistics
    for split, part in program.manifest["splits"].items():
        count = sum(shard["pictures"] for shard in part["shards"])
        print(f"{split}: {count:,} pictures in {len(part['shards'])} shards")
    print(f"skipped: {len(program.skipped())} pictures")
    with np.printoptions(precision=4, suppress=True):
        print(f"mean {255 * found.mean}, standard deviation {255 * found.std} of 255")
        print(f"eigenvalues of the covariance {found.eigenvalues} (0 to 1), eigenvectors")
        print(found.eigenvectors)
    print(f"in {program.out}")


# --- The command line -----------------------------------------------------------------------------


def positive(text: str) -> int:
    """Parse a positive number."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return int(text)


def quality(text: str) -> int:
    """Parse a JPEG quality."""
    if not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"expected 1 to 100, got {text}")
    return int(text)


def parse() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Layout)
    add = parser.add_argument
    add("--data", metavar="DIR", help="folder with train/<class>/<picture>.jpg and perhaps "
        "val/..., or with ImageNet's archives")  # fmt: skip
    add("--out", metavar="DIR", required=True, help="a new folder, or one to continue")
    add("--format", choices=["raw", "jpeg"], default="raw", help="raw: pixels, the fastest to "
        "read; jpeg: a seventh of their size (default: raw)")  # fmt: skip
    add("--size", type=positive, default=256, metavar="N", help="height and width (default: 256)")
    add("--resize", choices=["shorter", "warp"], default="shorter", help="shorter: the shorter "
        "side to --size, then the center, as in the paper; warp: both sides, as in Caffe (default: "
        "shorter)")  # fmt: skip
    add("--exif", action=argparse.BooleanOptionalAction, help="turn pictures as their EXIF data "
        "say (default: all but ImageNet's)")  # fmt: skip
    add("--quality", type=quality, default=95, metavar="N", help="of JPEG, 1 to 100 (default: 95)")
    add("--pictures-per-shard", type=positive, default=8192, metavar="N", help="(default: 8192)")
    add("--workers", type=positive, default=os.cpu_count() or 1, metavar="N",
        help="threads that prepare pictures (default: the number of cores)")  # fmt: skip
    add("--on-bad-image", choices=["error", "skip"], default="error", help="what to do with a "
        "damaged picture: stop with an error, or skip it (default: error)")  # fmt: skip
    add("--max-bad-images", type=int, default=100, metavar="N", help="stop with an error if more "
        "than N pictures are damaged (default: 100)")  # fmt: skip
    add("--verify", action="store_true", help="only read and check the files in --out")
    options = parser.parse_args()
    if options.data is None and not options.verify:
        parser.error("--data is required without --verify")
    return options


def main() -> int:
    """Run the program; return its exit status."""
    options = parse()
    name = Path(sys.argv[0]).name
    try:
        if options.verify:
            return check(options.out)
        program = Program(options)
        program.run()
        report(program)
        return 0
    except (ArgumentError, CheckpointError, DataError, OSError) as error:
        system = error if isinstance(error, OSError) else error.__cause__
        if isinstance(system, OSError) and system.errno in (errno.ENOSPC, errno.EDQUOT):
            what = (
                f"the disk of {options.out} is full: the shards finished so far are kept; free "
                "some space and run the same command again"
            )
        elif isinstance(error, OSError):
            what = f"{error.filename or options.out}: {error.strerror}"
        else:
            what = str(error)
        print(f"{name}: {what}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted; run the same command again to continue", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
