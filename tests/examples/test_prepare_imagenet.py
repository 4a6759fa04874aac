"""examples/prepare_imagenet.py on tiny folders: its files, kills, damage, a full disk.

A longer test of kills, at random instants:

    python tests/examples/test_prepare_imagenet.py 200
"""

from __future__ import annotations

import errno
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the longer form

from archives import WNIDS, jpeg, meta_mat, write_archives
from programs import ROOT, command, environment

from minidl.vision.datasets import ImageFolder, ImageNet
from minidl.vision.datasets.opening import open_folder
from minidl.vision.datasets.shards import MANIFEST, STATISTICS, Shards, read_manifest
from minidl.vision.statistics import PixelSums
from minidl.vision.transforms import CenterCrop, Compose, Resize

PROGRAM = "prepare_imagenet.py"
SIZE = 12
# 20 pictures, two chunks, per shard; 23 pictures to train with, 4 to validate with.
SMALL = ("--size", SIZE, "--pictures-per-shard", 20, "--workers", 2)
RESIZE = {"shorter": Compose([Resize(SIZE), CenterCrop(SIZE)]), "warp": Resize((SIZE, SIZE))}


def draw(folder: Path) -> Path:
    """Pictures of several sizes and kinds, in folders of several depths."""
    noise = np.random.default_rng(0)
    for split, counts in (("train", (11, 12)), ("val", (2, 2))):
        for name, count in zip(("cat", "dög"), counts, strict=True):
            for number in range(count):
                path = folder / split / name / f"{number:02d}.{('JPEG', 'png')[number % 2]}"
                path.parent.mkdir(parents=True, exist_ok=True)
                size = noise.integers(9, 40, 2).tolist()
                pixels = noise.integers(0, 256, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
    with Image.open(folder / "train" / "cat" / "00.JPEG") as picture:
        picture.convert("CMYK").save(folder / "train" / "cat" / "00.JPEG", "JPEG")
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw(tmp_path_factory.mktemp("pictures"))


Prepare = Callable[..., tuple[int, str]]


@pytest.fixture
def prepare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path
) -> Prepare:
    """Run the program in this process; return its exit status and its last line of output."""
    spec = importlib.util.spec_from_file_location("prepare", ROOT / "examples" / PROGRAM)
    assert spec is not None and spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, program)  # where dataclasses look for it
    spec.loader.exec_module(program)

    def run(out: Path, *arguments: object, data: Path = data) -> tuple[int, str]:
        words = ("--data", data, "--out", out, *SMALL, *arguments)
        monkeypatch.setattr(sys, "argv", [PROGRAM, *map(str, words)])
        status: int = program.main()
        captured = capsys.readouterr()
        said = captured.err if status in (2, 130) else captured.out
        return status, said.replace("\r", "\n").splitlines()[-1]

    return run


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """The result of an uninterrupted run with one worker."""
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run(
        command(PROGRAM, "--data", data, "--out", out, *SMALL, "--workers", 1),
        env=environment(),
        check=True,
        capture_output=True,
    )
    return out


# ------------------------------------------------------------------------------- what it writes
def test_files(whole: Path) -> None:
    shards = ["train-00000", "train-00001", "val-00000"]
    expected = {f"{name}.{suffix}" for name in shards for suffix in ("raw", "json")}
    expected |= {f"train-0000{k}.sums" for k in (0, 1)} | {MANIFEST, STATISTICS}
    assert set(content(whole)) == expected


@pytest.mark.parametrize("resize", ["shorter", "warp"])
def test_pictures(tmp_path: Path, data: Path, prepare: Prepare, resize: str) -> None:
    assert prepare(tmp_path / "out", "--resize", resize) == (0, f"in {tmp_path / 'out'}")
    for split, count in (("train", 23), ("val", 4)):
        sources = ImageFolder(data / split, transform=RESIZE[resize])
        shards = Shards(tmp_path / "out", split)
        assert len(shards) == len(sources) == count
        assert shards.classes == sources.classes and shards.targets == sources.targets
        for index in range(count):
            expected, label = sources[index]
            picture, found = shards[index]
            assert np.array_equal(np.asarray(picture), np.asarray(expected)) and found == label
            path = data / shards.source(index)
            assert str(path) == sources.samples[index][0]


