"""Shapes: the pictures, and writing them to disk."""

from __future__ import annotations

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minidl.errors import ArgumentError, DataError
from minidl.random import stream
from minidl.vision.datasets import Shapes, shapes

SMALL = {"train_per_class": 2, "val_per_class": 1}


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".*unfinished*"))


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes") / "set"
    Shapes(folder, **SMALL)
    return folder


# ------------------------------------------------------------------------------------- the pictures
def test_a_tree_of_jpegs_of_varied_sizes(root: Path) -> None:
    train, val = Shapes(root, **SMALL), Shapes(root, split="val", **SMALL)
    assert len(train) == 20 and len(val) == 10
    assert train.classes == val.classes == sorted(shapes.CLASSES) == list(shapes.CLASSES)
    assert train.samples[3] == (str(root / "train" / "crescent" / "0001.jpg"), 1)
    with Image.open(train.samples[0][0]) as picture:
        assert picture.format == "JPEG"
    sizes = {train[index][0].size for index in range(20)}
    assert len(sizes) > 10
    assert any(w > h for w, h in sizes) and any(h > w for w, h in sizes)
    low, high = shapes.SHORT_SIDE
    assert all(low <= min(size) <= high for size in sizes)


def test_a_picture_depends_on_seed_split_and_index_alone(root: Path, tmp_path: Path) -> None:
    first = files(root)
    again, more, other = tmp_path / "again", tmp_path / "more", tmp_path / "other"
    Shapes(again, **SMALL)
    Shapes(more, train_per_class=3, val_per_class=1)
    Shapes(other, seed=1, **SMALL)
    assert files(again) == first
    pictures = {name: data for name, data in first.items() if name.endswith(".jpg")}
    assert len(set(pictures.values())) == 30
    assert pictures.items() <= files(more).items()
    assert not set(files(other).values()) & set(pictures.values())


@pytest.mark.parametrize("name", shapes.CLASSES)
def test_the_object_lies_within_the_central_square(name: str) -> None:
    for index in range(50):
        height, width = 250, 320
        outer, hole = shapes._outline(stream(0, name, index), name, height, width)
        low, high = outer.min(axis=0), outer.max(axis=0)
        edge = shapes.MARGIN * 250 - 1e-9
        assert low[0] >= 35 + edge and low[1] >= edge
        assert high[0] <= 285 - edge and high[1] <= 250 - edge
        extent = (high - low).max() / 250
        assert shapes.OBJECT_SIZE[0] - 1e-9 <= extent <= shapes.OBJECT_SIZE[1] + 1e-9
        if hole is not None:
            assert (hole.min(axis=0) > low).all() and (hole.max(axis=0) < high).all()


def test_masks_cover_what_the_outline_encloses() -> None:
    square = np.array([(20.0, 30.0), (60.0, 30.0), (60.0, 70.0), (20.0, 70.0)])
    hole = np.array([(30.0, 40.0), (40.0, 40.0), (40.0, 50.0), (30.0, 50.0)])
    body, line = shapes._masks(square, hole, 100, 100, border=0)
    assert body[35, 25] == 1 and body[45, 35] == 0 and body[10, 10] == 0
    # Pillow's polygons include their border, at most a third of a (supersampled) pixel.
    assert abs(body.sum() - (40 * 40 - 10 * 10)) < 4 * (40 + 10) / shapes._SUPERSAMPLING
    assert line.sum() == 0


@pytest.mark.parametrize("lightness", [0.02, 0.3, 0.5, 0.95, 1.0])
def test_colors_have_the_requested_lightness(lightness: float) -> None:
    for index in range(100):
        color = shapes._color(stream(1, index), lightness)
        assert color.min() >= -1e-6 and color.max() <= 1 + 1e-6
        assert abs(color @ shapes._LUMA - lightness) < 1e-6


def test_color_does_not_reveal_the_class() -> None:
    # Two classes with the same stream draw alike: lightness and texture ignore the class.
    for index in range(10):
        one = shapes.draw("disk", stream(0, "x", index))
        two = shapes.draw("square", stream(0, "x", index))
        assert one.size == two.size
        difference = np.abs(np.asarray(one, dtype=int) - np.asarray(two, dtype=int)).max(axis=2)
        corner = difference[:10, :10]
        assert corner.max() == 0 and difference.max() > 0