@pytest.mark.parametrize("suffix", ["raw", "jpeg"])
def test_statistics_are_those_of_the_pictures_as_read(
    tmp_path: Path, prepare: Prepare, suffix: str
) -> None:
    prepare(tmp_path / "out", "--format", suffix)
    shards = Shards(tmp_path / "out")
    pixels, _ = shards.get_batch(range(len(shards)))
    sums = PixelSums(SIZE, SIZE)
    sums.add(pixels)
    expected, found = sums.statistics(), shards.statistics
    for name, value in vars(expected).items():
        assert np.array_equal(getattr(found, name), value), name
    rows = pixels.reshape(-1, 3) / 255.0
    assert np.allclose(found.covariance, np.cov(rows.T, bias=True), rtol=0, atol=1e-12)


def test_jpeg(tmp_path: Path, whole: Path, prepare: Prepare) -> None:
    prepare(tmp_path / "fine", "--format", "jpeg", "--quality", 100)
    prepare(tmp_path / "coarse", "--format", "jpeg", "--quality", 10)
    sizes = [(tmp_path / out / "train-00000.jpeg").stat().st_size for out in ("fine", "coarse")]
    assert sizes[0] > sizes[1]
    with Image.open(tmp_path / "fine" / "train-00000.jpeg") as picture:  # the first of them
        assert picture.format == "JPEG" and picture.size == (SIZE, SIZE)


@pytest.mark.parametrize("workers", [2, 5])
def test_any_number_of_workers(tmp_path: Path, whole: Path, prepare: Prepare, workers: int) -> None:
    prepare(tmp_path / "out", "--workers", workers)
    assert content(tmp_path / "out") == content(whole)


def test_training_reads_the_shards(whole: Path) -> None:
    train, val = (part.dataset for part in open_folder(whole))
    assert isinstance(train, Shards) and isinstance(val, Shards)
    assert (train.split, val.split) == ("train", "val")
    assert train[0][0].size == (train.size, train.size)


def test_archives_and_folders_give_the_same_shards(tmp_path: Path, prepare: Prepare) -> None:
    root = write_archives(tmp_path / "data", meta_mat())
    archive = root / "ILSVRC2012_img_train.tar"
    archive.write_bytes(archive.read_bytes().replace(jpeg(40), bytes(len(jpeg(40)))))
    assert prepare(tmp_path / "packed", "--on-bad-image", "skip", data=root)[0] == 0
    for split in ("train", "val"):
        ImageNet.extract(root, split)
    archive.unlink()
    assert prepare(tmp_path / "unpacked", "--on-bad-image", "skip", data=root)[0] == 0
    packed, unpacked = content(tmp_path / "packed"), content(tmp_path / "unpacked")
    for one in (packed, unpacked):
        assert str(root).encode() not in one.pop(MANIFEST)
    assert packed == unpacked
    train = Shards(tmp_path / "packed")
    assert train.classes == WNIDS and train.source(0) == "train/n01440764/n01440764_10026.JPEG"
    (bad,) = read_manifest(tmp_path / "packed")["splits"]["train"]["shards"][0]["skipped"]
    assert bad["path"] == "train/n02089867/n02089867_40.JPEG"
    assert bad["reason"].endswith("'ILSVRC2012_img_train.tar: n02089867/n02089867_40.JPEG'")


def test_shards_are_refused_as_input(tmp_path: Path, whole: Path, prepare: Prepare) -> None:
    status, said = prepare(tmp_path / "out", data=whole)
    assert status == 2 and "holds shards" in said


def test_without_val(tmp_path: Path, data: Path, prepare: Prepare) -> None:
    shutil.copytree(data / "train", tmp_path / "data" / "train")
    assert prepare(tmp_path / "out", data=tmp_path / "data")[0] == 0
    assert list(read_manifest(tmp_path / "out")["splits"]) == ["train"]