# ----------------------------------------------------------------------------------------- the disk
def test_the_second_opening_draws_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "draw", None)
    assert len(Shapes(root, **SMALL)) == 20


def test_location_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "TRAIN_PER_CLASS", 1)
    monkeypatch.setattr(shapes, "VAL_PER_CLASS", 1)
    counts = {"train_per_class": 1, "val_per_class": 1}
    monkeypatch.delenv("MINIDL_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cached = [tmp_path / "home" / ".cache" / "minidl" / "shapes-v1" / "val"]
    roots = [Shapes(split="val", **counts).root]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    cached.append(tmp_path / "xdg" / "minidl" / "shapes-v1" / "val")
    roots.append(Shapes(split="val", **counts).root)
    monkeypatch.setenv("MINIDL_CACHE", str(tmp_path / "own"))
    cached.append(tmp_path / "own" / "shapes-v1" / "val")
    roots.append(Shapes(split="val", **counts).root)
    cached.append(tmp_path / "own" / "shapes-v1-1x1-seed5" / "val")
    roots.append(Shapes(split="val", seed=5, **counts).root)
    assert roots == [str(path) for path in cached]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    assert len(Shapes(tmp_path, **SMALL)) == 20


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(DataError, match=r"not a folder of Shapes.*manifest\.json"):
        Shapes(tmp_path, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("key, value", [("seed", 3), ("version", 0), ("per_class", {"train": 9})])
def test_another_manifest_is_refused(root: Path, tmp_path: Path, key: str, value: object) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**manifest, key: value}))
    with pytest.raises(DataError, match=f"drawn with another {key}.*delete the folder"):
        Shapes(copy, **SMALL)


def test_changed_constants_are_noticed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "CONTRAST", (0.1, 0.2))
    with pytest.raises(DataError, match="another generator"):
        Shapes(root, **SMALL)


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_damaged_manifest(root: Path, tmp_path: Path, content: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    (copy / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json"):
        Shapes(copy, **SMALL)


def test_missing_pictures_are_noticed(root: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    (copy / "train" / "heart" / "0001.jpg").unlink()
    with pytest.raises(DataError, match="19 pictures of 10 classes, expected 20 of 10"):
        Shapes(copy, **SMALL)


def test_an_interrupted_generation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = shapes.draw
    calls = []

    def interrupted(name: str, rng: np.random.Generator) -> Image.Image:
        calls.append(name)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return whole(name, rng)

    monkeypatch.setattr(shapes, "draw", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Shapes(tmp_path / "set", train_per_class=20, val_per_class=1)
    assert list(tmp_path.iterdir()) == []
    assert len(calls) < 100  # the rest was not drawn first
    monkeypatch.setattr(shapes, "draw", whole)
    assert len(Shapes(tmp_path / "set", **SMALL)) == 20


def test_a_killed_generation_is_not_taken_for_complete(tmp_path: Path) -> None:
    dead = tmp_path / ".set.unfinished-1-abc"
    recent = tmp_path / ".set.unfinished-2-abc"
    for folder in (dead, recent):
        (folder / "train" / "disk").mkdir(parents=True)
    os.utime(dead, (time.time() - 86400,) * 2)
    assert len(Shapes(tmp_path / "set", **SMALL)) == 20
    assert leftovers(tmp_path) == [recent]  # its process may still be running


def test_several_processes_may_generate_at_once(root: Path, tmp_path: Path) -> None:
    # Threads race for the rename just as processes do.
    with ThreadPoolExecutor(4) as pool:
        sets = list(pool.map(lambda _: Shapes(tmp_path / "set", **SMALL), range(4)))
    assert [len(one) for one in sets] == [20] * 4
    assert files(tmp_path / "set") == files(root)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "arguments", [{"split": "test"}, {"train_per_class": 0}, {"val_per_class": -1}]
)
def test_arguments(tmp_path: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(arguments))):
        Shapes(tmp_path / "set", **arguments)
    assert not (tmp_path / "set").exists()