# ------------------------------------------------------------------------------- interruptions
# Runs the program and kills it just before the n-th of its calls that change files or that hash a
# picture.
KILLED = """
import os, runpy, signal, sys, zlib
left = int(sys.argv[1])
def kill_before(module, name):
    function = getattr(module, name)
    def counted(*arguments, **options):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    setattr(module, name, counted)
for module, name in ((zlib, "crc32"), (os, "fsync"), (os, "replace"), (os, "unlink")):
    kill_before(module, name)
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_kills(tmp_path: Path, data: Path, whole: Path) -> None:
    """Each run continues from what the killed one before it left."""
    out = tmp_path / "out"
    words = command(PROGRAM, "--data", data, "--out", out, *SMALL)[3:]
    noise = random.Random(1)
    # In the first manifest; in the first shard; between shard and manifest; anywhere.
    for instant in [1, 15, 27, *(noise.randrange(3, 50) for _ in range(3))]:
        result = subprocess.run(
            [sys.executable, "-c", KILLED, str(instant), *words],
            env=environment(),
            capture_output=True,
            check=False,
        )
        if result.returncode == 0:
            break
        assert result.returncode == -signal.SIGKILL, result.stderr
    result = subprocess.run(
        command(PROGRAM, *words[1:]), env=environment(), capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert content(out) == content(whole)


def test_a_finished_folder_is_not_changed(tmp_path: Path, whole: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert prepare(out)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before


@pytest.mark.parametrize("number", [0, 3, 4, 9, 15, 25])
def test_full_disk(
    tmp_path: Path, whole: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """On a full disk no incomplete shard is left, and the next run continues."""
    out = tmp_path / "out"
    flush, calls = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        status, said = prepare(out)
    assert status == 2
    assert said.startswith(f"{PROGRAM}: the disk of {out} is full:") and "run the same" in said
    complete = content(whole)
    for name, found in content(out).items():
        assert name == MANIFEST or complete[name] == found
    assert prepare(out)[0] == 0
    assert content(out) == complete


def test_too_little_space(
    tmp_path: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def usage(path: Any) -> Any:
        return shutil._ntuple_diskusage(10**6, 10**6, 27 * SIZE * SIZE * 3 - 1)  # type: ignore

    monkeypatch.setattr(shutil, "disk_usage", usage)
    status, said = prepare(tmp_path / "out")
    assert status == 2 and "27 pictures need" in said and "--format jpeg" in said


def test_ctrl_c(
    tmp_path: Path, whole: Path, prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PixelSums, "merge", interrupted)
        status, said = prepare(tmp_path / "out")
    assert status == 130 and "interrupted; run the same command again" in said
    assert list(content(tmp_path / "out")) == [MANIFEST]
    prepare(tmp_path / "out")
    assert content(tmp_path / "out") == content(whole)


# -------------------------------------------------------------------------------------- damage
@pytest.fixture
def damaged(tmp_path: Path, data: Path) -> Path:
    """The pictures, but two are truncated and one is text."""
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    for name in ("train/cat/02.JPEG", "val/dög/00.JPEG"):
        path = folder / name
        path.write_bytes(path.read_bytes()[:-200])
    (folder / "train" / "dög" / "03.png").write_text("no picture")
    return folder


def test_damaged_picture_is_an_error(tmp_path: Path, damaged: Path, prepare: Prepare) -> None:
    status, said = prepare(tmp_path / "out", data=damaged)
    assert status == 2 and str(damaged / "train/cat/02.JPEG") in said
    assert list(content(tmp_path / "out")) == [MANIFEST]


def test_damaged_pictures_are_skipped(tmp_path: Path, damaged: Path, prepare: Prepare) -> None:
    prepare(tmp_path / "out", data=damaged)  # an error; the option may change afterwards
    assert prepare(tmp_path / "out", "--on-bad-image", "skip", data=damaged)[0] == 0
    manifest = read_manifest(tmp_path / "out")
    skipped = [
        bad["path"]
        for part in manifest["splits"].values()
        for shard in part["shards"]
        for bad in shard["skipped"]
    ]
    assert skipped == ["train/cat/02.JPEG", "train/dög/03.png", "val/dög/00.JPEG"]
    assert str(damaged).encode() not in (tmp_path / "out" / MANIFEST).read_bytes()
    train, val = Shards(tmp_path / "out"), Shards(tmp_path / "out", "val")
    assert len(train) == 21 and len(val) == 3 and train.statistics.pictures == 21
    kept = [train.source(index) for index in range(21)]
    assert kept == sorted(set(kept) - set(skipped))
    again = tmp_path / "again"
    prepare(again, "--on-bad-image", "skip", "--workers", 1, data=damaged)
    assert content(again) == content(tmp_path / "out")


def test_too_many_damaged_pictures(tmp_path: Path, damaged: Path, prepare: Prepare) -> None:
    skip = ("--on-bad-image", "skip", "--max-bad-images")
    status, said = prepare(tmp_path / "out", *skip, 2, data=damaged)
    assert status == 2 and "more than 2 pictures are damaged" in said
    assert "val/dög/00.JPEG" in said
    assert prepare(tmp_path / "out", *skip, 3, data=damaged)[0] == 0


def test_verify_and_repair(tmp_path: Path, whole: Path, prepare: Prepare) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole, out)
    assert prepare(out, "--verify") == (0, f"All files in {out} are intact.")
    path = out / "train-00001.raw"
    changed = bytearray(path.read_bytes())
    changed[100] ^= 1
    path.write_bytes(changed)
    status, said = prepare(out, "--verify")
    assert status == 1 and said.startswith("Delete them")
    for name in ("train-00001.raw", "train-00000.sums", STATISTICS):
        (out / name).unlink()
        assert prepare(out, "--verify")[0] == 1
        assert prepare(out)[0] == 0
        assert content(out) == content(whole)


def test_verify_before_the_end(tmp_path: Path, damaged: Path, prepare: Prepare) -> None:
    prepare(tmp_path / "out", data=damaged)
    status, said = prepare(tmp_path / "out", "--verify")
    assert status == 1 and said.startswith("The preparation is not complete")


# ------------------------------------------------------------------------------------- mistakes
def test_other_settings(tmp_path: Path, whole: Path, prepare: Prepare) -> None:
    status, said = prepare(whole, "--resize", "warp")
    assert status == 2 and "begun with resize shorter, not warp" in said


def test_other_pictures(tmp_path: Path, data: Path, whole: Path, prepare: Prepare) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    (folder / "train" / "cat" / "00.JPEG").rename(folder / "train" / "cat" / "000.JPEG")
    status, said = prepare(whole, data=folder)
    assert status == 2 and f"the files in {folder} have changed" in said


def test_folder_with_other_files(tmp_path: Path, prepare: Prepare) -> None:
    (tmp_path / "thesis.txt").write_text("all of it")
    status, said = prepare(tmp_path)
    assert status == 2 and "holds other files" in said
    assert list(content(tmp_path)) == ["thesis.txt"]


def test_two_runs_at_once(tmp_path: Path, prepare: Prepare) -> None:
    fcntl = pytest.importorskip("fcntl")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        status, said = prepare(tmp_path)
    finally:
        os.close(descriptor)
    assert status == 2 and "another run is writing" in said


def test_wrong_data(tmp_path: Path, data: Path, prepare: Prepare) -> None:
    status, said = prepare(tmp_path / "out", data=tmp_path / "nothing")
    assert status == 2 and f"expected {tmp_path / 'nothing'}/train/<class>" in said
    shutil.copytree(data, tmp_path / "data")
    (tmp_path / "data" / "val" / "cat").rename(tmp_path / "data" / "val" / "cow")
    status, said = prepare(tmp_path / "out", data=tmp_path / "data")
    assert status == 2 and "only one of them has cat, cow" in said
    status, said = prepare(tmp_path / "nothing", "--verify")
    assert status == 2 and f"no shards in '{tmp_path / 'nothing'}'" in said


# ------------------------------------------------------------------------------- the longer form
def kill_at_random(kills: int) -> None:
    """Kill runs at random instants as often as requested, and compare the results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = draw(folder / "data")
        words = ["--data", data, "--size", SIZE, "--pictures-per-shard", 3]

        def start(out: str) -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                command(PROGRAM, *words, "--out", folder / out),
                env=environment(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

        began = time.monotonic()
        assert start("whole").wait() == 0
        seconds = time.monotonic() - began
        killed = rounds = 0
        while killed < kills:
            process = start("out")
            try:
                status = process.wait(timeout=random.uniform(0.3, 1) * seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                killed += 1
                continue
            assert status == 0
            assert content(folder / "out") == content(folder / "whole")
            shutil.rmtree(folder / "out")
            rounds += 1
        print(f"{killed} kills in {rounds} runs, which all gave the same bytes")


if __name__ == "__main__":
    kill_at_random(int(sys.argv[1]))
